"""The SystemVerilog in rtl/ against the model: a small part of each bench in every run, all of it by ``make rtl``."""

import importlib.util
import os
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
spec = importlib.util.spec_from_file_location("rtl_benches", ROOT / "rtl" / "tests" / "benches.py")
benches = importlib.util.module_from_spec(spec)
spec.loader.exec_module(benches)

ALL = bool(os.environ.get("ACCELSIM_RTL"))
pytestmark = pytest.mark.skipif(not benches.simulators(), reason=benches.REMEDY)
only_all = pytest.mark.skipif(not ALL, reason="minutes: make rtl")


def run(bench, **choices):
    return benches.run(f"bench_{bench}", f"cocotb_{bench}", prefer="verilator" if ALL else "icarus", **choices)


def settings(**values):
    return {f"ACCELSIM_RTL_{key.upper()}": str(value) for key, value in values.items()}


def test_seeds_jumps_map_pes_and_values():
    run("units")


@pytest.mark.slow
def test_words():
    run("generators", environment=settings(words=1 << 20 if ALL else 1 << 11))


@pytest.mark.slow
def test_masks():
    chosen = settings(tickets="gin_slt_f50 conv6_slt_f90") if ALL else settings(tickets="conv6_slt_f90", most_bits=1200)
    run("decoders", environment=chosen)


def behind(log):
    """Return the cycles that tiles were ready behind the table of stations."""
    return {int(cycles) for found in re.findall(r"ready: \[(.*)\]", log) for cycles in found.split(",")}


@pytest.mark.slow
def test_tiles():
    chosen = (
        settings(tickets="resnet_slt conv6_slt_f50 gin_slt_f50")
        if ALL
        else settings(tickets="conv6_slt_f50", most_cycles=1000)
    )

    assert behind(run("path", environment=chosen)) == {0}


@only_all
@pytest.mark.parametrize(("codec", "number"), [("rle", 1), ("golomb", 2), ("entropy", 3)])
def test_tiles_of_coded_masks(codec, number):
    run("path", parameters={"CODEC": number}, environment=settings(tickets="conv6_slt_f90", codec=codec))


@only_all
@pytest.mark.parametrize(("kind", "number"), [("lfsr16", 1), ("lfsr32", 2)])
def test_tiles_of_other_generators(kind, number):
    chosen = settings(tickets="conv6_slt_f70", kind=kind, most_cycles=3000)

    assert behind(run("path", parameters={"KIND": number}, environment=chosen)) == {0}


@only_all
def test_tiles_where_nothing_is_frozen():
    # The table lets the decoder begin with the tile; its first weights come behind seed, first word and latency.
    assert max(behind(run("path", environment=settings(tickets="conv6_slt_f00")))) > 0
