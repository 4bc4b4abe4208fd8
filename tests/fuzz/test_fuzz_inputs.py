"""Whatever a file holds: status 0 and a valid result, or status 2 and one line; never anything else.

``ACCELSIM_FUZZ_INPUTS`` is the number of inputs over all kinds (default 150); ``make fuzz`` tries 20,000, drawn anew.
"""

import os
import subprocess
import sys
from pathlib import Path
from random import Random

import click
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accelsim.cli.main import cli

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
import hostile  # noqa: E402
import targets  # noqa: E402

CORPUS = sorted(path for path in (HERE / "corpus").iterdir() if path.suffix != ".md")
KINDS = (
    "hardware",
    "memory",
    "trace",
    "space",
    "topology",
    "mapping",
    "ticket",
    "checkpoint",
    "safetensors",
    "module",
    "counters",
    "summary",
    "table",
    "exported",
    "store",
    "search",
    "config",
)
NUM_INPUTS = int(os.environ.get("ACCELSIM_FUZZ_INPUTS", "150"))
IS_SUITE = "ACCELSIM_FUZZ_INPUTS" not in os.environ
MOST_CHOICES = 48
pytestmark = pytest.mark.usefixtures("first_choice_in_module")


@pytest.fixture(scope="module")
def all_targets(tmp_path_factory):
    return targets.make_targets(tmp_path_factory.mktemp("seeds"))


@pytest.fixture(scope="session")
def place(tmp_path_factory):
    """Return the function that gives the path of the file under attack."""
    return tmp_path_factory.mktemp("hostile").joinpath


def is_small(path):
    """Return whether a space has few enough points to evaluate all of them here; a broken one has none."""
    from accelsim.dse.space import load_space
    from accelsim.errors import AccelSimError

    try:
        space = load_space(path)
    except AccelSimError:
        return True
    return space.num_choices * len(space.hardware) * len(space.workloads) <= MOST_CHOICES


@pytest.fixture(scope="module")
def warmed():
    return set()


def warm_up(kind, target, bench, warmed):
    """Call the commands once with good files: what is loaded and compiled once counts neither as memory nor as time.

    One good file is enough for that; `make fuzz` shows that all of them are good.
    """
    if kind not in warmed:
        warmed.add(kind)
        for seed in target.seeds[:1] if IS_SUITE else target.seeds:
            for argv in target.commands(seed, bench.out):
                ended = bench.call(argv, max_cpu_s=300.0, also=seed.parent)
                assert ended.status in (0, 2), (ended, argv)  # a chip without generator refuses a ticket
                if ended.status == 0:
                    target.verify(bench.out)


def attack_with(target, path, argv, bench):
    """Call one command with the damaged file ``path``, and return its status."""
    for beside in path.parent.glob(f"{path.name}-*"):  # the log of the store before
        beside.unlink()
    status = bench.judge(argv, also=path.parent if target.is_written else None)
    if status == 0:
        target.verify(bench.out)
    return status


def drawn(share):
    """Return what turns a function of a number into a test of that share of all inputs."""

    def decorate(attack):
        return settings(
            max_examples=max(1, round(share * NUM_INPUTS)),
            derandomize=IS_SUITE,
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            print_blob=True,
        )(given(number=st.integers(0, (1 << 64) - 1))(attack))

    return decorate


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_files(kind, all_targets, bench, place, warmed):
    target = all_targets[kind]
    path = place(f"bad{target.suffix}")
    warm_up(kind, target, bench, warmed)

    @drawn(target.share / (len(KINDS) - 1))
    def attack(number):
        draw = Random(number)
        path.write_bytes(target.damage(draw, draw.choice(target.seeds)))
        argv = draw.choice(target.commands(path, bench.out))
        if kind != "space" or is_small(path):
            attack_with(target, path, argv, bench)

    attack()


@pytest.mark.parametrize("case", CORPUS, ids=lambda path: path.name)
def test_cases_that_were_found(case, all_targets, bench, place, warmed):
    kind = case.name.split("-")[0]
    target = all_targets[kind]
    warm_up(kind, target, bench, warmed)
    path = place(f"found{target.suffix}")
    path.write_bytes(case.read_bytes().replace(b"CHECKOUT", os.fsencode(HERE.parents[1])))
    for argv in target.commands(path, bench.out):
        attack_with(target, path, argv, bench)


def options_of(name):
    """Return the options of a command that name no output and start no process, and whether each takes a value."""
    command = cli.get_command(click.Context(cli), name)
    options = [option for option in command.params if isinstance(option, click.Option)]
    return [(option.opts[-1], not option.is_flag) for option in options if not set(option.opts) & targets.OUTPUTS]


