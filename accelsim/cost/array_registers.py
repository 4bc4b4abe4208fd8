"""The registers of a PE array by dataflow: what each holds, how many bits, and with what they are clocked.

A systolic PE has its own operand and sum. A ``spatial`` array shares: an activation register serves all PEs that it is
broadcast to, a weight stays while positions pass, and an adder tree has a register for each of its levels that the
pipeline's latency pays for, and one for its sum.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from accelsim.config.hardware import BufferConfig, PeArrayConfig, ScratchPadConfig
from accelsim.cost.traits import Pricer

WEIGHT_BITS = {"ternary": 2, "binary_xnor": 1, "int4": 4, "int8": 8, "int16": 16, "fp16": 16, "fp32": 32}
_FLOATING = {"fp16": 16, "fp32": 32}

MovesWith = Literal["slots", "executed", "loads", "inputs"]


@dataclass(frozen=True, slots=True)
class RegisterSet:
    """Registers of one kind in the whole array.

    Attributes
    ----------
    name
        What they hold: inputs, weights, sums, levels of trees, products, or a scratch pad.
    bits
        Flip-flops of all of them.
    moves_with
        What clocks them where lanes are gated: slots (also those whose product is masked: the data pass on to others),
        executed products, loads of weights, or inputs that come from the activation buffer.
    control, num_controls
        The rows of control flip-flops and gates that stand beside them begin with it, and how many times: in each
        PE, or at each adder tree.
    words
        Words of a scratch pad, of which one is written at a time.
    """

    name: str
    bits: float
    moves_with: MovesWith
    control: str | None = None
    num_controls: float = 0.0
    words: int = 1

    @property
    def holds(self) -> bool:
        """Return whether they keep what they have in cycles in which they are not written."""
        return self.words > 1 or self.moves_with == "loads"


def largest_arithmetic(pricer: Pricer) -> str:
    """Return the arithmetic that a PE for all of a run is built for: the smaller ones use its adder."""
    return max(pricer.traits.arithmetics, key=lambda name: pricer.tables.values[f"mac_{name}_gates"])


def operand_bits(pricer: Pricer) -> tuple[int, int]:
    """Return the bits of an activation and of a weight in a PE."""
    names = pricer.traits.arithmetics
    activation = max(pricer.hardware.activation_bits, *(_FLOATING.get(name, 0) for name in names))
    return activation, max(WEIGHT_BITS[name] for name in names)


def array_registers(pricer: Pricer) -> tuple[RegisterSet, ...]:
    """Return the registers of the array."""
    array = pricer.hardware.pe_array
    if array.scratch_pads is not None:
        return (*_stages(pricer, array), *_pads(pricer, array, array.scratch_pads))
    return _shared(pricer, array) if array.dataflow == "spatial" else _systolic(pricer, array)


def _systolic(pricer: Pricer, array: PeArrayConfig) -> tuple[RegisterSet, ...]:
    num_pes, sums = array.num_pes, pricer.hardware.accumulator_bits
    activation, weight = operand_bits(pricer)
    # The next fold's weights wait beside those in use.
    copies = 2 if array.weight_preload else 1
    stays: dict[str, tuple[str, MovesWith]] = {
        "weight_stationary": ("weights", "loads"),
        "input_stationary": ("inputs", "loads"),
        "output_stationary": ("sums", "executed"),
    }
    kept, clocked = stays[array.dataflow]
    widths = {"inputs": activation, "weights": weight * copies, "sums": sums}
    control = {"inputs": None, "weights": None, "sums": "pe_control"}
    return tuple(
        RegisterSet(name, float(num_pes * bits), clocked if name == kept else "slots", control[name], num_pes)
        for name, bits in widths.items()
    )


def _pads(pricer: Pricer, array: PeArrayConfig, pads: ScratchPadConfig) -> tuple[RegisterSet, ...]:
    """Return the scratch pads that are made of registers."""
    activation, weight = operand_bits(pricer)
    sums = pricer.hardware.accumulator_bits
    every: tuple[tuple[str, str, int, int, MovesWith], ...] = (
        ("input pads", pads.input_cells, pads.input_words, activation, "inputs"),
        ("weight pads", pads.weight_cells, pads.weight_words, weight, "loads"),
        ("sum pads", pads.sum_cells, pads.sum_words, sums, "executed"),
    )
    return tuple(
        RegisterSet(name, float(array.num_pes * words * bits), moves_with, words=words)
        for name, cells, words, bits, moves_with in every
        if cells == "registers"
    )


def pad_memories(pricer: Pricer) -> dict[str, BufferConfig]:
    """Return the scratch pads that are made of SRAM, all PEs' together."""
    array, pads = pricer.hardware.pe_array, pricer.hardware.pe_array.scratch_pads
    if pads is None:
        return {}
    activation, weight = operand_bits(pricer)
    sums = pricer.hardware.accumulator_bits
    every = {
        "inputs": (pads.input_cells, pads.input_words, activation),
        "weights": (pads.weight_cells, pads.weight_words, weight),
        "sums": (pads.sum_cells, pads.sum_words, sums),
    }
    return {
        name: BufferConfig(
            capacity_bytes=max(16, words * bits * array.num_pes // 8), width_bits=max(8, bits), num_banks=array.num_pes
        )
        for name, (cells, words, bits) in every.items()
        if cells == "sram"
    }


def copies_of_weight(array: PeArrayConfig) -> int:
    """Return how many PEs take a weight that is loaded: a row-stationary array's filter row goes to all columns."""
    return array.cols if array.scratch_pads is not None else 1


def _stages(pricer: Pricer, array: PeArrayConfig) -> tuple[RegisterSet, ...]:
    """Return the three stages of a PE with scratch pads: operands, product, sum."""
    num_pes, sums = array.num_pes, pricer.hardware.accumulator_bits
    activation, weight = operand_bits(pricer)
    return (
        # Of a masked product the activation is looked at; weight, product and sum keep what they have.
        RegisterSet("inputs", float(num_pes * activation), "slots", "pad_control", num_pes),
        RegisterSet("weights", float(num_pes * weight), "executed"),
        RegisterSet("products", float(num_pes * (activation + weight)), "executed"),
        RegisterSet("sums", float(num_pes * sums), "executed"),
    )


def _shared(pricer: Pricer, array: PeArrayConfig) -> tuple[RegisterSet, ...]:
    activation, weight = operand_bits(pricer)
    trees = array.num_pes / fan_in(array)
    return (
        RegisterSet("inputs", float(num_inputs(array) * activation), "slots"),
        RegisterSet("weights", float(num_weights(array) * weight), "loads"),
        RegisterSet("tree", trees * tree_bits(pricer), "slots", "pe_control", trees),
        RegisterSet("sums", trees * pricer.hardware.accumulator_bits, "slots"),
    )


def num_inputs(array: PeArrayConfig) -> int:
    """Return the different activations that a spatial array takes in a cycle, at a stride of 1."""
    size = array.unroll.get
    # Neighbouring windows overlap: P positions under R filter rows see P + R - 1 different rows.
    rows, cols = size("P", 1) + size("R", 1) - 1, size("Q", 1) + size("S", 1) - 1
    return size("N", 1) * size("C", 1) * rows * cols


def num_weights(array: PeArrayConfig) -> int:
    """Return the different weights that a spatial array holds."""
    size = array.unroll.get
    return size("K", 1) * size("C", 1) * size("R", 1) * size("S", 1)


def fan_in(array: PeArrayConfig) -> int:
    """Return the products that an adder tree sums."""
    size = array.unroll.get
    return size("C", 1) * size("R", 1) * size("S", 1)


# Adders within a MAC: their share of its gates, 286.3 GE a 32-bit adder in sky130 (rtl/synth/results.csv, add32 over
# pe_*), and bits.
_ADDERS = {"ternary": (0.637, 24), "int4": (0.469, 24), "int8": (0.271, 32), "int16": (0.091, 32)}


def size_of_mac(pricer: Pricer, arithmetic: str) -> float:
    """Return what a MAC is of the table's: a tree's adders are as wide as their level, and one of them accumulates."""
    array = pricer.hardware.pe_array
    if array.dataflow != "spatial" or arithmetic not in _ADDERS:
        return 1.0
    share, bits = _ADDERS[arithmetic]
    added = sum(count * width for count, width in _levels(pricer)) + pricer.hardware.accumulator_bits
    return 1 - share + share * added / fan_in(array) / bits


def _levels(pricer: Pricer) -> list[tuple[int, int]]:
    """Return the adders of each level of a tree and their width.

    A ternary or binary product is as wide as its activation and a sign, others as both operands; a level adds a bit.
    """
    activation, weight = operand_bits(pricer)
    product = activation + 1 if largest_arithmetic(pricer) in ("ternary", "binary_xnor") else activation + weight
    depth = (fan_in(pricer.hardware.pe_array) - 1).bit_length()
    return [
        (-(-fan_in(pricer.hardware.pe_array) // (1 << level)), min(product + level, pricer.hardware.accumulator_bits))
        for level in range(1, depth + 1)
    ]


def tree_bits(pricer: Pricer) -> int:
    """Return the flip-flops within one adder tree: of the levels from the root that the pipeline has stages for.

    An operand and an output stage are of the latency, but not of the tree.
    """
    levels = _levels(pricer)
    # From the root, where the fewest registers cut the path: a level further out has twice as many adders.
    stages = min(len(levels), max(0, pricer.hardware.pe_array.pipeline_latency_cycles - 2))
    return sum(count * width for count, width in levels[len(levels) - stages :])
