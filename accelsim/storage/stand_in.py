"""Values that stand in for trained ones: the rival of a ticket is a pruned network whose weights nobody has.

The stand-in is a magnitude-pruned Gaussian: of normally distributed weights the fraction `density` with the largest
magnitudes is kept, and quantised uniformly and symmetrically to b bits. Full scale lies where as large a fraction of
the kept weights is clipped as with a Gaussian's best clipping for b bits (at 2.55 standard deviations for 4 bits, 3.92
for 8: Banner et al., NeurIPS 2019). A kept weight is never 0. No real weights are involved, so a plan made from it says
``synthetic``.
"""

from __future__ import annotations

from functools import lru_cache
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from accelsim.errors import MappingError
from accelsim.storage.encoded import BoolArray, IntTensor
from accelsim.trace.model import LayerWeights

CLIPPING_STD = {4: 2.55, 8: 3.92}
_RESOLUTION_BITS = 24
_SEED = 0x5EED


def has_ticket(weights: LayerWeights) -> bool:
    """Return whether the layer comes from a ticket, real or synthetic: its rivals' values are then not known."""
    return weights.codec is not None or weights.source is not None


def has_real_values(weights: LayerWeights) -> bool:
    """Return whether the layer's own integer weights are at hand: a network without a ticket that was loaded."""
    return weights.load_sign is not None and not has_ticket(weights)


@lru_cache(maxsize=256)
def magnitude_distribution(density: float, value_bits: int) -> tuple[float, ...]:
    """Return the probabilities of the magnitudes 1, 2, ... 2^(b-1) - 1 of a kept weight.

    Parameters
    ----------
    density
        Fraction of weights that pruning keeps, in (0, 1].
    value_bits
        Bits b of a quantised weight, 4 or 8.
    """
    normal = NormalDist()
    threshold = -normal.inv_cdf(density / 2)
    tail = 2 * normal.cdf(-CLIPPING_STD[value_bits])
    clip = -normal.inv_cdf(density * tail / 2)
    num_magnitudes = 2 ** (value_bits - 1) - 1
    step = clip / num_magnitudes
    edges = [max(threshold, (magnitude + 0.5) * step) for magnitude in range(1, num_magnitudes)]
    above = [1.0, *(min(1.0, 2 * normal.cdf(-edge) / density) for edge in edges), 0.0]
    return tuple(above[i] - above[i + 1] for i in range(num_magnitudes))


def entropy_per_value(density: float, value_bits: int) -> float:
    """Return the entropy in bits of a kept weight's value, sign included."""
    probabilities = np.array(magnitude_distribution(density, value_bits))
    used = probabilities[probabilities > 0]
    return 1.0 - float((used * np.log2(used)).sum())


def stand_in_values(mask: BoolArray, value_bits: int) -> npt.NDArray[np.int8]:
    """Return int8 values of ``mask``'s shape: 0 where it is False, elsewhere drawn from the stand-in (fixed seed)."""
    num_kept = int(mask.sum())
    values = np.zeros(mask.shape, dtype=np.int8)
    if num_kept:
        cumulative = np.cumsum(magnitude_distribution(num_kept / mask.size, value_bits))
        steps = np.round(cumulative * 2**_RESOLUTION_BITS).astype(np.int64)
        draws = np.random.Generator(np.random.PCG64(_SEED)).integers(2 ** (_RESOLUTION_BITS + 1), size=num_kept)
        # Millions of draws: bytes and 32-bit words halve the time that 64 bits of each would take.
        edges, places = steps[:-1].astype(np.int32), (draws >> 1).astype(np.int32)
        magnitudes = 1 + np.searchsorted(edges, places, side="right").astype(np.int8)
        values[mask] = np.where(draws & 1, -magnitudes, magnitudes)
    return values


def quantise(values: IntTensor, value_bits: int) -> npt.NDArray[np.int8]:
    """Return integer weights rescaled to ``value_bits`` bits; what was not zero stays not zero."""
    limit = 2 ** (value_bits - 1) - 1
    largest = int(np.abs(values.astype(np.int64)).max(initial=0))
    if largest <= limit:
        return values.astype(np.int8)
    scaled = np.round(values * (limit / largest)).astype(np.int8)
    return np.where(scaled == 0, np.sign(values), scaled).astype(np.int8)


def kept_values(weights: LayerWeights, value_bits: int) -> npt.NDArray[np.int8]:
    """Return the layer's pruned weights at ``value_bits`` bits: real ones if known, else a stand-in on its mask."""
    if weights.load_sign is not None and has_real_values(weights):
        return quantise(weights.load_sign(), value_bits)
    if weights.load_mask is None:
        raise MappingError(
            "storage: no mask to place values on; allowed are layers with a real mask; use the closed form"
        )
    return stand_in_values(weights.load_mask(), value_bits)
