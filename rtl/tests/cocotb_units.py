"""Seeds, jumps, freezing map, PEs and decoders of values: equal to the model, bit by bit."""

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import ReadOnly, RisingEdge, Timer

from accelsim.prng import RandomSource, stream_seeds
from accelsim.prng.generators import jump, transition_columns
from accelsim.prng.regenerate import _ternary
from accelsim.prng.streams import JUMP_DISTANCE_WORDS, _mix
from accelsim.storage import get_format

RANDOM = np.random.default_rng(7)


async def begin(dut):
    """Start the clock and leave reset."""
    cocotb.start_soon(Clock(dut.clk, 2, unit="ns").start())
    for name in ("jump_start", "pe_valid", "pe_first", "pe_a", "pe_w", "start", "gap"):
        getattr(dut, name).value = 0
    dut.rst.value = 1
    await RisingEdge(dut.clk)
    await RisingEdge(dut.clk)
    dut.rst.value = 0


@cocotb.test()
async def derived_seeds(dut):
    """Both families of streams of layers, for generators of 32 and 16 bits; from a stored seed to its second."""
    for layer_seed in (1, 2681447471):
        dut.base.value = int(_mix(np.array([layer_seed], dtype=np.uint32))[0])
        for kind, port in (("xorshift32", dut.seed_32), ("lfsr16", dut.seed_16)):
            source = RandomSource(generator=kind, seed=layer_seed)
            for domain in (0, 1):
                for stream, seed in enumerate(stream_seeds(source, (200, 9), domain).tolist()):
                    dut.position.value = 2 * stream + domain
                    await Timer(1, unit="ns")
                    assert int(port.value) == seed, f"{kind}: stream {stream}, domain {domain}"
                    if kind == "xorshift32" and domain == 0:
                        assert int(dut.second_32.value) == int(stream_seeds(source, (stream + 1, 9), 1)[stream])


@cocotb.test()
async def jumped_seeds(dut):
    """From a layer's seed to its first streams, a column a cycle: 32 cycles a jump."""
    await begin(dut)
    source = RandomSource(generator="xorshift32", seed=2681447471, seeds="jump")
    seeds = stream_seeds(source, (8, 9), 0)
    columns = transition_columns("xorshift32", 2 * JUMP_DISTANCE_WORDS[32]).tolist()
    state = int(seeds[0])
    for expected in seeds[1:].tolist():
        for cycle, column in enumerate(columns):
            dut.jump_start.value, dut.jump_state.value, dut.jump_column.value = int(cycle == 0), state, column
            await ReadOnly()
            assert int(dut.jump_done.value) == (cycle == len(columns) - 1) or cycle == 0
            if cycle == len(columns) - 1:
                state = int(dut.jumped.value)
            await RisingEdge(dut.clk)
        assert state == expected == int(jump("xorshift32", np.uint32(state), 0))


@cocotb.test()
async def freezing(dut):
    """Random fields, and those beside the thresholds, which may be 0 and 2^16."""
    for prune, lock in ((32768, 45875), (0, 0), (0, 65536), (65536, 65536), (5, 6)):
        source = RandomSource(prune_threshold=prune, lock_threshold=lock)
        near = [(value + step) % 65536 for value in (prune, lock) for step in (-1, 0, 1)]
        fields = np.concatenate([near, RANDOM.integers(0, 65536, 200)]).astype(np.uint32)
        dut.prune.value, dut.lock.value = prune, lock
        for low, high in fields.reshape(-1, 2).tolist():
            dut.word.value = low | high << 16
            await Timer(1, unit="ns")
            bits = [(int(port.value) >> field) & 1 for port in (dut.locked, dut.free) for field in (0, 1)]
            frozen = _ternary(source, np.array([low, high], dtype=np.uint32))
            assert bits == [*(frozen == 1), *(frozen == 0)]


def operands(arithmetic, weights, activations):
    """Return weights and activations as a PE of this arithmetic takes them, and what it must add."""
    if arithmetic == 0:  # ternary: bit 1 keeps, bit 0 negates
        value = np.where(weights & 2, 1 - 2 * (weights & 1), 0)
        return value * activations.astype(np.int8).astype(np.int64)
    if arithmetic == 3:
        return np.where((weights & 1) == (activations & 1), 1, -1)
    width = 4 if arithmetic == 1 else 8
    signed = [((values & (1 << width) - 1) ^ 1 << width - 1) - (1 << width - 1) for values in (weights, activations)]
    return signed[0] * signed[1]


