"""Mappings stated in YAML: what is read, what is refused, and that the schedule follows them."""

from __future__ import annotations

import pytest

from accelsim.config.loader import load_hardware
from accelsim.errors import ConfigError, MappingError
from accelsim.mapping.fixed import load_fixed
from accelsim.mapping.loops import Tiling
from accelsim.pipeline import schedule_network
from accelsim.trace.model import LayerTrace, LoopDims
from accelsim.validation.runs import layer, network

DIMS = LoopDims(K=32, C=16, P=8, Q=8, R=3, S=3, H=10, W=10)


@pytest.fixture
def trace() -> LayerTrace:
    return network("net", [layer("first", DIMS), layer("second", LoopDims(K=8, C=4), "linear", inputs=("first",))])


@pytest.fixture
def stated(tmp_path, trace):
    def load(text: str):
        path = tmp_path / "mapping.yaml"
        path.write_text(text, encoding="utf-8")
        return load_fixed(path, trace)

    return load


def test_sizes_and_order_of_a_named_layer(stated):
    tilings = stated("layers:\n  first: {K: 16, R: 1, P: 4, order: [R, K], keep: tile}\n")

    assert tilings == {
        "first": Tiling(1, 1, 16, 16, 4, 8, ("R", "K", "N", "G", "C", "P", "Q", "S"), R=1, S=3, keep="tile")
    }


def test_the_default_is_cut_to_each_layer(stated):
    tilings = stated("default: {K: 16, C: 8, P: 4}\n")

    assert [(tilings[name].K, tilings[name].C, tilings[name].P) for name in ("first", "second")] == [
        (16, 8, 4),
        (8, 4, 1),
    ]


def test_a_kind_stands_between_the_name_and_the_default(stated):
    tilings = stated("default: {P: 1}\nlayers: {linear: {K: 16, C: 2}, first: {P: 2}, matmul: {K: 1}}\n")

    assert (tilings["first"].P, tilings["second"].K, tilings["second"].C) == (2, 8, 2)
    assert stated("layers: {linear: {C: 2}}\n").keys() == {"second"}


@pytest.mark.parametrize(
    ("text", "kind", "expected"),
    [
        (
            "layers: {third: {K: 8}}",
            MappingError,
            "layers.third: net has no array layer of that name; give one of first",
        ),
        (
            "layers: {first: {K: 64}}",
            MappingError,
            "layers.first: K: 64 is more than the 32 of the layer; give 1 to 32",
        ),
        ("default: {K: 0}", ConfigError, "default.K: 0 is not >= 1"),
        ("default: {order: [K, K]}", ConfigError, "order names a loop twice"),
        ("default: {order: [X]}", ConfigError, "default.order"),
        ("defaults: {K: 4}", ConfigError, "unknown key; did you mean 'default'?"),
    ],
)
def test_mistakes_end_in_one_line(stated, text, kind, expected):
    with pytest.raises(kind, match=r"^[^\n]*$") as caught:
        stated(text)
    assert expected in str(caught.value)


def schedule(tiling: Tiling):
    hardware = load_hardware("hwconfigs/gemmini_dense.yaml", ["mapping.keep_activations_on_chip=false"])
    trace = network("net", [layer("first", DIMS)])
    return schedule_network(hardware.config, trace, "dense-int8", {"first": tiling})[0].layers[0]


def test_keeping_one_tile_loads_operands_in_every_step():
    kept = schedule(Tiling(1, 1, 16, 16, 4, 8, ("K", "P")))
    again = schedule(Tiling(1, 1, 16, 16, 4, 8, ("K", "P"), keep="tile"))

    weights, inputs, halo = 32 * 16 * 9, 16 * 10 * 10, 16 * 2 * 10  # two row tiles share two input rows
    assert (kept.dram_bytes["weight"], again.dram_bytes["weight"]) == (weights, 2 * weights)
    assert kept.dram_bytes["activation_in"] == inputs
    assert again.dram_bytes["activation_in"] == 2 * (inputs + halo)
    assert kept.dram_bytes["activation_out"] == again.dram_bytes["activation_out"] == 32 * 64


@pytest.mark.parametrize("order", [("R", "S", "K"), ("K", "R", "S")])
def test_split_filter_rows_read_each_weight_once_and_add_up(order):
    split = schedule(Tiling(1, 1, 16, 16, 8, 8, order, R=1, S=1, keep="tile"))

    assert split.num_steps == 18
    assert split.dram_bytes["weight"] == 32 * 16 * 9
    assert split.dram_bytes["activation_in"] == 18 * 16 * 64  # a tap's window is as large as the output
    spills = 0 if order[0] == "K" else 8 * 2 * 2  # 9 visits of an output tile: 8 times written and read back
    assert split.dram_bytes["partial_sum"] == spills * 16 * 64 * 4
    assert split.dram_bytes["activation_out"] == 32 * 64


def test_split_filter_rows_are_refused_for_generated_weights():
    from accelsim.trace import TraceOptions, trace_network

    hardware = load_hardware("hwconfigs/gemmini.yaml")
    trace = trace_network("conv2", TraceOptions(sparsity=0.5))
    dims = trace.layers[0].dims
    tiling = Tiling(1, 1, dims.K, dims.C, dims.P, dims.Q, ("R",), R=1)

    with pytest.raises(
        MappingError, match="are split only with dense weights and without zero skipping; leave R=3 and S=3 whole"
    ):
        schedule_network(hardware.config, trace, "slt", {trace.layers[0].name: tiling})


def test_a_tile_that_does_not_fit_names_the_buffer():
    with pytest.raises(
        MappingError, match=r"does not fit: 2359296 B of weights in weight_buffer \(131072 B\); use smaller"
    ):
        hardware = load_hardware("hwconfigs/gemmini_dense.yaml")
        trace = network("net", [layer("big", LoopDims(K=512, C=512, P=4, Q=4, R=3, S=3, H=6, W=6))])
        whole = Tiling(1, 1, 512, 512, 4, 4, ("K",))
        schedule_network(hardware.config, trace, "dense-int8", {"big": whole})


def test_what_is_stated_for_many_layers_is_made_to_fit_and_what_is_stated_for_one_is_refused(tmp_path):
    chip = load_hardware("edge_dense").config
    trace = network("net", [layer("wide", LoopDims(K=64, C=3, P=112, Q=112, R=3, S=3, H=114, W=114))])
    path = tmp_path / "mapping.yaml"
    path.write_text("default: {K: 32, P: 7}\n")
    _, mapped = schedule_network(chip, trace, "dense-int8", load_fixed(path, trace))
    tiling = mapped[0].schedule.tiling
    assert (tiling.K, tiling.P, tiling.Q, tiling.is_general) == (32, 7, 28, False)
    path.write_text("layers: {wide: {K: 32, P: 7}}\n")
    with pytest.raises(MappingError, match="wide: tiling .* does not fit: 100352 B of partial sums"):
        schedule_network(chip, trace, "dense-int8", load_fixed(path, trace))
