"""Good files of every kind, from which broken ones are made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from accelsim.cli.main import main

ROOT = Path(__file__).resolve().parents[2]
EDGE = str(ROOT / "hwconfigs/edge.yaml")
SLT = ("--sparsity", "0.7", "--prune-ratio", "0.5", "--lock-ratio", "0.2")
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


class Seeds:
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
