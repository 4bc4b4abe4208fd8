"""Several cores, over random chips, networks, splits and tilings: one meaning, and nothing is lost between cores."""

import os
from collections.abc import Callable
from typing import Any

import numpy as np
from random_cores import seen

from accelsim.sim.cores import core_counters, decisive, run_system
from accelsim.sim.run import run_schedule
from accelsim.timing.accounts import WAIT_CORES
from accelsim.timing.core_pieces import Piece, Slot

Cases = Callable[[int], Any]
IS_NIGHTLY = "ACCELSIM_NIGHTLY" in os.environ
SEEDS = range(2000, 2060 if IS_NIGHTLY else 2016)


def test_the_solver_gives_the_integers_of_the_processes(random_cores: Cases) -> None:
    for seed in SEEDS:
        case = random_cores(seed)
        exact = run_system(case.slots, case.hardware, exact=True)
        solved = run_system(case.slots, case.hardware, engine="python")
        assert seen(solved) == seen(exact), seed
        assert solved.dram == exact.dram, seed


def test_a_pipeline_is_one_table_too(random_pipeline: Cases) -> None:
    for seed in SEEDS[:40]:
        case = random_pipeline(seed)
        exact = run_system(case.slots, case.hardware, exact=True)
        solved = run_system(case.slots, case.hardware, engine="python")
        assert seen(solved) == seen(exact), seed
        assert solved.dram == exact.dram, seed
        chain = decisive(exact, case.slots)
        assert sum(sum(one.account.causes.values()) for one in chain) == exact.end_cycle, seed
        assert all(min(one.account.causes.values()) >= 0 for one in chain), seed
        cores = core_counters(exact, case.hardware.num_cores, {})
        assert {sum(core.cycles_by_cause.values()) for core in cores} == {exact.end_cycle}, seed


def test_compiled_code_gives_the_same(random_cores: Cases) -> None:
    for seed in SEEDS[:12]:
        case = random_cores(seed)
        runs = [run_system(case.slots, case.hardware, engine=engine) for engine in ("python", "compiled")]
        assert seen(runs[0]) == seen(runs[1]), seed


def test_work_and_causes_add_up_over_cores(random_cores: Cases) -> None:
    for seed in SEEDS[:16]:
        case = random_cores(seed)
        run = run_system(case.slots, case.hardware, engine="python")
        cores = core_counters(run, case.hardware.num_cores, {})
        assert sum(core.macs for core in cores) == sum(
            layer.dims.macs for layer in case.trace.layers if layer.uses_array
        ), seed
        assert {sum(core.cycles_by_cause.values()) for core in cores} == {run.end_cycle}, seed
        assert all(min(core.cycles_by_cause.values()) >= 0 for core in cores), seed
        for one in run.pieces:
            spans = one.account.spans["pe_array"]
            work = sum(cycles for cause, cycles in one.account.causes.items() if not cause.startswith("wait"))
            assert WAIT_CORES not in one.account.causes or one.account.causes[WAIT_CORES] >= 0
            if not one.piece.from_cores:  # waits for the network between cores count as those for ports
                assert int((spans[1] - spans[0]).sum()) + case.hardware.pe_array.call_cycles == work, seed
        assert np.all([one.account.end_cycle >= one.account.start_cycle for one in run.pieces])


def test_one_core_is_the_chip_that_it_was(random_case: Cases) -> None:
    for seed in SEEDS[:12]:
        case = random_case(seed)
        run = run_system([Slot({0: Piece(layer)}) for layer in case.schedule.layers], case.hardware, engine="python")
        plain = run_schedule(case.schedule, case.hardware, engine="solver")
        assert [one.account.causes for one in run.pieces] == [layer.cycles_by_cause for layer in plain.layers], seed
        assert [one.timing.busy_cycles for one in run.pieces] == [layer.busy_cycles for layer in plain.layers], seed
        assert run.dram == plain.dram, seed
