"""What a checkpoint holds, as one flat list of named arrays: whatever dictionaries and lists wrap them.

A tensor's name is its way through the file: ``state_dict.module.conv1.weight``, ``masks.conv1``,
``optimizer.state.0.exp_avg``. Which part of these names leads to the network is found here; the rest of the file stays
at hand, so that nothing is dropped unseen.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

import numpy as np
import numpy.typing as npt

from accelsim.errors import TicketError

Array = npt.NDArray[Any]

MAX_TENSORS = 100_000
_MAX_DEPTH = 8
_MAX_PREFIXES = 16
_MIN_AXES = 2
MIN_ZEROS = 0.01
"""The fraction of zeros from which on a network is pruned."""

# Names that lead to a network, the one to take first; of several networks in a file the first is taken, and it is said.
_WRAPPERS = (
    "state_dict", "model_state_dict", "model_state", "model", "net", "network", "module", "_orig_mod", "weights",
    "params", "student", "encoder_q", "online_network", "generator", "backbone",
    "state_dict_ema", "model_ema", "ema_state_dict", "ema_model", "params_ema", "ema", "averaged_model", "swa_model",
    "shadow",
)  # fmt: skip
# Modules that wrap others without a name of their own.
INNER_WRAPPERS = frozenset(
    {"module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "_forward_module"}
)
_LISTS = frozenset({"convs", "linears", "linear", "features", "layers", "ginlayers", "classifier"})
_WEIGHTS = ("weight", "weight_orig", "weight_v", "original", "original1")

_OPTIMISER = frozenset(
    "optimizer optimizers optimiser optim opt optimizer_states exp_avg exp_avg_sq momentum_buffer scheduler schedulers "
    "lr_schedulers scaler amp grad grads gradients rng rng_state".split()
)
BESIDE = frozenset({"mask", "masks", "score", "scores", "criterion", "loss"})
_AVERAGES = frozenset("ema shadow swa averaged best".split())
_COPY = _AVERAGES | frozenset(
    "teacher init initial rewind original orig old prev previous saved backup target pretrained collected momentum "
    "fisher".split()
)


def words(name: str) -> frozenset[str]:
    """Return the words of a tensor's name in small letters: of ``convs.0.sparseThreshold`` convs, sparse, threshold."""
    parted = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name)
    return frozenset(word.lower() for word in re.split(r"[^A-Za-z]+", parted) if word)


def is_optimiser_state(name: str) -> bool:
    """Return whether a name says that it belongs to an optimiser, a scheduler or a random generator."""
    return bool(_OPTIMISER.intersection(name.lower().split(".")))


def is_copy(name: str) -> bool:
    """Return whether a name says that it is another set of the same values: an average, a teacher, values of before."""
    return bool(_COPY & words(name))


def without_copy_words(name: str) -> str:
    """Return what a copy is a copy of, by its name: of ``conv1.best_scores`` ``conv1.scores``."""
    parts = ("_".join(word for word in part.split("_") if word.lower() not in _COPY) for part in name.split("."))
    return ".".join(part for part in parts if part)


@dataclass(frozen=True, slots=True)
class Content:
    """All arrays of a file by their way through it, in order, and the ways to the containers around them.

    ``lists`` are plain numbers, and lists of them, that stand in a dictionary or list.
    """

    tensors: Mapping[str, Array]
    containers: frozenset[str]
    lists: Mapping[str, Array]


def flatten(content: object) -> Content:
    """Return all arrays of a file; each dictionary and list is entered once, however often the file holds it."""
    found: dict[str, Array] = {}
    lists: dict[str, Array] = {}
    containers: set[str] = set()
    for path, value in _walk(content, "", 0, set()):
        if isinstance(value, np.ndarray):
            found.setdefault(path, value)
        elif value is None:
            containers.add(path)
        else:
            lists[path] = np.asarray(value)
        if len(found) + len(lists) > MAX_TENSORS:
            raise TicketError(f"more than {MAX_TENSORS} tensors; save one network")
    return Content(found, frozenset(containers), lists)


