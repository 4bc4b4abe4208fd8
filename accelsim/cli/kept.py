"""Options that a command does not take as arguments: they have many, and hand most of them on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")


class KeptOption(Generic[T]):
    """An option that decorates a command; `of` returns its value, as ``convert`` makes it from what click has read.

    A command without the option has the value that ``convert`` makes from nothing: None, or an empty tuple of a
    ``multiple`` one, or False of a flag.
    """

    def __init__(self, flag: str, convert: Callable[[click.Context, Any], T], help_text: str, **settings: Any) -> None:
        self._flag, self._convert = flag, convert
        self._settings: dict[str, Any] = {"help": help_text, "expose_value": False, "callback": self._keep} | settings
        self._nothing = () if settings.get("multiple") else False if settings.get("is_flag") else None

    def __call__(self, function: F) -> F:
        """Add the option to a command."""
        return click.option(self._flag, **self._settings)(function)

    def of(self, ctx: click.Context) -> T:
        """Return its value in this call."""
        value: T = ctx.meta[self._flag] if self._flag in ctx.meta else self._convert(ctx, self._nothing)
        return value

    def _keep(self, ctx: click.Context, _parameter: click.Parameter, value: Any) -> None:
        ctx.meta[self._flag] = self._convert(ctx, value)


def kept_flag(flag: str, help_text: str) -> KeptOption[bool]:
    """Return a switch."""
    return KeptOption(flag, lambda _, value: bool(value), help_text, is_flag=True)


def kept_text(flag: str, metavar: str, help_text: str) -> KeptOption[str | None]:
    """Return an option with a text, None where it is not given."""

    def as_it_is(_: click.Context, value: str | None) -> str | None:
        return value

    return KeptOption(flag, as_it_is, help_text, metavar=metavar)


def kept_texts(flag: str, metavar: str, help_text: str, **settings: Any) -> KeptOption[tuple[str, ...]]:
    """Return a repeatable option, its values in order."""

    def as_they_are(_: click.Context, values: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(values)

    return KeptOption(flag, as_they_are, help_text, metavar=metavar, multiple=True, **settings)
