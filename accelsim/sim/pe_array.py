"""The PE array: takes one tile a step; where it waits, the cause is the unit that it waits for.

A wait for a unit that itself waits for DRAM is a wait for DRAM.
"""

from __future__ import annotations

from collections.abc import Callable

from accelsim.sim.chip import Chip, LayerLists, Unit
from accelsim.sim.counters import CAUSES
from accelsim.sim.environment import Blocked, Process, Progress


class PeArray(Unit):
    """Runs the steps of all layers and accounts for every cycle of each layer.

    Attributes
    ----------
    causes
        Cause -> cycles, per layer; they add up to the layer's latency.
    ends
        The cycle in which each layer ended.
    after_step
        Called after each step, for the detection of periods; None where that is off.
    """

    __slots__ = ("after_step", "causes", "decoder", "dma", "ends", "generator", "vector")

    def __init__(self, chip: Chip, dma: Unit, decoder: Unit, generator: Unit, vector: Unit) -> None:
        super().__init__(chip, "pe_array")
        self.causes = [dict.fromkeys(CAUSES, 0) for _ in chip.lists]
        self.ends: list[int] = []
        self.dma = dma.blocked
        self.decoder, self.generator, self.vector = decoder.blocked, generator.blocked, vector.blocked
        self.after_step: Callable[[], None] | None = None

    def run(self) -> Process:
        """Run all layers, one after another."""
        chip = self.chip
        for self.layer, lists in enumerate(chip.lists):
            self.index = 0
            while self.index < lists.num_steps:
                yield from self._operands(lists)
                chip.array.advance(2 * (lists.base_step + self.index) + 1)
                if lists.array_cycles[self.index]:
                    yield from self._compute(lists)
                leaves = lists.leave_at[self.index]
                self.index += 1
                chip.array.advance(2 * (lists.base_step + self.index))
                if leaves >= 0:
                    chip.ready.advance(lists.base_output + leaves + 1)
                if self.after_step is not None:
                    self.after_step()
            yield from self._finish(lists)

    def _wait(self, counter: Progress, value: int, cause: str, blocked: Blocked) -> Process:
        """Wait for a counter; cycles in which the awaited unit was itself blocked are those of whom it waited for.

        Decoder, generator and vector unit wait for DRAM; the DMA engine for the vector unit, whose results it stores.
        """
        env = self.chip.env
        start, before = int(env.now), blocked.now()
        yield counter.reached(value, self)
        waited = int(env.now) - start
        upstream = min(waited, blocked.now() - before)
        other = "wait_vector" if cause == "wait_dram" else "wait_dram"
        causes = self.causes[self.layer]
        causes[other] += upstream
        causes[cause] += waited - upstream
        if self.chip.probe is not None:
            middle = start + upstream
            for name, begin, end in ((other, start, middle), (cause, middle, start + waited)):
                if begin < end:
                    self.chip.probe.slice("stall", self.layer, name, self.index, begin, end)

    def _operands(self, lists: LayerLists) -> Process:
        """Wait for all that the next step needs."""
        chip, step = self.chip, self.index
        event = lists.input_at[step]
        if event >= 0:
            value = lists.base_input + lists.input_fetches[event]
            if lists.input_fetches[event] and chip.inputs.value < value:
                yield from self._wait(chip.inputs, value, "wait_dram", self.dma)
        visit = lists.open_at[step]
        if visit >= 0:
            value = lists.base_output + lists.open_after[visit]
            if chip.drained.value < value:
                yield from self._wait(chip.drained, value, "wait_vector", self.vector)
            value = lists.base_psum + lists.psum_reads[visit]
            if lists.psum_reads[visit] and chip.psums.value < value:
                yield from self._wait(chip.psums, value, "wait_dram", self.dma)
        event = lists.weight_at[step]
        if event >= 0:
            yield from self._weights(lists, event)

    def _weights(self, lists: LayerLists, event: int) -> Process:
        """Wait for a weight tile: from the decoder and the generator, or straight from DRAM."""
        chip, schedule = self.chip, lists.schedule
        fetch = lists.base_fetch + lists.weight_fetches[event]
        if not schedule.uses_decoder and lists.weight_fetches[event] and chip.fetched.value < fetch:
            yield from self._wait(chip.fetched, fetch, "wait_dram", self.dma)
        if schedule.uses_decoder and chip.decoded.value < lists.base_decode + event + 1:
            yield from self._wait(chip.decoded, lists.base_decode + event + 1, "wait_decoder", self.decoder)
        if schedule.uses_generator and chip.generated.value < lists.base_generate + event + 1:
            yield from self._wait(chip.generated, lists.base_generate + event + 1, "wait_generator", self.generator)

    def _compute(self, lists: LayerLists) -> Process:
        causes, step = self.causes[self.layer], self.index
        compute, fill = lists.compute_cycles[step], lists.fill_cycles[step]
        total = lists.array_cycles[step]
        causes["compute"] += compute
        causes["fill_drain"] += fill
        causes["other"] += total - compute - fill
        yield from self.work(total)

    def _finish(self, lists: LayerLists) -> Process:
        """Wait until the layer's outputs have left the vector unit and, where they go there, have reached DRAM."""
        chip = self.chip
        drained = lists.base_output + lists.num_outputs
        if chip.drained.value < drained:
            yield from self._wait(chip.drained, drained, "wait_vector", self.vector)
        stored = lists.base_store + sum(1 for value in lists.schedule.outputs.store_bytes.tolist() if value)
        if chip.stored.value < stored:
            yield from self._wait(chip.stored, stored, "wait_dram", self.dma)
        self.ends.append(int(chip.env.now))
        chip.layers.advance(self.layer + 1)
