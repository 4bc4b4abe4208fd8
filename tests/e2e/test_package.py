"""The built package, installed outside the checkout, has all it needs: every chip runs there.

The wheel is built from the unpacked sdist, so that the sdist is complete too. Dependencies come from the environment of
the tests. ``make package`` runs this; it takes minutes.
"""

import json
import os
import subprocess
import sys
import sysconfig
import tarfile
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CHIPS = sorted(path.name for path in (ROOT / "hwconfigs").glob("*.yaml"))
BUILD = "import sys; from hatchling import build; print(getattr(build, sys.argv[1])(sys.argv[2]))"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif("ACCELSIM_PACKAGE" not in os.environ, reason="minutes long; make package runs it"),
]


def build(what, source, target):
    target.mkdir()
    words = [sys.executable, "-c", BUILD, what, str(target)]
    done = subprocess.run(words, cwd=source, capture_output=True, text=True, check=True)
    return target / done.stdout.splitlines()[-1]


@pytest.fixture(scope="session")
def installed(tmp_path_factory):
    """Return a function that calls the installed program in an empty folder."""
    place = tmp_path_factory.mktemp("package")
    source, unpacked, empty = place / "source", place / "unpacked", place / "empty"
    files = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    for name in filter(None, files.split("\0")):
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    with tarfile.open(build("build_sdist", source, place / "sdist")) as archive:
        archive.extractall(unpacked, filter="data")
    wheel = build("build_wheel", next(unpacked.iterdir()), place / "wheel")
    venv.create(place / "env", with_pip=False)
    python = place / "env/bin/python"
    subprocess.run(
        [sys.executable, "-m", "pip", "--python", str(python), "install", "-q", "--no-deps", str(wheel)], check=True
    )
    # A plain path: the file that points to the checkout is not followed there.
    libraries = next((place / "env/lib").glob("python*/site-packages"))
    (libraries / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    empty.mkdir()

    def call(*words):
        environment = {"PATH": os.environ["PATH"], "OMP_NUM_THREADS": "1", "HOME": str(place)}
        return subprocess.run(
            [str(place / "env/bin/accelsim"), *map(str, words)],
            cwd=empty, env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip

    code = "import accelsim; print(accelsim.__file__)"
    where = subprocess.run([str(python), "-c", code], cwd=empty, capture_output=True, text=True, check=True).stdout
    assert where.startswith(str(place / "env")), where
    return call


def test_list_shows_all_chips_and_tickets(installed):
    document = json.loads(installed("list", "--json").stdout)

    assert [Path(item["name"]).name for item in document["chips"]] == CHIPS
    assert len(document["tickets"]) == len(list((ROOT / "workloads").glob("*.pt")))


@pytest.mark.parametrize("name", CHIPS)
def test_every_chip_runs(installed, name):
    document = json.loads(installed("list", "--json").stdout)
    chip = next(item["name"] for item in document["chips"] if Path(item["name"]).name == name)
    ticket = next(item["name"] for item in document["tickets"] if item["name"].endswith("conv6_slt_f90.pt"))
    storage = "slt" if "weight_generator" in Path(chip).read_text() else "dense-int8"
    done = installed("run", chip, ticket, "--storage", storage, "--compare", "none", "--json")

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["totals"]["latency_cycles"] > 0


@pytest.mark.parametrize(
    "words",
    [["doctor"], ["validate"], ["synth", "conv2", "--sparsity", "0.5", "--out", "t.pt"], ["config", "schema"]],
    ids=lambda words: words[0],
)
def test_commands_that_read_data_files(installed, words):
    done = installed(*words)
    assert done.returncode == 0, done.stderr
