"""The DMA program of a layer: every DRAM request in the order in which it is issued.

Loads for step s + 2 stand before the stores of step s, so that tiles are fetched while their predecessors compute, but
no request stands earlier than where its place on chip comes free: one that waits would hold up the stores behind it,
whose data are ready. (Where reads and writes have queues of their own, as on AXI, they would pass it.) The order is
fixed before the run: a faster unit then can only make everything earlier, never later. Where tiles are not loaded
ahead, their loads stand right before the step that needs them.

No request waits for one behind it: what step s needs stands at the end of step s - 1 at the latest, what waits for the
end of step s no earlier than there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from accelsim.timing.schedule import NO_RELEASE, LayerSchedule

Ints = npt.NDArray[np.int64]
WEIGHT, INPUT, PSUM_READ, RESIDUAL, STORE = range(5)
KIND_NAMES = ("weights", "inputs", "partial sums", "residuals", "stores")
LOOKAHEAD_STEPS = 2


@dataclass(frozen=True, slots=True)
class DmaProgram:
    """Requests in order, as lists of equal length.

    ``event`` is the weight, input or output event that the request serves; ``step`` the step that needs it (a load) or
    at whose end it stands (a store).
    """

    kind: list[int]
    event: list[int]
    num_bytes: list[int]
    offset: list[int]
    step: list[int]


def build_program(schedule: LayerSchedule) -> DmaProgram:
    """Return the DMA program of a layer's schedule."""
    kind, event, num_bytes, step, _ = program_table(schedule)
    offsets = _offsets(kind, num_bytes)
    return DmaProgram(kind.tolist(), event.tolist(), num_bytes.tolist(), offsets.tolist(), step.tolist())


def program_table(schedule: LayerSchedule) -> Ints:
    """Return kind, event, bytes, step and cycles on the bus of the requests in order, int64 [5, num_requests].

    The cycles are -1 where they follow from the bytes.
    """
    weights, inputs, outputs, bus = schedule.weights, schedule.inputs, schedule.outputs, schedule.bus_cycles
    places = store_steps(schedule)

    def on_bus(name: str) -> Ints | None:
        return None if bus is None else getattr(bus, name)

    parts = [
        _part(WEIGHT, weights.fetch_bytes, weights.step, lambda: _weight_keys(schedule), on_bus("weights")),
        _part(INPUT, inputs.fetch_bytes, inputs.step, lambda: _input_keys(schedule), on_bus("inputs")),
        _part(PSUM_READ, outputs.psum_read_bytes, outputs.first_step, lambda: _psum_keys(schedule), on_bus("psums")),
        _part(RESIDUAL, outputs.residual_bytes, outputs.last_step, lambda: _residual_keys(schedule),
              on_bus("residuals")),
        _part(STORE, outputs.store_bytes, places, lambda: _store_keys(places), on_bus("stores")),
    ]  # fmt: skip
    table = np.concatenate([part for part in parts if part is not None] or [np.zeros((6, 0), dtype=np.int64)], axis=1)
    most = max(schedule.num_steps, schedule.outputs.last_step.size) + 1  # above every step
    # By place in the program, then by the step that needs it, then by kind, as one number.
    order = np.argsort((table[5] * most + table[3]) * 5 + table[0], kind="stable")
    return table[:5, order]


def _part(kind: int, num_bytes: Ints, step: Ints, keys: Callable[[], Ints], bus_cycles: Ints | None) -> Ints | None:
    """Return rows (kind, event, bytes, step, bus cycles, key) of the events that move bytes; None if none does."""
    events = np.flatnonzero(num_bytes)
    if not events.size:
        return None
    table = np.empty((6, events.size), dtype=np.int64)
    table[0], table[1], table[4] = kind, events, -1
    if events.size == num_bytes.size:
        table[2], table[3], table[5] = num_bytes, step, keys()
    else:
        table[2], table[3], table[5] = num_bytes[events], step[events], keys()[events]
    if bus_cycles is not None:
        table[4] = bus_cycles[events]
    return table


