"""Layer graphs and traces of torch modules, exported programs and ONNX files."""

from __future__ import annotations

import inspect
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

from accelsim.errors import TraceError
from accelsim.ticket.graph import NetworkGraph
from accelsim.trace.aten import check_program, emit_program
from accelsim.trace.emit import Emitter, Work
from accelsim.trace.exported import program_of, read_pt2
from accelsim.trace.from_graph import trace_graph
from accelsim.trace.in_place import with_state
from accelsim.trace.input_shapes import StatedShapes
from accelsim.trace.leaving_out import is_vmap
from accelsim.trace.model import ARRAY_KINDS, LayerTrace, LayerWeights
from accelsim.trace.phases import with_cache_bits
from accelsim.trace.records import Program, Shape
from accelsim.trace.work import check_work

if TYPE_CHECKING:
    import torch
    from torch.export import ExportedProgram


@dataclass(frozen=True, slots=True)
class ModuleGraph:
    """A layer graph with full shapes, and what it does not hold.

    Attributes
    ----------
    skipped
        How often each operation occurs that it leaves out.
    batch
        Inputs that it works on at once.
    input_shapes
        Names and full shapes of the inputs.
    num_parameters
        Elements of all trained tensors, tied ones once; None where it is not known which are.
    work
        What each operation multiplies by its own shapes.
    remarks
        What was read otherwise than it is written, a line each.
    narrow
        Bits of an element, of the tensors that are integers of at most 8.
    """

    graph: NetworkGraph
    skipped: Mapping[str, int]
    batch: int = 1
    input_shapes: tuple[tuple[str, Shape], ...] = ()
    num_parameters: int | None = None
    work: tuple[Work, ...] = field(default=(), repr=False)
    remarks: tuple[str, ...] = ()
    narrow: Mapping[str, int] = field(default_factory=dict)

    def trace(self, weights: Mapping[str, LayerWeights] | None = None, *, provenance: str = "dense") -> LayerTrace:
        """Return the layer trace, with ``weights`` by node name and dense ones elsewhere.

        Raises
        ------
        TraceError
            A layer multiplies another number of times than its operator's shapes give.
        """
        trace = trace_graph(self.graph, weights, provenance=provenance)
        check_work(self.graph.name, list(self.work), trace.layers)
        return replace(
            with_cache_bits(trace, self._cache_bits(trace), self.graph.name),
            skipped=tuple(self.skipped.items()),
            batch=self.batch,
            input_shapes=self.input_shapes,
            num_parameters=self.num_parameters,
            remarks=self.remarks,
        )

    def _cache_bits(self, trace: LayerTrace) -> int | None:
        """Return the bits of cached keys and values where all inputs that may hold them are integers of so many."""
        least = min((layer.cached_elements for layer in trace.layers if layer.cached_elements), default=0)
        found = {self.narrow.get(name) for name, shape in self.input_shapes if least and prod(shape) >= least}
        return found.pop() if len(found) == 1 else None


def graph_from_program(program: Program, *, skip_unsupported: bool = False) -> ModuleGraph:
    """Return the layer graph of an exported program."""
    check_program(program)
    program = with_state(program)
    emitter = Emitter(program.name, program.inputs, program.batch, skip_unsupported=skip_unsupported)
    emit_program(program, emitter)
    if emitter.samples != program.batch:  # something works across the first axis: it is no batch
        return graph_from_program(replace(program, batch=1), skip_unsupported=skip_unsupported)
    return ModuleGraph(
        replace(emitter.build((*program.outputs, *emitter.changed)), batch=emitter.samples),
        dict(sorted(emitter.skipped.items())),
        emitter.samples,
        program.inputs,
        program.num_parameters,
        tuple(emitter.work),
        _askew(program.name, emitter.askew),
        program.narrow,
    )


def _askew(name: str, places: Sequence[str]) -> tuple[str, ...]:
    if not places:
        return ()
    return (
        f"{name}: sums of products behind a view that cuts their axes askew are counted as work of the vector unit, "
        f"without multiply-accumulates ({len(places)}, the first at {places[0]!r}); write them as matmul or einsum",
    )


def graph_from_module(
    module: torch.nn.Module | ExportedProgram,
    example_input: torch.Tensor | tuple[torch.Tensor, ...] = (),
    *,
    name: str | None = None,
    skip_unsupported: bool = False,
) -> ModuleGraph:
    """Return the layer graph of a torch module.

    Parameters
    ----------
    module
        Exported in evaluation mode with ``torch.export``; its mode is put back. An exported program is taken as it is.
    example_input
        One tensor, or several: the graph's input then holds all of them, one after the other. The first axis is the
        batch, unless an operation works across it.
    name
        The network's name; None takes the class's.
    skip_unsupported
        Count operations that are not supported and multiply nothing instead of refusing them.

    Raises
    ------
    TraceError
        The module cannot be exported, or an operation is not supported: named with its place.
    """
    import torch as torch_  # noqa: PLC0415

    if isinstance(module, torch_.export.ExportedProgram):
        module = _without_vmap(module)
        program = program_of(module, name or "exported")
        found = graph_from_program(program, skip_unsupported=skip_unsupported)
        if program.open_input and any(work.macs for work in found.work):
            again = program_of(module, name or "exported", samples=2)
            _check_samples(program, found, graph_from_program(again, skip_unsupported=skip_unsupported))
        return found
    arguments = example_input if isinstance(example_input, tuple) else (example_input,)
    _refuse_without_input(module, arguments)
    was_training = module.training
    module.eval()
    try:
        exported = torch_.export.export(module, arguments)
    except Exception as error:  # torch.export raises many kinds, and a user must read one line
        reason = " ".join(str(error).split())[:300]
        raise TraceError(
            f"{type(module).__name__}: torch.export cannot export it ({reason}); mend what it names, or export to ONNX"
        ) from error
    finally:
        module.train(was_training)
    num_parameters = sum(parameter.numel() for parameter in module.parameters())
    program = program_of(_without_vmap(exported), name or type(module).__name__, num_parameters)
    return graph_from_program(program, skip_unsupported=skip_unsupported)


