"""N:M structured sparsity: N values and their positions in every group of M weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from accelsim.errors import MappingError
from accelsim.storage.base import StoredBits, WeightPlan
from accelsim.storage.dense import DENSE_INT8, DenseFormat
from accelsim.storage.encoded import EncodedWeights, IntTensor, check_range, field_bits, fields, pack, unpack
from accelsim.storage.stand_in import has_ticket
from accelsim.ticket.statistics import is_filled_pattern, is_nearly_dense
from accelsim.trace.model import LayerWeights, kept_by_pattern
from accelsim.units import ceil_div

VALUE_BITS = 8


@dataclass(frozen=True, slots=True)
class NmFormat:
    """N 8-bit values and N positions of log2 M bits per group of M neighbours along the reduction.

    After Mishra et al. 2021 (arXiv 2104.08378: 2:4). Groups run along input channels first, then the filter's columns
    and rows; a filter's last group may be shorter, and is stored as a whole one. A layer that obeys the pattern is
    stored as it is; a trained one that does not, such as a stem that N:M networks leave dense, as dense int8. Of any
    other the plan is that of an N:M network of the same shape, whose sparsity is 1 - N/M and not the ticket's.
    """

    name: str
    num_values: int
    group_size: int

    @property
    def summary(self) -> str:
        """One line for lists."""
        return f"{self.num_values} of {self.group_size} neighbouring weights kept, 8-bit values with their positions"

    @property
    def position_bits(self) -> int:
        """Return the bits of a position within a group."""
        return (self.group_size - 1).bit_length()

    def plan(self, weights: LayerWeights) -> WeightPlan:
        """Return the plan of a layer."""
        obeys = weights.pattern == (self.num_values, self.group_size) or (
            not has_ticket(weights) and _obeys(self, weights)
        )
        if not obeys and weights.load_mask is not None and not has_ticket(weights):
            return replace(DENSE_INT8.plan(weights), format=self.name)
        num_slots = self._num_slots(weights.shape)
        return WeightPlan(
            format=self.name,
            stored_bits=self._bits(num_slots, weights.num_scale_bits),
            buffer_bits_per_weight=VALUE_BITS,
            arithmetic="int8",
            decoder="nm",
            decoder_symbols=num_slots,
            num_nonzero=weights.num_kept if obeys else kept_by_pattern(weights.shape, self.num_values, self.group_size),
            synthetic=not obeys,
        )

    def encode(self, values: IntTensor) -> EncodedWeights:
        """Return ``values`` (-128 to 127) encoded; raise `MappingError` if a group has more than N non-zero ones."""
        check_range(self.name, values, -128, 127)
        groups = self._groups(values)
        if int((groups != 0).sum(axis=1).max(initial=0)) > self.num_values:
            raise MappingError(
                f"storage {self.name}: a group of {self.group_size} weights has more than {self.num_values} non-zero "
                "ones; allowed are tensors pruned to this pattern; prune it, or choose bitmap-int8"
            )
        # Zeros sort last, and the chosen positions are stored in ascending order.
        positions = np.sort(np.argsort(groups == 0, axis=1, kind="stable")[:, : self.num_values], axis=1)
        kept = np.take_along_axis(groups, positions, axis=1)
        return EncodedWeights(
            format=self.name,
            shape=values.shape,
            bits=self._bits(kept.size),
            weight=pack(field_bits(kept, VALUE_BITS)),
            index=pack(field_bits(positions, self.position_bits)),
        )

    def decode(self, encoded: EncodedWeights) -> IntTensor:
        """Return the int8 tensor that was encoded."""
        num_slots = encoded.bits.weight // VALUE_BITS
        kept = fields(unpack(encoded.weight, num_slots * VALUE_BITS), VALUE_BITS, num_slots, signed=True)
        positions = fields(unpack(encoded.index, encoded.bits.index), self.position_bits, num_slots)
        groups = np.zeros((num_slots // self.num_values, self.group_size), dtype=np.int8)
        np.put_along_axis(
            groups, positions.reshape(-1, self.num_values), kept.reshape(-1, self.num_values).astype(np.int8), axis=1
        )
        num_rows = encoded.shape[0]
        rows = groups.reshape(num_rows, -1)[:, : encoded.num_weights // num_rows]
        return _from_channels_last(rows, encoded.shape)

    def _groups(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        rows = _channels_last(values)
        padding = -rows.shape[1] % self.group_size
        return np.pad(rows, ((0, 0), (0, padding))).reshape(-1, self.group_size)

    def _num_slots(self, shape: tuple[int, ...]) -> int:
        return shape[0] * ceil_div(_row_length(shape), self.group_size) * self.num_values

    def _bits(self, num_slots: int, num_scale_bits: int = 0) -> StoredBits:
        return StoredBits(scale=num_scale_bits, weight=num_slots * VALUE_BITS, index=num_slots * self.position_bits)


def _row_length(shape: tuple[int, ...]) -> int:
    return int(np.prod(shape[1:], dtype=np.int64))


def _channels_last(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return the filters as rows, channels innermost."""
    return np.moveaxis(values, 1, -1).reshape(values.shape[0], -1)


