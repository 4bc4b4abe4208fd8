"""SeedLM: each block of weights is the seed of an LFSR and a few coefficients."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from accelsim.errors import MappingError
from accelsim.prng import words
from accelsim.storage.base import StoredBits, WeightPlan
from accelsim.storage.encoded import EncodedWeights, field_bits, fields, pack, unpack
from accelsim.trace.model import LayerWeights
from accelsim.units import ceil_div

FloatArray = npt.NDArray[np.float64]

SEED_BITS = 16
EXPONENT_BITS = 4
COEFFICIENT_BITS = 4
MAX_BLOCKS = 1 << 16
_SMALLEST_EXPONENT = -8
_LARGEST_COEFFICIENT = 7


@dataclass(frozen=True, slots=True)
class SeedlmFormat:
    """A dense network as blocks of C weights: U(s) t, with a 16-bit seed s and P coefficients t of 4 bits.

    After Shafipour et al., ICLR 2025 (arXiv 2410.10714, section 3 and table 1): C = 8, P = 3 is 4 bits a weight and C =
    12, P = 4 is 3; a block stores 16 + 4 + 4 P bits, the 4 being the coefficients' shared exponent. U(s) is C x P, its
    entries the words of a 16-bit LFSR mapped to [-1, 1]; here it is the LFSR of `accelsim.prng`, one word per entry.
    The format is lossy: what is stored decodes exactly, but only approximates the weights it was made from, whatever
    their sparsity. All blocks are dense, and the weights a PE sees are taken as 8-bit integers.
    """

    name: str
    block_size: int
    num_coefficients: int

    @property
    def summary(self) -> str:
        """One line for lists."""
        return (
            f"blocks of {self.block_size} weights: a 16-bit LFSR seed and {self.num_coefficients} coefficients "
            "of 4 bits (lossy)"
        )

    def plan(self, weights: LayerWeights) -> WeightPlan:
        """Return the plan of a layer; O(1). A decoder symbol is one coefficient: C multiplications by an LFSR word."""
        num_blocks = ceil_div(weights.num_weights, self.block_size)
        bits = self._bits(num_blocks)
        return WeightPlan(
            format=self.name,
            stored_bits=StoredBits(seed=bits.seed, scale=weights.num_scale_bits, weight=bits.weight),
            buffer_bits_per_weight=8,
            arithmetic="int8",
            decoder="seedlm",
            decoder_symbols=num_blocks * self.num_coefficients,
            num_nonzero=weights.num_weights,
        )

    def encode(self, values: FloatArray) -> EncodedWeights:
        """Return real ``values`` (of magnitude about 1) approximated: of every block all 65,535 seeds are tried.

        A block takes milliseconds, so at most `MAX_BLOCKS` blocks are accepted.
        """
        num_blocks = ceil_div(values.size, self.block_size)
        if num_blocks > MAX_BLOCKS:
            raise MappingError(
                f"storage {self.name}: {num_blocks} blocks are not <= {MAX_BLOCKS}; encode a smaller part of the layer"
            )
        blocks = np.zeros((num_blocks, self.block_size))
        blocks.ravel()[: values.size] = values.ravel()
        found = [self._best(block) for block in blocks]
        seeds = np.array([seed for seed, _, _ in found], dtype=np.int64)
        coefficients = np.array([[exponent, *t] for _, exponent, t in found], dtype=np.int64)
        return EncodedWeights(
            format=self.name,
            shape=values.shape,
            bits=self._bits(num_blocks),
            seed=pack(field_bits(seeds, SEED_BITS)),
            weight=pack(field_bits(coefficients, COEFFICIENT_BITS)),
        )

    def decode(self, encoded: EncodedWeights) -> FloatArray:
        """Return the float64 tensor that is stored."""
        num_blocks = ceil_div(encoded.num_weights, self.block_size)
        per_block = self.num_coefficients + 1
        seeds = fields(unpack(encoded.seed, num_blocks * SEED_BITS), SEED_BITS, num_blocks)
        stored = fields(
            unpack(encoded.weight, num_blocks * per_block * COEFFICIENT_BITS),
            COEFFICIENT_BITS,
            num_blocks * per_block,
            signed=True,
        ).reshape(num_blocks, per_block)
        scaled = stored[:, 1:] * np.exp2(stored[:, :1])
        blocks: FloatArray = np.einsum("bcp,bp->bc", self._bases(seeds), scaled)
        return blocks.ravel()[: encoded.num_weights].reshape(encoded.shape)

    def _bits(self, num_blocks: int) -> StoredBits:
        return StoredBits(
            seed=num_blocks * SEED_BITS,
            weight=num_blocks * (EXPONENT_BITS + COEFFICIENT_BITS * self.num_coefficients),
        )

    def _bases(self, seeds: npt.NDArray[np.int64]) -> FloatArray:
        """Return U(s) of every seed: float64 [seeds, C, P], entries in [-1, 1]."""
        states = words("lfsr16", seeds.astype(np.uint32), 0, self.block_size * self.num_coefficients)
        half = 1 << (SEED_BITS - 1)
        return ((states.astype(np.float64) - half) / (half - 1)).reshape(-1, self.block_size, self.num_coefficients)

    def _best(self, block: FloatArray) -> tuple[int, int, npt.NDArray[np.int64]]:
        """Return seed, exponent and coefficients that approximate a block best after quantisation."""
        bases, inverses = _candidates(self)
        ideal = inverses @ block
        # The exponent that lets the largest coefficient just round to 7: section 3.2's rule would leave 3 of 16 codes
        # unused.
        largest = np.maximum(np.abs(ideal).max(axis=1), 1e-30)
        exponents = np.clip(np.ceil(np.log2(largest / (_LARGEST_COEFFICIENT + 0.5))), _SMALLEST_EXPONENT, 7)
        scale = np.exp2(exponents)[:, None]
        rounded = np.clip(np.round(ideal / scale), -_LARGEST_COEFFICIENT - 1, _LARGEST_COEFFICIENT)
        error = ((np.einsum("scp,sp->sc", bases, rounded * scale) - block) ** 2).sum(axis=1)
        best = int(np.argmin(error))
        return best + 1, int(exponents[best]), rounded[best].astype(np.int64)


@lru_cache(maxsize=2)
def _candidates(storage_format: SeedlmFormat) -> tuple[FloatArray, FloatArray]:
    """Return U(s) and its pseudo-inverse for all seeds 1 to 65,535."""
    bases = storage_format._bases(np.arange(1, 1 << SEED_BITS))  # noqa: SLF001
    inverses: FloatArray = np.linalg.pinv(bases).astype(np.float64)
    return bases, inverses


FORMATS = (SeedlmFormat("seedlm", 8, 3), SeedlmFormat("seedlm-3bit", 12, 4))
