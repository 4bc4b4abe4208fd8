"""The compiler of the kernels: numba where it works, plain Python under ``NUMBA_DISABLE_JIT=1``."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec, TypeVar, cast

import numba

P = ParamSpec("P")
R = TypeVar("R")


def compiled(function: Callable[P, R]) -> Callable[P, R]:
    """Compile a kernel helper; it is compiled into its callers and not cached by itself."""
    return cast("Callable[P, R]", numba.njit(function))


def compiled_and_cached(function: Callable[P, R]) -> Callable[P, R]:
    """Compile an entry point and keep the machine code on disk; without a writable place it is compiled every time.

    Numba looks for changes only in the file of `function`, so the caller must close over `kernel_stamp`: closed-over
    values are part of the key.
    """
    try:
        return cast("Callable[P, R]", numba.njit(cache=True)(function))
    except RuntimeError:
        return cast("Callable[P, R]", numba.njit(function))


def kernel_stamp(*file_names: str) -> int:
    """Return a number that changes with the text of any of these files of this package."""
    digest = hashlib.sha256()
    for name in file_names:
        digest.update((Path(__file__).parent / name).read_bytes())
    return int.from_bytes(digest.digest()[:6], "big")
