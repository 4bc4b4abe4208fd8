"""A full disk, a signal at a bad moment, damage on disk: nothing half-written is read as a result."""

import contextlib
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from onnx import TensorProto, helper

from accelsim.cli.main import main
from accelsim.errors import AccelSimError
from accelsim.results.store import read_counters, read_summary, sole_writer, write_text
from accelsim.ticket.file import read_ticket
from accelsim.ticket.shapes import check_graph

ROOT = Path(__file__).resolve().parents[2]
nightly = pytest.mark.skipif("ACCELSIM_NIGHTLY" not in os.environ, reason="two seconds; make nightly runs it")
pytestmark = pytest.mark.usefixtures("first_choice_in_module")
EDGE = ROOT / "hwconfigs/edge.yaml"
TABLE = "Layer, M, N, K,\na, 64, 256, 512,\nb, 64, 128, 256,\n"
SPACE = "hardware: {edge}\nworkloads: [{net}]\nvary:\n  pe_array.rows: {{from: 1, to: {most}, step: 1}}\n"


@pytest.fixture
def net(tmp_path):
    path = tmp_path / "net.csv"
    path.write_text(TABLE)
    return path


@pytest.fixture
def swept(net, tmp_path):
    """Return the words of a sweep of two points that has been made, and its folder."""
    space, folder = tmp_path / "space.yaml", tmp_path / "out"
    space.write_text(SPACE.format(edge=EDGE, net=net, most=2))
    words = ["-q", "sweep", str(space), "--out", str(folder), "--workers", "1"]
    assert main(words) == 0
    return words, folder


@pytest.fixture
def full_disk(tmp_path):
    """Return a folder on a file system with room for one page."""
    place = tmp_path / "full"
    place.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4k", "tmpfs", place], capture_output=True, check=False)
    if made.returncode:
        pytest.skip("only root may mount a small file system here")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def start(*words, **how):
    # Tests in the background of a shell ignore interrupts, and so would the processes that they start.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "accelsim.cli.main", *map(str, words)],
        cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **how,
    )  # fmt: skip


def line_of(capsys):
    error = capsys.readouterr().err
    assert error.startswith("accelsim: ") and error.count("\n") == 1, error
    return error


def leftovers(folder):
    return [path.name for path in folder.rglob("*") if path.is_file()]


def test_a_full_disk_is_one_line_and_leaves_no_result(full_disk, net, capsys):
    (full_disk / "filler").write_bytes(b"x" * 4096)
    for words in (
        ["run", str(EDGE), str(net), "--out", str(full_disk / "run"), "--json"],
        ["compare", str(EDGE), str(net), "--storage", "dense-int8", "--out", str(full_disk / "compare")],
        ["synth", "conv2", "--sparsity", "0.5", "--width-factor", "0.125", "--out", str(full_disk / "t.pt")],
    ):
        assert main(words) == 2, words
        assert "No space left" in line_of(capsys)
    assert leftovers(full_disk) == ["filler"]


def _device(path):
    try:
        os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 3))  # as /dev/null
    except PermissionError:
        pytest.skip("only root may make a device here")


SPECIAL = {
    "pipe": os.mkfifo,
    "device": _device,
    "link-to-pipe": lambda path: (os.mkfifo(f"{path}.to"), path.symlink_to(f"{path}.to")),
    "standard-output": lambda path: path.symlink_to("/proc/self/fd/1"),
}


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc and pipes")
@pytest.mark.parametrize("kind", SPECIAL)
def test_what_is_no_file_is_never_replaced(kind, net, tmp_path, capsys):
    place = tmp_path / "place.md"
    SPECIAL[kind](place)
    before = place.lstat().st_ino, place.lstat().st_mode
    run = ["run", str(EDGE), str(net), "--json"]
    assert main([*run, "--out", str(tmp_path / "run")]) == 0
    capsys.readouterr()
    for words in (
        [*run, "--timeline", str(place)],
        [*run, "--gantt", str(place)],
        ["report", str(tmp_path / "run"), "--out", str(place)],
        ["synth", "conv2", "--sparsity", "0.5", "--out", str(place)],
        ["import", str(ROOT / "workloads/conv6_slt.pt"), "--out", str(place)],
        ["search", "conv2", "--out", str(place)],
        ["search", "conv2", "--out", str(tmp_path / "t.pt"), "--checkpoint-path", str(place)],
    ):
        assert main(words) == 2, words
        assert "never replaced; give the name of a file" in line_of(capsys), words
    assert (place.lstat().st_ino, place.lstat().st_mode) == before
    with pytest.raises(AccelSimError, match="never replaced"):
        write_text(place, "")


