"""A batch: work is that of its inputs, weights come once a group, and no batch is slower than its inputs one by one."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

import accelsim
from accelsim import pipeline
from accelsim.config.loader import load_hardware
from accelsim.errors import AccelSimError
from accelsim.flow import check_first_group
from accelsim.groups import Group, groups_of_size
from accelsim.pipeline import batch_groups
from accelsim.report.batch import groups_words
from accelsim.report.pictures import Pictures
from accelsim.results.compare import weight_bytes
from accelsim.results.model import ResultError, RunResult
from accelsim.trace import TraceOptions, trace_network, trace_workload
from accelsim.trace.batch import in_copies, with_batch
from accelsim.trace.model import LayerTrace
from accelsim.trace.topology import read_topology

pytestmark = pytest.mark.usefixtures("first_choice_in_module")
TICKET = TraceOptions(sparsity=0.5, prune_ratio=0.35, lock_ratio=0.35)


def run(chip: str, trace: LayerTrace, storage: str, batch: int = 1) -> RunResult:
    """Run without what each resource costs: only the totals are of interest."""
    return pipeline.run(load_hardware(chip), with_batch(trace, batch) if batch > 1 else trace, storage)


@pytest.mark.parametrize(("chip", "storage"), [("edge", "slt"), ("hiddenite", "slt"), ("tpu_v1", "dense-int8")])
def test_a_batch_is_never_slower_and_its_weights_come_more_rarely(chip: str, storage: str) -> None:
    trace = trace_network("conv2", replace(TICKET, width_factor=0.25))
    one, two, eight = (run(chip, trace, storage, batch).totals for batch in (1, 2, 8))
    for batch, totals in ((2, two), (8, eight)):
        assert totals.macs == batch * one.macs
        assert totals.effective_macs == batch * one.effective_macs
        assert totals.stored_bits == one.stored_bits
        assert totals.latency_cycles <= 1.001 * batch * one.latency_cycles
        assert totals.energy_j_per_input == pytest.approx(totals.energy_j / batch)
        assert totals.frames_per_s == pytest.approx(batch / totals.latency_s)
    assert weight_bytes(one) * 8 >= weight_bytes(two) * 4 >= weight_bytes(eight)


def test_the_advantage_of_a_perceptrons_ticket_falls_with_the_batch(tmp_path) -> None:
    table = tmp_path / "mlp.csv"
    table.write_text("Layer, M, N, K\nfc1, 1, 1024, 784\nfc2, 1, 1024, 1024\nfc3, 1, 10, 1024\n")
    advantage = []
    for batch in (1, 64):
        energy = [
            run("edge", trace_workload(str(table), TICKET), name, batch).totals.energy_j
            for name in ("dense-int8", "slt")
        ]
        advantage.append(energy[0] / energy[1])
    assert advantage == [pytest.approx(6.6, abs=1), pytest.approx(2.4, abs=1)]


def test_groups_that_do_not_divide_a_batch_and_stretches_of_layers_add_up() -> None:
    trace = with_batch(trace_network("conv6", TICKET), 8)
    groups = batch_groups(load_hardware("hiddenite", []).config, trace, "slt")
    sizes = [(len(group.trace.layers), group.trace.num_inputs, group.times) for group in groups]
    assert sizes == [(9, 3, 2), (9, 2, 1), (3, 8, 1)]  # the linear layers, whose weights are most, once for all
    assert groups_words(groups) == ", in 2 groups of 3 inputs and one of 2 up to pools.2, then at once"
    assert groups[0].trace.layers[-1].is_output
    parts = [(run("hiddenite", group.trace, "slt"), group.times) for group in groups]
    whole = run("hiddenite", trace, "slt")
    for name in ("latency_cycles", "macs", "dram_read_bytes", "dram_write_bytes"):
        assert getattr(whole.totals, name) == sum(getattr(part.totals, name) * times for part, times in parts)
    energy_j = sum(part.totals.energy_j * times for part, times in parts)
    assert whole.totals.energy_j == pytest.approx(energy_j, rel=1e-5)  # the memory's gap from a group to the next
    assert whole.workload.batch == 8
    assert next(layer for layer in whole.layers if layer.kind == "pool").shape[0] == 8


def test_each_layer_has_the_group_that_suits_it() -> None:
    trace = with_batch(trace_network("conv6", TICKET), 64)
    chip = load_hardware("edge", ["mapping.objective=dram_bytes"])
    whole, alike = pipeline.simulate(chip, trace, "slt"), Counter[str]()
    for size in (1, 2, 64):
        for group in groups_of_size(trace, size):
            for layer in pipeline.simulate(chip, group.trace, "slt").layers:
                alike[f"{size}"] += group.times * (layer.dram_read_bytes + layer.dram_write_bytes)
    assert sum(layer.dram_read_bytes + layer.dram_write_bytes for layer in whole.layers) < 0.6 * min(alike.values())
    assert [layer.macs for layer in whole.layers] == [layer.dims.macs * layer.uses_array for layer in trace.layers]


def test_a_stretch_is_stored_as_in_the_whole_network() -> None:
    storage = "slt+linears.0=dense-int8"
    chip, trace = load_hardware("edge"), with_batch(trace_network("conv6", TICKET), 64)
    first = batch_groups(chip.config, trace, storage)[0].trace
    assert "linears.0" not in [layer.name for layer in first.layers]
    with pytest.raises(ResultError, match="linears.0: a chart shows the first group of the batch"):
        check_first_group(chip, trace, storage, Pictures(None, "chart.svg", "linears.0"), None)
    assert run("edge", first, storage).totals.macs
    assert pipeline.run(chip, trace, storage).totals.stored_bits.weight == 8 * 4096 * 256


def test_several_cores_show_a_batch_as_one_group() -> None:
    trace = with_batch(trace_network("conv2", TICKET), 8)
    assert batch_groups(load_hardware("edge_quad").config, trace, "slt") == (Group(trace, 1),)


def test_products_of_activations_share_nothing_between_inputs() -> None:
    trace = trace_network("vit_tiny")
    layer = next(layer for layer in trace.layers if layer.kind == "matmul")
    more = next(each for each in with_batch(trace, 4).layers if each.name == layer.name)
    assert (more.dims.G, more.dims.N) == (4 * layer.dims.G, layer.dims.N)
    assert more.second_input_elements == 4 * layer.second_input_elements


def test_a_batch_multiplies_the_column_of_a_table(tmp_path) -> None:
    table = tmp_path / "gemm.csv"
    table.write_text("Layer, M, N, K, Batch\na, 4, 8, 16, 2\n")
    trace = read_topology(table, TraceOptions(batch=3))
    assert (trace.num_inputs, trace.layers[0].dims.N, trace.layers[0].dims.macs) == (6, 6, 6 * 4 * 8 * 16)
    assert in_copies(trace, 1) == read_topology(table)


def test_a_ticket_takes_a_batch_and_nothing_else() -> None:
    assert trace_workload("conv6_slt_f70", TraceOptions(batch=2)).num_inputs == 2
    with pytest.raises(AccelSimError, match="a ticket has its own"):
        trace_workload("conv6_slt_f70", TraceOptions(batch=2, sparsity=0.5))


@pytest.mark.parametrize("batch", [0, -1, 1 << 17, 2.5])
def test_what_is_no_batch_is_refused(batch) -> None:
    with pytest.raises(AccelSimError, match=r"^batch: .* is not a whole number from 1 to 65536; give how many"):
        accelsim.run("edge", "conv2", batch=batch)
