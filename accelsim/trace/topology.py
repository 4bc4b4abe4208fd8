"""Topology tables in SCALE-Sim's CSV format, for convolutions and for matrix products, as people write them.

Convolutions: ``Layer name, IFMAP Height, IFMAP Width, Filter Height, Filter Width, Channels, Num Filter, Strides``; an
output is ceil((H - R + stride) / stride) high, without padding. Products: ``Layer, M, N, K``, an M x K input by K x N
weights. Both may have ``Batch`` (the same weights for so many inputs) and ``Sparsity`` (N:M, the weights kept of each
group of neighbours), convolutions ``Stride Width``. `accelsim.trace.table_columns` says what else a header may hold,
`accelsim.trace.table_text` what a file may look like.

As in SCALE-Sim, a row whose name has ``DP`` in it is a depthwise convolution: each channel alone meets ``Num Filter``
filters.

The table states no dependencies, so each layer reads its input from memory (``inputs = ("input",)``), and no vector
operations, so there are none.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from pathlib import Path

from accelsim.errors import TraceError
from accelsim.trace.batch import with_batch
from accelsim.trace.model import LayerKind, LayerTrace, LoopDims, TraceLayer, kept_by_pattern
from accelsim.trace.options import TraceOptions, stated_weights
from accelsim.trace.table_columns import (
    BATCH,
    CONV_COLUMNS,
    GEMM_COLUMNS,
    NAME,
    SPARSITY,
    STRIDE_WIDTH,
    Column,
    Header,
    resolve,
)
from accelsim.trace.table_text import TableLine, TableText, read_table_text
from accelsim.units import ceil_div

_MAX_LAYERS = 10_000
_MAX_SIZE = 1 << 24
_MAX_MACS = 1 << 60
_MAX_PATTERN = 256
_NUMBER = re.compile(r"(\d+)(?:([.,])(0+))?")
_PATTERN = re.compile(r"(\d{1,3})\s*:\s*(\d{1,3})")
_REMARK = re.compile(r"\s+(?:#|//)")
_SUM = re.compile(r"\b(?:grand )?(?:totals?|sums?|overall)\b", re.IGNORECASE)
_RULE = re.compile(r"[-=_:+ ]*")
_MARKS = {",": "commas", "\t": "tabs", ";": "semicolons", "|": "bars"}
_EMPTY = ("", "-", "none", "n/a", "na", "nan")
_MAX_SHOWN = 4
_DEPTHWISE = re.compile(r"depth.?wise|(?<![a-z])dw(?![a-z])|^dw", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Row:
    """One line of the table, with its place for error texts."""

    where: str
    header: Header
    line: int
    cells: tuple[str, ...]
    delimiter: str

    def fail(self, column: str, problem: str, remedy: str) -> TraceError:
        return TraceError(f"{self.where}:{self.line}: {self.header.known[column].label}: {problem}; {remedy}")

    def cell(self, column: Column) -> str:
        return self.cells[column.index] if column.index < len(self.cells) else ""

    def text(self, column: str) -> str:
        known = self.header.known.get(column)
        return "" if known is None else self.cell(known)

    def number(self, column: str) -> int:
        text = self.text(column)
        found = _NUMBER.fullmatch(text) if text.isascii() else None
        if not text:
            raise self.fail(column, "the cell is empty", f"give a whole number from 1 to {_MAX_SIZE}")
        if found and found[2] and (len(found[3]) == 3 or found[2] == self.delimiter):
            raise self.fail(column, f"{text[:40]!r} may be {found[1]} or {found[1]}000", "write a whole number")
        if found is None or len(found[1]) > 9 or not 1 <= int(found[1]) <= _MAX_SIZE:
            raise self.fail(column, f"{text[:40]!r} is not a whole number from 1 to {_MAX_SIZE}", "correct the cell")
        return int(found[1])

    def optional(self, column: str, otherwise: int) -> int:
        return otherwise if self.text(column).lower() in _EMPTY else self.number(column)


def read_topology(path: str | os.PathLike[str], options: TraceOptions | None = None) -> LayerTrace:
    """Read a topology table as a dense network or, where ``options`` state statistics, as a synthetic ticket.

    What is left out of the table, or read otherwise than it is written, stands in the trace's ``remarks``.

    Raises
    ------
    TraceError
        Naming file, line and column.
    """
    where = os.fspath(path)
    chosen = options or TraceOptions()
    header, rows, remarks = _read_rows(where)
    sums = [row for index, row in enumerate(rows) if _is_sum(row, rows[:index])]
    remarks += [f"line {row.line} has the sums of the rows above and is no layer: {row.text(NAME)!r}" for row in sums]
    named = [row for row in rows[1:] if row not in sums and _SUM.fullmatch(row.text(NAME))]
    remarks += [f"line {row.line} does not add up, and is read as a layer: {row.text(NAME)!r}" for row in named]
    rows = [row for row in rows if row not in sums]
    layers = [_gemm_layer(row) if header.kind == "gemm" else _conv_layer(row) for row in rows]
    remarks += _checked_others(header, rows, layers)
    patterns = [_pattern(row, chosen) for row in rows]
    plain = [layer.name for layer in layers if layer.kind == "conv2d" and _DEPTHWISE.search(layer.name)]
    if plain:
        remarks.append(f"read as plain convolutions: {_listed(plain)}; as in SCALE-Sim, DP in a name means depthwise")
    layers = _with_unique_names(layers)
    weights = stated_weights([_weight_shape(layer) for layer in layers], chosen)
    traced = []
    for layer, known, pattern in zip(layers, weights, patterns, strict=True):
        kept = known.num_kept if pattern is None else kept_by_pattern(known.shape, *pattern)
        traced.append(replace(layer, weights=replace(known, num_kept=kept, pattern=pattern)))
    if any(patterns):
        count = sum(pattern is not None for pattern in patterns)
        remarks.append(f"{count} of {len(patterns)} layers are N:M; storage nm-own-int8 keeps each so")
    provenance = "synthetic" if chosen.is_synthetic else "dense"
    trace = LayerTrace(
        Path(where).stem,
        tuple(traced),
        provenance,
        where,
        remarks=tuple(f"{where}: {remark}" for remark in remarks),
        # Rows of other batches run several times for each input.
        batch=math.gcd(*(layer.dims.N for layer in traced)),
    )
    return with_batch(trace, chosen.batch)


def _read_rows(where: str) -> tuple[Header, list[_Row], list[str]]:
    table = read_table_text(where)
    header, start, remarks = _header(where, table)
    rows: list[_Row] = []
    headings: list[str] = []
    for line in table.lines:
        if line.is_comment:
            continue
        if line.number <= start:
            headings += line.filled if line.number < start else ()
            continue
        cells = _without_comment(line.cells)
        row = _Row(where, header, line.number, cells, table.delimiter)
        filled = [cell for cell in cells if cell]
        if all(_RULE.fullmatch(cell) for cell in filled):
            continue
        if (len(filled) == 1 and not filled[0].isdigit()) or _has_no_size(row):  # a title among the rows, or their sum
            headings += filled[:1]
        elif not _is_header_again(row):
            rows.append(_named(row, len(rows)))
    if not rows and headings:
        raise TraceError(
            f"{where}: no row has more than one cell; separate them as the header does, by {_MARKS[table.delimiter]}"
        )
    if not 1 <= len(rows) <= _MAX_LAYERS:
        raise TraceError(f"{where}: {len(rows)} layers; 1 to {_MAX_LAYERS} are allowed, one per row after the header")
    if headings:
        remarks.append(f"rows without sizes are read as headings: {_listed(headings)}")
    return header, rows, remarks


def _header(where: str, table: TableText) -> tuple[Header, int, list[str]]:
    """Return the header, its line, and remarks: the first line of several cells, or a comment that has all columns."""
    comments: list[TableLine] = []
    for line in table.lines:
        if line.is_comment:
            comments.append(line)
        elif len(line.filled) > 1:
            try:
                header = resolve(f"{where}:{line.number}", line.cells)
                return header, line.number, list(header.remarks)
            except TraceError as error:
                header_line = _other_header(where, [*comments, *_behind_titles(table, line)])
                if header_line is None:
                    raise error from None
                return header_line[0], header_line[1], [*header_line[0].remarks]
    if table.lines and any(len(line.filled) == 1 for line in table.lines if not line.is_comment):
        first = next(line for line in table.lines if not line.is_comment)
        resolve(f"{where}:{first.number}", first.cells)
    raise TraceError(
        f"{where}: empty; the first row is the header {', '.join(CONV_COLUMNS)} or {', '.join(GEMM_COLUMNS)}"
    )


def _behind_titles(table: TableText, first: TableLine) -> list[TableLine]:
    """Return the lines that may be the header if ``first`` and others before the first number are titles."""
    lines = [line for line in table.lines if line.number >= first.number and not line.is_comment]
    return list(takewhile(lambda line: not any(map(_NUMBER.fullmatch, line.cells)), lines))


def _other_header(where: str, lines: Sequence[TableLine]) -> tuple[Header, int] | None:
    for line in lines:
        try:
            return resolve(f"{where}:{line.number}", line.cells), line.number
        except TraceError:
            continue
    return None


def _without_comment(cells: tuple[str, ...]) -> tuple[str, ...]:
    """Return the cells before one that begins a comment, or has one behind it, without empty ones at the end."""
    end = next((index for index, cell in enumerate(cells) if index and cell.startswith("#")), len(cells))
    begun = next((index for index, cell in enumerate(cells[:end]) if index and _REMARK.search(cell)), None)
    if begun is not None:
        cells, end = (*cells[:begun], _REMARK.split(cells[begun])[0]), begun + 1
    while end and not cells[end - 1]:
        end -= 1
    return cells[:end]


def _has_no_size(row: _Row) -> bool:
    """Return whether the row has a name and something else, but not one size."""
    return NAME in row.header.known and bool(row.text(NAME)) and not any(map(row.text, _sizes(row)))


def _sizes(row: _Row) -> tuple[str, ...]:
    return CONV_COLUMNS[1:] if row.header.kind == "conv" else GEMM_COLUMNS[1:]


def _is_sum(row: _Row, above: Sequence[_Row]) -> bool:
    """Return whether a row is called a sum, and each size that it has is that of the rows above.

    Below a single layer, which it repeats, it must be called nothing else.
    """
    is_called = _SUM.search if len(above) > 1 else _SUM.fullmatch
    if not above or not is_called(row.text(NAME)):
        return False
    given = [size for size in _sizes(row) if row.text(size).lower() not in _EMPTY]
    return all(row.text(size) == str(sum(each.number(size) for each in above)) for size in given)


def _is_header_again(row: _Row) -> bool:
    """Return whether the row repeats the header, as in tables that were joined."""
    return all(row.cell(column).lower() == column.text.lower() for column in row.header.known.values())


def _named(row: _Row, index: int) -> _Row:
    """Return the row if its layer has a name, or gets one because the table has none at all."""
    if NAME not in row.header.known:
        return row
    name = row.text(NAME)
    if not 1 <= len(name) <= 256 or not name.isprintable():
        raise row.fail(NAME, "the name is empty, too long or not printable", "give 1 to 256 characters")
    return row


def _listed(texts: Sequence[str]) -> str:
    shown = ", ".join(repr(text[:40]) for text in texts[:_MAX_SHOWN])
    return shown if len(texts) <= _MAX_SHOWN else f"{shown} and {len(texts) - _MAX_SHOWN} more"


def _checked_others(header: Header, rows: Sequence[_Row], layers: Sequence[TraceLayer]) -> list[str]:
    """Return remarks about columns that are left out; refuse those that may change the work."""
    used: list[str] = []
    widest = max(len(row.cells) for row in rows)
    beyond = [Column(index, "", "") for index in range(header.num_columns, widest)]
    for column in (*header.others, *beyond):
        filled = [(row, cell) for row in rows if (cell := row.cell(column)).lower() not in _EMPTY]
        if filled or column.text:
            _check_other(column, header, filled)
            used.append(column.label)
    remarks = [f"columns left out, since they change no layer's work: {_listed(used)}"] if used else []
    for side, column in header.outputs.items():
        for row, layer in zip(rows, layers, strict=True):
            given = _NUMBER.fullmatch(row.cell(column))
            size = getattr(layer.dims, side)
            if given and int(given[1]) != size:
                remarks.append(
                    f"line {row.line}: {column.label} is {given[1]}, but input, filter and stride give {size}, which "
                    "is used; a table states inputs with their padding"
                )
                break
    return remarks


def _check_other(column: Column, header: Header, filled: Sequence[tuple[_Row, str]]) -> None:
    """Refuse a column that may change the work of a layer."""
    is_next = not column.plain and column.index == header.width
    for row, cell in filled:
        if is_next and _NUMBER.fullmatch(cell):
            raise TraceError(
                f"{row.where}:{row.line}: {column.label}: {cell[:40]!r} behind the last known column is ambiguous; "
                "name the column (Stride Width, Batch, ...) or take it out"
            )
        number = _NUMBER.fullmatch(cell)
        value = number[1].lstrip("0") or "0" if number else _word(cell)
        if not column.allows(value):
            raise TraceError(
                f"{row.where}:{row.line}: {column.label}: {cell[:40]!r} would change the layer's work, and tables "
                f"differ in how; {_remedy(column)}, and take the column out"
            )


def _word(cell: str) -> str:
    """Return a cell's word without case and signs."""
    return re.sub(r"[^a-z0-9]", "", cell.lower())


