"""The lanes of a schedule produce the searched network, do what is counted, and a planted fault is found."""

from dataclasses import replace

import pytest

from accelsim.config.loader import load_hardware
from accelsim.errors import TicketError
from accelsim.prng import RandomSource
from accelsim.ticket.builder import GraphBuilder
from accelsim.ticket.synth import synthesize
from accelsim.validation.verify import total_of, verify_weights

BASE = """
name: tiny
clock_mhz: 100
node_nm: 22
pe_array: {{dataflow: {dataflow}, rows: 8, cols: 8{array}}}
activation_buffer: {{capacity_bytes: 512}}
weight_buffer: {{capacity_bytes: {weights}}}
mask_buffer: {{capacity_bytes: 64}}
accumulator: {{capacity_bytes: 256}}
weight_generator: {{kind: {kind}, num_lanes: {lanes}, jump_cycles: 4{generator}}}
mask_decoder: {{}}
"""


def chip(tmp_path, dataflow="weight_stationary", kind="xorshift32", lanes=8, weights=256, array="", generator=""):
    path = tmp_path / "tiny.yaml"
    text = BASE.format(dataflow=dataflow, kind=kind, lanes=lanes, weights=weights, array=array, generator=generator)
    path.write_text(text)
    return load_hardware(path)


def network():
    build = GraphBuilder("small", (3, 10, 10))
    x = build.activation("relu1", build.conv("conv1", "input", 12))
    x = build.activation("relu2", build.conv("conv2", x, 20, stride=2, groups=2))
    build.linear("fc", build.flatten("flat", x), 7)
    return build.build()


def ticket(**source):
    return synthesize(
        network(), sparsity=0.6, prune_ratio=0.3, lock_ratio=0.2, codec="rle", template=RandomSource(**source)
    )


CASES = [
    ({"dataflow": "weight_stationary"}, {}),
    ({"dataflow": "weight_stationary", "lanes": 3}, {"stream": "layer", "seeds": "jump"}),
    ({"dataflow": "output_stationary", "lanes": 4}, {"stream": "tile", "tile_filters": 3, "seeds": "stored"}),
    ({"dataflow": "output_stationary", "generator": ", weights: buffer", "weights": 4096}, {"stream": "layer"}),
    ({"dataflow": "input_stationary", "kind": "lfsr16"}, {"generator": "lfsr16", "seeds": "jump", "threshold_bits": 8}),
    ({"kind": "lfsr32"}, {"generator": "lfsr32", "weights": "normal", "weight_bits": 3, "normal_terms": 4}),
    ({"kind": "philox4x32", "dataflow": "output_stationary"}, {"generator": "philox4x32", "stream": "tile"}),
]


@pytest.mark.parametrize(("hardware", "source"), CASES)
def test_lanes_produce_the_network_and_do_what_is_counted(tmp_path, hardware, source):
    found = verify_weights(chip(tmp_path, **hardware), ticket(**source))

    assert found.problem is None
    assert len(found.layers) == 3
    assert total_of(found.layers).productions >= total_of(found.layers).num_weights


@pytest.mark.parametrize(
    ("overrides", "source"),
    [
        ((), {}),
        (("num_cores=3", "mapping.split=filters"), {}),
        (("num_cores=3", "mapping.split=filters"), {"stream": "layer", "seeds": "jump"}),
        (("num_cores=3", "mapping.split=filters"), {"stream": "tile", "tile_filters": 4, "seeds": "stored"}),
        (("num_cores=4", "mapping.split=positions"), {}),
    ],
)
def test_a_transposed_layers_streams_run_along_its_inputs(tmp_path, overrides, source):
    build = GraphBuilder("up", (6, 5, 5))
    wide = build.conv_transpose("up1", "input", 10, 4, stride=2, padding=1)
    build.conv_transpose("up2", wide, 5, 2, stride=2)
    upscaler = synthesize(build.build(), sparsity=0.5, prune_ratio=0.2, lock_ratio=0.1, template=RandomSource(**source))

    found = verify_weights(load_hardware(chip(tmp_path).path, overrides), upscaler)

    assert found.problem is None
    assert [layer.num_weights for layer in found.layers] == [6 * 10 * 16, 10 * 5 * 4]


def test_the_cases_include_discards_jumps_and_revisits(tmp_path):
    totals = [total_of(verify_weights(chip(tmp_path, **hw), ticket(**source)).layers) for hw, source in CASES[1:3]]

    assert totals[0].jumps > 0
    assert totals[0].productions > totals[0].num_weights
    assert totals[1].discarded_words > 0


def spoil(layer_name, change):
    return lambda name, image: change(image) if name == layer_name else image


def wrong_seed(image):
    seeds = image.seeds.copy()
    seeds[0, 5] ^= 1
    return replace(image, seeds=seeds)


def wrong_bit(image):
    bits = image.bits.copy()
    bits[40] ^= 1
    return replace(image, bits=bits)


def swapped_streams(image):
    seeds = image.seeds.copy()
    seeds[:, [8, 9]] = seeds[:, [9, 8]]
    return replace(image, seeds=seeds)


@pytest.mark.parametrize(
    ("layer", "change", "place"),
    [("conv2", wrong_seed, "weight [5, "), ("conv1", wrong_bit, "weight ["), ("conv2", swapped_streams, "weight [8, ")],
)
def test_a_fault_is_named_by_layer_tile_and_index(tmp_path, layer, change, place):
    found = verify_weights(chip(tmp_path), ticket(), edit_image=spoil(layer, change))

    assert found.problem is not None
    assert found.problem.startswith(f"layer '{layer}': tile visit ")
    assert place in found.problem


def test_the_first_of_two_wrong_bits_is_the_one_that_is_named(tmp_path):
    def two(image):
        bits = image.bits.copy()
        bits[[3, 30]] ^= 1
        return replace(image, bits=bits)

    def first(image):
        bits = image.bits.copy()
        bits[3] ^= 1
        return replace(image, bits=bits)

    both, one = (
        verify_weights(chip(tmp_path), ticket(), edit_image=spoil("conv1", change)).problem for change in (two, first)
    )

    assert both == one is not None


def test_another_ticket_is_not_the_reference(tmp_path):
    other = synthesize(network(), sparsity=0.6, seed=2)
    mine = synthesize(network(), sparsity=0.6, seed=3)

    found = verify_weights(chip(tmp_path), mine, reference=other)

    assert found.problem is not None
    assert found.problem.startswith("layer 'conv1': tile visit 0 ")


def test_a_ticket_that_no_generator_can_rebuild_is_refused(tmp_path):
    with pytest.raises(TicketError, match="cannot be regenerated"):
        verify_weights(chip(tmp_path), replace(ticket(), regenerable=False))


@pytest.mark.parametrize(
    "how", ["mapping.split=filters", "mapping.split=positions", "mapping.schedule=pipeline", "share=[weight_generator]"]
)
@pytest.mark.parametrize(("hardware", "source"), CASES[:4])
def test_every_core_produces_its_part(tmp_path, hardware, source, how):
    path = chip(tmp_path, **hardware).path
    several = load_hardware(path, ("num_cores=3", how))
    stored = ticket(**source)
    found = verify_weights(several, stored, stored)
    assert found.problem is None
    assert len(found.layers) == len(stored.layers)
