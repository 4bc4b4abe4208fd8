"""What ``accelsim.run`` returns, as a notebook shows it."""

from collections.abc import Iterator

import matplotlib
import pytest
import torch

import accelsim
from accelsim.errors import ConfigError, TraceError
from accelsim.notebook import Run
from accelsim.report.roofline import generation_roofs

pytestmark = pytest.mark.usefixtures("first_choice_in_module")


@pytest.fixture(scope="module", autouse=True)
def _without_windows() -> Iterator[None]:
    before = matplotlib.get_backend()
    matplotlib.use("Agg")
    yield
    matplotlib.pyplot.close("all")
    matplotlib.use(before)


@pytest.fixture(scope="module")
def ticket() -> Run:
    return accelsim.run("edge", "conv6_slt_f90", compare="dense-int8", uncertainty=True)


def test_a_result_is_one_short_line_and_a_small_table(ticket: Run) -> None:
    assert repr(ticket).startswith("<conv6 on edge as slt: ")
    assert len(repr(ticket)) < 80
    assert str(ticket) == repr(ticket)
    table = ticket._repr_html_()
    assert table.count("<tr>") == 3
    assert "width:120px" in table  # the longest bar
    named = ticket.model_copy(update={"workload": ticket.workload.model_copy(update={"name": "<b>"})})
    assert "<b>" not in named._repr_html_()


def test_frames_hold_what_the_result_holds(ticket: Run) -> None:
    energy, traffic, layers = (ticket.to_frame(what) for what in ("energy", "traffic", "layers"))
    assert list(energy.index) == list(layers.index) == [layer.name for layer in ticket.layers]
    assert energy.to_numpy().sum() == pytest.approx(ticket.totals.energy_j)
    assert traffic["mask"].sum() == ticket.totals.dram_bytes.mask
    causes = [f"{cause}_cycles" for cause in ticket.totals.cycles_by_cause.model_dump()]
    assert layers[causes].to_numpy().sum() == layers["latency_cycles"].sum() == ticket.totals.latency_cycles
    formats = ticket.to_frame("formats")
    assert list(formats.index) == ["slt", "dense-int8"]
    assert formats.loc["dense-int8", "energy_j"] == ticket.rivals["dense-int8"].totals.energy_j
    with pytest.raises(ConfigError, match="to_frame: 'power' is not allowed; give one of layers, energy"):
        ticket.to_frame("power")  # type: ignore[arg-type]


def test_figures_draw_what_the_result_holds_into_given_axes(ticket: Run) -> None:
    _, axes = matplotlib.pyplot.subplots()
    assert ticket.plot.energy(axes) is axes
    lengths = [patch.get_x() + patch.get_width() for patch in axes.patches]  # in microjoules
    assert max(lengths) == pytest.approx(1e6 * ticket.rivals["dense-int8"].totals.energy_j)
    assert ticket.uncertainty is not None
    whiskers = [line.get_xdata()[0] for line in axes.lines if len(line.get_xdata()) == 2]
    assert whiskers == pytest.approx([1e6 * each.energy_j.p05 for each in ticket.uncertainty.formats])
    assert len(ticket.plot.cycles(layers=True).get_yticks()) == len(ticket.layers)
    panels = ticket.plot.freeze(accelsim.run("edge", "conv6_slt_f00"))
    assert [len(line.get_xdata()) for line in panels[0].lines] == [2, 1]


def test_roofline_has_three_ceilings_and_no_layer_beats_the_one_of_its_generator(ticket: Run) -> None:
    key = [text.get_text() for text in ticket.plot.roofline().get_legend().get_texts()]
    assert key == ["ticket", "dense int8", "roof of generator and decoder", "roof of memory and array"]
    counters = ticket._ticket.main.counters
    assert counters is not None
    roofs = generation_roofs(counters.counters, counters.hardware.config)
    assert roofs
    assert all(layer.macs / layer.latency_s <= 1.000001 * roofs.get(layer.name, 1e99) for layer in ticket.layers)


def test_comparison_and_equality_are_those_of_plain_results(ticket: Run) -> None:
    again = accelsim.run("edge", "conv6_slt_f90", compare=["dense-int8", "slt"])
    assert again == ticket
    assert again.uncertainty is None
    assert accelsim.run("edge", "conv6_slt_f90").comparison is None
    with pytest.raises(ConfigError, match="compare: 'dense-int9' is unknown"):
        accelsim.run("edge", "conv6_slt_f90", compare="dense-int9")


def test_a_module_without_an_example_input_is_told_so() -> None:
    module = torch.nn.Linear(4, 4)
    with pytest.raises(TraceError, match="Linear: no example input, .* give one batch for input"):
        accelsim.trace_module(module)
    with pytest.raises(TraceError, match=r"Linear: a module without an example input has no shapes; give accelsim\."):
        accelsim.run("edge", module)  # type: ignore[arg-type]