def _from_channels_last(rows: npt.NDArray[Any], shape: tuple[int, ...]) -> npt.NDArray[Any]:
    return np.moveaxis(rows.reshape(shape[0], *shape[2:], shape[1]), -1, 1)


def obeyed_pattern(weights: Sequence[LayerWeights]) -> str | None:
    """Return the format of the narrowest pattern that all layers with zeros obey, or None.

    Layers with next to no zeros, such as a stem of three channels, do not count. Nor does a pattern whose places are
    mostly empty, which very sparse masks obey by chance.
    """
    pruned = [layer for layer in weights if not is_nearly_dense(layer.num_kept, layer.num_weights)]
    counts = sum(layer.num_kept for layer in pruned), sum(layer.num_weights for layer in pruned)
    for known in _PATTERNS:
        is_filled = is_filled_pattern(*counts, known.num_values, known.group_size)
        if pruned and is_filled and all(_obeys(known, layer) for layer in pruned):
            return known.name
    return None


@lru_cache(maxsize=512)
def _obeys(storage_format: NmFormat, weights: LayerWeights) -> bool:
    """Return whether the layer's own weights have the pattern."""
    if weights.load_mask is None:
        return False
    groups = storage_format._groups(weights.load_mask())  # noqa: SLF001
    return int(groups.sum(axis=1).max(initial=0)) <= storage_format.num_values


@dataclass(frozen=True, slots=True)
class OwnNmFormat:
    """Each layer in its own N:M pattern: the one that a table states, or the narrowest known one that its mask obeys.

    Layers without one are dense int8, as N:M networks leave their stem.
    """

    name: str = "nm-own-int8"
    summary: str = "each layer in the N:M pattern that it has or a table states, dense int8 without one"

    def plan(self, weights: LayerWeights) -> WeightPlan:
        """Return the plan of a layer."""
        return replace(self._of(weights).plan(weights), format=self.name)

    def encode(self, values: IntTensor) -> EncodedWeights:
        """Return ``values`` (-128 to 127) encoded in the narrowest known pattern they obey, else dense."""
        for known in _PATTERNS:
            if int((known._groups(values) != 0).sum(axis=1).max(initial=0)) <= known.num_values:  # noqa: SLF001
                return known.encode(values)
        return DENSE_INT8.encode(values)

    def decode(self, encoded: EncodedWeights) -> IntTensor:
        """Return the int8 tensor that was encoded."""
        known = next((known for known in _PATTERNS if known.name == encoded.format), None)
        return DENSE_INT8.decode(encoded) if known is None else known.decode(encoded)

    def _of(self, weights: LayerWeights) -> NmFormat | DenseFormat:
        if weights.pattern is not None:
            return NmFormat(self.name, *weights.pattern)
        if has_ticket(weights) or is_nearly_dense(weights.num_kept, weights.num_weights):
            return DENSE_INT8
        return next((known for known in _PATTERNS if _obeys(known, weights)), DENSE_INT8)


_PATTERNS = (NmFormat("nm-1:4-int8", 1, 4), NmFormat("nm-2:4-int8", 2, 4), NmFormat("nm-4:8-int8", 4, 8))
FORMATS: tuple[NmFormat | OwnNmFormat, ...] = (*_PATTERNS, OwnNmFormat())
