"""The storage format of a network for which none is stated."""

from __future__ import annotations

from accelsim.storage.nm import obeyed_pattern
from accelsim.storage.slt import multicoat_name
from accelsim.storage.stand_in import has_ticket
from accelsim.ticket.statistics import is_nearly_dense
from accelsim.trace.model import LayerTrace


def default_format(trace: LayerTrace, *, can_decode: bool = True) -> str:
    """Return the name of the format that a network is kept in unless told otherwise.

    ``slt`` for tickets, real or synthetic, and ``multicoat`` for those of several coats; for trained networks
    ``dense-int8``, or, with zeros in them, ``nm-N:M-int8`` where they follow such a pattern and ``bitmap-int8`` where
    they follow none. A table that states N:M per layer is kept so (``nm-own-int8``), or dense on a chip without a
    decoder (``can_decode``).
    """
    weights = [layer.weights for layer in trace.layers if layer.weights is not None]
    if any(has_ticket(layer) for layer in weights):
        num_coats = max(len(layer.coat_kept) + 1 for layer in weights)
        return "slt" if num_coats == 1 else multicoat_name(num_coats)
    if any(layer.pattern is not None for layer in weights):
        return "nm-own-int8" if can_decode else "dense-int8"
    num_kept = sum(layer.num_kept for layer in weights)
    if trace.provenance != "imported" or is_nearly_dense(num_kept, sum(layer.num_weights for layer in weights)):
        return "dense-int8" if trace.provenance in ("dense", "imported") else "slt"
    return obeyed_pattern(weights) or "bitmap-int8"
