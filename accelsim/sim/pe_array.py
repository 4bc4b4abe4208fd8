"""The PE array: takes one tile a step; where it waits, the cause is the unit that it waits for.

A wait for a unit that itself waits for DRAM is a wait for DRAM.
"""

from __future__ import annotations

from collections.abc import Callable

from accelsim.sim.chip import Chip, LayerLists, Unit
from accelsim.sim.counters import CAUSES
from accelsim.sim.dma import Dma
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

    def __init__(self, chip: Chip, dma: Dma, decoder: Unit, generator: Unit, vector: Unit) -> None:
        super().__init__(chip, "pe_array")
        self.causes = [dict.fromkeys(CAUSES, 0) for _ in chip.lists]
        self.ends: list[int] = []
        self.dma = dma
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

    def _wait(
        self, counter: Progress, value: int, cause: str, blocked: Blocked | None, load: tuple[Progress, int] | None
    ) -> Process:
        """Wait for a counter; cycles in which the awaited unit was itself blocked are those of whom it waited for.

        Decoder, generator and vector unit (``blocked``) wait for DRAM; the DMA engine may be kept from issuing ``load``
        by the vector unit, whose results it stores.
        """
        env = self.chip.env
        start, before = int(env.now), blocked.now() if blocked is not None else 0
        if load is not None:
            self.dma.watch(*load)
        yield counter.reached(value, self)
        waited = int(env.now) - start
        upstream = waited if blocked is None else min(waited, blocked.now() - before)
        stores = min(upstream, self.dma.held_up()) if load is not None else 0
        causes = self.causes[self.layer]
        for name, cycles in (("wait_vector", stores), ("wait_dram", upstream - stores), (cause, waited - upstream)):
            causes[name] += cycles
            if cycles and self.chip.probe is not None:
                self.chip.probe.slice("stall", self.layer, name, self.index, start, start + cycles)
            start += cycles

    def _load(self, counter: Progress, value: int) -> Process:
        """Wait for data from DRAM."""
        yield from self._wait(counter, value, "wait_dram", None, (counter, value))

    def _operands(self, lists: LayerLists) -> Process:
        """Wait for all that the next step needs."""
        chip, step = self.chip, self.index
        event = lists.input_at[step]
        if event >= 0:
            value = lists.base_input + lists.input_fetches[event]
            if lists.input_fetches[event] and chip.inputs.value < value:
                yield from self._load(chip.inputs, value)
        visit = lists.open_at[step]
        if visit >= 0:
            value = lists.base_output + lists.open_after[visit]
            if chip.drained.value < value:
                yield from self._wait(chip.drained, value, "wait_vector", self.vector, None)
            value = lists.base_psum + lists.psum_reads[visit]
            if lists.psum_reads[visit] and chip.psums.value < value:
                yield from self._load(chip.psums, value)
        event = lists.weight_at[step]
        if event >= 0:
            yield from self._weights(lists, event)

    def _weights(self, lists: LayerLists, event: int) -> Process:
        """Wait for a weight tile: from the decoder and the generator, or straight from DRAM."""
        chip, schedule = self.chip, lists.schedule
        fetch = lists.base_fetch + lists.weight_fetches[event]
        if not schedule.uses_decoder and lists.weight_fetches[event] and chip.fetched.value < fetch:
            yield from self._load(chip.fetched, fetch)
        load = (chip.fetched, fetch) if lists.weight_fetches[event] else None
        decoded, generated = lists.base_decode + event + 1, lists.base_generate + event + 1
        if schedule.uses_decoder and chip.decoded.value < decoded:
            yield from self._wait(chip.decoded, decoded, "wait_decoder", self.decoder, load)
        if schedule.uses_generator and chip.generated.value < generated:
            yield from self._wait(chip.generated, generated, "wait_generator", self.generator, load)

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
            yield from self._wait(chip.drained, drained, "wait_vector", self.vector, None)
        stored = lists.base_store + sum(1 for value in lists.schedule.outputs.store_bytes.tolist() if value)
        if chip.stored.value < stored:
            yield from self._load(chip.stored, stored)
        self.ends.append(int(chip.env.now))
        chip.layers.advance(self.layer + 1)
