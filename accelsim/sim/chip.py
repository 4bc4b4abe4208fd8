"""What all units of the chip share: the clock, the schedule in plain lists, the progress counters, the probe."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from simpy.events import Event

from accelsim.config.hardware import HardwareConfig
from accelsim.mapping.program import STORE, WEIGHT, DmaProgram, build_program
from accelsim.mapping.schedule import NO_RELEASE, Ints, LayerSchedule, Schedule, first_weights_fit
from accelsim.mapping.waits import layer_waits
from accelsim.sim.environment import Alarm, Blocked, LeapEnvironment, Process, Progress


class Probe(Protocol):
    """Sees what each unit does; the timeline is one."""

    def slice(self, unit: str, layer: int, label: str, index: int, start_cycle: int, end_cycle: int) -> None:
        """Note that ``unit`` worked on item ``index`` from ``start_cycle`` to ``end_cycle``."""
        ...


@dataclass(slots=True)
class LayerLists:
    """One layer's schedule as plain lists (indexing a list is many times faster than indexing an array).

    The ``base_*`` numbers turn the layer's own event numbers into those of the whole network; what events wait for
    (``request_*``, ``step_*``, ``tile_*``, ``output_*``, see `accelsim.mapping.waits`) is in numbers of the network.
    """

    schedule: LayerSchedule
    program: DmaProgram
    base_step: int
    base_output: int
    num_weights: int
    num_outputs: int
    array_cycles: list[int]
    compute_cycles: list[int]
    fill_cycles: list[int]
    leave_at: list[int]
    decode_cycles: list[int]
    generate_cycles: list[int]
    vector_cycles: list[int]
    request_layers: list[int]
    request_array: list[int]
    request_freed: list[int]
    request_drained: list[int]
    request_stored: list[int]
    step_inputs: list[int]
    step_drained: list[int]
    step_psums: list[int]
    step_fetched: list[int]
    step_decoded: list[int]
    step_generated: list[int]
    tile_place: list[int]
    tile_fetched: list[int]
    output_residuals: list[int]
    output_stored: list[int]
    all_stored: int

    @property
    def num_steps(self) -> int:
        """Return the steps of the layer."""
        return len(self.array_cycles)


def _at_steps(num_steps: int, steps: list[int]) -> list[int]:
    """Return for each step the number of the event at it, or -1."""
    table = [-1] * num_steps
    for event, step in enumerate(steps):
        table[step] = event
    return table


def _prefetch_release(
    before: LayerLists | None, schedule: LayerSchedule, hardware: HardwareConfig, base_step: int
) -> int:
    """Return the array progress from which a layer's first weight block may be loaded."""
    if before is None or not first_weights_fit(before.schedule, schedule, hardware):
        return 2 * base_step
    steps = before.schedule.weights.step
    return 2 * (before.base_step + (int(steps[-1]) if steps.size else 0)) + 1


@dataclass(frozen=True, slots=True)
class _Bases:
    """Events of the layers before, by counter."""

    steps: int = 0
    outputs: int = 0
    fetches: int = 0
    inputs: int = 0
    psums: int = 0
    residuals: int = 0
    stores: int = 0
    decoded: int = 0
    generated: int = 0

    def behind(self, schedule: LayerSchedule) -> _Bases:
        """Return the events of the layers up to this one."""
        weights, inputs, outputs = schedule.weights, schedule.inputs, schedule.outputs
        return _Bases(
            steps=self.steps + schedule.num_steps,
            outputs=self.outputs + outputs.first_step.size,
            fetches=self.fetches + _num(weights.fetch_bytes),
            inputs=self.inputs + _num(inputs.fetch_bytes),
            psums=self.psums + _num(outputs.psum_read_bytes),
            residuals=self.residuals + _num(outputs.residual_bytes),
            stores=self.stores + _num(outputs.store_bytes),
            decoded=self.decoded + (weights.step.size if schedule.uses_decoder else 0),
            generated=self.generated + (weights.step.size if schedule.uses_generator else 0),
        )


def _num(num_bytes: Ints) -> int:
    """Return how many events move bytes."""
    return int(np.count_nonzero(num_bytes))


def _moved(values: Ints, base: int) -> list[int]:
    """Return counts of the layer as counts of the network; 0 where nothing is waited for."""
    return np.where(values > 0, values + base, 0).tolist()  # type: ignore[no-any-return]


def _progress(release: Ints, base_step: int, first: int) -> list[int]:
    """Return the array's progress in the network; ``first`` where the layer itself makes nothing wait."""
    return np.where(release == NO_RELEASE, first, release + 2 * base_step).tolist()  # type: ignore[no-any-return]


def layer_lists(schedule: Schedule, hardware: HardwareConfig) -> list[LayerLists]:
    """Return the lists of all layers, in numbers of the network."""
    lists: list[LayerLists] = []
    base = _Bases()
    for layer in schedule.layers:
        first = _prefetch_release(lists[-1] if lists else None, layer, hardware, base.steps)
        lists.append(_lists(layer, base, first, len(lists), hardware.mapping.prefetch_next_layer))
        base = base.behind(layer)
    return lists


