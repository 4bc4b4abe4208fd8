"""Strong lottery tickets: seeds and the mask bits of the searched weights; the weights are regenerated on chip."""

from __future__ import annotations

from dataclasses import dataclass

from accelsim.errors import MappingError
from accelsim.prng.source import RandomSource
from accelsim.storage.base import Arithmetic, DecoderKind, StoredBits, WeightPlan
from accelsim.storage.closed_forms import mask_bits, mask_symbols
from accelsim.trace.model import LayerWeights
from accelsim.units import ceil_div

SEED_BITS = 32
_DECODER: dict[str, DecoderKind] = {"raw": "raw", "rle": "rle", "golomb": "golomb", "entropy": "entropy"}


def num_streams(source: RandomSource, num_filters: int) -> int:
    """Return the weight streams of a layer with ``num_filters`` output channels."""
    if source.stream == "layer":
        return 1
    return ceil_div(num_filters, source.tile_filters if source.stream == "tile" else 1)


def seed_bits(source: RandomSource | None, num_filters: int) -> int:
    """Return the stored seed bits: one per stream where they are ``stored``, else the layer's master seed alone."""
    if source is None:
        return 0
    return SEED_BITS * (num_streams(source, num_filters) if source.seeds == "stored" else 1)


def weight_value_bits(source: RandomSource | None) -> int:
    """Return the bits of one regenerated weight (a sum of m fields of b bits has b + ceil(log2 m))."""
    if source is None or source.weights == "signed_constant":
        return 1
    if source.weights == "uniform":
        return source.weight_bits
    return source.weight_bits + (source.normal_terms - 1).bit_length()


def value_arithmetic(value_bits: int) -> Arithmetic:
    """Return what a PE needs to multiply by a regenerated weight of ``value_bits`` bits."""
    if value_bits == 1:
        return "ternary"
    if value_bits <= 4:
        return "int4"
    return "int8" if value_bits <= 8 else "fp16"


def require_ticket(name: str, weights: LayerWeights) -> None:
    """Raise `MappingError` unless the layer has a mask: from a ticket, real or synthetic."""
    if weights.codec is None and weights.source is None:
        raise MappingError(
            f"storage {name}: a layer of shape {'x'.join(map(str, weights.shape))} has no supermask; allowed are "
            "tickets and synthetic tickets; make one with `accelsim synth`, or give --sparsity"
        )


@dataclass(frozen=True, slots=True)
class SltFormat:
    """Seed + mask of the free weights, in the ticket's own codec."""

    name: str = "slt"
    summary: str = "seed and mask bits of the free weights; weights and freezing map are regenerated"

    def plan(self, weights: LayerWeights) -> WeightPlan:
        """Return the plan of a layer; O(1): the mask is not loaded.

        A ticket that cannot be regenerated (``source`` is None) reads one sign bit per weight instead of a seed.

        Raises
        ------
        MappingError
            If the layer has no supermask.
        """
        require_ticket(self.name, weights)
        codec = weights.codec or "raw"
        num_ones = weights.num_kept - weights.num_locked
        bits = weights.codec_bits
        if bits is None:
            bits = mask_bits(codec, weights.num_free, num_ones)
        value_bits = weight_value_bits(weights.source)
        return WeightPlan(
            format=self.name,
            stored_bits=StoredBits(
                mask=bits,
                seed=seed_bits(weights.source, weights.shape[0]),
                scale=weights.num_scale_bits,
                weight=weights.num_weights if weights.source is None else 0,
            ),
            buffer_bits_per_weight=1 + value_bits,
            arithmetic=value_arithmetic(value_bits),
            decoder=_DECODER[codec],
            decoder_symbols=mask_symbols(codec, weights.num_free, num_ones),
            source=weights.source,
            num_nonzero=weights.num_kept,
            synthetic=weights.load_mask is None,
        )


FORMATS = (SltFormat(),)
