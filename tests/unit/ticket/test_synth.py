import numpy as np
import pytest

from accelsim.errors import TicketError
from accelsim.prng import RandomSource
from accelsim.ticket.file import check_ticket
from accelsim.ticket.inspect import inspect
from accelsim.ticket.pack import unpack_mask
from accelsim.ticket.synth import synthesize
from accelsim.ticket.zoo import build_network
from accelsim.trace import TraceOptions, trace_network

STATED = {"sparsity": 0.7, "prune_ratio": 0.5, "lock_ratio": 0.2}


def test_stated_statistics_are_met() -> None:
    ticket = synthesize(build_network("resnet18", width_factor=0.25), **STATED)
    check_ticket(ticket)
    totals = inspect(ticket).totals
    assert totals.sparsity == pytest.approx(0.7, abs=2e-3)
    assert totals.prune_ratio == pytest.approx(0.5, abs=2e-3)
    assert totals.lock_ratio == pytest.approx(0.2, abs=2e-3)
    assert (ticket.provenance, ticket.accuracy, ticket.regenerable) == ("synthetic", None, True)


@pytest.mark.parametrize("distribution", ["erk", "epl"])
def test_distributions_change_layers_and_not_the_network(distribution: str) -> None:
    graph = build_network("conv6", width_factor=0.5)
    report = inspect(synthesize(graph, distribution=distribution, **STATED))
    assert report.totals.freeze_ratio == pytest.approx(0.7, abs=5e-3)
    assert report.totals.sparsity == pytest.approx(0.7, abs=5e-3)
    ratios = [layer.prune_ratio + layer.lock_ratio for layer in report.layers]
    assert max(ratios) - min(ratios) > 0.3


def test_masks_follow_the_seed_alone() -> None:
    graph = build_network("conv2", width_factor=0.125)
    first, same, other = (synthesize(graph, seed=seed, **STATED).layers[1] for seed in (4, 4, 5))
    assert (first.source, first.mask_payload) == (same.source, same.mask_payload)
    assert not np.array_equal(unpack_mask(first), unpack_mask(other))


def test_generator_and_streams_come_from_the_template() -> None:
    template = RandomSource(generator="philox4x32", stream="tile", seeds="stored", tile_filters=4, threshold_bits=8)
    source = synthesize(build_network("conv2", width_factor=0.125), template=template, **STATED).layers[0].source
    assert source is not None
    assert (source.generator, source.stream, source.seeds, source.prune_threshold) == (
        "philox4x32",
        "tile",
        "stored",
        128,
    )


def test_transposed_convolutions_have_scales_per_output_channel() -> None:
    check_ticket(synthesize(build_network("dcgan_generator", width_factor=0.125), sparsity=0.5))


def test_closed_form_and_drawn_ticket_agree() -> None:
    options = TraceOptions(sparsity=0.7, prune_ratio=0.5, lock_ratio=0.2, width_factor=0.25)
    stated = sum(layer.weights.num_kept for layer in trace_network("resnet18", options).layers if layer.weights)
    drawn = inspect(synthesize(build_network("resnet18", width_factor=0.25), **STATED)).totals.num_kept
    assert drawn == pytest.approx(stated, rel=5e-3)


@pytest.mark.parametrize(
    ("statistics", "match"),
    [
        ({"sparsity": 0.4, "prune_ratio": 0.5}, "sparsity: 0.4 is not from prune_ratio 0.5"),
        ({"sparsity": 0.9, "lock_ratio": 0.2}, r"to 0\.8 \(1 - lock_ratio\)"),
        ({"sparsity": 2.0, "prune_ratio": 2.0}, "^prune_ratio: 2.0 is not from 0 to 1"),
        ({"sparsity": float("nan")}, "sparsity: nan is not from 0 to 1"),
        ({"sparsity": 0.5, "seed": 1 << 32}, "seed: 4294967296"),
        ({"sparsity": 0.5, "template": RandomSource(generator="philox4x32", seeds="jump")}, "jump needs one of"),
    ],
)
def test_impossible_requests_are_refused(statistics: dict[str, object], match: str) -> None:
    with pytest.raises(TicketError, match=match):
        synthesize("conv2", **statistics)
