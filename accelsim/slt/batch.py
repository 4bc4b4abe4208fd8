"""What a search is fed: batches, and the interface of the data that give them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Protocol

import torch

ONES_PER_ROW: Final = 2
"""Of a row of a text's input: one for the character, one for the position."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Inputs of one step, the labels of the rows that count, and which rows of the output these are (None: all).

    A text has a label for each position of each window, in one row.
    """

    inputs: torch.Tensor
    labels: torch.Tensor
    rows: torch.Tensor | None = None

    def scores(self, output: torch.Tensor) -> torch.Tensor:
        """Return the rows of the network's output that have labels here, [labels, classes]."""
        return output.flatten(0, -2) if self.rows is None else output[self.rows]


class SearchData(Protocol):
    """What a search learns from and is measured on."""

    @property
    def title(self) -> str:
        """Return what the ticket calls the data."""

    @property
    def num_classes(self) -> int:
        """Return the number of classes."""

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Return the shape of one input: (C, H, W), (nodes, features) of the one graph, or (positions, features)."""

    @property
    def is_text(self) -> bool:
        """Return whether each position's label is its next character, and bits per character are a score.

        A row of the input then has `ONES_PER_ROW` ones, else zeros.
        """

    @property
    def neighbours(self) -> torch.Tensor | None:
        """Return the sparse [nodes, nodes] matrix that averages over the edges of a graph; None for the rest."""

    def num_batches(self, batch_size: int) -> int:
        """Return how many steps an epoch has."""

    def train_batches(self, batch_size: int, max_shift: int, key: tuple[int, int]) -> Iterator[Batch]:
        """Yield an epoch of steps; ``key`` (seed, epoch) alone decides order and shifts, so a resume repeats them."""

    def calibration_batches(self) -> Iterator[Batch]:
        """Yield the training data once, unchanged."""

    def test_batches(self) -> Iterator[Batch]:
        """Yield the test data once."""
