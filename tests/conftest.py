"""What tests of several folders share."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from accelsim.validation.rows import ValidationRow


@pytest.fixture(scope="session")
def reference_rows() -> Callable[[str], tuple[ValidationRow, ...]]:
    """Return what gives the rows of a reference, which take seconds: each is computed once for all tests."""

    from accelsim.validation.compare import validate  # noqa: PLC0415  most tests must not wait for scipy

    @cache
    def rows(name: str) -> tuple[ValidationRow, ...]:
        return tuple(validate([name]))

    return rows
