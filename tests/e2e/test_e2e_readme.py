"""The README shows what a run really prints; ``make golden`` writes it again."""

import os
from pathlib import Path

from accelsim.cli.main import main

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
BEGIN = "<!-- output of accelsim run hwconfigs/edge.yaml workloads/resnet_slt.pt -->\n"
END = "<!-- end of output -->\n"
FIRST_ROWS, LAST_ROWS = 4, 3


def shown_block(output):
    lines = [line.rstrip() for line in output.splitlines()]
    begin = next(index for index, line in enumerate(lines) if line.lstrip().startswith("conv1 "))
    end = next(index for index in range(begin, len(lines)) if not lines[index])
    left_out = f" ... {end - begin - FIRST_ROWS - LAST_ROWS} more layers ..."
    kept = [*lines[: begin + FIRST_ROWS], left_out, *lines[end - LAST_ROWS :]]
    return "```text\n" + "\n".join(kept).strip("\n") + "\n```\n"


def test_readme_shows_the_output_of_its_first_command(capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("COLUMNS", "120")
    assert main(["run", "hwconfigs/edge.yaml", "workloads/resnet_slt.pt"]) == 0
    block = shown_block(capsys.readouterr().out)
    text = README.read_text(encoding="utf-8")
    head, rest = text.split(BEGIN)
    shown, tail = rest.split(END)
    if os.environ.get("ACCELSIM_REGENERATE"):
        README.write_text(head + BEGIN + block + END + tail, encoding="utf-8")
        return
    assert shown == block, "the figures moved: run make golden, and say in CHANGELOG.md which and why"
