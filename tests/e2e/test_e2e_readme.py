"""README and page show what a run really prints; ``make golden`` writes it again. The README names every command."""

import os
import re
from pathlib import Path

from accelsim.cli.catalogue import GROUPS
from accelsim.cli.main import main

ROOT = Path(__file__).resolve().parents[2]
COMMAND = "accelsim run hwconfigs/edge.yaml workloads/resnet_slt.pt"
FIRST_ROWS, LAST_ROWS = 4, 3
SHOWN_TOTALS = ("total", "latency", "energy", "weight traffic", "chip area")


def shown_block(lines):
    """Return the whole output but the middle of the layers."""
    begin = next(index for index, line in enumerate(lines) if line.lstrip().startswith("conv1 "))
    end = next(index for index in range(begin, len(lines)) if not lines[index])
    left_out = f" ... {end - begin - FIRST_ROWS - LAST_ROWS} more layers ..."
    return [*lines[: begin + FIRST_ROWS], left_out, *lines[end - LAST_ROWS :]]


def excerpt(lines):
    """Return some rows of the totals, and the sentences at the end."""
    begin = next(index for index, line in enumerate(lines) if re.match(r" total +slt ", line))
    rows = [line for line in lines[begin:] if re.match(rf" ({'|'.join(SHOWN_TOTALS)})  ", line)][: len(SHOWN_TOTALS)]
    last = max(index for index, line in enumerate(lines[:-1]) if not line)
    return [rows[0], lines[begin + 1], *rows[1:], *lines[last:]]


def test_pages_show_the_output_of_the_first_command(capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("COLUMNS", "120")
    assert main(COMMAND.split()[1:]) == 0
    lines = [line.rstrip() for line in capsys.readouterr().out.rstrip().splitlines()]
    for page, name, shown in (("README.md", "excerpt", excerpt(lines)), ("docs/run.md", "output", shown_block(lines))):
        begin, end = f"<!-- {name} of {COMMAND} -->\n", f"<!-- end of {name} -->\n"
        block = "```text\n" + "\n".join(shown).strip("\n") + "\n```\n"
        text = (ROOT / page).read_text(encoding="utf-8")
        head, rest = text.split(begin)
        before, tail = rest.split(end)
        if os.environ.get("ACCELSIM_REGENERATE"):
            (ROOT / page).write_text(head + begin + block + end + tail, encoding="utf-8")
        else:
            assert before == block, "the figures moved: run make golden, and say in CHANGELOG.md which and why"


def test_every_command_is_in_the_readme():
    rows = re.findall(r"^\| `accelsim (\w+)", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(rows) == sorted(entry.name for _, entries in GROUPS for entry in entries)
