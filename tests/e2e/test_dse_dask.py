"""A sweep on a Dask scheduler; nightly on one with two worker processes, of which one is killed in the middle."""

import contextlib
import filecmp
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from accelsim.cli.main import main
from accelsim.dse import executors
from accelsim.dse.store import ResultStore

pytest.importorskip("distributed")
FILES = ["results.csv", "results.parquet", "summary.json"]
ROOT = Path(__file__).resolve().parents[2]
SPACE = """
hardware: {chip}
workloads: [{net}]
storage: [slt, dense-int8]
vary:
  sparsity: [0.7]
  pe_array.rows, pe_array.cols: [4, 8, 16, 32]
  activation_buffer.capacity_bytes: [4096, 16384]
  dram.data_rate_mtps: [400, 3200]
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def launch(*words):
    return subprocess.Popen(
        [sys.executable, "-m", "distributed.cli." + words[0], *words[1:]],
        cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip


def wait_for_port(port):
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.1)
    raise AssertionError("the scheduler did not come up")


@pytest.fixture
def cluster(tmp_path):
    port = free_port()
    address = f"tcp://127.0.0.1:{port}"
    scheduler = launch("dask_scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard")
    started = [scheduler]
    try:
        wait_for_port(port)
        for _ in range(2):
            started.append(launch(
                "dask_worker", address, "--nthreads", "1", "--no-nanny", "--no-dashboard",
                "--local-directory", str(tmp_path / "dask"),
            ))  # fmt: skip
        yield address, started[1:]
    finally:
        for process in started:
            process.kill()
        for process in started:
            process.wait()


def test_a_sweep_on_a_scheduler_gives_the_bytes_of_one_here(tmp_path):
    from distributed import LocalCluster

    (tmp_path / "net.csv").write_text("Layer, M, N, K,\na, 16, 32, 64,\n")
    space = tmp_path / "space.yaml"
    chip = ROOT / "hwconfigs" / "edge.yaml"
    space.write_text(f"hardware: {chip}\nworkloads: {tmp_path / 'net.csv'}\nvary: {{pe_array.rows: [4, 8, 0]}}\n")
    assert main(["-q", "sweep", str(space), "--workers", "1", "--out", str(tmp_path / "local")]) == 0
    here = {"processes": False, "protocol": "tcp", "dashboard_address": None}
    with LocalCluster(1, threads_per_worker=1, **here) as cluster:
        there = ["--scheduler", cluster.scheduler_address, "--out", str(tmp_path / "dask")]
        assert main(["-q", "sweep", str(space), *there]) == 0
    assert filecmp.cmpfiles(tmp_path / "dask", tmp_path / "local", FILES, shallow=False)[0] == FILES


@pytest.mark.skipif("ACCELSIM_NIGHTLY" not in os.environ, reason="a dozen seconds of processes; make nightly runs it")
def test_a_sweep_survives_the_death_of_a_dask_worker(cluster, tmp_path):
    address, workers = cluster
    (tmp_path / "net.csv").write_text("Layer, M, N, K,\na, 64, 256, 512,\nb, 64, 128, 256,\n")
    space = tmp_path / "space.yaml"
    space.write_text(SPACE.format(chip=ROOT / "hwconfigs" / "edge.yaml", net=tmp_path / "net.csv"))
    folder = tmp_path / "dask_run"
    status = []
    thread = threading.Thread(
        target=lambda: status.append(main(["-q", "sweep", str(space), "--out", str(folder), "--scheduler", address]))
    )
    thread.start()
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if (folder / "results.sqlite").exists():
            with ResultStore(folder / "results.sqlite") as store:
                if store.count() >= 4:
                    break
        time.sleep(0.02)
    assert thread.is_alive(), "the sweep ended before a worker could be killed"
    workers[0].send_signal(signal.SIGKILL)
    thread.join(timeout=120)

    assert status == [0]
    assert main(["-q", "sweep", str(space), "--out", str(tmp_path / "local"), "--workers", "1"]) == 0
    assert filecmp.cmpfiles(folder, tmp_path / "local", FILES, shallow=False)[0] == FILES
    assert "failed" not in (folder / "results.csv").read_text().split("\n")[1]


def test_no_scheduler_is_one_line(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(executors, "_CONNECT_S", 1)
    space = tmp_path / "space.yaml"
    space.write_text(f"hardware: {ROOT / 'hwconfigs' / 'edge.yaml'}\nworkloads: [conv2]\n")

    address = f"tcp://127.0.0.1:{free_port()}"
    assert main(["-q", "sweep", str(space), "--out", str(tmp_path / "o"), "--scheduler", address]) == 2
    assert "no Dask scheduler answers there" in capsys.readouterr().err
