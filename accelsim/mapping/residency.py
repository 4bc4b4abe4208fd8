"""Which activations stay in the activation buffer from the layer that makes them to the last one that reads them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from accelsim.trace.model import LayerTrace, TraceLayer
from accelsim.units import bits_to_bytes

NETWORK_INPUT = "input"


@dataclass(frozen=True, slots=True)
class Residency:
    """Names of the layers whose outputs stay on chip, and the bytes they take while each layer runs.

    ``cache_bytes`` of these are keys and values, which stay from run to run; 0: they are in DRAM.
    """

    on_chip: frozenset[str]
    resident_bytes: tuple[int, ...]
    cache_bytes: int = 0


def output_elements(layer: TraceLayer) -> int:
    """Return the elements a layer writes."""
    return layer.num_outputs or layer.dims.num_outputs


def last_uses(trace: LayerTrace) -> dict[str, int]:
    """Return for each layer that is read the position of its last reader."""
    last: dict[str, int] = {}
    for position, layer in enumerate(trace.layers):
        for name in (*layer.inputs, *layer.residuals):
            last[name] = position
    return last


@dataclass(frozen=True, slots=True)
class Together:
    """Layers that run as one, by their places: what is read or made by any of them is there all along.

    ``inside`` are maps that never are whole, and ``held_bytes`` what is on chip of these.
    """

    first: int
    stop: int
    inside: frozenset[str]
    held_bytes: int


def choose_residency(
    trace: LayerTrace,
    activation_bits: int,
    capacity_bytes: int,
    banned: frozenset[str] = frozenset(),
    together: Sequence[Together] = (),
) -> Residency:
    """Keep outputs on chip, first come first served, while three quarters of the buffer suffice all their life.

    The last quarter is left for the tiles of tensors that come from or go to DRAM. Keys and values of all layers stay
    if they take no more than half of the buffer at the end of the run, so that there is room for activations beside.
    """
    last, cache = last_uses(trace), 0
    if trace.language is not None:
        cache = bits_to_bytes(trace.language.cache_elements * (trace.language.cache_bits or activation_bits))
        cache = cache if cache <= capacity_bytes // 2 else 0
    limit = capacity_bytes - cache - (capacity_bytes - cache) // 4
    taken = [0] * len(trace.layers)
    begin, end = list(range(len(trace.layers))), list(range(len(trace.layers)))
    for group in together:
        for place in range(group.first, group.stop):
            begin[place], end[place], taken[place] = group.first, group.stop - 1, group.held_bytes
        banned |= group.inside
    held = list(taken)
    kept: set[str] = set()
    # First come: a map that is kept moves neither now nor at its readers; which later ones it displaces is not tried.
    for position, layer in enumerate(trace.layers):
        size = bits_to_bytes(output_elements(layer) * activation_bits)
        if layer.name not in last or layer.name in banned:
            continue
        # From the layer that makes it to its last reader; of a group that runs as one, from and to the group's ends.
        live = range(begin[position], end[last[layer.name]] + 1)
        if all(taken[step] + size <= limit for step in live):
            kept.add(layer.name)
            for step in live:
                taken[step] += size
    # What groups hold of maps inside of them is theirs to count: a layer of a group would lose that room twice.
    return Residency(frozenset(kept), tuple(all_ - own + cache for all_, own in zip(taken, held, strict=True)), cache)
