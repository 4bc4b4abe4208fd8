"""Options that come in numbers: those that belong together reach a command as one argument."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import wraps
from typing import Any, Literal, TypeVar, cast, get_args, get_origin

import click
from click.shell_completion import CompletionItem
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from accelsim.cli.common import Choice, session
from accelsim.documented import documented
from accelsim.prng import RatioDistribution
from accelsim.trace import TraceOptions, trace_workload
from accelsim.trace.batch import batch_problem, with_batch
from accelsim.trace.model import LayerTrace
from accelsim.trace.options import PHASES

F = TypeVar("F", bound=Callable[..., Any])
Completer = Callable[[click.Context, click.Parameter, str], list[CompletionItem[Any]]]


@dataclass(frozen=True, slots=True)
class OptionRow:
    """An option that is collected: ``--some-name`` becomes the field ``some_name``; a ``click.BOOL`` is a switch.

    One that ``is_repeated`` may be given several times.
    """

    flag: str
    kind: click.ParamType[Any]
    text: str
    is_repeated: bool = False
    metavar: str | None = None
    completer: Completer | None = None

    @property
    def name(self) -> str:
        """Return the field's name."""
        return self.flag.removeprefix("--").replace("-", "_")

    def add_to(self, function: F) -> F:
        """Add the option to a command, as an argument of its own."""
        return click.option(
            self.flag,
            self.name,
            type=self.kind,
            is_flag=self.kind is click.BOOL,
            multiple=self.is_repeated,
            default=False if self.kind is click.BOOL else None,
            metavar=self.metavar,
            shell_complete=self.completer,
            help=self.text,
        )(function)


def _as_given(_ctx: click.Context, given: dict[str, Any]) -> dict[str, Any]:
    return given


def collecting(
    argument: str, *rows: OptionRow, make: Callable[[click.Context, dict[str, Any]], Any] = _as_given
) -> Callable[[F], F]:
    """Add ``rows`` as options, which reach the command as one ``argument``: what ``make`` makes of those given.

    Parameters
    ----------
    argument
        The command's parameter.
    rows
        The options.
    make
        From the values that the user gave, by field name; the dictionary itself unless another is wanted.
    """

    def decorate(function: F) -> F:
        @wraps(function)
        def command(*args: Any, **values: Any) -> Any:
            ctx = click.get_current_context()
            session(ctx).flags.update({row.name: row.flag for row in rows})
            own = {row.name: values.pop(row.name) for row in rows}
            return function(*args, **values, **{argument: make(ctx, _given(own))})

        for row in reversed(rows):
            row.add_to(command)
        return cast(F, command)

    return decorate


