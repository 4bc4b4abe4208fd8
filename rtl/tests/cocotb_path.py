"""Whole committed tickets through the complete weight path: every weight, and the cycle of every tile."""

import os
from pathlib import Path

import cocotb
import numpy as np
import path_tiles
from cocotb.clock import Clock
from cocotb.triggers import ReadOnly, RisingEdge

from accelsim.prng.streams import _mix, freezes
from accelsim.ticket.codecs import encode_mask

ROOT = Path(__file__).resolve().parents[2]
CHIP = os.environ.get("ACCELSIM_RTL_CHIP", "edge")
TICKETS = os.environ.get("ACCELSIM_RTL_TICKETS", "gin_slt_f50").split()
CODEC = os.environ.get("ACCELSIM_RTL_CODEC", "raw")
KIND = os.environ.get("ACCELSIM_RTL_KIND")
WORDS = int(os.environ.get("ACCELSIM_RTL_WORDS", "1"))
NUM_RANDOM = int(os.environ.get("ACCELSIM_RTL_NUM_RANDOM", "60"))
PLACES = int(os.environ.get("ACCELSIM_RTL_PLACES", "0"))
MOST_CYCLES = int(os.environ.get("ACCELSIM_RTL_MOST_CYCLES", "1000000000"))
GAPS = [int(gap) for gap in os.environ.get("ACCELSIM_RTL_GAPS", "0 80").split()]
LEAD = 8  # cycles before the first tile, in which seeds are derived and the first stored bits come
# Bits of what the bench shows, see bench_path.sv
READY, LEAVES, BEGINS, HELD, TAKES_ROUND, TAKES_STREAM = (1 << bit for bit in range(6))
NUM_FLAGS = 7


def layers_of(ticket):
    """Return the layers of a ticket, or small ones in random tilings."""
    if ticket == "random":
        layers = path_tiles.random_layers(ROOT, CHIP, NUM_RANDOM, KIND, WORDS, PLACES)
    else:
        layers = path_tiles.scheduled_layers(ROOT, CHIP, ticket, KIND, WORDS, PLACES)
    return layers if CODEC == "raw" else (path_tiles.coded(layer, CODEC) for layer in layers)


def places_of(layer):
    """Return the weights of a chunk."""
    return layer.hardware.mask_decoder.positions_per_cycle


