"""Layer graphs of torch modules, exported programs and ONNX files."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from accelsim.errors import TraceError
from accelsim.ticket.graph import NetworkGraph
from accelsim.trace.aten import check_program, emit_program
from accelsim.trace.emit import Emitter
from accelsim.trace.exported import Program, program_of, read_pt2
from accelsim.trace.from_graph import trace_graph, with_batch
from accelsim.trace.model import LayerTrace

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class ModuleGraph:
    """A layer graph of one sample, how often each operation that it leaves out occurs, and the samples of a batch."""

    graph: NetworkGraph
    skipped: Mapping[str, int]
    batch: int = 1


def graph_from_program(program: Program, *, skip_unsupported: bool = False) -> ModuleGraph:
    """Return the layer graph of an exported program."""
    check_program(program)
    emitter = Emitter(program.name, program.inputs, skip_unsupported=skip_unsupported)
    emit_program(program, emitter)
    return ModuleGraph(emitter.build(program.outputs), dict(sorted(emitter.skipped.items())), program.batch)


def graph_from_module(
    module: torch.nn.Module,
    example_input: torch.Tensor | tuple[torch.Tensor, ...],
    *,
    name: str | None = None,
    skip_unsupported: bool = False,
) -> ModuleGraph:
    """Return the layer graph of a torch module.

    Parameters
    ----------
    module
        Exported in evaluation mode with ``torch.export``; its mode is put back.
    example_input
        One tensor with a batch axis, or several: the graph's input then holds all of them, one after the other.
    name
        The network's name; None takes the class's.
    skip_unsupported
        Count operations that are not supported instead of refusing them.

    Raises
    ------
    TraceError
        The module cannot be exported, or an operation is not supported: named with its place.
    """
    import torch as torch_  # noqa: PLC0415

    arguments = example_input if isinstance(example_input, tuple) else (example_input,)
    was_training = module.training
    module.eval()
    try:
        exported = torch_.export.export(module, arguments)
    except Exception as error:  # torch.export raises many kinds, and a user must read one line
        reason = " ".join(str(error).split())[:300]
        raise TraceError(f"{type(module).__name__}: torch.export cannot export it ({reason})") from error
    finally:
        module.train(was_training)
    return graph_from_program(program_of(exported, name or type(module).__name__), skip_unsupported=skip_unsupported)


def trace_module(
    module: torch.nn.Module,
    example_input: torch.Tensor | tuple[torch.Tensor, ...],
    *,
    name: str | None = None,
    skip_unsupported: bool = False,
) -> LayerTrace:
    """Return the layer trace of a torch module, as a dense network; see `graph_from_module`.

    The first axis of the example is the batch: its samples are the loop N of every layer. What ``skip_unsupported``
    leaves out is counted in the trace's ``skipped``.
    """
    found = graph_from_module(module, example_input, name=name, skip_unsupported=skip_unsupported)
    return replace(with_batch(trace_graph(found.graph), found.batch), skipped=tuple(found.skipped.items()))


def graph_from_file(
    path: str | os.PathLike[str], *, skip_unsupported: bool = False, input_shape: tuple[int, ...] | None = None
) -> ModuleGraph:
    """Return the layer graph of a ``.pt2`` or ``.onnx`` file, told apart by their suffix.

    ``input_shape`` (without batch) takes the place of dynamic sizes of an ONNX file's input, and must be that of a file
    whose sizes are fixed.

    Raises
    ------
    TraceError
        An unreadable file, another suffix, or an operation that is not supported: named with its place.
    """
    where, suffix = os.fspath(path), Path(path).suffix.lower()
    if suffix == ".pt2":
        program = read_pt2(path)
    elif suffix == ".onnx":
        from accelsim.trace.onnx_graph import read_onnx  # noqa: PLC0415  onnx is slow to import

        program = read_onnx(path, input_shape)
    else:
        raise TraceError(f"{where}: neither .pt2 nor .onnx; export the module with torch.export or to ONNX")
    if input_shape is not None and program.inputs and program.inputs[0][1][1:] != input_shape:
        fixed = ",".join(map(str, program.inputs[0][1][1:]))
        raise TraceError(f"{where}: --input-shape: its input is fixed at {fixed}; export it again with another size")
    try:
        return graph_from_program(program, skip_unsupported=skip_unsupported)
    except TraceError as error:
        raise TraceError(f"{where}: {str(error).removeprefix(f'{program.name}: ')}") from error
    except (TypeError, ValueError, LookupError, AttributeError, ArithmeticError) as error:
        # Arguments of operators come from the file, of any type.
        raise TraceError(f"{where}: an operator's arguments do not fit it; export the module again") from error
