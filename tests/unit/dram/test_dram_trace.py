"""Trace files and what a trace run reports."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from accelsim.cli.main import main
from accelsim.config.dram import DramConfig
from accelsim.config.loader import load_section
from accelsim.cost.dram import COMPONENTS, Traffic
from accelsim.cost.memory_trace import energy_nj, trace_document
from accelsim.errors import ConfigError, TraceError
from accelsim.sim.dram import state as s
from accelsim.sim.dram.build import build
from accelsim.sim.dram.trace import load_memory, read_trace, run_memory_trace, run_read, run_trace

CONFIGS = Path(__file__).resolve().parents[3] / "hwconfigs" / "dram"
DDR4 = CONFIGS / "dramsim3_DDR4_8Gb_x8_2400.yaml"
SHARED = CONFIGS / "ramulator2_DDR4_8Gb_x8_2400R_1ch__RoBaRaCoCh.yaml"


def config_of(path: Path) -> DramConfig:
    return load_section(path, "dram", DramConfig)


def write(tmp_path: Path, text: bytes) -> Path:
    path = tmp_path / "requests.trace"
    path.write_bytes(text)
    return path


def test_lines_are_hexadecimal_addresses_and_directions(tmp_path: Path) -> None:
    trace = read_trace(write(tmp_path, b"0x40 R\n80\tW\r\n\n  0XfF R  \n"))
    assert trace.addresses.tolist() == [0x40, 0x80, 0xFF]
    assert trace.writes.tolist() == [False, True, False]


@pytest.mark.parametrize(
    ("text", "where"),
    [
        (b"0 R 0x40 64\nend 1e6\n", ":2: 'end 1e6' is not 'end NS' behind all requests, NS a decimal number"),
        (b"0x40 R\n0x80 X\n", ":2: '0x80 X' is not 'ADDRESS R|W', as the lines before it"),
        (b"0x40\nR 0x80 W\n", ":1: '0x40' is not"),
        (b"0x40 R W\n", ":1: "), (b"zz R\n", ":1: "), (b"0x11112222333344445 R\n", ":1: "), (b"\xff R\n", ":1: "),
    ],
)  # fmt: skip
def test_other_lines_are_named(tmp_path: Path, text: bytes, where: str) -> None:
    with pytest.raises(TraceError) as error:
        read_trace(write(tmp_path, text))
    assert f"requests.trace{where}" in str(error.value)
    assert "\n" not in str(error.value)


def test_missing_and_empty_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match="cannot be read"):
        read_trace(tmp_path / "none.trace")
    with pytest.raises(TraceError, match="holds no requests"):
        read_trace(write(tmp_path, b"\n \n"))


def test_large_files_are_refused_before_they_are_read(tmp_path: Path) -> None:
    path = tmp_path / "large.trace"
    with path.open("wb") as file:
        file.truncate((1 << 26) + 1)
    with pytest.raises(TraceError, match="are more than 67108864; split the trace"):
        read_trace(path)


def test_the_command_reports_all_figures(tmp_path: Path) -> None:
    trace = write(tmp_path, b"".join(b"%#x %c\n" % (64 * i, b"RW"[i % 3 == 2]) for i in range(300)))
    fields = trace_document(run_path(DDR4, trace), load_memory(DDR4))
    assert {
        "cycles", "time_ns", "read_bytes", "written_bytes", "achieved_gbps", "fraction_of_peak", "row_hit_rate",
        "activates", "precharges", "refreshes", "energy_nj_by_component", "state_ns",
    } <= set(fields)  # fmt: skip
    assert (fields["read_bytes"], fields["written_bytes"]) == (200 * 64, 100 * 64)
    assert fields["time_ns"] == pytest.approx(fields["cycles"] * 0.83)
    assert fields["achieved_gbps"] == pytest.approx(fields["bus_bytes"] / fields["time_ns"])
    assert fields["fraction_of_peak"] == pytest.approx(fields["achieved_gbps"] / (64 / 4 / 0.83))
    assert tuple(fields["energy_nj_by_component"]) == COMPONENTS
    assert sum(fields["state_ns"].values()) == pytest.approx(fields["time_ns"], rel=1e-3)


def test_a_whole_hardware_file_gives_its_memory(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    chip, trace = CONFIGS.parent / "edge.yaml", write(tmp_path, b"0 R\n40 R\n")
    assert main(["dram", str(chip), "--trace", str(trace), "--json"]) == 0
    shown = capsys.readouterr()
    assert json.loads(shown.out)["read_bytes"] == 128
    assert "dram.model: the chip has 'simple'" in shown.err
    words = ["dram", str(chip), "--requests", str(write(tmp_path, b"0 R 0 64\nend 1e3\n".replace(b"1e3", b"1000")))]
    assert main([*words, "--json"]) == 0
    simple = json.loads(capsys.readouterr().out)
    assert (simple["time_ns"], "cycles" in simple) == (1000.0, False)
    assert main([*words, "--json", "--set", "dram.model=timing", "--set", "dram.power_down_after_ns=100"]) == 0
    timed = json.loads(capsys.readouterr().out)
    assert timed["cycles"] == 1600 and timed["state_ns"]["pd"] > 800
    assert main([*words, "--commands", str(tmp_path / "c")]) == 2
    assert "dram.model: 'simple' has no commands; set it to 'timing'" in capsys.readouterr().err


@pytest.mark.parametrize("path", [DDR4, SHARED], ids=["bank_queues", "shared_queues"])
def test_addresses_wrap_around_and_mean_the_burst_they_lie_in(path: Path) -> None:
    decode = build(config_of(path)).mapping.decode
    inside, beyond, whole = (decode(np.array([a], dtype=np.uint64)) for a in (0x12345, 0x12340 + (1 << 50), 0x12340))
    assert [inside.bank, inside.row, inside.column] == [whole.bank, whole.row, whole.column]
    assert [beyond.channel, beyond.bank, beyond.row] == [whole.channel, whole.bank, whole.row]


def test_a_memory_that_cannot_run_a_trace_is_named_with_its_file(tmp_path: Path) -> None:
    path, trace = tmp_path / "memory.yaml", write(tmp_path, b"0 R\n")
    path.write_text("name: x\n")
    with pytest.raises(ConfigError, match=r"memory\.yaml: dram: is missing; write the memory's section"):
        run_path(path, trace)
    path.write_text("dram:\n  model: timing\n  burst_bytes: 32\n")
    with pytest.raises(ConfigError, match=r"memory\.yaml: dram\.burst_bytes: 32 is not a burst of LPDDR4-3200"):
        run_path(path, trace)


def test_arrays_must_match() -> None:
    with pytest.raises(TraceError, match="2 addresses and 1 directions"):
        run_trace(config_of(DDR4), np.zeros(2, dtype=np.uint64), np.zeros(1, dtype=bool))


@pytest.mark.parametrize("path", [DDR4, SHARED], ids=["bank_queues", "shared_queues"])
def test_a_read_of_a_waiting_write_needs_no_bus(path: Path) -> None:
    addresses, writes = np.zeros(3, dtype=np.uint64), np.array([True, True, False])
    result = run_trace(config_of(path), addresses, writes)
    assert result.bus_bytes <= 64  # one write at most: the second is coalesced, the read is answered from the queue
    assert (result.read_bytes, result.written_bytes) == (64, 128)


def test_writes_that_never_reach_the_bus_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trace = write(tmp_path, b"0x40 W\n0x80 W\n")
    assert main(["dram", "dramsim3_DDR4_8Gb_x8_2400", "--trace", str(trace), "--json"]) == 0
    assert "128 of 128 written bytes are not on the bus" in capsys.readouterr().err


def test_reads_of_one_address_are_merged_in_bank_queues() -> None:
    result = run_trace(config_of(DDR4), np.zeros(4, dtype=np.uint64), np.zeros(4, dtype=bool))
    assert (result.bus_bytes, result.read_bytes) == (64, 256)


def test_closed_pages_precharge_with_the_last_hit() -> None:
    for path in (DDR4, SHARED):
        memory = build(config_of(path).model_copy(update={"page_policy": "closed", "refresh": "none"}))
        log = s.new_log(100)
        run_memory_trace(memory, np.arange(4, dtype=np.uint64) * np.uint64(64), np.zeros(4, dtype=bool), log)
        names = [s.COMMAND_NAMES[cmd] for cmd in log[1 : 1 + log[0, 0], 2]]
        assert names == ["ACT", "RD", "RD", "RD", "RDA"]


@pytest.mark.parametrize(
    "name",
    ["dramsim3_LPDDR3_8Gb_x32_1866", "dramsim3_LPDDR4_8Gb_x16_2400", "ramulator2_LPDDR5_16Gb_x16_6400_1ch__RoBaRaCoCh"],
)
def test_per_bank_refresh_stops_a_bank_and_not_the_rank(name: str) -> None:
    config = config_of(CONFIGS / f"{name}.yaml").model_copy(update={"refresh_interval_ns": None})
    addresses = np.arange(40000, dtype=np.uint64) * np.uint64(config.burst_bytes)
    writes = np.zeros(40000, dtype=bool)
    all_bank = run_trace(config, addresses, writes)
    per_bank = run_trace(config.model_copy(update={"refresh": "per_bank"}), addresses, writes)
    timing = build(config).table.timing
    assert per_bank.refreshes == pytest.approx(config.num_ranks * per_bank.cycles / timing.refi_bank_cycles, abs=3)
    assert all_bank.refreshes == pytest.approx(config.num_ranks * all_bank.cycles / timing.refi_cycles, abs=3)
    never = run_trace(config.model_copy(update={"refresh": "none"}), addresses, writes)
    assert never.cycles < per_bank.cycles < all_bank.cycles


def test_standby_is_paid_while_nothing_moves() -> None:
    one = run_trace(config_of(SHARED), np.zeros(1, dtype=np.uint64), np.zeros(1, dtype=bool))
    energy = energy_nj(config_of(SHARED), one.states, Traffic(*one.bus_bits))
    assert energy["active"] * 1000 == pytest.approx(36 * (43 * 1.2 + 7.5) * 8 * 0.833)
    assert energy["precharged"] == 0
    later = run_trace(config_of(DDR4), np.zeros(1, dtype=np.uint64), np.zeros(1, dtype=bool))
    energy = energy_nj(config_of(DDR4), later.states, Traffic(*later.bus_bits))
    # The second rank never opens; 1.2 V at 34 mA and 2.5 V at 3 mA.
    assert energy["precharged"] * 1000 == pytest.approx((41 + 2) * (34 * 1.2 + 7.5) * 8 * 0.83)


def run_file(tmp_path: Path, text: str, config: Path = DDR4, **how: object):
    return run_path(config, write(tmp_path, text.encode()), **how)


def run_path(config: Path, trace: Path, only_timed: bool = False, **how: object):
    return run_read(load_memory(config), read_trace(trace, only_timed=only_timed), (config, trace), **how)


def test_lines_of_other_simulators_mean_the_same_requests(tmp_path: Path) -> None:
    plain = run_file(tmp_path, "0x40 R\n0x80 W\n0x40000 R\n", SHARED)
    load_store = run_file(tmp_path, "# comment\nLD 0x40\nST 128\n\nLD 0x40000\n", SHARED)
    places = build(config_of(SHARED)).mapping.decode(np.array([0x40, 0x80, 0x40000], dtype=np.uint64))
    lines = [
        f"{way} 0,0,{bank // 4},{bank % 4},{row},{column}\n"
        for way, bank, row, column in zip("RWR", places.bank, places.row, places.column, strict=True)
    ]
    assert plain == load_store == run_file(tmp_path, "".join(lines), SHARED)
    no_groups = CONFIGS / "dramsim3_LPDDR3_8Gb_x32_1866.yaml"
    spaced = run_file(tmp_path, "R 0, 0, 1, 2, 3  # bank 1, row 2\n", no_groups)
    assert spaced == run_file(tmp_path, "R 0,0,0,1,2,3\n", no_groups)


def test_cycles_of_arrival_are_those_of_the_memory_or_of_the_player(tmp_path: Path) -> None:
    at_once = run_file(tmp_path, "0x40 READ 0\n")
    later = run_file(tmp_path, "0x40 READ 100\n0x4000000 WRITE 110\n")
    assert (later.cycles - 100, later.mean_read_latency_ns) == (at_once.cycles, at_once.mean_read_latency_ns)
    dramsys = run_file(tmp_path, "100: read 0x40\n110: (64) WRITE 0x4000000 0xff\n")
    assert dramsys == later
    half = run_file(tmp_path, "50: read 0x40\n55: write 0x4000000\n", player_mhz=1000 / 0.83 / 2)
    assert half.cycles == later.cycles
    assert main(["dram", str(DDR4), "--trace", str(tmp_path / "requests.trace"), "--player-mhz", "nan"]) == 2


def test_requests_have_times_and_sizes(tmp_path: Path) -> None:
    result = run_file(tmp_path, "0 R 0x20 64\n83 W 0x1000 4096\nend 8300\n", only_timed=True)
    assert (result.read_bytes, result.written_bytes) == (2 * 64, 4096)  # an unaligned one touches two bursts
    assert (result.cycles, result.refreshes) == (10_000, 2)  # on until the end: a refresh a rank
    unsorted = run_file(tmp_path, "83 W 0x1000 4096\n0 R 0x20 64\nend 8300\n")
    assert unsorted == result
    short = run_file(tmp_path, "0 R 0x20 64\n83 W 0x1000 4096\n")
    assert short.cycles < 10_000 and short.bus_bytes <= result.bus_bytes


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("0 R 0x0 64\nend 9\n1 R 0x0 64\n", ":3: a request behind 'end' of line 2"),
        ("0 R 0x0 9999999999\n", "a request of more than 4294967296 bytes"),
        ("99999999999 R 0x0 64\n", "the time 99999999999 ns is beyond"),
        ("0 R 0x0 4294967296\n", "67108864 bursts of 64 bytes; 1 to 8388608 are simulated"),
        ("0 R 0x0 0\n", "no request moves a byte"),
        ("R 0,0,9,0,0,0\n", "bank group 9 is beyond the memory's 4"),
        ("0x40 READ 9999999999999\n", "is beyond"),
        ("3 20734016 20734016\n", ":1: '3 20734016 20734016' looks like a processor's trace (instructions between,"),
        ("R 0,0,2,77,5\n", "five numbers name no bank group, and the memory has 4"),
        ("0x40\n", ":1: '0x40' is not a request; write lines 'ADDRESS R|W' or"),
        ("\x1f\x8b\x08\x00\n", "is no line of text; unpack the file"),
        ("end 9\n", ":1: 'end 9' stands before any request"),
    ],
)
def test_requests_that_no_memory_can_serve_are_refused(tmp_path: Path, text: str, what: str) -> None:
    with pytest.raises(TraceError) as error:
        run_file(tmp_path, text)
    assert "requests.trace" in str(error.value) and what in str(error.value)
    with pytest.raises(TraceError, match="is not a request; write lines 'ARRIVAL_NS R.W ADDRESS BYTES'"):
        run_file(tmp_path, "0x40 R\n", only_timed=True)


def test_commands_are_written_in_order(tmp_path: Path) -> None:
    run_file(tmp_path, "R 0,0,1,2,77,5\nR 0,0,1,2,78,5\n", SHARED, commands_path=tmp_path / "log")
    lines = [line.split() for line in (tmp_path / "log").read_text().splitlines()]
    assert [line[1:] for line in lines[1:]] == [
        ["ACT", "0", "0", "1", "2", "77"], ["RD", "0", "0", "1", "2", "77"], ["PRE", "0", "0", "1", "2", "-"],
        ["ACT", "0", "0", "1", "2", "78"], ["RD", "0", "0", "1", "2", "78"],
    ]  # fmt: skip
    cycles = [int(line[0]) for line in lines[1:]]
    assert cycles == sorted(cycles)


def test_a_memory_by_name_is_described(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dram", DDR4.stem, "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert (figures["capacity_bytes"], figures["num_ranks_per_channel"], figures["row_bytes"]) == (16 << 30, 2, 8192)
    assert figures["read_of_closed_bank_ns"] == pytest.approx((16 + 16 + 4) * 0.83, rel=0.06)
    assert main(["dram", "edge"]) == 0
    assert re.search(r"peak_gbps +12.8\b.*self_refresh_mw +2.18", capsys.readouterr().out, re.DOTALL)
    assert main(["dram", "edg"]) == 2
    assert "did you mean 'edge'?" in capsys.readouterr().err


@pytest.mark.parametrize("model", ["simple", "timing"])
def test_the_requests_of_a_run_are_those_of_its_counters(model: str, tmp_path: Path, capsys) -> None:
    net, out = tmp_path / "net.csv", tmp_path / "requests.txt"
    net.write_text("Layer, M, N, K\na, 64, 256, 512\nb, 64, 128, 256\n")
    words = ["run", "edge", str(net), "--compare", "none", "--json", "--set", f"dram.model={model}"]
    assert main(words) == 0
    plain = capsys.readouterr().out
    assert main([*words, "--dram-trace", str(out)]) == 0
    assert capsys.readouterr().out == plain
    totals, trace = json.loads(plain)["totals"], read_trace(out, only_timed=True)
    moved = [int(trace.num_bytes[trace.writes == is_write].sum()) for is_write in (False, True)]
    assert moved == [totals["dram_read_bytes"], totals["dram_write_bytes"]]
    assert trace.end_ns == pytest.approx(totals["latency_s"] * 1e9)
    assert main(["dram", "edge", "--requests", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["time_ns"] >= trace.end_ns - 1
