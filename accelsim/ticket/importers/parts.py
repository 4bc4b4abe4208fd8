"""What stands beside a layer's weight in a checkpoint, and what it does: masks, scores, thresholds, or nothing.

A tensor that may decide which weights are 0 is understood, stated by the user, or refused by its name with the options
that state it: it is never dropped.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, NoReturn

import numpy as np

from accelsim.errors import TicketError
from accelsim.ticket.importers.checkpoint import Array, Checkpoint
from accelsim.ticket.importers.content import has_zeros, is_copy, is_optimiser_state, without_copy_words, words
from accelsim.ticket.importers.mask_forms import as_mask, in_blocks
from accelsim.ticket.importers.owners import (
    MASK_WORDS,
    PRUNING_WORDS,
    THRESHOLD_WORDS,
    OwnerFinder,
    beginnings,
    expanded,
    fits,
    is_binary,
    is_named_after_pruning,
    is_whole,
)

Role = Literal["mask", "flag", "score", "threshold", "statistic", "unknown", "inert"]

KNOWN_SCORES = frozenset({"scores", "popup_scores"})
"""Parameters whose largest magnitudes are kept (hidden-networks, biprop, hydra)."""
SOFT_THRESHOLDS = frozenset({"sparseThreshold", "sparse_threshold"})
"""Of soft threshold reparametrisation: what lies above sigmoid(threshold) is kept."""
_INERT = frozenset(
    "bias running_mean running_var num_batches_tracked eps weight_u weight_v gain scale zero_point step_size "
    "_extra_state scales zeros weight_scale weight_zero_point input_scale output_scale".split()
)
_DECIDING_WORDS = PRUNING_WORDS | frozenset("importance saliency salience significance sensitivity real logits".split())
_STEPS = frozenset({"alpha", "step", "s", "init_state", "signed", "initialized"})
_STEP_FLAGS = ("init_state", "signed", "initialized", "initialized_alpha")
# Of a mask with such a name nobody knows whether 1 keeps or drops.
_REVERSED_WORDS = frozenset(
    "prune pruned drop dropped dropout zero zeros zeroed inv inverse inverted neg frozen freeze removed ignore not "
    "dead inactive unused off invalid complement grow growth regrow grad grads gradient gradients update train "
    "trainable noise".split()
)
# Of such a name inside a network there are others: masks and scores of attention.
_COMMON_WORDS = MASK_WORDS | {"score", "scores", "keep", "density"}


@dataclass(frozen=True, slots=True)
class StatedKeys:
    """The endings of tensors' names, or dictionaries around them, that the user states to be something, or nothing.

    ``mask_form`` is how the stated masks are written (`accelsim.ticket.importers.mask_forms`).
    """

    mask: tuple[str, ...] = ()
    score: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    threshold: tuple[str, ...] = ()
    mask_form: str = "kept"

    @property
    def decide(self) -> bool:
        """Return whether any tensor is stated to decide which weights are kept."""
        return bool(self.mask or self.score or self.threshold)


@dataclass(frozen=True, slots=True)
class Part:
    """A tensor that belongs to a layer: its full name, its name within the layer, and what it does."""

    key: str
    layer: str
    value: Array
    role: Role
    is_stated: bool = False

    @property
    def suffix(self) -> str:
        """What an option states it by: its name in the layer, or the dictionary that it stands in."""
        return _suffix(self.key, self.layer)


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A tensor of which is to be found out what it does; ``layer`` and ``weight`` are of its owner, if it has one."""

    checkpoint: Checkpoint
    key: str
    value: Array
    layer: str | None
    weight: Array | None
    is_inside: bool

    @property
    def named(self) -> frozenset[str]:
        """The words of its name, without its layer's."""
        return words(self.key if self.layer is None else self.key.replace(self.layer, "", 1))

    @property
    def is_of_each_weight(self) -> bool:
        """Whether it has the weight's shape, and so says more than a number of each filter."""
        return self.weight is not None and self.value.shape == self.weight.shape and self.value.size > len(self.weight)

    def refuse(self, problem: str) -> NoReturn:
        """Refuse the file for this tensor, with what can be stated of it."""
        refuse_part(self.checkpoint, self.key, problem, self._way_on())

    def _way_on(self) -> str:
        suffix = _suffix(self.key, self.layer)
        ignore = f"--ignore-key {suffix} if it decides nothing"
        shaped = self.weight is not None and fits(self.value, self.weight)
        if self.weight is None or not (shaped or self.value.size <= 1):
            where = "NAME.mask" if not self.layer else f"{self.layer}.mask"
            form = self._form()
            save = f"save a mask of 0 and 1 in the weight's shape in its place, as {where}"
            return f"{form}{save}, or state {ignore}"
        if self.value.size > 1 and is_binary(self.value):
            dropped = "(with --mask-form dropped if they drop them)"
            return f"state --mask-key {suffix} if its ones keep weights {dropped}, {ignore}"
        if self.value.size <= len(self.weight) and not MASK_WORDS & self.named:
            return f"state --threshold-key {suffix} if weights of larger magnitude are kept, {ignore}"
        rule = "--sparsity, --nm or --score-rule"
        return f"state --score-key {suffix} with {rule} if its largest values keep weights, {ignore}"

    def _form(self) -> str:
        """Return how to state a tensor that could be a mask in another form."""
        weight, state = self.weight, f"state --mask-key {_suffix(self.key, self.layer)}"
        if not is_whole(self.value):
            return ""
        if weight is None:
            is_flat = self.value.ndim == 1 and is_binary(self.value)
            return f"{state} if it has the weights of all layers one after the other; else " if is_flat else ""
        if is_binary(self.value):
            is_of_blocks = in_blocks(self.value, weight) is not None
            return f"{state} if each value counts for a block of weights; else " if is_of_blocks else ""
        return f"{state} with --mask-form places, dropped-places, packed or packed-little if it is that; else "


