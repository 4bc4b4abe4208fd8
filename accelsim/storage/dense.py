"""Dense formats: every weight position holds a number of fixed width."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from accelsim.errors import MappingError
from accelsim.storage.base import Arithmetic, StoredBits, WeightPlan
from accelsim.storage.encoded import EncodedWeights, IntTensor, check_range, field_bits, fields, pack, unpack
from accelsim.storage.stand_in import has_ticket
from accelsim.trace.model import LayerWeights

_FLOATS = {16: "<f2", 32: "<f4"}
_EXACT_INTEGERS = {16: 1 << 11, 32: 1 << 24}


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

    @property
    def _is_float(self) -> bool:
        return self.arithmetic in ("fp16", "fp32")

    def plan(self, weights: LayerWeights) -> WeightPlan:
        """Return the plan of a layer; O(1)."""
        return WeightPlan(
            format=self.name,
            stored_bits=StoredBits(
                weight=weights.num_weights * self.bits_per_weight,
                scale=weights.num_scale_bits,
            ),
            buffer_bits_per_weight=self.bits_per_weight,
            arithmetic=self.arithmetic,
            num_nonzero=weights.num_weights if has_ticket(weights) else weights.num_kept,
        )

    def encode(self, values: IntTensor) -> EncodedWeights:
        """Return ``values`` encoded: integers in two's complement or as floats; signs alone for `dense-binary`."""
        flat = values.ravel()
        if self.bits_per_weight == 1:
            check_range(self.name, flat, -1, 1)
            if not flat.all():
                raise MappingError(
                    f"storage {self.name}: a weight of 0 is not -1 or 1; choose mpt-binary, which has zeros"
                )
            data = pack(flat > 0)
        elif self._is_float:
            exact = _EXACT_INTEGERS[self.bits_per_weight]
            check_range(self.name, flat, -exact, exact)
            data = flat.astype(_FLOATS[self.bits_per_weight]).tobytes()
        else:
            half = 1 << (self.bits_per_weight - 1)
            check_range(self.name, flat, -half, half - 1)
            data = pack(field_bits(flat, self.bits_per_weight))
        bits = StoredBits(weight=flat.size * self.bits_per_weight)
        return EncodedWeights(format=self.name, shape=values.shape, bits=bits, weight=data)

    def decode(self, encoded: EncodedWeights) -> IntTensor:
        """Return the integer tensor that was encoded."""
        count = encoded.num_weights
        if self._is_float:
            floats: npt.NDArray[np.floating[Any]] = np.frombuffer(encoded.weight, dtype=_FLOATS[self.bits_per_weight])
            return floats.astype(np.int32).reshape(encoded.shape)
        bits = unpack(encoded.weight, count * self.bits_per_weight)
        if self.bits_per_weight == 1:
            return (2 * bits.astype(np.int8) - 1).reshape(encoded.shape)
        numbers = fields(bits, self.bits_per_weight, count, signed=True).reshape(encoded.shape)
        return numbers.astype(np.int16) if self.arithmetic == "int16" else numbers.astype(np.int8)


DENSE_INT8 = DenseFormat("dense-int8", "every weight as an 8-bit integer", 8, "int8")
FORMATS = (
    DenseFormat("dense-fp32", "every weight as a 32-bit float", 32, "fp32"),
    DenseFormat("dense-fp16", "every weight as a 16-bit float", 16, "fp16"),
    DenseFormat("dense-int16", "every weight as a 16-bit integer", 16, "int16"),
    DENSE_INT8,
    DenseFormat("dense-int4", "every weight as a 4-bit integer", 4, "int4"),
    DenseFormat("dense-binary", "every weight as its sign (BinaryConnect)", 1, "ternary"),
)
