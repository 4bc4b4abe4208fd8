"""The registry, and what each plan says of a layer."""

from dataclasses import replace

import numpy as np
import pytest

from accelsim.errors import ConfigError, MappingError
from accelsim.prng import RandomSource, freezing_map
from accelsim.storage import get_format, list_formats, plan_layers, tile_bits
from accelsim.storage.base import StoredBits, is_ticket_format
from accelsim.storage.nm import obeyed_pattern
from accelsim.trace.model import LayerWeights, LoopDims, TraceLayer

SHAPE = (64, 32, 3, 3)
NUM_WEIGHTS = 64 * 32 * 9
FROZEN_SOURCE = RandomSource(threshold_bits=16, prune_threshold=32768, lock_threshold=45875)


def refuse_to_load():
    raise AssertionError("the mask must not be loaded")


def synthetic(num_kept=5530, **fields):
    """A ticket of which only statistics are known: sparsity 0.7, p = 0.5, r = 0.2."""
    given = {
        "num_pruned": 9216, "num_locked": 3686, "num_free": 5530, "codec": "raw", "source": FROZEN_SOURCE,
        "num_scale_bits": 2048,
    }  # fmt: skip
    return LayerWeights(SHAPE, num_kept, **{**given, **fields})


def real_ticket(seed=0):
    """A ticket with a real mask: half of the free weights are kept."""
    frozen = freezing_map(FROZEN_SOURCE, SHAPE)
    free_kept = np.random.default_rng(seed).random(SHAPE) < 0.3
    mask = (frozen > 0) | ((frozen == 0) & free_kept)
    return LayerWeights(
        SHAPE,
        int(mask.sum()),
        num_pruned=int((frozen < 0).sum()),
        num_locked=int((frozen > 0).sum()),
        num_free=int((frozen == 0).sum()),
        source=FROZEN_SOURCE,
        codec="raw",
        codec_bits=int((frozen == 0).sum()),
        load_mask=lambda: mask,
    )


def test_unknown_format_names_the_known_ones_and_the_nearest():
    with pytest.raises(ConfigError) as error:
        get_format("csr-int")
    text = str(error.value)
    assert text.startswith("storage: 'csr-int' is unknown; did you mean csr-int8") and "accelsim list formats" in text
    assert "\n" not in text


def test_every_format_of_the_field_is_listed_under_its_own_name():
    wanted = {
        "slt", "slt-raw", "slt-rle", "slt-golomb", "slt-entropy", "slt-unfrozen", "dense-fp32", "dense-fp16",
        "dense-int8", "dense-int4", "dense-binary", "csr-int8", "bitmap-int8", "rle-int8", "entropy-int8",
        "entropy-int4", "nm-1:4-int8", "nm-2:4-int8", "nm-4:8-int8", "elsa", "mpt-binary", "mpt-binary-xnor",
        "multicoat", "folded", "seedlm",
    }  # fmt: skip
    assert wanted <= set(list_formats())
    for name in list_formats():
        assert get_format(name).name == name == get_format(name).plan(synthetic()).format
        assert get_format(name).summary
    assert get_format("nm-int8").name == "nm-2:4-int8"


@pytest.mark.parametrize("name", ["slt", "slt-raw", "slt-unfrozen", "dense-int8", "dense-fp32", "csr-int8", "elsa"])
def test_size_that_depends_on_counts_alone_does_not_load_the_mask(name):
    get_format(name).plan(synthetic(codec_bits=5530, load_mask=refuse_to_load))


def test_slt_stores_what_the_ticket_measured():
    plan = get_format("slt").plan(synthetic(codec="entropy", codec_bits=4444, load_mask=refuse_to_load))
    assert plan.stored_bits == StoredBits(mask=4444, seed=32, scale=2048)
    assert (plan.decoder, plan.decoder_symbols) == ("entropy", 5530)
    assert (plan.arithmetic, plan.buffer_bits_per_weight, plan.num_nonzero) == ("ternary", 2, 5530)
    assert plan.source == FROZEN_SOURCE
    assert not plan.synthetic


@pytest.mark.parametrize(
    ("stream", "seeds", "expected"),
    [
        ("filter", "derived", 32),
        ("filter", "jump", 32),
        ("layer", "stored", 32),
        ("filter", "stored", 64 * 32),
        ("tile", "stored", 11 * 32),  # 64 filters, 6 to a stream
    ],
)
def test_seed_bits(stream, seeds, expected):
    source = replace(FROZEN_SOURCE, stream=stream, seeds=seeds, tile_filters=6)
    assert get_format("slt").plan(synthetic(source=source)).stored_bits.seed == expected


def test_source_networks_differ_in_the_weights_that_have_a_mask_bit():
    weights = synthetic()
    stored = {name: get_format(name).plan(weights) for name in ("slt", "slt-pruned", "slt-unfrozen")}
    assert stored["slt"].stored_bits.mask == weights.num_free
    assert stored["slt-pruned"].stored_bits.mask == weights.num_free + weights.num_locked
    assert stored["slt-unfrozen"].stored_bits.mask == weights.num_weights
    assert stored["slt-pruned"].source.lock_threshold == FROZEN_SOURCE.prune_threshold
    assert stored["slt-unfrozen"].source.threshold_bits == 0
    assert {plan.num_nonzero for plan in stored.values()} == {weights.num_kept}


