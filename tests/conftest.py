"""What tests of several folders share."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import cache
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from accelsim.mapping.mapper import MappedLayer
    from accelsim.mapping.ranking import Ranked
    from accelsim.validation.rows import ValidationRow

# Else each process that a test starts compiles the program anew, a third of a second.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


@pytest.fixture(scope="session")
def reference_rows() -> Callable[[str], tuple[ValidationRow, ...]]:
    """Return what gives the rows of a reference, which take seconds: each is computed once for all tests."""

    from accelsim.validation.compare import validate  # noqa: PLC0415  most tests must not wait for scipy

    @cache
    def rows(name: str) -> tuple[ValidationRow, ...]:
        return tuple(validate([name]))

    return rows


@pytest.fixture(scope="module")
def first_choice(_first_choices: object) -> Iterator[None]:
    """Let the mapper take the tiling that its closed form likes best, unsolved rivals apart.

    For tests in which figures come from a mapping but are not about it: solving a dozen tilings of every layer is most
    of the time that a run takes. Not for figures that are compared with those of another process.
    """
    from accelsim import pipeline  # noqa: PLC0415  most tests must not wait for numpy
    from accelsim.mapping import mapper  # noqa: PLC0415

    rank = mapper._finalists

    def best(*arguments: object) -> list[Ranked]:
        return rank(*arguments)[:1]  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mapper, "_finalists", best)
        patch.setattr(mapper, "_kept_choices", _first_choices)  # what is kept of one mapper is not the other's
        pipeline._best_groups.cache_clear()
        yield
        pipeline._best_groups.cache_clear()


@pytest.fixture(scope="session")
def _first_choices() -> object:
    from accelsim.mapping import mapper  # noqa: PLC0415
    from accelsim.mapping.kept import Kept  # noqa: PLC0415

    kept: Kept[MappedLayer] = Kept(mapper.KEPT_CHOICES)
    return kept
