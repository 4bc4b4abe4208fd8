"""Every command that README and documentation show is run, in the order of its page; the site builds strictly."""

import importlib.util
import os
import re
import shlex
import subprocess
import sys
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path

import click
import pytest

from accelsim import trace
from accelsim.cli.main import cli, main
from accelsim.config import presets
from accelsim.slt import data
from accelsim.validation import compare

ROOT = Path(__file__).resolve().parents[2]
IS_NIGHTLY = "ACCELSIM_NIGHTLY" in os.environ
pytestmark = [] if IS_NIGHTLY else [pytest.mark.usefixtures("first_choice_in_module")]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "hwconfigs" / "README.md",
    *sorted(ROOT.glob("docs/**/*.md")),
]
INPUTS = ("hwconfigs", "examples", "tests")
SMALL_TICKET = "gin_slt_f50.pt"  # stands in for the ResNet's, which the commands' own tests take
TRACE = "".join(f"{64 * index:#x} {'W' if index % 3 == 0 else 'R'}\n" for index in range(64))
# Made by a command of another page, or by the reader: what a page takes for granted.
PARTS = ("train", "test")
SAVED_RUN = [
    "run",
    "hwconfigs/edge.yaml",
    "workloads/conv6_slt_f90.pt",
    "--compare",
    "none",
    "--json",
    "--out",
    "out/run",
]


def shown_commands(page):
    """Return the command lines in the page's code blocks, comments cut off and continued lines joined."""
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [re.sub(r"^(\$ )", "", line.strip()) for line in text.splitlines() if is_code(line)]
    return [re.sub(r"\s+#\s.*$", "", line) for line in lines if line.startswith("accelsim ")]


def is_code(line):
    return line.startswith(("    ", "accelsim ", "$ accelsim "))


def inline_commands(page):
    """Return what stands between backticks and begins with the program's name."""
    return re.findall(r"`accelsim ([a-z][^`]*)`", page.read_text(encoding="utf-8"))


PAGES_WITH_COMMANDS = [page for page in PAGES if shown_commands(page)]


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    """Return a folder that looks like a clone, in which commands may write."""
    folder = tmp_path_factory.mktemp("desk")
    for name in INPUTS:
        (folder / name).symlink_to(ROOT / name)
    (folder / "workloads").mkdir()
    for ticket in (ROOT / "workloads").glob("*.pt"):
        stand_in = SMALL_TICKET if ticket.name.startswith("resnet") else ticket.name
        (folder / "workloads" / ticket.name).symlink_to(ROOT / "workloads" / stand_in)
    (folder / "out" / "tutorial").mkdir(parents=True)
    chip = re.search(r"```yaml\n(.*?)```", (ROOT / "docs/howto/chip.md").read_text(encoding="utf-8"), flags=re.DOTALL)[
        1
    ]
    (folder / "mychip.yaml").write_text(chip, encoding="utf-8")
    (folder / "requests.trace").write_text(TRACE, encoding="utf-8")
    return folder


@pytest.fixture
def quick(monkeypatch):
    """Let ``validate`` compare one table under every name, ``search`` see a tenth of the digits, and every network that
    a chip runs be a small one.

    The tests of each take all; ``make nightly`` takes the networks as the pages name them.
    """
    whole = data.load_digits()
    few = {
        f"{part}_{what}": getattr(whole, f"{part}_{what}")[::10] for part, what in product(PARTS, ("images", "labels"))
    }
    monkeypatch.setattr(data, "load_digits", lambda: replace(whole, **few))
    monkeypatch.setattr(compare, "REFERENCES", dict.fromkeys(compare.REFERENCES, compare.validate_model_sizes))
    if not IS_NIGHTLY:
        stand_in = {"resnet_slt": SMALL_TICKET.removesuffix(".pt")}
        find = presets.find_preset
        monkeypatch.setattr(presets, "find_preset", lambda name, folder: find(stand_in.get(name, name), folder))
        small = partial(trace.build_network, "resnet18", width_factor=0.125)
        monkeypatch.setattr(trace, "build_network", lambda name, **of: small(num_classes=of["num_classes"]))


LONG = {"cores", "dse", "report", "search", "batch", "language_models", "tutorial", "fusion"}


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES_WITH_COMMANDS, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_shown_command_works(page, desk, quick, monkeypatch, capsys):
    if page.stem in LONG and not IS_NIGHTLY:
        pytest.skip("many seconds of commands; make nightly runs them")
    monkeypatch.chdir(desk)
    for command in shown_commands(page):
        words = []
        for word in shlex.split(command)[1:]:
            words += sorted(map(str, Path().glob(word))) if "*" in word else [word]
        if "out/run" in words and not Path("out/run").exists():
            assert main(SAVED_RUN) == 0
        assert main(words) == 0, f"{command}: {capsys.readouterr().err}"
        capsys.readouterr()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_commands_named_in_the_text_exist(page):
    for text in inline_commands(page):
        group, words = cli, text.split()
        while isinstance(group, click.Group):
            context = click.Context(group)
            command = group.get_command(context, words[0]) if words else None
            if command is None:
                assert not words or words[0].isupper() or group is not cli, f"accelsim {text}: no such command"
                break
            group, words = command, words[1:]
        known = {option for parameter in group.params for option in [*parameter.opts, *parameter.secondary_opts]}
        unknown = {word.split("=")[0] for word in words if word.startswith("--")} - known - {"--help"}
        assert not unknown, f"accelsim {text}: no option {unknown}"


@pytest.mark.slow
@pytest.mark.skipif(not IS_NIGHTLY, reason="four seconds; make docs builds it, and make nightly")
@pytest.mark.skipif(importlib.util.find_spec("material") is None, reason="the extra docs is not installed")
def test_site_builds_without_a_warning(tmp_path):
    words = ["build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", *words], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    reference = (tmp_path / "site" / "reference" / "hardware.html").read_text(encoding="utf-8")
    assert "data_rate_mtps" in reference
    assert "accelsim report" in (tmp_path / "site" / "reference" / "commands.html").read_text(encoding="utf-8")
