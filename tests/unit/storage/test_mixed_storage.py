"""Storage layer by layer: which layer gets which format, and that the chip has what all of them need."""

from dataclasses import replace

import pytest

from accelsim.config.loader import load_hardware
from accelsim.cost.evaluate import evaluate
from accelsim.cost.tables import load_tables
from accelsim.dse.closed_form import estimate
from accelsim.errors import ConfigError, MappingError
from accelsim.pipeline import layer_plans, run, simulate
from accelsim.storage import get_format
from accelsim.storage.mixed import format_of_layer, mixed_name, split_name
from accelsim.storage.stated import with_layers
from accelsim.trace import TraceOptions, trace_network
from accelsim.trace.model import LoopDims
from accelsim.validation.runs import layer, network

OPTIONS = TraceOptions(sparsity=0.7, prune_ratio=0.5, lock_ratio=0.2, width_factor=0.0625)


@pytest.fixture(scope="module")
def trace():
    return trace_network("conv2", OPTIONS)


def test_names_say_everything_and_are_read_back():
    by_key = {"a+b=c, d": "dense-int8", "linear": "csr-int8", "matmul": "slt"}
    name = mixed_name("slt", by_key)
    assert name == "slt+a%2Bb%3Dc%2C%20d=dense-int8+linear=csr-int8"
    assert split_name(name) == ("slt", {"a+b=c, d": "dense-int8", "linear": "csr-int8"})
    assert get_format(name).name == name
    assert get_format("slt+fc=slt").name == "slt"
    assert format_of_layer(name, "a+b=c, d", "linear") == "dense-int8"
    assert format_of_layer(name, "fc", "linear") == "csr-int8"
    assert format_of_layer(name, "conv", "conv2d") == "slt"


def test_a_name_goes_before_a_kind(trace):
    names = [item.name for item in trace.layers if item.kind == "linear"]
    plans = layer_plans(trace, f"slt+linear=dense-int8+{names[0]}=csr-int8")
    assert [plans[name].format for name in names] == ["csr-int8", *["dense-int8"] * (len(names) - 1)]
    assert {plan.format for name, plan in plans.items() if name not in names} == {"slt"}
    plans = layer_plans(trace, with_layers("slt", ["linear=dense-int8", f"{names[0]}=slt"]))
    assert [plans[name].format for name in names] == ["slt", *["dense-int8"] * (len(names) - 1)]


def test_layers_of_a_network_format_are_planned_without_the_others():
    one = trace_network("conv2", OPTIONS).layers[0].weights
    dims = LoopDims(K=one.shape[0], C=one.shape[1], R=3, S=3, P=8, Q=8, H=10, W=10)
    blocks = network("net", [replace(layer(f"stage.{n}.conv", dims), weights=replace(one)) for n in range(1, 4)])
    stored = {name: plan.stored_bits.mask for name, plan in layer_plans(blocks, "folded+stage.1.conv=slt").items()}
    assert stored["stage.1.conv"] == stored["stage.2.conv"] > 0 == stored["stage.3.conv"]


def test_what_is_wrong_is_said(trace):
    for stated, match in (
        (["dense-int8"], "is not LAYER=FORMAT"),
        (["=slt"], "is not LAYER=FORMAT"),
        (["fc=nope"], "--storage-of: 'nope' is unknown"),
        (["fc=slt", "fc=dense-int8"], "'fc' is given twice"),
    ):
        with pytest.raises(ConfigError, match=match):
            with_layers("slt", stated)
    assert with_layers("slt+fc=csr-int8", ["fc=dense-int8"]) == "slt+fc=dense-int8"
    for name in ("slt+", "slt+fc", "slt+=slt"):
        with pytest.raises(ConfigError, match="a part is not LAYER=FORMAT"):
            get_format(name)
    with pytest.raises(MappingError, match="no layer with weights is called 'linea'; did you mean 'linear'"):
        layer_plans(trace, "slt+linea=dense-int8")
    with pytest.raises(MappingError, match="is of the kind 'embedding'; give a .*: conv2d, linear"):
        layer_plans(trace, "slt+embedding=dense-int8")


def test_the_chip_has_the_front_end_of_every_decoder(trace):
    chip = load_hardware("edge")
    area = {
        name: evaluate(simulate(chip, trace, name), chip.config, load_tables()).area_mm2_by_unit["mask_decoder"]
        for name in ("slt", "csr-int8", "slt+linear=csr-int8")
    }
    assert area["slt+linear=csr-int8"] > max(area["slt"], area["csr-int8"])
    mixed = run(chip, trace, "slt+linear=csr-int8").totals
    assert estimate(chip.config, trace, "slt+linear=csr-int8")["area_mm2"] == pytest.approx(mixed.area_mm2)
    alone = [run(chip, trace, name).totals.stored_bits for name in ("slt", "csr-int8")]
    assert (mixed.stored_bits.mask < alone[0].mask, mixed.stored_bits.index < alone[1].index) == (True, True)
