"""Streams, weights and freezing maps against the words written down in `accelsim.prng.source`."""

from dataclasses import replace

import numpy as np
import pytest

from accelsim.errors import ConfigError
from accelsim.prng import (
    RandomSource,
    freezing_map,
    freezing_slice,
    jump,
    layer_seed,
    layer_weights,
    stream_geometry,
    stream_seeds,
    weight_std,
    weights_slice,
    words,
)
from accelsim.prng.streams import JUMP_DISTANCE_WORDS

SHAPE = (10, 7, 3, 3)
FROZEN = RandomSource(seed=77, threshold_bits=16, prune_threshold=1 << 15, lock_threshold=45875)

GOLDEN_SEEDS = [3512389424, 1302114578, 3761693665]
GOLDEN_SIGNS = "-+++-+-+-++--++++-++-+--+++++--+"
GOLDEN_FREEZING = "ppppppLLp..p.p.pppLppLpppLppp.L."


def _plain_fields(source: RandomSource, domain: int, stream: int, count: int, bits: int) -> list[int]:
    """Field by field, as the specification reads."""
    word_bits = 16 if source.generator == "lfsr16" else 32
    fields: list[int] = []
    seed = stream_seeds(source, SHAPE, domain)[stream]
    for word in words(source.generator, np.array([seed]), 0, count)[0].tolist():
        for place in range(word_bits // bits):
            fields.append(word >> (place * bits) & ((1 << bits) - 1))
    return fields[:count]


@pytest.mark.parametrize("generator", ["philox4x32", "xorshift32", "lfsr16", "lfsr32"])
@pytest.mark.parametrize(("stream", "per_stream"), [("layer", 10), ("filter", 1), ("tile", 4)])
@pytest.mark.parametrize("threshold_bits", [16, 8, 11])
def test_weights_and_freezing_follow_the_specification(generator, stream, per_stream, threshold_bits):
    full = 1 << threshold_bits
    source = RandomSource(
        generator=generator,
        seed=99,
        stream=stream,
        tile_filters=4,
        threshold_bits=threshold_bits,
        prune_threshold=full // 2,
        lock_threshold=full * 7 // 10,
    )
    weights, frozen = layer_weights(source, SHAPE), freezing_map(source, SHAPE)
    for index in range(-(-10 // per_stream)):
        part = slice(index * per_stream, (index + 1) * per_stream)
        count = weights[part].size
        bits = _plain_fields(source, 0, index, count, 1)
        assert weights[part].reshape(-1).tolist() == [2 * bit - 1 for bit in bits]
        draws = _plain_fields(source, 1, index, count, threshold_bits)
        expected = [-1 if u < full // 2 else 1 if u < full * 7 // 10 else 0 for u in draws]
        assert frozen[part].reshape(-1).tolist() == expected


def test_uniform_weights_are_odd_integers_and_normal_ones_sum_them():
    uniform = RandomSource(seed=3, stream="layer", weights="uniform", weight_bits=4)
    fields = _plain_fields(uniform, 0, 0, 630, 4)
    assert layer_weights(uniform, SHAPE).reshape(-1).tolist() == [2 * u - 15 for u in fields]
    normal = replace(uniform, weights="normal", normal_terms=3)
    fields = _plain_fields(normal, 0, 0, 1890, 4)
    expected = [sum(fields[3 * i : 3 * i + 3]) * 2 - 45 for i in range(630)]
    assert layer_weights(normal, SHAPE).reshape(-1).tolist() == expected


@pytest.mark.parametrize("weights", ["signed_constant", "uniform", "normal"])
def test_standard_deviation_is_the_stated_one(weights):
    bits = 1 if weights == "signed_constant" else 8
    source = RandomSource(seed=11, weights=weights, weight_bits=bits, normal_terms=4)
    drawn = layer_weights(source, (64, 4096))
    assert float(drawn.std()) == pytest.approx(weight_std(source), rel=0.01)
    assert abs(float(drawn.mean())) < 0.01 * weight_std(source)


def test_realised_ratios_are_binomial_around_the_thresholds():
    frozen = freezing_map(FROZEN, (512, 512, 3, 3))
    for value, ratio in ((-1, 0.5), (1, 45875 / 65536 - 0.5)):
        deviation = (ratio * (1 - ratio) / frozen.size) ** 0.5
        assert abs(float((frozen == value).mean()) - ratio) < 5 * deviation


def test_no_thresholds_freeze_nothing():
    assert not freezing_map(RandomSource(), SHAPE).any()
    geometry = stream_geometry(RandomSource(), SHAPE)
    assert (geometry.threshold_fields_per_word, geometry.threshold_words_per_stream) == (0, 0)


def test_all_locked_is_a_threshold_past_the_largest_word():
    source = RandomSource(threshold_bits=16, prune_threshold=0, lock_threshold=1 << 16)
    assert (freezing_map(source, SHAPE) == 1).all()


def test_geometry_counts_words():
    geometry = stream_geometry(replace(FROZEN, generator="lfsr16", stream="tile", tile_filters=4), SHAPE)
    assert geometry.num_streams == 3
    assert geometry.weights_per_stream == 4 * 63
    assert (geometry.weight_fields_per_word, geometry.weight_words_per_stream) == (16, 16)
    assert (geometry.threshold_fields_per_word, geometry.threshold_words_per_stream) == (1, 252)


@pytest.mark.parametrize("generator", ["philox4x32", "xorshift32", "lfsr16", "lfsr32"])
@pytest.mark.parametrize("stream", ["layer", "filter", "tile"])
def test_a_part_from_inside_a_stream_equals_the_part_of_the_whole(generator, stream):
    source = replace(FROZEN, generator=generator, stream=stream, tile_filters=3)
    part = slice(2, 9)
    whole = layer_weights(source, SHAPE).reshape(10, -1)[part, 13:50]
    assert np.array_equal(weights_slice(source, SHAPE, part, 13, 37), whole)
    whole = freezing_map(source, SHAPE).reshape(10, -1)[part, 13:50]
    assert np.array_equal(freezing_slice(source, SHAPE, part, 13, 37), whole)


def test_a_part_outside_a_filter_is_refused():
    with pytest.raises(ConfigError, match="it has 63"):
        weights_slice(FROZEN, SHAPE, slice(0, 1), 60, 4)


def test_derived_seeds_differ_between_streams_domains_and_layers():
    shape = (4096, 8)
    seeds = [
        stream_seeds(replace(FROZEN, seed=layer_seed(1, layer)), shape, domain) for layer in (0, 1) for domain in (0, 1)
    ]
    merged = np.concatenate(seeds)
    assert np.unique(merged).size == merged.size
    assert merged.all()
    assert np.array_equal(stream_seeds(replace(FROZEN, seeds="stored"), shape, 0), stream_seeds(FROZEN, shape, 0))


def test_jump_seeds_lie_a_fixed_distance_apart():
    source = replace(FROZEN, seeds="jump", seed=1)
    weights, freezing = (stream_seeds(source, SHAPE, domain) for domain in (0, 1))
    assert weights[0] == 1
    assert freezing[0] == jump("xorshift32", np.uint32(1), JUMP_DISTANCE_WORDS[32])
    assert weights[5] == jump("xorshift32", np.uint32(1), 10 * JUMP_DISTANCE_WORDS[32])


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"seed": 0}, "random source: seed: 0 is not within 1 to 4294967295"),
        ({"weight_bits": 2}, "signed_constant takes exactly 1"),
        ({"prune_threshold": 50000}, "prune_threshold: 50000 is not within 0 to 45875"),
        ({"generator": "philox4x32", "seeds": "jump"}, "seeds: jump needs one of"),
        ({"generator": "mt19937"}, "use one of philox4x32, xorshift32, lfsr16, lfsr32"),
        ({"generator": "lfsr16", "threshold_bits": 24}, "threshold_bits: 24 is not within 0 to 16"),
        ({"tile_filters": 0}, "tile_filters: 0 is not within"),
    ],
)
def test_sources_no_generator_could_follow_are_refused(change, text):
    with pytest.raises(ConfigError, match=text):
        stream_geometry(replace(FROZEN, **change), SHAPE)


def test_golden_bits_do_not_move():
    # Stored tickets hold no weights: if these change, every ticket ever written breaks.
    source = RandomSource(seed=20240229, prune_threshold=1 << 15, lock_threshold=45875)
    assert stream_seeds(source, SHAPE, 0)[:3].tolist() == GOLDEN_SEEDS
    assert "".join("-+"[int(w > 0)] for w in layer_weights(source, SHAPE).reshape(-1)[:32]) == GOLDEN_SIGNS
    assert "".join("p.L"[f + 1] for f in freezing_map(source, SHAPE).reshape(-1)[:32]) == GOLDEN_FREEZING
