"""ELSA: sparse networks nested in one stored network, the level chosen at run time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from accelsim.errors import MappingError
from accelsim.storage.base import StoredBits, WeightPlan
from accelsim.storage.encoded import (
    BitArray,
    BoolArray,
    EncodedWeights,
    IntTensor,
    check_range,
    field_bits,
    fields,
    pack,
    unpack,
)
from accelsim.trace.model import LayerWeights

VALUE_BITS = 8
LEVEL_SPARSITIES = (0.9, 0.75, 0.5)


@dataclass(frozen=True, slots=True)
class ElsaFormat:
    """A dense 8-bit network that embeds sparser ones as subsets of its weights.

    After Halvachi, Peste, Alistarh and Lampert, arXiv 2312.06872. The paper trains such networks and leaves their
    layout open; here each level from the sparsest on is a bitmap over the positions that no earlier level keeps, then
    the values that it adds; the dense level needs no bitmap. So a level reads a prefix of what is stored: the plan's
    ``stored_bits`` are the whole network, its ``fetched_bits`` the prefix.

    Attributes
    ----------
    level_sparsities
        Sparsities of the nested levels, sparsest first, without the dense one; None: one level, as sparse as the
        ticket.
    chosen_level
        Which level runs; ``len(level_sparsities)`` is the dense one.
    """

    name: str
    summary: str
    level_sparsities: tuple[float, ...] | None
    chosen_level: int

    def plan(self, weights: LayerWeights) -> WeightPlan:
        """Return the plan of a layer; O(1), for the size depends on counts alone."""
        level_counts = self.level_counts(weights)
        num_read = level_counts[self.chosen_level]
        real = self.level_sparsities is None and weights.load_mask is not None
        return WeightPlan(
            format=self.name,
            stored_bits=_level_bits(level_counts, len(level_counts) - 1, weights.num_scale_bits),
            buffer_bits_per_weight=VALUE_BITS,
            arithmetic="int8",
            decoder="none" if num_read == weights.num_weights and self.chosen_level == 0 else "bitmap",
            decoder_symbols=_level_bits(level_counts, self.chosen_level).mask,
            num_nonzero=num_read,
            synthetic=not real,
            fetched_bits=_level_bits(level_counts, self.chosen_level, weights.num_scale_bits),
        )

    def level_counts(self, weights: LayerWeights) -> tuple[int, ...]:
        """Return how many weights each level has, the dense one last."""
        total = weights.num_weights
        if self.level_sparsities is None:
            return (weights.num_kept, total)
        return (*(round((1.0 - sparsity) * total) for sparsity in self.level_sparsities), total)


def encode_levels(values: IntTensor, level_counts: tuple[int, ...]) -> tuple[EncodedWeights, ...]:
    """Return ``values`` (-128 to 127) as one piece per level; level i holds the ``level_counts[i]`` largest weights.

    Equal magnitudes are taken in the order of the flattened tensor. The last count must be that of all weights.
    """
    check_range("elsa", values, -128, 127)
    flat = values.ravel()
    if level_counts[-1] != flat.size or any(a > b for a, b in zip(level_counts, level_counts[1:], strict=False)):
        raise MappingError(
            f"storage elsa: level sizes {level_counts} do not ascend to {flat.size}; allowed are nested levels that "
            "end with all weights; sort them"
        )
    order = np.argsort(-np.abs(flat.astype(np.int16)), kind="stable")
    level_of = np.empty(flat.size, dtype=np.int64)
    level_of[order] = np.searchsorted(np.array(level_counts), np.arange(flat.size), side="right")
    pieces = []
    for level in range(len(level_counts)):
        is_last = level == len(level_counts) - 1
        open_positions = level_of >= level
        chosen = level_of[open_positions] == level
        kept = flat[open_positions][chosen]
        pieces.append(
            EncodedWeights(
                format="elsa",
                shape=values.shape,
                bits=StoredBits(mask=0 if is_last else chosen.size, weight=kept.size * VALUE_BITS),
                mask=b"" if is_last else pack(chosen),
                weight=pack(field_bits(kept, VALUE_BITS)),
            )
        )
    return tuple(pieces)


def decode_levels(pieces: tuple[EncodedWeights, ...]) -> IntTensor:
    """Return the int8 tensor of the level whose prefix ``pieces`` is: weights of later levels are 0."""
    flat = np.zeros(pieces[0].num_weights, dtype=np.int8)
    open_positions = np.arange(flat.size)
    for piece in pieces:
        chosen: BoolArray = np.ones(open_positions.size, dtype=np.bool_)
        if piece.mask or piece.bits.mask:
            bits: BitArray = unpack(piece.mask, open_positions.size)
            chosen = bits.astype(np.bool_)
        count = piece.bits.weight // VALUE_BITS
        flat[open_positions[chosen]] = fields(unpack(piece.weight, count * VALUE_BITS), VALUE_BITS, count, signed=True)
        open_positions = open_positions[~chosen]
    return flat.reshape(pieces[0].shape)


def _level_bits(level_counts: tuple[int, ...], level: int, num_scale_bits: int = 0) -> StoredBits:
    """Return the bits of levels 0 to ``level``; the last of all needs no bitmap."""
    total = level_counts[-1]
    starts = (0, *level_counts)
    bitmaps = sum(total - starts[i] for i in range(min(level + 1, len(level_counts) - 1)))
    return StoredBits(mask=bitmaps, scale=num_scale_bits, weight=level_counts[level] * VALUE_BITS)


FORMATS = (
    ElsaFormat("elsa", "nested in a dense int8 network: the level as sparse as the ticket is read", None, 0),
    *(
        ElsaFormat(
            f"elsa-{sparsity:.0%}".rstrip("%"),
            f"nested int8 levels 90, 75, 50, 0 % sparse: that of {sparsity:.0%} is read",
            LEVEL_SPARSITIES,
            level,
        )
        for level, sparsity in enumerate((*LEVEL_SPARSITIES, 0.0))
    ),
)
