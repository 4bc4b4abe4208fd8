"""Areas of laid-out chips, energies at 7 nm, the power of EIE's PE by kind of cell, and what a masked PE costs."""

from __future__ import annotations

from functools import lru_cache

from accelsim.config.hardware import BufferConfig, HardwareConfig
from accelsim.cost.area import area_prices, bank_of
from accelsim.cost.clock import flip_flop_cycle_pj
from accelsim.cost.registers import read_pj, write_pj
from accelsim.cost.tables import load_tables
from accelsim.cost.terms import Price, joined, resolve
from accelsim.cost.traits import Pricer, RunTraits
from accelsim.storage import get_format
from accelsim.trace.model import LoopDims
from accelsim.validation.reference import Table, load_table, preset_path
from accelsim.validation.rows import ValidationRow
from accelsim.validation.runs import dense_weights, machine

EIE_SHARES = {"clock network": 0.2046, "registers": 0.1120, "memory": 0.5915, "combinational": 0.0918}
EIE_WEIGHTS_PER_COLUMN = 5.76
EIE_AREA_PER_FLIP_FLOP_UM2 = 8.4  # 19,300 um2 of registers, gates and clock over about 2,300 flip-flops
_MASKED = "an independent synthesis to a 45 nm library: a masked ternary PE over one that executes"
_GATED_CLOCK = "clock_gated_fraction"


def validate_areas() -> list[ValidationRow]:
    """Return areas of blocks beside published ones."""
    table = load_table("areas")
    rows = []
    for row in table.rows:
        areas = _areas(row.text("preset"), row.text("storage"))
        units = row.text("units")
        ours = sum(areas.values()) if units == "all" else areas[units]
        note = f"aim: within {row.number('aim'):.0%}"
        what = f"area in mm2, {row.text('block')}"
        rows.append(ValidationRow(table.name, table.source, what, row.number("area_mm2"), ours, note))
    return rows


@lru_cache(maxsize=16)
def _areas(preset: str, storage: str) -> dict[str, float]:
    plan = get_format(storage).plan(dense_weights(LoopDims(K=1, C=1)))
    traits = RunTraits(plan.arithmetic, "none", False)
    pricer = Pricer(machine(preset_path(preset)).config, load_tables(), traits)
    return {unit: _value(price) for unit, price in area_prices(pricer).items()}


def validate_energy_7nm() -> list[ValidationRow]:
    """Return energies of operations and of reads of memories at 7 nm, far from the nodes of our tables."""
    table = load_table("energy_7nm")
    chip = HardwareConfig(name="at_7nm", clock_mhz=1000, node_nm=7)
    pricer = Pricer(chip, load_tables(), RunTraits("int8", "none", False))
    rows = []
    for row in table.rows:
        capacity = row.whole("capacity_bytes")
        if capacity:
            what, ours = f"SRAM read energy in pJ, {capacity // 1024} KiB", _read_pj(pricer, capacity)
        else:
            what = f"arithmetic's energy in pJ, {row.text('of').replace('_', ' ')}"
            ours = _value(pricer.energy_pj(row.text("of")))
        rows.append(ValidationRow(table.name, table.source, f"{what} at 7 nm", row.number("pj"), ours))
    return rows


def _read_pj(pricer: Pricer, capacity_bytes: int) -> float:
    return bank_of(pricer, BufferConfig(capacity_bytes=capacity_bytes, width_bits=64)).read_pj


def validate_eie() -> list[ValidationRow]:
    """Return the shares of power in EIE's PE by kind of cell."""
    table = load_table("eie")
    chip = HardwareConfig(name="eie_pe", clock_mhz=800, node_nm=45, voltage_v=0.9, activation_bits=16)
    pricer = Pricer(chip, load_tables(), RunTraits("int16", "none", False))
    energies = _eie_registers(pricer, table) | {
        "memory": _eie_memory(pricer),
        "combinational": _value(pricer.energy_pj("mac_int16")),
    }
    total = sum(energies.values())
    note = "aim: within a factor of 1.3; {:.2f} pJ a cycle of {:.2f}, theirs of 11.4"
    return [
        ValidationRow(
            table.name, table.source, f"share of power, {name}", theirs, energies[name] / total,
            note.format(energies[name], total),
        )
        for name, theirs in EIE_SHARES.items()
    ]  # fmt: skip


def _eie_registers(pricer: Pricer, table: Table) -> dict[str, float]:
    """Return pJ a cycle of the clock network, with what it makes flip-flops spend inside, and of registers' data.

    So the tool of the source divides them: PrimeTime PX puts the clock-pin power of registers into clock_network.
    """
    clock_pj = _value(flip_flop_cycle_pj(pricer, EIE_AREA_PER_FLIP_FLOP_UM2))
    network = registers = 0.0
    for row in table.rows:
        bits, words, moved = row.number("bits"), row.number("words"), row.number("per_cycle")
        clocked = bits
        if row.text("kind") == "words":
            clocked = moved + (bits - moved) * pricer.tables.values[_GATED_CLOCK]
        network += clocked * clock_pj
        registers += moved * _value(write_pj(pricer, words))
        registers += moved * _value(read_pj(pricer, words)) if words > 1 else 0.0
    return {"clock network": network, "registers": registers}


def _eie_memory(pricer: Pricer) -> float:
    """Return pJ a cycle of the SRAMs: a row of weights and two pointers for each column."""
    weights = bank_of(pricer, BufferConfig(capacity_bytes=131072, width_bits=64))
    pointers = bank_of(pricer, BufferConfig(capacity_bytes=16384, width_bits=16))
    return (weights.read_pj + 2 * pointers.read_pj) / EIE_WEIGHTS_PER_COLUMN


def validate_masked_pe() -> list[ValidationRow]:
    """Return the energy of a masked ternary PE over that of one that executes.

    Before placement, as in the source: the clock is ideal, with neither wire nor buffers between it and the pins.
    """
    chip = HardwareConfig(name="pe", clock_mhz=500, node_nm=45, voltage_v=1.1, accumulator_bits=24)
    pricer = Pricer(chip, load_tables(), RunTraits("ternary", "none", False))
    flip_flops = chip.activation_bits + 2 + chip.accumulator_bits
    ideal_clock = joined([pricer.energy_pj("flip_flop_clock"), pricer.energy_pj("clock_pin")])
    clock, written = (flip_flops * _value(price) for price in (ideal_clock, write_pj(pricer)))
    executed = _value(pricer.energy_pj("mac_ternary")) + clock + written
    held = _value(pricer.energy_pj("mac_ternary")) * pricer.tables.values["mac_gated_fraction"]
    gated = held + clock * pricer.tables.values[_GATED_CLOCK]
    what = "energy of a masked ternary PE / an executed one, 45 nm,"
    return [
        ValidationRow(
            "masked-pe", _MASKED, f"{what} without clock gating", 0.4, (held + clock) / executed,
            "our own RTL, all of it in one library: 0.51 in sky130, 0.42 in ASAP7, 0.38 in OSU's",
        ),
        ValidationRow(
            "masked-pe", _MASKED, f"{what} gated", None, gated / executed, "what the library says", gap=False
        ),
    ]  # fmt: skip


def _value(price: Price) -> float:
    return resolve(price, load_tables().values)
