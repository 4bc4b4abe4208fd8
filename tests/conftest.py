"""What tests of several folders share."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from accelsim.mapping.kept import Kept
    from accelsim.mapping.mapper import MappedLayer
    from accelsim.mapping.ranking import Ranked
    from accelsim.validation.rows import ValidationRow

# Else each process that a test starts compiles the program anew, a third of a second.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
# As in the Makefile: threads that wait for one another on a busy machine take many times as long.
os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_collection_finish() -> None:
    """Leave what libraries and tests have made out of every further search for garbage, and search rarely."""
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


@pytest.fixture(scope="session", autouse=True)
def _solved() -> Iterator[None]:
    """Let all but the shortest runs be solved: property tests show that processes take the same cycles."""
    from accelsim.sim import run  # noqa: PLC0415  collecting must not wait for numpy

    with pytest.MonkeyPatch.context() as patch:
        if "ACCELSIM_NIGHTLY" not in os.environ:
            patch.setattr(run, "MOST_EVENTS_AS_PROCESSES", 2000)
        yield


@pytest.fixture(scope="session")
def reference_rows() -> Callable[[str], tuple[ValidationRow, ...]]:
    """Return what gives the rows of a reference, which take seconds: each is computed once for all tests."""

    from accelsim.validation.compare import validate  # noqa: PLC0415  most tests must not wait for scipy

    @cache
    def rows(name: str) -> tuple[ValidationRow, ...]:
        return tuple(validate([name]))

    return rows


@contextmanager
def taking_first_choices() -> Iterator[None]:
    """Let the mapper take the tiling that its closed form likes best, its rivals unsolved.

    Solving a dozen tilings of every layer is most of the time that a run takes. What is kept of one mapper is not the
    other's.
    """
    from accelsim import pipeline  # noqa: PLC0415  most tests must not wait for numpy
    from accelsim.mapping import mapper, network  # noqa: PLC0415

    rank = mapper._finalists

    def best(*arguments: Any) -> list[Ranked]:
        return rank(*arguments)[:1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mapper, "_finalists", best)
        patch.setattr(mapper, "_kept_choices", _kept_first_choices("_kept_choices"))
        patch.setattr(network, "_kept_layers", _kept_first_choices("_kept_layers"))
        pipeline._best_groups.cache_clear()
        yield
        pipeline._best_groups.cache_clear()


@cache
def _kept_first_choices(name: str) -> Kept[MappedLayer]:
    """Return what stands for the memory of that name, through all tests."""
    from accelsim.mapping import kept, mapper  # noqa: PLC0415

    return kept.Kept(mapper.KEPT_CHOICES if name == "_kept_choices" else mapper.KEPT_EVENTS)


@pytest.fixture
def first_choice() -> Iterator[None]:
    """Take the mapper's first choices in a test of something else; not where another process must choose the same."""
    with taking_first_choices():
        yield


@pytest.fixture(scope="module")
def first_choice_in_module() -> Iterator[None]:
    """Take them in all tests of a module, and in what they share."""
    with taking_first_choices():
        yield
