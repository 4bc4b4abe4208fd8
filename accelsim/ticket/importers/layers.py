"""The weighted layers of a checkpoint: weights, masks, freezing maps, and the normalisation behind each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from accelsim.errors import TicketError
from accelsim.ticket.importers.checkpoint import Array, Checkpoint
from accelsim.ticket.importers.consistency import (
    PER_LAYER_PARTS,
    check_layer,
    check_layers,
    has_global_threshold,
    refuse_layer,
)
from accelsim.ticket.importers.masks import FoundMasks, MaskRule, find_masks
from accelsim.ticket.importers.owners import MIN_AXES, is_binary
from accelsim.ticket.importers.parts import is_mask_module, parts_of_layers, refuse_part
from accelsim.ticket.statistics import is_filled_pattern

CheckpointKind = Literal["partially_frozen", "edge_popup", "masked", "plain"]
BATCH_NORM_EPSILON = 1e-5
"""torch.nn.BatchNorm2d's default; checkpoints do not store it."""


@dataclass(frozen=True, slots=True)
class CheckpointLayer:
    """One weighted layer; ``mask`` bool, ``frozen`` int8 (-1 pruned, 1 locked, 0 free), both of the weight's shape.

    ``gain`` multiplies the weights (the authors' dynamic scaling), ``bias`` is the layer's own. ``is_trained`` says
    that its weights are trained values, and that its mask is but their zeros. ``num_stale`` mask bits are
    not those of the scores.
    """

    name: str
    weight: Array
    mask: npt.NDArray[np.bool_]
    frozen: npt.NDArray[np.int8]
    gain: float
    bias: Array | None
    is_trained: bool = False
    num_stale: int = 0


@dataclass(frozen=True, slots=True)
class ChannelNorm:
    """A batch normalisation as one multiplication and one addition per channel."""

    name: str
    scale_K: npt.NDArray[np.float64]  # noqa: N815
    offset_K: npt.NDArray[np.float64]  # noqa: N815


@dataclass(frozen=True, slots=True)
class CheckpointLayers:
    """The weighted layers of a file by name, in its order, what kind of file it is, and sentences about the masks.

    ``used`` are the names of the tensors that say which weights are kept.
    """

    kind: CheckpointKind
    layers: Mapping[str, CheckpointLayer]
    notes: tuple[str, ...]
    used: frozenset[str]


def _is_partially_frozen(checkpoint: Checkpoint, rule: MaskRule) -> bool:
    parts = {name.rpartition(".")[2] for name in checkpoint.tensors}
    is_named = bool(parts & {"ternary_frozen_mask", "kthvalue"}) or {"score", "mask"} <= parts
    return is_named and not rule.keys.decide


def weighted_names(checkpoint: Checkpoint) -> Iterator[tuple[str, Array]]:
    """Yield name and weight of every convolution and linear layer, in order; a module alone has no name."""
    for key, value in checkpoint.tensors.items():
        is_weight = key.rpartition(".")[2] == "weight" and value.ndim >= MIN_AXES and value.size > 0
        if is_weight and not is_mask_module(key, value, checkpoint.tensors):
            # Truth values and whole numbers do not subtract and scale as weights must.
            is_real = np.issubdtype(value.dtype, np.floating)
            yield key.removesuffix("weight").removesuffix("."), value if is_real else value.astype(np.float32)


def norms(checkpoint: Checkpoint) -> dict[str, ChannelNorm]:
    """Return the batch normalisations by name; TicketError where one is broken."""
    found = {}
    for key, mean in checkpoint.tensors.items():
        if not key.endswith(".running_mean"):
            continue
        name = key.removesuffix(".running_mean")
        variance = checkpoint.tensors.get(f"{name}.running_var")
        if variance is None or variance.shape != mean.shape or mean.ndim != 1:
            raise TicketError(
                f"{checkpoint.path}: {name}.running_var: missing or of another shape; the file is damaged"
            )
        wide = np.asarray(variance, dtype=np.float64)
        if not (wide >= 0).all():
            raise TicketError(f"{checkpoint.path}: {name}.running_var: has values below 0; the file is damaged")
        scale = 1.0 / np.sqrt(wide + BATCH_NORM_EPSILON)
        gamma, beta = (checkpoint.tensors.get(f"{name}.{part}") for part in ("weight", "bias"))
        for part, value in (("weight", gamma), ("bias", beta)):
            if value is not None and value.shape != mean.shape:
                refuse_layer(checkpoint, f"{name}.{part}", f"shape {value.shape} is not the {mean.shape} of its mean")
        if gamma is not None:
            scale = scale * np.asarray(gamma, dtype=np.float64)
        offset = -np.asarray(mean, dtype=np.float64) * scale
        if beta is not None:
            offset = offset + np.asarray(beta, dtype=np.float64)
        found[name] = ChannelNorm(name, scale, offset)
    return found


