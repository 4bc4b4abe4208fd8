"""Dense formats: every weight position holds a number of fixed width."""

from __future__ import annotations

from dataclasses import dataclass

from accelsim.storage.base import Arithmetic, StoredBits, WeightPlan
from accelsim.trace.model import LayerWeights


@dataclass(frozen=True, slots=True)
class DenseFormat:
    """``bits_per_weight`` bits at every position, no decoder and no generator.

    For a ticket this is its rival: a trained network of the same shape, so every position counts as non-zero. For a
    network without a ticket it is the network itself, zeros included.
    """

    name: str
    summary: str
    bits_per_weight: int
    arithmetic: Arithmetic

    def plan(self, weights: LayerWeights) -> WeightPlan:
        """Return the plan of a layer; O(1)."""
        is_ticket = weights.codec is not None or weights.source is not None
        return WeightPlan(
            format=self.name,
            stored_bits=StoredBits(
                weight=weights.num_weights * self.bits_per_weight,
                scale=weights.num_scale_bits,
            ),
            buffer_bits_per_weight=self.bits_per_weight,
            arithmetic=self.arithmetic,
            num_nonzero=weights.num_weights if is_ticket else weights.num_kept,
        )


FORMATS = (
    DenseFormat("dense-fp32", "every weight as a 32-bit float", 32, "fp32"),
    DenseFormat("dense-fp16", "every weight as a 16-bit float", 16, "fp16"),
    DenseFormat("dense-int8", "every weight as an 8-bit integer", 8, "int8"),
    DenseFormat("dense-int4", "every weight as a 4-bit integer", 4, "int4"),
    DenseFormat("dense-binary", "every weight as its sign (BinaryConnect)", 1, "ternary"),
)
