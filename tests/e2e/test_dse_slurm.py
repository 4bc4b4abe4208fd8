"""``--slurm`` with dask-jobqueue itself and an ``sbatch`` that runs the job here; and what it says when that fails."""

import filecmp
import os
import stat
import sys
from pathlib import Path

import pytest

from accelsim.cli.main import main

pytest.importorskip("distributed")
ROOT = Path(__file__).resolve().parents[2]
SBATCH = """#!/bin/sh
echo "$1" >> "{folder}/submitted"
/bin/sh "$1" >> "{folder}/job.log" 2>&1 &
echo "Submitted batch job $!"
"""
SCANCEL = '#!/bin/sh\nkill "$@"\n'


@pytest.fixture
def space(tmp_path):
    (tmp_path / "net.csv").write_text("Layer, M, N, K,\na, 64, 256, 512,\n")
    path = tmp_path / "space.yaml"
    path.write_text(
        f"hardware: {ROOT / 'hwconfigs' / 'edge.yaml'}\nworkloads: {tmp_path / 'net.csv'}\nstorage: [slt, dense-int8]\n"
        "vary: {sparsity: [0.7], pe_array.rows: [4, 8, 16, 32]}\n"
    )
    return path


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, text in (("sbatch", SBATCH.format(folder=tmp_path)), ("scancel", SCANCEL)):
        (folder / name).write_text(text)
        (folder / name).chmod(stat.S_IRWXU)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)


def test_a_sweep_runs_in_slurm_jobs(space, tmp_path, monkeypatch, slurm):
    pytest.importorskip("dask_jobqueue")
    import dask

    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    site = {
        "jobqueue.slurm.cores": 1,
        "jobqueue.slurm.memory": "2GB",
        "jobqueue.slurm.python": sys.executable,
        "jobqueue.slurm.local-directory": str(tmp_path / "dask"),
    }

    with dask.config.set(site):
        assert main(["-q", "sweep", str(space), "--out", str(tmp_path / "slurm"), "--slurm", "2"]) == 0

    assert len((tmp_path / "submitted").read_text().splitlines()) == 2
    assert main(["-q", "sweep", str(space), "--out", str(tmp_path / "local"), "--workers", "1"]) == 0
    names = ["results.csv", "results.parquet", "summary.json"]
    assert filecmp.cmpfiles(tmp_path / "slurm", tmp_path / "local", names, shallow=False)[0] == names


def test_a_cluster_that_is_not_described_is_one_line(space, tmp_path, capsys, slurm):
    pytest.importorskip("dask_jobqueue")

    assert main(["-q", "sweep", str(space), "--out", str(tmp_path / "o"), "--slurm", "2"]) == 2

    error = capsys.readouterr().err
    assert "--slurm: no workers can be asked for" in error
    assert "jobqueue.slurm.cores" in error
    assert error.count("\n") == 1


def test_no_sbatch_is_one_line(space, tmp_path, capsys, monkeypatch):
    pytest.importorskip("dask_jobqueue")
    monkeypatch.setenv("PATH", str(tmp_path))

    assert main(["-q", "sweep", str(space), "--out", str(tmp_path / "o"), "--slurm", "2"]) == 2

    assert "--slurm: there is no sbatch here" in capsys.readouterr().err


def test_slurm_without_dask_jobqueue_is_one_line(space, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "dask_jobqueue", None)

    assert main(["sweep", str(space), "--out", str(tmp_path / "o"), "--slurm", "2"]) == 2

    assert "--slurm: dask-jobqueue is not installed; run pip install dask-jobqueue" in capsys.readouterr().err
