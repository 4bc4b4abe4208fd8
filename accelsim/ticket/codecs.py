"""Mask codecs: the mask bits of the free weights as bytes, and back, exactly.

``raw``
    One bit a weight.
``entropy``
    Range coding (Martin 1979) with one probability for the whole layer, quantised to 16 bits and stored in front.
``rle``
    Runs of the commoner bit in fields of fixed width b; the largest field value continues a run.
``golomb``
    Runs of the commoner bit in Golomb-Rice code (Golomb 1966; Rice 1979) with divisor 2^b.

``rle`` and ``golomb`` begin with one byte: b, plus 128 where runs of ones are counted instead of zeros; the b that
gives the fewest bits is taken. Bits are packed with the most significant bit of a byte first.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from accelsim.errors import TicketError
from accelsim.names import suggest
from accelsim.ticket.model import MaskCodec

BoolArray = npt.NDArray[np.bool_]

_PROBABILITY_ONE = 1 << 16
_HEADER_BITS = 8
_INVERTED = 0x80
_MAX_FIELD_BITS = 15
# Above this a word is less than a thousandth of the mask, and trimming decodes it up to eight times.
_TRIM_LIMIT = 1 << 16


@dataclass(frozen=True, slots=True)
class EncodedMask:
    """Packed mask bits; ``payload_bits`` of ``payload`` carry information, the rest of the last byte is zero."""

    payload: bytes
    payload_bits: int


def entropy_bound_bits(num_kept: int, num_bits: int) -> float:
    """Return n H2(d): the fewest bits for ``num_bits`` independent mask bits of which ``num_kept`` are one."""
    if num_kept in (0, num_bits):
        return 0.0
    d = num_kept / num_bits
    return -num_bits * (d * math.log2(d) + (1.0 - d) * math.log2(1.0 - d))


def _pack(bits: npt.NDArray[np.uint8] | BoolArray) -> EncodedMask:
    return EncodedMask(np.packbits(bits).tobytes(), int(bits.size))


def _unpack(payload: bytes, num_bits: int) -> npt.NDArray[np.uint8]:
    return np.unpackbits(np.frombuffer(payload, dtype=np.uint8), count=num_bits)


def _encode_raw(bits: BoolArray) -> EncodedMask:
    return _pack(bits)


def _decode_raw(payload: bytes, payload_bits: int, num_bits: int) -> BoolArray:
    if payload_bits != num_bits:
        raise TicketError(f"raw mask: {payload_bits} bits for {num_bits} free weights; the file is damaged")
    return _unpack(payload, num_bits).astype(np.bool_)


def _encode_entropy(bits: BoolArray) -> EncodedMask:
    from constriction import stream  # noqa: PLC0415  only this codec needs it

    # A probability of 0 or 1 has no code for the other bit; the decoder reads the same 16 bits.
    quantised = min(_PROBABILITY_ONE - 1, max(1, round(float(bits.mean()) * _PROBABILITY_ONE)))
    encoder = stream.queue.RangeEncoder()
    encoder.encode(bits.astype(np.int32), stream.model.Bernoulli(quantised / _PROBABILITY_ONE, perfect=False))
    header = quantised.to_bytes(2, "big")
    coded = encoder.get_compressed().astype(">u4").tobytes()
    if bits.size <= _TRIM_LIMIT:
        coded = _trim(header, coded, bits)
    return EncodedMask(header + coded, 8 * (len(header) + len(coded)))


def _trim(header: bytes, coded: bytes, bits: BoolArray) -> bytes:
    """Drop the last bytes that the coder's range leaves open; it ends on a whole word, much for a small layer."""
    value = int.from_bytes(coded, "big")
    for dropped in range(min(4, len(coded)), 0, -1):
        kept = len(coded) - dropped
        for candidate in (value >> 8 * dropped, (value >> 8 * dropped) + 1):
            if candidate < 1 << 8 * kept and _decodes_to(header + candidate.to_bytes(kept, "big"), bits):
                return candidate.to_bytes(kept, "big")
    return coded


def _decodes_to(payload: bytes, bits: BoolArray) -> bool:
    try:
        return bool(np.array_equal(_decode_entropy(payload, 8 * len(payload), bits.size), bits))
    except TicketError:
        return False


