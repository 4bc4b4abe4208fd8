import io

import pytest

from accelsim.report.inspection import print_inspection
from accelsim.report.terminal import UNLIMITED_WIDTH, make_console
from accelsim.ticket.inspect import inspect
from accelsim.ticket.synth import synthesize
from accelsim.ticket.zoo import build_network


@pytest.fixture(scope="module")
def inspection():
    graph = build_network("conv2", width_factor=0.125)
    return inspect(synthesize(graph, sparsity=0.7, prune_ratio=0.5, lock_ratio=0.2), file_bytes=10**6)


@pytest.mark.parametrize("width", [40, 60, 80, 120, 200])
def test_inspection_fits_the_terminal_and_shows_each_layer(inspection, monkeypatch, width):
    monkeypatch.setenv("COLUMNS", str(width))
    stream = io.StringIO()
    print_inspection(make_console(stream), inspection)
    shown = stream.getvalue()

    assert max(map(len, shown.splitlines())) <= width
    for layer in inspection.layers:
        assert layer.name in shown
        assert f"{layer.stored_bits.mask:,}" in shown
    assert "…" not in shown
    assert f"{inspection.totals.stored_bits_total:,} bits" in " ".join(shown.split())
    assert ("Too narrow for" in " ".join(shown.split())) == (width < 120)


def test_a_pipe_gets_every_column(inspection, monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    stream = io.StringIO()
    print_inspection(make_console(stream, UNLIMITED_WIDTH), inspection)
    shown = stream.getvalue()

    titles = "layer shape weights sparsity pruned locked free codec mask bits seed scale input"
    assert any(" ".join(line.split()) == titles for line in shown.splitlines())
    assert "and the same ticket without freezing" in shown


def test_an_unfrozen_ticket_is_not_compared_with_itself():
    stream = io.StringIO()
    ticket = synthesize(build_network("conv2", width_factor=0.125), sparsity=0.7, codec="entropy")
    print_inspection(make_console(stream, UNLIMITED_WIDTH), inspect(ticket))

    assert "x smaller; nothing is frozen\n" in stream.getvalue()
    assert "without freezing" not in stream.getvalue()
