"""Bit-exact random sources shared by search, packing and simulation."""

from accelsim.prng.generators import LINEAR_KINDS, WORD_BITS, jump, next_state, words
from accelsim.prng.ratios import FreezingRatios, RatioDistribution, layer_ratios, thresholds
from accelsim.prng.regenerate import freezing_map, freezing_slice, layer_weights, weight_std, weights_slice
from accelsim.prng.source import (
    GeneratorKind,
    RandomSource,
    SeedPolicy,
    StreamGranularity,
    WeightDistribution,
)
from accelsim.prng.streams import StreamGeometry, check_source, layer_seed, stream_geometry, stream_seeds

__all__ = [
    "LINEAR_KINDS",
    "WORD_BITS",
    "FreezingRatios",
    "GeneratorKind",
    "RandomSource",
    "RatioDistribution",
    "SeedPolicy",
    "StreamGeometry",
    "StreamGranularity",
    "WeightDistribution",
    "check_source",
    "freezing_map",
    "freezing_slice",
    "jump",
    "layer_ratios",
    "layer_seed",
    "layer_weights",
    "next_state",
    "stream_geometry",
    "stream_seeds",
    "thresholds",
    "weight_std",
    "weights_slice",
    "words",
]
