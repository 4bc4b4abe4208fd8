"""Layer traces, and where they come from: a ticket, a network by name, a topology table, a module."""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from pathlib import Path

from accelsim.config.presets import TICKETS, find_preset, other_kind_words, preset_names, suggest_preset
from accelsim.errors import TicketError, TraceError
from accelsim.kinds import other_kind
from accelsim.names import suggest
from accelsim.ticket.file import read_ticket
from accelsim.ticket.graph import NetworkGraph
from accelsim.ticket.model import Ticket
from accelsim.ticket.torchfile import check_regular_file
from accelsim.ticket.zoo import build_network, is_network
from accelsim.ticket.zoo.decoders import decoder_shape, is_decoder
from accelsim.trace.batch import with_batch
from accelsim.trace.from_graph import covered_shapes, trace_graph, trace_ticket
from accelsim.trace.model import LayerTrace, LayerWeights, LoopDims, TraceLayer
from accelsim.trace.model_config import read_model_config
from accelsim.trace.options import PHASE_OPTIONS, TraceOptions, refuse_phase, stated_weights, with_statistics

__all__ = [
    "LayerTrace",
    "LayerWeights",
    "LoopDims",
    "TraceLayer",
    "TraceOptions",
    "trace_graph",
    "trace_network",
    "trace_run",
    "trace_ticket",
    "trace_workload",
    "with_batch",
    "with_statistics",
]

_ZIP_MAGIC = b"PK\x03\x04"
_MAX_EXPORTED_BYTES = 1 << 40


def trace_workload(path: str, options: TraceOptions | None = None) -> LayerTrace:
    """Return the trace of what a user names: a ticket, a topology table, an exported module, or a network by name.

    Exported modules are recognised by their suffix (``.pt2``, ``.onnx``), tickets and tables by their content; what is
    no file must be a name that `accelsim.ticket.zoo.list_networks` knows, or the name of a ticket that came with the
    program.

    Raises
    ------
    TraceError, TicketError
        What is wrong with the file, the name or the options.
    """
    chosen = options or TraceOptions()
    chosen.check()
    file = _named_ticket(path) or path
    if not os.path.exists(file) or (os.path.isdir(file) and is_network(file)):
        return _trace_name(path, chosen)
    shape = read_model_config(file)
    if shape is not None:
        from accelsim.trace.phases import trace_decoder  # noqa: PLC0415  of language models alone

        return replace(trace_decoder(shape, chosen, path), path=path, sha256=_sha256(file))
    other = other_kind(file)
    if other is not None:
        raise TraceError(other)
    if Path(path).suffix.lower() in (".pt2", ".onnx"):
        refuse_phase(path, chosen, but=("kv_bits",))
        # These have bounds of their own: little of them is read.
        check_regular_file(file, _MAX_EXPORTED_BYTES)
        return replace(_trace_file(path, chosen), path=path, sha256=_sha256(file))
    check_regular_file(file)
    with open(file, "rb") as stream:
        magic = stream.read(len(_ZIP_MAGIC))
    sha256 = _sha256(file)
    if magic != _ZIP_MAGIC and Path(file).suffix.lower() not in (".pt", ".pth"):
        refuse_phase(path, chosen)
        _refuse_shaping(path, "a topology table", chosen, _OPTIONS_OF_NETWORKS)
        from accelsim.trace.topology import read_topology  # noqa: PLC0415  of tables alone

        return replace(read_topology(path, chosen), sha256=sha256)
    return _trace_ticket(read_ticket(file), chosen, path, sha256)


def _trace_ticket(ticket: Ticket, options: TraceOptions, path: str, sha256: str) -> LayerTrace:
    """Return the trace of a ticket; that of a decoder has phases."""
    if not options.says_only_run:
        raise TraceError(f"{path}: a ticket has its own sparsity, ratios and shapes; leave those options out")
    return trace_run(ticket.graph, trace_ticket(ticket, path, sha256), options, path)


