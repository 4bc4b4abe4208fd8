"""Accuracy and time per epoch of ``accelsim search`` against the loop that its authors publish, on the same digits.

The other side is written from what is published of edge-popup (Ramanujan et al., arXiv 1911.13299; a threshold of the
whole network: Sreenivasan et al. 2022) and of partial freezing (Otsuka et al., arXiv 2402.14029); their code is not in
it: float32; a score for every weight; after each step all scores are sorted for the threshold; the magnitude of a score
is compared; the mask is made anew in every forward pass and its gradient passes straight through; signed Kaiming
constants as weights, Kaiming-normal scores, dynamic scaling, batch normalisation without trained parameters; gradient
descent with momentum 0.9, batches of 128, weight decay 1e-4 (Conv6) or 5e-4 (ResNet-18), a learning rate of 0.1 that
falls along a half cosine from epoch to epoch; a random permutation of a layer chooses what is pruned and locked.

Both sides see the same images, the same random shifts, the same network graph and the same number of epochs. Ours runs
with its defaults. CPU seconds count, for wall time depends on what else the machine does; imports, loading the data and
measuring accuracy are left out on both sides.

Usage: python benchmarks/versus_edge_popup.py [--network NAME ...] [--width-factor F] [--num-epochs N] [--seeds N ...]
       [--sparsity K] [--prune-ratio P] [--lock-ratio R] [--scope layer|network] [--measured-on test|validation]
       [--only ours|theirs]
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import mean
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from accelsim.slt.config import SearchConfig
from accelsim.slt.data import Batch, SearchData, load_data
from accelsim.slt.export import evaluate, export_ticket
from accelsim.slt.network import apply_weight, run_graph
from accelsim.slt.search import calibrate, epoch_steps, searched_graph, start_search
from accelsim.ticket.graph import PARAMETRIC_KINDS, GraphNode, NetworkGraph

BATCH_SIZE, LEARNING_RATE, MOMENTUM = 128, 0.1, 0.9
WEIGHT_DECAY = {"conv6": 1e-4, "resnet18": 5e-4}


@dataclass(frozen=True, slots=True)
class Outcome:
    """Accuracy of one search, as a fraction, and its CPU seconds per epoch."""

    accuracy: float
    epoch_s: float


class _Threshold(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rank: torch.Tensor, threshold: torch.Tensor, frozen: torch.Tensor) -> torch.Tensor:
        """Return the mask as numbers: above the threshold, then pruned ones 0 and locked ones 1."""
        mask = (rank > threshold).to(rank.dtype)
        mask = torch.where(frozen == -1, torch.zeros_like(mask), mask)
        return torch.where(frozen == 1, torch.ones_like(mask), mask)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        """Return the gradient of the mask as that of the ranks."""
        return grads[0], None, None


class PlainLayer(nn.Module):
    """A weighted layer of the published loop."""

    frozen: torch.Tensor
    weight: torch.Tensor

    def __init__(self, shape: tuple[int, ...], prune_ratio: float, lock_ratio: float) -> None:
        super().__init__()
        sign = nn.init.kaiming_normal_(torch.empty(shape)).sign()
        self.register_buffer("weight", sign * math.sqrt(2.0 / math.prod(shape[1:])))
        self.score = nn.Parameter(nn.init.kaiming_normal_(torch.empty(shape)))
        frozen = torch.zeros(math.prod(shape))
        order = torch.randperm(frozen.numel())
        num_pruned, num_locked = int(frozen.numel() * prune_ratio), int(frozen.numel() * lock_ratio)
        frozen[order[:num_pruned]] = -1
        frozen[order[num_pruned : num_pruned + num_locked]] = 1
        self.register_buffer("frozen", frozen.view(shape))
        self.threshold = torch.zeros(())

    def ranks(self) -> torch.Tensor:
        """Return what the threshold is sought among: pruned weights come first, locked ones last."""
        rank = self.score.detach().abs()
        rank = torch.where(self.frozen == -1, torch.full_like(rank, -math.inf), rank)
        return torch.where(self.frozen == 1, torch.full_like(rank, math.inf), rank)

    def forward(self) -> torch.Tensor:
        """Return the masked and scaled weights."""
        mask = _Threshold.apply(self.score.abs(), self.threshold, self.frozen)  # type: ignore[no-untyped-call]
        with torch.no_grad():
            scale = 1.0 / torch.sqrt(mask.sum() / mask.numel())
        weight: torch.Tensor = mask * self.weight * scale
        return weight


class PlainNetwork(nn.Module):
    """A network of the published loop."""

    def __init__(self, graph: NetworkGraph, prune_ratio: float, lock_ratio: float) -> None:
        super().__init__()
        self.graph = graph
        self.layers = nn.ModuleDict()
        self.norms = nn.ModuleDict()
        for node in graph.nodes:
            if node.kind in PARAMETRIC_KINDS:
                self.layers[_key(node)] = PlainLayer(graph.weight_shape(node), prune_ratio, lock_ratio)
            elif node.kind == "norm":
                self.norms[_key(node)] = nn.BatchNorm2d(node.out_shape[0], affine=False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return class scores."""
        return run_graph(
            self.graph,
            images,
            lambda node, x: apply_weight(node, x, self.layers[_key(node)]()),
            lambda node, x: self.norms[_key(node)](x),
        )

    def set_thresholds(self, sparsity: float, scope: str) -> None:
        """Sort all scores for the threshold."""
        layers = [layer for layer in self.layers.values() if isinstance(layer, PlainLayer)]
        ranks = [layer.ranks().flatten() for layer in layers]
        if scope == "network":
            ranks = [torch.cat(ranks)]
        found = [_kth(rank, sparsity) for rank in ranks]
        for index, layer in enumerate(layers):
            layer.threshold = found[index if scope == "layer" else 0]


