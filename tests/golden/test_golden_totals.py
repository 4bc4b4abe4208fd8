"""Totals and tilings of several networks on every chip are those reviewed last; `make golden` writes them again.

The suite runs every third network on a chip in its reviewed tilings, so that each network runs on a third of the chips,
and lets the mapper choose those of one or two chips a network; `make nightly` maps and runs all of them.
"""

import importlib.util
import json
import os
import sys
from pathlib import Path
from types import ModuleType

import pytest


def _load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("golden_regenerate", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


golden = _load(Path(__file__).resolve().parent / "regenerate.py")


IS_NIGHTLY = "ACCELSIM_NIGHTLY" in os.environ


def every(number: int) -> list[tuple[str, str]]:
    """Return each ``number``-th pair of a chip and a network."""
    return [
        (chip, case)
        for row, chip in enumerate(golden.chips())
        for column, case in enumerate(golden.CASES)
        if (row + column) % number == 0 and case in golden.cases(chip)
    ]


@pytest.fixture(scope="session", autouse=True)
def _regenerate() -> None:
    if os.environ.get("ACCELSIM_REGENERATE"):
        golden.main()


@pytest.mark.parametrize(("chip", "case"), every(1 if IS_NIGHTLY else 3))
def test_totals_are_those_reviewed(chip: str, case: str) -> None:
    path = golden.path_of(chip)
    assert path.exists(), f"no golden record of {chip}: run `make golden` and review the file"
    expected = json.loads(path.read_text(encoding="utf-8"))[case]
    assert golden.record(chip, case, is_stated=not IS_NIGHTLY) == expected, (
        "review the difference that `make golden` makes"
    )


@pytest.mark.parametrize(("chip", "case"), every(1 if IS_NIGHTLY else 13))
def test_the_mapper_chooses_the_tilings_reviewed(chip: str, case: str) -> None:
    expected = golden.reviewed_tilings().get((chip, case), [])
    names = [layer.name for layer in golden.load(chip, case)[1].layers if layer.uses_array] if expected else []
    assert dict(zip(names, golden.tilings(chip, case), strict=True)) == dict(zip(names, expected, strict=True))
