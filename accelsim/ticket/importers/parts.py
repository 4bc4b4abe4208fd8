"""What stands beside a layer's weight in a checkpoint, and what it does: masks, scores, thresholds, or nothing.

A tensor that may decide which weights are 0 is understood, stated by the user, or refused by its name: it is never
dropped.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NoReturn

import numpy as np

from accelsim.errors import TicketError
from accelsim.ticket.importers.checkpoint import Array, Checkpoint
from accelsim.ticket.importers.content import INNER_WRAPPERS, is_copy, is_optimiser_state, words

Role = Literal["mask", "flag", "score", "threshold", "statistic", "unknown", "inert"]

KNOWN_SCORES = frozenset({"scores", "popup_scores"})
"""Parameters whose largest magnitudes are kept (hidden-networks, biprop, hydra)."""
_THRESHOLDS = frozenset({"sparseThreshold", "sparse_threshold"})
_INERT = frozenset(
    "bias running_mean running_var num_batches_tracked eps weight_u weight_v gain scale zero_point step_size "
    "_extra_state scales zeros weight_scale weight_zero_point input_scale output_scale".split()
)
MASK_WORDS = frozenset({"mask", "masks", "supermask", "supermasks"})
# Of a mask with such a name nobody knows whether 1 keeps or drops.
_REVERSED_WORDS = frozenset(
    "prune pruned drop dropped zero zeros zeroed inv inverse inverted neg frozen freeze removed ignore not".split()
)
_PRUNING_WORDS = MASK_WORDS | frozenset(
    "score scores popup threshold thresholds thresh sparsity sparse density prune pruned pruning subnet keep".split()
)
_MAX_PARTS = 32
MIN_AXES = 2
_HOW = (
    "state --mask-key SUFFIX, --score-key SUFFIX or --nm N:M if it decides which weights are kept, "
    "--ignore-key SUFFIX if not"
)


@dataclass(frozen=True, slots=True)
class StatedKeys:
    """The endings of tensors' names that the user states to be masks, scores, or neither."""

    mask: tuple[str, ...] = ()
    score: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()

    @property
    def decide(self) -> bool:
        """Return whether any tensor is stated to decide which weights are kept."""
        return bool(self.mask or self.score)


@dataclass(frozen=True, slots=True)
class Part:
    """A tensor that belongs to a layer: its full name, its name within the layer, and what it does."""

    key: str
    layer: str
    value: Array
    role: Role


def ends_with(key: str, suffixes: tuple[str, ...]) -> bool:
    """Return whether a tensor's name ends with one of the suffixes that a user stated."""
    return any(key == suffix or key.endswith((f".{suffix}", f"_{suffix}")) for suffix in suffixes)


def parts_of_layers(
    checkpoint: Checkpoint, weights: Mapping[str, Array], stated: StatedKeys, used: frozenset[str]
) -> tuple[Part, ...]:
    """Return all tensors beside the weights that belong to a layer.

    Parameters
    ----------
    checkpoint
        As read.
    weights
        The layers' weights by name.
    stated
        What the user says of tensors.
    used
        Tensors that are something else (a graph's other parameters).

    Raises
    ------
    TicketError
        A tensor is shaped like a layer's weight, or named after pruning, and nobody knows what it does.
    """
    finder = _OwnerFinder(weights)
    listed = finder.in_order(checkpoint.others)
    heads = {key.rpartition(".")[0] for key in listed}
    found = []
    for inside, tensors in ((True, checkpoint.tensors), (False, checkpoint.others)):
        for key, value in tensors.items():
            is_of_bias = key.rpartition(".")[0] in heads and key not in listed
            if is_of_bias or (inside and (key in used or _is_own(key, weights))):
                continue
            layer = finder.owner(key, value, inside) or listed.get(key)
            role = _role(checkpoint, key, value, (layer, weights, finder.by_shape), stated)
            if layer is not None and role != "inert":
                found.append(Part(key, layer, value, role))
    return tuple(found)


def _is_own(key: str, weights: Mapping[str, Array]) -> bool:
    stem, _, last = key.rpartition(".")
    return stem in weights and last in ("weight", "bias")


def is_named_after_pruning(key: str) -> bool:
    """Return whether a name speaks of masks, scores, thresholds or sparsity."""
    return bool(_PRUNING_WORDS & words(key))


