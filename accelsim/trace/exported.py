"""Exported torch programs as records: from memory, and from ``.pt2`` files without torch and without unpickling.

A ``.pt2`` file is a zip archive whose graph is JSON; only that is read. Its weights are never loaded.
"""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from accelsim.errors import TicketError, TraceError
from accelsim.ticket.torchfile import check_regular_file
from accelsim.trace.records import Record, Ref, Shape

if TYPE_CHECKING:
    from torch.export import ExportedProgram

_MAX_FILE_BYTES = 8 << 30
_MAX_GRAPH_BYTES = 256 << 20
_GRAPH_NAMES = ("models/model.json", "serialized_exported_program.json")


@dataclass(frozen=True, slots=True)
class Program:
    """A straight-line program: its inputs, the tensors that do not depend on them, and its operations.

    ``parameters`` maps a tensor's name to the parameter's name in the module; ``outputs`` are the tensors it returns.
    ``batch`` is the first axis of the first input, and 1 where that is dynamic: its example says nothing.
    """

    name: str
    inputs: tuple[tuple[str, Shape], ...]
    constants: Mapping[str, Shape]
    parameters: Mapping[str, str]
    records: tuple[Record, ...]
    outputs: tuple[str, ...]
    batch: int = 1


def read_pt2(path: str | os.PathLike[str]) -> Program:
    """Read the graph of a file that ``torch.export.save`` wrote.

    Raises
    ------
    TraceError
        No such file, or not such a graph.
    """
    where = os.fspath(path)
    try:
        check_regular_file(path, _MAX_FILE_BYTES)
        with zipfile.ZipFile(path) as archive:
            document = json.loads(_graph_text(where, archive))
        return _Reader(where, document).program()
    except TicketError as error:
        raise TraceError(str(error)) from error
    except zipfile.BadZipFile as error:
        raise TraceError(f"{where}: not a file of torch.export.save; save an exported program") from error
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
        raise TraceError(f"{where}: its graph is not as torch.export.save writes it; export it again") from error


def _graph_text(where: str, archive: zipfile.ZipFile) -> bytes:
    for entry in archive.infolist():
        if entry.filename.endswith(_GRAPH_NAMES):
            if entry.file_size > _MAX_GRAPH_BYTES:
                raise TraceError(f"{where}: its graph has more than {_MAX_GRAPH_BYTES} bytes; export a smaller module")
            with archive.open(entry) as stream:
                return stream.read(_MAX_GRAPH_BYTES + 1)
    raise TraceError(f"{where}: holds no exported graph; write it with torch.export.save")


class _Reader:
    """Walks the JSON of an exported program."""

    def __init__(self, where: str, document: dict[str, Any]) -> None:
        self._where = where
        module = document["graph_module"]
        self._graph: dict[str, Any] = module["graph"]
        self._inputs: list[dict[str, Any]] = module["signature"]["input_specs"]
        self._shapes = {
            name: tuple(map(self._size, meta["sizes"])) for name, meta in self._graph["tensor_values"].items()
        }

    def _size(self, size: dict[str, Any]) -> int:
        """Return a size; a dynamic one counts as its example."""
        if "as_int" in size:
            return int(size["as_int"])
        hint = (size.get("as_expr") or {}).get("hint") or {}
        if "as_int" not in hint:
            raise TraceError(f"{self._where}: a size is dynamic and has no example; export with fixed sizes")
        return int(hint["as_int"])

    def program(self) -> Program:
        inputs, constants, parameters = [], {}, {}
        for spec in self._inputs:
            (kind, content), *_ = spec.items()
            name = _tensor_name(content.get("arg"))
            if name is None:
                continue
            if kind == "user_input":
                inputs.append((name, self._shapes[name]))
            else:
                constants[name] = self._shapes[name]
                parameters[name] = str(content.get("parameter_name", name))
        records = tuple(self._record(node) for node in self._graph["nodes"])
        name = os.path.splitext(os.path.basename(self._where))[0]
        outputs = [_tensor_name(output) for output in self._graph["outputs"]]
        named = tuple(output for output in outputs if output is not None)
        return Program(name, tuple(inputs), constants, parameters, records, named, self._batch(inputs))

    def _batch(self, inputs: Sequence[tuple[str, Shape]]) -> int:
        sizes = self._graph["tensor_values"][inputs[0][0]]["sizes"] if inputs else []
        return int(sizes[0]["as_int"]) if sizes and "as_int" in sizes[0] else 1

    def _record(self, node: dict[str, Any]) -> Record:
        target = str(node["target"])
        arguments = {
            item["name"] or str(index): self._argument(item["arg"]) for index, item in enumerate(node["inputs"])
        }
        outputs: list[tuple[str, Shape | None]] = []
        for output in node["outputs"]:
            names = [_tensor_name(output), *(str(item["name"]) for item in output.get("as_tensors") or ())]
            outputs += [(name, self._shapes[name]) for name in names if name is not None]
        stack = node.get("metadata", {}).get("nn_module_stack", "")
        return Record(_operator(target), arguments, tuple(outputs), _place(stack, node.get("name") or target))

    def _argument(self, argument: dict[str, Any]) -> Any:
        (kind, value), *_ = argument.items()
        if kind in ("as_tensor", "as_sym_int") and isinstance(value, dict):
            return Ref(str(value["name"])) if "name" in value else value.get("as_int")
        if kind == "as_tensors":
            return [Ref(str(item["name"])) for item in value]
        if kind == "as_optional_tensors":
            return [Ref(str(item["as_tensor"]["name"])) for item in value if "as_tensor" in item]
        if kind == "as_sym_ints":
            return [item.get("as_int", item.get("as_name", -1)) for item in value]
        return None if kind == "as_none" else value


