"""Others' checkpoints as tickets: partially frozen supermasks, edge-popup, multi-prize tickets, plain torch networks.

What is kept: the mask, the freezing map and the signs of the weights, bit for bit; one magnitude per layer (the mean of
the kept weights, exact for signed constants) folded with scaling and batch normalisation into float16 scale and offset.
What is not: the magnitudes of weights that are no constants. The weights came from another generator, so the ticket is
not regenerable; it is simulated as if a generator of the same statistics made them.

Of trained layers (plain networks, and what edge-popup leaves dense) only the places of the zeros are kept. They are no
supermasks of random weights: formats of tickets refuse them.
"""

from __future__ import annotations

import math
import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from accelsim.errors import TicketError
from accelsim.ticket.graph import GraphNode, NetworkGraph
from accelsim.ticket.importers.bind import KnownGraph, bind_graph
from accelsim.ticket.importers.checkpoint import Checkpoint, read_checkpoint
from accelsim.ticket.importers.infer import Wanted, infer_graph
from accelsim.ticket.importers.layers import (
    ChannelNorm,
    CheckpointKind,
    CheckpointLayer,
    norms,
    read_layers,
    weighted_names,
)
from accelsim.ticket.importers.mask_forms import MASK_FORMS
from accelsim.ticket.importers.masks import MaskRule
from accelsim.ticket.importers.notes import has_signs, import_notes, missing_norms
from accelsim.ticket.importers.parts import StatedKeys
from accelsim.ticket.model import MaskCodec, Ticket, TicketLayer
from accelsim.ticket.pack import ImportedPattern, pack_imported_layer
from accelsim.ticket.shapes import num_channels, weight_shapes

__all__ = ["ImportOptions", "ImportedTicket", "KnownGraph", "import_checkpoint"]

_MAX_WIDTH = 64.0
_MAX_GROUP = 64


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """What the user states; None is inferred from names and shapes.

    ``sparsity``, ``nm`` (N, M) and ``score_rule`` say what scores mean (`accelsim.ticket.importers.masks.MaskRule`);
    ``mask_key``, ``score_key``, ``threshold_key`` and ``ignore_key`` are endings of tensors' names, by comma;
    ``mask_form`` is how the masks of ``mask_key`` are written (`accelsim.ticket.importers.mask_forms`); ``part`` is
    with what the names of the network begin where a file holds several. ``graph`` is the network as somebody else's
    reader gives it.
    """

    network: str | None = None
    width_factor: float | None = None
    input_shape: tuple[int, ...] | None = None
    sparsity: float | None = None
    codec: MaskCodec = "raw"
    mask_key: str = ""
    score_key: str = ""
    threshold_key: str = ""
    ignore_key: str = ""
    nm: tuple[int, int] | None = None
    score_rule: str = "magnitude"
    mask_form: str = "kept"
    part: str | None = None
    graph: KnownGraph | None = None

    def mask_rule(self) -> MaskRule:
        """Return what is stated of masks.

        Raises
        ------
        TicketError
            An impossible pattern or rule.
        """
        if self.nm is not None and not 0 < self.nm[0] <= self.nm[1] <= _MAX_GROUP:
            raise TicketError(f"--nm: {self.nm[0]}:{self.nm[1]} keeps not 1 to M of M; give e.g. 2:4")
        if self.score_rule not in ("magnitude", "value") and not _is_finite(self.score_rule):
            raise TicketError(f"--score-rule: {self.score_rule!r} is not allowed; give magnitude, value, or a number")
        if self.mask_form not in MASK_FORMS:
            raise TicketError(f"--mask-form: {self.mask_form!r} is not allowed; give one of {', '.join(MASK_FORMS)}")
        if self.mask_form != "kept" and not self.mask_key:
            raise TicketError("--mask-form: says how stated masks are written; state them with --mask-key")
        keys = StatedKeys(
            _endings(self.mask_key),
            _endings(self.score_key),
            _endings(self.ignore_key),
            _endings(self.threshold_key),
            self.mask_form,
        )
        return MaskRule(keys, self.sparsity, self.nm, self.score_rule)


def _endings(text: str) -> tuple[str, ...]:
    return tuple(part.strip().lstrip(".") for part in text.split(",") if part.strip(" ."))


