"""The DMA engine: issues the requests of each layer's program in order, each as soon as its place is free."""

from __future__ import annotations

from accelsim.mapping.program import STORE
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
        """Walk through the programs of all layers; each request waits for its place and for its data."""
        chip = self.chip
        layers, array, freed, drained, stored = (
            chip.layers, chip.array, chip.decoder_free, chip.drained, chip.stored,
        )  # fmt: skip
        for self.layer, lists in enumerate(chip.lists):
            self.index, num = 0, len(lists.program.kind)
            while self.index < num:
                index = self.index
                if layers.value < lists.request_layers[index]:
                    yield layers.reached(lists.request_layers[index], self)
                if array.value < lists.request_array[index]:
                    yield array.reached(lists.request_array[index], self)
                if freed.value < lists.request_freed[index]:
                    yield freed.reached(lists.request_freed[index], self)
                if drained.value < lists.request_drained[index]:
                    self.blocked.begin()
                    yield drained.reached(lists.request_drained[index], self)
                    self.blocked.end()
                if stored.value < lists.request_stored[index]:
                    yield stored.reached(lists.request_stored[index], self)
                self._issue(lists)
                self.index += 1
            self._next_regions(lists)

    def _issue(self, lists: LayerLists) -> None:
        chip, program = self.chip, lists.program
        kind, num_bytes = program.kind[self.index], program.num_bytes[self.index]
        now = chip.env.cycle
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
        self.later(self.arrivals[kind], served.end_cycle - now)

    def _next_regions(self, lists: LayerLists) -> None:
        """Lay the next layer's tensors behind this one's."""
        for kind, moved in enumerate(self.moved_bytes[self.layer]):
            self.region[kind] = (self.region[kind] + moved) % REGION_BYTES
