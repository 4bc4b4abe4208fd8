"""The actions that units count. The cost tables price exactly these: a test compares the two lists.

======================  ==========================================================================================
unit                    actions (count of)
======================  ==========================================================================================
dram                    read_bits, write_bits
activation_buffer       read_bits, write_bits
weight_buffer           read_bits, write_bits
mask_buffer             read_bits, write_bits
accumulator             read_bits, write_bits
weight_generator        words (used), discarded_words, derived_seeds (hashes), jumps (matrix-power jumps)
mask_decoder            raw_bits, rle_symbols, golomb_symbols, entropy_symbols, csr_symbols, bitmap_bits, nm_symbols,
                        positions (mask positions expanded)
pe_array                mac_<arithmetic> (executed), mac_gated (slots in which a PE was clocked but its operands held),
                        operand_shifts_bits (bits moved between neighbouring PE registers), weight_loads_bits,
                        skip_lookups (weights examined by skipping logic), idle_pe_cycles (of PEs that the mapping
                        leaves out while others work; row-stationary arrays)
vector_unit             ops (one operation on one element), codec_pairs (run and value of coded activations)
interconnect            bits (moved between a buffer and the array, or DMA and a buffer), core_bit_hops (between cores)
======================  ==========================================================================================
"""

from __future__ import annotations

from collections.abc import Mapping

ARITHMETICS = ("ternary", "binary_xnor", "int4", "int8", "int16", "fp16", "fp32")

ACTIONS: dict[str, tuple[str, ...]] = {
    "dram": ("read_bits", "write_bits"),
    "activation_buffer": ("read_bits", "write_bits"),
    "weight_buffer": ("read_bits", "write_bits"),
    "mask_buffer": ("read_bits", "write_bits"),
    "accumulator": ("read_bits", "write_bits"),
    "weight_generator": ("words", "discarded_words", "derived_seeds", "jumps"),
    "mask_decoder": (
        "raw_bits", "rle_symbols", "golomb_symbols", "entropy_symbols", "csr_symbols", "bitmap_bits", "nm_symbols",
        "positions",
    ),
    "pe_array": (
        *(f"mac_{name}" for name in ARITHMETICS), "mac_gated", "operand_shifts_bits", "weight_loads_bits",
        "skip_lookups", "idle_pe_cycles",
    ),
    "vector_unit": ("ops", "codec_pairs"),
    "interconnect": ("bits", "core_bit_hops"),
}  # fmt: skip


def counted(actions: Mapping[str, Mapping[str, int]], read_bytes: int, written_bytes: int) -> dict[str, dict[str, int]]:
    """Return what a layer counts, in the order of `ACTIONS`, without what does not occur, and the memory's bits."""
    found = {"dram": {"read_bits": 8 * read_bytes, "write_bits": 8 * written_bytes}}
    for unit, counts in actions.items():
        found[unit] = {name: counts[name] for name in ACTIONS[unit] if counts.get(name)}
    return found
