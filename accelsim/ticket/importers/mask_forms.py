"""Other ways to write a mask than ones and zeros in the weight's shape: what the user states of stated masks."""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from accelsim.ticket.importers.owners import expanded, is_binary

Array = npt.NDArray[Any]
MaskForm = Literal["kept", "dropped", "packed", "packed-little", "places", "dropped-places"]
MASK_FORMS: tuple[str, ...] = get_args(MaskForm)
_BYTE_BITS = 8


def as_mask(value: Array, weight: Array, form: str) -> Array | None:
    """Return a mask as ones that keep weights; None where the tensor cannot have this form.

    Parameters
    ----------
    value
        As the file has it.
    weight
        Of its layer.
    form
        ``kept``: ones keep, ``dropped``: ones drop; ``packed``: eight to a byte, the first in the highest bit (as
        NumPy packs), ``packed-little``: in the lowest, of the whole weight or of each filter; ``places``: numbers of
        the kept weights in the flattened weight, ``dropped-places``: of the others. The first two may have one value
        for each block of weights.
    """
    if form in ("kept", "dropped"):
        wide = in_blocks(value, weight)
        if wide is None or not is_binary(wide):
            return wide
        return wide if form == "kept" else 1 - wide
    if not _is_integer(value):
        return None
    if form.startswith("packed"):
        return _unpacked(value, weight, "little" if form == "packed-little" else "big")
    mask = _at_places(value, weight)
    return mask if mask is None or form == "places" else 1 - mask


def in_blocks(value: Array, weight: Array) -> Array | None:
    """Return a tensor in the weight's shape, or one that `expanded` widens; each value may count for a block."""
    if expanded(value, weight) is not None:
        return value
    axes = value.ndim
    shape = weight.shape[:axes]
    if not 1 < axes <= weight.ndim or value.size <= 1:
        return None
    if any(size % have for have, size in zip(value.shape, shape, strict=True)):
        return None
    wide = value
    for axis, (have, size) in enumerate(zip(value.shape, shape, strict=True)):
        wide = np.repeat(wide, size // have, axis=axis)
    return np.broadcast_to(wide.reshape(*shape, *[1] * (weight.ndim - axes)), weight.shape)


def _is_integer(value: Array) -> bool:
    return bool(np.issubdtype(value.dtype, np.integer)) or bool((value == np.rint(value)).all())


def _unpacked(value: Array, weight: Array, order: Literal["big", "little"]) -> Array | None:
    filters, per_filter = weight.shape[0], weight.size // weight.shape[0]
    if value.min(initial=0) < 0 or value.max(initial=0) >= 1 << _BYTE_BITS:
        return None
    packed = value.astype(np.uint8)
    if value.ndim > 1 and value.shape[0] == filters and value.size == filters * -(-per_filter // _BYTE_BITS):
        rows = np.unpackbits(packed.reshape(filters, -1), axis=1, count=per_filter, bitorder=order)
        return rows.reshape(weight.shape)
    if value.size != -(-weight.size // _BYTE_BITS):
        return None
    return np.unpackbits(packed.reshape(-1), count=weight.size, bitorder=order).reshape(weight.shape)


def _at_places(value: Array, weight: Array) -> Array | None:
    """Return ones at flat places, or at coordinates with an axis each."""
    places = value.astype(np.int64)
    if places.ndim > 1:
        rows = places if places.shape[0] == weight.ndim else places.T
        if len(rows) != weight.ndim or any(
            (row < 0).any() or (row >= size).any() for row, size in _pairs(rows, weight)
        ):
            return None
        places = np.ravel_multi_index(tuple(rows), weight.shape)
    if places.size and (places.min() < 0 or places.max() >= weight.size or len(np.unique(places)) < places.size):
        return None
    mask = np.zeros(weight.size, dtype=np.uint8)
    mask[places] = 1
    return mask.reshape(weight.shape)


def _pairs(rows: Array, weight: Array) -> list[tuple[Array, int]]:
    return list(zip(rows, weight.shape, strict=True))