def test_a_result_folder_with_a_pipe_in_it_is_refused(net, tmp_path, capsys):
    os.mkfifo(tmp_path / "layers.csv")
    assert main(["run", str(EDGE), str(net), "--json", "--out", str(tmp_path)]) == 2
    assert "layers.csv: is a device, pipe" in line_of(capsys)
    assert stat.S_ISFIFO((tmp_path / "layers.csv").lstat().st_mode)


def test_a_link_to_a_file_becomes_the_new_file(net, tmp_path, capsys):
    (tmp_path / "old.json").write_text("old")
    (tmp_path / "link.json").symlink_to("old.json")
    assert main(["run", str(EDGE), str(net), "--json", "--timeline", str(tmp_path / "link.json")]) == 0
    assert (tmp_path / "old.json").read_text() == "old" and not (tmp_path / "link.json").is_symlink()


def test_a_layer_that_cannot_be_cut_is_named_with_its_file(tmp_path, capsys):
    path = tmp_path / "huge.csv"
    path.write_text("Layer, M, N, K,\na, 16777216, 16777216, 64,\n")
    assert main(["run", str(EDGE), str(path), "--json"]) == 2
    assert line_of(capsys).startswith(f"accelsim: {path}: a: ")


@pytest.mark.skipif(sys.platform != "linux", reason="needs /dev/full")
def test_a_full_standard_output_is_one_line(net):
    with open("/dev/full", "w") as full:
        words = [sys.executable, "-m", "accelsim.cli.main", "run", EDGE, net, "--json"]
        done = subprocess.run(list(map(str, words)), stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "accelsim: standard output: cannot be written (No space left on device); make room there\n"


@pytest.mark.parametrize("command", ["run", "compare", "sweep"])
def test_an_output_folder_that_cannot_be_written_is_one_line(command, net, tmp_path, capsys):
    space = tmp_path / "space.yaml"
    space.write_text(SPACE.format(edge=EDGE, net=net, most=2))
    place = tmp_path / "file" / "below"
    place.parent.write_text("a file, where a folder is wanted")
    words = [command, str(space)] if command == "sweep" else [command, str(EDGE), str(net)]

    assert main([*words, "--out", str(place)]) == 2
    assert "give --out a folder you may write" in line_of(capsys)


@pytest.mark.parametrize(
    ("number", "moment_s"), [(signal.SIGINT, 0.3), (signal.SIGINT, 1.0), (signal.SIGTERM, 1.0), (signal.SIGKILL, 1.0)]
)
def test_a_signal_during_a_run_leaves_whole_files_or_none(number, moment_s, net, tmp_path):
    folder = tmp_path / "out"
    process = start("run", EDGE, net, "--out", folder, "--json")
    time.sleep(moment_s)  # wherever it is then: start-up, simulation or writing
    process.send_signal(number)
    out, err = process.communicate(timeout=60)

    if folder.is_dir() and (folder / "summary.json").exists():
        read_summary(folder)
        read_counters(folder)
    if process.returncode == 0:
        assert out == (folder / "summary.json").read_text()
    assert not [name for name in leftovers(folder) if name.endswith(".tmp")] or number == signal.SIGKILL
    assert "Traceback" not in err or moment_s < 1.0  # the interpreter itself may be interrupted while it starts


@pytest.mark.parametrize("number", [pytest.param(signal.SIGINT, marks=nightly), signal.SIGTERM])
def test_a_sweep_that_is_told_to_stop_writes_no_table_and_resumes(number, net, tmp_path):
    space, folder = tmp_path / "space.yaml", tmp_path / "out"
    space.write_text(SPACE.format(edge=EDGE, net=net, most=400))
    process = start("sweep", space, "--out", folder, "--workers", "1")
    deadline = time.monotonic() + 60
    while num_rows(folder / "results.sqlite") == 0 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)

    assert process.returncode == 128 + number, err
    word, kept, onward = err.splitlines()[-1].removeprefix("accelsim: ").split("; ")
    assert word == ("interrupted" if number == signal.SIGINT else "terminated")
    assert kept.endswith(f"kept in {folder / 'results.sqlite'}")
    assert onward == f"the same command goes on from there: accelsim sweep {space} --out {folder} --workers 1"
    assert "Traceback" not in err
    assert not (folder / "results.csv").exists()
    done = num_rows(folder / "results.sqlite")
    space.write_text(SPACE.format(edge=EDGE, net=net, most=3))
    assert main(["-q", "sweep", str(space), "--out", str(folder), "--workers", "1"]) == 0
    assert num_rows(folder / "results.sqlite") >= done > 0


