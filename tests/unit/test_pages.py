"""The pages are wrapped as `docs/hooks/wrap.py` does it."""

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SPEC = importlib.util.spec_from_file_location("wrap", ROOT / "docs" / "hooks" / "wrap.py")
wrap = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(wrap)


@pytest.mark.parametrize("page", wrap.pages(), ids=lambda page: page.relative_to(ROOT).as_posix())
def test_text_is_wrapped(page):
    text = page.read_text(encoding="utf-8")
    assert text == wrap.wrapped(text), "wrap it: make format"


def test_what_is_no_text_stays_and_text_is_filled():
    word = "word " * 30
    code = f"    {word}"
    table = f"| {word} | {word} |"
    item = f"- {word}"
    made = wrap.wrapped(f"{code}\n\n{table}\n\n{item}\n").split("\n")

    assert made[:4] == [code, "", table, ""]
    assert all(len(line) <= wrap.WIDTH for line in made[4:])
    assert made[4].startswith("- word") and made[5].startswith("  word")
