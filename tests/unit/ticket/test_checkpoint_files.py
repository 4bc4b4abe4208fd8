"""Kinds of files that hold a checkpoint: which are read, and what the refusal of the others advises."""

import argparse
import json
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch.nn.utils import parametrizations
from torch.optim.swa_utils import AveragedModel

from accelsim.cli.main import main
from accelsim.errors import TicketError
from accelsim.ticket.file import read_ticket
from accelsim.ticket.importers import import_checkpoint
from accelsim.ticket.pack import unpack_mask
from tests.unit.ticket.checkpoint_parts import (
    DENSE,
    KEPT,
    MASKS,
    WEIGHTS,
    State,
    beside,
)


def test_safetensors_are_read(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_file({key: value.to(torch.bfloat16) for key, value in beside("mask", MASKS).items()}, path)
    ticket = import_checkpoint(path).ticket
    assert all(np.array_equal(unpack_mask(layer), KEPT[layer.name]) for layer in ticket.layers)
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"convs.0.weight": path.name, "gone.weight": path.name}}))
    empty = json.dumps({"a.weight": {"dtype": "F32", "shape": [0, 1 << 63], "data_offsets": [0, 0]}}).encode()
    for name, content, match in (
        (index, index.read_bytes(), r"gone\.weight: not in model\.safetensors; give all files of one save"),
        (path, path.read_bytes()[:-5], "not a safetensors file, or cut off"),
        (path, len(empty).to_bytes(8, "little") + empty, "a tensor's shape is impossible"),
    ):
        name.write_bytes(content)
        with pytest.raises(TicketError, match=match):
            import_checkpoint(name)


@pytest.mark.parametrize("ending", ["safetensors", "bin"])
def test_a_checkpoint_of_several_files_is_imported_by_its_index(tmp_path: Path, capsys, ending: str) -> None:
    parts: list[State] = [DENSE, {f"{name}.mask": value.clone() for name, value in MASKS.items()}]
    files = [f"model-{number}.{ending}" for number in range(2)]
    for file, part in zip(files, parts, strict=True):
        (torch.save if ending == "bin" else save_file)(dict(part), tmp_path / file)
    index, ticket = tmp_path / f"model.{ending}.index.json", tmp_path / "ticket.pt"
    named = {name: file for file, part in zip(files, parts, strict=True) for name in part}
    index.write_text(json.dumps({"weight_map": named}))
    assert main(["import", str(index), "--out", str(ticket)]) == 0
    assert all(np.array_equal(unpack_mask(layer), KEPT[layer.name]) for layer in read_ticket(ticket).layers)
    assert main(["import", str(tmp_path), "--out", str(ticket)]) == 2
    assert f"is a folder; give the checkpoint in it: {index}" in capsys.readouterr().err
    index.write_text(json.dumps({"weight_map": dict.fromkeys(named, f"../{files[0]}")}))
    with pytest.raises(TicketError, match="names files that do not lie beside it"):
        import_checkpoint(index)


def test_averaged_and_normed_modules_are_read(imported) -> None:
    module = torch.nn.Sequential(torch.nn.Linear(4, 3, bias=False), torch.nn.ReLU(), torch.nn.Linear(3, 2, bias=False))
    for index in (0, 2):
        parametrizations.weight_norm(module[index])
    state = AveragedModel(module).state_dict()
    state = {key.replace("module.", "module.linears."): value for key, value in state.items()}
    found = imported(state)
    assert [layer.shape for layer in found.ticket.layers] == [(3, 4), (2, 3)]
    assert "n_averaged" in " ".join(found.notes)


class Held:
    """Stands for any object of another program."""


def advised(text: str, names: dict[str, object]) -> None:
    """Do what a refusal advises."""
    exec(text, {"torch": torch, **names})


@pytest.mark.parametrize(
    ("held", "match", "advice"),
    [
        ({"state_dict": DENSE, "args": argparse.Namespace(rate=1)}, r"a Python object \(argparse\.Namespace\)", None),
        ({"state_dict": DENSE, "odd": Held()}, r"a Python object \(.*Held\) beside tensors", None),
        ({"state_dict": DENSE, "best": np.float64(1)}, r"NumPy values \(numpy", None),
        (torch.nn.Sequential(torch.nn.Linear(3, 2)), "a whole module", "torch.save(module.state_dict(), FILE)"),
        ({"convs.0.weight": WEIGHTS["convs.0"].to_sparse()}, "a sparse tensor", "tensor.to_dense()"),
        ({"a.weight": torch.zeros(2, 3, dtype=torch.complex64)}, "complex numbers", "torch.view_as_real(tensor)"),
        ({"a.weight": torch.zeros(2, 3).to(torch.float8_e4m3fn)}, "numbers of 8 bits", "tensor.float()"),
    ],
)
def test_advice_of_refusals_works(imported, tmp_path: Path, held: object, match: str, advice: str | None) -> None:
    with pytest.raises(TicketError, match=match) as caught:
        imported(held)
    old, new = tmp_path / "checkpoint.pt", tmp_path / "new.pt"
    told = advice or "torch.save(torch.load(FILE, weights_only=False)['state_dict'], NEW)"
    assert told in str(caught.value)
    if "tensor" in told:
        advised(
            f"torch.save({{key: {told} for key, tensor in torch.load(FILE).items()}}, NEW)", {"FILE": old, "NEW": new}
        )
    else:
        advised(told, {"FILE": old if advice is None else new, "NEW": new, "module": held})
    with pytest.raises(TicketError, match="fit no known network|is missing") if advice else nullcontext():
        import_checkpoint(new)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_other_archives_of_torch_are_named(tmp_path: Path) -> None:
    module = torch.nn.Sequential(torch.nn.Linear(3, 2))
    torch.jit.script(module).save(tmp_path / "script.pt")
    with pytest.raises(TicketError, match="a TorchScript archive; save its state_dict") as caught:
        import_checkpoint(tmp_path / "script.pt")
    names = {"FILE": str(tmp_path / "script.pt"), "NEW": tmp_path / "new.pt"}
    advised(str(caught.value).partition("instead: ")[2], names)
    assert list(torch.load(tmp_path / "new.pt")) == ["0.weight", "0.bias"]
    (tmp_path / "model.onnx").write_bytes(b"")
    with pytest.raises(TicketError, match="an ONNX file, which has no masks; give it as --graph"):
        import_checkpoint(tmp_path / "model.onnx")
