"""What units do while they are measured: masks, signs and words of a committed ticket, and random operands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from accelsim.prng.generators import words
from accelsim.prng.regenerate import freezing_map, layer_weights
from accelsim.prng.source import GeneratorKind
from accelsim.ticket.codecs import decode_mask, encode_mask
from accelsim.ticket.file import read_ticket
from accelsim.ticket.model import MaskCodec
from rtl.synth.simulate import Channel, Stimulus

BoolArray = npt.NDArray[np.bool_]

TICKET = "workloads/resnet_slt.pt"
LAYER = "layer2.0.conv2"  # of 147,456 weights: half free, a fifth locked, 30 % kept
SEED = 20171
_ROOT = Path(__file__).resolve().parents[2]
_WARM = 40


@dataclass(frozen=True, slots=True)
class Masks:
    """A layer of the ticket, flat: stored bits of the free weights, what is free, locked and kept, signs (True: +1)."""

    stored: BoolArray
    free: BoolArray
    locked: BoolArray
    keep: BoolArray
    sign: BoolArray


@lru_cache(maxsize=1)
def masks() -> Masks:
    """Return the layer that all stimuli are made of."""
    layer = next(layer for layer in read_ticket(_ROOT / TICKET).layers if layer.name == LAYER)
    if layer.source is None:
        raise TypeError(f"{LAYER} of {TICKET} has no random source")
    stored = decode_mask(layer.codec, layer.mask_payload, layer.payload_bits, layer.num_free)
    frozen = np.asarray(freezing_map(layer.source, layer.shape)).ravel()
    sign = np.asarray(layer_weights(layer.source, layer.shape)).ravel() > 0
    free, locked = frozen == 0, frozen > 0
    keep = locked.copy()
    keep[free] = stored
    return Masks(stored, free, locked, keep, sign)


def _random() -> np.random.Generator:
    return np.random.default_rng(SEED)


def _number(bits: npt.ArrayLike) -> int:
    """Return bits as a number, the first in the highest place."""
    array = np.asarray(bits).astype(np.uint8)
    return int.from_bytes(np.packbits(array).tobytes(), "big") >> (-array.size % 8)


def _chunks(bits: BoolArray, size: int, count: int, reverse: bool = False) -> list[int]:
    rows = bits[: size * count].reshape(count, size)
    return [_number(row[::-1] if reverse else row) for row in rows]


def joined(*fields: tuple[int, int]) -> int:
    """Return fields (value, bits) as one number, the first in the highest place."""
    number = 0
    for value, bits in fields:
        number = number << bits | (int(value) & ((1 << bits) - 1))
    return number


def generator(kind: GeneratorKind, bits: int, num_cycles: int = 600) -> Stimulus:
    """Return a generator of one lane that is loaded once and steps in every cycle."""
    seed = int(words(kind, np.array([SEED], dtype=np.uint32), 0, 1).ravel()[0])
    loads = Channel(("load", "seed"), [joined((1, 1), (seed, bits)), joined((0, 1), (seed, bits))])
    return Stimulus((loads, Channel(("take",), [1])), "take", num_cycles)


def philox(num_cycles: int = 6) -> Stimulus:
    """Return Philox with a new block of four words in every cycle."""
    blocks = [joined((SEED, 32), (block, 64)) for block in range(num_cycles + _WARM)]
    constant = Channel(("in_valid", "out_ready"), [3])
    return Stimulus((Channel(("rst",), [1, 0]), Channel(("seed", "block"), blocks), constant), "4", num_cycles, 20)


def freezing(num_cycles: int = 600) -> Stimulus:
    """Return a field of the freezing words a cycle against thresholds of a half and 0.7."""
    drawn = words("xorshift32", np.array([SEED], dtype=np.uint32), 0, num_cycles + _WARM).ravel() & 0xFFFF
    return Stimulus(
        (Channel(("word",), [int(word) for word in drawn]),
         Channel(("prune", "lock"), [joined((32768, 17), (45875, 17))])),
        "1", num_cycles,
    )  # fmt: skip


def seeds(num_cycles: int = 60) -> Stimulus:
    """Return the seeds of neighbouring streams, weights and freezing map in turn."""
    positions = Channel(("position",), list(range(1000, 1000 + num_cycles + _WARM)))
    return Stimulus((Channel(("base",), [0x9A3C51E7]), positions), "1", num_cycles)


def jumps(num_cycles: int = 640) -> Stimulus:
    """Return jumps one behind another: 32 columns each, of random matrices."""
    rng = _random()
    rows = [
        joined((cycle % 32 == 0, 1), (int(rng.integers(1 << 32)), 32), (int(rng.integers(1 << 32)), 32))
        for cycle in range(num_cycles + _WARM)
    ]
    return Stimulus((Channel(("start", "state", "column"), rows),), "1", num_cycles)


def stored_bits(codec: MaskCodec, operations: str, width: int, num_cycles: int) -> Stimulus:
    """Return a mask decoder that is never held up, with the layer's stored bits in a codec."""
    bits = masks().stored
    coded = encode_mask(codec, bits)
    stream = np.unpackbits(np.frombuffer(coded.payload, dtype=np.uint8))
    stream = np.concatenate([stream, np.zeros(-stream.size % width, dtype=np.uint8)])
    sizes = [(bits.size, 32)] if codec == "raw" else [(bits.size, 32), (coded.payload_bits, 32)]
    names = ("rst", "start", "num_bits") if codec == "raw" else ("rst", "start", "num_bits", "payload_bits")
    control = [joined((rst, 1), (start, 1), *sizes) for rst, start in ((1, 0), (1, 0), (0, 1), (0, 0))]
    return Stimulus(
        (Channel(names, control),
         _stream("in_valid", ("in_bits",), _chunks(stream.astype(bool), width, stream.size // width), width,
                                          "in_ready"), Channel(("out_ready",), [1])),
        operations, num_cycles, _WARM,
    )  # fmt: skip


def _stream(valid: str, ports: tuple[str, ...], values: Sequence[int], width: int, ready: str) -> Channel:
    """Return a stream that begins when the unit has been started, and offers a word until it is taken."""
    idle = [joined((0, 1), (0, width))] * 5
    return Channel(
        (valid, *ports), [*idle, *(joined((1, 1), (value, width)) for value in values)], f"!{valid} || {ready}"
    )


def expansion(positions: int = 64, num_cycles: int = 120) -> Stimulus:
    """Return the expander with a chunk in every cycle and stored bits always there."""
    layer, cycles = masks(), num_cycles + _WARM
    free = layer.free[: positions * cycles].reshape(cycles, positions)
    place = np.concatenate([[0], np.cumsum(free.sum(axis=1))])
    stored = np.concatenate([layer.stored, np.zeros(positions, dtype=bool)])
    # A chunk's bits are fetched two cycles behind it.
    shown = [0, 0, *(_number(stored[start : start + positions]) for start in place[: cycles - 2])]
    chunks = [
        joined((there, positions), *((value, positions) for value in values))
        for there, *values in zip(
            [(1 << positions) - 1] * cycles,
            *(_chunks(bits, positions, cycles, reverse=True) for bits in (layer.free, layer.locked, layer.sign)),
            strict=True,
        )
    ]
    control = [joined((rst, 1), (not rst, 1), (0, 1), (1, 1), (2 * positions, 8)) for rst in (1, 1, 0)]
    return Stimulus(
        (Channel(("rst", "in_valid", "in_last", "out_ready", "have"), control),
         Channel(("in_there", "in_free", "in_locked", "in_sign"), chunks), Channel(("bits",), shown)),
        str(positions), num_cycles, 10,
    )  # fmt: skip


def _int8(size: int) -> npt.NDArray[np.int64]:
    """Return weights as quantised networks have them: normal, a quarter of the range wide, none of them 0."""
    drawn = np.clip(np.rint(_random().normal(0, 32, size)), -127, 127).astype(np.int64)
    return np.where(drawn == 0, 1, drawn)


def bitmap(positions: int = 16, num_cycles: int = 150) -> Stimulus:
    """Return the bitmap decoder with the layer's kept weights as a map and 8-bit values."""
    keep = masks().keep[: positions * (num_cycles + 2 * _WARM)]
    values = [int(value) & 255 for value in _int8(int(keep.sum()) // positions * positions)]
    words_of_values = [
        joined(*((value, 8) for value in values[at : at + positions])) for at in range(0, len(values), positions)
    ]
    control = [joined((rst, 1), (start, 1), (keep.size, 32)) for rst, start in ((1, 0), (1, 0), (0, 1), (0, 0))]
    return Stimulus(
        (Channel(("rst", "start", "num_positions"), control),
         _stream("map_valid", ("map_bits",), _chunks(keep, positions, keep.size // positions), positions, "map_ready"),
         _stream("values_valid", ("values_bits",), words_of_values, 8 * positions, "values_ready"),
         Channel(("out_ready",), [1])),
        "out_valid ? unit.count : 0", num_cycles, _WARM,
    )  # fmt: skip


def sparse_rows(columns: int = 576, num_cycles: int = 600) -> Stimulus:
    """Return the decoder of compressed rows with the layer's kept weights, rows of 576."""
    keep = masks().keep[: columns * 64].reshape(-1, columns)
    places = np.concatenate([np.flatnonzero(row) for row in keep])
    entries = [joined((column, 10), (value, 8)) for column, value in zip(places, _int8(places.size), strict=True)]
    ends = [int(end) for end in np.cumsum(keep.sum(axis=1))]
    control = [
        joined((rst, 1), (start, 1), (keep.size, 32), (columns, 32)) for rst, start in ((1, 0), (1, 0), (0, 1), (0, 0))
    ]
    return Stimulus(
        (Channel(("rst", "start", "num_positions", "num_columns"), control),
         _stream("row_valid", ("row_end",), ends, 20, "row_ready"),
         _stream("entry_valid", ("column", "value"), entries, 18, "entry_ready"), Channel(("out_ready",), [1])),
        "entry_valid && entry_ready", num_cycles, _WARM,
    )  # fmt: skip


def pattern(num_cycles: int = 400) -> Stimulus:
    """Return the decoder of 2:4 weights with random pairs of places and 8-bit values: eight values in every cycle."""
    rng = _random()
    values, places = [], []
    for _ in range(num_cycles + _WARM):
        pairs = [np.sort(rng.choice(4, 2, replace=False)) for _ in range(4)]
        places.append(joined(*((place, 2) for pair in pairs for place in pair)))
        values.append(int.from_bytes(rng.bytes(8), "big"))
    return Stimulus(
        (Channel(("values",), values), Channel(("places",), places),
         Channel(("values_valid", "places_valid", "out_ready"), [7])),
        "8", num_cycles,
    )  # fmt: skip


def products(arithmetic: str, weights: str, num_cycles: int = 600, terms: int = 576) -> Stimulus:
    """Return a PE with a product in every cycle and sums of 576: random activations, none 0, and weights.

    ``weights``: ``kept`` none is dropped, ``masked`` all are, ``ticket`` as in the layer (ternary only); signs are the
    layer's, values of several bits are random.
    """
    rng, layer, cycles = _random(), masks(), num_cycles + _WARM
    bits = {"ternary": (8, 2), "int4": (4, 4), "int8": (8, 8), "binary_xnor": (1, 1), "int16": (16, 16)}[arithmetic]
    low = 0 if bits[0] == 1 else 1
    activations = rng.integers(low, 1 << bits[0], cycles)
    if arithmetic == "ternary":
        keep = {"kept": np.ones(cycles, bool), "masked": np.zeros(cycles, bool), "ticket": layer.keep[:cycles]}[weights]
        values = 2 * keep.astype(int) + ~layer.sign[:cycles]
    else:
        values = layer.sign[:cycles].astype(int) if bits[1] == 1 else rng.integers(1, 1 << bits[1], cycles)
    rows = [
        joined((1, 1), (cycle % terms == 0, 1), (activations[cycle], bits[0]), (values[cycle], bits[1]))
        for cycle in range(cycles)
    ]
    return Stimulus((Channel(("valid", "first", "activation", "weight"), rows),), "valid", num_cycles)


def random_inputs(ports: tuple[tuple[str, int], ...], num_cycles: int = 600) -> Stimulus:
    """Return random bits at every input (name, bits) in every cycle."""
    rng = _random()
    width = sum(bits for _, bits in ports)
    rows = [int.from_bytes(rng.bytes(-(-width // 8)), "big") >> (-width % 8) for _ in range(num_cycles + _WARM)]
    return Stimulus((Channel(tuple(name for name, _ in ports), rows),), "1", num_cycles)
