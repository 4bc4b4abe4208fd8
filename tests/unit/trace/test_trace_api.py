"""What ``accelsim.trace_module`` gives, ``accelsim.run`` takes."""

from pathlib import Path

import pytest
import torch

import accelsim
from accelsim.errors import TraceError
from accelsim.trace import TraceOptions, with_statistics

HARDWARE = Path(__file__).resolve().parents[3] / "hwconfigs" / "edge.yaml"


def test_a_module_runs_without_a_file() -> None:
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3, padding=1), torch.nn.Flatten(), torch.nn.Linear(8 * 64, 10))
    trace = accelsim.trace_module(module, torch.zeros(1, 3, 8, 8), name="tiny")
    result = accelsim.run(HARDWARE, trace)
    assert (result.workload.name, result.storage) == ("tiny", "dense-int8")
    assert result.totals.macs == 8 * 3 * 9 * 64 + 8 * 64 * 10
    statistics = TraceOptions(sparsity=0.75, prune_ratio=0.5)
    ticket = accelsim.run(HARDWARE, trace, options=statistics)
    assert ticket.storage == "slt"
    assert ticket.totals.dram_bytes.mask < 0.6 * sum(layer.weights.num_weights for layer in trace.layers) / 8
    with pytest.raises(TraceError, match="options: input_shape: the trace has its own"):
        accelsim.run(HARDWARE, trace, options=TraceOptions(input_shape=(3, 4, 4)))
    with pytest.raises(TraceError, match="has statistics of its own"):
        accelsim.run(HARDWARE, with_statistics(trace, statistics), options=statistics)
