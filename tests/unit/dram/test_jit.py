"""The compiler wrapper works where no cache can be written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import pytest

from accelsim.sim.dram import jit


def test_without_a_writable_place_it_compiles_every_time(monkeypatch: pytest.MonkeyPatch) -> None:
    real = numba.njit

    def njit(*args: Any, **options: Any) -> Any:
        if options.get("cache"):
            raise RuntimeError("cannot cache function 'double': no locator available")
        return real(*args, **options)

    monkeypatch.setattr(numba, "njit", njit)
    double: Callable[[int], int] = jit.compiled_and_cached(lambda x: 2 * x)
    assert double(21) == 42
