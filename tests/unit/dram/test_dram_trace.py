"""Trace files and what a trace run reports."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from accelsim.cli.main import main
from accelsim.config.dram import DramConfig
from accelsim.config.loader import load_section
from accelsim.errors import ConfigError, TraceError
from accelsim.sim.dram import run_dram_command
from accelsim.sim.dram import state as s
from accelsim.sim.dram.build import build
from accelsim.sim.dram.trace import read_trace, run_memory_trace, run_trace

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
        (b"0x40 R\n0x80 X\n", ":2: '0x80 X' is not"), (b"0x40\nR 0x80 W\n", ":1: '0x40' is not"),
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
    fields = json.loads(run_dram_command(DDR4, trace).to_json())
    assert {
        "cycles", "time_ns", "read_bytes", "written_bytes", "achieved_gbps", "fraction_of_peak", "row_hit_rate",
        "activates", "precharges", "refreshes", "energy_pj",
    } <= set(fields)  # fmt: skip
    assert (fields["read_bytes"], fields["written_bytes"]) == (200 * 64, 100 * 64)
    assert fields["time_ns"] == pytest.approx(fields["cycles"] * 0.83)
    assert fields["achieved_gbps"] == pytest.approx(fields["bus_bytes"] / fields["time_ns"])
    assert fields["fraction_of_peak"] == pytest.approx(fields["achieved_gbps"] / (64 / 4 / 0.83))
    causes = dict(fields["energy_pj"])
    assert causes.pop("total") == pytest.approx(sum(causes.values()))


def test_the_simple_model_cannot_run_a_trace(tmp_path: Path) -> None:
    path = tmp_path / "simple.yaml"
    path.write_text("dram:\n  model: simple\n")
    with pytest.raises(ConfigError, match="dram.model: 'simple' cannot run a trace; set it to 'timing'"):
        run_dram_command(path, write(tmp_path, b"0 R\n"))


def test_a_whole_hardware_file_gives_its_memory(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    chip, trace = CONFIGS.parent / "edge.yaml", write(tmp_path, b"0 R\n40 R\n")
    assert main(["dram", str(chip), "--trace", str(trace), "--json"]) == 0
    shown = capsys.readouterr()
    assert json.loads(shown.out)["read_bytes"] == 128
    assert "dram.model: the chip has 'simple'" in shown.err
    assert json.loads(shown.out) == json.loads(run_dram_command(chip, trace).to_json())


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
        run_dram_command(path, trace)
    path.write_text("dram:\n  model: timing\n  burst_bytes: 32\n")
    with pytest.raises(ConfigError, match=r"memory\.yaml: dram\.burst_bytes: 32 is not a burst of LPDDR4-3200"):
        run_dram_command(path, trace)


def test_arrays_must_match() -> None:
    with pytest.raises(TraceError, match="2 addresses and 1 directions"):
        run_trace(config_of(DDR4), np.zeros(2, dtype=np.uint64), np.zeros(1, dtype=bool))


@pytest.mark.parametrize("path", [DDR4, SHARED], ids=["bank_queues", "shared_queues"])
def test_a_read_of_a_waiting_write_needs_no_bus(path: Path) -> None:
    addresses, writes = np.zeros(3, dtype=np.uint64), np.array([True, True, False])
    result = run_trace(config_of(path), addresses, writes)
    assert result.bus_bytes <= 64  # one write at most: the second is coalesced, the read is answered from the queue
    assert (result.read_bytes, result.written_bytes) == (64, 128)


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
    v_ma_devices = 1.2 * 8 * 0.833
    assert one.energy_pj.background_active == pytest.approx(36 * 43 * v_ma_devices)
    assert one.energy_pj.background_idle == 0
    later = run_trace(config_of(DDR4), np.zeros(1, dtype=np.uint64), np.zeros(1, dtype=bool))
    assert later.energy_pj.background_idle == pytest.approx(
        (41 + 2) * 34 * 1.2 * 8 * 0.83
    )  # the second rank never opens
