"""Options that come in numbers: they are collected by name instead of each being an argument of the command."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeVar, get_args, get_origin

import click
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from accelsim.cli.common import Choice, session
from accelsim.cli.kept import KeptOption, kept_flag, kept_text, kept_texts
from accelsim.documented import documented
from accelsim.prng import RatioDistribution
from accelsim.report.pictures import Pictures
from accelsim.trace import TraceOptions, trace_workload
from accelsim.trace.batch import batch_problem, with_batch
from accelsim.trace.model import LayerTrace
from accelsim.trace.options import PHASES

F = TypeVar("F", bound=Callable[..., Any])
_KEY = "accelsim.options"


def collected(ctx: click.Context) -> dict[str, Any]:
    """Return the collected options that the user gave, by field name."""
    values: dict[str, Any] = ctx.meta.setdefault(_KEY, {})
    return values


@dataclass(frozen=True, slots=True)
class OptionRow:
    """An option that is collected: ``--some-name`` becomes the field ``some_name``; a ``click.BOOL`` is a switch.

    One that ``is_repeated`` may be given several times.
    """

    flag: str
    kind: click.ParamType[Any]
    text: str
    is_repeated: bool = False

    @property
    def name(self) -> str:
        """Return the field's name."""
        return self.flag.removeprefix("--").replace("-", "_")


def collecting(*rows: OptionRow) -> Callable[[F], F]:
    """Add ``rows`` as options; `collected` returns what the user gave."""

    def decorate(function: F) -> F:
        for row in reversed(rows):
            function = click.option(
                row.flag,
                row.name,
                type=row.kind,
                is_flag=row.kind is click.BOOL,
                multiple=row.is_repeated,
                default=None,
                expose_value=False,
                callback=_collect,
                help=row.text,
            )(function)
        return function

    return decorate


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
    """Add the options that state what a workload is like, but those ``without``; `wanted_workload` returns them."""
    return collecting(*(row for row in _WORKLOAD_OPTIONS if row.name not in without))


def _batches(ctx: click.Context, text: str | None) -> tuple[int, ...]:
    if text is None:
        return (1,)
    parts = [part.strip() for part in text.split(",")]
    values = [int(part) if part.isascii() and part.isdecimal() and len(part) < 10 else part for part in parts]
    problem = next(filter(None, map(batch_problem, values)), None)
    if problem:
        raise click.UsageError(f"--{problem}, by comma, e.g. 1,8,64", ctx)
    return tuple(dict.fromkeys(map(int, values)))


batches_option = KeptOption(
    "--batch", _batches, "Inputs of one run, by comma: each workload at each [default: 1].", metavar="N,..."
)
"""``--batch`` of a command that takes several values, each once and in order."""


def wanted_workload(ctx: click.Context) -> TraceOptions:
    """Return what the user stated about a workload without a ticket."""
    given = dict(collected(ctx))
    first, named = parse_shapes(ctx, given)
    if "experts" in given:
        given["experts"] = _experts(ctx, str(given["experts"]))
    return TraceOptions(**{**given, "input_shape": first, "input_shapes": named})


def _experts(ctx: click.Context, text: str) -> tuple[int, ...]:
    numbers = _numbers(text)
    if numbers is None:
        raise click.UsageError(f"--experts: {text!r} is no list of experts; give their numbers, e.g. 0,3", ctx)
    return numbers


_MANY_SHAPES = 250


def with_batches(ctx: click.Context, workload: str, trace: LayerTrace) -> list[LayerTrace]:
    """Return ``trace`` of ``workload`` at each of ``--batch``; how a language model runs depends on all sequences."""
    options = wanted_workload(ctx)
    if trace.language is None:
        return [with_batch(trace, batch) for batch in batches_option.of(ctx)]
    return [trace_workload(workload, replace(options, batch=batch)) for batch in batches_option.of(ctx)]


