"""Sizes of dynamic axes: expressions over symbols, computed without evaluating code."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from math import prod

_MAX_TEXT = 2000
_BINARY: dict[type[ast.operator], Callable[[int, int], int]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}


def _exact(a: int, b: int) -> int:
    if a % b:
        raise ValueError("a size is no whole number")
    return a // b


_CALLS: dict[str, Callable[..., int]] = {
    "Max": max,
    "Min": min,
    "FloorDiv": operator.floordiv,
    "CleanDiv": _exact,
    "IntTrueDiv": _exact,
    "Mod": operator.mod,
    "PythonMod": operator.mod,
    "floor": lambda a: a,
    "ceiling": lambda a: a,
    "TruncToInt": lambda a: a,
    "CeilToInt": lambda a: a,
    "Integer": lambda a: a,
    "Mul": lambda *values: prod(values),
    "Add": lambda *values: sum(values),
}


def symbol_of(text: str) -> str | None:
    """Return the name of an expression that is one symbol: ``s0`` or ``Symbol('s0', ...)``; None for any other."""
    if len(text) > _MAX_TEXT:
        return None
    try:
        node = ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    match node:
        case ast.Name(id=name):
            return name
        case ast.Call(func=ast.Name(id="Symbol"), args=[ast.Constant(value=str(name))]):
            return name
    return None


def size_of(text: str, symbols: Mapping[str, int]) -> int:
    """Return the value of an expression over ``symbols``.

    Raises
    ------
    ValueError
        It has another operation, an unknown symbol, or no whole result.
    """
    if len(text) > _MAX_TEXT:
        raise ValueError("an expression of a size is too long")
    try:
        return _value(ast.parse(text, mode="eval").body, symbols)
    except (SyntaxError, ArithmeticError, TypeError, KeyError, RecursionError, MemoryError) as error:
        raise ValueError(f"a size {text[:60]!r} cannot be computed") from error


def _value(node: ast.expr, symbols: Mapping[str, int]) -> int:
    match node:
        case ast.Constant(value=int(value)) if not isinstance(value, bool):
            return value
        case ast.Name(id=name):
            return symbols[name]
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_value(operand, symbols)
        case ast.BinOp(left=left, op=ast.Pow(), right=ast.Constant(value=int(power))) if 0 <= power <= 8:  # noqa: PLR2004
            return int(_value(left, symbols) ** power)
        case ast.BinOp(left=left, op=ast.Div(), right=right):
            return _exact(_value(left, symbols), _value(right, symbols))
        case ast.BinOp(left=left, op=op, right=right):
            return _BINARY[type(op)](_value(left, symbols), _value(right, symbols))
        case ast.Call(func=ast.Name(id="Symbol"), args=[ast.Constant(value=str(name))]):
            return symbols[name]
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]):
            return _CALLS[name](*(_value(argument, symbols) for argument in arguments))
    raise ValueError("an expression of a size has an operation that is not supported")