def _key(node: GraphNode) -> str:
    return node.name.replace(".", "/")


def _kth(rank: torch.Tensor, sparsity: float) -> torch.Tensor:
    """Return the k-th smallest, k the whole part of sparsity x number."""
    k = int(rank.numel() * torch.tensor(sparsity))
    return rank.sort().values[k - 1] if k else torch.tensor(-1.0)


def search_theirs(settings: argparse.Namespace, network: str, seed: int, data: SearchData) -> Outcome:
    """Search with the published loop; the accuracy is that of the network after the last epoch."""
    torch.manual_seed(seed)
    graph = searched_graph(SearchConfig(network=network, width_factor=settings.width_factor), data)
    model = PlainNetwork(graph, settings.prune_ratio, settings.lock_ratio)
    optimizer = torch.optim.SGD(
        model.parameters(), lr=LEARNING_RATE, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY.get(network, 1e-4)
    )
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, settings.num_epochs)
    model.set_thresholds(settings.sparsity, settings.scope)
    begin = time.process_time()
    for epoch in range(settings.num_epochs):
        model.train()
        for batch in data.train_batches(BATCH_SIZE, SearchConfig().max_shift, (seed, epoch)):
            optimizer.zero_grad()
            loss = functional.cross_entropy(model(batch.inputs), batch.labels)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            model.set_thresholds(settings.sparsity, settings.scope)
        scheduler.step()
    epoch_s = (time.process_time() - begin) / settings.num_epochs
    model.eval()
    with torch.no_grad():
        return Outcome(_accuracy(model, data.test_batches()), epoch_s)


def _accuracy(model: nn.Module, batches: Iterator[Batch]) -> float:
    right = [(model(batch.inputs).argmax(dim=-1) == batch.labels) for batch in batches]
    return float(torch.cat(right).float().mean())


def search_ours(settings: argparse.Namespace, network: str, seed: int, data: SearchData) -> Outcome:
    """Search with accelsim's defaults; the accuracy is that of the ticket as stored, and making it is in the time."""
    config = SearchConfig(
        network=network,
        width_factor=settings.width_factor,
        sparsity=settings.sparsity,
        prune_ratio=settings.prune_ratio,
        lock_ratio=settings.lock_ratio,
        num_epochs=settings.num_epochs,
        seed=seed,
    )
    state = start_search(config, data)
    begin = time.process_time()
    for epoch in range(config.num_epochs):
        for _ in epoch_steps(state, epoch):
            pass
    calibrate(state)
    epoch_s = (time.process_time() - begin) / config.num_epochs
    return Outcome(evaluate(export_ticket(state.network, config.codec), data).accuracy, epoch_s)


SIDES = {"theirs": search_theirs, "ours": search_ours}


def main() -> None:
    """Print one line per search and one per side and network."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", nargs="+", default=["conv6"], choices=sorted(WEIGHT_DECAY))
    parser.add_argument("--width-factor", type=float, default=1.0)
    parser.add_argument("--num-epochs", type=int, default=2)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--sparsity", type=float, default=0.7)
    parser.add_argument("--prune-ratio", type=float, default=0.35)
    parser.add_argument("--lock-ratio", type=float, default=0.15)
    parser.add_argument("--scope", choices=["layer", "network"], default="layer", help="threshold of the other side")
    parser.add_argument("--measured-on", choices=["test", "validation"], default="test")
    parser.add_argument("--only", choices=sorted(SIDES))
    settings = parser.parse_args()
    torch.set_num_threads(1)
    data = load_data("digits", settings.measured_on)
    print(
        f"{settings.num_epochs} epochs, width {settings.width_factor}, sparsity {settings.sparsity}, "
        f"{settings.prune_ratio} pruned and {settings.lock_ratio} locked, one thread, {settings.measured_on} part of "
        f"{data.title}"
    )
    for network in settings.network:
        for side in [settings.only] if settings.only else SIDES:
            outcomes = []
            for seed in settings.seeds:
                outcomes.append(SIDES[side](settings, network, seed, data))
                print(f"  {network} {side} seed {seed}: {100 * outcomes[-1].accuracy:.2f} %", flush=True)
            accuracy = 100 * mean(outcome.accuracy for outcome in outcomes)
            epoch_s = mean(outcome.epoch_s for outcome in outcomes)
            print(f"{network} {side}: mean {accuracy:.2f} %, {epoch_s:.1f} CPU s per epoch", flush=True)


if __name__ == "__main__":
    main()
