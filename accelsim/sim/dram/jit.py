"""The compiler of the kernels: numba where it works, plain Python under ``NUMBA_DISABLE_JIT=1``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, cast

import numba
import numpy as np
from numba.core import types
from numba.extending import intrinsic
from numpy.typing import NDArray

P = ParamSpec("P")
R = TypeVar("R")
IntArray = NDArray[np.int64]

_helper: Any = numba.njit(no_cpython_wrapper=True, no_cfunc_wrapper=True, forceinline=True)  # type: ignore[call-overload]
JIT_IS_ON = not numba.config.DISABLE_JIT  # type: ignore[attr-defined]


def compiled(function: Callable[P, R]) -> Callable[P, R]:
    """Compile a kernel helper into its callers; it cannot be called from Python (see ``py_func``) and is not cached."""
    return cast("Callable[P, R]", _helper(function))


def compiled_and_cached(function: Callable[P, R]) -> Callable[P, R]:
    """Compile an entry point and keep the machine code on disk; without a writable place it is compiled every time.

    Numba looks for changes only in the file of `function`, so the caller must close over the `stamp_of` the others:
    closed-over values are part of the key.
    """
    try:
        return cast("Callable[P, R]", numba.njit(cache=True)(function))
    except RuntimeError:
        return cast("Callable[P, R]", numba.njit(function))


@intrinsic
def _pointer(typing_context: Any, address: Any) -> Any:
    """Turn an address into a pointer to int64."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.inttoptr(args[0], context.get_value_type(signature.return_type))

    return types.CPointer(types.int64)(address), code  # type: ignore[no-untyped-call]


@compiled
def borrowed_row(address: int, size: int) -> IntArray:
    """Return a one-dimensional view of an int64 array that the caller keeps alive.

    A borrowed view is not reference-counted: counting took four fifths of the kernels' time.
    """
    return numba.carray(_pointer(address), (size,))  # type: ignore


@compiled
def borrowed_table(address: int, num_rows: int, num_columns: int) -> IntArray:
    """Return a two-dimensional view, see `borrowed_row`."""
    return numba.carray(_pointer(address), (num_rows, num_columns))  # type: ignore
