"""Exported torch programs as records: from memory, and from ``.pt2`` files without torch and without unpickling.

A ``.pt2`` file is a zip archive whose graph is JSON; only that and the list of its weights are read. Its weights are
never loaded.
"""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Mapping
from math import prod
from typing import TYPE_CHECKING, Any

from accelsim.errors import TicketError, TraceError
from accelsim.ticket.torchfile import check_regular_file
from accelsim.trace.input_shapes import StatedShapes, Symbols, check_fixed
from accelsim.trace.records import Program, Record, Ref, Shape
from accelsim.trace.sizes import size_of, symbol_of

if TYPE_CHECKING:
    from torch.export import ExportedProgram

_MAX_FILE_BYTES = 1 << 40
"""Of the whole file; only records up to `_MAX_GRAPH_BYTES` are read."""
_MAX_GRAPH_BYTES = 256 << 20
_GRAPH_NAMES = ("models/model.json", "serialized_exported_program.json")
_COMPLEX_TYPES = (9, 10, 11)
_BYTES = (1, 2)
"""Serialised types of integers of 8 bits: without sign and with it."""
"""Numbers of the complex types in ``torch._export.serde.schema.ScalarType``."""
_WEIGHTS_NAME = "weights/model_weights_config.json"


def read_pt2(path: str | os.PathLike[str], stated: StatedShapes | None = None) -> Program:
    """Read the graph of a file that ``torch.export.save`` wrote.

    A dynamic first axis of an input is the batch and counts as 1; other dynamic axes have the sizes of the example, or
    those of ``stated``.

    Raises
    ------
    TraceError
        No such file, or not such a graph; a stated shape that the file cannot have.
    """
    where = os.fspath(path)
    try:
        check_regular_file(path, _MAX_FILE_BYTES)
        with zipfile.ZipFile(path) as archive:
            document = json.loads(_record_text(where, archive, _GRAPH_NAMES))
            weights = _record_text(where, archive, (_WEIGHTS_NAME,), is_needed=False)
        return _Reader(where, document, json.loads(weights or b"{}"), stated or StatedShapes()).program()
    except TicketError as error:
        raise TraceError(str(error)) from error
    except zipfile.BadZipFile as error:
        raise TraceError(f"{where}: not a file of torch.export.save; save an exported program") from error
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
        raise TraceError(f"{where}: its graph is not as torch.export.save writes it; export it again") from error


def _record_text(where: str, archive: zipfile.ZipFile, names: tuple[str, ...], *, is_needed: bool = True) -> bytes:
    for entry in archive.infolist():
        if entry.filename.endswith(names):
            if entry.file_size > _MAX_GRAPH_BYTES:
                raise TraceError(f"{where}: its graph has more than {_MAX_GRAPH_BYTES} bytes; export a smaller module")
            with archive.open(entry) as stream:
                return stream.read(_MAX_GRAPH_BYTES + 1)
    if is_needed:
        raise TraceError(f"{where}: holds no exported graph; write it with torch.export.save")
    return b""


