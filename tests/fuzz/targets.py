"""What is attacked: for each kind of input some good files, how to damage them, and the commands that read them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from accelsim.cli.main import main

ROOT = Path(__file__).resolve().parents[2]
EDGE = str(ROOT / "hwconfigs/edge.yaml")
MEMORY = str(ROOT / "hwconfigs/dram/dramsim3_DDR4_8Gb_x8_2400.yaml")
SLT = ("--sparsity", "0.7", "--prune-ratio", "0.5", "--lock-ratio", "0.2")
NONE = ("--compare", "none", "--json")
CONVS = (
    "Layer name, IFMAP Height, IFMAP Width, Filter Height, Filter Width, Channels, Num Filter, Strides,\n"
    "stem, 18, 18, 3, 3, 3, 16, 2,\nbodyDP, 10, 10, 3, 3, 16, 1, 1,\nlast, 8, 8, 1, 1, 16, 32, 1,\n"
)
PRODUCTS = "Layer, M, N, K,\nqkv, 16, 48, 32,\nout, 16, 32, 48,\n"
MAPPINGS = (
    "default: {K: 16, order: [K, P, C]}\nlayers:\n  stem: {K: 16, C: 3, P: 4, Q: 8, order: [K, C, P, Q], keep: tile}\n",
    "layers:\n  bodyDP: {G: 4, P: 8}\n  last: {N: 1, R: 1, S: 1, C: 8}\n",
)
TABLE = """rows:
  - name: gate_energy
    unit_of_chip: gate
    action: switch
    value: 0.0003
    unit: pj
    node_nm: 45
    voltage_v: 0.9
    low: 0.0001
    high: 0.001
    source: assumption
"""
SPACES = (
    """hardware: {edge}
workloads: [{net}]
storage: [slt, dense-int8]
vary:
  dram.data_rate_mtps: {{from: 400, to: 3200, num: 2, scale: log}}
  pe_array.rows, pe_array.cols: [8, 16]
  sparsity: [0.7]
  freeze_ratio: [0, 0.7]
constraints: [area_mm2 <= 2]
objectives: [latency_s, energy_j]
""",
    """hardware: [{edge}]
workloads:
  - {net}
vary:
  weight_buffer.capacity_bytes: [16384, 65536]
  dram.standard: [LPDDR4-3200, DDR4-3200]
""",
)


@dataclass(frozen=True)
class Target:
    """A kind of input: good files by name, how to damage one, and the commands to call with the damaged file's path."""

    name: str
    seeds: tuple[Path, ...]
    suffix: str
    damage: Callable[[Random, Path], bytes]
    commands: Callable[[Path, Path], list[list[str]]]


