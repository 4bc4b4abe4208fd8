"""Whether what a checkpoint says of a layer agrees with itself; each contradiction is refused by the layer's name.

What the authors' code of arXiv 2402.14029 writes is taken: a threshold may be absent, infinite (every free weight, or
none, lies above it) or -1 (none is dropped); the scale of a layer that keeps nothing is infinite; sparsities are those
of the last forward pass. So are masks: a few bits may lag behind an optimiser's last step on the scores.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NoReturn

import numpy as np
import numpy.typing as npt

from accelsim.errors import TicketError
from accelsim.ticket.importers.checkpoint import Array, Checkpoint

MAX_STALE_FRACTION = 0.01
"""Fraction of the free weights whose mask bit may differ from the score's: one optimiser step moves fewer."""
MAX_STALE_BITS = 2
"""As many may differ in a layer however small it is."""
MAX_SPARSITY_GAP = 0.05
_SAME_SPARSITY = 1e-6
PER_LAYER_PARTS = frozenset(
    {"mask", "score", "scores", "ternary_frozen_mask", "kthvalue", "scale", "local_sparsity", "global_sparsity"}
)
KNOWN_PARTS = PER_LAYER_PARTS | {
    "weight", "bias", "running_mean", "running_var", "num_batches_tracked", "eps", "prune_rate",
}  # fmt: skip
# Names that other modules than layers would not use (attention has masks, and scales are common).
_WITNESSES = frozenset({"score", "scores", "ternary_frozen_mask", "kthvalue"})
_SHARED_PARTS = ("ternary_frozen_mask", "mask", "score", "kthvalue", "scale", "local_sparsity", "global_sparsity")


def refuse_layer(checkpoint: Checkpoint, key: str, problem: str) -> NoReturn:
    """Raise `TicketError` for the tensor ``key``."""
    raise TicketError(f"{checkpoint.path}: {key}: {problem}; the file is damaged")


def check_layers(checkpoint: Checkpoint, names: Mapping[str, Array]) -> None:
    """Check that no tensor of a layer lacks its weight, and that layers have the same parts.

    Parameters
    ----------
    checkpoint
        As read.
    names
        The weighted layers by name, with their weights.

    Raises
    ------
    TicketError
        A layer lacks its weight, or a part that other layers have.
    """
    for key in checkpoint.tensors:
        name, _, part = key.rpartition(".")
        if part in _WITNESSES and name not in names and checkpoint.tensors[key].size > 1:
            refuse_layer(checkpoint, f"{name}.weight", f"missing or of odd shape, though there is {key}")
    frozen = [name for name in names if any(f"{name}.{part}" in checkpoint.tensors for part in _WITNESSES - {"scores"})]
    _check_one_sparsity(checkpoint, frozen)
    for part in _SHARED_PARTS:
        with_part = [name for name in frozen if f"{name}.{part}" in checkpoint.tensors]
        missing = [name for name in frozen if f"{name}.{part}" not in checkpoint.tensors]
        if with_part and missing and part != "kthvalue":
            refuse_layer(checkpoint, f"{missing[0]}.{part}", f"missing, though layer {with_part[0]!r} has one")


def _check_one_sparsity(checkpoint: Checkpoint, names: Sequence[str]) -> None:
    """Check that all layers state the same sparsity of the network; one out of range is refused by its layer."""
    stated = {name: checkpoint.tensors.get(f"{name}.global_sparsity") for name in names}
    values = {name: float(value.reshape(-1)[0]) for name, value in stated.items() if value is not None and value.size}
    first = next(iter(values), "")
    for name, value in values.items():
        if 0.0 <= value <= 1.0 and abs(value - values[first]) > _SAME_SPARSITY:
            problem = f"{value:.4g} is not the {values[first]:.4g} of layer {first!r}, though one holds for all layers"
            refuse_layer(checkpoint, f"{name}.global_sparsity", problem)


