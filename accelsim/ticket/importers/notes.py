"""Sentences about what an import found, what it gave up, and what it left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from accelsim.ticket.graph import NetworkGraph
from accelsim.ticket.importers.checkpoint import Checkpoint
from accelsim.ticket.importers.consistency import leftover_names
from accelsim.ticket.importers.content import rest_in_short
from accelsim.ticket.importers.layers import (
    ChannelNorm,
    CheckpointKind,
    CheckpointLayer,
    CheckpointLayers,
    has_freezing_maps,
    nm_pattern,
)
from accelsim.ticket.importers.masks import GLOBAL_TYPE, has_one_magnitude
from accelsim.ticket.importers.owners import is_named_after_pruning
from accelsim.ticket.statistics import is_nearly_dense

_MAX_SHOWN = 5
_KIND_TEXT: dict[CheckpointKind, str] = {
    "partially_frozen": "a partially frozen strong lottery ticket",
    "edge_popup": "an edge-popup or multi-prize ticket",
    "masked": "a network with masks",
    "plain": "a plain network",
}


def has_signs(checkpoint: Checkpoint) -> bool:
    """Return whether the activations are signs (biprop's BinAct)."""
    return "binact" in checkpoint.arch.lower()


def missing_norms(graph: NetworkGraph, channel_norms: Mapping[str, ChannelNorm]) -> list[str]:
    """Return the batch normalisations of the graph that have no statistics in the file."""
    return [
        node.name
        for node in graph.nodes
        if node.kind == "norm" and node.function == "batch" and node.name not in channel_norms
    ]


def import_notes(
    checkpoint: Checkpoint,
    found: CheckpointLayers,
    graph: NetworkGraph,
    channel_norms: Mapping[str, ChannelNorm],
    of_no_layer: frozenset[str],
) -> tuple[str, ...]:
    """Return all sentences about an import, a line each."""
    notes = (
        *_kind_notes(checkpoint, found),
        *checkpoint.notes,
        *_odd_notes(checkpoint),
        *_leftover_notes(checkpoint, graph, found, of_no_layer),
        *_norm_notes(graph, channel_norms),
    )
    return tuple(" ".join(note.split()) for note in notes)


def _kind_notes(checkpoint: Checkpoint, found: CheckpointLayers) -> list[str]:
    kind, layers = found.kind, found.layers
    notes = [f"read as {_KIND_TEXT[kind]} with {len(layers)} weighted layers"]
    if kind == "partially_frozen" and not has_freezing_maps(checkpoint):
        notes.append("it has no freezing map (ternary_frozen_mask): nothing of it is frozen")
    if checkpoint.conv_type == GLOBAL_TYPE:
        notes.append(f"{GLOBAL_TYPE}: one threshold over the scores of all layers")
    dense = [name for name, layer in layers.items() if layer.is_trained]
    if dense and len(dense) < len(layers):
        notes.append(f"{len(dense)} layers such as {dense[0]!r} have no scores: trained values, stored as dense int8")
    varied = [name for name, layer in layers.items() if not layer.is_trained and not _is_constant(layer)]
    if varied and checkpoint.conv_type:
        notes.append("biprop's binary weights: signs, times the mean magnitude of what a layer keeps")
    elif varied:
        have = "1 layer has" if len(varied) == 1 else f"{len(varied)} layers have"
        notes.append(f"{have} weights of varied size: their signs and one mean magnitude are kept")
    notes += found.notes
    numbers = {**checkpoint.numbers, **{name: float(v) for name, v in checkpoint.lists.items() if v.ndim == 0}}
    stated = [name for name in numbers if is_named_after_pruning(name)]
    if stated and kind == "plain":
        notes.append(f"the file says {stated[0]} = {numbers[stated[0]]:g}; read are the zeros that it has")
    return notes + (_trained_notes(layers) if len(dense) == len(layers) else [])


def _trained_notes(layers: Mapping[str, CheckpointLayer]) -> list[str]:
    """Return what the zeros of a network of trained values are like."""
    notes = []
    counts = {name: (int(layer.mask.sum()), layer.mask.size) for name, layer in layers.items()}
    pattern = nm_pattern({name: layers[name] for name, count in counts.items() if not is_nearly_dense(*count)})
    kept, total = (sum(part) for part in zip(*counts.values(), strict=True))
    dropped = not is_nearly_dense(kept, total)
    if not dropped and kept < total:
        notes.append(f"{total - kept:,} of its {total:,} weights are 0: too few for pruning, stored as dense")
    if dropped and pattern is not None:
        notes.append(f"the zeros follow a {pattern[0]}:{pattern[1]} pattern along the input channels")
    elif dropped:
        notes.append("its zeros follow no N:M pattern: stored as a bitmap and values unless told otherwise")
    return [*notes, "its weights are trained values and no supermask of random ones: kept is where they are 0"]


def _odd_notes(checkpoint: Checkpoint) -> tuple[str, ...]:
    """Return what a file says that the layer graph cannot."""
    notes = (
        [f"{checkpoint.arch[:40]!r} has binary activations: signs stand in for ReLUs"] if has_signs(checkpoint) else []
    )
    eps = [name for name, value in checkpoint.tensors.items() if name.endswith(".eps") and np.any(value != 0)]
    if eps:
        notes.append(f"{len(eps)} GIN layers such as {eps[0]!r} are not 0: taken as 0, the same number of operations")
    edges = checkpoint.tensors.get("adj_mask2_fixed")
    if edges is not None and not edges.all():
        notes.append(f"{int(edges.size - np.count_nonzero(edges)):,} of {edges.size:,} edges are masked and left out")
    if checkpoint.arch.lower().endswith("_v2"):
        notes.append(f"{checkpoint.arch[:40]!r} normalises after the sum of a block: counted before it, as often")
    return tuple(notes)


def _norm_notes(graph: NetworkGraph, channel_norms: Mapping[str, ChannelNorm]) -> tuple[str, ...]:
    missing = missing_norms(graph, channel_norms)
    if not missing:
        return ()
    return (f"{len(missing)} normalisations such as {missing[0]!r} have no running statistics: taken as the identity",)


def _leftover_notes(
    checkpoint: Checkpoint, graph: NetworkGraph, found: CheckpointLayers, of_no_layer: frozenset[str]
) -> list[str]:
    owners = frozenset(found.layers) | frozenset(node.name for node in graph.nodes)
    left = [name for name in leftover_names(checkpoint, owners) if name not in found.used]
    beside = [name for name in checkpoint.others if name not in found.used]
    notes = []
    heads = [name for name in left if name in of_no_layer]
    if heads:
        notes.append(f"{len(heads)} weights belong to no layer of the graph and were left out: {_some(heads)}")
    rest = [name for name in left if name not in of_no_layer] + beside
    if rest:
        notes.append(f"{len(rest)} tensors belong to no layer and were left out: {_some(rest_in_short(rest))}")
    num_stale = sum(layer.num_stale for layer in found.layers.values())
    if num_stale:
        notes.append(f"{num_stale} mask bits are not those of the scores (stored before a last step?): masks are kept")
    return notes


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_MAX_SHOWN]) + (" ..." if len(names) > _MAX_SHOWN else "")


def _is_constant(layer: CheckpointLayer) -> bool:
    return has_one_magnitude(layer.weight[layer.mask])
