"""The vector unit: normalisation, activation, pooling and residual additions on finished output tiles."""

from __future__ import annotations

from accelsim.sim.chip import Chip, Unit
from accelsim.sim.environment import Process


class VectorUnit(Unit):
    """Takes output tiles in order; waits for the tile, for residuals from DRAM and for a place to store, then works.

    Outputs that leave the chip are staged twice: the tile before may still be on its way to DRAM.
    """

    __slots__ = ()

    def __init__(self, chip: Chip) -> None:
        super().__init__(chip, "vector_unit")

    def run(self) -> Process:
        """Process the output tiles of all layers."""
        chip = self.chip
        latency = chip.hardware.vector_unit.latency_cycles
        for self.layer, lists in enumerate(chip.lists):
            self.index = 0
            while self.index < lists.num_outputs:
                value = lists.base_output + self.index + 1
                if chip.ready.value < value:
                    yield chip.ready.reached(value, self)
                residual = lists.output_residuals[self.index]
                if chip.residuals.value < residual:
                    self.blocked.begin()
                    yield chip.residuals.reached(residual, self)
                    self.blocked.end()
                staged = lists.output_stored[self.index]
                if chip.stored.value < staged:
                    self.blocked.begin()
                    yield chip.stored.reached(staged, self)
                    self.blocked.end()
                if lists.vector_cycles[self.index]:
                    yield self.work(lists.vector_cycles[self.index])
                    self.wake = -1
                self.index += 1
                self.later(chip.drained, latency)