def _walk(
    value: object, path: str, depth: int, seen: set[int]
) -> Iterator[tuple[str, Array | Sequence[float] | float | None]]:
    """Yield each array, and each number and list of numbers below the first level; None for what holds others."""
    if isinstance(value, np.ndarray):
        yield path, value
        return
    if depth > 1 and is_number(value):
        yield path, value
    if not isinstance(value, dict | list | tuple) or depth > _MAX_DEPTH or id(value) in seen:
        return
    seen.add(id(value))
    if not isinstance(value, dict) and value and all(is_number(item) for item in value):
        yield path, value
        return
    yield path, None
    items: Iterable[tuple[object, object]] = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in items:
        yield from _walk(inner, f"{path}.{key}" if path else str(key), depth + 1, seen)


def is_number(value: object) -> TypeGuard[float]:
    """Return whether a value is a number that NumPy holds; a whole number of torch's may have 2,040 bits."""
    return isinstance(value, int | float) and abs(value) < 1 << 62


def without_inner_wrappers(tensors: Mapping[str, Array]) -> dict[str, Array]:
    """Return the tensors without the names that wrappers (DataParallel, compile, FSDP, pruning) put inside."""
    renamed: dict[str, Array] = {}
    for name, value in tensors.items():
        parts = name.split(".")
        short = ".".join([part for part in parts[:-1] if part not in INNER_WRAPPERS] + parts[-1:])
        if short in renamed or (short != name and short in tensors):
            return dict(tensors)
        renamed[short] = value
    return renamed


def has_weight(name: str, value: Array) -> bool:
    """Return whether a tensor looks like the weight of a layer."""
    return value.ndim >= _MIN_AXES and value.size > 0 and name.rpartition(".")[2] in _WEIGHTS


def network_root(content: Content, part: str | None) -> str:
    """Return with what the names of the network begin, dot included; empty where they begin with nothing more.

    Parameters
    ----------
    content
        Of the file.
    part
        Which part of the file the user takes; None finds it.

    Raises
    ------
    TicketError
        There is no such part, or there are several networks.
    """
    tensors = content.tensors
    root = "" if part is None else _stated_root(tensors, part)
    for _ in range(_MAX_PREFIXES):
        weighted = [name for name, value in tensors.items() if name.startswith(root) and has_weight(name, value)]
        groups = list(dict.fromkeys(name[len(root) :].split(".")[0] for name in weighted))
        wrapped = [group for group in groups if f"{root}{group}" in content.containers]
        chosen = _chosen_wrapper(wrapped) if wrapped else _chosen_prefix(root, groups, weighted)
        if chosen is None:
            if part is None:
                twins = (f"{root}{group}." for group in groups if is_copy(group))
                check_one_network(tensors, [root, *(twin for twin in twins if is_pruned_twin(tensors, root, twin))])
            break
        rivals = [
            group
            for group in groups
            if not is_set_aside(group) or is_pruned_twin(tensors, f"{root}{chosen}.", f"{root}{group}.")
        ]
        check_one_network(tensors, [f"{root}{group}." for group in (chosen, *rivals)])
        root = f"{root}{chosen}."
    return root


def is_set_aside(group: str) -> bool:
    """Return whether a name says that the network in it is not the one that is kept; averages may be."""
    return stands_beside(group) and not words(group) & _AVERAGES


def is_pruned_twin(tensors: Mapping[str, Array], chosen: str, other: str) -> bool:
    """Return whether values of before (or a teacher's) have zeros where the chosen ones have none, and no masks.

    Such a file may be meant for its zeros: ``{'model': dense, 'old': pruned}``. ``other`` may lie below ``chosen``.
    """
    if any(words(name) & BESIDE for name in tensors):
        return False
    own, others = (
        [value for name, value in below.items() if has_weight(name, value)]
        for below in _apart(tensors, [chosen, other])
    )
    return has_zeros(others) and not has_zeros(own)


def _apart(tensors: Mapping[str, Array], roots: Sequence[str]) -> Iterator[dict[str, Array]]:
    """Yield what lies below each root and below no other one that lies below it, without the root."""
    for root in roots:
        inner = tuple(other for other in roots if other != root and other.startswith(root))
        yield {
            name[len(root) :]: value
            for name, value in tensors.items()
            if name.startswith(root) and not name.startswith(inner)
        }


