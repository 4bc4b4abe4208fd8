"""The DMA engine: issues the requests of each layer's program in order, each as soon as its place is free."""

from __future__ import annotations

from accelsim.mapping.program import INPUT, PSUM_READ, RESIDUAL, STORE, WEIGHT
from accelsim.mapping.schedule import NO_RELEASE
from accelsim.sim.chip import Chip, LayerLists, Unit
from accelsim.sim.dram.memory import MemoryModel
from accelsim.sim.environment import Blocked, Process, Progress

REGION_BYTES = 1 << 28  # loads, inputs, partial sums, residuals and outputs lie in memory regions of their own


class Dma(Unit):
    """Issues requests; the memory orders their data on its bus, and their arrival raises the counter of their kind."""

    __slots__ = (
        "arrivals", "blocked_at_issue", "blocked_before", "memory", "missing", "moved_bytes", "region", "watched",
    )  # fmt: skip

    def __init__(self, chip: Chip, memory: MemoryModel, vector: Unit) -> None:
        super().__init__(chip, "dma")
        self.blocked = Blocked(chip.env, vector.blocked)
        self.memory = memory
        self.arrivals: list[Progress] = [chip.fetched, chip.inputs, chip.psums, chip.residuals, chip.stored]
        self.moved_bytes = [[0] * 5 for _ in chip.lists]
        self.region = [0] * 5
        self.watched: Progress = chip.fetched
        self.missing = 0
        self.blocked_before = self.blocked_at_issue = 0

    def watch(self, counter: Progress, value: int) -> None:
        """Watch for the issue of the request whose arrival raises ``counter`` to ``value``."""
        on_its_way = sum(name == counter.name for _, name in self.arriving)
        self.watched, self.missing = counter, value - counter.value - on_its_way
        self.blocked_before = self.blocked_at_issue = self.blocked.now()

    def held_up(self) -> int:
        """Return the cycles since `watch` in which the vector unit kept the watched request from being issued."""
        return (self.blocked.now() if self.missing > 0 else self.blocked_at_issue) - self.blocked_before

    def run(self) -> Process:
        """Walk through the programs of all layers."""
        chip = self.chip
        for self.layer, lists in enumerate(chip.lists):
            program = lists.program
            self.index = 0
            while self.index < len(program.kind):
                for counter, value in self._conditions(lists):
                    if counter.value < value and counter is chip.drained:
                        self.blocked.begin()
                        yield counter.reached(value, self)
                        self.blocked.end()
                    elif counter.value < value:
                        yield counter.reached(value, self)
                self._issue(lists)
                self.index += 1
            self._next_regions(lists)

    def _conditions(self, lists: LayerLists) -> list[tuple[Progress, int]]:
        """Return what the next request waits for: (counter, value) pairs."""
        chip, program = self.chip, lists.program
        kind, event = program.kind[self.index], program.event[self.index]
        if kind == WEIGHT:
            return self._weight_conditions(lists, event)
        started = (chip.layers, self.layer)
        if kind == INPUT:
            return [started, (chip.array, lists.input_release[event])]
        if kind == PSUM_READ:
            written = lists.stores_before[lists.after_store[event]] + 1 if lists.after_store[event] >= 0 else 0
            return [
                started,
                (chip.drained, lists.base_output + lists.open_after[event]),
                (chip.stored, lists.base_store + written),
            ]
        if kind == RESIDUAL:
            return [started, (chip.drained, lists.base_output + event - 1)]
        return [(chip.drained, lists.base_output + event + 1)]

    def _weight_conditions(self, lists: LayerLists, event: int) -> list[tuple[Progress, int]]:
        """Return what a weight load waits for: its place in the mask buffer, or (no decoder) in the weight buffer."""
        chip = self.chip
        waits: list[tuple[Progress, int]] = []
        if not chip.hardware.mapping.prefetch_next_layer:
            waits.append((chip.layers, self.layer))
        if lists.schedule.uses_decoder:
            waits.append((chip.decoder_free, lists.base_decode + lists.fetch_release[event]))
            return waits
        release = lists.weight_release[event]
        waits.append((chip.array, lists.prefetch_release if release == NO_RELEASE else release))
        return waits

    def _issue(self, lists: LayerLists) -> None:
        chip, program = self.chip, lists.program
        kind, num_bytes = program.kind[self.index], program.num_bytes[self.index]
        now = int(chip.env.now)
        address = kind * REGION_BYTES + (self.region[kind] + program.offset[self.index]) % REGION_BYTES
        served = self.memory.serve(now, address, num_bytes, kind == STORE)
        self.moved_bytes[self.layer][kind] += num_bytes
        self.note_work(served.end_cycle - served.busy_cycles, served.end_cycle)
        if chip.probe is not None:
            chip.probe.slice(
                "dram", self.layer, str(kind), self.index, served.end_cycle - served.busy_cycles, served.end_cycle
            )
        if self.missing > 0 and self.arrivals[kind] is self.watched:
            self.missing -= 1
            self.blocked_at_issue = self.blocked.now()
        self.later(self.arrivals[kind], 1, served.end_cycle - now)

    def _next_regions(self, lists: LayerLists) -> None:
        """Lay the next layer's tensors behind this one's."""
        for kind, moved in enumerate(self.moved_bytes[self.layer]):
            self.region[kind] = (self.region[kind] + moved) % REGION_BYTES
