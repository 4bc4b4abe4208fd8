"""Area and leakage prices per on-chip unit, both from one inventory of gates, flip-flops and SRAM banks.

A unit that the storage format does not need is absent: a chip that runs dense weights has no generator, no decoder and
no mask buffer.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from accelsim.config.hardware import BufferConfig
from accelsim.cost.sram import sram_bank
from accelsim.cost.terms import Price, joined, scaled
from accelsim.cost.traits import Pricer
from accelsim.errors import ConfigError

_UM2_PER_MM2 = 1e6
_WEIGHT_BITS = {"ternary": 2, "binary_xnor": 1, "int4": 4, "int8": 8, "fp16": 16, "fp32": 32}
_SYMBOL_DECODERS = {
    "rle": "rle_symbols", "golomb": "golomb_symbols", "entropy": "entropy_symbols", "csr": "csr_symbols",
}  # fmt: skip
_POSITION_DECODERS = {"bitmap": "bitmap_bits", "nm": "nm_symbols"}


def decoder_front(kind: str) -> str:
    """Return the action that a kind of decoder counts, by which its front end is called in the tables."""
    return _SYMBOL_DECODERS.get(kind) or _POSITION_DECODERS.get(kind, "raw_bits")


@dataclass(frozen=True, slots=True)
class Logic:
    """Standard cells of a unit.

    Attributes
    ----------
    gates, flip_flops
        (table row, how many of it).
    registers
        Flip-flops that the configuration counts exactly.
    """

    gates: tuple[tuple[str, float], ...] = ()
    flip_flops: tuple[tuple[str, float], ...] = ()
    registers: float = 0.0


def area_prices(pricer: Pricer) -> dict[str, Price]:
    """Return the area of every unit that the chip has, in mm2."""
    prices = {name: _logic_area(pricer, logic) for name, logic in inventory(pricer).items()}
    for name, buffer in _memories(pricer):
        bank = _bank_area_um2(pricer, buffer) * buffer.num_banks / _UM2_PER_MM2
        base = pricer.factor("sram_area_factor", bank)
        whole = joined([base, scaled(base, buffer.num_ports - 1, "sram_port_area_factor")])
        prices[name] = joined([prices.get(name, ()), whole])
    return prices


def leakage_prices(pricer: Pricer) -> dict[str, Price]:
    """Return the leakage of every unit that the chip has, in W."""
    prices = {name: _logic_leakage(pricer, logic) for name, logic in inventory(pricer).items()}
    for name, buffer in _memories(pricer):
        bank = sram_bank(
            pricer.tables.sram_points,
            buffer.capacity_bytes / buffer.num_banks,
            buffer.width_bits,
            pricer.node_nm,
            pricer.voltage_v,
        )
        leaks = pricer.factor("sram_leakage_factor", bank.leakage_mw * buffer.num_banks * 1e-3)
        prices[name] = joined([prices.get(name, ()), leaks])
    return prices


def _memories(pricer: Pricer) -> Iterator[tuple[str, BufferConfig]]:
    """Yield the SRAMs of the chip with the unit that each is of: buffers, and the weights' scratch pads of the PEs."""
    yield from buffers_present(pricer).items()
    array = pricer.hardware.pe_array
    if array.scratch_pads is not None:
        width_bits = max(8, pricer.hardware.activation_bits)
        num_bytes = array.scratch_pads.weight_words * width_bits // 8 * array.num_pes
        yield (
            "pe_array",
            BufferConfig(capacity_bytes=max(16, num_bytes), width_bits=width_bits, num_banks=array.num_pes),
        )


def buffers_present(pricer: Pricer) -> dict[str, BufferConfig]:
    """Return the buffers of the chip; without a decoder there is no mask buffer."""
    hardware = pricer.hardware
    present = {
        "activation_buffer": hardware.activation_buffer,
        "weight_buffer": hardware.weight_buffer,
    }
    if not hardware.sums_in_activation_buffer:
        present["accumulator"] = hardware.accumulator
    if pricer.traits.decoder != "none":
        present["mask_buffer"] = hardware.mask_buffer
    return present


def inventory(pricer: Pricer) -> dict[str, Logic]:
    """Return the logic of every unit made of standard cells that the chip has.

    Raises
    ------
    ConfigError
        If the run used a weight generator and the chip has none.
    """
    units = {"pe_array": _pe_array(pricer), "vector_unit": _vector_unit(pricer), "interconnect": _interconnect(pricer)}
    if pricer.traits.uses_generator:
        units["weight_generator"] = _generator(pricer)
    if pricer.traits.decoder != "none" and pricer.hardware.mask_decoder is not None:
        units["mask_decoder"] = _decoder(pricer)
    return units


