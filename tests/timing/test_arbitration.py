"""Cores take turns at a memory, of reads and of writes apart where each have a bus of their own: counted by hand."""

import numpy as np
import pytest

from accelsim.config.loader import load_hardware
from accelsim.sim.processes import run_flat
from accelsim.sim.run import memory_of
from accelsim.timing.arbitration import arbitration_of
from accelsim.timing.program import INPUT, STORE
from accelsim.timing.solve import solve_flat
from accelsim.timing.stations import COUNTER_OF_KIND, Raise, Requests, Station
from accelsim.timing.table import flat_table

NUMBER = {name: place for place, name in enumerate((*COUNTER_OF_KIND, "done"))}
WORDS = {name: name for name in NUMBER}


def asking(name: str, kind: int, issue: tuple[int, ...]) -> Station:
    """Return a station that issues requests of 50 cycles on the bus, each so many cycles after the one before."""
    number = len(issue)
    requests = Requests(np.full(number, kind), np.full(number, 64), np.full(number, 50))
    return Station(name, np.array(issue), (), (Raise("done"),), requests)


@pytest.mark.parametrize(
    ("policy", "ends"),
    [
        ("round_robin", {"first": [71, 171, 221], "late": [121], "store": [61], "stores": [111, 161]}),
        ("oldest_first", {"first": [71, 121, 171], "late": [221], "store": [61], "stores": [111, 161]}),
    ],
)
def test_who_asks_late_has_its_turn_and_writes_go_round_by_themselves(policy: str, ends: dict[str, list[int]]) -> None:
    chip = load_hardware(
        "edge",
        (
            "clock_mhz=1000", "dram.read_latency_ns=20", "dram.write_latency_ns=10", "dram.separate_write_bus=true",
            "dram.power_down_after_ns=null", f"dram.arbitration={policy}",
        ),
    ).config  # fmt: skip
    stations = (
        asking("first", INPUT, (1, 1, 1)), asking("late", INPUT, (40,)), asking("store", STORE, (1,)),
        asking("stores", STORE, (1, 1)),
    )  # fmt: skip
    how = arbitration_of(chip, False)
    processes = run_flat(stations, NUMBER, WORDS, how, memory_of(chip))
    solved = solve_flat(flat_table(stations, NUMBER, how), NUMBER, WORDS, chip, engine="python")
    for times in (processes, solved):
        assert {name: found.tolist() for name, found in times.end.items()} == ends
