"""Further coats of a mask (multicoated supermasks, Okoshi et al., ICML 2022): nested masks that are summed.

The first coat is the mask of the ticket. Each further coat keeps a part of the free weights that the coat before it
keeps; a weight counts as often as coats keep it. Locked weights have the first coat alone: nothing is stored of them. A
coat is stored as one bit per free weight that the coat before keeps, in the order of the flattened tensor, coat after
coat.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np
import numpy.typing as npt

from accelsim.errors import TicketError
from accelsim.ticket.model import TicketLayer

MAX_COATS: Final = 7

CoatArray = npt.NDArray[np.uint8]


def num_coat_bits(layer: TicketLayer) -> int:
    """Return the stored bits of a layer's further coats; 0 where it has one coat."""
    if not layer.coat_kept:
        return 0
    return layer.num_kept - layer.num_locked + sum(layer.coat_kept[:-1])


def with_coats(layer: TicketLayer, free_sums: npt.ArrayLike, num_coats: int) -> TicketLayer:
    """Return the layer with its further coats.

    Parameters
    ----------
    layer
        With the first coat as its mask.
    free_sums
        How many coats keep each free weight, 0 to ``num_coats``, in flattened order; 1 or more where the mask keeps it.
    num_coats
        All of them, 2 to 7.

    Raises
    ------
    TicketError
        Sums that are not those of a layer with this mask, or another codec than raw.
    """
    sums = np.asarray(free_sums, dtype=np.int64).reshape(-1)
    if layer.codec != "raw":
        raise TicketError(f"layer {layer.name!r}: codec {layer.codec}: several coats are stored raw; use codec raw")
    if not 2 <= num_coats <= MAX_COATS or sums.min(initial=0) < 0 or sums.max(initial=0) > num_coats:
        raise TicketError(f"layer {layer.name!r}: {num_coats} coats or a sum of them is out of range; 2 to {MAX_COATS}")
    first = np.unpackbits(np.frombuffer(layer.mask_payload, dtype=np.uint8), count=layer.num_free)
    if sums.size != layer.num_free or not np.array_equal(sums > 0, first > 0):
        raise TicketError(f"layer {layer.name!r}: the coats are not those of its mask; the first one is the mask")
    coats = [sums[sums >= coat - 1] >= coat for coat in range(2, num_coats + 1)]
    return replace(
        layer,
        coat_payload=np.packbits(np.concatenate(coats)).tobytes(),
        coat_kept=tuple(int(np.count_nonzero(coat)) for coat in coats),
    )


def unpack_coats(layer: TicketLayer, mask: npt.NDArray[np.bool_], is_free: npt.NDArray[np.bool_]) -> CoatArray:
    """Return how many coats keep each weight, uint8 of the layer's shape.

    Parameters
    ----------
    layer
        Whose coats to unpack.
    mask, is_free
        Its mask and where its weights are free, both of its shape.

    Raises
    ------
    TicketError
        The payload is not what the stated counts need.
    """
    sums = mask.astype(np.uint8).reshape(-1)
    if not layer.coat_kept:
        return sums.reshape(layer.shape)
    bits = np.unpackbits(np.frombuffer(layer.coat_payload, dtype=np.uint8))
    places = np.flatnonzero((mask & is_free).reshape(-1))
    begin = 0
    for number in layer.coat_kept:
        kept = bits[begin : begin + places.size].astype(np.bool_)
        begin += places.size
        places = places[kept] if kept.size == places.size else places[:0]
        if places.size != number:
            raise TicketError(
                f"layer {layer.name!r}: a coat keeps {places.size} weights, the ticket states {number}; "
                "the file is damaged"
            )
        sums[places] += 1
    return sums.reshape(layer.shape)


def coat_problem(layer: TicketLayer) -> str | None:
    """Return what is wrong with the counts and sizes of a layer's coats, or None; nothing is unpacked."""
    if not layer.coat_kept:
        return "bytes of coats without their counts" if layer.coat_payload else None
    if layer.codec != "raw":
        return f"coats beside a mask in codec {layer.codec}"
    if len(layer.coat_kept) >= MAX_COATS:
        return f"{len(layer.coat_kept) + 1} coats, more than {MAX_COATS}"
    before = layer.num_kept - layer.num_locked
    for number in layer.coat_kept:
        if number > before:
            return f"a coat keeps {number} of the {before} weights that the coat before keeps"
        before = number
    needed = -(-num_coat_bits(layer) // 8)
    return None if len(layer.coat_payload) == needed else f"{len(layer.coat_payload)} bytes of coats where {needed} are"
