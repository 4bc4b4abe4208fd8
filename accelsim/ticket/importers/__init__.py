"""Others' checkpoints as tickets: partially frozen supermasks, edge-popup, multi-prize tickets, plain torch networks.

What is kept: the mask, the freezing map and the signs of the weights, bit for bit; one magnitude per layer (the mean of
the kept weights, exact for signed constants) folded with scaling and batch normalisation into float16 scale and offset.
What is not: the magnitudes of weights that are no constants. The weights came from another generator, so the ticket is
not regenerable; it is simulated as if a generator of the same statistics made them.

Of trained layers (plain networks, and what edge-popup leaves dense) only the places of the zeros are kept. They are no
supermasks of random weights: formats of tickets refuse them.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from accelsim.errors import TicketError
from accelsim.ticket.graph import GraphNode, NetworkGraph
from accelsim.ticket.importers.checkpoint import Checkpoint, read_checkpoint
from accelsim.ticket.importers.consistency import leftover_names
from accelsim.ticket.importers.infer import Wanted, infer_graph
from accelsim.ticket.importers.layers import (
    GLOBAL_TYPE,
    ChannelNorm,
    CheckpointKind,
    CheckpointLayer,
    checkpoint_kind,
    has_freezing_maps,
    nm_pattern,
    norms,
    read_layers,
    weighted_names,
)
from accelsim.ticket.model import MaskCodec, Ticket, TicketLayer
from accelsim.ticket.pack import ImportedPattern, pack_imported_layer
from accelsim.ticket.shapes import weight_shapes
from accelsim.ticket.statistics import is_nearly_dense

__all__ = ["ImportOptions", "ImportedTicket", "import_checkpoint"]

_MAX_SHOWN = 5
_MAX_WIDTH = 64.0
_KIND_TEXT: dict[CheckpointKind, str] = {
    "partially_frozen": "a partially frozen strong lottery ticket",
    "edge_popup": "an edge-popup or multi-prize ticket",
    "plain": "a plain network",
}


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """What the user states; None is inferred from names and shapes.

    ``sparsity`` is the fraction of zeros per layer that edge-popup checkpoints do not hold; ``num_nodes`` and
    ``num_edges`` of a graph network are part of ``input_shape`` (nodes, features) and of the checkpoint.
    """

    network: str | None = None
    width_factor: float | None = None
    input_shape: tuple[int, ...] | None = None
    sparsity: float | None = None
    codec: MaskCodec = "raw"


@dataclass(frozen=True, slots=True)
class ImportedTicket:
    """The ticket, whose checkpoint it was, and sentences about what was found and what was given up."""

    ticket: Ticket
    kind: CheckpointKind
    notes: tuple[str, ...]


def import_checkpoint(path: str | os.PathLike[str], options: ImportOptions | None = None) -> ImportedTicket:
    """Read a checkpoint and return it as a ticket that can be simulated.

    Raises
    ------
    TicketError
        The file is unreadable, its layers fit no network, or a layer is missing, left over or inconsistent.
    """
    chosen = options or ImportOptions()
    if chosen.width_factor is not None and not 0.0 < chosen.width_factor <= _MAX_WIDTH:
        raise TicketError(
            f"--width-factor: {chosen.width_factor:g} is not above 0 and at most {_MAX_WIDTH:g}; "
            "give what multiplies the hidden channels"
        )
    checkpoint = read_checkpoint(path)
    layers = read_layers(checkpoint, chosen.sparsity)
    channel_norms = norms(checkpoint)
    shapes = {name: layer.weight.shape for name, layer in layers.items()}
    wanted = Wanted(
        chosen.network, chosen.width_factor, chosen.input_shape, _norm_after(checkpoint), _num_edges(checkpoint)
    )
    try:
        graph = infer_graph(checkpoint.path, shapes, channel_norms, wanted)
    except TicketError as error:
        raise _at(checkpoint, error) from error
    _check_norms(checkpoint, graph, channel_norms)
    has_signs = "binact" in checkpoint.arch.lower()
    if has_signs:
        graph = _with_sign_activations(graph)
    packed = _pack_all(checkpoint, graph, layers, channel_norms, chosen.codec)
    kind = checkpoint_kind(checkpoint)
    notes = (
        *_notes(checkpoint, layers),
        *((f"{checkpoint.arch[:40]!r} has binary activations: signs stand in for ReLUs",) if has_signs else ()),
        *_odd_notes(checkpoint),
        *_leftover_notes(checkpoint, graph, layers),
        *_norm_notes(graph, channel_norms),
    )
    command = _command(checkpoint, graph, chosen)
    ticket = Ticket(graph, packed, "imported", command=command, regenerable=False, notes=tuple(map(_one_line, notes)))
    return ImportedTicket(ticket, kind, notes)


def _one_line(note: str) -> str:
    return " ".join(note.split())


def _with_sign_activations(graph: NetworkGraph) -> NetworkGraph:
    nodes = tuple(replace(node, function="sign") if node.kind == "activation" else node for node in graph.nodes)
    return replace(graph, nodes=nodes)


def _at(checkpoint: Checkpoint, error: TicketError) -> TicketError:
    text = str(error)
    return error if text.startswith(checkpoint.path) else TicketError(f"{checkpoint.path}: {text}")


def _norm_after(checkpoint: Checkpoint) -> dict[str, str]:
    """Return, for each weighted layer, the batch normalisation that belongs to it.

    In a torch.nn.Sequential the normalisation comes next in the file; lists of equal length side by side go by index.
    """
    weighted = [name for name, _ in weighted_names(checkpoint)]
    convs = [name for name in weighted if name.startswith("convs.")]
    modules = list(dict.fromkeys(key.rpartition(".")[0] for key in checkpoint.tensors))
    norm_names = [name for name in modules if f"{name}.running_mean" in checkpoint.tensors]
    places = {name: place for place, name in enumerate(modules)}
    if convs and len(norm_names) == len(convs) and places[norm_names[0]] > places[convs[-1]]:
        return dict(zip(convs, norm_names, strict=True))
    after: dict[str, str] = {}
    for name in norm_names:
        before = [layer for layer in weighted if places[layer] < places[name]]
        if before:
            after.setdefault(before[-1], name)
    return after


def _num_edges(checkpoint: Checkpoint) -> int | None:
    """Return the edges that a graph network keeps: what is 0 in the mask of the edges passes nothing."""
    edges = checkpoint.tensors.get("adj_mask2_fixed")
    if edges is None:
        return None
    kept = int(np.count_nonzero(edges))
    if not kept:
        raise TicketError(f"{checkpoint.path}: adj_mask2_fixed: keeps no edge; the file is damaged")
    return kept


def _pack_all(
    checkpoint: Checkpoint,
    graph: NetworkGraph,
    layers: dict[str, CheckpointLayer],
    channel_norms: dict[str, ChannelNorm],
    codec: MaskCodec,
) -> tuple[TicketLayer, ...]:
    expected = weight_shapes(graph)
    for name in expected:
        if name not in layers:
            raise TicketError(
                f"{checkpoint.path}: layer {name!r} of {graph.name} is missing; the checkpoint is incomplete"
            )
    for name in layers:
        if name not in expected:
            raise TicketError(
                f"{checkpoint.path}: layer {name!r} has no place in {graph.name}; state another --network"
            )
    behind = _norms_behind(graph)
    nodes = {node.name: node for node in graph.nodes}
    packed = []
    for name, shape in expected.items():
        layer = _reshaped(checkpoint, layers[name], shape)
        norm = behind.get(name)
        channel_norm = channel_norms.get(norm.name) if norm is not None else None
        pattern = ImportedPattern(layer.frozen, np.where(layer.weight < 0, -1, 1).astype(np.int8))
        try:
            scale, offset = _scales(layer, nodes[name], channel_norm)
            ready = pack_imported_layer(name, pattern, layer.mask, codec, scale, offset)
            packed.append(replace(ready, weight_payload=b"") if layer.is_trained else ready)
        except TicketError as error:
            raise _at(checkpoint, error) from error
    return tuple(packed)


def _reshaped(checkpoint: Checkpoint, layer: CheckpointLayer, shape: tuple[int, ...]) -> CheckpointLayer:
    """Return the layer in the graph's shape; 1x1 convolutions may stand for linear layers."""
    have = layer.weight.shape
    if have not in (shape, (*shape, 1, 1)):
        raise TicketError(
            f"{checkpoint.path}: {layer.name}.weight: shape {have} is not {shape}, which the layers around it need; "
            "state --network, --width-factor or --input-shape, or give an undamaged file"
        )
    return replace(
        layer,
        weight=layer.weight.reshape(shape),
        mask=layer.mask.reshape(shape),
        frozen=layer.frozen.reshape(shape),
    )