class _Reader:
    """Walks the JSON of an exported program."""

    def __init__(self, where: str, document: dict[str, Any], weights: dict[str, Any], stated: StatedShapes) -> None:
        self._where = where
        self._stated = stated
        module = document["graph_module"]
        self._graph: dict[str, Any] = module["graph"]
        signature = module["signature"]
        self._inputs: list[dict[str, Any]] = signature["input_specs"]
        self._changed = {
            str(next(iter(spec.values())).get("buffer_name")) for spec in signature["output_specs"]
            if next(iter(spec)) == "buffer_mutation"
        }  # fmt: skip
        self._stored = weights.get("config", {})
        self._sizes: dict[str, list[dict[str, Any]]] = {
            name: meta["sizes"] for name, meta in self._graph["tensor_values"].items()
        }
        self._symbols: dict[str, int] = {}
        self._open = ""

    def _size(self, size: dict[str, Any]) -> int:
        """Return a size; a dynamic one follows from the symbols, or counts as its example."""
        if "as_int" in size:
            return int(size["as_int"])
        expression = size.get("as_expr") or {}
        try:
            return size_of(str(expression.get("expr_str", "")), self._symbols)
        except ValueError:
            hint = expression.get("hint") or {}
            if "as_int" not in hint:
                raise TraceError(
                    f"{self._where}: a size is dynamic and has no example, or depends on data; export with fixed sizes"
                ) from None
            return int(hint["as_int"])

    def _shape(self, name: str) -> Shape:
        return tuple(map(self._size, self._sizes[name]))

    def program(self) -> Program:
        inputs: list[str] = []
        parameters: dict[str, str] = {}
        trained: dict[str, str] = {}
        for spec in self._inputs:
            (kind, content), *_ = spec.items()
            name = _tensor_name(content.get("arg"))
            if name is None or name not in self._sizes:
                continue
            if kind == "user_input" or content.get("buffer_name") in self._changed:
                inputs.append(name)
                continue
            parameters[name] = str(content.get("parameter_name", content.get("buffer_name", name)))
            if kind == "parameter":
                trained[name] = parameters[name]
        self._choose_symbols(inputs)
        records = tuple(self._record(node) for node in self._graph["nodes"])
        outputs = [_tensor_name(output) for output in self._graph["outputs"]]
        return Program(
            os.path.splitext(os.path.basename(self._where))[0],
            tuple((name, self._shape(name)) for name in inputs),
            {name: self._shape(name) for name in parameters},
            parameters,
            records,
            tuple(output for output in outputs if output is not None),
            self._batch(inputs),
            self._num_parameters(trained, records),
            frozenset(trained.values()),
            frozenset(
                name for name, meta in self._graph["tensor_values"].items() if meta.get("dtype") in _COMPLEX_TYPES
            ),
            self._open,
            {name: 8 for name, meta in self._graph["tensor_values"].items() if meta.get("dtype") in _BYTES},
        )

    def _choose_symbols(self, inputs: list[str]) -> None:
        """Give each dynamic axis of an input its size: what is stated, 1 for samples, else that of the example."""
        self._stated.check_names(self._where, inputs)
        shapes: dict[str, Shape] = {}
        symbols = Symbols(self._where)
        opened: list[tuple[str, str]] = []
        for index, name in enumerate(inputs):
            sizes = self._sizes[name]
            batch = int(sizes[0].get("as_int", 1)) if sizes else 1
            stated = self._stated.of(self._where, name, len(sizes), is_first=index == 0, batch=batch)
            if stated is not None:
                shapes[name] = stated
            for axis, size in enumerate(sizes):
                expression = size.get("as_expr") or {}
                symbol = symbol_of(str(expression.get("expr_str", "")))
                if symbol is not None and stated is not None:
                    symbols.state(symbol, stated[axis], name)
                elif symbol is not None:
                    hint = int((expression.get("hint") or {}).get("as_int", 1))
                    if not axis and symbol not in symbols.sizes:
                        opened.append((symbol, name))
                    symbols.sizes.setdefault(symbol, hint if axis else self._stated.samples)
        self._symbols = symbols.sizes
        self._open = next((name for symbol, name in opened if symbol not in symbols.stated), "")
        check_fixed(self._where, shapes, {name: self._shape(name) for name in inputs})

    def _batch(self, inputs: list[str]) -> int:
        for name in inputs:
            sizes = self._sizes[name]
            if len(sizes) > 1:
                return self._size(sizes[0])
        return 1

    def _num_parameters(self, trained: Mapping[str, str], records: tuple[Record, ...]) -> int:
        """Return the elements of trained tensors; tied ones lie in one record of the archive, or are not used."""
        if self._stored:
            places = {
                self._stored.get(path, {}).get("path_name", path): prod(self._shape(name))
                for name, path in trained.items()
            }
            return sum(places.values())
        used = {name for record in records for name in record.refs()}
        return sum(prod(self._shape(name)) for name in trained if name in used)

    def _record(self, node: dict[str, Any]) -> Record:
        target = str(node["target"])
        arguments = {
            item["name"] or str(index): self._argument(item["arg"]) for index, item in enumerate(node["inputs"])
        }
        outputs: list[tuple[str, Shape | None]] = []
        for output in node["outputs"]:
            names = [_tensor_name(output), *(str(item["name"]) for item in output.get("as_tensors") or ())]
            outputs += [
                (name, self._shape(name) if name in self._sizes else None) for name in names if name is not None
            ]
        stack = node.get("metadata", {}).get("nn_module_stack", "")
        return Record(operator_name(target), arguments, tuple(outputs), _place(stack, node.get("name") or target))

    def _argument(self, argument: dict[str, Any]) -> Any:
        (kind, value), *_ = argument.items()
        if kind == "as_tensor":
            return Ref(str(value["name"]))
        if kind == "as_sym_int" and isinstance(value, dict):
            return value.get("as_int")
        if kind == "as_tensors":
            return [Ref(str(item["name"])) for item in value]
        if kind == "as_optional_tensors":
            return [Ref(str(item["as_tensor"]["name"])) for item in value if "as_tensor" in item]
        if kind == "as_sym_ints":
            return [item.get("as_int", -1) for item in value]
        return None if kind in ("as_none", "as_graph") else value


def _tensor_name(argument: Any) -> str | None:
    if not isinstance(argument, dict):
        return None
    inner = argument.get("as_tensor", argument)
    name = inner.get("name") if isinstance(inner, dict) else None
    if not isinstance(name, str | None):
        raise TypeError("a name is no text")
    return name


def operator_name(target: str) -> str:
    """Return ``conv2d`` of ``torch.ops.aten.conv2d.default``, and ``torchvision::nms`` of ``torchvision.nms``."""
    parts = target.split(".")
    if parts[:2] == ["torch", "ops"]:
        parts = parts[2:]
    if len(parts) < 2 or parts[0] in ("_operator", "operator", "math"):  # noqa: PLR2004  namespace and name
        return parts[-1]
    return parts[1] if parts[0] in ("aten", "higher_order") else "::".join(parts[:2])


