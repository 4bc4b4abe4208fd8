"""The search behind ``accelsim search``: from a configuration to a ticket."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from rich.console import Console
from rich.progress import Progress
from torch.nn import functional

from accelsim.errors import ConfigError
from accelsim.prng import RandomSource, check_source, layer_ratios, layer_seed, thresholds
from accelsim.slt.checkpoint import SearchState, read_checkpoint, write_checkpoint
from accelsim.slt.config import SearchConfig
from accelsim.slt.data import DATASET_NAME, INPUT_SHAPE, NUM_CLASSES, Digits, epoch_order, load_digits, shift_images
from accelsim.slt.export import evaluate_images, export_ticket, with_evaluation
from accelsim.slt.network import SearchNetwork, with_sign_activations
from accelsim.ticket.graph import PARAMETRIC_KINDS, NetworkGraph
from accelsim.ticket.model import Ticket
from accelsim.ticket.zoo import build_network

_CALIBRATION_BATCH = 250
_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
# What may differ between a search and its resumption: where files go.
_PLACES = {"output_path", "checkpoint_path"}


@dataclass(slots=True)
class Search:
    """A search under way: the network, the optimiser, and how many epochs are behind."""

    config: SearchConfig
    network: SearchNetwork
    optimizer: torch.optim.SGD
    num_epochs_done: int = 0


def search(
    config: SearchConfig,
    *,
    resume: bool = False,
    command: str | None = None,
    digits: Digits | None = None,
    console: Console | None = None,
) -> Ticket:
    """Search a ticket, measure it as stored, write it to ``config.output_path`` and return it.

    Parameters
    ----------
    config
        What to search.
    resume
        Go on from ``config.checkpoint_path``.
    command
        Recorded in the ticket; None records ``config.command()``.
    digits
        Other images than `load_digits` gives.
    console
        Where progress goes; None is standard error.

    Raises
    ------
    ConfigError
        Settings that no search can follow, or a checkpoint of other settings.
    TicketError
        An unknown network, one that cannot be searched, or a file that cannot be read or written.
    """
    console = console or Console(stderr=True)
    if resume and config.checkpoint_path is None:
        raise ConfigError("search: resume: needs checkpoint_path; give the file that the interrupted search wrote")
    state = start_search(config)
    if resume and config.checkpoint_path is not None:
        restore(state, read_checkpoint(config.checkpoint_path), config.checkpoint_path)
    digits = digits or load_digits()
    run_epochs(state, digits, console)
    calibrate(state.network, digits.train_images)
    ticket = export_ticket(state.network, config.codec)
    ticket = with_evaluation(ticket, evaluate_images(ticket, digits.test_images, digits.test_labels))
    ticket = replace(ticket, dataset=DATASET_NAME, command=command or config.command())
    console.print(f"test accuracy of the ticket as stored: {ticket.accuracy:.4f}")
    if config.output_path is not None:
        from accelsim.ticket.file import write_ticket  # noqa: PLC0415

        write_ticket(config.output_path, ticket)
    return ticket


def evaluate_ticket(ticket: Ticket) -> float:
    """Return the fraction of the 1,000 test digits that a ticket, as stored and in float32, classifies right."""
    digits = load_digits()
    return evaluate_images(ticket, digits.test_images, digits.test_labels).accuracy


def start_search(config: SearchConfig) -> Search:
    """Return the search before its first epoch."""
    graph = build_network(
        config.network, num_classes=NUM_CLASSES, input_shape=INPUT_SHAPE, width_factor=config.width_factor
    )
    if config.activations == "sign":
        graph = with_sign_activations(graph)
    rng = np.random.default_rng((config.seed, 0))
    network = SearchNetwork(graph, random_sources(config, graph), rng, _DTYPES[config.precision])
    optimizer = torch.optim.SGD(
        network.parameters(),
        lr=config.learning_rate,
        momentum=config.momentum,
        weight_decay=config.weight_decay,
    )
    return Search(config, network, optimizer)


def random_sources(config: SearchConfig, graph: NetworkGraph) -> dict[str, RandomSource]:
    """Return the random source of each weighted node: its seed, streams, and thresholds of its share of p and r."""
    nodes = [node for node in graph.nodes if node.kind in PARAMETRIC_KINDS]
    shapes = [graph.weight_shape(node) for node in nodes]
    ratios = layer_ratios(shapes, config.prune_ratio, config.lock_ratio, config.distribution)
    sources = {}
    for index, (node, ratio) in enumerate(zip(nodes, ratios, strict=True)):
        prune_threshold, lock_threshold = thresholds(ratio.prune_ratio, ratio.lock_ratio, config.threshold_bits)
        source = RandomSource(
            generator=config.generator,
            seed=layer_seed(config.seed, index),
            stream=config.stream,
            seeds=config.seeds,
            weights=config.weights,
            weight_bits=config.weight_bits,
            normal_terms=config.normal_terms if config.weights == "normal" else 1,
            threshold_bits=config.threshold_bits,
            prune_threshold=prune_threshold,
            lock_threshold=lock_threshold,
            tile_filters=config.tile_filters,
        )
        check_source(source)
        sources[node.name] = source
    return sources


def run_epochs(state: Search, digits: Digits, console: Console) -> None:
    """Search until all epochs are done; a checkpoint follows each, so an interrupt loses at most the running one."""
    config = state.config
    images = digits.train_images
    num_batches = math.ceil(len(images) / config.batch_size)
    first = state.num_epochs_done
    try:
        with Progress(console=console, transient=True) as progress:
            task = progress.add_task(config.network, total=(config.num_epochs - first) * num_batches)
            for epoch in range(first, config.num_epochs):
                begin = time.monotonic()
                total_loss = 0.0
                for loss in epoch_steps(state, digits, epoch):
                    total_loss += loss / num_batches
                    progress.advance(task)
                state.num_epochs_done = epoch + 1
                _save(state)
                accuracy = measure(state, digits.test_images, digits.test_labels)
                console.print(
                    f"epoch {epoch + 1}/{config.num_epochs}  loss {total_loss:.4f}  test accuracy {accuracy:.4f}  "
                    f"{time.monotonic() - begin:.1f} s"
                )
    except KeyboardInterrupt:
        hint = f"; go on with --resume --checkpoint-path {config.checkpoint_path}" if config.checkpoint_path else ""
        console.print(f"interrupted after {state.num_epochs_done} of {config.num_epochs} epochs{hint}")
        raise


def epoch_steps(state: Search, digits: Digits, epoch: int) -> Iterator[float]:
    """Do one epoch, a step at a time, and yield the loss of each."""
    config = state.config
    order = epoch_order(len(digits.train_images), config.seed, epoch)
    rng = np.random.default_rng((config.seed, epoch, 1))
    batches = torch.split(order, config.batch_size)
    state.network.train()
    for step, batch in enumerate(batches):
        progress = (epoch + step / len(batches)) / config.num_epochs
        for group in state.optimizer.param_groups:
            group["lr"] = config.learning_rate * 0.5 * (1.0 + math.cos(math.pi * progress))
        refresh(state)
        images = shift_images(digits.train_images[batch], config.max_shift, rng)
        state.optimizer.zero_grad()
        loss = functional.cross_entropy(_forward(state, images), digits.train_labels[batch])
        loss.backward()  # type: ignore[no-untyped-call]
        state.optimizer.step()
        yield loss.item()
    refresh(state)


def refresh(state: Search) -> None:
    """Bring masks and scales up to date with the scores."""
    state.network.update_masks(state.config.sparsity, state.config.threshold_scope)
    state.network.update_scales(state.config.scaling, state.config.sparsity)


def measure(state: Search, images: torch.Tensor, labels: torch.Tensor) -> float:
    """Return the accuracy of the network under search, in the precision of the search."""
    state.network.eval()
    num_right = 0
    with torch.no_grad():
        for start in range(0, len(images), _CALIBRATION_BATCH):
            scores = _forward(state, images[start : start + _CALIBRATION_BATCH])
            num_right += int((scores.argmax(dim=1) == labels[start : start + _CALIBRATION_BATCH]).sum())
    return num_right / len(images)


def calibrate(network: SearchNetwork, images: torch.Tensor) -> None:
    """Measure the statistics of the normalisations anew, with the final mask in float32, over all training images.

    The running statistics of the search lag behind the last masks and come from its lower precision.
    """
    for layer in network.layers().values():
        layer.free_values = layer.free_values.float()
        layer.locked_values = layer.locked_values.float()
    for norm in network.norms().values():
        norm.reset_running_stats()
        norm.momentum = None  # a plain average over batches
    network.train()
    with torch.no_grad():
        for part in torch.split(images, _CALIBRATION_BATCH):
            network(part)
    network.eval()


def snapshot(state: Search) -> SearchState:
    """Return what a checkpoint holds."""
    layers = state.network.layers()
    momenta = {}
    for name, layer in layers.items():
        buffer = state.optimizer.state[layer.scores].get("momentum_buffer")
        momenta[name] = torch.empty(0) if buffer is None else buffer
    norms = state.network.norms()
    return SearchState(
        settings=_settings(state.config),
        num_epochs_done=state.num_epochs_done,
        scores={name: layer.scores.detach() for name, layer in layers.items()},
        momenta=momenta,
        running_mean={name: _tensor(norm.running_mean) for name, norm in norms.items()},
        running_var={name: _tensor(norm.running_var) for name, norm in norms.items()},
    )


def restore(state: Search, saved: SearchState, path: str) -> None:
    """Put a checkpoint back into a search that was started with the same settings."""
    if saved.settings != _settings(state.config):
        raise ConfigError(
            f"{path}: checkpoint was made with other settings: {saved.settings}; use those, or a new file"
        )
    with torch.no_grad():
        for name, layer in state.network.layers().items():
            _copy(layer.scores, saved.scores.get(name), f"{path}: scores of {name}")
            momentum = saved.momenta.get(name)
            if momentum is not None and momentum.numel():
                buffer = torch.empty_like(layer.scores)
                _copy(buffer, momentum, f"{path}: momentum of {name}")
                state.optimizer.state[layer.scores]["momentum_buffer"] = buffer
        for name, norm in state.network.norms().items():
            _copy(_tensor(norm.running_mean), saved.running_mean.get(name), f"{path}: running mean of {name}")
            _copy(_tensor(norm.running_var), saved.running_var.get(name), f"{path}: running variance of {name}")
    state.num_epochs_done = saved.num_epochs_done
    refresh(state)


def _copy(target: torch.Tensor, value: torch.Tensor | None, where: str) -> None:
    if value is None or value.shape != target.shape:
        found = "missing" if value is None else f"of shape {tuple(value.shape)}"
        raise ConfigError(f"{where}: {found}, not of shape {tuple(target.shape)}; start the search without --resume")
    target.copy_(value)


def _tensor(value: torch.Tensor | None) -> torch.Tensor:
    assert value is not None  # batch norms of a search track their statistics
    return value


def _settings(config: SearchConfig) -> str:
    return config.model_dump_json(exclude=_PLACES, exclude_defaults=True)


def _save(state: Search) -> None:
    if state.config.checkpoint_path is not None:
        write_checkpoint(state.config.checkpoint_path, snapshot(state))


def _forward(state: Search, images: torch.Tensor) -> torch.Tensor:
    """Return float32 class scores; channels last is what the low-precision convolutions are fast with."""
    low = state.config.precision == "bfloat16"
    with torch.autocast("cpu", torch.bfloat16, enabled=low):
        out: torch.Tensor = state.network(images.contiguous(memory_format=torch.channels_last))
    return out.float()