def _scales(
    layer: CheckpointLayer, node: GraphNode, norm: ChannelNorm | None
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Fold magnitude, gain, bias and batch normalisation into one multiplication and one addition per channel."""
    kept = np.abs(layer.weight[layer.mask], dtype=np.float64)
    magnitude = float(kept.mean()) * layer.gain if kept.size else 0.0
    scale = np.full(node.out_channels, magnitude)
    if layer.bias is not None and layer.bias.shape != scale.shape:
        raise TicketError(f"{layer.name}.bias: {layer.bias.size} values for {scale.size} channels; the file is damaged")
    offset = np.asarray(layer.bias, dtype=np.float64) if layer.bias is not None else np.zeros(node.out_channels)
    if norm is not None:
        if norm.scale_K.shape != scale.shape:
            raise TicketError(
                f"{norm.name}.running_mean: {norm.scale_K.size} values for the {scale.size} channels of "
                f"{layer.name!r}; the file is damaged"
            )
        return scale * norm.scale_K, offset * norm.scale_K + norm.offset_K
    return scale, offset


def _command(checkpoint: Checkpoint, graph: NetworkGraph, options: ImportOptions) -> str:
    sparsity = "" if options.sparsity is None else f" --sparsity {options.sparsity:g}"
    shape = "" if options.input_shape is None else f" --input-shape {','.join(map(str, options.input_shape))}"
    width = "" if options.width_factor is None else f" --width-factor {options.width_factor:g}"
    codec = "" if options.codec == "raw" else f" --codec {options.codec}"
    name = os.path.basename(checkpoint.path)
    return f"accelsim import {name} --network {graph.name}{width}{shape}{sparsity}{codec}"


def _notes(checkpoint: Checkpoint, layers: dict[str, CheckpointLayer]) -> tuple[str, ...]:
    kind = checkpoint_kind(checkpoint)
    notes = [f"read as {_KIND_TEXT[kind]} with {len(layers)} weighted layers"]
    if kind == "partially_frozen" and not has_freezing_maps(checkpoint):
        notes.append("it has no freezing map (ternary_frozen_mask): nothing of it is frozen")
    if checkpoint.conv_type == GLOBAL_TYPE:
        notes.append(f"{GLOBAL_TYPE}: one threshold over the scores of all layers")
    dense = [name for name, layer in layers.items() if layer.is_trained]
    if dense and kind != "plain":
        notes.append(f"{len(dense)} layers such as {dense[0]!r} have no scores: trained values, stored as dense int8")
    varied = [name for name, layer in layers.items() if not layer.is_trained and not _is_constant(layer)]
    if varied and checkpoint.conv_type:
        notes.append("biprop's binary weights: signs, times the mean magnitude of what a layer keeps")
    elif varied:
        have = "1 layer has" if len(varied) == 1 else f"{len(varied)} layers have"
        notes.append(f"{have} weights of varied size: their signs and one mean magnitude are kept")
    if kind == "plain":
        counts = {name: (int(layer.mask.sum()), layer.mask.size) for name, layer in layers.items()}
        pattern = nm_pattern({name: layers[name] for name, count in counts.items() if not is_nearly_dense(*count)})
        kept, total = (sum(part) for part in zip(*counts.values(), strict=True))
        dropped = not is_nearly_dense(kept, total)
        if not dropped and kept < total:
            notes.append(f"{total - kept:,} of its {total:,} weights are 0: too few for pruning, stored as dense")
        if pattern is not None:
            notes.append(f"the zeros follow a {pattern[0]}:{pattern[1]} pattern along the input channels")
        elif dropped:
            notes.append("its zeros follow no N:M pattern: stored as a bitmap and values unless told otherwise")
        notes.append("its weights are trained values and no supermask of random ones: kept is where they are 0")
    return tuple(notes)


def _odd_notes(checkpoint: Checkpoint) -> tuple[str, ...]:
    """Return what a file says that the layer graph cannot."""
    notes = []
    eps = [name for name, value in checkpoint.tensors.items() if name.endswith(".eps") and np.any(value != 0)]
    if eps:
        notes.append(f"{len(eps)} GIN layers such as {eps[0]!r} are not 0: taken as 0, the same number of operations")
    edges = checkpoint.tensors.get("adj_mask2_fixed")
    if edges is not None and not edges.all():
        notes.append(f"{int(edges.size - np.count_nonzero(edges)):,} of {edges.size:,} edges are masked and left out")
    if checkpoint.arch.lower().endswith("_v2"):
        notes.append(f"{checkpoint.arch[:40]!r} normalises after the sum of a block: counted before it, as often")
    return tuple(notes)


def _norm_notes(graph: NetworkGraph, channel_norms: dict[str, ChannelNorm]) -> tuple[str, ...]:
    missing = _missing_norms(graph, channel_norms)
    if not missing:
        return ()
    return (f"{len(missing)} normalisations such as {missing[0]!r} have no running statistics: taken as the identity",)


def _missing_norms(graph: NetworkGraph, channel_norms: dict[str, ChannelNorm]) -> list[str]:
    return [
        node.name
        for node in graph.nodes
        if node.kind == "norm" and node.function == "batch" and node.name not in channel_norms
    ]


def _check_norms(checkpoint: Checkpoint, graph: NetworkGraph, channel_norms: dict[str, ChannelNorm]) -> None:
    """Refuse a network some of whose normalisations have statistics and some not."""
    missing = _missing_norms(graph, channel_norms)
    convs = [node.name for node in graph.nodes if node.kind == "conv2d" and node.name.startswith("convs.")]
    behind = _norms_behind(graph)
    bare = [name for name in convs if name not in behind]
    if set(bare) == set(convs[::2]):  # biprop's small VGG normalises behind its pools only
        bare = []
    if missing and channel_norms:
        problem = f"{missing[0]}.running_mean: missing, though {next(iter(channel_norms))!r} has one"
    elif bare and len(bare) < len(convs):
        problem = f"{bare[0]}: no normalisation follows it, though one follows other convolutions"
    else:
        return
    raise TicketError(f"{checkpoint.path}: {problem}; the file is incomplete")


def _norms_behind(graph: NetworkGraph) -> dict[str, GraphNode]:
    """Return the normalisation behind each layer, if need be behind its pool, which keeps the order of the values."""
    pools = {node.name: node.inputs[0] for node in graph.nodes if node.kind == "pool"}
    return {pools.get(node.inputs[0], node.inputs[0]): node for node in graph.nodes if node.kind == "norm"}


def _leftover_notes(checkpoint: Checkpoint, graph: NetworkGraph, layers: dict[str, CheckpointLayer]) -> tuple[str, ...]:
    used = frozenset(layers) | frozenset(node.name for node in graph.nodes)
    left = leftover_names(checkpoint, used)
    notes = []
    if left:
        shown = ", ".join(left[:_MAX_SHOWN]) + (" ..." if len(left) > _MAX_SHOWN else "")
        notes.append(f"{len(left)} tensors belong to no layer and were left out: {shown}")
    num_stale = sum(layer.num_stale for layer in layers.values())
    if num_stale:
        notes.append(f"{num_stale} mask bits are not those of the scores (stored before a last step?): masks are kept")
    return tuple(notes)


def _is_constant(layer: CheckpointLayer) -> bool:
    kept = np.abs(layer.weight[layer.mask])
    return not kept.size or bool(np.ptp(kept) <= 1e-5 * float(kept.max()))
