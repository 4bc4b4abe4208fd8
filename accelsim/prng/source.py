"""What is needed to regenerate one layer: generator, seed, streams, value distribution, freezing thresholds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

GeneratorKind = Literal["philox4x32", "xorshift32", "lfsr16", "lfsr32"]
StreamGranularity = Literal["layer", "filter", "tile"]
SeedPolicy = Literal["stored", "derived", "jump"]
WeightDistribution = Literal["signed_constant", "uniform", "normal"]


@dataclass(frozen=True, slots=True)
class RandomSource:
    """Everything an on-chip weight generator must know to rebuild one layer.

    A layer draws from two independent families of streams (`domain` 0: weights, `domain` 1: freezing map). Every stream
    is a sequence of generator words; a word is cut, from its low end, into floor(word_bits / field_bits) fields, the
    rest is dropped. Weight i of a stream reads field i of the weight stream (``weight_bits`` bits; ``normal`` sums
    ``normal_terms`` fields) and field i of the freezing stream (``threshold_bits`` bits).

    Attributes
    ----------
    generator
        Which generator makes the words.
    seed
        The layer's master seed, 32 bits, not zero.
    stream
        One stream per ``layer``, per ``filter`` (output channel) or per ``tile`` of ``tile_filters`` filters.
    seeds
        ``stored``: each stream's seed is in the ticket; ``derived``: hashed on chip from ``seed``; ``jump``: reached
        from ``seed`` by jumping a linear generator ahead.
    weights
        Distribution of the weights; ``signed_constant`` has ``weight_bits`` = 1 (value +1 or -1 times the layer's
        scale).
    threshold_bits
        Bits t of a freezing word u; 0 where nothing is frozen.
    prune_threshold, lock_threshold
        u < prune_threshold is pruned (-1); prune_threshold <= u < lock_threshold is locked (+1); otherwise free (0).
    """

    generator: GeneratorKind = "xorshift32"
    seed: int = 1
    stream: StreamGranularity = "filter"
    seeds: SeedPolicy = "derived"
    weights: WeightDistribution = "signed_constant"
    weight_bits: int = 1
    normal_terms: int = 1
    threshold_bits: int = 16
    prune_threshold: int = 0
    lock_threshold: int = 0
    tile_filters: int = 1
