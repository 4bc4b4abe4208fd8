"""Topology tables in SCALE-Sim's CSV format, for convolutions and for matrix products.

Convolutions: ``Layer name, IFMAP Height, IFMAP Width, Filter Height, Filter Width, Channels, Num Filter, Strides,`` (a
column ``Stride Width`` is optional); an output is ceil((H - R + stride) / stride) high, without padding. Products:
``Layer, M, N, K,`` is an M x K input by K x N weights. The first row is the header; a trailing comma is allowed.

As there, a row whose name has ``DP`` in it is a depthwise convolution: each channel alone meets ``Num Filter`` filters.

The table states no dependencies, so each layer reads its input from memory (``inputs = ("input",)``), and no vector
operations, so there are none.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from accelsim.errors import TraceError
from accelsim.trace.model import LayerKind, LayerTrace, LoopDims, TraceLayer
from accelsim.trace.options import TraceOptions, stated_weights
from accelsim.units import ceil_div

_MAX_BYTES = 4 << 20
_MAX_LAYERS = 10_000
_MAX_SIZE = 1 << 24
_MAX_MACS = 1 << 60

_CONV_COLUMNS = (
    "layer name", "ifmap height", "ifmap width", "filter height", "filter width", "channels", "num filter", "strides",
)  # fmt: skip
_GEMM_COLUMNS = ("layer", "m", "n", "k")
_ALIASES = {
    "layer": "layer name", "layer names": "layer name", "ifmap h": "ifmap height", "ifmap w": "ifmap width",
    "filter h": "filter height", "filter w": "filter width", "num filters": "num filter", "stride": "strides",
    "stride height": "strides", "strides height": "strides", "stride h": "strides",
    "strides width": "stride width", "stride w": "stride width",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Row:
    """One line of the table, with its place for error texts."""

    path: str
    line: int
    cells: dict[str, str]

    def fail(self, column: str, problem: str, remedy: str) -> TraceError:
        return TraceError(f"{self.path}:{self.line}: {column}: {problem}; {remedy}")

    def number(self, column: str) -> int:
        text = self.cells[column]
        if not (text.isascii() and text.isdigit()) or len(text) > 9 or not 1 <= int(text) <= _MAX_SIZE:
            raise self.fail(column, f"{text[:40]!r} is not a whole number from 1 to {_MAX_SIZE}", "correct the cell")
        return int(text)


def read_topology(path: str | os.PathLike[str], options: TraceOptions | None = None) -> LayerTrace:
    """Read a topology table as a dense network or, where ``options`` state statistics, as a synthetic ticket.

    Raises
    ------
    TraceError
        Naming file, line and column.
    """
    where = os.fspath(path)
    chosen = options or TraceOptions()
    columns, rows = _read_rows(where)
    is_gemm = columns[: len(_GEMM_COLUMNS)] == _GEMM_COLUMNS
    layers = [_gemm_layer(row) if is_gemm else _conv_layer(row) for row in rows]
    for row in rows:
        _check_sparsity(row, chosen)
    layers = _with_unique_names(layers)
    shapes = [_weight_shape(layer) for layer in layers]
    weights = stated_weights(shapes, chosen)
    provenance = "synthetic" if chosen.is_synthetic else "dense"
    traced = tuple(replace(layer, weights=known) for layer, known in zip(layers, weights, strict=True))
    return LayerTrace(Path(where).stem, traced, provenance, where)


def _read_rows(where: str) -> tuple[tuple[str, ...], list[_Row]]:
    try:
        with open(where, "rb") as stream:
            data = stream.read(_MAX_BYTES + 1)
        text = data.decode("utf-8-sig")
    except OSError as error:
        raise TraceError(f"{where}: {error.strerror}; give the path of a topology table") from error
    except UnicodeDecodeError as error:
        raise TraceError(f"{where}: not UTF-8 text; give a topology table as comma-separated text") from error
    if len(data) > _MAX_BYTES:
        raise TraceError(f"{where}: more than {_MAX_BYTES} bytes; split the topology")
    reader = csv.reader(text.splitlines(), skipinitialspace=True, strict=True)
    try:
        lines = [(reader.line_num, _cells(cells)) for cells in reader]
    except csv.Error as error:
        raise TraceError(f"{where}:{reader.line_num}: {error}; give plain comma-separated cells") from error
    lines = [(line, cells) for line, cells in lines if cells]
    if not lines:
        raise TraceError(f"{where}: empty; the first row is the header {', '.join(_CONV_COLUMNS)}")
    columns = _columns(where, *lines[0])
    rows = [_row(where, columns, line, cells) for line, cells in lines[1:]]
    if not 1 <= len(rows) <= _MAX_LAYERS:
        raise TraceError(f"{where}: {len(rows)} layers; 1 to {_MAX_LAYERS} are allowed, one per row after the header")
    return columns, rows


def _cells(cells: Sequence[str]) -> list[str]:
    """Strip the cells and the trailing comma's empty one."""
    stripped = [cell.strip() for cell in cells]
    while stripped and not stripped[-1]:
        stripped.pop()
    return stripped


