"""The search behind ``accelsim search``: from a configuration to a ticket."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import Progress
from torch import nn
from torch.nn import functional

from accelsim.config.explain import show_value
from accelsim.errors import ConfigError, TicketError
from accelsim.prng import RandomSource, check_source, layer_ratios, layer_seed, thresholds
from accelsim.slt.batch import Batch, SearchData
from accelsim.slt.checkpoint import SearchState, read_checkpoint, write_checkpoint
from accelsim.slt.config import OptimizerName, SearchConfig
from accelsim.slt.data import BlockGraph, dataset_of, load_data
from accelsim.slt.decoder import layer_gains
from accelsim.slt.dense import evaluate_dense, export_dense
from accelsim.slt.export import evaluate, export_ticket, with_evaluation
from accelsim.slt.network import SearchNetwork, with_sign_activations
from accelsim.slt.score import Score, score
from accelsim.ticket.file import write_ticket
from accelsim.ticket.graph import PARAMETRIC_KINDS, NetworkGraph
from accelsim.ticket.model import Ticket
from accelsim.ticket.zoo import build_network, list_networks

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
# What may differ between a search and its resumption: where files go.
_PLACES = {"output_path", "checkpoint_path"}


# What the optimisers of torch call the first and the second moment of a parameter; plain descent has no second one.
_MOMENTS = {"sgd": ("momentum_buffer", ""), "adam": ("exp_avg", "exp_avg_sq")}


@dataclass(slots=True)
class Search:
    """A search under way: the network, the optimiser, and how many epochs are behind."""

    config: SearchConfig
    data: SearchData
    network: SearchNetwork
    optimizer: torch.optim.Optimizer
    learning_rate: float
    num_epochs_done: int = 0


def search(
    config: SearchConfig,
    *,
    resume: bool = False,
    command: str | None = None,
    data: SearchData | None = None,
    console: Console | None = None,
) -> Ticket:
    """Search a ticket, measure it as stored, write it to ``config.output_path`` and return it.

    Parameters
    ----------
    config
        What to search.
    resume
        Go on from ``config.checkpoint_place()``.
    command
        Recorded in the ticket; None records ``config.command()``.
    data
        Other data than ``config.dataset`` names.
    console
        Where progress goes; None is standard error.

    Raises
    ------
    ConfigError
        Settings that no search can follow, a checkpoint of other settings, or one that a new search would overwrite.
    TicketError
        An unknown network, one that cannot be searched, or a file that cannot be read or written.
    """
    console = console or Console(stderr=True)
    checkpoint = config.checkpoint_place()
    if resume and checkpoint is None:
        raise ConfigError("search: resume: needs checkpoint_path; give the file that the interrupted search wrote")
    if not resume and checkpoint is not None and Path(checkpoint).exists():
        raise ConfigError(
            f"{checkpoint}: is there already, perhaps the checkpoint of an interrupted search; "
            "go on from it with --resume, or remove the file"
        )
    saved = read_checkpoint(checkpoint) if resume and checkpoint is not None else None
    state = start_search(config, data or load_data(config.dataset, config.measured_on))
    if saved is not None:
        restore(state, saved, str(checkpoint))
    run_epochs(state, console)
    calibrate(state)
    if config.learned == "weights":
        ticket = with_evaluation(export_dense(state.network, state.data), evaluate_dense(state.network, state.data))
    else:
        ticket = export_ticket(state.network, config.codec)
        ticket = with_evaluation(ticket, evaluate(ticket, state.data))
    ticket = replace(ticket, dataset=state.data.title, command=command or config.command())
    console.print(f"as stored: {_shown(Score(ticket.accuracy or 0.0, ticket.bits_per_character))}")
    if config.output_path is not None:
        write_ticket(config.output_path, ticket)
        if config.checkpoint_path is None and checkpoint is not None:
            Path(checkpoint).unlink(missing_ok=True)
    return ticket


def evaluate_ticket(ticket: Ticket) -> float:
    """Return the fraction of the test part of its data that a ticket, as stored and in float32, classifies right.

    Raises
    ------
    TicketError
        The ticket takes none of the data sets.
    """
    data = load_data(dataset_of(ticket.graph) or "digits")
    taken, given = ticket.graph.nodes[0].out_shape, ticket.graph.nodes[-1].out_shape[-1]
    if (taken, given) != (data.input_shape, data.num_classes):
        raise TicketError(
            f"{ticket.graph.name}: takes {taken} and gives {given} classes, not {data.input_shape} and "
            f"{data.num_classes} as {data.title} does; evaluate a ticket that was searched on it"
        )
    return evaluate(ticket, data).accuracy


def start_search(config: SearchConfig, data: SearchData) -> Search:
    """Return the search before its first epoch; graph networks are searched in float32, whatever ``config`` says."""
    if isinstance(data, BlockGraph) and config.precision != "float32":
        config = config.model_copy(update={"precision": "float32"})  # torch sums neighbours in float32 alone
    graph = searched_graph(config, data)
    rng = np.random.default_rng((config.seed, 0))
    if config.learned == "weights" and not data.is_text:
        raise ConfigError("search: learned: weights: only decoders are trained here; use dataset kjv, or learned mask")
    network = SearchNetwork(
        graph,
        random_sources(config, graph) if config.learned == "mask" else None,
        rng,
        _DTYPES[config.precision],
        data.neighbours,
        config.score_rank,
        config.coats,
        _gains(config, graph) if data.is_text else None,
    )
    learning_rate = config.learning_rate or default_learning_rate(graph, config.optimizer)
    return Search(config, data, network, make_optimizer(network, config, learning_rate), learning_rate)


def _gains(config: SearchConfig, graph: NetworkGraph) -> dict[str, float]:
    """Return the gains of a decoder's layers; a trained one finds the size of its queries and keys itself."""
    return layer_gains(graph, config.query_key_scale if config.learned == "mask" else "none")


