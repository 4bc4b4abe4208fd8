"""What every unit of a chip is built of: gates, flip-flops and when they are clocked, memories.

Area and leakage (`accelsim.cost.area`), the clock (`accelsim.cost.clock`) and the energy of registers
(`accelsim.cost.registers`) are priced from this one inventory. A unit that the storage format does not need is absent:
a chip that runs dense weights has no generator, no decoder and no mask buffer.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from accelsim.config.hardware import BufferConfig, HardwareConfig
from accelsim.cost.array_registers import (
    RegisterSet,
    array_registers,
    copies_of_weight,
    largest_arithmetic,
    size_of_mac,
)
from accelsim.cost.terms import Price, Term, joined, scaled
from accelsim.cost.traits import Pricer, once
from accelsim.errors import ConfigError
from accelsim.storage.base import CODED_FRONTS, decoder_front
from accelsim.timing.memory import bytes_per_cycle

_BUFFERED = ("pe_array", "vector_unit", "dram")  # units whose work moves words between buffers


@dataclass(frozen=True, slots=True)
class Work:
    """Cycles in which all flip-flops of a group are clocked, per count of an action.

    A group of eight lanes of which an action takes one for a cycle has a share of 1/8.
    """

    unit: str
    action: str
    cycles: float


@dataclass(frozen=True, slots=True)
class FlipFlops:
    """Flip-flops that are clocked together.

    Attributes
    ----------
    count
        How many, as products of table rows.
    busy
        Units in whose busy cycles they are clocked where units are gated; None: in every cycle.
    work
        Actions that clock them where lanes are gated; None: as ``busy``.
    has_enable
        Whether they hold their data by a multiplexer, for want of a gated clock.
    """

    count: Price
    busy: tuple[str, ...] | None = None
    work: tuple[Work, ...] | None = None
    has_enable: bool = False
    idle: Work | None = None
    """Action in whose cycles a part of them stands still where units are gated; None: all or none of them do."""
    copies: int = 1
    """Cores that have them; their busy cycles and actions are those of all cores together."""


@dataclass(frozen=True, slots=True)
class Logic:
    """Standard cells of a unit: (table row, how many of it) of gates, and groups of flip-flops."""

    gates: tuple[tuple[str, float], ...] = ()
    flip_flops: tuple[FlipFlops, ...] = ()


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


@once
def inventory(pricer: Pricer) -> dict[str, Logic]:
    """Return the logic of every unit made of standard cells that the chip has.

    Raises
    ------
    ConfigError
        If the run used a weight generator and the chip has none.
    """
    units = {
        "pe_array": _pe_array(pricer),
        "vector_unit": _vector_unit(pricer),
        "interconnect": _interconnect(pricer),
        "dma": _dma(pricer),
        "control": _fixed(pricer, "control", None),
        "host_interface": _fixed(pricer, "host_interface", ()),  # idle while a network runs
    }
    if pricer.traits.uses_generator:
        units["weight_generator"] = _generator(pricer)
    if pricer.traits.decoder != "none" and pricer.hardware.mask_decoder is not None:
        units["mask_decoder"] = _decoder(pricer)
    for name, buffer in buffers_present(pricer).items():
        if buffer.cells == "registers":
            units[name] = _register_memory(name, buffer, has_enable=not _gates_words(pricer))
    return {name: _in_copies(logic, copies_of(pricer.hardware, name)) for name, logic in units.items()}


def copies_of(hardware: HardwareConfig, unit: str) -> int:
    """Return how many cores have a unit of their own; 1 where it serves all of them."""
    return 1 if unit in hardware.share or unit == "host_interface" else hardware.num_cores


def _in_copies(logic: Logic, copies: int) -> Logic:
    if copies == 1:
        return logic
    return Logic(
        tuple((name, number * copies) for name, number in logic.gates),
        tuple(
            replace(
                group,
                count=scaled(group.count, float(copies)),
                work=None if group.work is None else tuple(
                    replace(each, cycles=each.cycles / copies) for each in group.work
                ),
                idle=None if group.idle is None else replace(group.idle, cycles=group.idle.cycles / copies),
                copies=copies,
            )
            for group in logic.flip_flops
        ),
    )  # fmt: skip


def num_words(buffer: BufferConfig) -> float:
    """Return the words of a bank."""
    return max(1.0, buffer.capacity_bytes * 8 / buffer.num_banks / buffer.width_bits)


def exactly(number: float) -> Price:
    """Return a count that depends on no row."""
    return (Term(number, ()),)


def _pe_array(pricer: Pricer) -> Logic:
    pe_array, num_pes = pricer.hardware.pe_array, float(pricer.hardware.pe_array.num_pes)
    largest = largest_arithmetic(pricer)
    gates = [(f"mac_{largest}_gates", num_pes * size_of_mac(pricer, largest))]
    if "skip" in (pe_array.zero_weights, pe_array.zero_activations):
        gates.append(("skip_window_gates", num_pes))
    registers = array_registers(pricer)
    gates += [("register_read_gates", each.bits) for each in registers if each.words > 1]
    if not _gates_words(pricer):
        gates += [("enable_gates", each.bits) for each in registers if each.holds]
    gates += [(f"{each.control}_gates", each.num_controls) for each in registers if each.control is not None]
    return Logic(tuple(gates), tuple(_array_group(pricer, each) for each in registers))


def _array_group(pricer: Pricer, registers: RegisterSet) -> FlipFlops:
    """Return a set of the array's registers with the actions that clock it where lanes are gated."""
    array = pricer.hardware.pe_array
    one_of_all, bits = 1 / (array.num_pes * registers.words), max(1.0, registers.bits)
    executed = tuple(Work("pe_array", f"mac_{name}", one_of_all) for name in pricer.traits.arithmetics)
    work = {
        "slots": (*executed, Work("pe_array", "mac_gated", one_of_all)),
        "executed": executed,
        "loads": (Work("pe_array", "weight_loads_bits", copies_of_weight(array) / bits),),
        "inputs": (Work("activation_buffer", "read_bits", array.rows / bits),),
    }[registers.moves_with]
    count = exactly(registers.bits)
    if registers.control is not None:
        count = joined([count, pricer.factor(f"{registers.control}_flip_flops", registers.num_controls)])
    idle = Work("pe_array", "idle_pe_cycles", 1 / array.num_pes)
    return FlipFlops(count, ("pe_array",), work, registers.holds and not _gates_words(pricer), idle)


