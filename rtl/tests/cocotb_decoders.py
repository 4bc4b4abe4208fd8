"""Masks of whole committed tickets through every decoder: equal to `accelsim.ticket.codecs`, cycle by cycle."""

import os
from pathlib import Path

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import RisingEdge

from accelsim.ticket.codecs import decode_mask, encode_mask
from accelsim.ticket.file import read_ticket

CODECS = ("raw", "rle", "golomb", "entropy")
ROOT = Path(__file__).resolve().parents[2]
TICKETS = os.environ.get("ACCELSIM_RTL_TICKETS", "gin_slt_f50 conv6_slt_f90").split()
BLOCK_BITS = 2048
POSITIONS = 64
PARTS = 1 << 16  # mask bits that are coded and decoded at once
MOST_BITS = int(os.environ.get("ACCELSIM_RTL_MOST_BITS", PARTS))


def masks():
    """Yield the stored bits of every layer, and masks that only synthetic tickets have: sparse, dense, short."""
    for name in TICKETS:
        for layer in read_ticket(str(ROOT / "workloads" / f"{name}.pt")).layers:
            bits = decode_mask(layer.codec, layer.mask_payload, layer.payload_bits, layer.num_free)
            for first in range(0, min(bits.size, 8 * MOST_BITS), PARTS):
                yield f"{name}:{layer.name}", bits[first : first + min(PARTS, MOST_BITS)]
    random = np.random.default_rng(1)
    sizes = (5000, 0.003), (5000, 0.995), (4099, 0.9), (3000, 0.1), (1, 1.0), (1, 0.0), (70, 0.5), (20000, 0.0)
    for size, density in sizes:
        yield f"{size} at {density}", random.random(min(size, MOST_BITS)) < density


def cycles_of(codec, bits, encoded):
    """Return the cycles that a decoder takes alone: header, a cycle a symbol, or as long as its positions take."""
    if codec == "raw":
        return -(-bits.size // 32)
    if codec == "entropy":
        return 1 + 2 + bits.size  # probability, first two words
    width, inverted = encoded.payload[0] & 127, encoded.payload[0] >> 7
    runs = np.diff(np.flatnonzero(bits != inverted), prepend=-1) - 1
    rest = bits.size - int((runs + 1).sum())
    if codec == "rle":
        escape = (1 << width) - 1
        cycles = (runs // escape * -(-escape // POSITIONS)).sum() + (-(-(runs % escape + 1) // POSITIONS)).sum()
    else:
        long = runs >> width >> 4  # 16 ones of the unary part each
        cycles = (long * -(-(16 << width) // POSITIONS)).sum()
        cycles += (-(-(runs - (long << width + 4) + 1) // POSITIONS)).sum()
    return 1 + int(cycles) + -(-rest // POSITIONS)


def table_cycles(codec, bits, encoded):
    """Return what the table of stations charges: positions, or symbols (see `accelsim.mapping.events`)."""
    if codec == "raw":
        return -(-bits.size // 32)
    symbols = bits.size
    if codec != "entropy":
        inverted = encoded.payload[0] >> 7
        symbols = int(np.count_nonzero(bits != inverted))
        if codec == "rle":
            symbols = (encoded.payload_bits - 8) // (encoded.payload[0] & 127)
    return max(symbols, -(-bits.size // POSITIONS))


async def decoded(collector, dut, num_bits):
    """Return the bits that a collector gets."""
    blocks = []
    while len(blocks) < num_bits // BLOCK_BITS:
        await RisingEdge(collector.full)
        blocks.append(int(collector.block.value).to_bytes(BLOCK_BITS // 8, "little"))
    if int(collector.num_bits.value) < num_bits:
        await RisingEdge(collector.done)
    rest = num_bits % BLOCK_BITS
    if rest:
        last = int(str(collector.store.value)[-rest:], 2).to_bytes(BLOCK_BITS // 8, "little")
        blocks.append(last)
    return np.unpackbits(np.frombuffer(b"".join(blocks), dtype=np.uint8), bitorder="little", count=num_bits) == 1


@cocotb.test()
async def masks_are_those_of_the_codecs(dut):
    """Without gaps the cycles are exact; every third mask has random gaps on both sides."""
    cocotb.start_soon(Clock(dut.clk, 2, unit="ns").start())
    dut.rst.value = 1
    dut.start.value = 0
    dut.gap_in.value = 0
    dut.gap_out.value = 0
    await RisingEdge(dut.clk)
    await RisingEdge(dut.clk)
    dut.rst.value = 0
    totals = {codec: [0, 0] for codec in CODECS}
    for turn, (name, bits) in enumerate(masks()):
        gaps = 100 if turn % 3 == 2 else 0
        dut.gap_in.value = gaps // 2
        dut.gap_out.value = gaps
        dut.num_bits.value = bits.size
        dut.start.value = 1
        encoded = {codec: encode_mask(codec, bits) for codec in CODECS}
        for codec, code in encoded.items():
            getattr(dut, f"payload_{codec}").value = code.payload_bits
            memory = getattr(dut, f"of_{codec}").memory
            padded = code.payload + bytes(-len(code.payload) % 4)
            for place, word in enumerate(np.frombuffer(padded, dtype=">u4").tolist()):
                memory[place].value = word
            memory[len(padded) // 4].value = 0xA5A5A5A5  # what follows does not matter
        await RisingEdge(dut.clk)
        dut.start.value = 0
        await RisingEdge(dut.clk)
        tasks = {codec: cocotb.start_soon(decoded(getattr(dut, codec), dut, bits.size)) for codec in CODECS}
        for codec, task in tasks.items():
            found = await task
            assert np.array_equal(found, bits), (
                f"{name}: {codec}: bit {np.flatnonzero(found != bits)[:1]} of {bits.size}"
            )
        for codec, code in encoded.items():
            if not gaps:
                took = int(getattr(dut, f"end_{codec}").value)
                alone = cycles_of(codec, bits, code)
                # The first word reaches the window a cycle behind `start`; raw words of 32 bits follow in each cycle.
                assert took == alone + 1, f"{name}: {codec}: {took} cycles, not {alone + 1}"
                totals[codec][0] += took
                totals[codec][1] += table_cycles(codec, bits, code)
    for codec, (took, table) in totals.items():
        dut._log.info(
            "decoder %s: %d cycles, table of stations %d (%+.2f %%)", codec, took, table, 100 * (took / table - 1)
        )