def _tensor_name(argument: Any) -> str | None:
    if not isinstance(argument, dict):
        return None
    inner = argument.get("as_tensor", argument)
    name = inner.get("name") if isinstance(inner, dict) else None
    if not isinstance(name, str | None):
        raise TypeError("a name is no text")
    return name


def _operator(target: str) -> str:
    """Return ``conv2d`` of ``torch.ops.aten.conv2d.default``."""
    parts = target.split(".")
    return parts[parts.index("aten") + 1] if "aten" in parts[:-1] else target


def _place(stack: str, fallback: str) -> str:
    """Return the module path of the innermost module of a serialised module stack."""
    last = stack.rpartition(";")[2].split(",")
    return last[1] if len(last) > 1 and last[1] else fallback


def program_of(exported: ExportedProgram, name: str) -> Program:
    """Return the program of ``torch.export.export``'s result."""
    signature = exported.graph_signature
    parameters = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
    inputs, constants, records = [], {}, []
    batches: list[int] = []
    for node in exported.graph.nodes:
        if node.op == "placeholder":
            shape = _fx_shape(node.meta.get("val"))
            if shape is None:
                continue
            if node.name in signature.user_inputs:
                inputs.append((node.name, shape))
                batches.append(_fixed_batch(node.meta["val"].shape))
            else:
                constants[node.name] = shape
        elif node.op == "call_function":
            records.append(_fx_record(node))
    outputs = tuple(map(str, signature.user_outputs))
    return Program(name, tuple(inputs), constants, parameters, tuple(records), outputs, batches[0] if batches else 1)


def _fixed_batch(shape: Sequence[Any]) -> int:
    return shape[0] if len(shape) and isinstance(shape[0], int) else 1


def _fx_shape(value: Any) -> Shape | None:
    return tuple(int(size) for size in value.shape) if hasattr(value, "shape") else None


def _fx_record(node: Any) -> Record:
    schema = getattr(node.target, "_schema", None)
    names = [argument.name for argument in schema.arguments] if schema is not None else []
    pairs: Iterable[tuple[str, Any]] = [
        *((names[index] if index < len(names) else str(index), value) for index, value in enumerate(node.args)),
        *node.kwargs.items(),
    ]
    arguments = {key: _fx_argument(value) for key, value in pairs}
    value = node.meta.get("val")
    if isinstance(value, list | tuple):
        # The parts are taken apart by getitem, which names them itself; a split still holds all of them.
        source = node.args[0].meta.get("val") if _is_split(node) else value[0] if value else None
        outputs: tuple[tuple[str, Shape | None], ...] = ((node.name, _fx_shape(source)),)
    else:
        outputs = ((node.name, _fx_shape(value)),)
    stack = node.meta.get("nn_module_stack") or {}
    place = next((path for path, _ in reversed(list(stack.values())) if path), node.name)
    target = (
        getattr(node.target, "__name__", str(node.target))
        if schema is None
        else _operator(str(schema.name).replace("::", "."))
    )
    return Record(target, arguments, outputs, str(place).removeprefix("L['self']."))


def _is_split(node: Any) -> bool:
    names = ("chunk", "split", "split_with_sizes", "unbind", "tensor_split")
    return str(getattr(node.target, "_schema", "")).partition("(")[0].rpartition(":")[2].partition(".")[0] in names


def _fx_argument(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_fx_argument(item) for item in value]
    return Ref(value.name) if hasattr(value, "op") and hasattr(value, "name") else value