def test_wider_random_weights_need_a_multiplier():
    uniform = replace(FROZEN_SOURCE, weights="uniform", weight_bits=4)
    normal = replace(FROZEN_SOURCE, weights="normal", weight_bits=4, normal_terms=4)
    plans = [get_format("slt").plan(synthetic(source=source)) for source in (uniform, normal)]
    assert [plan.arithmetic for plan in plans] == ["int4", "int8"]
    assert [plan.buffer_bits_per_weight for plan in plans] == [5, 7]  # 16 and 61 values, and the mask


def test_slt_of_a_network_without_a_ticket_is_refused():
    dense = LayerWeights((8, 4), 32, num_free=32)
    for name in ("slt", "multicoat", "folded"):
        with pytest.raises(MappingError, match="8x4 has no supermask"):
            get_format(name).plan(dense)


def test_imported_ticket_is_simulated_as_if_it_could_be_regenerated():
    plan = get_format("slt").plan(synthetic(source=None, codec_bits=5530))
    assert plan.stored_bits == StoredBits(mask=5530, seed=32, scale=2048)
    assert plan.source.prune_threshold == 32768
    assert plan.source.lock_threshold == 2**16 * (9216 + 3686) // NUM_WEIGHTS


def test_dense_rival_of_a_ticket_has_no_zeros_but_a_pruned_network_keeps_its_own():
    assert get_format("dense-int8").plan(synthetic()).num_nonzero == NUM_WEIGHTS
    assert get_format("dense-int8").plan(LayerWeights(SHAPE, 5530, num_free=NUM_WEIGHTS)).num_nonzero == 5530


def test_pruned_rivals_keep_as_many_weights_as_the_mask_down_to_one_percent():
    weights = synthetic(num_kept=184, num_pruned=NUM_WEIGHTS - 184, num_locked=0, num_free=184)
    for name in ("csr-int8", "bitmap-int8", "rle-int8", "entropy-int8", "entropy-int4", "elsa", "mpt-binary"):
        assert get_format(name).plan(weights).num_nonzero == 184


@pytest.mark.parametrize("num_kept", [0, 1, NUM_WEIGHTS])
def test_every_format_plans_extreme_sparsities(num_kept):
    weights = LayerWeights(SHAPE, num_kept, num_free=NUM_WEIGHTS, codec="entropy", source=RandomSource())
    mask = np.arange(NUM_WEIGHTS).reshape(SHAPE) < num_kept
    for each in (weights, replace(weights, load_mask=lambda: mask)):
        for name in list_formats():
            plan = get_format(name).plan(each)
            assert plan.stored_bits.total >= plan.traffic_bits.total >= 0


