"""The mask decoder: expands the stored bits of a tile into a mask (or weights) over all its positions."""

from __future__ import annotations

from accelsim.sim.chip import Chip, Unit
from accelsim.sim.environment import Process


class MaskDecoder(Unit):
    """Takes tiles in order; waits for a place in the weight buffer and for the stored bits, then works."""

    __slots__ = ("latency_cycles",)

    def __init__(self, chip: Chip) -> None:
        super().__init__(chip, "mask_decoder")
        decoder = chip.hardware.mask_decoder
        self.latency_cycles = decoder.latency_cycles if decoder is not None else 0

    def run(self) -> Process:
        """Decode the weight tiles of all layers."""
        chip = self.chip
        for self.layer, lists in enumerate(chip.lists):
            if not lists.schedule.uses_decoder:
                continue
            self.index = 0
            while self.index < lists.num_weights:
                yield from self.weight_place(lists, lists.tile_fetched[self.index])
                if lists.decode_cycles[self.index]:
                    yield self.work(lists.decode_cycles[self.index])
                    self.wake = -1
                self.index += 1
                chip.decoder_free.advance(chip.decoder_free.value + 1)
                self.later(chip.decoded, self.latency_cycles)