def _bank_area_um2(pricer: Pricer, buffer: BufferConfig) -> float:
    capacity_bytes = buffer.capacity_bytes / buffer.num_banks
    return sram_bank(
        pricer.tables.sram_points, capacity_bytes, buffer.width_bits, pricer.node_nm, pricer.voltage_v
    ).area_um2


def _logic_area(pricer: Pricer, logic: Logic) -> Price:
    gate = scaled(pricer.area_um2("gate_area"), 1 / _UM2_PER_MM2)
    register = scaled(pricer.area_um2("register_area"), 1 / _UM2_PER_MM2)
    return _sum_logic(logic, gate, register)


def _logic_leakage(pricer: Pricer, logic: Logic) -> Price:
    return _sum_logic(logic, pricer.leakage_w("gate_leakage"), pricer.leakage_w("register_leakage"))


def _sum_logic(logic: Logic, gate: Price, register: Price) -> Price:
    parts = [scaled(gate, count, row) for row, count in logic.gates]
    parts += [scaled(register, count, row) for row, count in logic.flip_flops]
    parts.append(scaled(register, logic.registers))
    return joined(parts)


def _pe_array(pricer: Pricer) -> Logic:
    hardware = pricer.hardware
    pe_array, num_pes = hardware.pe_array, hardware.pe_array.num_pes
    arithmetics = (pricer.traits.arithmetic, *pricer.traits.more_arithmetics)
    # A PE for several arithmetics is as large as the largest: the smaller ones use its adder.
    largest = max(arithmetics, key=lambda name: pricer.tables.values[f"mac_{name}_gates"])
    gates = [(f"mac_{largest}_gates", float(num_pes))]
    if "skip" in (pe_array.zero_weights, pe_array.zero_activations):
        gates.append(("skip_window_gates", float(num_pes)))
    weight_bits = max(_WEIGHT_BITS[name] for name in arithmetics) * (2 if pe_array.weight_preload else 1)
    floating = {"fp16": 16, "fp32": 32}
    activation_bits = max(hardware.activation_bits, *(floating.get(name, 0) for name in arithmetics))
    bits_per_pe = weight_bits + activation_bits + hardware.accumulator_bits
    if pe_array.scratch_pads is not None:
        pads = pe_array.scratch_pads
        bits_per_pe = weight_bits + pads.input_words * activation_bits + pads.sum_words * hardware.accumulator_bits
    return Logic(gates=tuple(gates), registers=float(num_pes * bits_per_pe))


def _vector_unit(pricer: Pricer) -> Logic:
    lanes = float(pricer.hardware.vector_unit.num_lanes)
    return Logic(gates=(("vector_lane_gates", lanes),), flip_flops=(("vector_lane_flip_flops", lanes),))


def _interconnect(pricer: Pricer) -> Logic:
    bits = sum(buffer.port_bits_per_cycle for buffer in buffers_present(pricer).values())
    return Logic(
        gates=(("interconnect_bit_gates", float(bits)),), flip_flops=(("interconnect_bit_flip_flops", float(bits)),)
    )


def _generator(pricer: Pricer) -> Logic:
    generator = pricer.hardware.weight_generator
    if generator is None:
        raise ConfigError(
            f"{pricer.hardware.name}: weight_generator: is null, and the run generated weights; give the hardware "
            "description that the run used"
        )
    words = float(generator.num_lanes * generator.words_per_lane_per_cycle)
    fields = 1.0 if generator.kind == "lfsr16" else 2.0
    gates = [(f"{generator.kind}_gates", words), ("freeze_gates", words * fields)]
    flip_flops = [(f"{generator.kind}_flip_flops", words)]
    if pricer.traits.uses_jumps:
        gates.append(("jump_gates", float(generator.num_lanes)))
        flip_flops.append(("jump_flip_flops", float(generator.num_lanes)))
    if pricer.traits.uses_derived_seeds:
        # One hash unit serves all lanes: a stream's seed is needed once in many words.
        gates.append(("seed_hash_gates", 1.0))
    return Logic(gates=tuple(gates), flip_flops=tuple(flip_flops))


def _decoder(pricer: Pricer) -> Logic:
    decoder = pricer.hardware.mask_decoder
    if decoder is None:
        return Logic()
    width = pricer.traits.decoder_width or decoder
    positions, symbols = float(width.positions_per_cycle), float(width.symbols_per_cycle)
    # Layers stored in different codes need the front end of each; what expands positions serves all of them.
    fronts = sorted({decoder_front(pricer.traits.decoder), *pricer.traits.decoder_fronts})
    copies = [(front, symbols if front in _SYMBOL_DECODERS.values() else positions) for front in fronts]
    parts = (*copies, ("positions", positions))
    return Logic(
        gates=tuple((f"{name}_gates", count) for name, count in parts),
        flip_flops=tuple((f"{name}_flip_flops", count) for name, count in parts),
    )
