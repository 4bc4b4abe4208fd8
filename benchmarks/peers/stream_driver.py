"""Runs Stream in its own environment: a request (JSON) on stdin, cycles per layer on stdout.

The chip is so many of the TPU-like cores that Stream ships, beside its memory; each layer is an ONNX file of its own.
"""

import json
import logging
import os
import shutil
import sys
import time
from pathlib import Path

import numpy as np
import onnx
import stream
from onnx import TensorProto, helper, numpy_helper
from stream.api import SolveOptions, evaluate_mapping

CORES = Path(stream.__file__).parent / "inputs" / "examples" / "hardware" / "cores"


def chip(num_cores: int) -> str:
    """Write so many TPU-like cores on one bus with the memory, and in a ring, as in its `tpu_like_quad_core.yaml`."""
    kinds = ["tpu_like"] * num_cores + ["pooling", "simd", "offchip"]
    links = [
        {"type": "link", "cores": [core, (core + 1) % num_cores], "bandwidth": 32}
        for core in range(num_cores if num_cores > 2 else 1)
    ]
    links += [
        {"type": "link", "cores": [core, num_cores + other], "bandwidth": 32}
        for other in range(2)
        for core in range(num_cores)
    ]
    document = {
        "name": f"tpu_like_{num_cores}",
        "cores": {place: f"./cores/{kind}.yaml" for place, kind in enumerate(kinds)},
        "core_coordinates": {place: [place, 0] for place in range(len(kinds))},
        "offchip_core_id": len(kinds) - 1,
        "unit_energy_cost": 0,
        "core_connectivity": [*links, {"type": "bus", "cores": list(range(len(kinds))), "bandwidth": 128}],
    }
    shutil.copytree(CORES, "cores", dirs_exist_ok=True)
    path = Path(f"chip_{num_cores}.yaml")
    path.write_text(json.dumps(document))  # JSON is YAML, but for numbers as keys
    text = path.read_text()
    for place in range(len(kinds)):
        text = text.replace(f'"{place}": ', f"{place}: ")
    path.write_text(text)
    return str(path)


def network(layer: dict) -> str:
    """Write one convolution as ONNX, in int8: Stream moves elements with the bits that they have in the file."""
    k, c, r, p, h, stride = (layer[name] for name in ("K", "C", "R", "P", "H", "stride"))
    weights = numpy_helper.from_array(np.zeros((k, c, r, r), np.int8), "w")
    pads = [r // 2] * 4
    node = helper.make_node(
        "Conv", ["x", "w"], ["y"], name="conv", kernel_shape=[r, r], strides=[stride] * 2, pads=pads
    )
    sizes = {"x": [1, c, h, h], "y": [1, k, p, p]}
    x, y = (helper.make_tensor_value_info(name, TensorProto.INT8, size) for name, size in sizes.items())
    graph = helper.make_graph([node], "one", [x], [y], [weights])
    path = f"{layer['name']}.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), path)
    return path


def main() -> None:
    request = json.load(sys.stdin)
    logging.disable(logging.WARNING)
    begin, begin_cpu = time.perf_counter(), sum(os.times()[:4])
    options = SolveOptions(time_limit_s=60, artifacts=False)
    layers: dict[str, dict[str, float]] = {}
    for number in request["cores"]:
        for layer in request["layers"]:
            folder = f"out_{number}_{layer['name']}"
            found = evaluate_mapping(chip(number), network(layer), folder, options=options)
            text = (Path(folder) / "group_0" / "core_cost_lut.yaml").read_text()
            tile = next(int(line.split(":")[1]) for line in text.splitlines() if "latency_cycles" in line)
            ideal = next(int(line.split(":")[1]) for line in text.splitlines() if " ideal_cycles" in line)
            layers[f"{layer['name']} on {number}"] = {"latency": found.cycles, "tile": tile, "ideal_tile": ideal}
    times = {"wall_s": time.perf_counter() - begin, "cpu_s": sum(os.times()[:4]) - begin_cpu}
    print("\n" + json.dumps({"layers": layers, "times": times}))


main()
