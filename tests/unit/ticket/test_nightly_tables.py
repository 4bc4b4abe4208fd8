"""The tables of docs/import.md name what ``make nightly`` tries, and nothing else."""

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[3]


def loaded(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"nightly_{name}", ROOT / "tests/nightly" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["architectures", "layouts"])
def test_the_page_names_all_rows_of_the_nightly_import(name: str) -> None:
    rows = getattr(loaded(name), name.upper())
    page = (ROOT / "docs/import.md").read_text(encoding="utf-8").partition("## What is tried")[2]
    tables = re.split(r"\n\n", page.partition("\n## ")[0])
    table = next(text for text in tables if text.startswith("| library" if name == "architectures" else "| layout"))
    columns = [row.strip("|").split(" | ")[1 if name == "architectures" else 0] for row in table.splitlines()[2:]]
    assert re.findall("`([^`]+)`", " ".join(columns)) == list(rows)
