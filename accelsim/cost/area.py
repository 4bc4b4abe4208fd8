"""Area and leakage prices per on-chip unit, both from the inventory of gates, flip-flops and memories."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from accelsim.config.hardware import BufferConfig
from accelsim.cost.array_registers import pad_memories
from accelsim.cost.inventory import Logic, buffers_present, copies_of, flip_flops_of, inventory
from accelsim.cost.sram import SramBank
from accelsim.cost.sram import bank_of as bank_of_size
from accelsim.cost.terms import Price, joined, multiplied, scaled
from accelsim.cost.traits import Pricer, once

_UM2_PER_MM2 = 1e6


@once
def area_prices(pricer: Pricer) -> dict[str, Price]:
    """Return the area of every unit that the chip has, placed and routed, in mm2."""
    prices = dict(logic_areas(pricer))
    for name, buffer in srams(pricer):
        banks = buffer.num_banks * copies_of(pricer.hardware, name)
        base = pricer.factor("sram_area_factor", bank_of(pricer, buffer).area_um2 * banks / _UM2_PER_MM2)
        more_ports = scaled(base, buffer.num_ports - 1, "sram_port_area_factor")
        prices[name] = joined([prices.get(name, ()), base, more_ports])
    return prices


def leakage_prices(pricer: Pricer) -> dict[str, Price]:
    """Return the leakage of every unit that the chip has, in W."""
    gate, register = pricer.leakage_w("gate_leakage"), pricer.leakage_w("register_leakage")
    prices = {name: _sum_logic(logic, gate, register) for name, logic in inventory(pricer).items()}
    for name, buffer in srams(pricer):
        banks = buffer.num_banks * copies_of(pricer.hardware, name)
        leaks = pricer.sram_leakage_w(bank_of(pricer, buffer).leakage_mw * banks * 1e-3)
        prices[name] = joined([prices.get(name, ()), leaks])
    return prices


def srams(pricer: Pricer) -> Iterator[tuple[str, BufferConfig]]:
    """Yield what is made of SRAM macros with the unit that it is of: buffers, and scratch pads of PEs."""
    yield from ((name, buffer) for name, buffer in buffers_present(pricer).items() if buffer.cells == "sram")
    yield from (("pe_array", pad) for pad in pad_memories(pricer).values())


def bank_of(pricer: Pricer, buffer: BufferConfig) -> SramBank:
    """Return a bank of a buffer at the chip's node and supply."""
    capacity_bytes = buffer.capacity_bytes / buffer.num_banks
    return bank_of_size(pricer.tables, capacity_bytes, buffer.width_bits, pricer.node_nm, pricer.voltage_v)


@once
def logic_areas(pricer: Pricer) -> dict[str, Price]:
    """Return the area of every unit's standard cells, placed and routed, in mm2."""
    gate = scaled(pricer.area_um2("gate_area"), 1 / _UM2_PER_MM2)
    register = scaled(pricer.area_um2("register_area"), 1 / _UM2_PER_MM2)
    register = joined([register, scaled(register, 1.0, "clock_tree_area"), scaled(register, 1.0, "scan_area")])
    return {name: _sum_logic(logic, gate, register) for name, logic in inventory(pricer).items()}


# Along a sweep most units stay as they are.
@lru_cache(maxsize=512)
def _sum_logic(logic: Logic, gate: Price, register: Price) -> Price:
    parts = [scaled(gate, count, row) for row, count in logic.gates]
    return joined([*parts, multiplied(flip_flops_of([logic]), register)])