def random_times(layer, words, random):
    """Return when places are free, and when requests have brought stored bits: at once, late bits, or late places."""
    num, work = len(layer.tiles), int(layer.stations["weight_generator"].cycles.mean())
    kind, request = random.integers(3), path_tiles.requests_of(layer)
    steps = random.integers(0, 3 * work // 2 + 2, (2, num)) * np.array([[kind == 2], [kind == 1]])
    places, late = np.cumsum(steps, axis=1)
    arrivals = np.zeros(request[-1], dtype=np.int64)
    np.maximum.at(arrivals, request - 1, np.maximum(words + 2, late))
    return places, np.maximum.accumulate(arrivals)


class Path:
    """Drives the bench and notes what leaves it; time stands still where the buffer's port is not ready."""

    def __init__(self, dut):
        self.dut = dut

    async def reset(self):
        dut = self.dut
        cocotb.start_soon(Clock(dut.clk, 2, unit="ns").start())
        for name in ("start", "gap", "num_words", "stream_valid", "round_valid", "num_fetched", "num_places"):
            getattr(dut, name).value = 0
        dut.rst.value = 1
        await RisingEdge(dut.clk)
        await RisingEdge(dut.clk)
        dut.rst.value = 0

    async def begin(self, layer, gap):
        """Load a layer's stored bits and its constants; return the words behind each tile."""
        dut, source = self.dut, layer.source
        stored = path_tiles.stored_bits(layer)
        bits = np.concatenate(stored)
        code, width = encode_mask(CODEC, bits), places_of(layer) if CODEC == "raw" else 32
        data = code.payload + bytes(-len(code.payload) % (width // 8))
        for place in range(len(data) * 8 // width):
            dut.memory[place].value = int.from_bytes(data[place * width // 8 : (place + 1) * width // 8], "big")
        dut.num_bits.value, dut.payload_bits.value = bits.size, code.payload_bits
        dut.freezes.value = int(freezes(source))
        dut.prune.value, dut.lock.value = source.prune_threshold, source.lock_threshold
        dut.base.value = int(_mix(np.array([source.seed], dtype=np.uint32))[0])
        dut.gap.value, dut.num_words.value = gap, len(data) * 8 // width
        dut.num_fetched.value = dut.num_places.value = 0
        dut.start.value = 1
        await RisingEdge(dut.clk)
        dut.start.value = 0
        shares = np.cumsum([part.size for part in stored]) / max(1, bits.size)
        return np.ceil(shares * code.payload_bits / width).astype(np.int64)

    def rounds(self, layer):
        """Yield the rounds of all tiles: first, last, load, offset, count, lanes, first stream."""
        lanes_of, _ = path_tiles.built_lanes(layer.source, layer.hardware)
        for tile in layer.tiles:
            for at in range(0, tile.num_filters, lanes_of):
                first, last = at == 0, at + lanes_of >= tile.num_filters
                lanes = min(lanes_of, tile.num_filters - at)
                yield first, last, tile.load, tile.offset, tile.count, lanes, tile.first_filter + at

    def offer_round(self, item):
        dut = self.dut
        dut.round_valid.value = item is not None
        if item is not None:
            for name, value in zip(("first", "last", "load", "offset", "count", "num_lanes"), item, strict=False):
                getattr(dut, name).value = int(value)

    async def run(self, layer, places, fetched, limit):
        """Return the chunks that left, and when each tile began and was ready."""
        dut, positions = self.dut, places_of(layer)
        rounds = list(self.rounds(layer))
        offered, streams = iter(rounds), iter([item[-1] for item in rounds if item[2]])
        due = {"num_places": places.tolist(), "num_fetched": fetched.tolist()}
        given = dict.fromkeys(due, 0)
        begun, ready, out, num_tiles = [], [], [], len(layer.tiles)
        time, takes_round, takes_stream = -LEAD, False, True
        while len(ready) < num_tiles:
            await RisingEdge(dut.clk)  # the cycle `time` begins
            if takes_stream:
                stream = next(streams, None)
                dut.stream_valid.value = stream is not None
                dut.stream.value = stream or 0
            if takes_round or time == 0 and not begun:
                self.offer_round(next(offered, None))
            for name, times in due.items():
                while given[name] < num_tiles and times[given[name]] <= time:
                    given[name] += 1
                    getattr(dut, name).value = given[name]
            await ReadOnly()
            seen = int(dut.seen.value)
            if seen & BEGINS:
                begun.append(time)
            if seen & LEAVES:
                out.append(seen >> NUM_FLAGS)
            if seen & READY:
                ready.append(time + 1)  # the buffer is written at the end of this cycle
            takes_round, takes_stream = bool(seen & TAKES_ROUND), bool(seen & TAKES_STREAM)
            time += not seen & HELD
            assert time < limit, f"{layer.name}: {len(ready)} of {num_tiles} tiles after {time} cycles"
        await RisingEdge(dut.clk)
        return self._planes(out, positions), np.array(begun), np.array(ready)

    @staticmethod
    def _planes(out, positions):
        """Return where chunks have weights, which are kept, and which are +1; bool [chunks, positions] each."""
        size = positions // 8
        octets = np.frombuffer(b"".join(chunk.to_bytes(3 * size, "little") for chunk in out), dtype=np.uint8)
        planes = np.unpackbits(octets.reshape(-1, 3, size), axis=2, bitorder="little") == 1
        there, keep, sign = planes[:, 0], planes[:, 1], planes[:, 2]
        return there, keep & there, sign & there


@cocotb.test()
async def weights_and_cycles_are_those_of_the_ticket(dut):
    """Every layer, in turn with and without a port that is held up; stored bits and places come at random times."""
    path, random, turn = Path(dut), np.random.default_rng(1), 0
    await path.reset()
    for ticket in TICKETS:
        worst, num_tiles, num_weights = [], 0, 0
        for layer in layers_of(ticket):
            if layer.stations["weight_generator"].cycles.sum() > MOST_CYCLES:
                continue
            gap = GAPS[turn % len(GAPS)]
            words = await path.begin(layer, gap)
            places, arrivals = random_times(layer, words, random)
            table_begun, table_ready = path_tiles.table_times(layer, places, arrivals)
            fetched = arrivals[path_tiles.requests_of(layer) - 1]
            limit = 2 * int(table_ready[-1]) + 1000 + (0 if CODEC == "raw" else 4 * layer.keep.size)
            (there, keep, sign), begun, ready = await path.run(layer, places, fetched, limit)
            expected = [
                np.concatenate([path_tiles.chunks(plane, tile, layer.source, layer.hardware) for tile in layer.tiles])
                for plane in (np.ones_like(layer.keep), layer.keep, layer.sign)
            ]
            assert np.array_equal(there, expected[0]), f"{ticket}: {layer.name}: positions"
            assert np.array_equal(keep, expected[1]), f"{ticket}: {layer.name}: mask"
            assert np.array_equal(sign, expected[2] & there), f"{ticket}: {layer.name}: weights"
            dut._log.info(
                "%s %s: %d tiles, begin %s, ready %s cycles behind the table, at most %.2f %% of its time", ticket,
                layer.name, len(layer.tiles), np.unique(begun - table_begun).tolist(),
                np.unique(ready - table_ready).tolist(), 100 * np.max(np.abs(ready / table_ready - 1)),
            )  # fmt: skip
            worst += (ready - table_ready).tolist()
            num_tiles += len(layer.tiles)
            num_weights += int(there.sum())
            turn += 1
        dut._log.info(
            "%s: %d weights and %d tiles; ready: %s", ticket, num_weights, num_tiles, np.unique(worst).tolist()
        )