def _decode_entropy(payload: bytes, payload_bits: int, num_bits: int) -> BoolArray:
    from constriction import stream  # noqa: PLC0415

    if payload_bits != 8 * len(payload) or len(payload) < 2:
        raise TicketError(f"entropy mask: {payload_bits} bits in {len(payload)} bytes; the file is damaged")
    quantised = int.from_bytes(payload[:2], "big")
    if quantised == 0:
        raise TicketError("entropy mask: the probability of a one is 0; the file is damaged")
    # The coder reads whole words; bytes that were trimmed are zeros again.
    coded = payload[2:] + bytes(-(len(payload) - 2) % 4)
    words = np.frombuffer(coded, dtype=">u4").astype(np.uint32)
    model = stream.model.Bernoulli(quantised / _PROBABILITY_ONE, perfect=False)
    try:
        decoded = stream.queue.RangeDecoder(words).decode(model, num_bits)
    except AssertionError as error:
        raise TicketError("entropy mask: not a valid code; the file is damaged") from error
    return np.asarray(decoded).astype(np.bool_)


def _runs(bits: BoolArray) -> tuple[npt.NDArray[np.int64], bool]:
    """Return the run of the commoner bit before each rarer bit (what follows the last one is implied)."""
    inverted = 2 * int(np.count_nonzero(bits)) > bits.size
    places = np.flatnonzero(~bits if inverted else bits)
    return np.diff(places, prepend=-1) - 1, inverted


def _from_runs(runs: npt.NDArray[np.int64], inverted: bool, num_bits: int) -> BoolArray:
    # The inverse of the difference above: each rarer bit lies one place behind its run.
    places = np.cumsum(runs + 1) - 1
    if places.size and places[-1] >= num_bits:
        raise TicketError(f"run-length mask: runs pass {num_bits} free weights; the file is damaged")
    bits = np.full(num_bits, inverted)
    bits[places] = not inverted
    return bits


def _fields_to_bits(fields: npt.NDArray[np.int64], width: int) -> npt.NDArray[np.uint8]:
    shifts = np.arange(width - 1, -1, -1)
    return ((fields[:, None] >> shifts) & 1).astype(np.uint8)


def _header(width: int, inverted: bool) -> npt.NDArray[np.uint8]:
    return np.unpackbits(np.array([width | (_INVERTED if inverted else 0)], dtype=np.uint8))


def _read_header(payload: bytes, payload_bits: int, lowest: int) -> tuple[int, bool]:
    if len(payload) * 8 < payload_bits or payload_bits < _HEADER_BITS:
        raise TicketError(f"run-length mask: {payload_bits} bits in {len(payload)} bytes; the file is damaged")
    width = payload[0] & ~_INVERTED
    if not lowest <= width <= _MAX_FIELD_BITS:
        raise TicketError(
            f"run-length mask: field width {width} is not from {lowest} to {_MAX_FIELD_BITS}; damaged file"
        )
    return width, bool(payload[0] & _INVERTED)


