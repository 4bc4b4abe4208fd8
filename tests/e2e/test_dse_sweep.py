"""Sweeps as a user runs them: the same tables for any number of workers, after a kill, and from a shared store."""

import contextlib
import filecmp
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from accelsim.cli.main import main

ROOT = Path(__file__).resolve().parents[2]
TOPOLOGY = "Layer, M, N, K,\na, 64, 256, 512,\nb, 64, 128, 256,\n"
SPACE = """
hardware: {chip}
workloads: [{net}]
storage: [slt, dense-int8]
vary:
  sparsity: [0.7]
  freeze_ratio: [0, 0.7]
  pe_array.rows, pe_array.cols: [0, 8, 16]
  activation_buffer.capacity_bytes: [4096, 65536]
  mask_decoder: [null, {{positions_per_cycle: 32}}]
"""
FILES = ("results.csv", "results.parquet", "summary.json")


@pytest.fixture
def space(tmp_path):
    (tmp_path / "net.csv").write_text(TOPOLOGY)
    path = tmp_path / "space.yaml"
    path.write_text(SPACE.format(chip=ROOT / "hwconfigs" / "edge.yaml", net=tmp_path / "net.csv"))
    return path


def sweep(space, folder, *options):
    assert main(["-q", "sweep", str(space), "--out", str(folder), *map(str, options)]) == 0
    return folder


