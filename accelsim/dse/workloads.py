"""The workloads of a space: real tickets where one has the wanted ratios, synthetic statistics where none has.

Tickets of the same network are one workload if ticket parameters vary: a point picks the ticket whose ratios are within
`RATIO_TOLERANCE` of the wanted ones; ratios that no ticket has are served by a trace with these statistics and the
provenance ``synthetic``.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from accelsim.config.presets import TICKETS, preset_file
from accelsim.dse.space import RUN_PARAMETERS
from accelsim.errors import TraceError
from accelsim.prng.source import GeneratorKind, SeedPolicy, StreamGranularity
from accelsim.prng.streams import check_source
from accelsim.results.build import workload_record
from accelsim.storage.default import default_format
from accelsim.storage.stand_in import has_ticket
from accelsim.ticket.file import read_ticket
from accelsim.ticket.graph import NetworkGraph
from accelsim.ticket.torchfile import check_regular_file
from accelsim.ticket.zoo import is_network
from accelsim.trace import trace_graph, trace_run, trace_workload
from accelsim.trace.from_graph import covered_shapes
from accelsim.trace.model import LayerTrace, LayerWeights
from accelsim.trace.options import TraceOptions, stated_weights

RATIO_TOLERANCE = 0.01
DEFAULT_SPARSITY = 0.5
TICKET_STORAGE = "slt"
DENSE_STORAGE = "dense-int8"
EXPORTED_SUFFIXES = (".pt2", ".onnx")

NOTHING_STATED = TraceOptions()
WorkloadKind = Literal["ticket", "file", "network"]


@dataclass(frozen=True, slots=True)
class WorkloadSpec:
    """What a worker needs to build a trace; its identity is part of a point's content address.

    Attributes
    ----------
    path
        A file, or the name of a network.
    label
        As given: the name of a ticket that came with the program stands for its file.
    sha256
        Of the file; "" for a name.
    options
        Stated statistics; of a ticket file they mean that only its network is taken.
    stream, seeds
        Streams of a synthetic ticket; None takes one per filter, derived.
    """

    kind: WorkloadKind
    path: str
    label: str
    sha256: str
    options: TraceOptions = NOTHING_STATED
    stream: StreamGranularity | None = None
    seeds: SeedPolicy | None = None

    @property
    def is_synthetic(self) -> bool:
        """Return whether statistics stand in for a ticket."""
        return self.options.is_synthetic

    def identity(self) -> dict[str, Any]:
        """Return what the trace depends on: content, not place."""
        return {
            "kind": self.kind,
            "content": self.sha256 or self.path,
            "options": asdict(self.options),
            "streams": [self.stream, self.seeds],
        }


class PlaceError(TraceError):
    """A point cannot be evaluated where it was tried; elsewhere, or later, it can."""


@lru_cache(maxsize=64)
def load_trace(spec: WorkloadSpec) -> LayerTrace:
    """Return the trace of a workload; the last few are kept.

    Raises
    ------
    AccelSimError
        The file is missing, broken, or no longer the one that was asked for.
    """
    if spec.sha256 and file_sha256(spec.path) != spec.sha256:
        raise PlaceError(f"{spec.path}: has changed since the run began; start it again")
    if spec.kind == "ticket" and not spec.options.says_only_run:
        ticket = read_ticket(spec.path)
        trace = trace_graph(ticket.graph, _stated(ticket.graph, spec.options), provenance="synthetic")
        # What was measured of the network's activations is nearer to any of its tickets than an assumption.
        densities = {layer.name: layer.input_density for layer in ticket.layers}
        layers = tuple(
            layer if (density := densities.get(layer.name)) is None
            else replace(layer, input_density=density, input_density_measured=True)
            for layer in trace.layers
        )  # fmt: skip
        trace = replace(trace, layers=layers, path=spec.path, sha256=spec.sha256)
        return trace_run(ticket.graph, trace, spec.options, spec.path)
    return trace_workload(spec.path, spec.options)


def _stated(graph: NetworkGraph, options: TraceOptions) -> dict[str, LayerWeights]:
    shapes = covered_shapes(graph)
    return dict(zip(shapes, stated_weights(list(shapes.values()), options), strict=True))


@lru_cache(maxsize=64)
def trace_for(spec: WorkloadSpec, generator: GeneratorKind | None) -> LayerTrace:
    """Return the trace of a workload on a chip: the weights of a synthetic ticket come from the chip's generator.

    Raises
    ------
    AccelSimError
        As `load_trace`; no such generator can follow these streams and seeds.
    """
    trace = load_trace(spec)
    if not spec.is_synthetic:
        return trace
    layers = []
    for layer in trace.layers:
        weights = layer.weights
        if weights is not None and weights.source is not None:
            source = replace(
                weights.source,
                generator=generator or weights.source.generator,
                stream=spec.stream or weights.source.stream,
                seeds=spec.seeds or weights.source.seeds,
            )
            check_source(source)
            layer = replace(layer, weights=replace(weights, source=source))  # noqa: PLW2901
        layers.append(layer)
    return replace(trace, layers=tuple(layers))


def file_sha256(path: str) -> str:
    """Return the digest of a file; `PlaceError` if it cannot be read."""
    try:
        with open(path, "rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise PlaceError(f"{path}: cannot be read ({error.strerror}); every worker needs the file there") from None


@dataclass(frozen=True, slots=True)
class Member:
    """One given workload with the ratios its network really has."""

    spec: WorkloadSpec
    network: str
    is_ticket: bool
    sparsity: float
    prune_ratio: float
    lock_ratio: float


@dataclass(frozen=True, slots=True)
class Workload:
    """One axis value: a given workload, or the tickets of one network."""

    label: str
    members: tuple[Member, ...]

    def choose(self, wanted: Mapping[str, Any]) -> WorkloadSpec:
        """Return the workload with the wanted ticket parameters: a real ticket where one has them.

        Parameters
        ----------
        wanted
            Ticket parameters and those of a run by name; without the former the given workload is taken as it is.
            ``freeze_ratio`` F splits into p = F k and r = F (1 - k), which leaves the free weights as dense as the
            network.

        Raises
        ------
        TraceError
            Impossible ratios.
        """
        spec = self._choose({name: value for name, value in wanted.items() if name not in RUN_PARAMETERS})
        of_run = {name: value for name, value in wanted.items() if name in RUN_PARAMETERS}
        if not of_run:
            return spec
        options = replace(spec.options, **of_run)
        options.check()
        return replace(spec, options=options)

    def _choose(self, wanted: Mapping[str, Any]) -> WorkloadSpec:
        first = self.members[0]
        if not wanted:
            return first.spec
        sparsity = float(wanted.get("sparsity", first.sparsity if first.is_ticket else DEFAULT_SPARSITY))
        freeze = wanted.get("freeze_ratio")
        if freeze is not None:
            prune, lock = float(freeze) * sparsity, float(freeze) * (1.0 - sparsity)
        else:
            prune = float(wanted.get("prune_ratio", first.prune_ratio))
            lock = float(wanted.get("lock_ratio", first.lock_ratio))
        if not {"distribution", "stream", "seeds"} & set(wanted):
            for member in self.members:
                if member.is_ticket and _is_near(member, sparsity, prune, lock, freeze is not None):
                    return member.spec
        distribution = wanted.get("distribution", first.spec.options.distribution)
        options = replace(
            first.spec.options,
            sparsity=round(sparsity, 9),
            prune_ratio=round(prune, 9),
            lock_ratio=round(lock, 9),
            distribution=distribution,
        )
        options.check()
        return replace(first.spec, options=options, stream=wanted.get("stream"), seeds=wanted.get("seeds"))


def _is_near(member: Member, sparsity: float, prune: float, lock: float, only_sum: bool) -> bool:
    if abs(member.sparsity - sparsity) > RATIO_TOLERANCE:
        return False
    if only_sum:
        return abs(member.prune_ratio + member.lock_ratio - prune - lock) <= RATIO_TOLERANCE
    return abs(member.prune_ratio - prune) <= RATIO_TOLERANCE and abs(member.lock_ratio - lock) <= RATIO_TOLERANCE


def read_workloads(
    paths: tuple[str, ...], varies_ticket: bool, options: TraceOptions = NOTHING_STATED
) -> tuple[Workload, ...]:
    """Return the workloads of a space, read once to learn their ratios; ``options`` are stated of each of them.

    Raises
    ------
    AccelSimError
        What is wrong with a file or a name.
    """
    members = [(path, _member(path, options)) for path in paths]
    if not varies_ticket:
        return tuple(Workload(path, (member,)) for path, member in members)
    groups: dict[str, list[tuple[str, Member]]] = {}
    for path, member in members:
        groups.setdefault(member.network, []).append((path, member))
    workloads = []
    for group in groups.values():
        tickets = [member for _, member in group if member.is_ticket]
        plain = [member for _, member in group if not member.is_ticket]
        label = group[0][0] if len(group) == 1 else group[0][1].network
        workloads.append(Workload(label, tuple(tickets + plain)))
    return tuple(workloads)


def _member(path: str, options: TraceOptions) -> Member:
    kind: WorkloadKind = "network"
    file = path if os.path.isfile(path) or is_network(path) else preset_file(path, TICKETS)
    if os.path.exists(file) and not (os.path.isdir(file) and is_network(file)):
        check_regular_file(file)
        kind = "ticket" if _is_ticket(file) else "file"
    spec = WorkloadSpec(kind, file, path, file_sha256(file) if kind != "network" else "", options)
    trace = load_trace(spec)
    record = workload_record(trace)
    is_ticket = record.provenance in ("searched", "imported", "synthetic")
    return Member(spec, trace.name, is_ticket, record.sparsity, record.prune_ratio, record.lock_ratio)


def _is_ticket(path: str) -> bool:
    if Path(path).suffix.lower() in EXPORTED_SUFFIXES:  # archives too
        return False
    with open(path, "rb") as stream:
        return stream.read(4) == b"PK\x03\x04"


def holds_ticket(trace: LayerTrace) -> bool:
    """Return whether a network is a ticket, real or synthetic: formats that store none then hold stand-ins."""
    return any(layer.weights is not None and has_ticket(layer.weights) for layer in trace.layers)


def default_storage(spec: WorkloadSpec) -> str:
    """Return the format of a workload unless one is given: its ticket, or what its trained weights allow."""
    if spec.kind == "ticket" and spec.options.says_only_run:
        return default_format(load_trace(spec))
    return TICKET_STORAGE if spec.kind == "ticket" or spec.is_synthetic else DENSE_STORAGE