def is_mask_module(key: str, value: Array) -> bool:
    """Return whether a tensor that is called ``weight`` is a mask: it lies below a module of masks."""
    return bool(MASK_WORDS & words(key)) and is_binary(value)


class _OwnerFinder:
    """Knows to which layer a tensor belongs, by its name and shape."""

    def __init__(self, weights: Mapping[str, Array]) -> None:
        self._weights = weights
        self._flat = {name.replace(".", "_"): name for name in weights if words(name)}
        self._below: dict[str, list[str]] = {}
        for name in weights:
            self._below.setdefault(name.rpartition(".")[0], []).append(name)
        self.by_shape = {weight.shape: name for name, weight in reversed(list(weights.items()))}

    def owner(self, key: str, value: Array, inside: bool) -> str | None:
        """Return the layer's name, or None."""
        name = key if inside else ".".join(part for part in key.split(".") if part not in INNER_WRAPPERS)
        if "" in self._weights:
            return ""
        own = next((part for part in (name, *beginnings(name)) if part in self._weights), None)
        if own is not None:
            return own
        speaks_of_pruning = is_named_after_pruning(name)
        if not inside or speaks_of_pruning:
            own = next((part for part in _runs(name.split("."), ".") if part in self._weights), None)
        parent = name.rpartition(".")[0]
        if own is None and inside and parent:
            below = [layer for layer in self._below.get(parent, ()) if fits(value, self._weights[layer])]
            own = below[0] if len(below) == 1 else None
        if own is None and speaks_of_pruning:
            parts = _runs(re.split(r"[._]", name), "_")
            own = next((self._flat[part] for part in parts if part in self._flat), None)
        return own

    def in_order(self, others: Mapping[str, Array]) -> dict[str, str]:
        """Return the layers of a list of masks, which has no names: one each, in order and shape."""
        groups: dict[str, list[str]] = {}
        for key in others:
            head, _, last = key.rpartition(".")
            if last.isdigit() and MASK_WORDS & words(head) and others[key].ndim >= MIN_AXES:
                groups.setdefault(head, []).append(key)
        listed: dict[str, str] = {}
        for keys in groups.values():
            if len(keys) == len(self._weights) and all(
                others[key].shape == weight.shape for key, weight in zip(keys, self._weights.values(), strict=True)
            ):
                listed.update(zip(keys, self._weights, strict=True))
        return listed


def beginnings(name: str) -> Iterator[str]:
    """Yield what stands before each dot and underscore of a name, the longest first."""
    for place in range(len(name) - 1, 0, -1):
        if name[place] in "._":
            yield name[:place]


def _runs(parts: Sequence[str], joint: str) -> Iterator[str]:
    """Yield all runs of successive parts of a name, the longest first; names of no sense have too many parts."""
    if len(parts) <= _MAX_PARTS:
        for size in range(len(parts), 0, -1):
            for start in range(len(parts) - size + 1):
                yield joint.join(parts[start : start + size])


def fits(value: Array, weight: Array) -> bool:
    """Return whether a tensor says something of each weight, filter, channel or kernel of a layer."""
    return expanded(value, weight) is not None


def expanded(value: Array, weight: Array) -> Array | None:
    """Return a tensor in the weight's shape; None where it has another one.

    Flattened weights keep their order; one value a filter, or axes of size 1, count for all that they leave out.
    """
    shape = weight.shape
    if value.shape == shape:
        return value
    if value.size == weight.size and (value.ndim == 1 or value.shape[0] == shape[0]):
        return value.reshape(shape)
    if value.size <= 1:
        return None
    if value.ndim == weight.ndim and all(have in (1, want) for have, want in zip(value.shape, shape, strict=True)):
        return np.broadcast_to(value, shape)
    if value.shape == shape[:1]:
        return np.broadcast_to(value.reshape(-1, *[1] * (weight.ndim - 1)), shape)
    return (
        np.broadcast_to(value.reshape(*value.shape, *[1] * (weight.ndim - 2)), shape)
        if value.shape == shape[:2]
        else None
    )


def is_binary(value: Array) -> bool:
    """Return whether all values are 0 or 1."""
    return bool(np.isin(value, (0, 1)).all())