def trace_run(graph: NetworkGraph, trace: LayerTrace, options: TraceOptions, where: str) -> LayerTrace:
    """Return the trace of a ticket's network for what ``options`` say is run of it: a batch, or of a decoder a phase.

    Raises
    ------
    TraceError
        A phase of what is no decoder, or one that a decoder does not have.
    """
    if any(getattr(options, name) is not None for name in PHASE_OPTIONS):
        from accelsim.trace.decoder_ticket import decoder_ticket  # noqa: PLC0415  of language models alone
        from accelsim.trace.phases import trace_decoder_ticket  # noqa: PLC0415

        decoder = decoder_ticket(graph, trace)
        if decoder is not None:
            return trace_decoder_ticket(decoder, options, where)
        refuse_phase(where, options)
    return with_batch(trace, options.batch)


def _trace_file(path: str, options: TraceOptions) -> LayerTrace:
    """Return the trace of an exported module."""
    from accelsim.trace.modules import graph_from_file  # noqa: PLC0415  of exported modules alone
    from accelsim.trace.phases import with_cache_bits  # noqa: PLC0415

    _refuse_shaping(path, "an exported module", options, ("num_classes", "width_factor"))
    found = graph_from_file(
        path,
        skip_unsupported=options.skip_unsupported,
        input_shape=options.input_shape,
        input_shapes=options.input_shapes,
    )
    provenance = "synthetic" if options.is_synthetic else "dense"
    trace = found.trace(_graph_weights(found.graph, options), provenance=provenance)
    return with_batch(with_cache_bits(trace, options.kv_bits, path), options.batch)


_OPTIONS_OF_NETWORKS = ("num_classes", "width_factor", "input_shape", "input_shapes")


def _refuse_shaping(path: str, kind: str, options: TraceOptions, names: tuple[str, ...]) -> None:
    """Refuse options that would be ignored."""
    for name in names:
        if getattr(options, name) != getattr(TraceOptions(), name):
            option = name.removesuffix("s") if name == "input_shapes" else name
            raise TraceError(f"{path}: --{option.replace('_', '-')}: {kind} has its own; leave the option out")


def _named_ticket(name: str) -> str | None:
    """Return the file of the ticket called ``name`` that came with the program; files and networks go first."""
    if os.path.isfile(name) or is_network(name):
        return None
    found = find_preset(name, TICKETS)
    return None if found is None else str(found)


def _trace_name(name: str, options: TraceOptions) -> LayerTrace:
    if "/" in name or Path(name).suffix.lower() in (".pt", ".pth", ".csv", ".onnx", ".pt2"):
        hint = suggest_preset(name, TICKETS)
        raise TraceError(f"{name}: no such file; {hint}give a ticket, a topology table or the name of a network")
    try:
        return trace_network(name, options)
    except TicketError as error:
        hint = "" if is_network(name) else other_kind_words(name, TICKETS)
        hint = hint or ("" if is_network(name) else suggest(name, preset_names(TICKETS), cutoff=0.8))
        if hint:
            raise TraceError(f"{name}: no such file, network or ticket; {hint}accelsim list shows them all") from error
        where = "" if is_network(name) else f"{name}: no such file, and "
        raise TraceError(f"{where}{error}") from error


def trace_network(name: str, options: TraceOptions | None = None) -> LayerTrace:
    """Return the trace of a network of the zoo, dense or with the stated statistics."""
    chosen = options or TraceOptions()
    if is_decoder(name):
        from accelsim.trace.phases import trace_decoder  # noqa: PLC0415  of language models alone

        return replace(trace_decoder(decoder_shape(name), chosen, name), path=name)
    if is_network(name):  # of others the name is what is wrong
        refuse_phase(name, chosen)
    if chosen.input_shapes:
        raise TraceError(
            f"network {name!r}: --input-shape: its only input has no name {chosen.input_shapes[0][0]!r}; "
            "give the sizes alone"
        )
    graph = build_network(
        name,
        num_classes=chosen.num_classes,
        input_shape=chosen.input_shape,
        width_factor=chosen.width_factor,
        trained=not chosen.is_synthetic,
    )
    provenance = "synthetic" if chosen.is_synthetic else "dense"
    trace = trace_graph(graph, _graph_weights(graph, chosen), provenance=provenance)
    return with_batch(replace(trace, path=name), chosen.batch)


def _graph_weights(graph: NetworkGraph, options: TraceOptions) -> dict[str, LayerWeights]:
    shapes = covered_shapes(graph)
    return dict(zip(shapes, stated_weights(list(shapes.values()), options), strict=True))


def _sha256(path: str) -> str:
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