def _given(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values that the user gave; 0 is one."""
    return {name: value for name, value in values.items() if value is not None and value is not False and value != ()}


def parse_shape(ctx: click.Context, given: Mapping[str, Any]) -> tuple[int, ...] | None:
    """Return the only ``--input-shape`` as sizes, None if it was not given; a usage error if it is no shape."""
    first, named = parse_shapes(ctx, given)
    if named:
        raise click.UsageError(f"--input-shape: the input has no name {named[0][0]!r} here; give its sizes alone", ctx)
    return first


def parse_shapes(
    ctx: click.Context, given: Mapping[str, Any]
) -> tuple[tuple[int, ...] | None, tuple[tuple[str, tuple[int, ...]], ...]]:
    """Return ``--input-shape`` of the first input (None if it was not given), and those that name an input."""
    texts = given.get("input_shape") or ()
    first: tuple[int, ...] | None = None
    named: dict[str, tuple[int, ...]] = {}
    for text in (texts,) if isinstance(texts, str) else texts:
        name, is_named, sizes = str(text).rpartition("=")
        shape = _sizes(ctx, text, sizes)
        if (name in named) if is_named else first is not None:
            raise click.UsageError(f"--input-shape: {text!r} states a shape again; state each input's once", ctx)
        if is_named:
            named[name] = shape
        else:
            first = shape
    return first, tuple(named.items())


def _sizes(ctx: click.Context, text: str, sizes: str) -> tuple[int, ...]:
    numbers = _numbers(sizes.lower().replace("x", ","))
    if numbers is None:
        raise click.UsageError(
            f"--input-shape: {text!r} is not a shape; give sizes joined by x or commas, e.g. 3x224x224, "
            "or NAME=1x3x224x224",
            ctx,
        )
    return numbers


def _numbers(text: str) -> tuple[int, ...] | None:
    """Return whole numbers by comma; None where one is none, or beyond all bounds."""
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdecimal() and len(part) < 10 for part in parts):
        return None
    return tuple(map(int, parts))


def workload_options(*, without: tuple[str, ...] = ()) -> Callable[[F], F]:
    """Add the options that state what a workload is like, but those ``without``: the argument ``stated``."""
    rows = (row for row in _WORKLOAD_OPTIONS if row.name not in without)
    return collecting("stated", *rows, make=_stated_workload)


def _stated_workload(ctx: click.Context, given: dict[str, Any]) -> TraceOptions:
    """Return what the user stated about a workload."""
    first, named = parse_shapes(ctx, given)
    if "experts" in given:
        given = {**given, "experts": _experts(ctx, str(given["experts"]))}
    return TraceOptions(**{**given, "input_shape": first, "input_shapes": named})


def batches_option(function: F) -> F:
    """Add ``--batch N,...``: the argument ``batches``, each once and in order."""
    return click.option(
        "--batch",
        "batches",
        metavar="N,...",
        callback=_batches,
        help="Inputs of one run, by comma: each workload at each [default: 1].",
    )(function)


def _batches(ctx: click.Context, _parameter: click.Parameter, text: str | None) -> tuple[int, ...]:
    """Return the batches of ``--batch N,...``, each once and in order; a usage error if one is none."""
    if text is None:
        return (1,)
    parts = [part.strip() for part in text.split(",")]
    values = [int(part) if part.isascii() and part.isdecimal() and len(part) < 10 else part for part in parts]
    problem = next(filter(None, map(batch_problem, values)), None)
    if problem:
        raise click.UsageError(f"--{problem}, by comma, e.g. 1,8,64", ctx)
    return tuple(dict.fromkeys(map(int, values)))


def _experts(ctx: click.Context, text: str) -> tuple[int, ...]:
    numbers = _numbers(text)
    if numbers is None:
        raise click.UsageError(f"--experts: {text!r} is no list of experts; give their numbers, e.g. 0,3", ctx)
    return numbers


_MANY_SHAPES = 250


def with_batches(workload: str, trace: LayerTrace, stated: TraceOptions, batches: Sequence[int]) -> list[LayerTrace]:
    """Return ``trace`` of ``workload`` at each batch; how a language model runs depends on all sequences."""
    if trace.language is None:
        return [with_batch(trace, batch) for batch in batches]
    return [trace_workload(workload, replace(stated, batch=batch)) for batch in batches]


def read_workload(ctx: click.Context, workload: str, stated: TraceOptions) -> LayerTrace:
    """Return the trace of ``workload`` as stated; what is left out of it is noted, since totals lack it."""
    trace = trace_workload(workload, stated)
    for remark in trace.remarks:
        session(ctx).note(remark)
    for operation, count in trace.skipped:
        session(ctx).note(f"{workload}: left out: {count} x {operation}; every total is without it")
    if len({layer.dims for layer in trace.layers}) > _MANY_SHAPES:
        session(ctx).note(
            f"{workload}: {len(trace.layers)} layers of many shapes; each takes about a hundredth of a second"
        )
    return trace


BATCH_ROW = OptionRow(
    "--batch", click.INT, "Inputs of one run [default: 1]; multiplies those that the workload has itself."
)
PHASE_ROWS = (
    OptionRow("--phase", Choice(PHASES), "Language model: what is run of it [default: prefill]."),
    OptionRow(
        "--context",
        click.INT,
        "Language model: tokens in the cache before the one decoded; of a prefill the prompt's [default: the model's].",
    ),
    OptionRow("--prompt", click.INT, "Language model: tokens of the prompt of generate, or of prefill."),
    OptionRow("--tokens", click.INT, "Language model: tokens of the answer of generate."),
    OptionRow(
        "--kv-bits", click.INT, "Language model: bits of a cached number, 16, 8 or 4 [default: an activation's]."
    ),
)
_WORKLOAD_OPTIONS = (
    OptionRow("--sparsity", click.FLOAT, "Without a ticket: fraction of zeros in the mask."),
    OptionRow("--prune-ratio", click.FLOAT, "Without a ticket: fraction of all weights that freezing prunes."),
    OptionRow("--lock-ratio", click.FLOAT, "Without a ticket: fraction of all weights that freezing locks."),
    OptionRow("--distribution", Choice(get_args(RatioDistribution)), "Without a ticket: how ratios are spread."),
    OptionRow("--seed", click.INT, "Without a ticket: seed of the weights."),
    OptionRow("--num-classes", click.INT, "Network by name: classes."),
    OptionRow(
        "--input-shape",
        click.STRING,
        "Network by name, exported module of dynamic size: input, e.g. 3x224x224; of several NAME=1x8x128, repeated.",
        is_repeated=True,
    ),
    OptionRow("--width-factor", click.FLOAT, "Network by name: multiplies the hidden channels."),
    OptionRow(
        "--skip-unsupported", click.BOOL, "Exported module: leave out and count unknown operations without products."
    ),
    BATCH_ROW,
    OptionRow("--ignore-sparsity-column", click.BOOL, "Topology: read an N:M column as dense."),
    *PHASE_ROWS,
    OptionRow(
        "--experts", click.STRING, "Language model: experts hit in each mixture, by comma [default: as expected]."
    ),
)


MAPPING_ROW = OptionRow(
    "--mapping",
    click.STRING,
    "Tile sizes and loop orders to use instead of the mapper's choice (YAML).",
    metavar="FILE",
)
UNCERTAINTY_ROW = OptionRow(
    "--uncertainty",
    click.BOOL,
    "Say how sure the energies and their ratios are (with --out also as uncertainty.json and .png).",
)
EXACT_ROW = OptionRow("--exact", click.BOOL, "Simulate every tile, none summed up as repetition of another.")
STORAGE_OF_ROW = OptionRow(
    "--storage-of",
    click.STRING,
    "Another storage format for a layer, or for a kind such as linear; repeatable.",
    is_repeated=True,
    metavar="LAYER=FORMAT",
)


def model_options(argument: str, model: type[BaseModel], without: frozenset[str]) -> Callable[[F], F]:
    """Add an option ``--field-name`` for each field of ``model``, its help the field's documentation.

    Parameters
    ----------
    argument
        The command's parameter: what the user gave, by the fields' names.
    model
        Fields are numbers, texts or choices of words.
    without
        Fields that get no option here.
    """
    fields = documented(model).model_fields.items()
    return collecting(argument, *(_row_of(name, field) for name, field in fields if name not in without))


def _row_of(name: str, field: FieldInfo) -> OptionRow:
    shown = "" if field.default is None else f" [default: {field.default}]"
    text = f"{(field.description or '').rstrip('.')}.{shown}"
    return OptionRow(f"--{name.replace('_', '-')}", _click_type(field.annotation), text)


def _click_type(annotation: Any) -> click.ParamType[Any]:
    if get_origin(annotation) is Literal:
        return Choice(list(get_args(annotation)))
    kinds = [kind for kind in (get_args(annotation) or (annotation,)) if kind is not type(None)]
    types: dict[Any, click.ParamType[Any]] = {int: click.INT, float: click.FLOAT, bool: click.BOOL}
    return types.get(kinds[0], click.STRING)
