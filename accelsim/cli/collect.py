"""Options that come in numbers: they are collected by name instead of each being an argument of the command."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeVar, get_args, get_origin

import click
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from accelsim.prng import RatioDistribution
from accelsim.trace import TraceOptions

F = TypeVar("F", bound=Callable[..., Any])
_KEY = "accelsim.options"
_EXACT_KEY = "accelsim.exact"


def collected(ctx: click.Context) -> dict[str, Any]:
    """Return the collected options that the user gave, by field name."""
    values: dict[str, Any] = ctx.meta.setdefault(_KEY, {})
    return values


def workload_options(function: F) -> F:
    """Add the options that state what a workload without a ticket is like; `wanted_workload` returns them."""
    for flag, kind, text in reversed(_WORKLOAD_OPTIONS):
        name = flag.removeprefix("--").replace("-", "_")
        function = click.option(
            flag, name, type=kind, default=None, expose_value=False, callback=_collect, help=f"Without a ticket: {text}"
        )(function)
    return function


def wanted_workload(ctx: click.Context) -> TraceOptions:
    """Return what the user stated about a workload without a ticket."""
    given = collected(ctx)
    if "input_shape" in given:
        given["input_shape"] = _shape(ctx, given["input_shape"])
    return TraceOptions(**given)


def _shape(ctx: click.Context, text: str) -> tuple[int, ...]:
    parts = text.lower().split("x")
    if not all(part.isdecimal() and len(part) < 10 for part in parts):
        raise click.UsageError(f"--input-shape: {text!r} is not a shape; give sizes joined by x, e.g. 3x224x224", ctx)
    return tuple(map(int, parts))


_WORKLOAD_OPTIONS: tuple[tuple[str, click.ParamType[Any], str], ...] = (
    ("--sparsity", click.FLOAT, "fraction of zeros in the mask."),
    ("--prune-ratio", click.FLOAT, "fraction of all weights that freezing prunes."),
    ("--lock-ratio", click.FLOAT, "fraction of all weights that freezing locks."),
    ("--distribution", click.Choice(list(get_args(RatioDistribution))), "how the ratios are spread over layers."),
    ("--seed", click.INT, "seed of its weights."),
    ("--num-classes", click.INT, "classes of a network by name."),
    ("--input-shape", click.STRING, "input of a network by name, e.g. 3x224x224."),
    ("--width-factor", click.FLOAT, "multiplies the hidden channels of a network by name."),
    ("--ignore-sparsity-column", click.BOOL, "read a topology's N:M column as dense (true or false)."),
)


def exact_option(function: F) -> F:
    """Add ``--exact``; `wants_exact` tells whether it was given."""
    return click.option(
        "--exact",
        is_flag=True,
        expose_value=False,
        callback=lambda ctx, _, value: ctx.meta.update({_EXACT_KEY: value}),
        help="Simulate every tile, none summed up as repetition of another.",
    )(function)


def wants_exact(ctx: click.Context) -> bool:
    """Return whether the user gave ``--exact``."""
    return bool(ctx.meta.get(_EXACT_KEY))


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
        for name, field in reversed(model.model_fields.items()):
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
    if value is not None and parameter.name is not None:
        collected(ctx)[parameter.name] = value


def _click_type(annotation: Any) -> click.ParamType[Any]:
    if get_origin(annotation) is Literal:
        return click.Choice(list(get_args(annotation)))
    kinds = [kind for kind in (get_args(annotation) or (annotation,)) if kind is not type(None)]
    types: dict[Any, click.ParamType[Any]] = {int: click.INT, float: click.FLOAT, bool: click.BOOL}
    return types.get(kinds[0], click.STRING)