def _gates_words(pricer: Pricer) -> bool:
    """Return whether registers that hold their data have a gated clock; without one they have an enable."""
    return pricer.hardware.clock_gating == "lane"


def _vector_unit(pricer: Pricer) -> Logic:
    lanes = float(pricer.hardware.vector_unit.num_lanes)
    registers = FlipFlops(
        pricer.factor("vector_lane_flip_flops", lanes), ("vector_unit",), (Work("vector_unit", "ops", 1 / lanes),)
    )
    return Logic((("vector_lane_gates", lanes),), (registers,))


def _interconnect(pricer: Pricer) -> Logic:
    """Return the multiplexers of the memories' ports, and their input and output registers."""
    memories = [each for each in buffers_present(pricer).values() if each.cells == "sram"]
    bits = float(max(1, sum(each.num_banks * each.num_ports * each.width_bits for each in memories)))
    registers = FlipFlops(
        pricer.factor("interconnect_bit_flip_flops", bits), _BUFFERED, (Work("interconnect", "bits", 1 / bits),)
    )
    return Logic((("interconnect_bit_gates", bits),), (registers,))


def _dma(pricer: Pricer) -> Logic:
    hardware = pricer.hardware
    moved = 0.0 if hardware.memory == "ideal" else float(bytes_per_cycle(hardware.dram, hardware.clock_mhz))
    count = joined([pricer.factor("dma_flip_flops"), pricer.factor("dma_byte_flip_flops", moved)])
    return Logic((("dma_gates", 1.0),), (FlipFlops(count, ("dram",)),))


def _fixed(pricer: Pricer, unit: str, busy: tuple[str, ...] | None) -> Logic:
    return Logic(((f"{unit}_gates", 1.0),), (FlipFlops(pricer.factor(f"{unit}_flip_flops"), busy),))


def _register_memory(name: str, buffer: BufferConfig, has_enable: bool) -> Logic:
    bits = buffer.capacity_bytes * 8.0
    words = FlipFlops(exactly(bits), _BUFFERED, (Work(name, "write_bits", 1 / bits),), has_enable)
    enables = (("enable_gates", bits),) if has_enable else ()
    return Logic((("register_read_gates", bits), *enables), (words,))


def _generator(pricer: Pricer) -> Logic:
    generator = pricer.hardware.weight_generator
    if generator is None:
        raise ConfigError(
            f"{pricer.hardware.name}: weight_generator: is null, and the run generated weights; give the hardware "
            "description that the run used"
        )
    words, lanes = float(generator.num_lanes * generator.words_per_lane_per_cycle), float(generator.num_lanes)
    fields = 1.0 if generator.kind == "lfsr16" else 2.0
    gates = [(f"{generator.kind}_gates", words), ("freeze_gates", words * fields)]
    # One that serves several cores in turn keeps the state of its lanes for each of them.
    states = pricer.hardware.num_cores if "weight_generator" in pricer.hardware.share else 1
    steps = tuple(Work("weight_generator", name, 1 / words / states) for name in ("words", "discarded_words"))
    state = pricer.factor(f"{generator.kind}_flip_flops", words * states)
    flip_flops = [FlipFlops(state, ("weight_generator",), steps)]
    if pricer.traits.uses_jumps:
        gates.append(("jump_gates", lanes))
        jumps = (Work("weight_generator", "jumps", generator.jump_cycles / lanes),)
        flip_flops.append(FlipFlops(pricer.factor("jump_flip_flops", lanes), ("weight_generator",), jumps))
    if pricer.traits.uses_derived_seeds:
        # One hash unit serves all lanes: a stream's seed is needed once in many words.
        gates.append(("seed_hash_gates", 1.0))
    return Logic(tuple(gates), tuple(flip_flops))


def _decoder(pricer: Pricer) -> Logic:
    decoder = pricer.hardware.mask_decoder
    if decoder is None:
        return Logic()
    width = pricer.traits.decoder_width or decoder
    positions, symbols = float(width.positions_per_cycle), float(width.symbols_per_cycle)
    # Layers stored in different codes need the front end of each; what expands positions serves all of them.
    fronts = sorted({decoder_front(pricer.traits.decoder), *pricer.traits.decoder_fronts})
    copies = [(front, symbols if front in CODED_FRONTS else positions) for front in fronts]
    parts = (*copies, ("positions", positions))
    return Logic(
        tuple((f"{name}_gates", count) for name, count in parts),
        tuple(
            FlipFlops(
                pricer.factor(f"{name}_flip_flops", count), ("mask_decoder",), (Work("mask_decoder", name, 1 / count),)
            )
            for name, count in parts
        ),
    )


def flip_flops_of(logic: Iterable[Logic]) -> Price:
    """Return all flip-flops of some units."""
    return joined(group.count for each in logic for group in each.flip_flops)