def _suffix(key: str, layer: str | None) -> str:
    before, found, after = key.partition(layer) if layer else (key, "", "")
    if found:
        return before.rstrip("._") or after.lstrip("._")
    head, _, last = key.rpartition(".")
    return head if head and last.isdigit() else key


def ends_with(key: str, suffixes: tuple[str, ...]) -> bool:
    """Return whether a tensor's name ends with one of the suffixes that a user stated, or lies in what is called so."""
    return any(
        key == suffix or key.endswith((f".{suffix}", f"_{suffix}")) or f".{suffix}." in f".{key}" for suffix in suffixes
    )


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
        A tensor could say which weights a layer keeps, or is named after pruning, and nobody knows what it does.
    """
    finder = OwnerFinder(weights)
    beside = {**checkpoint.others, **checkpoint.lists}
    listed, of_biases = finder.in_order(beside)
    found = []
    for inside, tensors in ((True, checkpoint.tensors), (False, beside)):
        for key, value in tensors.items():
            if key in of_biases or (inside and (key in used or _is_own(key, weights))):
                continue
            layer = finder.owner(key, value, inside) or (None if inside else listed.get(key))
            whole = None if layer is not None else _of_all_layers(key, value, weights, stated)
            if whole is not None:
                found += whole
                continue
            candidate = _Candidate(checkpoint, key, value, layer, None if layer is None else weights[layer], inside)
            candidate = _as_stated(candidate, stated)
            role, is_stated = _stated_role(candidate, stated)
            role = role or _role(candidate, finder)
            if layer is not None and role != "inert":
                found.append(Part(key, layer, candidate.value, role, is_stated))
    return tuple(found)


def _of_all_layers(key: str, value: Array, weights: Mapping[str, Array], stated: StatedKeys) -> list[Part] | None:
    """Return the parts of a stated mask that has the weights of all layers one after the other; else None."""
    total = sum(weight.size for weight in weights.values())
    if not ends_with(key, stated.mask) or len(weights) <= 1:
        return None
    flat = as_mask(value.reshape(-1), np.broadcast_to(np.float32(0), (total,)), stated.mask_form)
    if flat is None or flat.size != total or not is_binary(flat):
        return None
    pieces = np.split(flat.reshape(-1), np.cumsum([weight.size for weight in weights.values()])[:-1])
    return [
        Part(key, name, piece.reshape(weight.shape), "mask", is_stated=True)
        for (name, weight), piece in zip(weights.items(), pieces, strict=True)
    ]


def _is_own(key: str, weights: Mapping[str, Array]) -> bool:
    stem, _, last = key.rpartition(".")
    return stem in weights and last in ("weight", "bias")


def is_mask_module(key: str, value: Array, tensors: Mapping[str, Array]) -> bool:
    """Return whether a tensor that is called ``weight`` is a mask: it lies below a module of masks.

    So does one of 0 and 1 whose name is that of another weight of its shape, with something before it.
    """
    if not is_binary(value):
        return False
    twin = tensors.get(key.partition(".")[2])
    return bool(MASK_WORDS & words(key)) or (twin is not None and twin.shape == value.shape and not value.all())


def _as_stated(candidate: _Candidate, keys: StatedKeys) -> _Candidate:
    """Return a stated mask as ones that keep weights, and stated scores of blocks for each weight."""
    value, weight = candidate.value, candidate.weight
    if weight is None or ends_with(candidate.key, keys.ignore):
        return candidate
    if ends_with(candidate.key, keys.score):
        wide = in_blocks(value, weight)
        return candidate if wide is None else replace(candidate, value=wide)
    if not ends_with(candidate.key, keys.mask):
        return candidate
    mask = as_mask(value, weight, keys.mask_form)
    if mask is None and keys.mask_form != "kept":
        raise TicketError(
            f"{candidate.checkpoint.path}: {candidate.key}: stated as a mask in the form {keys.mask_form}, but shape "
            f"{value.shape} or its values do not fit the weight's {weight.shape}; state another --mask-form"
        )
    return candidate if mask is None else replace(candidate, value=mask)


def _stated_role(candidate: _Candidate, keys: StatedKeys) -> tuple[Role | None, bool]:
    """Return the role that the user states, if the tensor can have it, and whether there is one."""
    key, value, weight = candidate.key, candidate.value, candidate.weight
    if ends_with(key, keys.ignore):
        return "inert", True
    roles: tuple[tuple[Role, tuple[str, ...]], ...] = (
        ("mask", keys.mask), ("score", keys.score), ("threshold", keys.threshold),
    )  # fmt: skip
    role = next((role for role, suffixes in roles if ends_with(key, suffixes)), None)
    if role is None:
        return None, False
    stated = f"{candidate.checkpoint.path}: {key}: stated as a {role}, but"
    if weight is None:
        raise TicketError(f"{stated} belongs to no layer that is known here; leave it out")
    is_single = value.size == 1 and role == "threshold"
    if not is_single and not fits(value, weight):
        raise TicketError(
            f"{stated} shape {value.shape} is not the weight's {weight.shape}; save it in that shape, or leave it out"
        )
    if role == "mask" and not is_binary(value):
        raise TicketError(
            f"{candidate.checkpoint.path}: {key}: has values besides 0 and 1; if its largest values keep weights, "
            "state --score-key instead, with --sparsity, --nm or --score-rule"
        )
    return role, True


def _role(candidate: _Candidate, finder: OwnerFinder) -> Role:
    key, named = candidate.key, candidate.named
    is_of_layer = candidate.is_inside or candidate.layer is not None
    if _is_quantiser_step(candidate) or _is_known_beside(candidate):
        return "inert"
    is_inert = (is_of_layer and key.rpartition(".")[2] in _INERT) or "bias" in named
    if is_inert and not candidate.is_of_each_weight:
        return "inert"
    if candidate.weight is None:
        return _unowned(candidate, finder)
    if not key.startswith(candidate.layer or "") and key.partition(".")[0] in KNOWN_SCORES:
        return "score"
    return _role_in_layer(candidate, candidate.weight)


def _is_quantiser_step(candidate: _Candidate) -> bool:
    """Return whether a number is the learned step of a quantiser (LSQ), which has a flag of its start beside it."""
    head, _, last = candidate.key.rpartition(".")
    steps = {f"{head}.{name}" for name in _STEP_FLAGS}
    return last in _STEPS and not steps.isdisjoint(candidate.checkpoint.tensors)


def _is_known_beside(candidate: _Candidate) -> bool:
    """Return whether a tensor is an optimiser's, or a copy: of weights of another time, or of what stands in the file.

    Masks never are, and neither are scores that only a copy's name has.
    """
    key, named = candidate.key, candidate.named
    if MASK_WORDS & named and (
        is_binary(candidate.value) or any(is_copy(part) for part in key.split(".") if MASK_WORDS & words(part))
    ):
        return False
    if is_optimiser_state(key):
        return True
    if not is_copy(key):
        return False
    if candidate.is_inside and _is_pruned_twin(candidate):
        return False
    checkpoint = candidate.checkpoint
    originals = {without_copy_words(key)}
    if candidate.layer is not None and not key.startswith(candidate.layer):
        below = key.partition(candidate.layer)[2]
        originals |= {f"{candidate.layer}{below}", f"{candidate.layer}.{below.lstrip('._')}"}
    has_original = any(name in checkpoint.tensors or name in checkpoint.others for name in originals)
    return has_original or not _DECIDING_WORDS & named


def _is_pruned_twin(candidate: _Candidate) -> bool:
    """Return whether a tensor holds its layer's weights of before, and these have zeros where the weights have none."""
    twin, weight = candidate.value, candidate.weight
    if weight is None or not candidate.is_of_each_weight or "weight" not in candidate.named:
        return False
    return bool(twin.any()) and has_zeros([twin]) and not has_zeros([weight])


