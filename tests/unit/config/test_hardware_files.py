"""Hardware files: what is refused, with which line, and what overrides do."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from accelsim.config.dram import DramConfig
from accelsim.config.explain import section_model
from accelsim.config.hardware import HardwareConfig
from accelsim.config.loader import hardware_json_schema, load_hardware, load_section
from accelsim.errors import ConfigError

ROOT = Path(__file__).resolve().parents[3]
MINIMAL = "name: x\nclock_mhz: 500\nnode_nm: 22\n"


def message(path: Path, text: str | bytes, *overrides: str) -> str:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ConfigError) as caught:
        load_hardware(path, overrides)
    line = str(caught.value)
    assert "\n" not in line
    return line.replace(str(path), "x.yaml")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("pe_array:\n  rows: 0\n", "x.yaml:5: pe_array.rows: 0 is not >= 1; give a whole number from 1 to 4096"),
        ("pe_array:\n  rows: 4.5\n", "x.yaml:5: pe_array.rows: 4.5 is not a whole number; "
                                     "give a whole number from 1 to 4096"),
        ("pe_array:\n  weight_preload: yes\n", "x.yaml:5: pe_array.weight_preload: 'yes' is not true or false; "
                                               "give true or false"),
        ("memory: ideel\n", "x.yaml:4: memory: 'ideel' is not allowed; did you mean 'ideal'? give one of dram, ideal"),
        ("dram: {model: simple, burst: 3}\n", "x.yaml:4: dram.burst: unknown key; did you mean 'burst_bytes'? known"),
        ("name: y\n", "x.yaml:4: name: the key is given twice (first on line 1); keep one"),
        ("dram: &a {}\n", "x.yaml:4: anchors and aliases are not allowed; write the value out"),
        ("dram: !!python/object:os.system {}\n", "x.yaml:4: the tag 'tag:yaml.org,2002:python/object:os.system'"),
        ("dram: {model: [\n", "x.yaml:5: not valid YAML"),
        ("voltage_v: .nan\n", "x.yaml:4: voltage_v: nan is not"),
        ("pe_array:\n  dataflow: spatial\n", "x.yaml:4: pe_array: dataflow spatial needs unroll"),
    ],
)  # fmt: skip
def test_refusal_names_line_key_and_remedy(tmp_path: Path, text: str, expected: str) -> None:
    assert message(tmp_path / "x.yaml", MINIMAL + text).startswith(expected)


def test_missing_key_and_count_of_other_problems(tmp_path: Path) -> None:
    line = message(tmp_path / "x.yaml", "name: x\nnode_nm: -1\n")
    assert line == "x.yaml:1: clock_mhz: is missing; give a number from 0.001 to 100000 (and 1 more)"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "the file is empty"),
        (b"- 1\n", "not a mapping"),
        (b"name: \xff\n", "is not UTF-8"),
        (b"#" * ((1 << 20) + 1), "larger than 1 MiB"),
        (b"[" * 2000, "nested too deeply"),
        (b"a: [" + b"1," * 30000 + b"]", "too many entries"),
        (b"a: " + b"9" * 5000 + b"\n", "use at most 64"),
    ],
)
def test_hostile_files_are_refused(tmp_path: Path, content: bytes, expected: str) -> None:
    assert expected in message(tmp_path / "x.yaml", content)


@pytest.mark.parametrize("path", ["/no/such/file.yaml", "/", "/dev/zero", "a\0b", "x" * 5000])
def test_paths_that_are_no_file_are_refused(path: str) -> None:
    with pytest.raises(ConfigError, match=r"; give "):
        load_hardware(path)


def test_override_wins_and_changes_the_digest(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(MINIMAL)
    plain = load_hardware(path)
    changed = load_hardware(path, ["pe_array.rows=16", "clock_mhz=700", "weight_buffer.num_banks=4"])
    assert plain.sha256 == hashlib.sha256(path.read_bytes()).hexdigest() != changed.sha256
    assert (changed.config.pe_array.rows, changed.config.clock_mhz) == (16, 700.0)
    assert changed.config.weight_buffer.capacity_bytes == plain.config.weight_buffer.capacity_bytes


def test_override_adds_and_removes_optional_units(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(MINIMAL + "weight_generator: {num_lanes: 4}\n")
    assert load_hardware(path, ["weight_generator=null"]).config.weight_generator is None
    added = load_hardware(path, ["mask_decoder={}", "mask_decoder.symbols_per_cycle=2"]).config.mask_decoder
    assert added is not None and added.symbols_per_cycle == 2
    assert "add --set mask_decoder={} before it" in message(path, MINIMAL, "mask_decoder.symbols_per_cycle=2")


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("pe_array.rows=0", "x.yaml: --set pe_array.rows=0: pe_array.rows: 0 is not >= 1; give a whole number from 1"),
        (
            "pe_array.row=3",
            "--set pe_array.row=3: pe_array.row: unknown path; did you mean 'pe_array.rows'? known: pe_",
        ),
        ("num_lanes=3", "--set num_lanes=3: num_lanes: unknown path; did you mean 'weight_generator.num_lanes'?"),
        ("rows", "--set rows: not path=value; write e.g. --set pe_array.rows=16"),
        ("clock_mhz=[1", "--set clock_mhz=[1:1: not valid YAML"),
        ("clock_mhz=", "--set clock_mhz=: no value behind the =; write e.g. --set pe_array.rows=16, or null for none"),
    ],
)
def test_bad_overrides_are_refused(tmp_path: Path, override: str, expected: str) -> None:
    assert message(tmp_path / "x.yaml", MINIMAL, override).startswith(expected)


def test_section_file_holds_only_its_section(tmp_path: Path) -> None:
    path = tmp_path / "d.yaml"
    path.write_text("dram:\n  num_channels: 4\n")
    assert load_section(path, "dram", DramConfig).num_channels == 4
    path.write_text("dram:\n  num_channels: 400\n")
    with pytest.raises(ConfigError, match=r"d\.yaml:2: dram\.num_channels: 400 is not <= 64; give a whole number"):
        load_section(path, "dram", DramConfig)
    path.write_text("dram: {}\nname: x\n")
    with pytest.raises(ConfigError, match=r"d\.yaml:2: 'name': unknown key; the file holds only 'dram'"):
        load_section(path, "dram", DramConfig)


def all_fields(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, field in model.model_fields.items():
        yield f"{prefix}{name}", field
        section = section_model(field.annotation)
        if section is not None:
            yield from all_fields(section, f"{prefix}{name}.")


def test_every_field_with_a_dimension_has_its_unit_in_its_name() -> None:
    bare = re.compile(r"(^|_)(size|latency|energy|bandwidth|area|capacity|width|clock|voltage|time|rate|power)$")
    names = [path for path, _ in all_fields(HardwareConfig)]
    assert [path for path in names if bare.search(path.rpartition(".")[2])] == []
    assert len(names) > 40


def test_schema_documents_every_field() -> None:
    schema = hardware_json_schema()
    assert schema["additionalProperties"] is False
    assert "Core clock." in schema["properties"]["clock_mhz"]["description"]


@pytest.mark.parametrize("path", sorted((ROOT / "hwconfigs").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_preset_loads_under_its_own_name(path: Path) -> None:
    assert load_hardware(path).config.name == path.stem


@pytest.mark.parametrize("name", ["edge", "hiddenite", "eyeriss", "gemmini", "tpu_v1", "tpu_v3", "cloud_hbm"])
def test_a_dense_chip_is_its_twin_without_generator_and_decoder(name: str) -> None:
    with_units = load_hardware(ROOT / f"hwconfigs/{name}.yaml").config
    dense = load_hardware(ROOT / f"hwconfigs/{name}_dense.yaml").config
    assert with_units.weight_generator is not None and with_units.mask_decoder is not None
    removed = {
        "name": f"{name}_dense",
        "weight_generator": None,
        "mask_decoder": None,
        "mask_buffer": dense.mask_buffer,
    }
    assert dense == with_units.model_copy(update=removed)


@pytest.mark.parametrize(
    ("name", "peak_tops", "peak_gb_per_s"),
    [
        ("edge", 1.024, 12.8),
        ("hiddenite", 1.638, 6.4),
        ("eyeriss", 0.0672, 0.48),
        ("gemmini", 0.512, 8.0),
        ("tpu_v1", 91.75, 34.1),
        ("tpu_v3", 61.6, 450.6),
        ("cloud_hbm", 32.77, 256.0),
    ],
)
def test_presets_have_the_peaks_that_are_published_for_them(name: str, peak_tops: float, peak_gb_per_s: float) -> None:
    config = load_hardware(ROOT / f"hwconfigs/{name}.yaml").config
    assert 2 * config.pe_array.num_pes * config.clock_mhz * 1e-6 == pytest.approx(peak_tops, rel=2e-3)
    assert config.dram.peak_bytes_per_ns == pytest.approx(peak_gb_per_s, rel=2e-3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "dram:\n  standard: LPDDR9\n",
            r":5: dram.standard: 'LPDDR9' has no energy row; did you mean 'LPDDR'\? give a",
        ),
        ("dram:\n  standard: SRAM-1\n", r":5: dram.standard: 'SRAM-1' has no energy row; give a family and its speed"),
        (
            "dram:\n  standard: DDR4-2401\n  model: timing\n",
            r":4: dram: standard 'DDR4-2401' has no timing table; did you mean 'DDR4-2400'\? allowed with",
        ),
    ],
)
def test_a_memory_standard_without_a_table_is_refused_with_its_line(tmp_path, text, message):
    path = tmp_path / "chip.yaml"
    path.write_text(f"name: chip\nclock_mhz: 500\nnode_nm: 22\n{text}")
    with pytest.raises(ConfigError, match=message):
        load_hardware(path)
    path.write_text("name: chip\nclock_mhz: 500\nnode_nm: 22\ndram: {standard: LPDDR4X-4266}\n")
    assert load_hardware(path).config.dram.standard == "LPDDR4X-4266"


def test_names_of_memory_standards_are_those_of_the_tables():
    from accelsim.config.dram import STANDARD_FAMILIES, TIMING_STANDARDS
    from accelsim.config.memory_device import device_names, device_of

    assert device_names() == TIMING_STANDARDS
    assert {device_of(family).name for family in STANDARD_FAMILIES} < set(TIMING_STANDARDS)
    found = {name: device_of(name).name for name in ("LPDDR4-3200", "LPDDR4X-4266", "ddr4-3200", "HBM2E", "DDR3-2133")}
    assert list(found.values()) == ["LPDDR4-3200", "LPDDR4-3200", "DDR4-2400", "HBM2", "DDR3-1600"]


def test_a_path_set_twice_is_refused_as_a_key_given_twice_is(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(MINIMAL)
    with pytest.raises(
        ConfigError, match=r"--set node_nm=7: node_nm is set twice \(first by --set node_nm=22\); keep one"
    ):
        load_hardware(path, ["node_nm=22", "clock_mhz=1", "node_nm=7"])