def test_ctrl_c_while_workers_begin_is_one_line(net, tmp_path):
    space = tmp_path / "space.yaml"
    space.write_text(SPACE.format(edge=EDGE, net=net, most=400))
    process = start("sweep", space, "--out", tmp_path / "out", "--workers", "2", start_new_session=True)
    assert process.stderr.readline().startswith("0/")
    time.sleep(0.1)  # the server of workers is importing
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    _, err = process.communicate(timeout=60)

    assert process.returncode == 128 + signal.SIGINT
    assert err.strip().startswith("accelsim: interrupted; no point was done; ") and err.strip().count("\n") == 0


def num_rows(path):
    with contextlib.suppress(sqlite3.Error):
        if path.exists():
            with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
                return database.execute("SELECT count(*) FROM points").fetchone()[0]
    return 0


def test_a_search_that_is_killed_leaves_no_ticket(tmp_path):
    ticket = tmp_path / "t.pt"
    process = start("search", "conv2", "--out", ticket, "--width-factor", "0.125")
    time.sleep(1.0)
    process.kill()
    process.communicate(timeout=60)

    assert not ticket.exists()


def test_two_runs_into_one_folder_leave_whole_files(net, tmp_path):
    folder = tmp_path / "out"
    both = [
        start("run", EDGE, net, "--out", folder, "--storage", name, "--json") for name in ("dense-int8", "csr-int8")
    ]
    printed = [process.communicate(timeout=60)[0] for process in both]

    assert [process.returncode for process in both] == [0, 0]
    assert (folder / "summary.json").read_text() in printed
    assert sorted(leftovers(folder)) == ["counters.json", "layers.csv", "summary.json"]
    assert read_counters(folder).counters.storage == read_summary(folder).storage


def test_a_run_that_is_stopped_between_two_renames_leaves_no_summary_of_an_older_one(net, tmp_path, monkeypatch):
    folder, renames = tmp_path / "out", []
    words = ["-q", "run", str(EDGE), str(net), "--out", str(folder), "--compare", "none", "--json"]
    assert main(words) == 0

    def rename(source, target):
        if renames:
            raise KeyboardInterrupt
        renames.append(target)
        Path(source).rename(target)

    monkeypatch.setattr("os.replace", rename)
    assert main([*words, "--storage", "csr-int8"]) == 130
    assert sorted(leftovers(folder)) == ["counters.json", "layers.csv"]


