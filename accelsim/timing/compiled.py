"""Loops over events that no array expression says, in plain Python for few and compiled for many.

Numba keeps the machine code beside the file of the loop, so that each is compiled once after an installation.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

FEW = 200_000  # turns of a loop: what takes plain Python about as long as loading compiled code
LONGER = 10  # times as many turns, or events of the solver, where code must be compiled first
LOADED = 20_000  # where this process has loaded compiled code before


@lru_cache(maxsize=1)
def is_compiled() -> bool:
    """Return whether an earlier process has left compiled code beside these files."""
    return any((Path(__file__).parent / "__pycache__").glob("walk.compiled_walk.locals.entry-*.nbi"))


def run_loop(loop: Callable[..., Any], turns: int, *arguments: npt.NDArray[Any] | int) -> Any:
    """Return what a loop returns that goes through about so many turns; arrays reach it as lists or as they are."""
    few = LOADED if "numba" in sys.modules else FEW * (1 if is_compiled() else LONGER)
    compiled = _compiled(loop) if turns > few else None
    if compiled is not None:
        return compiled(*arguments)
    # Indexing an array element by element takes plain Python several times as long as a list.
    return loop(*(each.tolist() if isinstance(each, np.ndarray) else each for each in arguments))


@lru_cache
def _compiled(loop: Callable[..., Any]) -> Any:
    """Return a loop compiled; None if numba is switched off."""
    import numba  # noqa: PLC0415  a short run does without it

    if numba.config.DISABLE_JIT:  # type: ignore[attr-defined]
        return None
    try:
        return numba.njit(cache=True)(loop)
    except RuntimeError:  # no folder for the machine code can be written
        return numba.njit(loop)
