"""What a ticket holds, layer by layer: sizes, ratios, stored bits, where it comes from, what is measured."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from accelsim.prng import stream_geometry
from accelsim.ticket.coats import num_coat_bits
from accelsim.ticket.codecs import entropy_bound_bits
from accelsim.ticket.model import Ticket, TicketLayer
from accelsim.ticket.pack import is_trained
from accelsim.ticket.scales import normed_layers, ticket_scale_bits
from accelsim.ticket.statistics import is_nearly_dense

SEED_BITS = 32
VALUE_BITS = 8


@dataclass(frozen=True, slots=True)
class StoredSize:
    """Bits stored by class; scale holds scale and normalisation parameters, weight the values of trained layers.

    These count as 8-bit values: all, or, with zeros in a network without supermasks, a bitmap and the kept ones.
    """

    mask: int
    seed: int
    scale: int
    weight: int = 0

    @property
    def total(self) -> int:
        """Return the sum over classes."""
        return self.mask + self.seed + self.scale + self.weight


@dataclass(frozen=True, slots=True)
class InspectedLayer:
    """One layer; ratios are fractions of its weights.

    ``entropy_bound_bits`` is n (1 - F) H2(d), the fewest bits for its free mask bits at their density d, and the same
    of each further coat.
    ``generator``, ``stream`` and ``seeds`` are empty where the layer cannot be regenerated.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    num_weights: int
    num_pruned: int
    num_locked: int
    num_free: int
    num_kept: int
    sparsity: float
    prune_ratio: float
    lock_ratio: float
    stored_bits: StoredSize
    codec: str
    entropy_bound_bits: float
    generator: str
    stream: str
    seeds: str
    input_density: float | None


@dataclass(frozen=True, slots=True)
class InspectedTotals:
    """Sums over layers, and how many times larger the same network is when stored otherwise.

    The scale and normalisation parameters are in both sizes of each ratio. ``without_freezing`` is the same mask
    without a freezing map: raw, one bit a weight; else the entropy bound of all n bits, since nothing was encoded.
    """

    num_weights: int
    num_pruned: int
    num_locked: int
    num_free: int
    num_kept: int
    sparsity: float
    prune_ratio: float
    lock_ratio: float
    freeze_ratio: float
    stored_bits: StoredSize
    stored_bits_total: int
    entropy_bound_bits: float
    times_smaller_than_fp32: float
    times_smaller_than_int8: float
    times_smaller_than_without_freezing: float
    mask_times_smaller_than_without_freezing: float


@dataclass(frozen=True, slots=True)
class Inspection:
    """A ticket laid open. ``measured``, ``assumed`` and ``notes``, those of an import, are sentences for people."""

    network: str
    provenance: str
    dataset: str
    accuracy: float | None
    command: str
    regenerable: bool
    file_bytes: int | None
    layers: tuple[InspectedLayer, ...]
    totals: InspectedTotals
    measured: tuple[str, ...]
    assumed: tuple[str, ...]
    notes: tuple[str, ...] = ()
    bits_per_character: float | None = None

    def to_json(self) -> str:
        """Return the same content as JSON text."""
        return json.dumps(asdict(self), indent=2, allow_nan=False, ensure_ascii=False)


def inspect(ticket: Ticket, *, file_bytes: int | None = None) -> Inspection:
    """Lay a ticket open; nothing is decoded.

    Parameters
    ----------
    ticket
        As `accelsim.ticket.file.read_ticket` returns it.
    file_bytes
        Size of its file, where there is one.
    """
    kinds = {node.name: node.kind for node in ticket.graph.nodes}
    has_supermasks = not all(is_trained(layer) for layer in ticket.layers)
    num_kept = sum(layer.num_kept for layer in ticket.layers)
    is_dense = has_supermasks or is_nearly_dense(num_kept, sum(layer.num_weights for layer in ticket.layers))
    normed = normed_layers(ticket.graph)
    scales = {layer.name: ticket_scale_bits(layer, is_normed=layer.name in normed) for layer in ticket.layers}
    layers = tuple(_inspect_layer(layer, kinds[layer.name], scales[layer.name], is_dense) for layer in ticket.layers)
    measured, assumed = _provenance(ticket)
    return Inspection(
        ticket.graph.name,
        ticket.provenance,
        ticket.dataset,
        ticket.accuracy,
        ticket.command,
        ticket.regenerable,
        file_bytes,
        layers,
        _totals(layers),
        measured,
        assumed,
        ticket.notes,
        ticket.bits_per_character,
    )


def seed_bits(layer: TicketLayer) -> int:
    """Return the seed bits of a layer: one seed per stream where they are stored, else one master seed."""
    source = layer.source
    if source is None or source.seeds != "stored":
        return SEED_BITS
    return SEED_BITS * stream_geometry(source, layer.shape).num_streams


def _stored_size(layer: TicketLayer, scale: int, is_dense: bool) -> StoredSize:
    if not is_trained(layer):
        return StoredSize(layer.payload_bits + num_coat_bits(layer), seed_bits(layer), scale)
    if is_dense:
        return StoredSize(0, 0, scale, VALUE_BITS * layer.num_weights)
    return StoredSize(layer.num_weights, 0, scale, VALUE_BITS * layer.num_kept)


