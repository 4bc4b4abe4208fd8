"""A checkpoint and a graph of any architecture, brought together by the names of their parameters."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod

import numpy as np

from accelsim.errors import TicketError
from accelsim.ticket.graph import NetworkGraph
from accelsim.ticket.importers.checkpoint import Array, Checkpoint, under_root
from accelsim.ticket.importers.content import (
    INNER_WRAPPERS,
    check_one_network,
    has_weight,
    is_pruned_twin,
    is_set_aside,
    wrapper_rank,
)
from accelsim.ticket.importers.owners import beginnings, is_binary, is_named_after_pruning
from accelsim.ticket.shapes import weight_shapes

_MAX_ROOTS = 16
_NUM_PROBED = 8


@dataclass(frozen=True, slots=True)
class KnownGraph:
    """A layer graph whose layers are called after their parameters.

    ``transposed`` are the parameters that the module stores inputs first, as an operand of a product has them;
    ``names`` maps layers that are called otherwise to theirs, and ``computed`` are layers whose weights are computed
    from it. ``path`` is the file of the graph, for the record.
    """

    graph: NetworkGraph
    transposed: frozenset[str] = frozenset()
    names: Mapping[str, str] = field(default_factory=dict)
    computed: frozenset[str] = frozenset()
    path: str = ""


def bind_graph(checkpoint: Checkpoint, known: KnownGraph, is_stated: bool = False) -> tuple[Checkpoint, frozenset[str]]:
    """Return the checkpoint with the graph's names, and the names of weights of layers that the graph does not have.

    Parameters
    ----------
    checkpoint
        With all names of the file.
    known
        The graph.
    is_stated
        Whether the user said which part of the file is meant.

    Raises
    ------
    TicketError
        Naming the first layer of the graph for which the file has no tensor.
    """
    shapes = weight_shapes(known.graph)
    variants = {layer: list(dict.fromkeys(_parameter_names(known.names.get(layer, layer)))) for layer in shapes}
    sizes = {layer: prod(shape) for layer, shape in shapes.items()}
    root, cut = _best_root(checkpoint.path, checkpoint.tensors, variants, sizes, is_stated)
    inside = under_root(checkpoint, root)
    keys = {layer: _key_of(inside.tensors, names, cut, sizes[layer]) for layer, names in variants.items()}
    missing = [layer for layer, key in keys.items() if key is None]
    if missing:
        raise _missing_layer(checkpoint, known.graph, missing, len(keys), root)
    found = {layer: key for layer, key in keys.items() if key is not None}
    bound = _renamed(inside, found, shapes, known.transposed)
    if cut:
        bound = replace(bound, notes=(*bound.notes, f"the graph's names begin with {cut!r}, the file's do not"))
    computed = sorted(layer for layer in shapes if layer in known.computed)
    if computed:
        note = (
            f"{len(computed)} weights such as that of {computed[0]!r} are computed from a parameter: the zeros are its"
        )
        bound = replace(bound, notes=(*bound.notes, note))
    return bound, _weights_of_no_layer(bound.tensors, frozenset(shapes))


def _parameter_names(layer: str) -> Iterator[str]:
    """Yield what the weight of a layer may be called in a state dict; a second use of one has a number behind it."""
    layer = re.sub(r"\.parametrizations\.(\w+)\.original\d?$", r".\1", layer)
    layer = re.sub(r"[._]weight(_v|_orig)?$", "", layer)
    for name in (layer, re.sub(r"_\d+$", "", layer), _without_scopes(layer)):
        plain = ".".join(part for part in name.split(".") if part not in INNER_WRAPPERS)
        for stem in dict.fromkeys((name, plain)):
            yield from (f"{stem}.weight", f"{stem}_weight", stem)


def _without_scopes(layer: str) -> str:
    """Return ``layer1.0.conv1`` of ``layer1.layer1.0.conv1``: ONNX repeats the way to a module in each step."""
    kept: list[str] = []
    parts = layer.split(".")
    while parts:
        repeated = next(
            (size for size in range(len(kept), 0, -1) if parts[:size] == kept[-size:] and size == len(kept)), 0
        )
        if repeated:
            parts = parts[repeated:]
        else:
            kept.append(parts.pop(0))
    return ".".join(kept)


def _best_root(
    where: str,
    tensors: Mapping[str, Array],
    variants: Mapping[str, Sequence[str]],
    sizes: Mapping[str, int],
    is_stated: bool,
) -> tuple[str, str]:
    """Return with what the file's names begin and what the graph's have before them, so that most layers are found."""
    ranked = []
    for cut in _shared_beginnings([names[0] for names in variants.values()]):
        for root in _roots(tensors, variants, cut):
            wanted = {layer: [root + name for name in _cut(names, cut)] for layer, names in variants.items()}
            count = sum(_key_of(tensors, names, "", sizes[layer]) is not None for layer, names in wanted.items())
            ranked.append(((-count, len(cut), wrapper_rank(root)), len(root), root, cut))
    ranked.sort()
    (count, *_), _, chosen, cut = ranked[0]
    whole = [root for (num, *_), _, root, other in ranked if -num == len(variants) and other == cut]
    if -count == len(variants) and not is_stated:
        equal = [root for rank, _, root, _ in ranked if rank == ranked[0][0]]
        if len(equal) > 1:
            named = ", ".join(root.rstrip(".") or "names of its own" for root in equal)
            own = " ('.' is the one with names of its own)" if "" in equal else ""
            raise TicketError(f"{where}: holds several networks, {named}; state one with --part{own}")
        rivals = [root for root in whole if not is_set_aside(root) or is_pruned_twin(tensors, chosen, root)]
        try:
            check_one_network(tensors, [chosen, *rivals])
        except TicketError as error:
            raise TicketError(f"{where}: {error}") from error
    return chosen, cut


def _shared_beginnings(layers: Sequence[str]) -> list[str]:
    """Return the beginnings that the names of all layers share, the empty one first."""
    shared = [""]
    first = layers[0].split(".")
    for size in range(1, len(first)):
        beginning = ".".join(first[:size]) + "."
        if not all(layer.startswith(beginning) for layer in layers):
            break
        shared.append(beginning)
    return shared


def _cut(names: Sequence[str], cut: str) -> list[str]:
    return [name.removeprefix(cut) for name in names if name.startswith(cut)] if cut else list(names)


def _roots(tensors: Mapping[str, Array], variants: Mapping[str, Sequence[str]], cut: str) -> list[str]:
    roots: dict[str, None] = {}
    for names in list(variants.values())[:_NUM_PROBED]:
        for name in _cut(names, cut):
            for key in tensors:
                if key == name or key.endswith(f".{name}"):
                    roots[key[: len(key) - len(name)]] = None
    return list(roots)[:_MAX_ROOTS] or [""]


def _key_of(tensors: Mapping[str, Array], names: Sequence[str], cut: str, size: int) -> str | None:
    """Return the first name that a weight has; a vector is one where it has as many values as the layer."""
    found = ((name, tensors[name]) for name in _cut(names, cut) if name in tensors)
    return next((name for name, value in found if value.ndim > 1 or value.size == size), None)


def _missing_layer(
    checkpoint: Checkpoint, graph: NetworkGraph, missing: Sequence[str], total: int, root: str
) -> TicketError:
    wanted = next(iter(_parameter_names(missing[0])))
    weights = [name.removeprefix(root) for name, value in checkpoint.tensors.items() if has_weight(name, value)]
    near = difflib.get_close_matches(wanted, weights, n=1, cutoff=0.0)
    shown = f"; the nearest name in it is {near[0]!r}" if near else ""
    return TicketError(
        f"{checkpoint.path}: has no tensor {wanted!r} for layer {missing[0]!r} of {graph.name} ({len(missing)} of its "
        f"{total} layers are missing{shown}); give the checkpoint of the module that was exported"
    )


def _renamed(
    checkpoint: Checkpoint, keys: Mapping[str, str], shapes: Mapping[str, tuple[int, ...]], transposed: frozenset[str]
) -> Checkpoint:
    """Return the checkpoint with each layer's weight under the layer's name, outputs first, and what belongs to it."""
    layers_of: dict[str, list[str]] = {}
    for layer, key in keys.items():
        layers_of.setdefault(re.sub(r"[._]weight$", "", key), []).append(layer)
    turned = {
        layer
        for layer, key in keys.items()
        if _is_transposed(checkpoint.tensors[key], shapes[layer], bool({key, layer} & transposed))
    }
    weights, tensors = frozenset(keys.values()), {}
    for key, value in checkpoint.tensors.items():
        stem = key if key in layers_of else next((part for part in beginnings(key) if part in layers_of), None)
        if stem is None or (key in weights and key not in (stem, f"{stem}.weight", f"{stem}_weight")):
            tensors[key] = value
            continue
        for layer in layers_of[stem]:
            name = f"{layer}.weight" if key in weights else f"{layer}.{key[len(stem) + 1 :]}"
            is_like_weight = value.shape == checkpoint.tensors[keys[layer]].shape
            tensors[name] = _oriented(value, shapes[layer], layer in turned) if is_like_weight else value
    if not turned:
        return replace(checkpoint, tensors=tensors)
    note = f"{len(turned)} weights such as that of {min(turned)!r} are stored inputs first, and were turned"
    return replace(checkpoint, tensors=tensors, notes=(*checkpoint.notes, note))


def _is_transposed(weight: Array, shape: tuple[int, ...], is_stated: bool) -> bool:
    """Return whether a weight is stored inputs first; where its shape does not tell, the module does."""
    if len(shape) != 2 or weight.ndim not in (2, 3):
        return False
    groups, (rows, columns) = prod(weight.shape[:-2]), weight.shape[-2:]
    fits, fits_turned = (groups * rows, columns) == shape, (groups * columns, rows) == shape
    return is_stated if fits == fits_turned else fits_turned


def _oriented(value: Array, shape: tuple[int, ...], is_turned: bool) -> Array:
    """Return a weight, or what has its shape, outputs first; of a product, whatever its axes, as a matrix."""
    outputs_first = np.swapaxes(value, -1, -2) if is_turned else value
    is_flat = value.ndim != 2 and len(shape) == 2 and value.size == prod(shape)
    return outputs_first.reshape(shape) if is_flat else outputs_first


def _weights_of_no_layer(tensors: Mapping[str, Array], layers: frozenset[str]) -> frozenset[str]:
    """Return the weights of modules that the graph has no layer for: embeddings, heads of training, norms."""
    return frozenset(
        key
        for key, value in tensors.items()
        if key.rpartition(".")[2] == "weight"
        and value.ndim > 1
        and key.removesuffix(".weight") not in layers
        and not is_named_after_pruning(key)
        and not (is_binary(value) and value.any() and not value.all())
    )