def make_targets(folder: Path, hostile: Any) -> dict[str, Target]:
    """Write the good files into ``folder`` and return the targets by name."""
    seeds = _Seeds(folder)
    text, raw = hostile.damaged_lines, hostile.damaged_bytes

    def trace_damage(draw: Random, path: Path) -> bytes:
        if draw.random() < 0.3:
            return raw(draw, path.read_bytes())
        return text(draw, path.read_text(), r"[^ \n]+").encode("utf-8", "surrogatepass")

    def json_damage(draw: Random, path: Path) -> bytes:
        return hostile.json_bytes(draw, json.loads(path.read_text()))

    net = str(seeds.write("net.csv", CONVS))
    targets = [
        Target(
            "hardware",
            seeds.chips(),
            ".yaml",
            lambda draw, path: hostile.yaml_bytes(draw, path.read_text()),
            lambda path, out: [
                ["run", str(path), net, *SLT, *NONE, "--out", str(out / "r")],
                ["run", str(path), net, "--storage", "csr-int8", *NONE],
                ["map", str(path), net, "--json"],
                ["config", "check", str(path)],
                ["config", "show", str(path)],
                ["run", str(path), net, *SLT, "--uncertainty", "--timeline", str(out / "t.json")],
            ],
        ),
        Target(
            "memory",
            seeds.memories(),
            ".yaml",
            lambda draw, path: hostile.yaml_bytes(draw, path.read_text()),
            lambda path, out: [
                [
                    "dram",
                    str(path),
                    "--trace",
                    str(seeds.write("good.trace", "0x0 R\n0x40 W\n0x1000 R\n" * 20)),
                    "--json",
                ],
            ],
        ),
        Target(
            "trace",
            (seeds.write("a.trace", "0x0 R\n40 W\n0xFFFFFFFFFFFF R\n\n" * 3),),
            ".trace",
            trace_damage,
            lambda path, out: [
                ["dram", MEMORY, "--trace", str(path), "--json"],
                ["dram", MEMORY, "--trace", str(path)],
            ],
        ),
        Target(
            "space",
            seeds.spaces(net),
            ".yaml",
            lambda draw, path: hostile.yaml_bytes(draw, path.read_text()),
            lambda path, out: [
                ["sweep", str(path), "--out", str(out / "s"), "--workers", "1", "--json", "-q"],
                ["sweep", str(path), "--out", str(out / "s"), "--workers", "1", "--closed-form", "-q"],
                [
                    "explore",
                    str(path),
                    "--out",
                    str(out / "s"),
                    "--workers",
                    "1",
                    "--trials",
                    "4",
                    "--sample",
                    "1",
                    "-q",
                ],
            ],
        ),
        Target(
            "topology",
            (seeds.write("c.csv", CONVS), seeds.write("m.csv", PRODUCTS)),
            ".csv",
            lambda draw, path: hostile.csv_bytes(draw, path.read_text()),
            lambda path, out: [
                ["run", EDGE, str(path), *NONE, "--out", str(out / "r")],
                ["run", EDGE, str(path), *SLT, *NONE],
                ["trace", str(path), "--json"],
                ["map", EDGE, str(path)],
            ],
        ),
        Target(
            "mapping",
            tuple(seeds.write(f"map{n}.yaml", each) for n, each in enumerate(MAPPINGS)),
            ".yaml",
            lambda draw, path: hostile.yaml_bytes(draw, path.read_text()),
            lambda path, out: [
                ["run", EDGE, net, *SLT, *NONE, "--mapping", str(path)],
                ["map", EDGE, net, "--json", "--mapping", str(path)],
            ],
        ),
        Target(
            "ticket",
            seeds.tickets(),
            ".pt",
            lambda draw, path: hostile.ticket_bytes(draw, path.read_bytes(), str(path)),
            lambda path, out: [
                ["run", EDGE, str(path), *NONE, "--out", str(out / "r")],
                ["inspect", str(path), "--json"],
                ["inspect", str(path)],
                ["trace", str(path), "--json"],
                ["verify", EDGE, str(path), "--json"],
                ["import", str(path), "--out", str(out / "t.pt")],
            ],
        ),
        Target(
            "checkpoint",
            seeds.checkpoints(),
            ".pt",
            lambda draw, path: hostile.checkpoint_bytes(draw, seeds.state(path)),
            lambda path, out: [
                ["import", str(path), "--out", str(out / "t.pt")],
                ["import", str(path), "--sparsity", "0.5", "--codec", "entropy", "--out", str(out / "t.pt")],
                ["import", str(path), "--network", "conv2", "--out", str(out / "t.pt")],
                ["run", EDGE, str(path), *NONE],
            ],
        ),
        Target(
            "module",
            seeds.modules(),
            ".onnx",
            module_damage(hostile),
            lambda path, out: [
                ["trace", str(path), "--json"],
                ["run", EDGE, str(path), *NONE],
                ["trace", str(path), "--skip-unsupported", "--json"],
            ],
        ),
        Target(
            "counters",
            (seeds.run(net) / "counters.json",),
            ".json",
            json_damage,
            lambda path, out: [
                ["cost", str(path), "--json"],
                ["cost", str(path), "--node", "7", "--out", str(out / "c")],
            ],
        ),
        Target(
            "summary",
            (seeds.run(net) / "summary.json",),
            ".json",
            json_damage,
            lambda path, out: [
                ["report", str(path), "--out", str(out / "r.html"), "-q"],
                ["report", str(path), "--out", str(out / "r.md"), "-q"],
            ],
        ),
        Target(
            "table",
            (seeds.write("table.yaml", TABLE),),
            ".yaml",
            lambda draw, path: hostile.yaml_bytes(draw, path.read_text()),
            lambda path, out: [
                ["cost", str(seeds.run(net)), "--table", str(path), "--json"],
            ],
        ),
    ]
    return {target.name: target for target in targets}


def module_damage(hostile: Any) -> Callable[[Random, Path], bytes]:
    """Return the damage done to an ONNX file: its bytes, or false sizes, names and attributes in a right file."""

    def damage(draw: Random, path: Path) -> bytes:
        import onnx

        if draw.random() < 0.3:
            return hostile.damaged_bytes(draw, path.read_bytes())
        model = onnx.load(path)
        for _ in range(draw.choice((1, 1, 2, 4))):
            if model.graph.node:
                (_damage_sizes if draw.random() < 0.5 else _damage_nodes)(draw, model.graph)
        return bytes(model.SerializeToString())

    return damage


def _damage_sizes(draw: Random, graph: Any) -> None:
    size = draw.choice((0, -1, 1, 2, 1 << 31, 1 << 40, (1 << 63) - 1))
    tensor, node = draw.choice(graph.initializer), draw.choice(graph.node)
    match draw.randrange(3):
        case 0 if tensor.dims:
            tensor.dims[draw.randrange(len(tensor.dims))] = size
        case 1 if node.attribute:
            attribute = draw.choice(node.attribute)
            attribute.i = size
            if attribute.ints:
                attribute.ints[0] = size
        case _:
            draw.choice(graph.input[0].type.tensor_type.shape.dim).dim_value = size