def _lists(layer: LayerSchedule, base: _Bases, first: int, position: int, prefetches: bool) -> LayerLists:
    """Return the lists of a layer whose first weight block may be loaded from the array's progress ``first`` on."""
    program = build_program(layer)
    kinds = np.array(program.kind, dtype=np.int64)
    waits = layer_waits(layer, np.stack([kinds, np.array(program.event, dtype=np.int64)]))
    requests, steps = waits.requests, waits.steps
    # Weights may be loaded ahead; what they wait for in the layer before is the place, not the layer's end.
    from_start = (kinds != WEIGHT) & (kinds != STORE) | (kinds == WEIGHT) & (not prefetches)
    array = np.where((kinds == WEIGHT) & (requests.array == NO_RELEASE) & (not layer.uses_decoder), first, 0)
    held = requests.array != NO_RELEASE
    decoded = (kinds == WEIGHT) & layer.uses_decoder  # also the first: stored bits of two layers never lie together
    none = np.zeros_like(steps.tiles)
    return LayerLists(
        schedule=layer,
        program=program,
        base_step=base.steps,
        base_output=base.outputs,
        num_weights=int(layer.weights.step.size),
        num_outputs=int(layer.outputs.first_step.size),
        array_cycles=layer.array_cycles.tolist(),
        compute_cycles=layer.compute_cycles.tolist(),
        fill_cycles=layer.fill_drain_cycles.tolist(),
        leave_at=_at_steps(layer.num_steps, layer.outputs.last_step.tolist()),
        decode_cycles=layer.weights.decode_cycles.tolist(),
        generate_cycles=layer.weights.generate_cycles.tolist(),
        vector_cycles=layer.outputs.vector_cycles.tolist(),
        request_layers=np.where(from_start, position, 0).tolist(),
        request_array=np.where(held, requests.array + 2 * base.steps, array).tolist(),
        request_freed=np.where(decoded, requests.freed + base.decoded, 0).tolist(),
        request_drained=_moved(requests.drained, base.outputs),
        request_stored=_moved(requests.stored, base.stores),
        step_inputs=_moved(steps.inputs, base.inputs),
        step_drained=_moved(steps.drained, base.outputs),
        step_psums=_moved(steps.psums, base.psums),
        step_fetched=_moved(steps.fetched, base.fetches),
        step_decoded=_moved(steps.tiles if layer.uses_decoder else none, base.decoded),
        step_generated=_moved(steps.tiles if layer.uses_generator else none, base.generated),
        tile_place=_progress(layer.weights.release, base.steps, first),
        tile_fetched=_moved(waits.tile_fetched, base.fetches),
        output_residuals=_moved(waits.output_residuals, base.residuals),
        output_stored=_moved(waits.output_stored, base.stores),
        all_stored=base.stores + _num(layer.outputs.store_bytes),
    )


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
    arrivals_free
        Events of earlier arrivals, to be used again.
    """

    __slots__ = (
        "ahead", "alarm", "arrivals_free", "arriving", "blocked", "busy", "chip", "index", "is_done", "layer", "name",
        "wake",
    )  # fmt: skip

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
        self.alarm = Alarm(chip.env)
        self.arriving: deque[tuple[int, str]] = deque()
        self.arrivals_free: list[Arrival] = []

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
        place = lists.tile_place[self.index]
        if chip.array.value < place:
            yield chip.array.reached(place, self)
        if chip.fetched.value < fetch:
            self.blocked.begin()
            yield chip.fetched.reached(fetch, self)
            self.blocked.end()

    def work(self, cycles: int) -> Event:
        """Begin to be busy for ``cycles``; who has waited for the event returned clears `wake`."""
        chip = self.chip
        start = chip.env.cycle
        self.wake = end = start + cycles
        if chip.layers.value < self.layer:
            self.ahead.append((start, end))
        else:
            self.busy[self.layer] += cycles
        if chip.probe is not None:
            chip.probe.slice(self.name, self.layer, "", self.index, start, end)
        return self.alarm.arm().ring(cycles)

    def note_work(self, start: int, end: int) -> None:
        """Account for work from cycle ``start`` to ``end``."""
        if self.chip.layers.value < self.layer:
            self.ahead.append((start, end))
        else:
            self.busy[self.layer] += end - start

    def later(self, counter: Progress, delay: int) -> None:
        """Raise a counter by one after ``delay`` cycles (a pipeline's latency)."""
        if delay == 0:
            counter.advance(counter.value + 1)
            return
        env = self.chip.env
        self.arriving.append((env.cycle + delay, counter.name))
        arrival = self.arrivals_free.pop() if self.arrivals_free else Arrival(env, self)
        arrival.counter = counter
        arrival.arm().ring(delay)

    def arrive(self, event: Arrival) -> None:
        """Raise the counter whose time has come."""
        self.arrivals_free.append(event)
        counter = event.counter
        arrival = (self.chip.env.cycle, counter.name)
        if self.arriving[0] == arrival:
            self.arriving.popleft()
        else:
            self.arriving.remove(arrival)
        counter.advance(counter.value + 1)


class Arrival(Alarm):
    """What raises a unit's counter when it happens."""

    counter: Progress

    def __init__(self, env: LeapEnvironment, unit: Unit) -> None:
        super().__init__(env)
        self.unit = unit

    def arm(self) -> Arrival:
        """Make it pending again, to be taken by its unit."""
        super().arm()
        self.callbacks.append(self._happen)
        return self

    def _happen(self, _: Event) -> None:
        self.unit.arrive(self)


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
