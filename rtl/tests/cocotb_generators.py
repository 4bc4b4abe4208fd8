"""Words of every generator under random gaps: equal to `accelsim.prng`, one step a cycle."""

import os

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import RisingEdge

from accelsim.prng import words

NUM_WORDS = int(os.environ.get("ACCELSIM_RTL_WORDS", "1048576"))
BLOCK_BITS = 2048
SEEDS = (1, 0xDEADBEEF, 0x9E3779B9, 0x80000001)
# Collector -> kind, words a step, first word
UNITS = {
    "xorshift32": ("xorshift32", 1, 0),
    "xorshift32_4": ("xorshift32", 4, 0),
    "lfsr16": ("lfsr16", 1, 0),
    "lfsr32": ("lfsr32", 1, 0),
    "philox4x32": ("philox4x32", 4, 4 * 0xFFFFFFF0),
    "philox4x32_5": ("philox4x32", 4, 0),
}


def to_words(block, kind):
    """Return the words of a block that the bench shows."""
    data = int(block.value).to_bytes(BLOCK_BITS // 8, "little")
    return np.frombuffer(data, dtype="<u2" if kind == "lfsr16" else "<u4").astype(np.uint32)


async def blocks_of(dut, name, kind, count):
    """Return the first ``count`` words."""
    unit, found = getattr(dut, name), []
    while sum(block.size for block in found) < count:
        await RisingEdge(unit.full)
        # Blocks that follow each other without a gap between would hide an edge; steps are shorter than blocks.
        found.append(to_words(unit.block, kind))
    return np.concatenate(found)[:count]


@cocotb.test()
async def words_are_those_of_the_model(dut):
    """A quarter of the words from each seed, three of four times with gaps."""
    cocotb.start_soon(Clock(dut.clk, 2, unit="ns").start())
    each = NUM_WORDS // len(SEEDS)
    for turn, seed in enumerate(SEEDS):
        dut.gap.value = 64 * turn
        dut.rst.value = 1
        dut.load.value = 1
        dut.seed.value = seed
        await RisingEdge(dut.clk)
        await RisingEdge(dut.clk)
        dut.rst.value = 0
        dut.load.value = 0
        tasks = {name: cocotb.start_soon(blocks_of(dut, name, kind, each)) for name, (kind, _, _) in UNITS.items()}
        for name, task in tasks.items():
            kind, _, first = UNITS[name]
            of_kind = seed & 0xFFFF if kind == "lfsr16" else seed
            expected = words(kind, np.array([of_kind], dtype=np.uint32), first, each)[0]
            assert np.array_equal(await task, expected), f"{name}: seed {seed:#x}"