def has_zeros(weights: Sequence[Array]) -> bool:
    """Return whether so many weights are 0 that they were pruned; fewer are chance, or float16."""
    num_zeros = sum(value.size - int(np.count_nonzero(value)) for value in weights)
    return num_zeros >= MIN_ZEROS * sum(value.size for value in weights) > 0


def check_one_network(tensors: Mapping[str, Array], roots: Sequence[str]) -> None:
    """Refuse a file of several networks of the same names that keep other weights; the first root is the chosen one.

    Raises
    ------
    TicketError
        Naming the networks, and the option that states one.
    """
    chosen, *others = (_maps(below) for below in _apart(tensors, list(dict.fromkeys(roots))))
    weights = {name for name, value in chosen.items() if has_weight(name, value)}
    if any(weights <= set(other) and not _keep_the_same(chosen, other) for other in others):
        named = ", ".join(root.rstrip(".") or "names of its own" for root in dict.fromkeys(roots))
        own = " ('.' is the one with names of its own)" if "" in roots else ""
        raise TicketError(f"holds several networks, {named}, which keep other weights; state one with --part{own}")


def _maps(below: Mapping[str, Array]) -> dict[str, Array]:
    """Return the tensors of a network that have the axes of weights, and so of masks."""
    return {name: value for name, value in without_inner_wrappers(below).items() if value.ndim >= _MIN_AXES}


def _keep_the_same(some: Mapping[str, Array], others: Mapping[str, Array]) -> bool:
    return set(some) == set(others) and all(np.array_equal(some[name] == 0, others[name] == 0) for name in some)


def _stated_root(tensors: Mapping[str, Array], part: str) -> str:
    root = part.strip(".") + "."
    if root == ".":
        return ""
    if not any(name.startswith(root) for name in tensors):
        known = list(dict.fromkeys(name.split(".")[0] for name in tensors))
        raise TicketError(f"--part: nothing in the file begins with {part!r}; it has {', '.join(known[:10])}")
    return root


def _chosen_wrapper(groups: Sequence[str]) -> str | None:
    """Return which of a file's dictionaries holds the network."""
    for wrapper in _WRAPPERS:
        if wrapper in groups:
            return wrapper
    others = [group for group in groups if not stands_beside(group)] or [group for group in groups if is_copy(group)]
    if len(others) > 1:
        raise TicketError(f"holds several networks, {', '.join(others[:10])}; state one with --part")
    return others[0] if others else None


def _chosen_prefix(root: str, groups: Sequence[str], weighted: Sequence[str]) -> str | None:
    """Return the beginning of names that wraps the network; None where the names are the network's own."""
    others = [group for group in groups if not stands_beside(group)]
    for wrapper in _WRAPPERS:
        if wrapper in groups and set(others) <= set(_WRAPPERS):
            return wrapper
    if len(others) != 1 or others[0] in _LISTS or others[0].isdigit():
        return None
    below = [name[len(root) + len(others[0]) + 1 :] for name in weighted if name.startswith(f"{root}{others[0]}.")]
    is_one_layer = any("." not in name for name in below)
    return None if is_one_layer or any(name.split(".")[0].isdigit() for name in below) else others[0]


def stands_beside(group: str) -> bool:
    """Return whether a group of names stands beside a network: masks, scores, optimisers, copies, losses."""
    return is_optimiser_state(group) or is_copy(group) or bool(words(group) & BESIDE)


def wrapper_rank(root: str) -> tuple[bool, bool, int]:
    """Return how unlikely it is that a root's network is meant: copies, unknown names, then the order of the list."""
    parts = [part for part in root.split(".") if part]
    ranks = [_WRAPPERS.index(part) if part in _WRAPPERS else len(_WRAPPERS) for part in parts]
    return is_copy(root), len(_WRAPPERS) in ranks, max(ranks, default=0)


def rest_in_short(names: Sequence[str]) -> list[str]:
    """Return names for people: what lies below an optimiser or a copy in one entry, with its count."""
    groups: dict[str, list[str]] = {}
    for name in names:
        head = name.split(".")[0]
        groups.setdefault(head if is_optimiser_state(head) or is_copy(head) else name, []).append(name)
    return [head if len(group) == 1 else f"{head} ({len(group)} tensors)" for head, group in groups.items()]