@cocotb.test()
async def multiply_and_accumulate(dut):
    """Sums of 40 random operands, with cycles without any, in all PEs at once; gates stop the clock where they may."""
    await begin(dut)
    num_executed = 0
    for _ in range(20):
        valid = RANDOM.random(40) < 0.8
        weights, activations = (RANDOM.integers(0, 256, 40) * (RANDOM.random(40) < 0.7) for _ in range(2))
        num_executed += int((valid & (weights & 2 != 0) & (activations != 0)).sum())
        for place in range(43):
            idle = place >= 40
            dut.pe_valid.value = 0 if idle else int(valid[place])
            dut.pe_first.value = int(place == 0)
            dut.pe_w.value = 0 if idle else int(weights[place])
            dut.pe_a.value = 0 if idle else int(activations[place])
            await RisingEdge(dut.clk)
        await ReadOnly()
        sums = int(dut.sums.value)
        for arithmetic in range(4):
            expected = int((operands(arithmetic, weights, activations) * valid).sum())
            for gated in range(2):
                found = sums >> 32 * (2 * arithmetic + gated) & 0xFFFFFFFF
                assert found == expected & 0xFFFFFFFF, f"arithmetic {arithmetic}, gated {gated}"
        await RisingEdge(dut.clk)
    assert int(dut.num_edges.value) == num_executed


def words_of(data, width):
    """Return the words of ``width`` bits of packed bytes, the last filled with zeros."""
    bits = np.unpackbits(np.frombuffer(data, dtype=np.uint8))
    bits = np.pad(bits, (0, -bits.size % width))
    return [int("".join(map(str, row)), 2) for row in bits.reshape(-1, width).tolist()]


def fill(memory, words):
    for place, word in enumerate(words):
        memory[place].value = word


async def positions(dut, name, num_positions):
    """Return the int8 weights that a decoder hands on, and the cycles that it took."""
    out, cycles = [], 0
    while 16 * len(out) < num_positions:
        await ReadOnly()
        cycles += 1
        if int(getattr(dut, f"{name}_valid").value):
            out.append(int(getattr(dut, f"{name}_weights").value).to_bytes(16, "little"))
        await RisingEdge(dut.clk)
    return np.frombuffer(b"".join(out), dtype=np.int8)[:num_positions], cycles


@cocotb.test()
async def values_of_csr_bitmap_and_nm(dut):
    """Random pruned tensors, rows without entries among them, with and without gaps; the cycles without."""
    await begin(dut)
    for turn, (shape, density) in enumerate([((24, 100), 0.2), ((9, 333), 0.6), ((40, 64), 0.02), ((16, 96), 0.3)]):
        weights = (RANDOM.integers(1, 128, shape) * (RANDOM.random(shape) < density)).astype(np.int8)
        weights[shape[0] // 2] = 0
        groups = RANDOM.integers(1, 128, (weights.size // 4, 4)).astype(np.int8)
        groups[:, :2] = 0
        paired = RANDOM.permuted(groups, axis=1).reshape(-1)
        csr, bitmap = get_format("csr-int8").encode(weights), get_format("bitmap-int8").encode(weights)
        nm = get_format("nm-2:4-int8").encode(paired.reshape(1, -1))
        row_of, columns = np.nonzero(weights)
        ends = np.searchsorted(row_of, np.arange(shape[0]) + 1).tolist()
        assert csr.bits.weight == 8 * row_of.size
        fill(dut.rows.memory, [*ends, 0xFFFF])
        fill(dut.entries.memory, [int(c) << 8 | int(v) for c, v in zip(columns, weights[weights != 0], strict=True)])
        fill(dut.maps.memory, words_of(bitmap.mask, 16))
        fill(dut.values.memory, [*words_of(bitmap.weight, 128), 0])
        fill(dut.slots.memory, words_of(nm.weight, 64))
        fill(dut.slot_places.memory, words_of(nm.index, 16))
        dut.num_positions.value, dut.num_columns.value, dut.gap.value = weights.size, shape[1], 90 * (turn % 2)
        dut.start.value = 1
        await RisingEdge(dut.clk)
        dut.start.value = 0
        tasks = [cocotb.start_soon(positions(dut, name, n)) for name, n in
                 (("csr", weights.size), ("bitmap", weights.size), ("nm", paired.size // 16 * 16))]  # fmt: skip
        for name, task, expected in zip(
            ("csr", "bitmap", "nm"), tasks, (weights.ravel(), weights.ravel(), paired), strict=True
        ):
            found, cycles = await task
            assert np.array_equal(found, expected[: found.size]), f"{name}: {shape}"
            if not turn % 2:
                least = max(row_of.size, -(-weights.size // 16)) if name == "csr" else -(-found.size // 16)
                dut._log.info("%s %s: %d cycles, table of stations %d", name, shape, cycles, least)
                assert cycles >= least
