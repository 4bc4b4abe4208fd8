"""To which layer a tensor of a checkpoint belongs, by its name, shape and place, and what its values could say."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from accelsim.ticket.importers.checkpoint import Array
from accelsim.ticket.importers.content import INNER_WRAPPERS, is_copy, is_optimiser_state, words

MIN_AXES = 2
MASK_WORDS = frozenset({"mask", "masks", "supermask", "supermasks"})
THRESHOLD_WORDS = frozenset({"threshold", "thresholds", "thresh"})
PRUNING_WORDS = (
    MASK_WORDS
    | THRESHOLD_WORDS
    | frozenset("score scores popup sparsity sparse density prune pruned pruning subnet keep".split())
)
_MAX_PARTS = 32


def is_named_after_pruning(key: str) -> bool:
    """Return whether a name speaks of masks, scores, thresholds or sparsity."""
    return bool(PRUNING_WORDS & words(key))


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


class OwnerFinder:
    """Knows to which layer a tensor belongs, given the weights by layer."""

    def __init__(self, weights: Mapping[str, Array]) -> None:
        self._weights = weights
        self._flat = {name.replace(".", "_"): name for name in weights if words(name)}
        self._below: dict[str, list[str]] = {}
        for name in weights:
            self._below.setdefault(name.rpartition(".")[0], []).append(name)
        self.by_shape = {weight.shape: name for name, weight in reversed(list(weights.items()))}
        self._counts = {sum(weight.size for weight in weights.values())}
        self._counts.update(size for weight in weights.values() for size in (weight.size, *weight.shape[:2]))

    def owner(self, key: str, value: Array, inside: bool) -> str | None:
        """Return the layer's name, or None; ``inside`` says that the tensor stands among the network's own."""
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

    def in_order(self, others: Mapping[str, Array]) -> tuple[dict[str, str], frozenset[str]]:
        """Return the layers of lists beside the network that have one item each, and the items that are of biases.

        Lists have no names; their order is the layers'. One with items for all parameters has flat ones for biases.
        """
        groups: dict[str, list[str]] = {}
        for key in others:
            head, _, last = key.rpartition(".")
            if last.isdigit() and not (is_optimiser_state(key) or is_copy(key)):
                groups.setdefault(head, []).append(key)
        listed: dict[str, str] = {}
        of_biases: set[str] = set()
        for keys in groups.values():
            wide = [key for key in keys if others[key].ndim >= MIN_AXES]
            chosen = next((some for some in (keys, wide) if len(some) == len(self._weights)), [])
            listed.update(zip(chosen, self._weights, strict=bool(chosen)) if chosen else ())
            of_biases.update(key for key in keys if chosen and key not in chosen)
        return listed, frozenset(of_biases)

    def may_decide(self, value: Array) -> bool:
        """Return whether a tensor of no layer could keep some weights and drop others, by its size and values."""
        if value.size <= 1 or value.size > max(self._counts) or not is_whole(value):
            return False
        if is_binary(value):
            return value.size in self._counts and bool(value.any()) and not value.all()
        return value.dtype.itemsize == 1 and any(value.size == -(-count // 8) for count in self._counts)


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
    if value.size == weight.size and _is_flattened(value.shape, shape):
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


def _is_flattened(have: tuple[int, ...], shape: tuple[int, ...]) -> bool:
    """Return whether a shape is another one with neighbouring axes joined, or with axes of size 1: the same order."""
    left = iter(size for size in shape if size > 1)
    for size in have:
        joined = 1
        while joined < size:
            joined *= next(left, size + 1)
        if joined != size:
            return False
    return next(left, None) is None


def is_binary(value: Array) -> bool:
    """Return whether all values are 0 or 1."""
    return bool(np.isin(value, (0, 1)).all())


def is_whole(value: Array) -> bool:
    """Return whether values are truth values or whole numbers, as flags, places and packed bits are; not all one."""
    if not np.issubdtype(value.dtype, np.floating):
        return True
    return bool(np.isfinite(value).all() and (value == np.rint(value)).all() and np.ptp(value) > 0)
