"""``64KiB`` and ``1GHz`` in files, in ``--set`` and in what varies."""

from __future__ import annotations

from pathlib import Path

import jsonschema
import pytest

from accelsim.config.explain import find_field
from accelsim.config.hardware import HardwareConfig
from accelsim.config.loader import hardware_json_schema, load_hardware
from accelsim.config.overrides import field_paths
from accelsim.config.quantities import CLOCK, SIZE
from accelsim.dse.space import space_from_mapping
from accelsim.errors import ConfigError

CHIP = "name: x\nnode_nm: 22\nclock_mhz: {clock}\nweight_buffer: {{capacity_bytes: {size}}}\n"


@pytest.fixture
def read(tmp_path: Path):
    def load(clock="500", size="65536", *overrides):
        path = tmp_path / "x.yaml"
        path.write_text(CHIP.format(clock=clock, size=size))
        return load_hardware(path, overrides).config

    return load


def test_every_field_of_bytes_or_mhz_takes_a_unit():
    for path in field_paths(HardwareConfig):
        unit = SIZE if path.endswith("_bytes") else CLOCK if path.endswith("_mhz") else None
        field = find_field(HardwareConfig, tuple(path.split(".")))
        assert field is not None
        assert (unit in field.metadata) == (unit is not None), path


@pytest.mark.parametrize(
    ("text", "size"), [("64KiB", 65536), ("64 kB", 64000), ("1.5KiB", 1536), ("128B", 128), ("1GiB", 1 << 30)]
)
def test_a_size_with_a_unit_is_its_bytes(read, text, size):
    assert read("500", text).weight_buffer.capacity_bytes == size
    assert read("500", "16", f"weight_buffer.capacity_bytes={text}").weight_buffer.capacity_bytes == size


@pytest.mark.parametrize(("text", "mhz"), [("1GHz", 1000), ("1.2 GHz", 1200), ("32768Hz", 0.032768), ("0.1MHz", 0.1)])
def test_a_clock_with_a_unit_is_its_mhz(read, text, mhz):
    assert read(text).clock_mhz == mhz


@pytest.mark.parametrize(
    ("clock", "size", "message"),
    [
        (
            "64KiB",
            "64",
            "x.yaml:3: clock_mhz: '64KiB' is not a clock; give a number of MHz, or one with a unit of Hz, ",
        ),
        ("1mHz", "64", "'1mHz' is not a clock"),
        ("500", "64KB", "x.yaml:4: weight_buffer.capacity_bytes: '64KB' is not a size; give a number of bytes, or one"),
        ("500", "1GHz", "'1GHz' is not a size"),
        ("500", "'64'", "'64' is not a size"),
        ("500", "16.5B", "'16.5B' is not a whole number of bytes"),
        ("500", "8B", "8 is not >= 16"),
        ("500", f"{'9' * 50}B", "is not a size"),
        ("500", "64, width_bits: 8B", "weight_buffer.width_bits: '8B' is not a whole number; give"),
    ],
)
def test_what_does_not_fit_is_one_line(read, clock, size, message):
    with pytest.raises(ConfigError) as caught:
        read(clock, size)
    assert message in str(caught.value)


def test_the_schema_for_editors_takes_both():
    checker = jsonschema.Draft202012Validator(hardware_json_schema())
    base = {"name": "x", "node_nm": 22}
    assert checker.is_valid({**base, "clock_mhz": "1GHz", "weight_buffer": {"capacity_bytes": "64KiB"}})
    assert checker.is_valid({**base, "clock_mhz": 1000})
    assert not checker.is_valid({**base, "clock_mhz": "1GB"})
    assert not checker.is_valid({**base, "clock_mhz": -1})


def test_lists_and_ranges_of_a_space_take_units():
    vary = {
        "clock_mhz": ["500MHz", "1GHz", 1000],
        "weight_buffer.capacity_bytes": {"from": "16KiB", "to": "64KiB", "num": 3, "scale": "log"},
    }
    space = space_from_mapping({"hardware": "edge", "workloads": ["conv2"], "vary": vary})
    assert [variable.levels for variable in space.variables] == [(500, 1000), (16384, 32768, 65536)]
    with pytest.raises(ConfigError, match=r"vary\.clock_mhz: '1GB' is not a clock"):
        space_from_mapping({"hardware": "edge", "workloads": ["conv2"], "vary": {"clock_mhz": ["1GB"]}})
