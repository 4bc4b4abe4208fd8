"""What a ticket says of itself against what the search wrote in it: counts that contradict each other, and digests."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from accelsim.errors import AccelSimError, TicketError
from accelsim.prng import freezing_map
from accelsim.ticket.codecs import decode_mask
from accelsim.ticket.digest import filter_digests
from accelsim.ticket.model import TicketLayer
from accelsim.ticket.pack import unpack_mask, unpack_weights
from accelsim.validation.verify_image import TileVisits


def sound_layer(layer: TicketLayer) -> tuple[TicketLayer, str | None]:
    """Return a layer whose counts are those of its mask and freezing map, and what was wrong with them or None.

    A wrong seed or threshold gives another number of free weights than there are stored bits: the chip would take the
    bits as they come, so here too the first of them are taken, and 0 behind the last one.

    Raises
    ------
    TicketError
        The stored bits cannot be decoded at all.
    """
    if layer.source is None:
        return layer, None
    try:
        unpack_mask(layer)
    except TicketError as error:
        fault = str(error)
    else:
        return layer, None
    try:
        frozen = freezing_map(layer.source, layer.shape)
        stored = decode_mask(layer.codec, layer.mask_payload, layer.payload_bits, layer.num_free)
    except AccelSimError as error:
        text = str(error)
        raise TicketError(text if text.startswith("layer ") else f"layer {layer.name!r}: {text}") from error
    bits = np.zeros(int(np.count_nonzero(frozen == 0)), dtype=np.bool_)
    bits[: stored.size] = stored[: bits.size]
    num_locked = int(np.count_nonzero(frozen > 0))
    sound = replace(
        layer,
        codec="raw",
        mask_payload=np.packbits(bits).tobytes(),
        payload_bits=int(bits.size),
        num_free=int(bits.size),
        num_locked=num_locked,
        num_kept=num_locked + int(np.count_nonzero(bits)),
        coat_payload=b"",
        coat_kept=(),
    )
    return sound, fault


def digest_problem(layer: TicketLayer, visits: TileVisits) -> str | None:
    """Return the first filter, in the order of the visits, whose weights do not have the search's digest, or None.

    To be asked when the walk has produced exactly the weights of ``layer``.
    """
    if not layer.digest_payload:
        return None
    found, searched = (np.frombuffer(part, "<u2") for part in (_digests(layer), layer.digest_payload))
    wrong = found != searched
    for event, (first, number, _, _) in enumerate(visits.ranges.tolist()):
        here = np.flatnonzero(wrong[first : first + number])
        if here.size:
            filter_ = first + int(here[0])
            return (
                f"layer {layer.name!r}: {visits.text(event)}: filter {filter_}: a weight from 0 to "
                f"{layer.num_weights // layer.shape[0] - 1} is not that of the search (digest {found[filter_]:04x}, "
                f"written by the search {searched[filter_]:04x}); the seed, the stored bits or the order of the "
                "streams is wrong; --reference FILE finds the weight"
            )
    return None


def coats_problem(layer: TicketLayer, reference: TicketLayer) -> str | None:
    """Return the first weight that other coats keep than in ``reference``, or None."""
    found, searched = (unpack_weights(part).reshape(part.shape[0], -1) for part in (layer, reference))
    wrong = np.argwhere(found != searched)
    if not wrong.size:
        return None
    filter_, weight = wrong[0].tolist()
    return (
        f"layer {layer.name!r}: filter {filter_}: weight {weight} of it is {found[filter_, weight]} with all coats, "
        f"the searched network has {searched[filter_, weight]}; the stored bits of the coats are wrong"
    )


def _digests(layer: TicketLayer) -> bytes:
    return filter_digests(unpack_weights(layer))


def values_problem(layer: TicketLayer, reference: TicketLayer) -> str | None:
    """Return which of a layer's scales and offsets is not the reference's; None where all are."""
    for name, have, wanted in (
        ("scale", layer.scale_K, reference.scale_K),
        ("offset", layer.offset_K, reference.offset_K),
    ):
        if not np.array_equal(have, wanted):
            place = int(np.argmax(have != wanted)) if have.shape == wanted.shape else 0
            return f"layer {layer.name!r}: the {name} of channel {place} is not the reference's; the ticket is damaged"
    return None