def read_layers(checkpoint: Checkpoint, rule: MaskRule, used: frozenset[str] = frozenset()) -> CheckpointLayers:
    """Return the weighted layers of a file.

    Parameters
    ----------
    checkpoint
        As read.
    rule
        What the user states of masks and scores.
    used
        Tensors that are something else than a part of a layer.

    Raises
    ------
    TicketError
        Naming the layer whose mask is missing, not binary, of another shape, or contradicts its freezing map, or the
        tensor that nobody knows.
    """
    weights = {name: weight for name, weight in weighted_names(checkpoint) if f"{name}.weight" not in used}
    if not weights:
        raise TicketError(
            f"{checkpoint.path}: has no weights of convolutions or linear layers; give a network's state_dict"
        )
    if _are_masks(list(weights.values())):
        raise TicketError(
            f"{checkpoint.path}: all weights are 0 or 1: these are masks; give both in one file: "
            "torch.save({'state_dict': torch.load(WEIGHTS), 'masks': torch.load(FILE)}, NEW)"
        )
    for name, weight in weights.items():
        if not np.isfinite(weight).all():
            raise TicketError(f"{checkpoint.path}: {name}.weight: has values that are not finite; the file is damaged")
    if _is_partially_frozen(checkpoint, rule):
        return _partially_frozen_layers(checkpoint, weights, rule, used)
    check_layers(checkpoint, weights)
    found = find_masks(checkpoint, weights, rule, used)
    layers = {name: _masked_layer(checkpoint, name, weight, found) for name, weight in weights.items()}
    kind: CheckpointKind = "edge_popup" if found.has_scores else "masked" if found.kept else "plain"
    return CheckpointLayers(kind, layers, found.notes, found.used)


def _are_masks(values: Sequence[Array]) -> bool:
    """Return whether all values are 0 or 1, and there are both."""
    has_zeros, has_ones = not all(value.all() for value in values), any(value.any() for value in values)
    return has_zeros and has_ones and all(is_binary(value) for value in values)


def _masked_layer(checkpoint: Checkpoint, name: str, weight: Array, found: FoundMasks) -> CheckpointLayer:
    mask, is_trained = found.kept.get(name), name not in found.random
    if mask is None:
        mask = np.ones(weight.shape, dtype=np.bool_)
    mask = mask & (weight != 0) if is_trained else mask
    frozen = np.zeros(weight.shape, dtype=np.int8)
    gain, bias = _gain(checkpoint, name), _bias(checkpoint, name, weight)
    return CheckpointLayer(name, weight, mask, frozen, gain, bias, is_trained)


def _partially_frozen_layers(
    checkpoint: Checkpoint, weights: Mapping[str, Array], rule: MaskRule, used: frozenset[str]
) -> CheckpointLayers:
    for option, value in (("--sparsity", rule.sparsity), ("--nm", rule.nm)):
        if value is not None:
            raise TicketError(
                f"{checkpoint.path}: {option}: the checkpoint has its own masks or zeros; leave the option out"
            )
    check_layers(checkpoint, weights)
    own = frozenset(f"{name}.{part}" for name in weights for part in (*PER_LAYER_PARTS, "prune_rate"))
    for part in parts_of_layers(checkpoint, weights, rule.keys, used | own):
        if part.role in ("mask", "flag", "score", "threshold"):
            problem = "stands beside a freezing map and a score of its own kind"
            refuse_part(checkpoint, part.key, problem, f"state --ignore-key {part.suffix} if it decides nothing")
    is_global = has_global_threshold(checkpoint)
    layers = {}
    for name, weight in weights.items():
        frozen = _frozen_map(checkpoint, name, weight)
        mask = _stored_mask(checkpoint, name, weight, frozen)
        num_stale = check_layer(checkpoint, name, frozen, mask, is_global)
        gain, bias = _gain(checkpoint, name), _bias(checkpoint, name, weight)
        layers[name] = CheckpointLayer(name, weight, mask, frozen, gain, bias, num_stale=num_stale)
    return CheckpointLayers("partially_frozen", layers, (), own)