def _without_vmap(exported: ExportedProgram) -> ExportedProgram:
    """Return a program in which ``torch.vmap`` is carried out: its operators have the mapped axis too."""
    has_vmap = any(is_vmap(getattr(node.target, "__name__", "")) for node in exported.graph.nodes)
    return exported.run_decompositions({}) if has_vmap else exported


def _refuse_without_input(module: torch.nn.Module, arguments: tuple[torch.Tensor, ...]) -> None:
    """Refuse a module that takes inputs and is given none; the exporter's own words for that are many."""
    parameters = inspect.signature(module.forward).parameters.values()
    named = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    needed = [each.name for each in parameters if each.kind in named and each.default is inspect.Parameter.empty]
    if needed and not arguments:
        raise TraceError(
            f"{type(module).__name__}: no example input, so its shapes are unknown; give one batch for "
            f"{', '.join(needed)}: trace_module(module, torch.zeros(1, ...))"
        )


def trace_module(
    module: torch.nn.Module | ExportedProgram,
    example_input: torch.Tensor | tuple[torch.Tensor, ...] = (),
    *,
    name: str | None = None,
    skip_unsupported: bool = False,
) -> LayerTrace:
    """Return the layer trace of a torch module, as a dense network; see `graph_from_module`.

    What ``skip_unsupported`` leaves out is counted in the trace's ``skipped``.
    """
    return graph_from_module(module, example_input, name=name, skip_unsupported=skip_unsupported).trace()


def graph_from_file(
    path: str | os.PathLike[str],
    *,
    skip_unsupported: bool = False,
    input_shape: tuple[int, ...] | None = None,
    input_shapes: tuple[tuple[str, Shape], ...] = (),
) -> ModuleGraph:
    """Return the layer graph of a ``.pt2`` or ``.onnx`` file, told apart by their suffix.

    ``input_shape`` of the first input and ``input_shapes`` by name, with or without the batch, take the place of
    dynamic sizes, and must be those of a file whose sizes are fixed.

    Raises
    ------
    TraceError
        An unreadable file, another suffix, or an operation that is not supported: named with its place.
    """
    where, stated = os.fspath(path), StatedShapes(input_shape, input_shapes)
    program = _program_from_file(where, stated)
    try:
        found = graph_from_program(program, skip_unsupported=skip_unsupported)
        if program.open_input and any(work.macs for work in found.work):
            again = _program_from_file(where, replace(stated, samples=2))
            _check_samples(program, found, graph_from_program(again, skip_unsupported=skip_unsupported))
        return found
    except TraceError as error:
        raise TraceError(f"{where}: {str(error).removeprefix(f'{program.name}: ')}") from error
    except (TypeError, ValueError, LookupError, AttributeError, ArithmeticError) as error:
        # Arguments of operators come from the file, of any type.
        raise TraceError(f"{where}: an operator's arguments do not fit it; export the module again") from error


def _program_from_file(where: str, stated: StatedShapes) -> Program:
    suffix = Path(where).suffix.lower()
    if suffix == ".pt2":
        return read_pt2(where, stated)
    if suffix == ".onnx":
        from accelsim.trace.onnx_graph import read_onnx  # noqa: PLC0415  onnx is slow to import

        return read_onnx(where, stated)
    raise TraceError(f"{where}: neither .pt2 nor .onnx; export the module with torch.export or to ONNX")


def _check_samples(program: Program, one: ModuleGraph, two: ModuleGraph) -> None:
    """Refuse a dynamic first axis, counted as one sample, that is no batch: two are twice the work of as many layers.

    It is less where a part does not depend on the inputs, such as an encoding of places. An axis of tokens or nodes
    (whose work grows faster) or of steps (each a layer) would be counted as one of them.
    """
    macs = [sum(work.macs for work in graph.work) for graph in (one, two)]
    layers = [sum(node.kind in ARRAY_KINDS for node in graph.graph.nodes) for graph in (one, two)]
    if macs[1] > 2 * macs[0] or layers[0] != layers[1]:
        shape = dict(program.inputs)[program.open_input]
        raise TraceError(
            f"input {program.open_input!r}: axis 0 is dynamic and is no batch (operations work across it); state its "
            f"sizes with --input-shape {program.open_input}={'x'.join(['?', *map(str, shape[1:])])}, or export it with "
            "a fixed size"
        )