def test_one_comparison_at_a_time_writes_into_a_folder(net, tmp_path, capsys):
    with sole_writer(tmp_path):
        assert main(["-q", "compare", str(EDGE), str(net), "--storage", "dense-int8", "--out", str(tmp_path)]) == 2
    assert "another accelsim is writing there" in line_of(capsys)


def test_a_comparison_that_fails_leaves_no_table_of_an_older_one(net, tmp_path):
    words = ["-q", "compare", str(EDGE), str(net), "--out", str(tmp_path / "out"), "--storage"]
    assert main([*words, "dense-int8"]) == 0
    assert (tmp_path / "out/compare.csv").exists()
    assert main([*words, "slt"]) == 2
    assert leftovers(tmp_path / "out") == []


@pytest.mark.parametrize("name", ["summary.json", "counters.json"])
def test_a_result_that_was_cut_off_is_refused(name, net, tmp_path):
    folder = tmp_path / "out"
    assert main(["-q", "run", str(EDGE), str(net), "--out", str(folder), "--compare", "none", "--json"]) == 0
    whole = (folder / name).read_bytes()
    for size in (0, 1, len(whole) // 2, len(whole) - 3):
        (folder / name).write_bytes(whole[:size])
        with pytest.raises(AccelSimError):
            (read_summary if name == "summary.json" else read_counters)(folder)


def test_a_row_that_changed_in_the_store_is_refused(swept, capsys):
    words, folder = swept
    with contextlib.closing(sqlite3.connect(folder / "results.sqlite")) as database:
        database.execute("UPDATE points SET row = replace(row, '\"energy_j\":', '\"energy_j\":1')")
        database.commit()
    capsys.readouterr()

    assert main(words) == 2
    assert "is damaged; remove the file and run again" in line_of(capsys)


def test_a_store_whose_pages_are_overwritten_is_refused_or_unharmed(swept, capsys):
    words, folder = swept
    table, whole = (folder / "results.csv").read_bytes(), (folder / "results.sqlite").read_bytes()
    for place in range(0, len(whole), 997):
        for name in ("results.sqlite-wal", "results.sqlite-shm"):
            (folder / name).unlink(missing_ok=True)
        (folder / "results.sqlite").write_bytes(whole[:place] + b"\xff" * 64 + whole[place + 64 :])
        capsys.readouterr()
        status = main(words)
        if status == 2:
            line_of(capsys)
        else:
            assert status == 0
            assert (folder / "results.csv").read_bytes() == table


def test_an_aggregate_without_edges_is_named():
    ticket = read_ticket(ROOT / "workloads/gin_slt_f90.pt")
    nodes = tuple(replace(node, num_edges=0) for node in ticket.graph.nodes)
    with pytest.raises(AccelSimError, match=r"aggregate\): num_edges is 0; give the edges"):
        check_graph(replace(ticket.graph, nodes=nodes))


def test_many_different_layers_are_announced(tmp_path, capsys):
    path = tmp_path / "many.csv"
    path.write_text("Layer, M, N, K,\n" + "".join(f"l{n}, {n + 1}, 8, 8,\n" for n in range(251)))
    assert main(["run", str(EDGE), str(path), "--mapping", "none.yaml", "--json"]) == 2  # told before any work
    assert "251 layers of many shapes" in capsys.readouterr().err


def test_external_data_of_an_onnx_file_is_not_opened(tmp_path):
    weight = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4, 8], data_location=TensorProto.EXTERNAL)
    weight.external_data.add(key="location", value="nothing.bin")  # reading it would fail
    node = helper.make_node("MatMul", ["x", "v"], ["y"])
    turn = helper.make_node("Transpose", ["w"], ["v"], perm=[1, 0])
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, size]) for name, size in (("x", 8), ("y", 4))]
    path = tmp_path / "net.onnx"
    path.write_bytes(
        helper.make_model(helper.make_graph([turn, node], "net", ends[:1], ends[1:], [weight])).SerializeToString()
    )
    assert main(["trace", str(path), "--json"]) == 0