def make_optimizer(network: nn.Module, config: SearchConfig, learning_rate: float) -> torch.optim.Optimizer:
    """Return the optimiser of a network's parameters that ``config`` names."""
    parameters, decay = network.parameters(), config.weight_decay
    if config.optimizer == "adam":
        return torch.optim.AdamW(parameters, lr=learning_rate, betas=(config.momentum, 0.999), weight_decay=decay)
    return torch.optim.SGD(parameters, lr=learning_rate, momentum=config.momentum, weight_decay=decay)


def default_learning_rate(graph: NetworkGraph, optimizer: OptimizerName = "sgd") -> float:
    """Return where the learning rate starts if none is given: what was better in few epochs on validation digits.

    Four epochs, half of the weights frozen: with Conv6 0.1 got 97.3 % right and 0.4 96.5 %, with a ResNet-18 of half
    the width it was 93.3 % and 96.1 % (docs/search.md).
    """
    if optimizer == "adam":
        return 0.01
    return 0.4 if any(node.kind == "add" for node in graph.nodes) else 0.1


def searched_graph(config: SearchConfig, data: SearchData) -> NetworkGraph:
    """Return the network of the zoo with the input, classes and edges of the data.

    Raises
    ------
    ConfigError
        A network that does not take this kind of data.
    TicketError
        A network that the zoo does not know.
    """
    known = {info.name for info in list_networks()}
    wanted = dataset_of(build_network(config.network)) if config.network in known else None
    if wanted is not None and wanted != config.dataset:
        raise ConfigError(f"search: dataset: {config.dataset}: {config.network} does not take it; use dataset {wanted}")
    graph = build_network(
        config.network, num_classes=data.num_classes, input_shape=data.input_shape, width_factor=config.width_factor
    )
    if config.activations == "sign":
        graph = with_sign_activations(graph)
    if isinstance(data, BlockGraph):
        nodes = (replace(node, num_edges=data.num_edges) if node.num_edges else node for node in graph.nodes)
        graph = replace(graph, nodes=tuple(nodes))
    return graph


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


def run_epochs(state: Search, console: Console) -> None:
    """Search until all epochs are done; a checkpoint follows each, so an interrupt loses at most the running one."""
    config = state.config
    try:
        with Progress(console=console, transient=True) as progress:
            task = progress.add_task(config.network, total=config.num_epochs, completed=state.num_epochs_done)
            for epoch in range(state.num_epochs_done, config.num_epochs):
                begin = time.monotonic()
                losses = []
                for place, loss in epoch_steps(state, epoch):
                    losses.append(loss)
                    progress.update(task, completed=place)
                state.num_epochs_done = epoch + 1
                _save(state)
                console.print(
                    f"epoch {epoch + 1}/{config.num_epochs}  loss {sum(losses) / len(losses):.4f}  "
                    f"{_shown(measure(state))}  {time.monotonic() - begin:.1f} s"
                )
    except KeyboardInterrupt:
        console.print(_interrupted(state))
        raise


def _shown(score: Score) -> str:
    """Return a score for people."""
    bits = "" if score.bits_per_character is None else f", {score.bits_per_character:.4f} bits per character"
    return f"test accuracy {score.accuracy:.4f}{bits}"


def _interrupted(state: Search) -> str:
    """Return what an interrupted search has, and how to go on."""
    checkpoint = state.config.checkpoint_place()
    done = f"interrupted after {state.num_epochs_done} of {state.config.num_epochs} epochs"
    if not state.num_epochs_done or checkpoint is None or not Path(checkpoint).exists():
        return f"{done}: nothing saved yet; start again without --resume"
    return f"{done} ({checkpoint} holds them); repeat the command with --resume to go on"


def epoch_steps(state: Search, epoch: int) -> Iterator[tuple[float, float]]:
    """Do one epoch, a step at a time; yield after each how many epochs are behind, in fractions, and the loss."""
    config = state.config
    state.network.train()
    num_batches = state.data.num_batches(config.batch_size)
    batches = state.data.train_batches(config.batch_size, config.max_shift, (config.seed, epoch))
    for step, batch in enumerate(batches):
        progress = (epoch + step / num_batches) / config.num_epochs
        for group in state.optimizer.param_groups:
            group["lr"] = state.learning_rate * 0.5 * (1.0 + math.cos(math.pi * progress))
        refresh(state)
        state.optimizer.zero_grad()
        loss = functional.cross_entropy(_forward(state, batch), batch.labels)
        loss.backward()  # type: ignore[no-untyped-call]
        state.optimizer.step()
        yield epoch + (step + 1) / num_batches, loss.item()
    refresh(state)


