"""Energy prices: what one count of every action of `accelsim.sim.actions` costs, as sums of products of table rows."""

from __future__ import annotations

import math
from dataclasses import dataclass

from accelsim.config.hardware import BufferConfig
from accelsim.cost.area import area_prices
from accelsim.cost.dram import bit_prices, idle_price_w
from accelsim.cost.sram import bank_of
from accelsim.cost.terms import Price, Term, joined, resolve, scaled
from accelsim.cost.traits import Pricer
from accelsim.sim.actions import ACTIONS, ARITHMETICS

BUFFERS = ("activation_buffer", "weight_buffer", "mask_buffer", "accumulator")
FREEZE_FIELD_BITS = 16
WORD_BITS = {"philox4x32": 32, "xorshift32": 32, "lfsr32": 32, "lfsr16": 16}

ActionKey = tuple[str, str]


@dataclass(frozen=True, slots=True)
class EnergyPrices:
    """Prices of a run on a chip.

    Attributes
    ----------
    action_pj
        (unit, action) -> pJ per count.
    dram_idle_w
        Power of the DRAM while the bus does not move, in W, for estimates before a run (what a run cost is
        `accelsim.cost.dram.run_energy`); no terms where memory is ideal.
    """

    action_pj: dict[ActionKey, Price]
    dram_idle_w: Price


def energy_prices(pricer: Pricer) -> EnergyPrices:
    """Return the price of every action of `ACTIONS` on the pricer's chip.

    Raises
    ------
    ConfigError
        If the node or the supply is outside the tables.
    """
    dram = pricer.hardware.dram
    by_unit: dict[str, dict[str, Price]] = {
        "dram": bit_prices(dram),
        **{name: _buffer(pricer, getattr(pricer.hardware, name)) for name in BUFFERS},
        "weight_generator": _generator(pricer),
        "mask_decoder": _decoder(pricer),
        "pe_array": _pe_array(pricer),
        "vector_unit": {
            "ops": pricer.energy_pj("vector_op"),
            "codec_pairs": _decoder(pricer)["rle_symbols"],  # a run added to a position, and a value
        },
        "interconnect": {"bits": _interconnect(pricer)},
    }
    prices = {(unit, action): price for unit, actions in by_unit.items() for action, price in actions.items()}
    idle_w = () if pricer.hardware.memory == "ideal" else idle_price_w(dram)
    return EnergyPrices(action_pj=prices, dram_idle_w=idle_w)


def _buffer(pricer: Pricer, buffer: BufferConfig) -> dict[str, Price]:
    bank = bank_of(
        pricer.tables,
        buffer.capacity_bytes / buffer.num_banks,
        buffer.width_bits,
        pricer.node_nm,
        pricer.voltage_v,
    )
    return {
        action: joined([
            pricer.factor("sram_energy_factor", access_pj / buffer.width_bits),
            scaled(
                pricer.factor("sram_energy_factor", access_pj / buffer.width_bits),
                buffer.num_ports - 1,
                "sram_port_energy_factor",
            ),
        ])
        for action, access_pj in (("read_bits", bank.read_pj), ("write_bits", bank.write_pj))
    }  # fmt: skip


def _gates(pricer: Pricer, row: str, *factors: str, count: float = 1.0) -> Price:
    """Return the energy of the gates of ``row`` switching once, in pJ."""
    return scaled(pricer.energy_pj("gate_energy"), count, row, *factors)


def _flip_flops(pricer: Pricer, row: str, count: float = 1.0) -> Price:
    """Return the energy of clocking the flip-flops of ``row`` once, in pJ."""
    return scaled(pricer.energy_pj("register_write"), count, row)


def _generator(pricer: Pricer) -> dict[str, Price]:
    generator = pricer.hardware.weight_generator
    kind = generator.kind if generator is not None else "xorshift32"
    jump_cycles = generator.jump_cycles if generator is not None else 1
    step = joined([
        _gates(pricer, f"{kind}_gates", f"{kind}_activity"),
        _flip_flops(pricer, f"{kind}_flip_flops"),
    ])  # fmt: skip
    compare = _gates(pricer, "freeze_gates", "freeze_activity", count=WORD_BITS[kind] / FREEZE_FIELD_BITS)
    jump = joined([
        _gates(pricer, "jump_gates", "jump_activity", count=jump_cycles),
        _flip_flops(pricer, "jump_flip_flops", count=jump_cycles),
    ])  # fmt: skip
    return {
        "words": joined([step, compare]),
        "discarded_words": step,
        "derived_seeds": _gates(pricer, "seed_hash_gates", "seed_hash_activity"),
        "jumps": jump,
    }


def _decoder(pricer: Pricer) -> dict[str, Price]:
    return {
        action: joined([
            _gates(pricer, f"{action}_gates", f"{action}_activity"),
            _flip_flops(pricer, f"{action}_flip_flops"),
        ])
        for action in ACTIONS["mask_decoder"]
    }  # fmt: skip


def _pe_array(pricer: Pricer) -> dict[str, Price]:
    macs = {name: _mac(pricer, name) for name in ARITHMETICS}
    register = pricer.energy_pj("register_write")
    return {
        **{f"mac_{name}": price for name, price in macs.items()},
        "mac_gated": scaled(pricer.energy_pj(f"mac_{pricer.traits.arithmetic}"), 1.0, "mac_gated_fraction"),
        "operand_shifts_bits": register,
        "weight_loads_bits": register,
        "skip_lookups": _gates(pricer, "skip_lookup_gates", "skip_lookup_activity"),
    }


def _mac(pricer: Pricer, arithmetic: str) -> Price:
    """Return the energy of one MAC; an output-stationary PE also clocks its own sum, which moves to no neighbour."""
    unit = pricer.energy_pj(f"mac_{arithmetic}")
    if pricer.hardware.pe_array.dataflow != "output_stationary":
        return unit
    return joined([unit, pricer.energy_pj("register_write", pricer.hardware.accumulator_bits)])


def _interconnect(pricer: Pricer) -> Price:
    """Return the energy of one bit over the mean distance, in pJ.

    The distance is a fraction of the edge of a square chip whose area is the sum of its units at the tables' values: a
    sampled area does not move the wires.
    """
    total_mm2 = math.fsum(resolve(price, pricer.tables.values) for price in area_prices(pricer).values())
    edge_mm = math.sqrt(total_mm2)
    return scaled(pricer.wire_pj_per_bit_mm("wire_energy"), edge_mm, "wire_length_fraction")


__all__ = ["ActionKey", "EnergyPrices", "Term", "energy_prices"]
