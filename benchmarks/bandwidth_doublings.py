"""Whether twice the memory bandwidth ever makes a network, or a layer in it, slower.

The mapper chooses anew at each bandwidth, layer by layer, so that nothing rules it out. Each chip runs each network, as
dense int8, at 1/4, 1/2, 1, 2 and 4 times its data rate. Per chip: doublings, how many networks took longer, layers
compared, how many of them took longer, and by how much at most. The figures of `docs/model.md` are from a run without
arguments, which takes three minutes of CPU.

Usage: python benchmarks/bandwidth_doublings.py [--presets edge ...] [--networks resnet18 ...]
"""

from __future__ import annotations

import argparse
from itertools import pairwise
from pathlib import Path

from accelsim.config.loader import load_hardware
from accelsim.pipeline import schedule_network
from accelsim.sim.run import run_schedule
from accelsim.trace import trace_network

HWCONFIGS = Path(__file__).resolve().parents[1] / "hwconfigs"
PRESETS = ("cloud_hbm", "edge", "eyeriss", "gemmini", "hiddenite", "tpu_v1")
NETWORKS = ("resnet18", "mobilenet_v2", "vit_tiny")
RATES = (0.25, 0.5, 1.0, 2.0, 4.0)


def layer_cycles(preset: str, network: str, rate: float) -> list[int]:
    """Return the latency of each layer, in cycles, at ``rate`` times the chip's data rate."""
    path = str(HWCONFIGS / f"{preset}.yaml")
    stated = load_hardware(path).config.dram.data_rate_mtps
    hardware = load_hardware(path, (f"dram.data_rate_mtps={stated * rate:g}",)).config
    schedule, _ = schedule_network(hardware, trace_network(network), "dense-int8")
    return [layer.latency_cycles for layer in run_schedule(schedule, hardware, engine="solver").layers]


def main() -> None:
    """Print one line for each chip, and one for all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--presets", nargs="+", default=PRESETS, metavar="NAME")
    parser.add_argument("--networks", nargs="+", default=NETWORKS, metavar="NAME")
    given = parser.parse_args()
    every: list[tuple[float, list[float]]] = []
    for preset in given.presets:
        found = []
        for network in given.networks:
            runs = [layer_cycles(preset, network, rate) for rate in RATES]
            for slow, fast in pairwise(runs):
                ratios = [after / before for before, after in zip(slow, fast, strict=True) if before]
                found.append((sum(fast) / sum(slow), ratios))
        every += found
        print(_line(preset, found), flush=True)
    print(_line("all", every))


def _line(name: str, doublings: list[tuple[float, list[float]]]) -> str:
    networks, layers = [ratio for ratio, _ in doublings], [ratio for _, own in doublings for ratio in own]
    return f"{name:12} {len(networks)} doublings, {_longer(networks)}; {len(layers)} layers, {_longer(layers)}"


def _longer(ratios: list[float]) -> str:
    return f"{sum(ratio > 1 for ratio in ratios)} took longer, by {max(0.0, max(ratios) - 1):.2%} at most"


if __name__ == "__main__":
    main()