def _encode_rle(bits: BoolArray) -> EncodedMask:
    runs, inverted = _runs(bits)
    widths = range(1, _MAX_FIELD_BITS + 1)
    # A run that does not fit a field begins with full ones, which only say that the run goes on.
    width = min(widths, key=lambda b: b * int((runs // ((1 << b) - 1) + 1).sum()))
    escape = (1 << width) - 1
    escapes = runs // escape
    ends = np.cumsum(escapes + 1)
    fields = np.full(int(ends[-1]) if ends.size else 0, escape, dtype=np.int64)
    fields[ends - 1] = runs % escape
    return _pack(np.concatenate([_header(width, inverted), _fields_to_bits(fields, width).reshape(-1)]))


def _decode_rle(payload: bytes, payload_bits: int, num_bits: int) -> BoolArray:
    width, inverted = _read_header(payload, payload_bits, 1)
    if (payload_bits - _HEADER_BITS) % width:
        raise TicketError(f"rle mask: {payload_bits} bits do not hold fields of {width}; the file is damaged")
    field_bits = _unpack(payload, payload_bits)[_HEADER_BITS:].reshape(-1, width)
    fields = field_bits @ (1 << np.arange(width - 1, -1, -1, dtype=np.int64))
    # A full field is no end of a run: sums up to the next one that is not full are its length.
    is_end = fields < (1 << width) - 1
    totals = np.cumsum(fields)[is_end]
    return _from_runs(np.diff(totals, prepend=0), inverted, num_bits)


def _encode_golomb(bits: BoolArray) -> EncodedMask:
    runs, inverted = _runs(bits)
    # A code word is a quotient in unary, its stop bit, and b bits of remainder: all widths are priced, none is guessed.
    width = min(range(_MAX_FIELD_BITS + 1), key=lambda b: runs.size * (1 + b) + int((runs >> b).sum()))
    quotients = runs >> width
    ends = np.cumsum(quotients + 1 + width)
    out = np.ones(int(ends[-1]) if ends.size else 0, dtype=np.uint8)
    # Unary parts are ones, so that only stop bits and remainders need to be written.
    out[ends - width - 1] = 0
    if width:
        remainders = _fields_to_bits(runs & ((1 << width) - 1), width)
        out[(ends - width)[:, None] + np.arange(width)] = remainders
    return _pack(np.concatenate([_header(width, inverted), out]))


def _decode_golomb(payload: bytes, payload_bits: int, num_bits: int) -> BoolArray:
    width, inverted = _read_header(payload, payload_bits, 0)
    bits = _unpack(payload, payload_bits)[_HEADER_BITS:]
    size = bits.size
    # stop_from[i]: where the unary part of a code word that begins at i ends.
    stop_from = np.where(bits == 0, np.arange(size), size)
    stop_from = np.minimum.accumulate(stop_from[::-1])[::-1] if size else stop_from
    # Where a code word begins depends on the one before it: this walk alone is serial, all else is done at once.
    starts, stops = [], []
    position, lookup = 0, stop_from.tolist()
    while position < size:
        stop = lookup[position]
        starts.append(position)
        stops.append(stop)
        position = stop + 1 + width
    if position != size:
        raise TicketError("golomb mask: the last code word is cut off; the file is damaged")
    first, last = np.array(starts, dtype=np.int64), np.array(stops, dtype=np.int64)
    low_bits = bits[last[:, None] + 1 + np.arange(width)]
    remainders = low_bits @ (1 << np.arange(width - 1, -1, -1, dtype=np.int64))
    return _from_runs(((last - first) << width) + remainders, inverted, num_bits)


_ENCODERS: dict[MaskCodec, Callable[[BoolArray], EncodedMask]] = {
    "raw": _encode_raw,
    "entropy": _encode_entropy,
    "rle": _encode_rle,
    "golomb": _encode_golomb,
}
_DECODERS: dict[MaskCodec, Callable[[bytes, int, int], BoolArray]] = {
    "raw": _decode_raw,
    "entropy": _decode_entropy,
    "rle": _decode_rle,
    "golomb": _decode_golomb,
}
MASK_CODECS: tuple[MaskCodec, ...] = tuple(_ENCODERS)


def check_codec(codec: str) -> MaskCodec:
    """Return ``codec`` if it is known; TicketError if not."""
    for known in MASK_CODECS:
        if known == codec:
            return known
    raise TicketError(
        f"mask codec {codec!r} is unknown; {suggest(codec, MASK_CODECS)}use one of {', '.join(MASK_CODECS)}"
    )


def encode_mask(codec: MaskCodec, bits: BoolArray) -> EncodedMask:
    """Encode a flat bool array; an empty one takes no bits in any codec."""
    check_codec(codec)
    flat = np.ascontiguousarray(bits, dtype=np.bool_).reshape(-1)
    return _ENCODERS[codec](flat) if flat.size else EncodedMask(b"", 0)


def decode_mask(codec: MaskCodec, payload: bytes, payload_bits: int, num_bits: int) -> BoolArray:
    """Return the ``num_bits`` mask bits that `encode_mask` packed.

    Raises
    ------
    TicketError
        The payload cannot be what the codec wrote.
    """
    check_codec(codec)
    if len(payload) * 8 < payload_bits:
        raise TicketError(f"{codec} mask: {payload_bits} bits in {len(payload)} bytes; the file is cut off")
    return _DECODERS[codec](payload, payload_bits, num_bits) if num_bits else np.zeros(0, dtype=np.bool_)
