"""How good a network is on the test part of its data."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.nn import functional

from accelsim.slt.batch import Batch, SearchData


@dataclass(frozen=True, slots=True)
class Score:
    """The fraction of labels that are foreseen, and of a text the bits per character (None for other data)."""

    accuracy: float
    bits_per_character: float | None


def score(data: SearchData, run: Callable[[Batch], torch.Tensor]) -> Score:
    """Return the score on the test part of ``data``.

    Parameters
    ----------
    data
        What is foreseen.
    run
        Returns the class scores of a batch, [labels, classes]; of a text they are logits.
    """
    num_right = num_labels = 0
    loss = 0.0
    for batch in data.test_batches():
        scores = run(batch)
        num_right += int((scores.argmax(dim=-1) == batch.labels).sum())
        num_labels += len(batch.labels)
        if data.is_text:
            loss += float(functional.cross_entropy(scores, batch.labels, reduction="sum"))
    return Score(num_right / num_labels, loss / num_labels / math.log(2.0) if data.is_text else None)
