"""Runs ZigZag in its own environment: a request (JSON) on stdin, cycles per layer on stdout.

The workload is passed as ZigZag's own layer records; chip and mapping as files in its format.
"""

import json
import logging
import os
import sys
import time
from pathlib import Path

from zigzag.api import get_hardware_performance_zigzag


def main() -> None:
    request = json.load(sys.stdin)
    # JSON is YAML
    Path("chip.yaml").write_text(json.dumps(request["chip"]))
    Path("mapping.yaml").write_text(json.dumps(request["mapping"]))
    Path("out").mkdir()
    logging.disable(logging.INFO)
    begin, begin_cpu = time.perf_counter(), sum(os.times()[:4])
    _, _, evaluations = get_hardware_performance_zigzag(
        workload=request["workload"],
        accelerator="chip.yaml",
        mapping="mapping.yaml",
        opt="latency",
        dump_folder="out",
        pickle_filename="out/evaluations.pickle",
        loma_show_progress_bar=False,
    )
    times = {"wall_s": time.perf_counter() - begin, "cpu_s": sum(os.times()[:4]) - begin_cpu}
    layers = {
        layer.layer.name: {"latency": float(layer.latency_total2), "compute": float(layer.ideal_temporal_cycle)}
        for layer, _ in evaluations[0][1]
    }
    print("\n" + json.dumps({"layers": layers, "times": times}))


main()
