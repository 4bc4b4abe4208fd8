"""Formats of language models: ternary weights, integers with group scales, 8-bit floats, computed codes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import prod

import numpy as np
import numpy.typing as npt

from accelsim.errors import MappingError
from accelsim.storage.base import StoredBits, WeightPlan
from accelsim.storage.encoded import EncodedWeights, IntTensor, check_range, field_bits, fields, pack, unpack
from accelsim.storage.seedlm import COEFFICIENT_BITS, EXPONENT_BITS, SEED_BITS
from accelsim.storage.slt import dense_part, require_one_coat, require_ticket, seed_bits, source_to_regenerate
from accelsim.storage.stand_in import has_ticket
from accelsim.ticket.scales import SCALE_BITS
from accelsim.trace.model import LayerWeights
from accelsim.units import ceil_div

TRITS_PER_CODE, CODE_BITS = 5, 8  # 3^5 = 243 of 256 codes
_CODE_BASE = 3 ** np.arange(TRITS_PER_CODE, dtype=np.int64)


def _num_nonzero(weights: LayerWeights) -> int:
    """Return the weights that count as not zero: all of a ticket's dense rival, the network's own otherwise."""
    return weights.num_weights if has_ticket(weights) else weights.num_kept


@dataclass(frozen=True, slots=True)
class TernaryFormat:
    """Trained weights -1, 0 and 1 (BitNet b1.58, Ma et al., arXiv 2402.17764), in codes of ``num_trits`` each.

    Five trits in eight bits are unpacked by the mask decoder, bit by bit as raw mask bits are; a trit of two bits is
    what a PE takes.
    """

    name: str
    summary: str
    num_trits: int
    code_bits: int

    def plan(self, weights: LayerWeights) -> WeightPlan:
        """Return the plan of a layer; O(1)."""
        bits = self.code_bits * ceil_div(weights.num_weights, self.num_trits)
        is_packed = self.num_trits > 1
        return WeightPlan(
            format=self.name,
            stored_bits=StoredBits(weight=bits, scale=weights.num_scale_bits),
            buffer_bits_per_weight=2,
            arithmetic="ternary",
            decoder="raw" if is_packed else "none",
            decoder_symbols=bits if is_packed else 0,
            num_nonzero=_num_nonzero(weights),
        )

    def encode(self, values: IntTensor) -> EncodedWeights:
        """Return ``values`` (-1, 0, 1) encoded, the last code filled up with zeros."""
        check_range(self.name, values, -1, 1)
        trits = np.zeros(ceil_div(values.size, self.num_trits) * self.num_trits, dtype=np.int64)
        trits[: values.size] = values.ravel()
        codes = (trits.reshape(-1, self.num_trits) + 1) @ _CODE_BASE[: self.num_trits]
        bits = StoredBits(weight=codes.size * self.code_bits)
        return EncodedWeights(self.name, values.shape, bits, weight=pack(field_bits(codes, self.code_bits)))

    def decode(self, encoded: EncodedWeights) -> IntTensor:
        """Return the int8 tensor that was encoded."""
        count = ceil_div(encoded.num_weights, self.num_trits)
        codes = fields(unpack(encoded.weight, count * self.code_bits), self.code_bits, count)
        # Digits to the base three, the least first; one is added so that -1, 0, 1 are the digits 0, 1, 2.
        trits = codes[:, None] // _CODE_BASE[: self.num_trits] % 3 - 1
        return trits.ravel()[: encoded.num_weights].astype(np.int8).reshape(encoded.shape)


@dataclass(frozen=True, slots=True)
class GroupFormat:
    """4-bit integers with a float16 scale for each ``group_size`` weights of a filter, as GPTQ and AWQ store them.

    Symmetric: no zero points (Frantar et al., ICLR 2023; Lin et al., MLSys 2024). The scales' multiplications, one a
    group and output, are not counted: they are a hundredth of the array's.
    """

    name: str
    summary: str
    group_size: int

    def _num_groups(self, shape: tuple[int, ...]) -> int:
        return shape[0] * ceil_div(prod(shape[1:]), self.group_size)

    def plan(self, weights: LayerWeights) -> WeightPlan:
        """Return the plan of a layer; O(1)."""
        scales = SCALE_BITS * self._num_groups(weights.shape)
        return WeightPlan(
            format=self.name,
            stored_bits=StoredBits(weight=4 * weights.num_weights, scale=weights.num_scale_bits + scales),
            buffer_bits_per_weight=4,
            arithmetic="int4",
            num_nonzero=_num_nonzero(weights),
        )

    def encode(self, values: IntTensor) -> EncodedWeights:
        """Return ``values`` from -8 to 7 encoded, with scales of 1."""
        check_range(self.name, values, -8, 7)
        num_groups = self._num_groups(values.shape)
        return EncodedWeights(
            format=self.name,
            shape=values.shape,
            bits=StoredBits(weight=4 * values.size, scale=SCALE_BITS * num_groups),
            weight=pack(field_bits(values, 4)),
            scale=np.ones(num_groups, dtype="<f2").tobytes(),
        )

    def decode(self, encoded: EncodedWeights) -> IntTensor:
        """Return the int8 tensor that was encoded."""
        count = encoded.num_weights
        values = fields(unpack(encoded.weight, 4 * count), 4, count, signed=True).astype(np.float32)
        filters, length = encoded.shape[0], count // max(1, encoded.shape[0])
        scales = np.frombuffer(encoded.scale, dtype="<f2").astype(np.float32).reshape(filters, -1)
        scaled = values.reshape(filters, length) * np.repeat(scales, self.group_size, axis=1)[:, :length]
        return scaled.round().astype(np.int8).reshape(encoded.shape)


@lru_cache(maxsize=1)
def _fp8_values() -> npt.NDArray[np.float64]:
    """Return the values of the 128 positive codes of E4M3: 4 bits of exponent (bias 7), 3 of mantissa, one NaN."""
    codes = np.arange(128)
    exponent, mantissa = codes >> 3, codes & 7
    values = np.where(exponent > 0, (1 + mantissa / 8) * 2.0 ** (exponent - 7), mantissa / 8 * 2.0**-6)
    values[127] = np.inf  # NaN, which no weight is
    return values


@dataclass(frozen=True, slots=True)
class Fp8Format:
    """8-bit floats, E4M3 (Micikevicius et al., arXiv 2209.05433); a PE multiplies them as fp16, which holds all."""

    name: str = "fp8"
    summary: str = "every weight as an 8-bit float (E4M3)"

    def plan(self, weights: LayerWeights) -> WeightPlan:
        """Return the plan of a layer; O(1)."""
        return WeightPlan(
            format=self.name,
            stored_bits=StoredBits(weight=8 * weights.num_weights, scale=weights.num_scale_bits),
            buffer_bits_per_weight=8,
            arithmetic="fp16",
            num_nonzero=_num_nonzero(weights),
        )

    def encode(self, values: IntTensor) -> EncodedWeights:
        """Return ``values`` from -16 to 16 encoded: all whole numbers that three bits of mantissa hold."""
        check_range(self.name, values, -16, 16)
        # Positive codes of a float rise with its value, so the place among the values is the code.
        codes = np.searchsorted(_fp8_values(), np.abs(values.ravel()).astype(np.float64))
        codes = codes | np.where(values.ravel() < 0, 128, 0)
        bits = StoredBits(weight=8 * values.size)
        return EncodedWeights(self.name, values.shape, bits, weight=codes.astype(np.uint8).tobytes())

    def decode(self, encoded: EncodedWeights) -> IntTensor:
        """Return the int8 tensor that was encoded."""
        codes = np.frombuffer(encoded.weight, dtype=np.uint8)
        values: npt.NDArray[np.int8] = (_fp8_values()[codes & 127] * np.where(codes & 128, -1, 1)).astype(np.int8)
        return values.reshape(encoded.shape)


@dataclass(frozen=True, slots=True)
class AdaptiveSeedFormat:
    """`seedlm` with as many coefficients in each block of 8 weights as it needs: 1 to 4, told by two more bits.

    Of the published method only the idea was known here, no text: block, seed, exponent and coefficients are those of
    `accelsim.storage.seedlm`. ``mean_coefficients`` is for Gaussian weights and as large a mean error as with always
    three: of 120 blocks, each takes the fewest coefficients below one error for all. With the two bits that is 4.13
    bits a weight, no less than `seedlm`. A plan is synthetic.
    """

    name: str = "squant"
    summary: str = "blocks of 8 weights: a 16-bit LFSR seed and 1 to 4 coefficients of 4 bits, as needed (lossy)"
    block_size: int = 8
    mean_coefficients: float = 2.76
    count_bits: int = 2

    def plan(self, weights: LayerWeights) -> WeightPlan:
        """Return the plan of a layer; O(1)."""
        num_blocks = ceil_div(weights.num_weights, self.block_size)
        symbols = round(num_blocks * self.mean_coefficients)
        stored = num_blocks * (EXPONENT_BITS + self.count_bits) + symbols * COEFFICIENT_BITS
        return WeightPlan(
            format=self.name,
            stored_bits=StoredBits(seed=num_blocks * SEED_BITS, weight=stored, scale=weights.num_scale_bits),
            buffer_bits_per_weight=8,
            arithmetic="int8",
            decoder="seedlm",
            decoder_symbols=symbols,
            num_nonzero=weights.num_weights,
            synthetic=True,
        )


@dataclass(frozen=True, slots=True)
class ComputedCodeFormat:
    """Two bits a weight and no table: a value is computed from the last 16 bits of the stream by a congruential step.

    The code called 1MAD of QTIP (Tseng et al., NeurIPS 2024, arXiv 2406.11235): s = (a x + b) mod 2^32 with x the 16
    bits, and the sum of the four bytes of s, which is nearly Gaussian. What it needs besides is not modelled: the
    Hadamard transforms of activations, and the energy of the multiplication (bits pass the decoder as raw ones).
    """

    name: str = "lcg-2bit"
    summary: str = "2 bits a weight, the value computed from 16 bits of the stream by an LCG (lossy)"
    multiplier: int = 34_038_481
    increment: int = 76_625_530

    def plan(self, weights: LayerWeights) -> WeightPlan:
        """Return the plan of a layer; O(1)."""
        bits = 2 * weights.num_weights
        return WeightPlan(
            format=self.name,
            stored_bits=StoredBits(weight=bits, scale=weights.num_scale_bits),
            buffer_bits_per_weight=8,
            arithmetic="int8",
            decoder="raw",
            decoder_symbols=bits,
            num_nonzero=weights.num_weights,
        )

    def values(self, data: bytes, count: int) -> npt.NDArray[np.int64]:
        """Return the sums of bytes, centred, that a stream of ``count`` weights computes to; the stream is a ring."""
        bits = unpack(data, 2 * count)
        # Each weight moves the window of 16 bits on by two: neighbours share 14, and the last ones those of the first.
        ring = np.concatenate([bits, bits[:14]])
        windows = np.lib.stride_tricks.sliding_window_view(ring, 16)[::2][:count]
        state = windows.astype(np.int64) @ (1 << np.arange(15, -1, -1, dtype=np.int64))
        word = (self.multiplier * state + self.increment) & 0xFFFFFFFF
        centred: npt.NDArray[np.int64] = ((word[:, None] >> np.array([0, 8, 16, 24])) & 0xFF).sum(axis=1) - 510
        return centred


@dataclass(frozen=True, slots=True)
class MultiBitMaskFormat:
    """Multi-bit supermasks: seed and ``bits`` bits for each free weight, which scale a regenerated sign by 0 to 3.

    TicketLLM (Okoshi et al., TMLR 2025). Of it only the abstract could be read: two bits a connection, about half of
    them 0, and nothing said of frozen weights; that these have no bits is ours. The levels of a ticket of one mask are
    not known, so a plan is synthetic.
    """

    name: str = "mask-2bit"
    summary: str = "seed + 2-bit mask of the searched weights: levels 0 to 3 of a regenerated sign"
    bits: int = 2

    def plan(self, weights: LayerWeights) -> WeightPlan:
        """Return the plan of a layer; O(1).

        Raises
        ------
        MappingError
            If the layer has no supermask, or several.
        """
        if weights.beside_supermasks:
            return dense_part(self.name, weights)
        require_ticket(self.name, weights)
        require_one_coat(self.name, weights)
        source = source_to_regenerate(weights)
        if source.weights != "signed_constant":
            raise MappingError(
                f"storage {self.name}: weights are {source.weights}, and levels scale a sign; choose slt, or a ticket "
                "whose weights are signed_constant"
            )
        stored = self.bits * weights.num_free
        return WeightPlan(
            format=self.name,
            stored_bits=StoredBits(mask=stored, seed=seed_bits(source, weights.shape[0]), scale=weights.num_scale_bits),
            buffer_bits_per_weight=1 + self.bits,
            arithmetic="int4",
            decoder="raw",
            decoder_symbols=stored,
            source=source,
            num_nonzero=weights.num_kept,
            synthetic=True,
        )


FORMATS = (
    TernaryFormat("ternary-1.58", "every weight as -1, 0 or 1, five of them in eight bits", TRITS_PER_CODE, CODE_BITS),
    TernaryFormat("ternary-2", "every weight as -1, 0 or 1 in two bits", 1, 2),
    GroupFormat("int4-g128", "4-bit integers, a 16-bit scale for each 128 of a filter", 128),
    Fp8Format(),
    AdaptiveSeedFormat(),
    ComputedCodeFormat(),
    MultiBitMaskFormat(),
)