def _remedy(column: Column) -> str:
    remedies = {
        "depthwise": "write DP in the name of a depthwise layer",
        "dw": "write DP in the name of a depthwise layer",
        "transpos": "give the network as ONNX",
        "deconv": "give the network as ONNX",
        "separable": "write one row for each of its convolutions, DP in the name of the depthwise one",
        "multiplier": "write DP in the name of a depthwise layer, whose Num Filter is for each channel",
        "upsampl": "state the enlarged input",
        "depth": "give the network as ONNX if its filters have three axes",
        "pad": "add padding to IFMAP Height and Width",
        "group": "write one row a group, or DP in the name of a depthwise layer",
        "type": "write DP in the name of a depthwise layer, leave out layers without weights",
        "sparsity": "name N:M Sparsity, or state zeros with --sparsity",
        "dilat": "give the network as ONNX",
    }
    repeated = "write the row as often as the layer runs (a column Batch is for more inputs of the same weights)"
    return next((text for word, text in remedies.items() if word in column.plain), repeated)


def _pattern(row: _Row, options: TraceOptions) -> tuple[int, int] | None:
    """Return N and M of a row whose weights have N of M kept; None where they are dense, or to be read so."""
    text = row.text(SPARSITY)
    if text.lower() in (*_EMPTY, "dense", "0") or options.ignore_sparsity_column:
        return None
    found = _PATTERN.fullmatch(text)
    if found is None or not 1 <= int(found[1]) <= int(found[2]) <= _MAX_PATTERN:
        raise row.fail(
            SPARSITY,
            f"{text[:40]!r} is not N:M with 1 <= N <= M <= {_MAX_PATTERN} (2:4 keeps two of four)",
            "state fractions of zeros with --sparsity, or leave the column out with --ignore-sparsity-column",
        )
    kept, group = int(found[1]), int(found[2])
    if kept == group:
        return None
    if options.is_synthetic:
        raise row.fail(
            SPARSITY,
            f"{text!r} and stated statistics exclude each other",
            "leave one out, or add --ignore-sparsity-column",
        )
    return kept, group


