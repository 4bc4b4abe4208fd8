"""Every chip of the repository runs a tiny network: nothing about figures, only that each description is usable."""

from pathlib import Path

import pytest

from accelsim import pipeline, run
from accelsim.config.loader import load_hardware
from accelsim.results.schema import check_result
from accelsim.results.store import result_text
from accelsim.ticket.file import write_ticket
from accelsim.ticket.synth import synthesize
from accelsim.ticket.zoo import build_network
from accelsim.trace import trace_workload

pytestmark = pytest.mark.usefixtures("first_choice_in_module")
PRESETS = sorted((Path(__file__).resolve().parents[2] / "hwconfigs").glob("*.yaml"))
TOPOLOGY = """Layer name, IFMAP Height, IFMAP Width, Filter Height, Filter Width, Channels, Num Filter, Strides,
first, 10, 10, 3, 3, 3, 16, 1,
second, 8, 8, 1, 1, 16, 40, 2,
"""


@pytest.fixture(scope="session")
def tiny_ticket(tmp_path_factory):
    path = tmp_path_factory.mktemp("smoke") / "tiny.pt"
    graph = build_network("conv2", width_factor=0.0625, input_shape=(3, 8, 8))
    write_ticket(path, synthesize(graph, sparsity=0.7, prune_ratio=0.5, lock_ratio=0.2))
    return path


def sound(result):
    return check_result(result_text(result)).totals.latency_cycles > 0


@pytest.mark.parametrize("preset", PRESETS, ids=lambda path: path.stem)
def test_preset_runs_a_ticket_in_the_formats_it_has_units_for(preset, tiny_ticket):
    chip, trace = load_hardware(preset), trace_workload(str(tiny_ticket))
    for storage in ["slt", "dense-int8"] if chip.config.weight_generator is not None else ["dense-int8"]:
        assert sound(pipeline.run(chip, trace, storage))


@pytest.mark.parametrize("preset", PRESETS, ids=lambda path: path.stem)
def test_preset_runs_a_topology_table(preset, tmp_path):
    table = tmp_path / "tiny.csv"
    table.write_text(TOPOLOGY)
    assert sound(run(preset, table))


def test_there_are_presets_to_try():
    assert len(PRESETS) > 10
