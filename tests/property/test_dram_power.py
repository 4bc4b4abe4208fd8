"""Power states of a memory: what holds for every pattern of requests and every policy, in both models."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelsim.config.dram import DramConfig
from accelsim.config.memory_device import load_device
from accelsim.cost.dram import Traffic, component_pj, device_mw
from accelsim.sim.dram.build import build
from accelsim.sim.dram.simple_trace import run_simply
from accelsim.sim.dram.trace import run_requests
from accelsim.sim.dram.trace_files import DramTrace
from accelsim.timing.power_states import (
    DramActivity,
    DramStates,
    num_ranks,
    sleeping_state,
    states_from_gaps,
    states_of_mean_gap,
)

CORE = ("act_pre", "rd", "wr", "ref", "active", "precharged", "pd", "apd", "sr")
MEMORY = DramConfig(model="timing", standard="LPDDR4-3200", controller="in_order", num_read_queue_entries=16)
GAPS = st.lists(st.sampled_from([0, 3, 50, 700, 3904, 9000, 30000]), min_size=1, max_size=12)
POLICIES = st.fixed_dictionaries({
    "power_down_after_ns": st.sampled_from([None, 0.0, 20.0, 640.0, 5000.0]),
    "power_down_kind": st.sampled_from(["precharge", "active"]),
    "self_refresh_after_ns": st.sampled_from([None, 20.0, 2000.0, 20000.0]),
    "controller": st.sampled_from(["shared_queues", "bank_queues", "in_order"]),
    "refresh": st.sampled_from(["all_bank", "per_bank", "none"]),
    "num_ranks": st.sampled_from([1, 2]),
})  # fmt: skip


def trace(gaps: list[int]) -> DramTrace:
    """One request behind each gap, reads and writes of four sizes in turn, and a last gap up to the end."""
    number = np.arange(len(gaps))
    arrival = np.cumsum(gaps)
    return DramTrace(
        (number * 1234567).astype(np.uint64), number % 3 == 2, 64 << (number % 4 * 2), arrival.astype(float),
        end_ns=float(arrival[-1] + 2000),
    )  # fmt: skip


def run(config: DramConfig, gaps: list[int], model: str) -> tuple[DramStates, float, float]:
    """Return the states, the core energy in pJ and the time of all ranks in ns."""
    if model == "simple":
        simple = run_simply(config, trace(gaps))
        states, bits, time_ns = (
            simple.activity.states(config),
            (8 * simple.read_bytes, 8 * simple.written_bytes),
            simple.time_ns,
        )
    else:
        timed, _ = run_requests(build(config), trace(gaps))
        states, bits, time_ns = timed.states, timed.bus_bits, timed.time_ns
    energy = component_pj(config, states, Traffic(*bits))
    return states, sum(energy[name] for name in CORE), time_ns * num_ranks(config)


@settings(max_examples=60, deadline=None)
@given(GAPS, POLICIES, st.sampled_from(["simple", "timing"]))
def test_state_times_add_up_to_the_run(gaps: list[int], policy: dict[str, object], model: str) -> None:
    config = MEMORY.model_copy(update=policy)
    states, _, time_ns = run(config, gaps, model)
    assert states.time_ns == pytest.approx(time_ns, abs=4 * num_ranks(config))
    assert min(states.active, states.precharged, states.pd, states.apd, states.sr) >= -1e-6
    if config.self_refresh_after_ns is None:
        assert states.sr == states.num_self_refreshes == 0
    if config.power_down_after_ns is None:
        assert states.pd == states.apd == states.num_power_downs == 0
    if config.power_down_kind == "precharge":
        assert states.apd == 0


@settings(max_examples=60, deadline=None)
@given(GAPS, st.sampled_from([20.0, 640.0, 5000.0]), st.sampled_from(["precharge", "active"]),
       st.sampled_from(["simple", "timing"]))  # fmt: skip
def test_power_down_costs_no_more_than_standby_but_for_its_exits(
    gaps: list[int], after_ns: float, kind: str, model: str
) -> None:
    policy = {"power_down_after_ns": after_ns, "power_down_kind": kind}
    never, standby_pj, _ = run(MEMORY, gaps, model)
    states, asleep_pj, _ = run(MEMORY.model_copy(update=policy), gaps, model)
    device = load_device(MEMORY.standard)
    exits = states.num_power_downs + states.num_refreshes  # a refresh in power-down is one more
    awake_ns = (device.timing.xp_cycles + device.timing.cke_cycles + device.timing.rp_all_cycles) * device.tck_ns
    rows_pj = component_pj(MEMORY, DramStates(1, 1, *(0.0,) * 9), Traffic(0, 0))["act_pre"]
    reopened = max(0.0, states.num_activates - never.num_activates)
    refresh_pj = component_pj(MEMORY, DramStates(0, 0, 1, *(0.0,) * 8), Traffic(0, 0))["ref"]
    moved = max(0.0, states.num_refreshes - never.num_refreshes)  # a longer run may see one more
    allowed = exits * awake_ns * 2 * device_mw(device, "active") + reopened * rows_pj + moved * refresh_pj
    assert asleep_pj <= standby_pj + allowed


@pytest.mark.parametrize("step", [64, 20480])
def test_a_row_that_sleep_closed_is_opened_once(step: int) -> None:
    """Behind a sleep a stream opens its row again; a request that goes to another row opens that alone."""
    number = np.arange(200)
    request = DramTrace(
        (number * step).astype(np.uint64), np.zeros(200, dtype=bool), np.full(200, 64), number * 300.0, end_ns=60_000.0
    )
    config = MEMORY.model_copy(update={"power_down_after_ns": 100.0})
    timed, _ = run_requests(build(config), request)
    simple = run_simply(config, request).activity.states(config)
    assert simple.num_activates == pytest.approx(timed.states.num_activates, rel=0.08)


def test_idle_power_belongs_to_dies_and_not_to_the_data_rate() -> None:
    """A memory without requests for a millisecond: one word is read at its begin."""
    request = DramTrace(np.zeros(1, dtype=np.uint64), np.zeros(1, dtype=bool), np.full(1, 64), np.zeros(1), end_ns=1e6)

    def idle_pj(**update: object) -> float:
        config = DramConfig().model_copy(update={"power_down_after_ns": 640.0} | update)
        energy = component_pj(config, run_simply(config, request).activity.states(config), Traffic(0, 0))
        return sum(energy.values()) - energy["ck"] - energy["act_pre"] - energy["ca"]

    assert idle_pj(data_rate_mtps=400.0) == pytest.approx(idle_pj(), rel=2e-3)
    assert idle_pj(bus_width_bits=64, burst_bytes=128) == pytest.approx(2 * idle_pj(), rel=2e-3)
    assert idle_pj(num_channels=3) == pytest.approx(3 * idle_pj(), rel=2e-3)


@pytest.mark.parametrize("after_ns", [None, 640.0])
@pytest.mark.parametrize("gap_ns", [40.0, 500.0, 2000.0, 50_000.0])
def test_the_mappers_closed_form_is_right_where_all_gaps_are_alike(after_ns: float | None, gap_ns: float) -> None:
    dram = MEMORY.model_copy(update={"power_down_after_ns": after_ns})
    time_ns = 100 * (gap_ns + 30.0)
    exact = states_from_gaps(DramActivity(time_ns, ((gap_ns, 100),), 1.0, 0.0), dram)
    mean = states_of_mean_gap(np.array([time_ns]), np.array([3000.0]), np.array([100.0]), dram)
    ranks = num_ranks(dram)
    # It leaves out how long rows take to close, and a rank to leave power-down.
    assert mean.active[0] * ranks == pytest.approx(exact.active, abs=0.02 * time_ns * ranks)
    assert (mean.active + mean.precharged + mean.asleep)[0] == pytest.approx(time_ns)
    if after_ns is not None:
        assert sleeping_state(dram) == "pd"
        assert mean.asleep[0] * ranks == pytest.approx(exact.pd, abs=0.02 * time_ns * ranks)
