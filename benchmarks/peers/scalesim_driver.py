"""Runs SCALE-Sim v3 in its own environment: a request (JSON) on stdin, cycles per row of its report on stdout.

Interface bandwidth ``CALC`` is its ideal memory: it computes the bandwidth that would be needed, and never stalls.
"""

import csv
import json
import os
import sys
import time
from pathlib import Path

from scalesim.scale_sim import scalesim

CONFIG = """
[general]
run_name = run
[architecture_presets]
ArrayHeight = {rows}
ArrayWidth = {cols}
IfmapSramSzkB = 1024
FilterSramSzkB = 1024
OfmapSramSzkB = 1024
IfmapOffset = 0
FilterOffset = 10000000
OfmapOffset = 20000000
Dataflow = {dataflow}
Bandwidth = 10
ReadRequestBuffer = 512
WriteRequestBuffer = 512
[layout]
IfmapCustomLayout = False
IfmapSRAMBankBandwidth = 10
IfmapSRAMBankNum = 10
IfmapSRAMBankPort = 2
FilterCustomLayout = False
FilterSRAMBankBandwidth = 10
FilterSRAMBankNum = 10
FilterSRAMBankPort = 2
[sparsity]
SparsitySupport = false
SparseRep = ellpack_block
OptimizedMapping = false
BlockSize = 8
RandomNumberGeneratorSeed = 40
[run_presets]
InterfaceBandwidth = CALC
UseRamulatorTrace = False
"""


def main() -> None:
    request = json.load(sys.stdin)
    Path("chip.cfg").write_text(CONFIG.format(**request["chip"]))
    Path("topology.csv").write_text(request["topology"])
    begin, begin_cpu = time.perf_counter(), sum(os.times()[:4])
    simulator = scalesim(
        save_disk_space=True,
        verbose=False,
        config="chip.cfg",
        topology="topology.csv",
        layout="topology.csv",
        input_type_gemm=request["is_gemm"],
    )
    simulator.run_scale(top_path="out")
    times = {"wall_s": time.perf_counter() - begin, "cpu_s": sum(os.times()[:4]) - begin_cpu}
    with open("out/run/COMPUTE_REPORT.csv", newline="") as stream:
        rows = list(csv.reader(stream, skipinitialspace=True))
    columns = [name.strip() for name in rows[0]]
    cycles, stalls = columns.index("Total Cycles"), columns.index("Stall Cycles")
    answer = {
        "cycles": [int(float(row[cycles])) for row in rows[1:]],
        "stalls": [int(float(row[stalls])) for row in rows[1:]],
        "times": times,
    }
    print("\n" + json.dumps(answer))


main()