def refresh(state: Search) -> None:
    """Bring masks and scales up to date with the scores."""
    state.network.update_masks(state.config.sparsity, state.config.threshold_scope)
    state.network.update_scales(state.config.scaling, state.config.sparsity)


def measure(state: Search) -> Score:
    """Return how good the network under search is on the test data, in the precision of the search."""
    state.network.eval()
    with torch.no_grad():
        return score(state.data, lambda batch: _forward(state, batch))


def calibrate(state: Search) -> None:
    """Measure the statistics of the normalisations anew, with the final mask in float32, over all training data.

    The running statistics of the search lag behind the last masks and come from its lower precision.
    """
    network = state.network
    if not network.norms():
        return
    for layer in network.layers().values():
        layer.free_values = layer.free_values.float()
        layer.locked_values = layer.locked_values.float()
    for norm in network.norms().values():
        norm.reset_running_stats()
        norm.momentum = None  # a plain average over batches
    network.train()
    with torch.no_grad():
        for batch in state.data.calibration_batches():
            network(batch.inputs)
    network.eval()


def snapshot(state: Search) -> SearchState:
    """Return what a checkpoint holds."""
    layers = state.network.layers() or state.network.trained_layers()
    kept = {name: state.optimizer.state[layer.scores] for name, layer in layers.items()}
    momentum, square = _MOMENTS[state.config.optimizer]
    norms = state.network.norms()
    return SearchState(
        settings=_settings(state.config),
        num_epochs_done=state.num_epochs_done,
        num_steps=max((int(values.get("step", 0)) for values in kept.values()), default=0),
        scores={name: layer.scores.detach() for name, layer in layers.items()},
        momenta={name: values.get(momentum, torch.empty(0)) for name, values in kept.items()},
        squares={name: values.get(square, torch.empty(0)) for name, values in kept.items()},
        running_mean={name: _tensor(norm.running_mean) for name, norm in norms.items()},
        running_var={name: _tensor(norm.running_var) for name, norm in norms.items()},
    )


def restore(state: Search, saved: SearchState, path: str) -> None:
    """Put a checkpoint back into a search that was started with the same settings."""
    if saved.settings != _settings(state.config):
        raise ConfigError(
            f"{path}: checkpoint was made with other settings: {_differences(saved.settings, state.config)}; "
            "use those, or remove the file and start without --resume"
        )
    with torch.no_grad():
        layers = state.network.layers() or state.network.trained_layers()
        for name, layer in layers.items():
            _copy(layer.scores, saved.scores.get(name), f"{path}: scores of {name}")
            for key, table in zip(_MOMENTS[state.config.optimizer], (saved.momenta, saved.squares), strict=True):
                moment = table.get(name)
                if moment is not None and moment.numel():
                    buffer = torch.empty_like(layer.scores)
                    _copy(buffer, moment, f"{path}: momentum of {name}")
                    state.optimizer.state[layer.scores][key] = buffer
            if saved.num_steps:
                state.optimizer.state[layer.scores]["step"] = torch.tensor(float(saved.num_steps))
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


def _differences(saved: str, config: SearchConfig) -> str:
    """Return the settings of a checkpoint that are not those of ``config``: ``seed 1, not 9``."""
    try:
        theirs = json.loads(saved)
    except (ValueError, RecursionError):
        theirs = None
    if not isinstance(theirs, dict):
        return "unreadable ones"
    fields = {name: field.default for name, field in SearchConfig.model_fields.items() if name not in _PLACES}
    pairs = [(name, theirs.get(name, default), getattr(config, name)) for name, default in fields.items()]
    found = [f"{name} {show_value(there)}, not {show_value(here)}" for name, there, here in pairs if there != here]
    unknown = [f"{show_value(name)}, unknown here" for name in theirs if name not in fields]
    return ", ".join(found + unknown)


def _save(state: Search) -> None:
    place = state.config.checkpoint_place()
    if place is not None:
        write_checkpoint(place, snapshot(state))


def _forward(state: Search, batch: Batch) -> torch.Tensor:
    """Return float32 scores of the labelled rows; channels last is what low-precision convolutions are fast with.

    A decoder computes in low precision throughout: going back and forth at each norm and softmax takes a third longer.
    """
    inputs, is_low = batch.inputs, state.config.precision == "bfloat16"
    if inputs.ndim == 4:
        inputs = inputs.contiguous(memory_format=torch.channels_last)
    elif state.data.is_text and is_low:
        inputs = inputs.bfloat16()
    with torch.autocast("cpu", torch.bfloat16, enabled=is_low and not state.data.is_text):
        output: torch.Tensor = state.network(inputs)
    return batch.scores(output).float()