def _is_finite(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


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
    rule = chosen.mask_rule()
    checkpoint, known = _read(path, chosen)
    # What is not finite in a foreign file is refused by its name, not warned of.
    with np.errstate(invalid="ignore", over="ignore"):
        found = read_layers(checkpoint, rule, known)
    channel_norms = norms(checkpoint)
    graph = _graph(checkpoint, found.layers, channel_norms, chosen)
    packed = _pack_all(checkpoint, graph, found.layers, channel_norms, chosen.codec)
    notes = import_notes(checkpoint, found, graph, channel_norms, known)
    ticket = Ticket(
        graph, packed, "imported", command=_command(checkpoint, graph, chosen), regenerable=False, notes=notes
    )
    return ImportedTicket(ticket, found.kind, notes)


def _read(path: str | os.PathLike[str], options: ImportOptions) -> tuple[Checkpoint, frozenset[str]]:
    """Return the checkpoint, and the names of the tensors that a stated graph knows as something else than weights."""
    if options.graph is None:
        return read_checkpoint(path, options.part), frozenset()
    checkpoint = read_checkpoint(path, options.part, find_root=False)
    return bind_graph(checkpoint, options.graph, options.part is not None)


def _graph(
    checkpoint: Checkpoint,
    layers: Mapping[str, CheckpointLayer],
    channel_norms: dict[str, ChannelNorm],
    options: ImportOptions,
) -> NetworkGraph:
    """Return the layer graph: the stated one, or what names and shapes say."""
    if options.graph is not None:
        return options.graph.graph
    shapes = {name: layer.weight.shape for name, layer in layers.items()}
    wanted = Wanted(
        options.network, options.width_factor, options.input_shape, _norm_after(checkpoint), _num_edges(checkpoint)
    )
    try:
        graph = infer_graph(checkpoint.path, shapes, channel_norms, wanted)
    except TicketError as error:
        raise _at(checkpoint, error) from error
    _check_norms(checkpoint, graph, channel_norms)
    return _with_sign_activations(graph) if has_signs(checkpoint) else graph


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
    if convs and len(norm_names) == len(convs) and _are_apart(places, convs, norm_names):
        return dict(zip(convs, norm_names, strict=True))
    after: dict[str, str] = {}
    for name in norm_names:
        before = [layer for layer in weighted if places[layer] < places[name]]
        if before:
            after.setdefault(before[-1], name)
    return after


def _are_apart(places: Mapping[str, int], convs: Sequence[str], norm_names: Sequence[str]) -> bool:
    """Return whether the normalisations stand all before or all behind the convolutions, as a list of their own."""
    is_before = places[norm_names[-1]] < places[convs[0]]
    return is_before or places[norm_names[0]] > places[convs[-1]]


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
    layers: Mapping[str, CheckpointLayer],
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
    """Return the layer in the graph's shape; axes of size 1 may differ (1x1 convolutions, convolutions over time)."""
    have = layer.weight.shape
    if [size for size in have if size > 1] != [size for size in shape if size > 1] or have[0] != shape[0]:
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
    scale = np.full(num_channels(node), magnitude)
    if layer.bias is not None and layer.bias.shape != scale.shape:
        raise TicketError(f"{layer.name}.bias: {layer.bias.size} values for {scale.size} channels; the file is damaged")
    offset = np.asarray(layer.bias, dtype=np.float64) if layer.bias is not None else np.zeros(scale.size)
    if norm is not None:
        if norm.scale_K.shape != scale.shape:
            raise TicketError(
                f"{norm.name}.running_mean: {norm.scale_K.size} values for the {scale.size} channels of "
                f"{layer.name!r}; the file is damaged"
            )
        return scale * norm.scale_K, offset * norm.scale_K + norm.offset_K
    return scale, offset


def _command(checkpoint: Checkpoint, graph: NetworkGraph, options: ImportOptions) -> str:
    """Return the command that makes the ticket, files by their names alone."""
    known, nm = options.graph, options.nm
    shape = "" if options.input_shape is None else ",".join(map(str, options.input_shape))
    is_named = known is None or not known.path
    stated = {
        "--graph": "" if is_named else os.path.basename(known.path if known else ""),
        "--network": graph.name if is_named else "",
        "--width-factor": _text(options.width_factor),
        "--input-shape": shape,
        "--part": options.part or "",
        "--mask-key": options.mask_key,
        "--mask-form": "" if options.mask_form == "kept" else options.mask_form,
        "--score-key": options.score_key,
        "--threshold-key": options.threshold_key,
        "--ignore-key": options.ignore_key,
        "--score-rule": "" if options.score_rule == "magnitude" else options.score_rule,
        "--nm": "" if nm is None else f"{nm[0]}:{nm[1]}",
        "--sparsity": _text(options.sparsity),
        "--codec": "" if options.codec == "raw" else options.codec,
    }
    words = [os.path.basename(checkpoint.path)]
    words += [word for option, value in stated.items() if value for word in (option, value)]
    return f"accelsim import {shlex.join(words)}"


def _text(number: float | None) -> str:
    return "" if number is None else f"{number:g}"


def _check_norms(checkpoint: Checkpoint, graph: NetworkGraph, channel_norms: dict[str, ChannelNorm]) -> None:
    """Refuse a network some of whose normalisations have statistics and some not."""
    missing = missing_norms(graph, channel_norms)
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
