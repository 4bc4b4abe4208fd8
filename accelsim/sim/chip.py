"""What all units of the chip share: the clock, the schedule in plain lists, the progress counters, the probe."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Protocol

from accelsim.config.hardware import HardwareConfig
from accelsim.mapping.program import DmaProgram, build_program
from accelsim.mapping.schedule import NO_RELEASE, LayerSchedule, Schedule
from accelsim.sim.environment import Blocked, LeapEnvironment, Process, Progress


class Probe(Protocol):
    """Sees what each unit does; the timeline is one."""

    def slice(self, unit: str, layer: int, label: str, index: int, start_cycle: int, end_cycle: int) -> None:
        """Note that ``unit`` worked on item ``index`` from ``start_cycle`` to ``end_cycle``."""
        ...


@dataclass(slots=True)
class LayerLists:
    """One layer's schedule as plain lists (indexing a list is many times faster than indexing an array).

    The ``base_*`` numbers turn the layer's own event numbers into those of the whole network.
    """

    schedule: LayerSchedule
    program: DmaProgram
    base_step: int
    base_weight: int
    base_input: int
    base_output: int
    base_fetch: int
    base_store: int
    base_psum: int
    base_residual: int
    base_decode: int
    base_generate: int
    array_cycles: list[int]
    compute_cycles: list[int]
    fill_cycles: list[int]
    weight_at: list[int]
    input_at: list[int]
    open_at: list[int]
    leave_at: list[int]
    weight_release: list[int]
    weight_fetches: list[int]
    fetch_release: list[int]
    decode_cycles: list[int]
    generate_cycles: list[int]
    input_release: list[int]
    input_fetches: list[int]
    open_after: list[int]
    psum_reads: list[int]
    after_store: list[int]
    residuals: list[int]
    stores_before: list[int]
    vector_cycles: list[int]
    prefetch_release: int

    @property
    def num_steps(self) -> int:
        """Return the steps of the layer."""
        return len(self.array_cycles)

    @property
    def num_weights(self) -> int:
        """Return the weight events of the layer."""
        return len(self.weight_release)

    @property
    def num_outputs(self) -> int:
        """Return the output events of the layer."""
        return len(self.vector_cycles)


def _at_steps(num_steps: int, steps: list[int]) -> list[int]:
    """Return for each step the number of the event at it, or -1."""
    table = [-1] * num_steps
    for event, step in enumerate(steps):
        table[step] = event
    return table


def _running_count(present: list[int]) -> list[int]:
    """Return for each event how many events up to it (included) are present, or 0 where it is not."""
    count, table = 0, []
    for value in present:
        count += 1 if value else 0
        table.append(count if value else 0)
    return table


def _prefetch_release(
    before: LayerLists | None, schedule: LayerSchedule, hardware: HardwareConfig, base_step: int
) -> int:
    """Return the array progress from which a layer's first weight block may be loaded.

    If it fits beside what the layer before still holds, that is when the layer before has taken its last weight tile.
    """
    own = 2 * base_step
    if before is None or not hardware.mapping.prefetch_next_layer:
        return own
    taken = before.schedule.occupancy_bytes.get("weight_buffer", 0)
    needed = schedule.occupancy_bytes.get("weight_buffer", 0)
    if hardware.memory != "ideal" and taken + needed > hardware.weight_buffer.capacity_bytes:
        halves = max(taken, needed) <= hardware.weight_buffer.capacity_bytes // 2
        if not halves:
            return own
    steps = before.schedule.weights.step
    last = int(steps[-1]) if steps.size else 0
    return 2 * (before.base_step + last) + 1


def layer_lists(schedule: Schedule, hardware: HardwareConfig) -> list[LayerLists]:
    """Return the lists of all layers, with their base numbers."""
    lists: list[LayerLists] = []
    bases = [0] * 10
    for layer in schedule.layers:
        weights, inputs, outputs = layer.weights, layer.inputs, layer.outputs
        stores = [1 if value else 0 for value in outputs.store_bytes.tolist()]
        stores_before = [0] * len(stores)
        for event in range(1, len(stores)):
            stores_before[event] = stores_before[event - 1] + stores[event - 1]
        fetches = _running_count(weights.fetch_bytes.tolist())
        input_fetches = _running_count(inputs.fetch_bytes.tolist())
        psums, residuals = (
            _running_count(outputs.psum_read_bytes.tolist()),
            _running_count(outputs.residual_bytes.tolist()),
        )
        lists.append(
            LayerLists(
                schedule=layer,
                program=build_program(layer),
                base_step=bases[0],
                base_weight=bases[1],
                base_input=bases[2],
                base_output=bases[3],
                base_fetch=bases[4],
                base_store=bases[5],
                base_psum=bases[6],
                base_residual=bases[7],
                base_decode=bases[8],
                base_generate=bases[9],
                array_cycles=layer.array_cycles.tolist(),
                compute_cycles=layer.compute_cycles.tolist(),
                fill_cycles=layer.fill_drain_cycles.tolist(),
                weight_at=_at_steps(layer.num_steps, weights.step.tolist()),
                input_at=_at_steps(layer.num_steps, inputs.step.tolist()),
                open_at=_at_steps(layer.num_steps, outputs.first_step.tolist()),
                leave_at=_at_steps(layer.num_steps, outputs.last_step.tolist()),
                weight_release=[NO_RELEASE if v == NO_RELEASE else v + 2 * bases[0] for v in weights.release.tolist()],
                weight_fetches=fetches,
                fetch_release=weights.fetch_release.tolist(),
                decode_cycles=weights.decode_cycles.tolist(),
                generate_cycles=weights.generate_cycles.tolist(),
                input_release=[NO_RELEASE if v == NO_RELEASE else v + 2 * bases[0] for v in inputs.release.tolist()],
                input_fetches=input_fetches,
                open_after=outputs.open_after.tolist(),
                psum_reads=psums,
                after_store=outputs.after_store.tolist(),
                residuals=residuals,
                stores_before=stores_before,
                vector_cycles=outputs.vector_cycles.tolist(),
                prefetch_release=_prefetch_release(lists[-1] if lists else None, layer, hardware, bases[0]),
            )  # fmt: skip
        )
        added = (
            layer.num_steps, len(weights.step), max(input_fetches, default=0), len(outputs.first_step),
            max(fetches, default=0), sum(stores), max(psums, default=0), max(residuals, default=0),
            len(weights.step) if layer.uses_decoder else 0, len(weights.step) if layer.uses_generator else 0,
        )  # fmt: skip
        bases = [base + more for base, more in zip(bases, added, strict=True)]
    return lists


class Unit:
    """A unit of the chip: one SimPy process over all layers and, within a layer, over its events in order.

    Attributes
    ----------
    layer, index
        The event it works on or waits for.
    wake
        The cycle at which its present work ends, or -1 while it waits.
    is_done
        Whether it has nothing more to do in the whole run.
    busy
        Cycles worked so far, per layer, from the layer's beginning on.
    ahead
        First cycle and end of work for a layer that had not begun.
    arriving
        Cycles at which results on their way through the pipeline (or from memory) arrive, in order.
    """

    __slots__ = ("ahead", "arriving", "blocked", "busy", "chip", "index", "is_done", "layer", "name", "wake")

    def __init__(self, chip: Chip, name: str) -> None:
        self.chip = chip
        self.name = name
        self.layer = 0
        self.index = 0
        self.wake = -1
        self.is_done = False
        self.ahead: list[tuple[int, int]] = []
        self.busy = [0] * len(chip.lists)
        self.blocked = Blocked(chip.env)
        self.arriving: deque[tuple[int, str]] = deque()

    def run(self) -> Process:
        """Work through all layers; every unit has its own."""
        raise NotImplementedError

    def live(self) -> Process:
        """Run to the end and note that it is reached."""
        yield from self.run()
        self.is_done = True

    def weight_place(self, lists: LayerLists, fetch: int) -> Process:
        """Wait for a place in the weight buffer, and for the ``fetch``-th tile from DRAM (0: for none)."""
        chip = self.chip
        release = lists.weight_release[self.index]
        place = lists.prefetch_release if release == NO_RELEASE else release
        if chip.array.value < place:
            yield chip.array.reached(place, self)
        if fetch and chip.fetched.value < lists.base_fetch + fetch:
            self.blocked.begin()
            yield chip.fetched.reached(lists.base_fetch + fetch, self)
            self.blocked.end()

    def work(self, cycles: int) -> Process:
        """Be busy for ``cycles``."""
        env = self.chip.env
        start = int(env.now)
        self.note_work(start, start + cycles)
        self.wake = start + cycles
        if self.chip.probe is not None:
            self.chip.probe.slice(self.name, self.layer, "", self.index, start, start + cycles)
        yield env.timeout(cycles)
        self.wake = -1

    def note_work(self, start: int, end: int) -> None:
        """Account for work from cycle ``start`` to ``end``."""
        if self.chip.layers.value < self.layer:
            self.ahead.append((start, end))
        else:
            self.busy[self.layer] += end - start

    def later(self, counter: Progress, difference: int, delay: int) -> None:
        """Raise a counter by ``difference`` after ``delay`` cycles (a pipeline's latency)."""
        if delay == 0:
            counter.advance(counter.value + difference)
            return
        self.arriving.append((int(self.chip.env.now) + delay, counter.name))
        self.chip.env.timeout(delay).callbacks.append(lambda _: self._arrive(counter, difference))

    def _arrive(self, counter: Progress, difference: int) -> None:
        self.arriving.remove((int(self.chip.env.now), counter.name))
        counter.advance(counter.value + difference)


@dataclass(slots=True)
class Chip:
    """The state that units share. Counters count over the whole network.

    Attributes
    ----------
    array
        Half steps of the array: 2 s when steps below s have ended, 2 s + 1 when step s has begun.
    fetched, inputs, psums, residuals, stored
        Requests of each kind whose data have arrived (or have been written).
    decoded, generated
        Weight tiles that have left decoder and generator; ``decoder_free``: tiles whose stored bits are used up.
    ready, drained
        Output visits handed to the vector unit, and finished by it.
    layers
        Layers that have ended.
    """

    env: LeapEnvironment
    hardware: HardwareConfig
    lists: list[LayerLists]
    probe: Probe | None
    array: Progress = field(init=False)
    fetched: Progress = field(init=False)
    inputs: Progress = field(init=False)
    psums: Progress = field(init=False)
    residuals: Progress = field(init=False)
    stored: Progress = field(init=False)
    decoder_free: Progress = field(init=False)
    decoded: Progress = field(init=False)
    generated: Progress = field(init=False)
    ready: Progress = field(init=False)
    drained: Progress = field(init=False)
    layers: Progress = field(init=False)

    def __post_init__(self) -> None:
        """Create the counters, all at 0."""
        for name, words in COUNTER_NAMES.items():
            setattr(self, name, Progress(self.env, words))


COUNTER_NAMES = {
    "array": "steps of the PE array",
    "fetched": "weight tiles from DRAM",
    "inputs": "input tiles from DRAM",
    "psums": "partial sums from DRAM",
    "residuals": "residual tiles from DRAM",
    "stored": "stores to DRAM",
    "decoder_free": "tiles consumed by the mask decoder",
    "decoded": "tiles from the mask decoder",
    "generated": "tiles from the weight generator",
    "ready": "output tiles from the PE array",
    "drained": "output tiles from the vector unit",
    "layers": "finished layers",
}
