"""What is attacked: for each kind of input some good files, how to damage them, and the commands that read them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import hostile
import hostile_archives
from seeds import EDGE, ROOT, SEARCH, SLT, Seeds

from accelsim.cli.main import main

VERSION_1 = ROOT / "tests/unit/results/version_1"
MEMORY = str(ROOT / "hwconfigs/dram/dramsim3_DDR4_8Gb_x8_2400.yaml")
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
MODEL = {
    "model_type": "llama", "vocab_size": 64, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "intermediate_size": 48, "max_position_embeddings": 32, "head_dim": 8,
    "tie_word_embeddings": True, "hidden_act": "silu",
}  # fmt: skip
MODELS: dict[str, dict[str, Any]] = {
    "llama": {"attention_bias": True, "layer_types": ["full_attention"] * 2},
    "qwen2": {"model_type": "qwen2", "use_sliding_window": True, "sliding_window": 4, "max_window_layers": 0},
    "mixtral": {"model_type": "mixtral", "num_local_experts": 4, "num_experts_per_tok": 2, "sliding_window": None},
    "gpt2": {"model_type": "gpt2", "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 32, "n_inner": None},
}
STORED = "hardware: {edge}\nworkloads: [conv2]\nstorage: [dense-int8]\nvary:\n  pe_array.rows: [8, 16]\n"


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


def make_targets(folder: Path) -> dict[str, Target]:
    """Write the good files into ``folder`` and return the targets by name."""
    seeds = Seeds(folder)
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
            lambda draw, path: hostile_archives.ticket_bytes(draw, path.read_bytes(), str(path)),
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
            lambda draw, path: hostile_archives.checkpoint_bytes(draw, seeds.state(path)),
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
            module_damage(),
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
            "config",
            tuple(seeds.write(f"{name}.json", json.dumps(MODEL | more)) for name, more in MODELS.items()),
            ".json",
            json_damage,
            lambda path, out: [
                ["trace", str(path), "--json", "--phase", "decode", "--context", "3"],
                ["trace", str(path), "--json", "--prompt", "4", "--batch", "2"],
                ["run", EDGE, str(path), *NONE, "--phase", "decode", "--context", "3"],
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
            lambda draw, path: hostile_archives.exported_bytes(draw, path.read_bytes()),
            lambda path, out: [
                ["trace", str(path), "--json"],
                ["run", EDGE, str(path), *NONE],
                ["trace", str(path), "--skip-unsupported", "--json"],
            ],
        ),
        store_target(seeds),
        Target(
            "search",
            (seeds.search(),),
            ".ckpt",
            hostile_archives.search_bytes,
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
    seeds = Seeds(folder)
    net = str(seeds.write("net.csv", CONVS))
    space = str(seeds.write("space.yaml", STORED.format(edge=EDGE)))
    ticket, run = str(ROOT / "workloads/gin_slt_f90.pt"), str(seeds.run(net))
    return [
        ["run", EDGE, net, *SLT],
        ["run", EDGE, ticket, "--compare", "none"],
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


def store_target(seeds: Seeds) -> Target:
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
        return bytes(hostile_archives.store_bytes(draw, path.read_bytes()))

    return Target(
        "store", (good,), ".sqlite", damage, lambda path, out: [words(path, out / "s")], is_written=True, verify=verify
    )


def module_damage() -> Callable[[Random, Path], bytes]:
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
