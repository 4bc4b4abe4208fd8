"""A layer whose weights are trained, to hold a search against."""

from __future__ import annotations

from math import prod, sqrt

import numpy as np
import torch
from torch import nn


class TrainedLayer(nn.Module):
    """The trained weights of one linear layer.

    Parameters
    ----------
    shape
        KC.
    rng
        Draws the first weights: normal, of the Kaiming deviation sqrt(2 / fan in) times ``gain``.
    dtype
        Of the weights handed to the layer; the weights themselves are float32.
    gain
        See ``rng``.
    """

    def __init__(self, shape: tuple[int, ...], rng: np.random.Generator, dtype: torch.dtype, gain: float = 1.0) -> None:
        super().__init__()
        self.shape = shape
        self.num_weights = prod(shape)
        self._dtype = dtype
        first = rng.normal(0.0, gain * sqrt(2.0 / prod(shape[1:])), shape).astype(np.float32)
        self.scores = nn.Parameter(torch.from_numpy(first))

    def forward(self) -> torch.Tensor:
        """Return the weights, of ``shape``."""
        return self.scores.to(self._dtype)
