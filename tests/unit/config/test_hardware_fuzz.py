"""Whatever a file holds, loading it ends in a configuration or in one line."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import example, given, settings
from hypothesis import strategies as st

from accelsim.config.hardware import HardwareConfig
from accelsim.config.loader import load_hardware
from accelsim.config.overrides import field_paths
from accelsim.errors import ConfigError

EDGE = (Path(__file__).resolve().parents[3] / "hwconfigs/edge.yaml").read_bytes()


def load(content: bytes, *overrides: str) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "x.yaml"
        path.write_bytes(content)
        try:
            load_hardware(path, overrides)
        except ConfigError as error:
            assert str(error).isprintable(), repr(str(error))
            assert len(str(error)) < 2000


@settings(max_examples=30, deadline=None)
@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
@example("a: !!timestamp x\n\u2028b: 1".encode())
@example(b"? [a]\n: 1\n")
@example(b"a: 0o9\n")
@example(b"%TAG ! x\n---\na: !y 1\n")
def test_any_bytes(content: bytes) -> None:
    load(content)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, len(EDGE) - 1), st.integers(0, 20), st.binary(max_size=8))
def test_a_damaged_file(start: int, length: int, patch: bytes) -> None:
    load(EDGE[:start] + patch + EDGE[start + length :])


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(field_paths(HardwareConfig)) | st.text(max_size=20), st.text(max_size=20))
@example("clock_mhz", ".inf")
@example("weight_generator", "{a: {b: 1}}")
@example("pe_array.unroll.K", "\x00")
def test_any_override(path: str, value: str) -> None:
    load(EDGE, f"{path}={value}")