def store_steps(schedule: LayerSchedule) -> Ints:
    """Return the step at which each output tile is stored: that of the next tile's end, int64 [num_outputs].

    The vector unit works on a tile while the array sums the next one up; a store that stood before it would hold up the
    loads behind it. Where partial sums are read back, stores stand at the end of their own tile.
    """
    last = schedule.outputs.last_step
    # What is read back must be written first, and the load behind it may be waiting for just that.
    if schedule.outputs.psum_read_bytes.any():
        return last
    return np.concatenate([last[1:], last[-1:]])


# Places in the program count in quarters of a step: 4 s where step s has ended, 1 behind that what waits for sums that
# leave then, 2 behind it the stores of step s, 3 behind it what waits for the vector unit, or for step s + 1 to begin.


def _load_keys(step: Ints, ahead: bool) -> Ints:
    """Return the place of loads: `LOOKAHEAD_STEPS` steps ahead of the step that needs them, or right before it."""
    return 4 * (step - LOOKAHEAD_STEPS) if ahead else 4 * step


def _store_keys(step: Ints) -> Ints:
    """Return the place of stores: behind the loads for `LOOKAHEAD_STEPS` steps later."""
    return 4 * step + 2


def _free_keys(release: Ints) -> Ints:
    """Return where the array has come as far as ``release`` (half steps): at a step's end, or behind it at a begin."""
    return 2 * np.maximum(release, -2) - 4 + release % 2


def _drained_keys(schedule: LayerSchedule, number: Ints) -> Ints:
    """Return the end of the last step of so many outputs, which then leave; before everything where there are none."""
    last = schedule.outputs.last_step
    return np.where(number > 0, 4 * last[np.maximum(number - 1, 0)], _load_keys(np.zeros_like(number), True))


def _input_keys(schedule: LayerSchedule) -> Ints:
    inputs = schedule.inputs
    return np.maximum(_load_keys(inputs.step, schedule.loads_ahead), _free_keys(inputs.release))


def _weight_keys(schedule: LayerSchedule) -> Ints:
    """Return the place of weight loads; the first tiles of a layer stand before everything else, for prefetching."""
    weights = schedule.weights
    if not schedule.loads_ahead:
        return _load_keys(weights.step, False)
    first = (weights.release == NO_RELEASE) & (weights.step < LOOKAHEAD_STEPS)
    release = weights.release
    if schedule.uses_decoder:  # stored bits take the place of those of a tile that has one in the weight buffer
        decoded = weights.fetch_release
        release = np.where(decoded > 0, release[np.maximum(decoded - 1, 0)], NO_RELEASE)
    keys = np.maximum(_load_keys(weights.step, True), _free_keys(release))
    return np.where(first, _load_keys(weights.step - LOOKAHEAD_STEPS, True), keys)


def _psum_keys(schedule: LayerSchedule) -> Ints:
    """Return the place of partial-sum reads: as early as other loads, but right behind the store that they read back.

    They must stand before the loads of later steps, which may wait for the end of the step that needs the partial sums.
    """
    outputs = schedule.outputs
    own = _load_keys(outputs.first_step, schedule.loads_ahead)
    own = np.maximum(own, _drained_keys(schedule, outputs.open_after) + 1)  # the array waits for them, not for stores
    behind = _store_keys(outputs.last_step[np.maximum(outputs.after_store, 0)]) + 1
    return np.where(outputs.after_store >= 0, np.maximum(own, behind), own)


def _residual_keys(schedule: LayerSchedule) -> Ints:
    """Return the place of residual loads: as early as other loads, but where the tile two before has left its place."""
    last = schedule.outputs.last_step
    own = _load_keys(last, schedule.loads_ahead)
    return np.maximum(own, _drained_keys(schedule, np.arange(last.size, dtype=np.int64) - 1) + 3)


def _offsets(kinds: Ints, num_bytes: Ints) -> Ints:
    """Return the byte offset of each request within its kind's region, where tiles lie in order of use."""
    offsets = np.zeros(kinds.size, dtype=np.int64)
    for kind in range(5):
        chosen = np.flatnonzero(kinds == kind)
        if chosen.size:
            offsets[chosen] = np.concatenate([[0], np.cumsum(num_bytes[chosen])[:-1]])
    return offsets
