"""``accelsim dram`` with requests: run them, and price what the memory did."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from accelsim.config.dram import DramConfig
from accelsim.cost.dram import Traffic, component_prices
from accelsim.cost.tables import load_tables
from accelsim.cost.terms import resolve
from accelsim.sim.dram.simple_trace import SimpleTraceResult
from accelsim.sim.dram.trace import DramTraceResult, load_memory, read_trace, run_read
from accelsim.timing.power_states import STATES, DramStates, num_ranks


def energy_nj(dram: DramConfig, states: DramStates, traffic: Traffic) -> dict[str, float]:
    """Return the energy by component, in nJ."""
    values = load_tables().values
    return {name: resolve(price, values) / 1000 for name, price in component_prices(dram, states, traffic).items()}


def trace_document(result: DramTraceResult | SimpleTraceResult, dram: DramConfig) -> dict[str, object]:
    """Return the figures of a trace, with ``energy_nj_by_component`` and ``state_ns`` (of a rank, the mean)."""
    if isinstance(result, SimpleTraceResult):
        states, bus_bits = result.activity.states(dram), (8 * result.read_bytes, 8 * result.written_bytes)
        hidden = {"activity", "needs_banks"}
    else:
        states, bus_bits, hidden = result.states, result.bus_bits, {"states", "bus_bits"}
    ranks = num_ranks(dram)
    fields = {name: value for name, value in asdict(result).items() if name not in hidden and value is not None}
    return {
        **fields,
        "energy_nj_by_component": energy_nj(dram, states, Traffic(*bus_bits)),
        "state_ns": {name: getattr(states, name) / ranks for name in STATES},
    }


def cost_requests(  # noqa: PLR0913  each is an option of the command
    config_path: str | Path,
    trace_path: str | Path,
    *,
    overrides: Sequence[str] = (),
    only_timed: bool = False,
    player_mhz: float | None = None,
    commands_path: str | Path | None = None,
) -> tuple[dict[str, object], list[str]]:
    """Return the figures of the requests in a file, and what a reader has to know of them; see `run_read`."""
    memory, trace = load_memory(config_path, overrides), read_trace(trace_path, only_timed=only_timed)
    result = run_read(memory, trace, (config_path, trace_path), player_mhz=player_mhz, commands_path=commands_path)
    notes = []
    if isinstance(result, SimpleTraceResult):
        if result.needs_banks:
            notes.append(
                f"{trace_path}: rows change or bank groups repeat too often for dram.model simple; "
                "--set dram.model=timing runs its banks"
            )
    elif memory.model != "timing":
        notes.append(
            f"{config_path}: dram.model: the chip has {memory.model!r}; a trace needs banks, so 'timing' ran here"
        )
    if isinstance(result, DramTraceResult) and (kept := result.written_bytes - result.bus_bits[1] // 8) > 0:
        notes.append(
            f"{trace_path}: {kept} of {result.written_bytes} written bytes are not on the bus: the controller takes "
            "writes at once, and these wait in it at the end or another of their address replaced them; their time "
            "and energy are not counted"
        )
    if player_mhz is None and trace.unit == "player":
        notes.append(f"{trace_path}: cycles are taken for the memory's; --player-mhz states another clock")
    return trace_document(result, memory), notes