def _place(stack: str, fallback: str) -> str:
    """Return the module path of the innermost module of a serialised module stack."""
    last = stack.rpartition(";")[2].split(",")
    return last[1] if len(last) > 1 and last[1] else fallback


def program_of(exported: ExportedProgram, name: str, num_parameters: int | None = None, *, samples: int = 1) -> Program:
    """Return the program of ``torch.export.export``'s result; a dynamic first axis counts as ``samples``."""
    signature = exported.graph_signature
    changed = set(signature.buffers_to_mutate.values())
    parameters = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
    inputs, constants, records = [], {}, []
    sizes = _FxSizes(exported, signature.user_inputs, samples)
    for node in exported.graph.nodes:
        if node.op == "placeholder":
            shape = sizes.shape(node.meta.get("val"))
            if shape is None:
                continue
            if node.name in signature.user_inputs or parameters.get(node.name) in changed:
                inputs.append((node.name, shape))
            else:
                constants[node.name] = shape
                parameters.setdefault(node.name, node.name)
        elif node.op == "call_function" and not _is_item(node):
            records.append(_fx_record(node, sizes))
    outputs = tuple(str(spec.arg.name) for spec in signature.output_specs if hasattr(spec.arg, "name"))
    trained = frozenset(signature.inputs_to_parameters.values())
    batch = next((shape[0] for _, shape in inputs if len(shape) > 1), 1)
    if num_parameters is None:
        tensors = {id(exported.state_dict[path]): exported.state_dict[path] for path in trained}
        num_parameters = sum(tensor.numel() for tensor in tensors.values())
    return Program(
        name, tuple(inputs), constants, parameters, tuple(records), outputs, batch, num_parameters, trained,
        frozenset(node.name for node in exported.graph.nodes if _is_complex(node.meta.get("val"))), sizes.open_input,
        {node.name: 8 for node in exported.graph.nodes if node.op == "placeholder" and _is_byte(node.meta.get("val"))},
    )  # fmt: skip


def _is_byte(value: Any) -> bool:
    return str(getattr(value, "dtype", "")) in ("torch.int8", "torch.uint8")


def _is_complex(value: Any) -> bool:
    return hasattr(value, "is_complex") and bool(value.is_complex())


class _FxSizes:
    """Sizes of tensors in memory; a dynamic first axis of an input counts as ``samples``."""

    def __init__(self, exported: ExportedProgram, user_inputs: Any, samples: int) -> None:
        self._symbols: dict[str, int] = {}
        self.open_input = ""
        for node in exported.graph.nodes:
            if node.op == "placeholder" and node.name in user_inputs:
                shape = getattr(node.meta.get("val"), "shape", ())
                for axis, size in enumerate(shape):
                    if isinstance(size, int):
                        continue
                    if not axis and str(size) not in self._symbols:
                        self.open_input = self.open_input or node.name
                    self._symbols.setdefault(str(size), int(size.node.hint) if axis else samples)

    def shape(self, value: Any) -> Shape | None:
        """Return the shape of a tensor, None of anything else."""
        if not hasattr(value, "shape"):
            return None
        return tuple(size if isinstance(size, int) else self._dynamic(size) for size in value.shape)

    def _dynamic(self, size: Any) -> int:
        try:
            return size_of(str(size), self._symbols)
        except ValueError:
            if size.node.hint is None:
                raise TraceError("a size depends on data; export with fixed sizes") from None
            return int(size.node.hint)


def _is_item(node: Any) -> bool:
    """Return whether a node only takes one of several results: its name is that result's."""
    return getattr(node.target, "__name__", "") == "getitem" and hasattr(node.args[0], "meta")


def _fx_record(node: Any, sizes: _FxSizes) -> Record:
    schema = getattr(node.target, "_schema", None)
    names = [argument.name for argument in schema.arguments] if schema is not None else []
    pairs = [
        *((names[index] if index < len(names) else str(index), value) for index, value in enumerate(node.args)),
        *node.kwargs.items(),
    ]
    arguments = {key: _fx_argument(value) for key, value in pairs}
    value = node.meta.get("val")
    if isinstance(value, list | tuple):
        items = {user.args[1]: user.name for user in node.users if _is_item(user)}
        outputs = tuple((items.get(index, ""), sizes.shape(part)) for index, part in enumerate(value))
    else:
        outputs = ((node.name, sizes.shape(value)),)
    stack = node.meta.get("nn_module_stack") or {}
    place = next((path for path, _ in reversed(list(stack.values())) if path), node.name)
    target = getattr(node.target, "__name__", str(node.target))
    if schema is not None:
        target = operator_name(str(schema.name).replace("::", "."))
    return Record(target, arguments, outputs, str(place).removeprefix("L['self']."))


def _fx_argument(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_fx_argument(item) for item in value]
    if hasattr(value, "op") and hasattr(value, "name"):
        return Ref(value.name) if hasattr(value.meta.get("val"), "shape") else None
    return value
