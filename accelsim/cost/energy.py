"""Energy prices: what one count of every action of `accelsim.sim.actions` costs, as sums of products of table rows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from accelsim.config.hardware import BufferConfig
from accelsim.cost.area import area_prices, bank_of
from accelsim.cost.array_registers import (
    WEIGHT_BITS,
    array_registers,
    copies_of_weight,
    operand_bits,
    pad_memories,
    size_of_mac,
)
from accelsim.cost.clock import flip_flop_cycle_pj
from accelsim.cost.dram import bit_prices, idle_price_w
from accelsim.cost.registers import memory_pj, read_pj, write_pj
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
    dram, decoder = pricer.hardware.dram, _decoder(pricer)
    by_unit: dict[str, Mapping[str, Price]] = {
        "dram": bit_prices(dram),
        **{name: _buffer(pricer, getattr(pricer.hardware, name)) for name in BUFFERS},
        "weight_generator": _generator(pricer),
        "mask_decoder": decoder,
        "pe_array": _pe_array(pricer),
        "vector_unit": {
            "ops": pricer.energy_pj("vector_op"),
            "codec_pairs": decoder["rle_symbols"],  # a run added to a position, and a value
        },
        "interconnect": {"bits": _interconnect(pricer), "core_bit_hops": _hop(pricer)},
    }
    prices = {(unit, action): price for unit, actions in by_unit.items() for action, price in actions.items()}
    idle_w = () if pricer.hardware.memory == "ideal" else idle_price_w(dram)
    return EnergyPrices(action_pj=prices, dram_idle_w=idle_w)


def _buffer(pricer: Pricer, buffer: BufferConfig) -> dict[str, Price]:
    if buffer.cells == "registers":
        return memory_pj(pricer, buffer)
    bank = bank_of(pricer, buffer)
    prices = {}
    for action, access_pj in (("read_bits", bank.read_pj), ("write_bits", bank.write_pj)):
        # Actions count bits; the grid prices accesses of the full width.
        base = pricer.factor("sram_energy_factor", access_pj / buffer.width_bits)
        prices[action] = joined([base, scaled(base, buffer.num_ports - 1, "sram_port_energy_factor")])
    return prices


def _gates(pricer: Pricer, row: str, *factors: str, count: float = 1.0) -> Price:
    """Return the energy of the gates of ``row`` switching once, in pJ."""
    return scaled(pricer.energy_pj("gate_energy"), count, row, *factors)


def _flip_flops(pricer: Pricer, row: str, count: float = 1.0) -> Price:
    """Return what the flip-flops of ``row`` switch when written once, in pJ; their clock is `accelsim.cost.clock`."""
    return scaled(write_pj(pricer), count, row)


def _generator(pricer: Pricer) -> dict[str, Price]:
    generator = pricer.hardware.weight_generator
    kind = generator.kind if generator is not None else "xorshift32"
    jump_cycles = generator.jump_cycles if generator is not None else 1
    step = joined([
        _gates(pricer, f"{kind}_gates", f"{kind}_activity"),
        _flip_flops(pricer, f"{kind}_flip_flops"),
    ])  # fmt: skip
    # Each word is compared as the freezing fields that it holds; discarded words are drawn but not looked at.
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


def _decoder(pricer: Pricer) -> Mapping[str, Price]:
    return _decoder_at(pricer.energy_pj("gate_energy"), write_pj(pricer))


# Of a node and supply alone: the same along most sweeps.
@lru_cache(maxsize=16)
def _decoder_at(gate: Price, written: Price) -> Mapping[str, Price]:
    return {
        action: joined([
            scaled(gate, 1.0, f"{action}_gates", f"{action}_activity"), scaled(written, 1.0, f"{action}_flip_flops"),
        ])
        for action in ACTIONS["mask_decoder"]
    }  # fmt: skip


def _pe_array(pricer: Pricer) -> dict[str, Price]:
    macs = {name: _mac(pricer, name) for name in ARITHMETICS}
    return {
        **{f"mac_{name}": price for name, price in macs.items()},
        "mac_gated": scaled(
            pricer.energy_pj(f"mac_{pricer.traits.arithmetic}", size_of_mac(pricer, pricer.traits.arithmetic)),
            1.0,
            "mac_gated_fraction",
        ),
        "operand_shifts_bits": _shift(pricer),
        "weight_loads_bits": _weight_load(pricer),
        "skip_lookups": _gates(pricer, "skip_lookup_gates", "skip_lookup_activity"),
        "idle_pe_cycles": (),  # what they save is the clock's: `accelsim.cost.clock`
    }


def _mac(pricer: Pricer, arithmetic: str) -> Price:
    """Return the energy of one MAC with the registers that are written for it alone and move to no neighbour."""
    hardware = pricer.hardware
    unit = pricer.energy_pj(f"mac_{arithmetic}", size_of_mac(pricer, arithmetic))
    sums = hardware.accumulator_bits
    # The sum stays in its PE and is written with each MAC; in other arrays it moves on as a counted operand.
    if hardware.pe_array.dataflow == "output_stationary":
        return joined([unit, scaled(write_pj(pricer), sums)])
    if hardware.pe_array.scratch_pads is None:
        return unit
    pads, weight = _pads(pricer), WEIGHT_BITS[arithmetic]
    return joined([
        unit,
        scaled(pads["weights"]["read_bits"], weight),
        scaled(pads["sums"]["read_bits"], sums),
        scaled(pads["sums"]["write_bits"], sums),
        scaled(write_pj(pricer), hardware.activation_bits + 2 * weight + sums),  # weight, product and sum stages
    ])  # fmt: skip


def _pads(pricer: Pricer) -> dict[str, dict[str, Price]]:
    """Return what a bit read from and written to each scratch pad of a PE costs."""
    pads = pricer.hardware.pe_array.scratch_pads
    if pads is None:
        return {}
    words = {"inputs": pads.input_words, "weights": pads.weight_words, "sums": pads.sum_words}
    made = {
        name: {"read_bits": read_pj(pricer, num), "write_bits": write_pj(pricer, num)} for name, num in words.items()
    }
    return made | {name: _buffer(pricer, memory) for name, memory in pad_memories(pricer).items()}


def _weight_load(pricer: Pricer) -> Price:
    pads = _pads(pricer)
    written = pads["weights"]["write_bits"] if pads else write_pj(pricer)
    return scaled(written, copies_of_weight(pricer.hardware.pe_array))


def _shift(pricer: Pricer) -> Price:
    """Return the energy of a bit of `operand_shifts_bits`.

    A spatial array counts the activation of each slot, of which PEs share the register; its adder trees and sums come
    with it. A PE with scratch pads reads its input there.
    """
    array, written = pricer.hardware.pe_array, write_pj(pricer)
    pads = _pads(pricer)
    if pads:
        return joined([pads["inputs"]["read_bits"], written])
    if array.dataflow != "spatial":
        return written
    moving = math.fsum(each.bits for each in array_registers(pricer) if each.moves_with == "slots")
    return scaled(written, moving / (array.num_pes * operand_bits(pricer)[0]))


def _interconnect(pricer: Pricer) -> Price:
    """Return the energy of one bit over the mean distance, in pJ.

    The distance is a fraction of the edge of a square chip, or core, whose area is the sum of its units at the tables'
    values: a sampled area does not move the wires. What all cores share lies in the middle of the chip.
    """
    is_shared = "activation_buffer" in pricer.hardware.share
    edge_mm = _edge_mm(pricer, 1 if is_shared else pricer.hardware.num_cores)
    return scaled(pricer.wire_pj_per_bit_mm("wire_energy"), edge_mm, "wire_length_fraction")


def _hop(pricer: Pricer) -> Price:
    """Return the energy of one bit over one hop between cores, in pJ: a wire of a core's edge, and a router's register.

    What else a router does (buffers, arbitration, a crossbar) is left out.
    """
    wire = scaled(pricer.wire_pj_per_bit_mm("wire_energy"), _edge_mm(pricer, pricer.hardware.num_cores))
    return joined([wire, flip_flop_cycle_pj(pricer)])


def _edge_mm(pricer: Pricer, parts: int) -> float:
    total_mm2 = math.fsum(resolve(price, pricer.tables.values) for price in area_prices(pricer).values())
    return math.sqrt(total_mm2 / parts)


__all__ = ["ActionKey", "EnergyPrices", "Term", "energy_prices"]
