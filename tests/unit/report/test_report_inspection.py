import io

import pytest

from accelsim.report.inspection import print_inspection
from accelsim.report.terminal import make_console
from accelsim.ticket.inspect import inspect
from accelsim.ticket.synth import synthesize
from accelsim.ticket.zoo import build_network


@pytest.fixture(scope="module")
def inspection():
    graph = build_network("conv2", width_factor=0.125)
    return inspect(synthesize(graph, sparsity=0.7, prune_ratio=0.5, lock_ratio=0.2), file_bytes=10**6)


@pytest.mark.parametrize("width", [60, 100, 120, 200])
def test_inspection_fits_the_terminal_and_shows_each_layer(inspection, monkeypatch, width):
    monkeypatch.setenv("COLUMNS", str(width))
    stream = io.StringIO()
    print_inspection(make_console(stream), inspection)
    shown = stream.getvalue()

    assert max(map(len, shown.splitlines())) <= width
    for layer in inspection.layers:
        assert layer.name in shown
        assert f"{layer.stored_bits.mask:,}" in shown
    assert f"{inspection.totals.stored_bits_total:,} bits" in shown
