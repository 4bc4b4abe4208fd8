"""No buffer moves more bits than its ports can in the time that a layer takes."""

from __future__ import annotations

from pathlib import Path

import pytest

from accelsim import pipeline
from accelsim.config.loader import load_hardware
from accelsim.config.ports import starved
from accelsim.trace import TraceOptions, trace_workload

pytestmark = pytest.mark.usefixtures("first_choice_in_module")
ROOT = Path(__file__).resolve().parents[3]
BUFFERS = ("activation_buffer", "weight_buffer", "mask_buffer", "accumulator")
NARROW = [
    "activation_buffer.num_banks=2",  # where partial sums lie in it too, they have banks of their own
    "weight_buffer.num_banks=1",
    "mask_buffer.num_banks=1",
    "accumulator.num_banks=1",
]


@pytest.mark.parametrize("overrides", [[], NARROW], ids=["as built", "few banks"])
@pytest.mark.parametrize("chip", ["edge", "hiddenite", "cloud_hbm", "eyeriss"])
def test_bits_fit_through_the_ports(chip: str, overrides: list[str]) -> None:
    hardware = load_hardware(str(ROOT / "hwconfigs" / f"{chip}.yaml"), overrides)
    trace = trace_workload("conv2", TraceOptions(sparsity=0.7, prune_ratio=0.5, lock_ratio=0.2, seed=1))
    for storage in ("slt", "dense-int8", "csr-int8"):
        moved, cycles = dict.fromkeys(BUFFERS, 0), 0
        for layer in pipeline.simulate(hardware, trace, storage).layers:
            cycles += layer.latency_cycles
            for name in BUFFERS:
                buffer = getattr(hardware.config, name)
                moved[name] += sum(layer.actions.get(name, {}).values())
                ports = buffer.port_bits_per_cycle
                # A layer's first weights are fetched and decoded before it begins, but not before the run.
                assert moved[name] <= ports * cycles, (storage, layer.name, name)


def test_a_narrow_mask_buffer_slows_the_decoder() -> None:
    trace = trace_workload("conv2", TraceOptions(sparsity=0.7, prune_ratio=0.5, lock_ratio=0.2, seed=1))
    path = str(ROOT / "hwconfigs" / "edge.yaml")
    waits = []
    for width_bits in (8, 64):
        overrides = [f"mask_buffer.width_bits={width_bits}", "mask_buffer.num_banks=1"]
        counters = pipeline.simulate(load_hardware(path, overrides), trace, "csr-int8")
        waits.append(sum(layer.cycles_by_cause["wait_decoder"] for layer in counters.layers))
    assert waits[0] > 4 * waits[1]


@pytest.mark.parametrize(
    ("chip", "buffer"),
    [
        (chip, buffer)
        for chip in ("edge", "hiddenite")
        for buffer in ("activation_buffer", "weight_buffer", "accumulator")
    ],
)
def test_a_chip_whose_ports_starve_its_array_is_told(chip: str, buffer: str) -> None:
    path = str(ROOT / "hwconfigs" / f"{chip}.yaml")
    assert not [*starved(load_hardware(path, []).config)]
    (line,) = starved(load_hardware(path, [f"{buffer}.width_bits=8", f"{buffer}.num_banks=1"]).config)
    assert line.startswith(f"{buffer}: its ports move ")