def read_workload(ctx: click.Context, workload: str, most_sequences: int = 1) -> LayerTrace:
    """Return the trace of ``workload`` as its options say; what is left out of it is noted, since totals lack it.

    ``most_sequences``: of the runs that are made of it; as many hit the experts that are named.
    """
    options = wanted_workload(ctx)
    if options.experts is not None:
        options = replace(options, batch=max(options.batch, most_sequences))
    trace = trace_workload(workload, options)
    for remark in trace.remarks:
        session(ctx).note(remark)
    for operation, count in trace.skipped:
        session(ctx).note(f"{workload}: left out: {count} x {operation}; every total is without it")
    if len({layer.dims for layer in trace.layers}) > _MANY_SHAPES:
        session(ctx).note(
            f"{workload}: {len(trace.layers)} layers of many shapes; each takes about a hundredth of a second"
        )
    return trace


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
    OptionRow("--batch", click.INT, "Inputs of one run [default: 1]; multiplies those that the workload has itself."),
    OptionRow("--ignore-sparsity-column", click.BOOL, "Topology: read an N:M column as dense."),
    *PHASE_ROWS,
    OptionRow(
        "--experts", click.STRING, "Language model: experts hit in each mixture, by comma [default: as expected]."
    ),
)


exact_option = kept_flag("--exact", "Simulate every tile, none summed up as repetition of another.")
uncertainty_option = kept_flag(
    "--uncertainty",
    "Say how sure the energies and their ratios are (with --out also as uncertainty.json and .png).",
)
storage_of_option = kept_texts(
    "--storage-of",
    "LAYER=FORMAT",
    "Another storage format for a layer, or for a kind such as linear; repeatable.",
)
requests_option = kept_text(
    "--dram-trace", "FILE", "Write the run's memory requests there, as accelsim dram --requests reads them."
)
mapping_option = kept_text(
    "--mapping", "FILE", "Tile sizes and loop orders to use instead of the mapper's choice (YAML)."
)
_timeline = kept_text("--timeline", "FILE", "Write a timeline of all units there (JSON for ui.perfetto.dev).")
_gantt = kept_text("--gantt", "FILE", "Draw the tiles of one layer there (SVG).")
_gantt_layer = kept_text("--gantt-layer", "NAME", "Layer of --gantt [default: the slowest].")


def timeline_option(function: F) -> F:
    """Add ``--timeline``, ``--gantt`` and ``--gantt-layer``; `wanted_pictures` returns them."""
    return _timeline(_gantt(_gantt_layer(function)))


def wanted_pictures(ctx: click.Context) -> Pictures:
    """Return what `timeline_option` collected."""
    return Pictures(_timeline.of(ctx), _gantt.of(ctx), _gantt_layer.of(ctx))


def of_one_run(ctx: click.Context) -> list[str]:
    """Return the options given that belong to one run of one network."""
    pictures = wanted_pictures(ctx)
    given = {
        "--timeline": pictures.timeline,
        "--gantt": pictures.gantt,
        "--dram-trace": requests_option.of(ctx),
        "--mapping": mapping_option.of(ctx),
        "--exact": exact_option.of(ctx),
        "--uncertainty": uncertainty_option.of(ctx),
    }
    return [option for option, value in given.items() if value]


def model_options(model: type[BaseModel], without: frozenset[str]) -> Callable[[F], F]:
    """Add an option ``--field-name`` for each field of ``model``; its help is the field's documentation.

    Parameters
    ----------
    model
        Fields are numbers, texts, switches or choices of words.
    without
        Fields that get no option here.
    """

    def decorate(function: F) -> F:
        for name, field in reversed(documented(model).model_fields.items()):
            if name not in without:
                function = _option(name, field)(function)
        return function

    return decorate


def _option(name: str, field: FieldInfo) -> Callable[[F], F]:
    shown = "" if field.default is None else f" [default: {field.default}]"
    return click.option(
        f"--{name.replace('_', '-')}",
        name,
        type=_click_type(field.annotation),
        default=None,
        expose_value=False,
        callback=_collect,
        help=f"{(field.description or '').rstrip('.')}.{shown}",
    )


def _collect(ctx: click.Context, parameter: click.Parameter, value: object) -> None:
    if parameter.name is None:
        return
    session(ctx).flags[parameter.name] = parameter.opts[0]
    is_given = value is not None and value is not False and value != ()  # 0 is a value
    if is_given:
        collected(ctx)[parameter.name] = value


def _click_type(annotation: Any) -> click.ParamType[Any]:
    if get_origin(annotation) is Literal:
        return Choice(list(get_args(annotation)))
    kinds = [kind for kind in (get_args(annotation) or (annotation,)) if kind is not type(None)]
    types: dict[Any, click.ParamType[Any]] = {int: click.INT, float: click.FLOAT, bool: click.BOOL}
    return types.get(kinds[0], click.STRING)