def check_layer(
    checkpoint: Checkpoint, name: str, frozen: npt.NDArray[np.int8], mask: npt.NDArray[np.bool_], is_global: bool
) -> int:
    """Check the scores, threshold, scale and sparsities of a partially frozen layer; return how many bits are stale.

    Parameters
    ----------
    checkpoint
        As read.
    name
        Of the layer.
    frozen, mask
        Of the weight's shape; they agree with each other.
    is_global
        One threshold serves all layers: sparsities of layers then follow from it.

    Raises
    ------
    TicketError
        Naming the tensor that has another shape or an impossible value, or contradicts the mask.
    """
    for part in ("scale", "kthvalue", "local_sparsity", "global_sparsity"):
        value = checkpoint.tensors.get(f"{name}.{part}")
        if value is not None:
            _check_number(checkpoint, f"{name}.{part}", value, part, bool(mask.any()))
    local = checkpoint.tensors.get(f"{name}.local_sparsity")
    if local is not None and not is_global:
        stated, real = float(local.reshape(-1)[0]), 1.0 - float(mask.mean())
        if abs(stated - real) > MAX_SPARSITY_GAP + 1.0 / mask.size:
            refuse_layer(checkpoint, f"{name}.local_sparsity", f"{stated:.4g} is not the {real:.4g} of its mask")
    score = checkpoint.tensors.get(f"{name}.score")
    if score is None:
        return 0
    if score.shape != mask.shape:
        refuse_layer(checkpoint, f"{name}.score", f"shape {score.shape} is not the weight's {mask.shape}")
    if not np.isfinite(score).all():
        refuse_layer(checkpoint, f"{name}.score", "has values that are not finite")
    threshold = checkpoint.tensors.get(f"{name}.kthvalue")
    return 0 if threshold is None else _check_scores(checkpoint, name, score, threshold, frozen, mask)


def _check_number(checkpoint: Checkpoint, key: str, value: Array, part: str, keeps_any: bool) -> None:
    if value.size != 1:
        refuse_layer(checkpoint, key, f"{value.size} values where a layer has one")
    number = float(value.reshape(-1)[0])
    if np.isnan(number):
        refuse_layer(checkpoint, key, "not a number")
    if part.endswith("sparsity") and not 0.0 <= number <= 1.0:
        refuse_layer(checkpoint, key, f"{number:.6g} is not from 0 to 1")
    if part == "scale" and not (number > 0.0 and (np.isfinite(number) or not keeps_any)):
        refuse_layer(checkpoint, key, f"{number:.6g} is not above 0 and finite")


def _check_scores(
    checkpoint: Checkpoint,
    name: str,
    score: Array,
    threshold: Array,
    frozen: npt.NDArray[np.int8],
    mask: npt.NDArray[np.bool_],
) -> int:
    free = frozen == 0
    num_free = int(np.count_nonzero(free))
    num_wrong = int(np.count_nonzero((np.abs(score) > threshold.reshape(-1)[0])[free] != mask[free]))
    if num_wrong > max(MAX_STALE_BITS, MAX_STALE_FRACTION * num_free):
        contradiction = f"contradicts |{name}.score| > {name}.kthvalue at {num_wrong} of {num_free} free weights"
        if f"{name}.ternary_frozen_mask" not in checkpoint.tensors:
            contradiction += ", and there is no ternary_frozen_mask that explains it"
        refuse_layer(checkpoint, f"{name}.mask", contradiction)
    return num_wrong


def has_global_threshold(checkpoint: Checkpoint) -> bool:
    """Return whether all layers have one and the same threshold, as global edge-popup sets it."""
    values = [value.reshape(-1) for key, value in checkpoint.tensors.items() if key.endswith(".kthvalue")]
    return bool(values) and all(value.size == 1 and value[0] == values[0][0] for value in values)


def leftover_names(checkpoint: Checkpoint, used: frozenset[str]) -> tuple[str, ...]:
    """Return the tensors that neither belong to a layer or normalisation in ``used`` nor to the graph or module."""
    left = []
    for key in checkpoint.tensors:
        name, _, part = key.rpartition(".")
        if name in used and part in KNOWN_PARTS:
            continue
        if part in ("eps", "num_batches_tracked") or key.startswith("adj_mask"):
            continue
        left.append(key)
    return tuple(left)
