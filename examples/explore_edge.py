"""Which chip to build? One run, one sweep and one search with the Python API; takes about half a minute.

Run it from the repository's folder: ``python examples/explore_edge.py [FOLDER]``.
"""

import sys
from pathlib import Path

import accelsim

HARDWARE = "hwconfigs/edge.yaml"
TICKET = "workloads/conv6_slt_f70.pt"


def main(folder: Path) -> None:
    """Show what a ticket buys on the edge chip, how memory speed changes that, and the best small chips."""
    ticket = accelsim.run(HARDWARE, TICKET).totals
    dense = accelsim.run(HARDWARE, TICKET, storage="dense-int8").totals
    print(f"one run: ticket {ticket.energy_j * 1e6:.1f} uJ, dense int8 {dense.energy_j * 1e6:.1f} uJ")

    space = {
        "hardware": HARDWARE,
        "workloads": [TICKET],
        "storage": ["slt", "dense-int8"],
        "vary": {"dram.data_rate_mtps": [400, 1600, 3200]},
    }
    swept = accelsim.sweep(space, folder / "sweep", workers=1)
    columns = ["storage", "vary.dram.data_rate_mtps", "latency_s", "energy_j"]
    print("sweep over the memory's speed:")
    print(swept.table[columns].to_string(index=False))

    space["vary"] = {
        "pe_array.rows, pe_array.cols": [8, 16, 32, 64],
        "weight_buffer.capacity_bytes": {"from": 8192, "to": 131072, "num": 5, "scale": "log"},
        "activation_buffer.capacity_bytes": {"from": 65536, "to": 524288, "num": 4, "scale": "log"},
        "weight_generator.num_lanes": [8, 16, 32, 64],
        "dram.data_rate_mtps": {"from": 400, "to": 3200, "num": 4, "scale": "log"},
    }
    found = accelsim.explore(
        space,
        folder / "explore",
        objectives=["latency_s", "energy_j"],
        where=["area_mm2 <= 0.7"],
        trials=320,
        sample=8,
        workers=1,
    )
    print(f"search: {len(found.ranked)} designs ranked, {len(found.table)} simulated, of at most 0.7 mm2:")
    for row in found.summary.front:
        print(f"  {row['latency_s'] * 1e6:7.1f} us  {row['energy_j'] * 1e6:6.1f} uJ  {row['area_mm2']:.3f} mm2")
    correlation = found.confirmation.correlations["latency_s"]
    print(f"rank correlation of closed form and simulation, latency: {correlation:.3f}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "out/explore_edge"))
