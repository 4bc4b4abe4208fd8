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
VERSION_1 = ROOT / "tests/unit/results/version_1"
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
TRACES = (
    "0x0 R\n40 W\n0xFFFFFFFFFFFF R\n\n" * 3,
    "# ours\n0 R 0x0 4096\n12.5 W 40 64\n9000 R 0xFFFFFFFFFFFF 1\nend 9100.5\n",
    "0x12345680 READ 0\n0x4cbd56c0 WRITE 10\n" * 3,
    "LD 0x229f6f80\nST 4096\n" * 3,
    "R 0,0,1,2,77,5\nW 0,0,1,2,77,6\n" * 3,
    "0:\tWrite\t0x7ffde0689818\n1:\t(128) Read\t0x7ffde0689810\n" * 3,
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
STORED = "hardware: {edge}\nworkloads: [conv2]\nstorage: [dense-int8]\nvary:\n  pe_array.rows: [8, 16]\n"
SEARCH = "search gin_ogbn_arxiv --dataset blocks --width-factor 0.0625 --num-epochs 1 -q".split()
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
    share: float = 1.0
    """How many inputs it gets, of those that a kind gets; fewer where a call is slow."""
    is_written: bool = False
    """Whether the program may write the file under attack, and beside it."""
    verify: Callable[[Path], None] = lambda out: None
    """Raises if what a successful call left in the output folder is wrong."""


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
            tuple(seeds.write(f"{number}.trace", each) for number, each in enumerate(TRACES)),
            ".trace",
            trace_damage,
            lambda path, out: [
                ["dram", MEMORY, "--trace", str(path), "--json"],
                ["dram", MEMORY, "--trace", str(path), "--player-mhz", "100", "--commands", str(out / "c")],
                ["dram", MEMORY, "--requests", str(path)],
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
                ["import", str(path), "--network", "conv2", "--part", "model", "--out", str(out / "t.pt")],
                ["import", str(path), "--score-key", "weight_mask", "--nm", "2:4", "--out", str(out / "t.pt")],
                ["run", EDGE, str(path), *NONE],
            ],
        ),
        Target(
            "safetensors",
            (seeds.tensors(),),
            ".safetensors",
            lambda draw, path: hostile.damaged_bytes(draw, path.read_bytes()),
            lambda path, out: [["import", str(path), "--out", str(out / "t.pt")]],
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
            (seeds.run(net) / "counters.json", VERSION_1 / "counters.json"),
            ".json",
            json_damage,
            lambda path, out: [
                ["cost", str(path), "--json"],
                ["cost", str(path), "--node", "7", "--out", str(out / "c")],
            ],
        ),
        Target(
            "summary",
            (seeds.run(net) / "summary.json", VERSION_1 / "summary.json"),
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
        Target(
            "exported",
            (seeds.exported(),),
            ".pt2",
            lambda draw, path: hostile.exported_bytes(draw, path.read_bytes()),
            lambda path, out: [
                ["trace", str(path), "--json"],
                ["run", EDGE, str(path), *NONE],
                ["trace", str(path), "--skip-unsupported", "--json"],
            ],
        ),
        store_target(seeds, hostile),
        Target(
            "search",
            (seeds.search(),),
            ".ckpt",
            hostile.search_bytes,
            lambda path, out: [[*SEARCH, "--out", str(out / "t.pt"), "--checkpoint-path", str(path), "--resume"]],
            share=0.1,
            is_written=True,
        ),
    ]
    return {target.name: target for target in targets}


# Options that name what is written, or start other processes.
OUTPUTS = frozenset(
    "--out --store --timeline --gantt --checkpoint-path --workers --scheduler --slurm --dram-trace --commands".split()
)


def good_calls(folder: Path) -> list[list[str]]:
    """Return command lines that work, for options to be put behind."""
    seeds = _Seeds(folder)
    net = str(seeds.write("net.csv", CONVS))
    space = str(seeds.write("space.yaml", STORED.format(edge=EDGE)))
    ticket, run = str(ROOT / "workloads/gin_slt_f90.pt"), str(seeds.run(net))
    return [
        ["run", EDGE, net, *SLT],
        ["run", EDGE, ticket],
        ["map", EDGE, net],
        ["compare", EDGE, net, "--out", "out/compare"],
        ["cost", run],
        ["report", run, "--out", "out/report.md"],
        ["dram", MEMORY, "--trace", str(seeds.write("good.trace", "0x0 R\n0x40 W\n0x1000 R\n" * 20))],
        ["synth", "conv2", *SLT, "--width-factor", "0.0625", "--out", "out/t.pt"],
        ["trace", net],
        ["inspect", ticket],
        ["verify", EDGE, ticket],
        ["sweep", space, "--workers", "1", "--out", "out/sweep"],
        ["explore", space, "--workers", "1", "--trials", "2", "--out", "out/explore"],
    ]