def has_freezing_maps(checkpoint: Checkpoint) -> bool:
    """Return whether any layer has a freezing map; scores without one are a ticket of which nothing is frozen."""
    return any(name.endswith(".ternary_frozen_mask") for name in checkpoint.tensors)


def _same_shape(checkpoint: Checkpoint, key: str, weight: Array) -> Array:
    value = checkpoint.tensors.get(key)
    if value is None:
        raise TicketError(f"{checkpoint.path}: {key}: missing; each layer needs its mask and freezing map")
    if value.shape != weight.shape:
        raise TicketError(
            f"{checkpoint.path}: {key}: shape {value.shape} is not the weight's {weight.shape}; damaged file"
        )
    return value


def _frozen_map(checkpoint: Checkpoint, name: str, weight: Array) -> npt.NDArray[np.int8]:
    key = f"{name}.ternary_frozen_mask"
    if not has_freezing_maps(checkpoint):
        return np.zeros(weight.shape, dtype=np.int8)
    value = _same_shape(checkpoint, key, weight)
    if not np.isin(value, (-1, 0, 1)).all():
        raise TicketError(f"{checkpoint.path}: {key}: has values besides -1, 0 and 1; -1 is pruned, 1 locked, 0 free")
    return value.astype(np.int8)


def _stored_mask(
    checkpoint: Checkpoint, name: str, weight: Array, frozen: npt.NDArray[np.int8]
) -> npt.NDArray[np.bool_]:
    key = f"{name}.mask"
    if key not in checkpoint.tensors and f"{name}.kthvalue" in checkpoint.tensors:
        score = _same_shape(checkpoint, f"{name}.score", weight)
        threshold = checkpoint.tensors[f"{name}.kthvalue"]
        if threshold.size != 1:
            raise TicketError(
                f"{checkpoint.path}: {name}.kthvalue: {threshold.size} values; give one threshold for the layer"
            )
        return np.asarray(((np.abs(score) > threshold.reshape(())) & (frozen == 0)) | (frozen > 0))
    value = _same_shape(checkpoint, key, weight)
    if not np.isin(value, (0, 1)).all():
        raise TicketError(f"{checkpoint.path}: {key}: has values besides 0 and 1; 1 keeps a weight, 0 drops it")
    mask = value.astype(np.bool_)
    wrong = (mask & (frozen < 0)) | (~mask & (frozen > 0))
    if wrong.any():
        place = tuple(int(index) for index in np.argwhere(wrong)[0])
        raise TicketError(
            f"{checkpoint.path}: {key}: contradicts {name}.ternary_frozen_mask at {int(wrong.sum())} weights, "
            f"first {place}; locked weights are kept and pruned ones dropped"
        )
    return mask


def _gain(checkpoint: Checkpoint, name: str) -> float:
    scale = checkpoint.tensors.get(f"{name}.scale")
    return float(scale.reshape(-1)[0]) if scale is not None and scale.size == 1 else 1.0


def _bias(checkpoint: Checkpoint, name: str, weight: Array) -> Array | None:
    bias = checkpoint.tensors.get(f"{name}.bias")
    if bias is not None and bias.ndim != 1:
        refuse_layer(checkpoint, f"{name}.bias", f"shape {bias.shape} where {weight.shape} weights have a flat one")
    return bias


def nm_pattern(layers: Mapping[str, CheckpointLayer]) -> tuple[int, int] | None:
    """Return (N, M) if every layer keeps at most N of each M successive inputs, for 1:4, 2:4 or 4:8; else None.

    A pattern whose places are mostly empty is none: very sparse masks obey it by chance.
    """
    num_kept = sum(int(layer.mask.sum()) for layer in layers.values())
    num_weights = sum(layer.mask.size for layer in layers.values())
    for kept, group in ((1, 4), (2, 4), (4, 8)):
        grouped = [layer for layer in layers.values() if layer.mask.shape[1] % group == 0]
        is_filled = is_filled_pattern(num_kept, num_weights, kept, group)
        if is_filled and all(_fits_nm(layer.mask, kept, group) for layer in grouped):
            return (kept, group) if grouped else None
    return None


def _fits_nm(mask: npt.NDArray[np.bool_], kept: int, group: int) -> bool:
    counts = np.add.reduceat(mask.astype(np.int16), np.arange(0, mask.shape[1], group), axis=1)
    return bool((counts <= kept).all())
