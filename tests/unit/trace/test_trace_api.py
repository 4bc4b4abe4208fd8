"""What ``accelsim.trace_module`` gives, ``accelsim.run`` takes."""

from pathlib import Path

import pytest
import torch

import accelsim
from accelsim.errors import ConfigError
from accelsim.trace import TraceOptions

HARDWARE = Path(__file__).resolve().parents[3] / "hwconfigs" / "edge.yaml"


def test_a_module_runs_without_a_file() -> None:
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3, padding=1), torch.nn.Flatten(), torch.nn.Linear(8 * 64, 10))
    trace = accelsim.trace_module(module, torch.zeros(1, 3, 8, 8), name="tiny")
    result = accelsim.run(HARDWARE, trace)
    assert (result.workload.name, result.storage) == ("tiny", "dense-int8")
    assert result.totals.macs == 8 * 3 * 9 * 64 + 8 * 64 * 10
    with pytest.raises(ConfigError, match="a trace has its own statistics"):
        accelsim.run(HARDWARE, trace, options=TraceOptions())