def test_words_of_the_command_line(all_targets, bench, tmp_path_factory):
    """Options with values that make no sense, twice, or together, in front of good files."""
    calls = targets.good_calls(tmp_path_factory.mktemp("words"))
    for argv in calls:
        assert bench.call(argv, max_cpu_s=300.0).status == 0, argv
    options = {argv[0]: options_of(argv[0]) for argv in calls}

    @drawn(1 / len(KINDS))
    def attack(number):
        draw = Random(number)
        words = list(draw.choice(calls))
        for _ in range(draw.choice((1, 1, 2, 3))):
            flag, takes_value = draw.choice(options[words[0]])
            value = draw.choice(hostile.NUMBERS if draw.random() < 0.5 else hostile.TOKENS)
            words += [flag, value] if takes_value else [flag]
        if "--help" not in words:
            bench.judge([word for word in words if word != "-v"])

    attack()


VARIABLES = (
    {"_ACCELSIM_COMPLETE": "bash_complete"},
    {"_ACCELSIM_COMPLETE": "zsh_complete", "COMP_WORDS": "accelsim", "COMP_CWORD": "x"},
    {"_ACCELSIM_COMPLETE": "x"},
    {
        "COLUMNS": "-1", "LINES": "x", "TERM": "x", "NO_COLOR": "", "FORCE_COLOR": "x", "TZ": "x",
        "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii",
        "MPLBACKEND": "nothing", "MATPLOTLIBRC": __file__,
        "HOME": "/nothing", "TMPDIR": "/nothing", "XDG_CACHE_HOME": "/nothing", "NUMBA_CACHE_DIR": "/nothing",
    },
    {"SOURCE_DATE_EPOCH": "x", "NUMBA_NUM_THREADS": "1"},
    {"NUMBA_NUM_THREADS": "0"},
)  # fmt: skip


@pytest.mark.parametrize("variables", VARIABLES, ids=lambda variables: next(iter(variables)))
def test_variables_of_the_environment(variables, tmp_path):
    net = tmp_path / "net.csv"
    net.write_text(targets.PRODUCTS)
    words = ["-q", "compare", targets.EDGE, str(net), "--storage", "dense-int8", "--out", str(tmp_path / "out")]
    done = subprocess.run(
        [sys.executable, "-m", "accelsim", *words],
        env={**os.environ, **variables}, capture_output=True, text=True, check=False, cwd=HERE.parents[1],
    )  # fmt: skip
    assert done.returncode in (0, 2), done.stderr
    assert (done.stderr == "") == (done.returncode == 0), done.stderr
    assert done.stderr.count("\n") <= 1 and done.stderr.startswith(("accelsim: ", "")[done.returncode == 0])
    assert (tmp_path / "out").exists() == (done.returncode == 0)


def _socket(path):
    import socket

    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))


PLACES = {
    "missing": lambda path: None,
    "empty": lambda path: path.write_bytes(b""),
    "folder": lambda path: path.mkdir(),
    "fifo": os.mkfifo,
    "socket": _socket,
    "device": lambda path: path.symlink_to("/dev/zero"),
    "loop": lambda path: path.symlink_to(path.name),
    "dangling": lambda path: path.symlink_to("nothing"),
    "zeros": lambda path: path.write_bytes(bytes(100_000)),
    "latin-1": lambda path: path.write_bytes("é: ü\n".encode("latin-1") * 9),
    "sparse": lambda path: path.open("wb").truncate(1 << 40),
}


@pytest.mark.parametrize("what", PLACES)
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_such_file(kind, what, all_targets, bench, tmp_path):
    target = all_targets[kind]
    path = tmp_path / f"x{target.suffix}"
    PLACES[what](path)
    # What is not there yet, or empty, becomes a new store.
    expected = 0 if kind == "store" and what in ("missing", "empty", "dangling") else 2
    for argv in target.commands(path, bench.out):
        assert bench.judge(argv, also=tmp_path if target.is_written else None) == expected, argv


def test_a_link_to_a_good_file_is_a_good_file(all_targets, bench, tmp_path):
    for kind in ("hardware", "ticket", "topology", "trace"):
        target = all_targets[kind]
        path = tmp_path / f"x{target.suffix}"
        path.symlink_to(target.seeds[0])
        assert bench.judge(target.commands(path, bench.out)[0]) == 0


def test_the_bench_notices_what_it_forbids(bench, tmp_path):
    """A bench that sees nothing would pass everything."""
    import warnings

    from accelsim.cli import main as cli_main

    deeds = {
        "open ": lambda: (tmp_path / "owned").write_bytes(b""),
        "os.system": lambda: os.system("true"),
        "warned": lambda: warnings.warn("overflow", RuntimeWarning, stacklevel=1),
        "processor time": lambda: all(number == 0 for number in iter(int, 1)),
    }
    for sign, deed in deeds.items():
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(cli_main.cli, "main", lambda deed=deed, **_: deed() and None)
            assert any(sign in offence for offence in bench.call(["list"], max_cpu_s=0.3).offences), sign
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cli_main.cli, "main", lambda **_: bytearray(2 << 30) and None)
        assert "MemoryError" in bench.call(["list"]).err