def _inspect_layer(layer: TicketLayer, kind: str, scale: int, is_dense: bool) -> InspectedLayer:
    n, source = layer.num_weights, layer.source
    trained = is_trained(layer)
    return InspectedLayer(
        name=layer.name,
        kind=kind,
        shape=layer.shape,
        num_weights=n,
        num_pruned=layer.num_pruned,
        num_locked=layer.num_locked,
        num_free=layer.num_free,
        num_kept=layer.num_kept,
        sparsity=1.0 - layer.num_kept / n,
        prune_ratio=layer.num_pruned / n,
        lock_ratio=layer.num_locked / n,
        stored_bits=_stored_size(layer, scale, is_dense),
        codec="int8" if trained else layer.codec,
        entropy_bound_bits=0.0 if trained else _entropy_bound_bits(layer),
        generator=source.generator if source else "",
        stream=source.stream if source else "",
        seeds=source.seeds if source else "",
        input_density=layer.input_density,
    )


def _entropy_bound_bits(layer: TicketLayer) -> float:
    """Return the fewest bits for each coat at its own density, summed."""
    sizes = [layer.num_free, layer.num_kept - layer.num_locked, *layer.coat_kept]
    return sum(entropy_bound_bits(kept, size) for size, kept in itertools.pairwise(sizes))


def _unfrozen_mask_bits(layer: InspectedLayer) -> float:
    if layer.stored_bits.weight:
        return layer.stored_bits.mask
    if layer.codec == "raw":  # further coats stay as they are
        return layer.num_weights + layer.stored_bits.mask - layer.num_free
    return entropy_bound_bits(layer.num_kept, layer.num_weights)


def _ratio(numerator: float, denominator: float) -> float:
    return numerator / denominator if denominator else 0.0


def _totals(layers: Sequence[InspectedLayer]) -> InspectedTotals:
    n, free = sum(layer.num_weights for layer in layers), sum(layer.num_free for layer in layers)
    kept, pruned = sum(layer.num_kept for layer in layers), sum(layer.num_pruned for layer in layers)
    locked = sum(layer.num_locked for layer in layers)
    stored = StoredSize(
        sum(layer.stored_bits.mask for layer in layers),
        sum(layer.stored_bits.seed for layer in layers),
        sum(layer.stored_bits.scale for layer in layers),
        sum(layer.stored_bits.weight for layer in layers),
    )
    unfrozen_mask = sum(_unfrozen_mask_bits(layer) for layer in layers)
    return InspectedTotals(
        num_weights=n,
        num_pruned=pruned,
        num_locked=locked,
        num_free=free,
        num_kept=kept,
        sparsity=1.0 - _ratio(kept, n),
        prune_ratio=_ratio(pruned, n),
        lock_ratio=_ratio(locked, n),
        freeze_ratio=_ratio(n - free, n),
        stored_bits=stored,
        stored_bits_total=stored.total,
        entropy_bound_bits=sum(layer.entropy_bound_bits for layer in layers),
        times_smaller_than_fp32=_ratio(32 * n + stored.scale, stored.total),
        times_smaller_than_int8=_ratio(8 * n + stored.scale, stored.total),
        times_smaller_than_without_freezing=_ratio(
            unfrozen_mask + stored.seed + stored.scale + stored.weight, stored.total
        ),
        mask_times_smaller_than_without_freezing=_ratio(unfrozen_mask, stored.mask),
    )


def _provenance(ticket: Ticket) -> tuple[tuple[str, ...], tuple[str, ...]]:
    measured = ["stored mask bits: the size of the packed mask of each layer"]
    assumed: list[str] = []
    if ticket.provenance == "synthetic":
        measured = ["stored mask bits: the size of a packed random mask with the stated statistics"]
        assumed.append("the masks are random with the stated statistics: no search was made and no accuracy is known")
    if ticket.accuracy is not None:
        bits = ticket.bits_per_character
        score = "" if bits is None else f" (next characters foreseen) and {bits:.4f} bits per character"
        measured.append(f"accuracy {ticket.accuracy:.4f}{score} on {ticket.dataset or 'an unnamed data set'}")
    else:
        assumed.append("the accuracy was not measured")
    num_measured = sum(layer.input_density is not None for layer in ticket.layers)
    if num_measured:
        measured.append(f"input densities of {num_measured} of {len(ticket.layers)} layers")
    if num_measured < len(ticket.layers):
        assumed.append(f"inputs of {len(ticket.layers) - num_measured} layers count as dense: not measured")
    num_coats = max(layer.num_coats for layer in ticket.layers)
    if num_coats > 1:
        kept = [sum(layer.num_kept for layer in ticket.layers)]
        kept += [sum(layer.coat_kept[coat] for layer in ticket.layers) for coat in range(num_coats - 1)]
        counts = ", ".join(f"{number:,}" for number in kept)
        measured.append(f"{num_coats} coats, nested masks that are summed: they keep {counts} weights")
    num_trained = sum(is_trained(layer) for layer in ticket.layers)
    if num_trained:
        assumed.append(
            f"{num_trained} of {len(ticket.layers)} layers have trained weights, no supermask of random ones: kept is "
            "where they are 0; sizes are those of 8-bit values"
        )
    if not ticket.regenerable and num_trained < len(ticket.layers):
        assumed.append(
            "the weights and the freezing map came from another generator: sizes, times and energies are those of a "
            "chip whose generator has the same statistics; it could not rebuild these weights"
        )
    return tuple(measured), tuple(assumed)
