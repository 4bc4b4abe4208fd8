"""Which weights a checkpoint keeps: from masks, scores, thresholds and N:M patterns beside its weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from accelsim.errors import TicketError
from accelsim.ticket.importers.checkpoint import Array, Checkpoint
from accelsim.ticket.importers.content import is_copy
from accelsim.ticket.importers.owners import expanded, is_binary
from accelsim.ticket.importers.parts import SOFT_THRESHOLDS, Part, StatedKeys, ends_with, parts_of_layers, refuse_part

GLOBAL_TYPE = "GlobalSubnetConv"
_SAMPLED_TYPE = "SampleSubnetConv"
_RATE_GAP = 1e-6
_SAME_MAGNITUDE = 1e-5
_STATED_GAP = 0.01

MaskArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class MaskRule:
    """What the user states of masks.

    Attributes
    ----------
    keys
        Endings of names that are masks, scores, or neither.
    sparsity
        Fraction of zeros per layer, where scores decide.
    nm
        (N, M): the N largest of M successive inputs are kept.
    score_rule
        ``magnitude`` keeps the largest absolute scores, ``value`` the largest score, a number those above it.
    """

    keys: StatedKeys = field(default_factory=StatedKeys)
    sparsity: float | None = None
    nm: tuple[int, int] | None = None
    score_rule: str = "magnitude"


@dataclass(frozen=True, slots=True)
class FoundMasks:
    """The masks of the layers that have one; ``random`` are those of supermasks of random weights, not of pruning.

    ``used`` are the names of the tensors that decided or agree, ``notes`` sentences for people.
    """

    kept: Mapping[str, MaskArray]
    random: frozenset[str]
    has_scores: bool
    used: frozenset[str]
    notes: tuple[str, ...]


def find_masks(
    checkpoint: Checkpoint, weights: Mapping[str, Array], rule: MaskRule, used: frozenset[str] = frozenset()
) -> FoundMasks:
    """Return which weights each layer keeps, where the file or the user says it.

    Parameters
    ----------
    checkpoint
        As read.
    weights
        The layers' weights by name.
    rule
        What the user states.
    used
        Tensors that are something else.

    Raises
    ------
    TicketError
        Naming the tensor that is unknown, contradicts another, or lacks a number that the user must state.
    """
    parts = parts_of_layers(checkpoint, weights, rule.keys, used)
    _check_stated(checkpoint, parts, rule)
    masks = _masks(checkpoint, parts, weights)
    scores = {part.layer: part for part in parts if part.role == "score"}
    thresholds = {part.layer: part for part in parts if part.role == "threshold"}
    flags = {name: mask for name, mask in masks.items() if name in scores}
    notes = []
    kept = dict(masks)
    if scores:
        decided_by_flags = bool(flags) and not all(mask.all() for mask in flags.values())
        kept.update(_flagged(scores, flags) if decided_by_flags else _scored(checkpoint, scores, weights, rule))
        notes.append(_score_note([part for name, part in scores.items() if name in kept], rule, decided_by_flags))
    for name, part in thresholds.items():
        above = _above_threshold(checkpoint, part, weights[name])
        kept[name] = kept[name] & above if name in kept else above
    if thresholds:
        first = next(iter(thresholds.values()))
        limit = f"sigmoid({_last(first)})" if _is_soft(first) else _last(first)
        notes.append(f"{_layers(len(thresholds))} |weight| above {limit} is kept")
    if rule.nm is not None and not scores:
        kept.update(_nm_masks(checkpoint, weights, kept, rule.nm))
    notes += _left_dense(weights if not scores else {name: weights[name] for name in scores}, kept, rule)
    _check_statistics(checkpoint, parts, kept, weights)
    random = _random_layers(weights, masks, scores)
    if masks and not scores:
        notes.append(_mask_note(parts, masks, weights, random))
    decided = frozenset(part.key for part in parts if part.role not in ("unknown", "statistic"))
    return FoundMasks(kept, random, bool(scores), decided, tuple(notes))


def _layers(count: int) -> str:
    return "in 1 layer" if count == 1 else f"in {count} layers"


def _last(part: Part) -> str:
    return part.key.removeprefix(f"{part.layer}.")


def _score_note(scores: Sequence[Part], rule: MaskRule, decided_by_flags: bool) -> str:
    name = _last(scores[0])
    where = _layers(len(scores))
    if decided_by_flags:
        return f"{where} the 0/1 flags beside {name} decide which weights are kept"
    if rule.nm is not None:
        return f"{where} the {rule.nm[0]} largest of {rule.nm[1]} successive {name} are kept"
    kind = {"magnitude": f"the largest |{name}|", "value": f"the largest {name}"}.get(
        rule.score_rule, f"{name} above {rule.score_rule}"
    )
    return f"{where} {kind} are kept"


def _mask_note(
    parts: Sequence[Part], masks: Mapping[str, MaskArray], weights: Mapping[str, Array], random: frozenset[str]
) -> str:
    name = _last(next(part for part in parts if part.role in ("mask", "flag")))
    without = [layer for layer in weights if layer not in masks]
    rest = f"; {without[0]!r} and so on ({len(without)}) have none" if without else ""
    kind = "signed constants: a supermask of random weights" if random else "trained values: pruned"
    return f"{_layers(len(masks))} {name} says which weights are kept; the weights are {kind}{rest}"


def _check_stated(checkpoint: Checkpoint, parts: Sequence[Part], rule: MaskRule) -> None:
    """Refuse statements that nothing in the file answers to, or that contradict it."""
    for option, suffixes, role in (
        ("--mask-key", rule.keys.mask, "mask"),
        ("--score-key", rule.keys.score, "score"),
        ("--threshold-key", rule.keys.threshold, "threshold"),
    ):
        for suffix in suffixes:
            if not any(part.role == role and ends_with(part.key, (suffix,)) for part in parts):
                raise TicketError(
                    f"{checkpoint.path}: {option}: no tensor of a layer ends with {suffix!r}; leave it out"
                )
    own = next((part for part in parts if part.role in ("mask", "flag", "threshold")), None)
    if rule.nm is not None and own is not None:
        raise TicketError(f"{checkpoint.path}: --nm: the file has its own {own.key}; leave the option out")
    has_scores = any(part.role == "score" for part in parts)
    if rule.sparsity is not None and not has_scores:
        raise TicketError(
            f"{checkpoint.path}: --sparsity: the checkpoint has its own masks or zeros; leave the option out"
        )
    if rule.score_rule != "magnitude" and not has_scores:
        raise TicketError(f"{checkpoint.path}: --score-rule: the checkpoint has no scores; leave the option out")


def _masks(checkpoint: Checkpoint, parts: Sequence[Part], weights: Mapping[str, Array]) -> dict[str, MaskArray]:
    """Return the mask of each layer that has one; copies of before, and masks beside stated ones, give way."""
    found: dict[str, list[Part]] = {}
    for part in parts:
        if part.role in ("mask", "flag"):
            found.setdefault(part.layer, []).append(part)
    masks = {}
    for name, candidates in found.items():
        stated = [part for part in candidates if part.is_stated]
        present = stated or [part for part in candidates if not is_copy(part.key)] or candidates
        values = [_expanded(checkpoint, part, weights[name]) != 0 for part in present]
        for part, value in zip(present[1:], values[1:], strict=True):
            if not np.array_equal(value, values[0]):
                way_on = f"state --mask-key {part.suffix} if it decides, --ignore-key {part.suffix} if not"
                refuse_part(checkpoint, part.key, f"is not equal to {present[0].key}", way_on)
        zeros = weights[name] == 0
        if np.array_equal(zeros, values[0]) and zeros.any() and not zeros.all():
            suffix = present[0].suffix
            refuse_part(
                checkpoint, present[0].key, "is 1 just where the weights are 0: its ones seem to drop them",
                f"state --mask-key {suffix} with --mask-form dropped, or --ignore-key {suffix}: the weights' own zeros "
                "then decide",
            )  # fmt: skip
        masks[name] = values[0]
    return masks


def _expanded(checkpoint: Checkpoint, part: Part, weight: Array) -> Array:
    value = expanded(part.value, weight)
    if value is None:
        problem = f"shape {part.value.shape} is not the weight's {weight.shape}"
        refuse_part(checkpoint, part.key, problem, "save it in that shape")
    return value


def _flagged(scores: Mapping[str, Part], flags: Mapping[str, MaskArray]) -> dict[str, MaskArray]:
    """Return the flags of layers with scores; scores that were rounded to 0 and 1 drop weights too."""
    return {
        name: flags[name] & (part.value.reshape(flags[name].shape) != 0) if is_binary(part.value) else flags[name]
        for name, part in scores.items()
        if name in flags
    }


def _scored(
    checkpoint: Checkpoint, parts: Mapping[str, Part], weights: Mapping[str, Array], rule: MaskRule
) -> dict[str, MaskArray]:
    """Return the masks that scores give.

    Fixed subnets hold their mask in place of the scores; biprop's ``GlobalSubnetConv`` has one threshold for all.
    """
    scores = {name: np.asarray(_expanded(checkpoint, part, weights[name])) for name, part in parts.items()}
    for name, values in scores.items():
        if not np.isfinite(values).all():
            raise TicketError(
                f"{checkpoint.path}: {parts[name].key}: has values that are not finite; the file is damaged"
            )
    if checkpoint.conv_type == _SAMPLED_TYPE:
        raise TicketError(
            f"{checkpoint.path}: conv_type {_SAMPLED_TYPE}: its masks are drawn anew at each use; give a file of "
            "SubnetConv or GlobalSubnetConv"
        )
    if rule.score_rule not in ("magnitude", "value"):
        return {name: values > float(rule.score_rule) for name, values in scores.items()}
    scores = {name: np.abs(values) if rule.score_rule == "magnitude" else values for name, values in scores.items()}
    if rule.nm is not None:
        return _nm_masks(checkpoint, scores, {}, rule.nm)
    if rule.sparsity is None and all(is_binary(values) for values in scores.values()):
        return {name: values != 0 for name, values in scores.items()}
    drop = _stated_sparsity(checkpoint, rule.sparsity, next(iter(parts.values())))
    if checkpoint.conv_type != GLOBAL_TYPE:
        return {name: _largest(values, drop) for name, values in scores.items()}
    flat = _largest(np.concatenate([values.reshape(-1) for values in scores.values()]), drop)
    pieces = np.split(flat, np.cumsum([values.size for values in scores.values()])[:-1])
    return {name: piece.reshape(scores[name].shape) for name, piece in zip(scores, pieces, strict=True)}


def _stated_sparsity(checkpoint: Checkpoint, sparsity: float | None, part: Part) -> float:
    # The authors' prune_rate is the fraction kept.
    kept = checkpoint.numbers.get("prune_rate")
    if kept is not None and not 0.0 < kept <= 1.0 and sparsity is None:
        raise TicketError(
            f"{checkpoint.path}: prune_rate: {kept:g} is not above 0 and at most 1, the fraction kept; state the "
            "fraction of zeros with --sparsity"
        )
    if kept is not None and sparsity is not None and 0.0 < kept <= 1.0 and abs(1.0 - kept - sparsity) > _RATE_GAP:
        raise TicketError(
            f"{checkpoint.path}: --sparsity: {sparsity:g} is not the {1.0 - kept:g} that prune_rate {kept:g} leaves; "
            "leave the option out"
        )
    if sparsity is None:
        sparsity = None if kept is None else 1.0 - kept
    if sparsity is None:
        raise TicketError(
            f"{checkpoint.path}: {part.key}: scores do not say how many weights each layer keeps; "
            "state the fraction of zeros with --sparsity, or a --score-rule or --nm that says it"
        )
    if not 0.0 <= sparsity < 1.0:
        raise TicketError(
            f"--sparsity: {sparsity:g} is not from 0 to below 1; give the fraction of zeros in each layer"
        )
    return sparsity


def _largest(scores: Array, sparsity: float) -> MaskArray:
    """Return where the largest scores are: all but floor(sparsity n) of them."""
    mask = np.ones(scores.size, dtype=np.bool_)
    mask[np.argsort(scores.reshape(-1), kind="stable")[: int(sparsity * scores.size)]] = False
    return mask.reshape(scores.shape)


def _is_soft(part: Part) -> bool:
    return part.key.rpartition(".")[2] in SOFT_THRESHOLDS


def _above_threshold(checkpoint: Checkpoint, part: Part, weight: Array) -> MaskArray:
    """Return where |w| lies above a threshold: itself (Liu et al. 2020), or its sigmoid (Kusupati et al. 2020)."""
    value = part.value.astype(np.float64)
    wide = value.reshape(()) if value.size == 1 else expanded(value, weight)
    if wide is None or not np.isfinite(value).all():
        problem = f"shape {value.shape} or values are not those of a threshold of the layer"
        refuse_part(checkpoint, part.key, problem, "give an undamaged file")
    return np.asarray(np.abs(weight) > (1.0 / (1.0 + np.exp(-wide)) if _is_soft(part) else wide))


def _nm_masks(
    checkpoint: Checkpoint, values: Mapping[str, Array], known: Mapping[str, MaskArray], pattern: tuple[int, int]
) -> dict[str, MaskArray]:
    """Return where the N largest of M successive inputs are; layers whose inputs M does not divide stay dense."""
    kept, group = pattern
    masks = {
        name: _largest_of_group(np.abs(value), kept, group)
        for name, value in values.items()
        if name not in known and value.shape[1] % group == 0
    }
    if not masks:
        raise TicketError(f"{checkpoint.path}: --nm: no layer has inputs in groups of {group}; leave the option out")
    return masks


def _left_dense(values: Mapping[str, Array], kept: Mapping[str, MaskArray], rule: MaskRule) -> list[str]:
    """Return which layers a stated pattern leaves dense, since its groups do not divide their inputs."""
    if rule.nm is None:
        return []
    dense = [name for name in values if name not in kept]
    if not dense:
        return []
    inputs = values[dense[0]].shape[1]
    return [
        f"--nm {rule.nm[0]}:{rule.nm[1]} leaves {len(dense)} of {len(values)} layers dense, whose inputs are not in "
        f"groups of {rule.nm[1]}: {dense[0]!r} has {inputs}" + (", and so on" if len(dense) > 1 else "")
    ]


def _largest_of_group(values: Array, kept: int, group: int) -> MaskArray:
    moved = np.moveaxis(values, 1, -1)
    rows = moved.reshape(-1, group)
    mask = np.zeros(rows.shape, dtype=np.bool_)
    np.put_along_axis(mask, np.argsort(-rows, axis=1, kind="stable")[:, :kept], True, axis=1)
    return np.moveaxis(mask.reshape(moved.shape), -1, 1)


def _check_statistics(
    checkpoint: Checkpoint, parts: Sequence[Part], kept: Mapping[str, MaskArray], weights: Mapping[str, Array]
) -> None:
    """Refuse numbers that speak of pruning in a layer where nothing says what is pruned, and no zeros confirm them."""
    for part in parts:
        if part.role != "statistic" or part.layer in kept or not np.any(part.value != 0):
            continue
        zeros = 1.0 - np.count_nonzero(weights[part.layer]) / weights[part.layer].size
        stated = float(part.value.reshape(-1)[0])
        if min(abs(stated - zeros), abs(1.0 - stated - zeros)) > _STATED_GAP or not zeros:
            refuse_part(
                checkpoint, part.key, "speaks of pruning, and nothing in the file says which weights it drops",
                f"give the file with its masks, or state --ignore-key {part.suffix} if the weights' own zeros decide",
            )  # fmt: skip


def _random_layers(
    weights: Mapping[str, Array], masks: Mapping[str, MaskArray], scores: Mapping[str, Part]
) -> frozenset[str]:
    """Return the layers whose masks are supermasks: scores chose them, or all masked weights are signed constants."""
    if scores:
        return frozenset(scores)
    constant = [name for name, mask in masks.items() if has_one_magnitude(weights[name][mask])]
    return frozenset(constant) if len(constant) == len(masks) else frozenset()


def has_one_magnitude(kept: Array) -> bool:
    """Return whether all weights are plus or minus one number."""
    sizes = np.abs(kept)
    return not sizes.size or bool(np.ptp(sizes) <= _SAME_MAGNITUDE * float(sizes.max()))
