"""Host time of the memory timing model: a 16 MB read on each configuration, alone and through the chip's interface.

Run: python benchmarks/dram_speed.py [hwconfigs/dram/NAME.yaml ...]
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np

from accelsim.config.dram import DramConfig
from accelsim.config.loader import load_section
from accelsim.sim.dram.memory import build_memory
from accelsim.sim.dram.trace import run_trace

NUM_BYTES = 16 << 20
CONFIGS = Path(__file__).resolve().parents[1] / "hwconfigs" / "dram"


def main() -> None:
    paths = [Path(name) for name in sys.argv[1:]] or sorted(CONFIGS.glob("*.yaml"))
    print(f"{'configuration':58}{'bursts':>8}{'cycles':>10}{'trace ms':>10}{'ns/burst':>10}{'serve ms':>10}")
    for path in paths:
        config = load_section(path, "dram", DramConfig)
        addresses = np.arange(0, NUM_BYTES, config.burst_bytes, dtype=np.uint64)
        reads = np.zeros(len(addresses), dtype=bool)
        memory = build_memory(config, 500.0)
        run_trace(config, addresses[:64], reads[:64])  # compile
        memory.serve(0, 0, 64, False)
        begin = time.process_time()
        result = run_trace(config, addresses, reads)
        middle = time.process_time()
        memory.reset()
        memory.serve(0, 0, NUM_BYTES, False)
        end = time.process_time()
        trace_ms, serve_ms = (middle - begin) * 1e3, (end - middle) * 1e3
        per_burst = trace_ms * 1e6 / len(addresses)
        print(f"{path.stem:58}{len(addresses):8}{result.cycles:10}{trace_ms:10.0f}{per_burst:10.0f}{serve_ms:10.0f}")


if __name__ == "__main__":
    main()