def _output_size(row: _Row, size: int, kernel: int, stride: int, columns: tuple[str, str]) -> int:
    if kernel > size:
        raise row.fail(columns[1], f"{kernel} is more than the {columns[0]} {size}", "a filter must fit its input")
    return ceil_div(size - kernel + stride, stride)


def _conv_layer(row: _Row) -> TraceLayer:
    H, W, R, S, C, K, stride_h = (row.number(column) for column in CONV_COLUMNS[1:])
    stride_w = row.optional(STRIDE_WIDTH, stride_h)
    P = _output_size(row, H, R, stride_h, ("ifmap height", "filter height"))
    Q = _output_size(row, W, S, stride_w, ("ifmap width", "filter width"))
    name = row.text(NAME) or f"line{row.line}"
    G, C = (C, 1) if "DP" in name else (1, C)
    batch = row.optional(BATCH, 1)
    dims = LoopDims(N=batch, G=G, K=K, C=C, P=P, Q=Q, R=R, S=S, H=H, W=W, stride=(stride_h, stride_w))
    return _layer(row, name, dims)


def _gemm_layer(row: _Row) -> TraceLayer:
    rows, K, C = row.number("m"), row.number("n"), row.number("k")
    dims = LoopDims(N=row.optional(BATCH, 1), K=K, C=C, P=rows, H=rows)
    return _layer(row, row.text(NAME) or f"line{row.line}", dims)


def _layer(row: _Row, name: str, dims: LoopDims) -> TraceLayer:
    if dims.macs > _MAX_MACS:
        raise row.fail(
            next(iter(row.header.known)), f"{name!r} has {dims.macs} multiply-accumulates", "shrink the layer"
        )
    kind: LayerKind = "linear" if row.header.kind == "gemm" else "depthwise_conv2d" if dims.G > 1 else "conv2d"
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