def _columns(where: str, line: int, cells: list[str]) -> tuple[str, ...]:
    names = [" ".join(cell.lower().replace("_", " ").split()) for cell in cells]
    if names[0] == "layer name" and tuple(names[1:4]) == _GEMM_COLUMNS[1:]:
        names[0] = "layer"
    is_gemm = tuple(names[:4]) == _GEMM_COLUMNS
    required: tuple[str, ...] = _GEMM_COLUMNS if is_gemm else _CONV_COLUMNS
    optional = ("sparsity",) if is_gemm else ("stride width", "sparsity")
    known = names if is_gemm else [_ALIASES.get(name, name) for name in names]
    missing = [name for name in required if name not in known]
    if missing:
        allowed = f"{', '.join(_CONV_COLUMNS)} or {', '.join(_GEMM_COLUMNS)}"
        raise TraceError(f"{where}:{line}: the header has no column {missing[0]!r}; it must read {allowed}")
    unknown = [name for name in known if name not in (*required, *optional)]
    if unknown or len(set(known)) != len(known):
        odd = unknown[0] if unknown else "the same twice"
        raise TraceError(f"{where}:{line}: column {odd[:40]!r} is not known; use {', '.join((*required, *optional))}")
    return tuple(known)


def _row(where: str, columns: tuple[str, ...], line: int, cells: list[str]) -> _Row:
    num_required = len(columns) - ("sparsity" in columns)
    if not num_required <= len(cells) <= len(columns):
        raise TraceError(f"{where}:{line}: {len(cells)} cells for {len(columns)} columns; give one cell a column")
    row = _Row(where, line, dict(zip(columns, cells, strict=False)))
    name = cells[0]
    if not 1 <= len(name) <= 256 or not name.isprintable():
        raise row.fail(columns[0], "the name is empty, too long or not printable", "give 1 to 256 characters")
    return row


def _check_sparsity(row: _Row, options: TraceOptions) -> None:
    """Refuse an N:M column with N below M, unless the user said that it is to be ignored."""
    text = row.cells.get("sparsity", "")
    parts = text.split(":")
    is_dense = not text or (len(parts) == 2 and parts[0] == parts[1] and parts[0].isdigit())
    if not is_dense and not options.ignore_sparsity_column:
        raise row.fail(
            "sparsity", f"{text[:40]!r} is not part of a topology here", "state a storage format such as nm-2:4-int8"
        )


def _output_size(row: _Row, size: int, kernel: int, stride: int, columns: tuple[str, str]) -> int:
    if kernel > size:
        raise row.fail(columns[1], f"{kernel} is more than the {columns[0]} {size}", "a filter must fit its input")
    return ceil_div(size - kernel + stride, stride)


def _conv_layer(row: _Row) -> TraceLayer:
    H, W, R, S, C, K, stride_h = (row.number(column) for column in _CONV_COLUMNS[1:])
    stride_w = row.number("stride width") if "stride width" in row.cells else stride_h
    P = _output_size(row, H, R, stride_h, ("ifmap height", "filter height"))
    Q = _output_size(row, W, S, stride_w, ("ifmap width", "filter width"))
    name = row.cells["layer name"]
    G, C = (C, 1) if "DP" in name else (1, C)
    dims = LoopDims(G=G, K=K, C=C, P=P, Q=Q, R=R, S=S, H=H, W=W, stride=(stride_h, stride_w))
    return _layer(row, name, dims)


def _gemm_layer(row: _Row) -> TraceLayer:
    rows, K, C = row.number("m"), row.number("n"), row.number("k")
    return _layer(row, row.cells["layer"], LoopDims(K=K, C=C, P=rows, H=rows))


def _layer(row: _Row, name: str, dims: LoopDims) -> TraceLayer:
    if dims.macs > _MAX_MACS:
        raise row.fail(next(iter(row.cells)), f"{name!r} has {dims.macs} multiply-accumulates", "shrink the layer")
    kind: LayerKind = "linear" if "m" in row.cells else "depthwise_conv2d" if dims.G > 1 else "conv2d"
    return TraceLayer(name, kind, dims, ("input",), num_outputs=dims.num_outputs)


def _weight_shape(layer: TraceLayer) -> tuple[int, ...]:
    dims = layer.dims
    return (dims.K, dims.C) if layer.kind == "linear" else (dims.G * dims.K, dims.C, dims.R, dims.S)


def _with_unique_names(layers: list[TraceLayer]) -> list[TraceLayer]:
    """Return the layers with a number behind the later ones of a name that stands twice, as in tables in use."""
    taken: set[str] = set()
    unique = []
    for layer in layers:
        name, copy = layer.name, 1
        while name in taken:
            copy += 1
            name = f"{layer.name}_{copy}"
        taken.add(name)
        unique.append(replace(layer, name=name))
    return unique