def _unowned(candidate: _Candidate, finder: OwnerFinder) -> Role:
    key, value, inside = candidate.key, candidate.value, candidate.is_inside
    if not inside and key.endswith(".weight") and not is_named_after_pruning(key):
        return "inert"  # of another network
    if _is_beside_unused(candidate):
        return "inert"
    if value.ndim > 1 and value.shape in finder.by_shape:
        name = finder.by_shape[value.shape]
        candidate.refuse(f"is shaped like the weight of {name!r}, and nobody knows what it does")
    if value.size > 1 and candidate.named & (PRUNING_WORDS - _COMMON_WORDS if inside else PRUNING_WORDS):
        candidate.refuse("is named after pruning, and belongs to no layer that is known here")
    if key not in candidate.checkpoint.lists and finder.may_decide(value):
        candidate.refuse("could say which weights are kept, and belongs to no layer that is known here")
    return "inert"


def _is_beside_unused(candidate: _Candidate) -> bool:
    """Return whether a tensor stands beside a weight of its shape that is no layer's: it says something of that one."""
    key, tensors = candidate.key, candidate.checkpoint.tensors
    beside = (name for head in beginnings(key) for name in (head, f"{head}.weight", f"{head}_orig") if name != key)
    return any(name in tensors and tensors[name].shape == candidate.value.shape for name in beside)


