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
    run("generators", environment=settings(words=1 << 20 if ALL else 1 << 10))


@pytest.mark.slow
def test_masks():
    chosen = settings(tickets="gin_slt_f50 conv6_slt_f90") if ALL else settings(tickets="conv6_slt_f90", most_bits=600)
    run("decoders", environment=chosen)


def behind(log):
    """Return the cycles that tiles were ready behind the table of stations."""
    return {int(cycles) for found in re.findall(r"ready: \[(.*)\]", log) for cycles in found.split(",")}


@pytest.mark.slow
def test_tiles():
    # Tickets with and without a freezing map, and small layers in tilings that no mapper would choose.
    chosen = (
        settings(tickets="resnet_slt conv6_slt_f50 gin_slt_f50 conv6_slt_f00 gin_slt_f00 resnet_slt_f00 random")
        if ALL
        else settings(tickets="conv6_slt_f50 conv6_slt_f00 random", most_cycles=150, num_random=4)
    )

    assert behind(run("path", environment=chosen)) == {0}


@only_all
@pytest.mark.parametrize(
    ("codec", "number", "tickets", "cycles"),
    [
        ("entropy", 3, "conv6_slt_f90 gin_slt_f50", {0}),
        ("rle", 1, "conv6_slt_f90", {0}),
        ("golomb", 2, "conv6_slt_f90", {0, 1, 2}),
    ],
)
def test_tiles_of_coded_masks(codec, number, tickets, cycles):
    chosen = settings(tickets=tickets, codec=codec, most_cycles=30000)

    assert behind(run("path", parameters={"CODEC": number}, environment=chosen)) <= cycles


@only_all
@pytest.mark.parametrize(("codec", "number"), [("rle", 1), ("golomb", 2)])
def test_tiles_that_words_and_symbols_hold_up_in_turn(codec, number):
    """The decoder works within the window ahead: each such tile is ready a little earlier, and so are all behind it."""
    log = run(
        "path",
        parameters={"CODEC": number},
        environment=settings(tickets="gin_slt_f50", codec=codec, most_cycles=30000),
    )
    assert max(behind(log)) <= 1
    assert max(map(float, re.findall(r"at most ([0-9.]+) % of its time", log))) < 0.5


@only_all
@pytest.mark.parametrize(("kind", "number"), [("lfsr16", 1), ("lfsr32", 2)])
def test_tiles_of_other_generators(kind, number):
    chosen = settings(tickets="conv6_slt_f70 random", kind=kind, most_cycles=3000)

    assert behind(run("path", parameters={"KIND": number}, environment=chosen)) == {0}


@only_all
@pytest.mark.parametrize(("words", "places"), [(1, 32), (2, 128), (4, 256)])
def test_tiles_of_other_widths(words, places):
    chosen = settings(tickets="conv6_slt_f50 conv6_slt_f00 random", words=words, places=places)

    assert behind(run("path", parameters={"WORDS": words, "POSITIONS": places}, environment=chosen)) == {0}


@only_all
def test_tiles_of_philox():
    # Exact where parts are whole blocks on all lanes; elsewhere blocks have words that the table does not count.
    lanes = {"COUNTS": 1, "LANES": 8, "WORDS": 4}
    whole = run("path", parameters=lanes, environment=settings(tickets="random", kind="philox4x32", num_random=20))
    assert behind(whole) == {0}

    layers = settings(tickets="conv6_slt_f50", kind="philox4x32", most_cycles=4000)
    assert min(behind(run("path", parameters=lanes, environment=layers))) == 0