def store_target(seeds: _Seeds, hostile: Any) -> Target:
    """Return the target of a sweep's store: rows that a sweep takes from it are the rows that it would compute."""
    space = seeds.write("stored.yaml", STORED.format(edge=EDGE))

    def words(store: Path, out: Path) -> list[str]:
        return ["sweep", str(space), "--out", str(out), "--store", str(store), "--workers", "1", "-q"]

    good = seeds.folder / "good.sqlite"
    if not good.exists():
        assert main(words(good, seeds.folder / "stored")) == 0
    table = (seeds.folder / "stored/results.csv").read_bytes()

    def verify(out: Path) -> None:
        assert (out / "s/results.csv").read_bytes() == table

    def damage(draw: Random, path: Path) -> bytes:
        return bytes(hostile.store_bytes(draw, path.read_bytes()))

    return Target(
        "store", (good,), ".sqlite", damage, lambda path, out: [words(path, out / "s")], is_written=True, verify=verify
    )


def module_damage(hostile: Any) -> Callable[[Random, Path], bytes]:
    """Return the damage done to an ONNX file: its bytes, or false sizes, names and attributes in a right file."""

    def damage(draw: Random, path: Path) -> bytes:
        import onnx

        if draw.random() < 0.3:
            return hostile.damaged_bytes(draw, path.read_bytes())
        model = onnx.load(path)
        for _ in range(draw.choice((1, 1, 2, 4))):
            if model.graph.node:
                draw.choice((_damage_sizes, _damage_sizes, _damage_nodes, _damage_nodes, _damage_data))(
                    draw, model.graph
                )
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


def _damage_data(draw: Random, graph: Any) -> None:
    """Let a tensor's values lie in another file, be cut off, or be missing."""
    from onnx import TensorProto

    tensor = draw.choice(graph.initializer)
    match draw.randrange(3):
        case 0:
            tensor.data_location = TensorProto.EXTERNAL
            for key, value in (
                ("location", draw.choice(("/etc/passwd", "../../etc/passwd", "/dev/zero", "nothing", "", "."))),
                ("offset", draw.choice(("0", "-1", str(1 << 62), "x"))),
                ("length", draw.choice(("8", "-1", str(1 << 62), "x"))),
            ):
                entry = tensor.external_data.add()
                entry.key, entry.value = key, value
            tensor.ClearField("raw_data")
        case 1:
            tensor.raw_data = tensor.raw_data[: draw.choice((0, 1, 7))]
        case _:
            tensor.data_type = draw.choice((0, 1, 7, 8, 16, 99))


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
        states: dict[str, dict[Any, Any]] = {"dense": {}, "frozen": {}, "popup": {}, "masked": {}}
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
            states["masked"] |= {
                f"model.{name}.weight_orig": weight * score,
                f"model.{name}.weight_mask": (score > 0.5).float(),
                f"model.{name}.sparseThreshold": torch.full((1, 1), -4.0),
                f"masks.{name}": (score > 0.5).bool(),
            }
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

    def tensors(self) -> Path:
        from safetensors.torch import save_file

        path = self.folder / "masked.safetensors"
        save_file(next(state for key, state in self._states.items() if key.name.startswith("masked")), path)
        return path

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
            node("ReduceMean", ["p", "axes"], ["g"], keepdims=1),
            node("Reshape", ["g", "to"], ["f"]),
            node("Gemm", ["f", "l", "b"], ["y"], transB=1),
        ]
        constants = [weight("w", 8, 3, 3, 3), weight("d", 8, 1, 3, 3), weight("l", 10, 16), weight("b", 10)]
        constants += [
            numpy_helper.from_array(np.array(each), name) for name, each in (("axes", [2, 3]), ("to", [1, 16]))
        ]
        info = helper.make_tensor_value_info
        graph = helper.make_graph(
            nodes,
            "net",
            [info("x", TensorProto.FLOAT, ["batch", 3, 16, 16])],
            [info("y", TensorProto.FLOAT, ["batch", 10])],
            constants,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
        return (self.write("net.onnx", model.SerializeToString()),)

    def exported(self) -> Path:
        import torch

        path = self.folder / "net.pt2"
        if not path.exists():
            layers = (torch.nn.Conv2d(3, 4, 3, stride=2), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1))
            net = torch.nn.Sequential(*layers, torch.nn.Flatten(), torch.nn.Linear(4, 5)).eval()
            torch.export.save(torch.export.export(net, (torch.zeros(1, 3, 9, 9),)), path)
        return path

    def search(self) -> Path:
        path = self.folder / "good.ckpt"
        if not path.exists():
            assert main([*SEARCH, "--out", str(self.folder / "searched.pt"), "--checkpoint-path", str(path)]) == 0
        return path

    def run(self, net: str) -> Path:
        folder = self.folder / "run"
        if not folder.exists():
            assert main(["-q", "run", EDGE, net, *SLT, "--compare", "dense-int8", "--out", str(folder), "--json"]) == 0
        return folder
