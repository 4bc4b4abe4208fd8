"""The decoder that a rival gets: wide enough that nothing waits for it, unless the chip's is fixed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from accelsim.config.loader import LoadedHardware, load_hardware
from accelsim.cost.evaluate import evaluate
from accelsim.cost.tables import load_tables
from accelsim.dse.closed_form import estimate
from accelsim.pipeline import run, simulate
from accelsim.sim.counters import DecoderWidth
from accelsim.trace import trace_workload
from accelsim.trace.model import LayerTrace

pytestmark = pytest.mark.usefixtures("first_choice_in_module")


@pytest.fixture(scope="module")
def chip() -> LoadedHardware:
    return load_hardware("edge")


@pytest.fixture(scope="module")
def network() -> LayerTrace:
    return trace_workload("conv6_slt_f70")


def test_a_rival_does_not_wait_for_its_decoder(chip: LoadedHardware, network: LayerTrace) -> None:
    fitted, stated = (run(chip, network, name).totals for name in ("entropy-int4", "entropy-int4@chip"))
    assert stated.cycles_by_cause.wait_decoder > 0.3 * stated.latency_cycles
    assert fitted.cycles_by_cause.wait_decoder < 0.01 * fitted.latency_cycles
    assert fitted.area_mm2_by_unit["mask_decoder"] > 2 * stated.area_mm2_by_unit["mask_decoder"]


def test_the_closed_form_fits_the_same_decoder(chip: LoadedHardware, network: LayerTrace) -> None:
    counters = simulate(chip, network, "entropy-int4")
    assert counters.decoder_width == DecoderWidth(positions_per_cycle=64, symbols_per_cycle=64)
    area_mm2 = sum(evaluate(counters, chip.config, load_tables()).area_mm2_by_unit.values())
    assert estimate(chip.config, network, "entropy-int4")["area_mm2"] == pytest.approx(area_mm2)


@pytest.mark.parametrize("storage", ["slt", "slt-golomb", "dense-int8", "csr-int8@chip"])
def test_others_have_the_decoder_of_the_chip(chip: LoadedHardware, network: LayerTrace, storage: str) -> None:
    assert simulate(chip, network, storage).decoder_width is None


def test_a_fixed_decoder_stays(network: LayerTrace) -> None:
    fixed = load_hardware("edge", ("mask_decoder.fits_rivals=false",))
    counters = simulate(fixed, network, "entropy-int4")
    assert counters == replace(simulate(fixed, network, "entropy-int4@chip"), storage="entropy-int4")


def test_codes_of_positions_widen_positions(network: LayerTrace) -> None:
    narrow = load_hardware("edge", ("mask_decoder.positions_per_cycle=4",))
    width = simulate(narrow, network, "bitmap-int8").decoder_width
    assert width is not None
    assert width.positions_per_cycle > 4
    assert width.symbols_per_cycle == narrow.config.mask_decoder.symbols_per_cycle  # type: ignore[union-attr]
