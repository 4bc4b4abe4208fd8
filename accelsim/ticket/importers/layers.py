"""The weighted layers of a checkpoint: weights, masks, freezing maps, and the normalisation behind each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from accelsim.errors import TicketError
from accelsim.ticket.importers.checkpoint import Array, Checkpoint
from accelsim.ticket.importers.consistency import check_layer, check_layers, has_global_threshold, refuse_layer

CheckpointKind = Literal["partially_frozen", "edge_popup", "plain"]
_RATE_GAP = 1e-6
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


def checkpoint_kind(checkpoint: Checkpoint) -> CheckpointKind:
    """Return whose checkpoint it is, by the names of its tensors."""
    names = checkpoint.tensors
    if any(name.endswith((".ternary_frozen_mask", ".score", ".kthvalue")) for name in names):
        return "partially_frozen"
    return "edge_popup" if any(name.endswith(".scores") for name in names) else "plain"


def weighted_names(checkpoint: Checkpoint) -> Iterator[tuple[str, Array]]:
    """Yield name and weight of every convolution and linear layer, in order."""
    for key, value in checkpoint.tensors.items():
        if key.endswith(".weight") and value.ndim in (2, 4) and value.size:
            # Truth values and whole numbers do not subtract and scale as weights must.
            is_real = np.issubdtype(value.dtype, np.floating)
            yield key.removesuffix(".weight"), value if is_real else value.astype(np.float32)


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


def read_layers(checkpoint: Checkpoint, sparsity: float | None) -> dict[str, CheckpointLayer]:
    """Return the weighted layers by name, in the order of the file.

    Parameters
    ----------
    checkpoint
        As read.
    sparsity
        Fraction of zeros per layer, for edge-popup checkpoints, which do not store it.

    Raises
    ------
    TicketError
        Naming the layer whose mask is missing, not binary, of another shape, or contradicts its freezing map.
    """
    kind = checkpoint_kind(checkpoint)
    if sparsity is not None and kind != "edge_popup":
        raise TicketError(
            f"{checkpoint.path}: --sparsity: the checkpoint has its own masks or zeros; leave the option out"
        )
    check_layers(checkpoint, dict(weighted_names(checkpoint)))
    is_global = has_global_threshold(checkpoint)
    kept = _edge_popup_masks(checkpoint, sparsity) if kind == "edge_popup" else {}
    layers = {}
    for name, weight in weighted_names(checkpoint):
        if not np.isfinite(weight).all():
            raise TicketError(f"{checkpoint.path}: {name}.weight: has values that are not finite; the file is damaged")
        frozen, num_stale = np.zeros(weight.shape, dtype=np.int8), 0
        trained = kind == "plain" or (kind == "edge_popup" and name not in kept)
        if kind == "partially_frozen":
            frozen = _frozen_map(checkpoint, name, weight)
            mask = _stored_mask(checkpoint, name, weight, frozen)
            num_stale = check_layer(checkpoint, name, frozen, mask, is_global)
        else:
            mask = np.asarray(weight != 0) if trained else kept[name]
        layers[name] = CheckpointLayer(
            name, weight, mask, frozen, _gain(checkpoint, name), _bias(checkpoint, name, weight), trained, num_stale
        )
    if not layers:
        raise TicketError(
            f"{checkpoint.path}: has no weights of convolutions or linear layers; give a network's state_dict"
        )
    return layers


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


GLOBAL_TYPE = "GlobalSubnetConv"
_SAMPLED_TYPE = "SampleSubnetConv"


def _edge_popup_masks(checkpoint: Checkpoint, sparsity: float | None) -> dict[str, npt.NDArray[np.bool_]]:
    """Return the masks of the layers that have scores.

    Fixed subnets hold their mask in place of the scores; biprop's ``GlobalSubnetConv`` has one threshold for all.
    """
    scores = {
        name: np.abs(_same_shape(checkpoint, f"{name}.scores", weight))
        for name, weight in weighted_names(checkpoint)
        if f"{name}.scores" in checkpoint.tensors
    }
    for name, values in scores.items():
        if not np.isfinite(values).all():
            raise TicketError(f"{checkpoint.path}: {name}.scores: has values that are not finite; the file is damaged")
    if checkpoint.conv_type == _SAMPLED_TYPE:
        raise TicketError(
            f"{checkpoint.path}: conv_type {_SAMPLED_TYPE}: its masks are drawn anew at each use; give a file of "
            "SubnetConv or GlobalSubnetConv"
        )
    if sparsity is None and all(np.isin(values, (0, 1)).all() for values in scores.values()):
        return {name: values != 0 for name, values in scores.items()}
    drop = _edge_popup_sparsity(checkpoint, sparsity)
    if checkpoint.conv_type != GLOBAL_TYPE:
        return {name: _largest(values, drop) for name, values in scores.items()}
    flat = _largest(np.concatenate([values.reshape(-1) for values in scores.values()]), drop)
    parts = np.split(flat, np.cumsum([values.size for values in scores.values()])[:-1])
    return {name: part.reshape(scores[name].shape) for name, part in zip(scores, parts, strict=True)}


def _edge_popup_sparsity(checkpoint: Checkpoint, sparsity: float | None) -> float:
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
            f"{checkpoint.path}: an edge-popup checkpoint holds scores and not how many weights each layer keeps; "
            "state the fraction of zeros with --sparsity"
        )
    if not 0.0 <= sparsity < 1.0:
        raise TicketError(
            f"--sparsity: {sparsity:g} is not from 0 to below 1; give the fraction of zeros in each layer"
        )
    return sparsity


def _largest(scores: Array, sparsity: float) -> npt.NDArray[np.bool_]:
    """Return where the largest scores are: all but floor(sparsity n) of them."""
    mask = np.ones(scores.size, dtype=np.bool_)
    mask[np.argsort(scores.reshape(-1), kind="stable")[: int(sparsity * scores.size)]] = False
    return mask.reshape(scores.shape)


def _gain(checkpoint: Checkpoint, name: str) -> float:
    scale = checkpoint.tensors.get(f"{name}.scale")
    return float(scale.reshape(-1)[0]) if scale is not None and scale.size == 1 else 1.0


def _bias(checkpoint: Checkpoint, name: str, weight: Array) -> Array | None:
    bias = checkpoint.tensors.get(f"{name}.bias")
    if bias is not None and bias.ndim != 1:
        refuse_layer(checkpoint, f"{name}.bias", f"shape {bias.shape} where {weight.shape} weights have a flat one")
    return bias


def nm_pattern(layers: Mapping[str, CheckpointLayer]) -> tuple[int, int] | None:
    """Return (N, M) if every layer keeps at most N of each M successive inputs, for 1:4, 2:4 or 4:8; else None."""
    for kept, group in ((1, 4), (2, 4), (4, 8)):
        if layers and all(
            _fits_nm(layer.mask, kept, group) for layer in layers.values() if layer.mask.shape[1] % group == 0
        ):
            grouped = [layer for layer in layers.values() if layer.mask.shape[1] % group == 0]
            return (kept, group) if grouped else None
    return None


def _fits_nm(mask: npt.NDArray[np.bool_], kept: int, group: int) -> bool:
    counts = np.add.reduceat(mask.astype(np.int16), np.arange(0, mask.shape[1], group), axis=1)
    return bool((counts <= kept).all())