def _role(
    checkpoint: Checkpoint,
    key: str,
    value: Array,
    place: tuple[str | None, Mapping[str, Array], Mapping[tuple[int, ...], str]],
    stated: StatedKeys,
) -> Role:
    layer, weights, by_shape = place
    if ends_with(key, stated.ignore):
        return "inert"
    weight = None if layer is None else weights[layer]
    if ends_with(key, stated.mask):
        return _stated_role(checkpoint, key, value, weight, "mask")
    if ends_with(key, stated.score):
        return _stated_role(checkpoint, key, value, weight, "score")
    named = words(key if layer is None else key.replace(layer, "", 1))
    if key.rpartition(".")[2] in _INERT or "bias" in named or _is_known_beside(key, named, value):
        return "inert"
    if layer is None:
        return _unowned(checkpoint, key, value, by_shape)
    if not key.startswith(layer) and key.partition(".")[0] in KNOWN_SCORES:
        return "score"
    return _role_in_layer(checkpoint, key, value, named, weights[layer])


def _stated_role(checkpoint: Checkpoint, key: str, value: Array, weight: Array | None, role: Role) -> Role:
    """Return the role that the user states, if the tensor can have it."""
    stated = f"{checkpoint.path}: {key}: stated as a {role}, but"
    if weight is None:
        raise TicketError(f"{stated} belongs to no layer that is known here; leave it out")
    if not fits(value, weight):
        raise TicketError(f"{stated} shape {value.shape} is not the weight's {weight.shape}; leave it out")
    if role == "mask" and not is_binary(value):
        raise TicketError(f"{checkpoint.path}: {key}: has values besides 0 and 1; if it is a score, state --score-key")
    return role


def _is_known_beside(key: str, named: frozenset[str], value: Array) -> bool:
    """Return whether a tensor is an optimiser's, or a copy of weights of another time; masks never are."""
    if MASK_WORDS & named and is_binary(value):
        return False
    return is_optimiser_state(key) or is_copy(key)


def _unowned(checkpoint: Checkpoint, key: str, value: Array, by_shape: Mapping[tuple[int, ...], str]) -> Role:
    if key in checkpoint.others and key.endswith(".weight") and not is_named_after_pruning(key):
        return "inert"  # of another network
    if value.ndim > 1 and value.shape in by_shape:
        name = by_shape[value.shape]
        refuse_part(checkpoint, key, f"is shaped like the weight of {name!r}, and nobody knows what it does")
    if key in checkpoint.others and is_named_after_pruning(key) and value.size > 1:
        refuse_part(checkpoint, key, "is named after pruning, and belongs to no layer that is known here")
    return "inert"


def _role_in_layer(checkpoint: Checkpoint, key: str, value: Array, named: frozenset[str], weight: Array) -> Role:
    """Return the role of a tensor by its name, shape and values."""
    last = key.rpartition(".")[2]
    shaped = fits(value, weight)
    if last in KNOWN_SCORES and value.size > 1:
        if value.shape != weight.shape:
            refuse_part(checkpoint, key, f"shape {value.shape} is not the weight's {weight.shape}")
        return "score"
    if last in _THRESHOLDS:
        return "threshold"
    if MASK_WORDS & named:
        return _mask_role(checkpoint, key, value, named, weight)
    if shaped and last in ("flag", "flags") and is_binary(value):
        return "flag"
    if value.shape == weight.shape or (shaped and (value.ndim > 1 or is_binary(value))):
        refuse_part(checkpoint, key, "is shaped like the layer's weight, and nobody knows what it does")
    if not _PRUNING_WORDS & named:
        return "unknown"
    if value.size > 1:
        refuse_part(checkpoint, key, "is named after pruning, and nobody knows what it does to the weights")
    return "statistic"


def _mask_role(checkpoint: Checkpoint, key: str, value: Array, named: frozenset[str], weight: Array) -> Role:
    if value.size <= 1 < weight.size:
        return "statistic"
    if not fits(value, weight):
        refuse_part(checkpoint, key, f"shape {value.shape} is not the weight's {weight.shape}")
    if not is_binary(value):
        refuse_part(checkpoint, key, "has values besides 0 and 1, and nobody knows which of them keep a weight")
    drops = weight[expanded(value, weight) == 0]
    is_confirmed = drops.size > 0 and not drops.any()
    if _REVERSED_WORDS & named and not is_confirmed:
        refuse_part(checkpoint, key, "does not say whether its ones keep or drop a weight")
    return "mask"


def refuse_part(checkpoint: Checkpoint, key: str, problem: str) -> NoReturn:
    """Raise `TicketError` for a tensor that may decide which weights are kept."""
    raise TicketError(f"{checkpoint.path}: {key}: {problem}; {_HOW}")