@pytest.mark.parametrize(
    "words",
    [
        ["compare", "edge", "net.csv", "none.csv", "--out", "out/deep"],
        ["compare", "edge", "net.csv", "--storage", "slt", "--out", "out"],
        ["compare", "edge", "net.csv", "--storage-of", "none=csr-int8", "--out", "out"],
        ["run", "edge", "net.csv", "--json", "--out", "/".join(["y" * 100] * 40 + ["z" * 30])],
        ["run", "edge", "net.csv", "--gantt", "out.svg", "--gantt-layer", "none", "--out", "out", "--json"],
        ["sweep", "space.yaml", "--store", "net.csv", "--workers", "1", "--out", "out/deep"],
        ["sweep", "space.yaml", "--storage-of", "fc", "--out", "out"],
        ["sweep", "space.yaml", "--scheduler", "localhost:1", "--out", "out"],
        ["explore", "hopeless.yaml", "--trials", "2", "--workers", "1", "--out", "out/deep"],
    ],
    ids=lambda words: words[0],
)
def test_what_is_refused_leaves_nothing(words, net, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    space = SPACE.format(edge=EDGE, net="net.csv", most=2)
    (tmp_path / "space.yaml").write_text(space)
    (tmp_path / "hopeless.yaml").write_text(space + "storage: [slt]\n")
    before = sorted(tmp_path.iterdir())
    assert main(["-q", *words]) == 2
    line_of(capsys)
    assert sorted(tmp_path.iterdir()) == before


def test_a_store_with_text_that_is_not_utf8_is_one_line(swept, capsys):
    words, folder = swept
    whole = (folder / "results.sqlite").read_bytes()
    for change in (
        "UPDATE points SET row = CAST(x'ff41' AS TEXT) || row",
        "UPDATE sqlite_master SET name = CAST(x'ff41' AS TEXT) || name",
    ):
        (folder / "results.sqlite").write_bytes(whole)
        with contextlib.closing(sqlite3.connect(folder / "results.sqlite")) as database:
            database.execute("PRAGMA writable_schema=1")
            database.execute(change)
            database.commit()
        capsys.readouterr()
        assert main(words) == 2
        assert "is damaged (text that is not UTF-8); remove it and run again" in line_of(capsys)


def test_a_store_is_not_made_through_a_planted_link(net, tmp_path, capsys):
    space, folder = tmp_path / "space.yaml", tmp_path / "out"
    space.write_text(SPACE.format(edge=EDGE, net=net, most=2))
    folder.mkdir()
    (folder / "results.sqlite").symlink_to(tmp_path / "foreign")
    assert main(["-q", "sweep", str(space), "--out", str(folder), "--workers", "1"]) == 2
    assert "results.sqlite: is a link, and is not written through unasked" in line_of(capsys)
    assert not (tmp_path / "foreign").exists()


def test_words_that_are_not_utf8_are_one_line(capsys):
    assert main(["run", str(EDGE), os.fsdecode(b"\xff.csv")]) == 2
    assert "is not UTF-8; rename the file" in line_of(capsys)


@pytest.mark.skipif(sys.platform != "linux", reason="needs a shell and a limit of address space")
@pytest.mark.parametrize("how", ["{} 2>&- >&-", "ulimit -v 100000; {}", "ulimit -v 180000; {}"])
def test_closed_streams_and_little_memory(how, net, tmp_path):
    words = f"{sys.executable} -m accelsim -q run {EDGE} {net} --compare none --json --out {tmp_path / 'out'}"
    done = subprocess.run(how.format(words), shell=True, cwd=ROOT, capture_output=True, text=True, check=False)
    if "ulimit" in how:
        assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
        assert "(ulimit -v)" in done.stderr
    else:
        assert done.returncode == 0
    assert (tmp_path / "out/summary.json").exists() == (done.returncode == 0)
