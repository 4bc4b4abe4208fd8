"""Edge-popup with partial freezing: a weighted layer whose free weights are kept or dropped by their scores.

Ramanujan et al., CVPR 2020 (edge-popup, equation 4: the gradient passes the threshold straight through), and Otsuka et
al., arXiv 2402.14029 (freezing: pruned weights are never, locked ones always in the mask; neither has a score).
"""

from __future__ import annotations

from math import prod, sqrt
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from accelsim.prng import RandomSource, freezing_map, layer_weights, weight_std

ScoreRank = Literal["magnitude", "value"]


class _StraightThrough(torch.autograd.Function):
    """Weights of the present mask; a score's gradient is its weight's gradient times the weight's own value."""

    @staticmethod
    def forward(ctx: Any, scores: torch.Tensor, kept: torch.Tensor, layer: EdgePopupLayer) -> torch.Tensor:
        """Return the masked and scaled weights."""
        ctx.layer = layer
        free = layer.free_values * kept
        if layer.free_index.numel() == layer.num_weights:
            flat = free * layer.scale
        else:
            flat = layer.locked_values.index_copy(0, layer.free_index, free).mul_(layer.scale)
        return flat.view(layer.shape)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        """Return the gradient of the scores of the free weights."""
        layer: EdgePopupLayer = ctx.layer
        flat = grads[0].reshape(-1)
        if layer.free_index.numel() != layer.num_weights:
            flat = flat.index_select(0, layer.free_index)
        # Each coat's mask passes the gradient on: their sum is that many times as large.
        wanted = (flat * layer.free_values).float().mul_(layer.scale * layer.num_coats)
        if layer.rank == "magnitude":
            wanted.mul_(layer.scores.detach().sign())
        return wanted, None, None


class EdgePopupLayer(nn.Module):
    """The weights of one convolution or linear layer: random, never trained, masked.

    Parameters
    ----------
    source
        Where weights and freezing map come from.
    shape
        KCRS or KC.
    rng
        Draws the first scores: uniform within 1 / sqrt(fan in), as a Kaiming-uniform start with slope sqrt(5) gives.
    dtype
        Of the weights handed to the convolution; scores are always float32.
    rank
        What of a score the threshold compares.
    num_coats
        See the attribute.

    Attributes
    ----------
    scores
        float32 [num free], the only thing that is searched.
    kept
        [num free]; set from outside, once per step, by the threshold: bool, or with several coats uint8, how many of
        them keep a weight.
    num_coats
        Nested masks that are summed (Okoshi et al., ICML 2022); locked weights are in the first alone.
    scale
        What a random integer is multiplied by: the Kaiming deviation sqrt(2 / fan in) over that of the integers,
        times the compensation for dropped weights.
    """

    scores: torch.Tensor
    kept: torch.Tensor
    free_index: torch.Tensor
    free_values: torch.Tensor
    locked_values: torch.Tensor

    def __init__(
        self,
        source: RandomSource,
        shape: tuple[int, ...],
        rng: np.random.Generator,
        dtype: torch.dtype = torch.float32,
        rank: ScoreRank = "value",
        num_coats: int = 1,
    ) -> None:
        super().__init__()
        self.rank = rank
        self.num_coats = num_coats
        self.source = source
        self.shape = shape
        self.num_weights = prod(shape)
        values = torch.from_numpy(layer_weights(source, shape).reshape(-1)).to(dtype)
        frozen = torch.from_numpy(freezing_map(source, shape).reshape(-1))
        free_index = torch.nonzero(frozen == 0).flatten()
        self.num_locked = int((frozen == 1).sum())
        self.register_buffer("free_index", free_index, persistent=False)
        self.register_buffer("free_values", values[free_index], persistent=False)
        self.register_buffer("locked_values", values * (frozen == 1), persistent=False)
        self.register_buffer("kept", torch.ones(free_index.numel(), dtype=torch.bool), persistent=False)
        bound = 1.0 / sqrt(prod(shape[1:]))
        first = rng.uniform(-bound, bound, free_index.numel()).astype(np.float32)
        self.scores = nn.Parameter(torch.from_numpy(first))
        self.base_scale = sqrt(2.0 / prod(shape[1:])) / weight_std(source)
        self.scale = self.base_scale

    def ranks(self) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
        """Return what the threshold compares, float32 [num free]: the scores, or their magnitudes."""
        scores: np.ndarray[tuple[int, ...], np.dtype[np.float32]] = self.scores.detach().numpy()
        return np.abs(scores) if self.rank == "magnitude" else scores

    @property
    def num_free(self) -> int:
        """Return the number of weights with a score."""
        return self.free_index.numel()

    @property
    def num_kept(self) -> int:
        """Return the number of weights in the present mask, locked ones included."""
        return self.num_locked + int(torch.count_nonzero(self.kept))

    @property
    def mean_square(self) -> float:
        """Return the mean square of how often a weight counts: with one coat the fraction that is kept."""
        if self.num_coats == 1:
            return self.num_kept / self.num_weights
        return (self.num_locked + int(self.kept.long().square().sum())) / self.num_weights

    def forward(self) -> torch.Tensor:
        """Return the masked and scaled weights, of ``shape``."""
        weight: torch.Tensor = _StraightThrough.apply(self.scores, self.kept, self)  # type: ignore[no-untyped-call]
        return weight

    def integer_weights(self) -> np.ndarray[tuple[int, ...], np.dtype[np.int32]]:
        """Return the signed integers that are searched, int32 of ``shape``; 0 where the freezing map prunes."""
        flat = self.locked_values.float().index_copy(0, self.free_index, self.free_values.float())
        out: np.ndarray[tuple[int, ...], np.dtype[np.int32]] = flat.cpu().numpy().astype(np.int32).reshape(self.shape)
        return out

    def mask(self) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
        """Return the present mask over all weights, of several coats the first, bool of ``shape``."""
        return self.coat_sums() > 0

    def coat_sums(self) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
        """Return how many coats keep each weight, uint8 of ``shape``; with one coat its mask as 0 and 1."""
        out: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]
        out = (freezing_map(self.source, self.shape) == 1).astype(np.uint8)
        out.reshape(-1)[self.free_index.numpy()] = self.kept.numpy()
        return out
