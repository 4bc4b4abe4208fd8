"""A small network's checkpoint in parts, for tests of importers: weights, scores, masks, and how they stand beside."""

from collections.abc import Callable

import numpy as np
import torch
from torch.nn.utils import prune

State = dict[str, torch.Tensor]
SHAPES = {"convs.0": (4, 3, 3, 3), "convs.2": (4, 4, 3, 3), "linear.0": (8, 16), "linear.2": (8, 8), "linear.4": (5, 8)}


def tensors(seed: int, low: float = 0.0) -> State:
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.rand(shape, generator=generator) + low for name, shape in SHAPES.items()}


WEIGHTS = {name: value - 0.6 for name, value in tensors(1).items()}
SCORES = {name: value - 0.5 for name, value in tensors(2).items()}
MASKS = {name: (value > 0.8).float() for name, value in tensors(3).items()}
DENSE = {f"{name}.weight": value for name, value in WEIGHTS.items()}


def beside(part: str, values: State, weights: State = DENSE) -> State:
    return weights | {f"{name}.{part}": value for name, value in values.items()}


def by(function: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> dict[str, np.ndarray]:
    return {name: function(WEIGHTS[name], SCORES[name]).numpy().astype(bool) for name in SHAPES}


def top(values: torch.Tensor, kept: float = 0.25) -> torch.Tensor:
    order = values.flatten().argsort(stable=True)
    mask = torch.ones(values.numel())
    mask[order[: int((1 - kept) * values.numel())]] = 0
    return mask.view(values.shape)


def largest_of(values: torch.Tensor, kept: int, group: int) -> torch.Tensor:
    if values.shape[1] % group:
        return torch.ones_like(values)
    rows = values.abs().movedim(1, -1).unflatten(-1, (-1, group))
    places = rows.topk(kept, dim=-1).indices
    return torch.zeros_like(rows).scatter(-1, places, 1).flatten(-2).movedim(-1, 1)


KEPT = {name: value.numpy() == 1 for name, value in MASKS.items()}
ROWS = {name: torch.arange(len(value)) % 2 == 0 for name, value in WEIGHTS.items()}
BY_ROW = {name: np.broadcast_to(ROWS[name].numpy().reshape(-1, *[1] * (len(s) - 1)), s) for name, s in SHAPES.items()}
WHOLE = {name: np.ones(shape, dtype=bool) for name, shape in SHAPES.items()}


def threshold_of(weight: torch.Tensor) -> torch.Tensor:
    return torch.logit(weight.abs().quantile(0.9)).view(1, 1)


def flat_masks(dots: str) -> State:
    return DENSE | {f"{name.replace('.', dots)}_mask": value for name, value in MASKS.items()}


def pruned() -> State:
    """Return what torch.nn.utils.prune leaves in a state dict."""
    state = {}
    for name, weight in WEIGHTS.items():
        module = torch.nn.Linear(1, 1)
        module.weight = torch.nn.Parameter(weight.clone())
        prune.custom_from_mask(module, "weight", MASKS[name])
        state |= {f"{name}.{key}": value for key, value in module.state_dict().items() if "bias" not in key}
    return state


CHANNELS = {n: (torch.arange(s[1]) % 2).view(1, -1, *[1] * (len(s) - 2)) for n, s in SHAPES.items()}
FEW = {name: torch.rand(3) for name in SHAPES}
LINE = {name: value.flatten()[: len(value)] for name, value in WEIGHTS.items()}


def prefixed(prefix: str, state: State) -> State:
    return {f"{prefix}{name}": value for name, value in state.items()}


PLACES = {name: value.flatten().nonzero().flatten() for name, value in MASKS.items()}
PACKED = {name: torch.from_numpy(np.packbits(value == 1)) for name, value in KEPT.items()}
OPTIMISER = {"state": {0: {"exp_avg": torch.rand(4, 4, 3, 3), "step": torch.tensor(3.0)}}, "param_groups": []}
