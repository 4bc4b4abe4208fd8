import json
from dataclasses import replace

import numpy as np
import pytest

from accelsim.prng import RandomSource, freezing_map, layer_seed
from accelsim.ticket.inspect import inspect
from accelsim.ticket.model import Ticket
from accelsim.ticket.pack import pack_layer, synthetic_mask
from accelsim.ticket.shapes import weight_shapes
from accelsim.ticket.zoo import build_network


def make_ticket(codec: str = "raw", seeds: str = "derived") -> Ticket:
    graph = build_network("conv6", width_factor=0.25)
    layers = []
    for index, (name, shape) in enumerate(weight_shapes(graph).items()):
        source = RandomSource(
            seed=layer_seed(5, index), seeds=seeds, threshold_bits=16, prune_threshold=1 << 15, lock_threshold=45875
        )
        mask = synthetic_mask(freezing_map(source, shape), 0.7, seed=index + 1)
        layers.append(pack_layer(name, shape, source, mask, codec, np.ones(shape[0]), np.zeros(shape[0]), 0.5))
    return Ticket(graph, tuple(layers), "searched", "digits", 0.91, "accelsim search")


def test_totals_are_the_sums_of_the_layers() -> None:
    ticket = make_ticket()
    report = inspect(ticket)
    totals = report.totals
    assert totals.num_weights == sum(layer.num_weights for layer in ticket.layers)
    assert totals.stored_bits.mask == totals.num_free == sum(layer.num_free for layer in report.layers)
    assert totals.num_pruned + totals.num_locked + totals.num_free == totals.num_weights
    assert totals.stored_bits.seed == 32 * len(report.layers)
    # Convolutions have a batch normalisation behind them; linear layers have one scale each.
    assert totals.stored_bits.scale == sum(
        32 * layer.shape[0] if layer.kind == "conv2d" else 16 for layer in report.layers
    )
    assert totals.stored_bits_total == totals.stored_bits.total
    assert totals.sparsity == pytest.approx(0.7, abs=1e-3)


def test_raw_mask_shrinks_by_the_free_fraction() -> None:
    totals = inspect(make_ticket()).totals
    assert totals.mask_times_smaller_than_without_freezing == pytest.approx(1 / (1 - totals.freeze_ratio))
    expected = (32 * totals.num_weights + totals.stored_bits.scale) / totals.stored_bits_total
    assert totals.times_smaller_than_fp32 == pytest.approx(expected)


def test_entropy_coded_masks_are_near_their_bound() -> None:
    totals = inspect(make_ticket("entropy")).totals
    assert totals.entropy_bound_bits < totals.stored_bits.mask < 1.02 * totals.entropy_bound_bits


def test_stored_seeds_cost_one_a_filter() -> None:
    report = inspect(make_ticket(seeds="stored"))
    assert report.layers[0].stored_bits.seed == 32 * report.layers[0].shape[0]


def test_json_has_the_same_content() -> None:
    report = inspect(make_ticket(), file_bytes=123)
    content = json.loads(report.to_json())
    assert content["totals"]["stored_bits"]["mask"] == report.totals.stored_bits.mask
    assert content["layers"][0]["name"] == "convs.0"
    assert (content["file_bytes"], content["provenance"], content["accuracy"]) == (123, "searched", 0.91)


def test_what_is_assumed_is_said() -> None:
    ticket = make_ticket()
    assert inspect(ticket).assumed == ()
    bare = tuple(replace(layer, input_density=None) for layer in ticket.layers)
    said = inspect(replace(ticket, layers=bare, provenance="synthetic", accuracy=None, regenerable=False)).assumed
    assert [text.split()[1] for text in said] == ["masks", "accuracy", "of", "weights"]