def _role_in_layer(candidate: _Candidate, weight: Array) -> Role:
    """Return the role of a tensor by its name, shape and values."""
    value, named = candidate.value, candidate.named
    last = candidate.key.rpartition(".")[2]
    if last in KNOWN_SCORES and value.size > 1:
        if value.shape != weight.shape:
            candidate.refuse(f"shape {value.shape} is not the weight's {weight.shape}")
        return "score"
    if last in SOFT_THRESHOLDS:
        return "threshold"
    if MASK_WORDS & named:
        return _mask_role(candidate, weight)
    shaped = fits(value, weight)
    if shaped and last in ("flag", "flags") and is_binary(value):
        return "flag"
    return _unknown_role(candidate, weight, shaped)


def _unknown_role(candidate: _Candidate, weight: Array, shaped: bool) -> Role:
    """Refuse a tensor of an unknown name that could decide; return what one that could not is."""
    value, named = candidate.value, candidate.named
    if value.size == weight.size > 1 or (shaped and (value.ndim > 1 or is_binary(value))):
        candidate.refuse("is shaped like the layer's weight, and nobody knows what it does")
    if value.size > 1 and is_whole(value):
        candidate.refuse("holds whole numbers of a layer (places? packed bits?), and nobody knows what they say")
    if THRESHOLD_WORDS & named or _is_number_of(candidate, weight):
        candidate.refuse("could be a threshold of the weights, and nobody knows what it does")
    if not PRUNING_WORDS & named:
        return "unknown"
    if value.size > 1:
        candidate.refuse("is named after pruning, and nobody knows what it does to the weights")
    return "statistic"


def _is_number_of(candidate: _Candidate, weight: Array) -> bool:
    """Return whether a tensor is a real number of a layer's own, for each filter or all of them, of an unknown name."""
    is_own = candidate.is_inside and candidate.key.rpartition(".")[0] == candidate.layer
    is_real = np.issubdtype(candidate.value.dtype, np.floating)
    return is_own and is_real and candidate.value.size in (1, len(weight)) and not PRUNING_WORDS & candidate.named


def _mask_role(candidate: _Candidate, weight: Array) -> Role:
    value = candidate.value
    if value.size <= 1 < weight.size:
        return "statistic"
    if not fits(value, weight):
        candidate.refuse(f"shape {value.shape} is not the weight's {weight.shape}")
    if not is_binary(value):
        candidate.refuse("has values besides 0 and 1, and nobody knows which of them keep a weight")
    drops = weight[expanded(value, weight) == 0]
    is_confirmed = drops.size > 0 and not drops.any()
    if _REVERSED_WORDS & candidate.named and has_zeros([weight]) and _marks_zeros(value, weight):
        return "inert"  # it says of the zeros that they are dropped: they decide themselves
    if _REVERSED_WORDS & candidate.named and not is_confirmed:
        candidate.refuse("does not say whether its ones keep or drop a weight")
    return "mask"


def _marks_zeros(mask: Array, weight: Array) -> bool:
    """Return whether a mask is 1 just where the weights are 0."""
    return np.array_equal(expanded(mask, weight) == 1, weight == 0)


def refuse_part(checkpoint: Checkpoint, key: str, problem: str, way_on: str) -> NoReturn:
    """Raise `TicketError` for a tensor that may decide which weights are kept."""
    raise TicketError(f"{checkpoint.path}: {key}: {problem}; {way_on}")