def start(space, folder, *options):
    return subprocess.Popen(
        [sys.executable, "-m", "accelsim.cli.main", "sweep", str(space), "--out", str(folder), *map(str, options)],
        cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip


def same(one, other):
    match, mismatch, errors = filecmp.cmpfiles(one, other, FILES, shallow=False)
    assert sorted(match) == sorted(FILES), (mismatch, errors)


def rows_in(path):
    """Count what is stored so far; reading alone, so that the sweep that writes is never in its own way."""
    with contextlib.suppress(sqlite3.Error):
        if path.exists():
            with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
                return database.execute("SELECT count(*) FROM points").fetchone()[0]
    return 0


def wait_until(condition, process, limit_s=60):
    deadline = time.monotonic() + limit_s
    while not condition():
        assert process.poll() is None, "the sweep ended before it could be interrupted"
        assert time.monotonic() < deadline, "nothing was stored in time"
        time.sleep(0.02)


def test_one_worker_and_two_write_the_same_bytes_and_failures_are_rows(space, tmp_path, capsys):
    one = sweep(space, tmp_path / "one", "--workers", 1)
    two = sweep(space, tmp_path / "two", "--workers", 2)

    same(one, two)
    table = pd.read_parquet(one / "results.parquet")
    assert len(table) == 2 * 2 * 3 * 2 * 2
    assert list(table["vary.freeze_ratio"].unique()) == [0, 0.7]
    assert set(table.loc[table["storage"] == "slt", "provenance"].dropna()) == {"synthetic"}
    failed = table[table["status"] == "failed"]
    assert 0 < len(failed) < len(table)
    impossible, refused = failed[failed["point"] == ""], failed[failed["point"] != ""]
    assert impossible["reason"].str.startswith("pe_array.rows: 0 is not >= 1").all()
    assert refused["reason"].str.contains("mask_decoder: none: storage slt needs a decoder").all()
    assert (len(impossible), len(refused)) == (16, 8)
    assert failed["latency_s"].isna().all()
    summary = json.loads((one / "summary.json").read_text())
    assert summary["num_failed"] == len(failed)
    assert {duel["rival"] for duel in summary["duels"]} == {"dense-int8"}
    shown = capsys.readouterr()
    assert "Pareto set over latency_s, energy_j, area_mm2" in shown.out
    assert shown.err == ""


def test_a_killed_sweep_resumes_and_ends_as_if_nothing_had_happened(space, tmp_path, capsys):
    whole = sweep(space, tmp_path / "whole", "--workers", 1)
    folder = tmp_path / "killed"
    process = start(space, folder, "--workers", 1)
    wait_until(lambda: rows_in(folder / "results.sqlite") >= 4, process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stderr.close()
    done = rows_in(folder / "results.sqlite")
    assert not (folder / "results.csv").exists()

    assert main(["sweep", str(space), "--out", str(folder), "--workers", "1"]) == 0
    assert f"{done} known before" in capsys.readouterr().err
    same(whole, folder)


def test_workers_end_with_a_killed_sweep(space, tmp_path):
    process = start(space, tmp_path / "o", "--workers", 2)
    wait_until(lambda: rows_in(tmp_path / "o" / "results.sqlite") >= 1, process)
    (server,) = children(process.pid)
    workers = children(server)
    process.kill()
    process.communicate()

    deadline = time.monotonic() + 20
    while any(is_alive(pid) for pid in (server, *workers)):
        assert time.monotonic() < deadline, "workers outlive the sweep"
        time.sleep(0.1)


def children(pid):
    tasks = Path(f"/proc/{pid}/task/{pid}/children")
    if not tasks.exists():
        pytest.skip("/proc does not list children here")
    listed = [int(child) for child in tasks.read_text().split()]
    return [child for child in listed if b"forkserver" in Path(f"/proc/{child}/cmdline").read_bytes()]


def is_alive(pid):
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def test_two_sweeps_may_share_a_store(space, tmp_path):
    space.write_text(space.read_text().replace("[4096, 65536]", "[4096]").replace("[0, 8, 16]", "[0, 8]"))
    store = tmp_path / "shared.sqlite"
    other = start(space, tmp_path / "two", "--workers", 1, "--store", store)
    sweep(space, tmp_path / "one", "--workers", 1, "--store", store)
    _, messages = other.communicate(timeout=120)
    assert other.returncode == 0, messages

    same(tmp_path / "one", tmp_path / "two")
    assert rows_in(store) == pd.read_csv(tmp_path / "one" / "results.csv")["point"].nunique() == 8


def test_a_dead_worker_is_replaced(space, tmp_path):
    from accelsim.dse.executors import ProcessExecutor
    from accelsim.dse.points import open_source
    from accelsim.dse.space import load_space

    jobs = [point.job for point in open_source(load_space(space)).grid("closed_form") if point.job is not None]
    executor = ProcessExecutor(2)
    results = []
    for number, batch in enumerate(executor.run([[job] for job in jobs])):
        results += batch
        if number == 2:
            next(iter(executor._workers[0]._pool._processes.values())).kill()
    executor.close()

    assert sorted(result.key for result in results) == sorted(job.key for job in jobs)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--scheduler", "tcp://127.0.0.1:1", "--workers", "2"],
            "--workers and --scheduler: both say where to evaluate",
        ),
        (["--store", "/nonexistent/x.sqlite"], "cannot be used as a store"),
        (["--objectives", "speed"], "'speed' is not a metric"),
    ],
)
def test_a_mistake_is_one_line(space, tmp_path, capsys, options, message):
    assert main(["sweep", str(space), "--out", str(tmp_path / "o"), *options]) == 2

    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_a_sweep_of_dataflows_runs_and_one_in_which_nothing_runs_fails(space, tmp_path, capsys):
    head = space.read_text(encoding="utf-8").partition("vary:")[0]
    flows = "weight_stationary, output_stationary, input_stationary, spatial"
    space.write_text(f"{head}vary: {{sparsity: [0.7], pe_array.dataflow: [{flows}]}}\n", encoding="utf-8")
    table = pd.read_csv(sweep(space, tmp_path / "flows", "--workers", 1) / "results.csv", keep_default_na=False)
    assert list(table["status"]) == ["ok"] * 8

    space.write_text(f"{head}vary: {{sparsity: [0.7], activation_buffer.capacity_bytes: [1]}}\n", encoding="utf-8")
    assert main(["-q", "sweep", str(space), "--out", str(tmp_path / "none"), "--workers", "1"]) == 2
    assert "not one of 2 points can run; most often: " in capsys.readouterr().err
    assert (tmp_path / "none" / "results.csv").is_file()
