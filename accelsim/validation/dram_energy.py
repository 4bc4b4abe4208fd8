"""Energy of off-chip memory: DRAMPower's, from the same counts of commands and times in states."""

from __future__ import annotations

from accelsim.config.dram import DramConfig
from accelsim.config.loader import load_section
from accelsim.cost.dram import Traffic, component_pj
from accelsim.timing.power_states import DramStates
from accelsim.validation.reference import Row, load_table, preset_path
from accelsim.validation.rows import ValidationRow, summary_rows

_STATES = ("active", "precharged", "pd", "apd", "sr")
_COMMANDS = ("act_pre", "rd", "wr", "ref")


def validate_dram_energy() -> list[ValidationRow]:
    """Return the energy of each row's core, and of its background alone."""
    table = load_table("dram_energy")
    rows = []
    for row in table.rows:
        energy = _energy_pj(row)
        background = sum(energy[name] for name in _STATES)
        core = background + sum(energy[name] for name in _COMMANDS)
        where = f"{row.text('standard')}, {row.text('pattern')}, {row.text('policy')}"
        for what, column, ours in (("core", "core_nj", core), ("background", "background_nj", background)):
            theirs = row.number(column)
            rows.append(ValidationRow(table.name, table.source, f"{what} in nJ, {where}", theirs, ours / 1000))
    note = "none published; end to end, from requests, see docs/dram.md"
    return summary_rows(table.name, table.source, "energy from their counts and times", rows, (None, None), note) + rows


def _energy_pj(row: Row) -> dict[str, float]:
    config = load_section(preset_path(f"dram/energy_{row.text('standard')}"), "dram", DramConfig)
    bits = 8 * config.burst_bytes
    times = [row.number(f"{name}_ns") for name in _STATES]
    activates, precharges, refreshes = (row.number(name) for name in ("activates", "precharges", "refreshes"))
    traffic = Traffic(row.number("reads") * bits, row.number("writes") * bits)
    return component_pj(config, DramStates(activates, precharges, refreshes, 0, 0, 0, *times), traffic)
