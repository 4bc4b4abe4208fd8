"""Multicoated supermasks: several nested masks, summed, on regenerated weights."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from accelsim.errors import MappingError
from accelsim.storage.base import StoredBits, WeightPlan
from accelsim.storage.encoded import EncodedWeights, IntTensor, check_range, pack, unpack
from accelsim.storage.slt import (
    dense_part,
    multicoat_name,
    require_ticket,
    seed_bits,
    source_of_network,
    source_to_regenerate,
    weight_value_bits,
)
from accelsim.trace.model import LayerWeights


@dataclass(frozen=True, slots=True)
class MulticoatFormat:
    """``num_coats`` masks, each a subset of the one before; a weight counts as often as masks keep it.

    After Okoshi et al., ICML 2022. A ticket with as many coats is stored as it is: the first coat is its mask, a bit
    per free weight; the next has a bit per free weight that the coat before keeps, as the authors' code sizes a model.

    A ticket with one mask is taken as the first coat of a dense source, a bit per position. How many weights a further
    coat keeps is then not in it: with density d the i-th keeps d^i, which linearly spaced thresholds give on Laplacian
    scores (the authors' example, ResNet-50 with three coats at 70 % sparsity, keeps 0.300, 0.079 and 0.032; d^i is
    0.300, 0.090, 0.027).
    """

    name: str
    num_coats: int

    @property
    def summary(self) -> str:
        """One line for lists."""
        return f"{self.num_coats} nested masks, summed; weights are regenerated"

    def plan(self, weights: LayerWeights) -> WeightPlan:
        """Return the plan of a layer; O(1). Raise `MappingError` if the layer has no supermask."""
        if weights.beside_supermasks:
            return dense_part(self.name, weights)
        require_ticket(self.name, weights)
        source = source_to_regenerate(weights)
        value_bits = weight_value_bits(source)
        num_mask_bits = self._num_mask_bits(weights)
        return WeightPlan(
            format=self.name,
            stored_bits=StoredBits(
                mask=num_mask_bits,
                seed=seed_bits(source, weights.shape[0]),
                scale=weights.num_scale_bits,
            ),
            buffer_bits_per_weight=value_bits + self.num_coats.bit_length(),
            arithmetic="int4" if value_bits + self.num_coats.bit_length() <= 4 else "int8",
            decoder="multicoat",
            decoder_symbols=num_mask_bits,
            source=source if weights.coat_kept else source_of_network(source, "dense"),
            num_nonzero=weights.num_kept,
            synthetic=not weights.coat_kept,
        )

    def _num_mask_bits(self, weights: LayerWeights) -> int:
        if not weights.coat_kept:
            return sum(self.coat_counts(weights.num_weights, weights.num_kept)[:-1])
        if len(weights.coat_kept) + 1 != self.num_coats:
            raise MappingError(
                f"storage {self.name}: holds {self.num_coats} coats, the ticket has {len(weights.coat_kept) + 1}; "
                f"choose {multicoat_name(len(weights.coat_kept) + 1)}"
            )
        return weights.num_free + weights.num_kept - weights.num_locked + sum(weights.coat_kept[:-1])

    def coat_counts(self, num_weights: int, num_kept: int) -> tuple[int, ...]:
        """Return the number of weights, then how many of them each coat keeps."""
        density = num_kept / num_weights
        return (num_weights, num_kept, *(round(num_weights * density**coat) for coat in range(2, self.num_coats + 1)))

    def encode(self, coat_sums: IntTensor) -> EncodedWeights:
        """Return encoded how many coats keep each weight, 0 to ``num_coats``."""
        check_range(self.name, coat_sums, 0, self.num_coats)
        flat = coat_sums.ravel()
        coats = [flat[flat >= coat - 1] >= coat for coat in range(1, self.num_coats + 1)]
        return EncodedWeights(
            format=self.name,
            shape=coat_sums.shape,
            bits=StoredBits(mask=sum(coat.size for coat in coats)),
            mask=pack(*coats),
        )

    def decode(self, encoded: EncodedWeights) -> IntTensor:
        """Return the int8 sums that were encoded."""
        sums = np.zeros(encoded.num_weights, dtype=np.int8)
        open_positions = np.arange(encoded.num_weights)
        first_bit = 0
        for _ in range(self.num_coats):
            kept = unpack(encoded.mask, open_positions.size, first_bit).astype(np.bool_)
            first_bit += open_positions.size
            open_positions = open_positions[kept]
            sums[open_positions] += 1
        if first_bit != encoded.bits.mask:
            raise MappingError(
                f"storage {self.name}: {encoded.bits.mask} mask bits where the coats have {first_bit}; the data are "
                "damaged"
            )
        return sums.reshape(encoded.shape)


FORMATS = (
    MulticoatFormat("multicoat", 2),
    MulticoatFormat("multicoat-3", 3),
    MulticoatFormat("multicoat-7", 7),
)