@pytest.mark.parametrize(
    ("name", "symbols"),
    [
        ("csr-int8", 5530), ("bitmap-int8", NUM_WEIGHTS), ("entropy-int8", NUM_WEIGHTS + 5530),
        ("nm-1:4-int8", NUM_WEIGHTS // 4), ("seedlm", NUM_WEIGHTS // 8 * 3), ("dense-int8", 0),
        ("slt-unfrozen", NUM_WEIGHTS), ("multicoat", NUM_WEIGHTS + 5530), ("elsa-90", NUM_WEIGHTS),
    ],
)  # fmt: skip
def test_symbols_for_the_decoder(name, symbols):
    assert get_format(name).plan(synthetic()).decoder_symbols == symbols


def test_nm_keeps_its_own_sparsity():
    plan = get_format("nm-1:4-int8").plan(synthetic())
    assert plan.num_nonzero == NUM_WEIGHTS // 4
    assert plan.stored_bits == StoredBits(weight=NUM_WEIGHTS // 4 * 8, index=NUM_WEIGHTS // 4 * 2, scale=2048)
    assert plan.synthetic


def test_nm_stores_a_network_that_has_the_pattern_as_it_is():
    mask = np.zeros((4, 8), dtype=np.bool_)
    mask[:, ::4] = True
    mask[0, 0] = False
    weights = LayerWeights((4, 8), int(mask.sum()), num_free=32, load_mask=lambda: mask)
    plan = get_format("nm-1:4-int8").plan(weights)
    assert (plan.num_nonzero, plan.synthetic) == (7, False)


def test_elsa_reads_a_prefix_of_the_one_stored_network():
    weights = synthetic()
    plans = [get_format(f"elsa-{percent}").plan(weights) for percent in (90, 75, 50, 0)]
    assert len({plan.stored_bits for plan in plans}) == 1
    assert [plan.num_nonzero for plan in plans] == [1843, 4608, 9216, NUM_WEIGHTS]
    reads = [plan.traffic_bits.total for plan in plans]
    assert reads == sorted(reads)
    assert reads[-1] == plans[-1].stored_bits.total


def test_folded_iterations_store_their_scales_alone_but_read_the_second_blocks_mask_again():
    names = ["stem", "layer1.0.conv1", "layer1.1.conv1", "layer1.2.conv1", "layer2.1.conv1"]
    layers = [
        TraceLayer(name, "conv2d", LoopDims(), (), weights=synthetic(codec_bits=5530 + i))
        for i, name in enumerate(names)
    ]
    layers.append(TraceLayer("pool", "pool", LoopDims(), ()))
    plans = plan_layers(get_format("folded"), layers)
    assert plans[5] is None
    stored = [plan.stored_bits.mask for plan in plans if plan is not None]
    assert stored == [5530, 5531, 5532, 0, 5534]
    assert plans[3].stored_bits == StoredBits(scale=2048)
    assert plans[3].traffic_bits == plans[2].stored_bits


def test_multicoat_counts_bits_as_its_authors_do():
    format_ = get_format("multicoat-3")
    counts = format_.coat_counts(1000, 300)
    assert counts == (1000, 300, 90, 27)
    plan = format_.plan(LayerWeights((10, 100), 300, num_free=1000, codec="raw", source=RandomSource()))
    assert plan.stored_bits.mask == 1000 + 300 + 90
    assert (plan.arithmetic, plan.buffer_bits_per_weight) == ("int4", 3)


def test_multi_prize_tickets_set_the_activation_width():
    widths = [get_format(name).plan(synthetic()).activation_bits for name in ("mpt-binary", "mpt-binary-xnor")]
    assert widths == [32, 1]
    assert get_format("mpt-binary-xnor").plan(synthetic()).arithmetic == "binary_xnor"


@pytest.mark.parametrize(
    ("name", "bits_per_weight"),
    [("ternary-1.58", 1.6), ("ternary-2", 2), ("int4-g128", 4.125), ("fp8", 8), ("lcg-2bit", 2), ("mask-2bit", 2)],
)
def test_formats_of_language_models_have_the_bits_that_they_are_named_for(name, bits_per_weight):
    count = 1280 * 256
    weights = LayerWeights((1280, 256), count // 2, num_free=count, source=RandomSource(), codec="raw")
    stored = get_format(name).plan(weights).stored_bits
    assert stored.total - stored.seed == bits_per_weight * count
    if name == "mask-2bit":  # frozen weights have no bits
        frozen = replace(weights, num_free=count // 4, num_pruned=count // 2, num_locked=count // 4)
        assert get_format(name).plan(frozen).stored_bits.mask == 2 * count // 4


def test_a_computed_code_gives_nearly_gaussian_values_from_two_bits_each():
    data = np.random.default_rng(7).bytes(50_000)
    values = get_format("lcg-2bit").values(data, 200_000)
    # The sum of four bytes: mean 510, variance 4 (256^2 - 1) / 12.
    assert abs(values.mean()) < 3
    assert values.std() == pytest.approx((4 * (256**2 - 1) / 12) ** 0.5, rel=0.02)
    later = get_format("lcg-2bit").values(data[2:], 100)
    assert np.array_equal(values[8:20], later[:12])  # only 16 bits of the stream count


@pytest.mark.parametrize(("name", "bits_per_weight"), [("seedlm", 4), ("seedlm-3bit", 3)])
def test_seedlm_has_the_bits_of_its_paper(name, bits_per_weight):
    plan = get_format(name).plan(LayerWeights((48, 100), 4800))
    assert plan.stored_bits.total == 4800 * bits_per_weight


def test_tiles_of_a_layer_read_it_once():
    weights = real_ticket()
    plan = get_format("slt").plan(weights)
    tiles = [tile_bits(plan, NUM_WEIGHTS // 7 + (i == 0), 64 // 7 + (i == 0), weights) for i in range(7)]
    assert sum(tile.mask for tile in tiles) - plan.stored_bits.mask in range(8)
    assert tile_bits(plan, NUM_WEIGHTS, 64, weights) == plan.stored_bits
    assert tile_bits(plan, 9, 0, weights) == StoredBits(mask=-(-plan.stored_bits.mask * 9 // NUM_WEIGHTS))


def test_tiles_of_a_nested_network_read_the_chosen_level_alone():
    weights = synthetic()
    plan = get_format("elsa-90").plan(weights)
    assert tile_bits(plan, NUM_WEIGHTS, 64, weights) == plan.traffic_bits != plan.stored_bits


def test_formats_of_tickets_are_told_by_name():
    words = ("seed and mask", "same ticket", "masks, summed", "multi-prize ticket", "mask of the searched weights")
    for name in list_formats():
        assert is_ticket_format(name) == any(word in get_format(name).summary for word in words), name


@pytest.mark.parametrize(("every", "pattern"), [(2, "nm-2:4-int8"), (4, "nm-1:4-int8"), (50, None)])
def test_a_pattern_that_a_very_sparse_mask_meets_by_chance_is_none(every: int, pattern: str | None) -> None:
    mask = (np.arange(32 * 64) % every == 0).reshape(32, 64)
    assert obeyed_pattern([LayerWeights(mask.shape, int(mask.sum()), load_mask=lambda: mask)]) == pattern
