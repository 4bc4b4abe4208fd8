"""The PE array: takes one tile a step; where it waits, the cause is the unit that it waits for.

A wait for a unit that itself waits for DRAM is a wait for DRAM.
"""

from __future__ import annotations

from collections.abc import Callable

from simpy.events import Event

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
        inputs, drained, psums = chip.inputs, chip.drained, chip.psums
        fetched, decoded, generated = chip.fetched, chip.decoded, chip.generated
        for self.layer, lists in enumerate(chip.lists):
            self.index, num_steps = 0, lists.num_steps
            while self.index < num_steps:
                step = self.index
                if (
                    inputs.value < lists.step_inputs[step]
                    or drained.value < lists.step_drained[step]
                    or psums.value < lists.step_psums[step]
                    or fetched.value < lists.step_fetched[step]
                    or decoded.value < lists.step_decoded[step]
                    or generated.value < lists.step_generated[step]
                ):
                    yield from self._operands(lists)
                chip.array.advance(2 * (lists.base_step + step) + 1)
                if lists.array_cycles[step]:
                    yield self._compute(lists)
                    self.wake = -1
                leaves = lists.leave_at[step]
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
        start, before = env.cycle, blocked.now() if blocked is not None else 0
        if load is not None:
            self.dma.watch(*load)
        yield counter.reached(value, self)
        waited = env.cycle - start
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
        if chip.inputs.value < lists.step_inputs[step]:
            yield from self._load(chip.inputs, lists.step_inputs[step])
        if chip.drained.value < lists.step_drained[step]:
            yield from self._wait(chip.drained, lists.step_drained[step], "wait_vector", self.vector, None)
        if chip.psums.value < lists.step_psums[step]:
            yield from self._load(chip.psums, lists.step_psums[step])
        # A weight tile comes from the decoder and the generator, or straight from DRAM.
        fetch, decoded, generated = lists.step_fetched[step], lists.step_decoded[step], lists.step_generated[step]
        if not lists.schedule.uses_decoder and chip.fetched.value < fetch:
            yield from self._load(chip.fetched, fetch)
        load = (chip.fetched, fetch) if fetch else None
        if chip.decoded.value < decoded:
            yield from self._wait(chip.decoded, decoded, "wait_decoder", self.decoder, load)
        if chip.generated.value < generated:
            yield from self._wait(chip.generated, generated, "wait_generator", self.generator, load)

    def _compute(self, lists: LayerLists) -> Event:
        causes, step = self.causes[self.layer], self.index
        compute, fill = lists.compute_cycles[step], lists.fill_cycles[step]
        total = lists.array_cycles[step]
        causes["compute"] += compute
        causes["fill_drain"] += fill
        causes["other"] += total - compute - fill
        return self.work(total)

    def _finish(self, lists: LayerLists) -> Process:
        """Wait until the layer's outputs have left the vector unit and, where they go there, have reached DRAM."""
        chip = self.chip
        drained = lists.base_output + lists.num_outputs
        if chip.drained.value < drained:
            yield from self._wait(chip.drained, drained, "wait_vector", self.vector, None)
        if chip.stored.value < lists.all_stored:
            yield from self._load(chip.stored, lists.all_stored)
        self.ends.append(chip.env.cycle)
        chip.layers.advance(self.layer + 1)
