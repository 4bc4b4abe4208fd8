"""The weight generator: regenerates the weights and the freezing map of a tile from its streams' seeds."""

from __future__ import annotations

from accelsim.sim.chip import Chip, Unit
from accelsim.sim.environment import Process


class WeightGenerator(Unit):
    """Takes tiles in order; waits for a place in the weight buffer and, if seeds are stored, for them; then works."""

    __slots__ = ("latency_cycles",)

    def __init__(self, chip: Chip) -> None:
        super().__init__(chip, "weight_generator")
        generator = chip.hardware.weight_generator
        self.latency_cycles = generator.latency_cycles if generator is not None else 0

    def run(self) -> Process:
        """Generate the weight tiles of all layers."""
        chip = self.chip
        for self.layer, lists in enumerate(chip.lists):
            if not lists.schedule.uses_generator:
                continue
            self.index = 0
            while self.index < lists.num_weights:
                fetch = lists.tile_fetched[self.index] if lists.schedule.seeds_with_tiles else 0
                yield from self.weight_place(lists, fetch)
                if lists.generate_cycles[self.index]:
                    yield self.work(lists.generate_cycles[self.index])
                    self.wake = -1
                self.index += 1
                self.later(chip.generated, self.latency_cycles)