def _damage_nodes(draw: Random, graph: Any) -> None:
    names = [name for each in graph.node for name in (*each.input, *each.output)] + ["", "nothing"]
    node = draw.choice(graph.node)
    match draw.randrange(4):
        case 0 if node.input:
            node.input[draw.randrange(len(node.input))] = draw.choice(names)
        case 1:
            node.output[0] = draw.choice(names)
        case 2:
            node.op_type = draw.choice(("Conv", "MatMul", "Reshape", "Add", "Flatten", "Loop", "x\n"))
        case _:
            del graph.node[draw.randrange(len(graph.node))]


class _Seeds:
    """Good files in one folder, each written when first asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._states: dict[Path, dict[Any, Any]] = {}

    def write(self, name: str, content: str | bytes) -> Path:
        path = self.folder / name
        if not path.exists():
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def chips(self) -> tuple[Path, ...]:
        return tuple(sorted((ROOT / "hwconfigs").glob("*.yaml")))

    def memories(self) -> tuple[Path, ...]:
        return tuple(sorted((ROOT / "hwconfigs/dram").glob("*.yaml")))

    def spaces(self, net: str) -> tuple[Path, ...]:
        return tuple(self.write(f"space{n}.yaml", each.format(edge=EDGE, net=net)) for n, each in enumerate(SPACES))

    def tickets(self) -> tuple[Path, ...]:
        paths = []
        for name, network, codec in (
            ("raw", "conv2", "raw"),
            ("entropy", "resnet18", "entropy"),
            ("rle", "mobilenet_v2", "rle"),
        ):
            path = self.folder / f"{name}.pt"
            words = ["synth", network, *SLT, "--width-factor", "0.03125", "--codec", codec, "-q", "--out", str(path)]
            assert main(words) == 0
            paths.append(path)
        return (*paths, ROOT / "workloads/gin_slt_f90.pt")

    def state(self, path: Path) -> dict[Any, Any]:
        return self._states[path]

    def checkpoints(self) -> tuple[Path, ...]:
        import torch

        generator = torch.Generator().manual_seed(3)
        states: dict[str, dict[Any, Any]] = {"dense": {}, "frozen": {}, "popup": {}}
        shapes = {
            "convs.0": (4, 3, 3, 3),
            "convs.2": (4, 4, 3, 3),
            "linears.0": (8, 1024),
            "linears.2": (8, 8),
            "linears.4": (10, 8),
        }
        for name, shape in shapes.items():
            weight = torch.sign(torch.rand(shape, generator=generator) - 0.5) * 0.125
            score = torch.rand(shape, generator=generator)
            draw = torch.rand(shape, generator=generator)
            frozen = torch.where(draw < 0.5, -1.0, torch.where(draw < 0.7, 1.0, 0.0))
            states["dense"][f"{name}.weight"] = weight * score
            states["popup"] |= {f"{name}.weight": weight, f"{name}.scores": score}
            states["frozen"] |= {
                f"{name}.weight": weight,
                f"{name}.score": score,
                f"{name}.mask": (((score > 0.66) & (frozen == 0)) | (frozen == 1)).float(),
                f"{name}.ternary_frozen_mask": frozen,
                f"{name}.local_sparsity": torch.tensor([0.7]),
                f"{name}.global_sparsity": torch.tensor([0.7]),
                f"{name}.scale": torch.tensor([2.0]),
                f"{name}.kthvalue": torch.tensor([0.66]),
            }
        for name, state in states.items():
            path = self.folder / f"{name}.ckpt.pt"
            torch.save(state, path)
            self._states[path] = state
        return tuple(self._states)

    def modules(self) -> tuple[Path, ...]:
        from onnx import TensorProto, helper, numpy_helper

        def weight(name: str, *shape: int) -> Any:
            return numpy_helper.from_array(np.zeros(shape, dtype=np.float32), name)

        node = helper.make_node
        nodes = [
            node("Conv", ["x", "w"], ["a"], kernel_shape=[3, 3], pads=[1, 1, 1, 1], strides=[2, 2]),
            node("Relu", ["a"], ["r"]),
            node("Conv", ["r", "d"], ["c"], auto_pad="SAME_UPPER", group=8),
            node("Add", ["c", "r"], ["s"]),
            node("Concat", ["s", "r"], ["t"], axis=1),
            node("MaxPool", ["t"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
            node("GlobalAveragePool", ["p"], ["g"]),
            node("Flatten", ["g"], ["f"]),
            node("Gemm", ["f", "l", "b"], ["y"], transB=1),
        ]
        constants = [weight("w", 8, 3, 3, 3), weight("d", 8, 1, 3, 3), weight("l", 10, 16), weight("b", 10)]
        info = helper.make_tensor_value_info
        graph = helper.make_graph(
            nodes,
            "net",
            [info("x", TensorProto.FLOAT, ["batch", 3, 16, 16])],
            [info("y", TensorProto.FLOAT, ["batch", 10])],
            constants,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
        return (self.write("net.onnx", model.SerializeToString()),)

    def run(self, net: str) -> Path:
        folder = self.folder / "run"
        if not folder.exists():
            assert main(["-q", "run", EDGE, net, *SLT, "--compare", "dense-int8", "--out", str(folder), "--json"]) == 0
        return folder
