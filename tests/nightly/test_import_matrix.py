"""Each architecture and each checkpoint layout of docs/import.md goes through the commands; ``make nightly`` runs this.

A module with random weights is exported and saved with a mask that keeps a quarter of each weight; the ticket that
``accelsim import CHECKPOINT --graph MODEL`` makes must have these masks, and ``accelsim run`` must take it.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))
from architectures import ARCHITECTURES, Architecture  # noqa: E402
from layouts import LAYOUTS, Layout  # noqa: E402

from accelsim.cli.main import main  # noqa: E402
from accelsim.ticket.file import read_ticket  # noqa: E402
from accelsim.ticket.pack import unpack_mask  # noqa: E402

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.skipif("ACCELSIM_NIGHTLY" not in os.environ, reason="minutes long; make nightly runs it"),
]

CHIP = "edge_dense"
KEPT = 0.25
OF_LAYOUTS = "resnet18"


def masks_of(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Return a mask that keeps a quarter, for each weight of a convolution or linear layer."""
    generator = torch.Generator().manual_seed(7)
    masks = {}
    for name, value in module.state_dict().items():
        if name.endswith("weight") and value.ndim > 1 and value.is_floating_point():
            order = torch.rand(value.numel(), generator=generator).argsort()
            mask = torch.zeros(value.numel())
            mask[order[: value.numel() - int((1 - KEPT) * value.numel())]] = 1
            masks[name] = mask.view(value.shape)
    return masks


def exported(architecture: Architecture, folder: Path) -> tuple[torch.nn.Module, Path]:
    """Return a module, and the file of its graph."""
    torch.manual_seed(1)
    module = architecture.make().eval()
    with torch.no_grad():  # some heads are made of zeros, which no mask can be told from
        for value in module.parameters():
            value.add_((value == 0) * 0.01)
    kind = torch.long if architecture.reads_words else torch.float32
    program = torch.export.export(module, (torch.zeros(architecture.shape, dtype=kind),), strict=False)
    path = folder / "model.pt2"
    torch.export.save(program, path)
    return module, path


def call(*words: str) -> tuple[int, str, str]:
    """Return exit status, output and errors of a command."""
    out, errors = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
        status = main(list(words))
    return status, out.getvalue(), errors.getvalue()


def check_ticket(path: Path, masks: dict[str, torch.Tensor]) -> str:
    """Return what is wrong with the masks of a ticket; empty if nothing is."""
    named = {name.removesuffix(".weight"): mask.numpy() == 1 for name, mask in masks.items()}
    num_compared = 0
    for layer in read_ticket(path).layers:
        mask, wanted = unpack_mask(layer), named.get(layer.name)
        if wanted is not None:
            num_compared += 1
            turned = wanted.T if wanted.ndim == 2 else wanted
            if not any(
                item.size == mask.size and (item.reshape(mask.shape) == mask).all() for item in (wanted, turned)
            ):
                return f"{layer.name} keeps {int(mask.sum())} of {mask.size} weights, and not those of its mask"
    return "" if num_compared else "no layer has the name of a weight"


def run_of(ticket: Path) -> str:
    """Return why a ticket does not run; empty if it does."""
    status, out, errors = call("run", CHIP, str(ticket), "--storage", "dense-int8", "--compare", "none", "--json")
    if status:
        return errors.strip()
    return "" if json.loads(out)["totals"]["macs"] else "no MACs"


def try_architecture(architecture: Architecture, folder: Path) -> str:
    module, graph = exported(architecture, folder)
    masks = masks_of(module)
    state = dict(module.state_dict()) | {f"{name}_mask": mask.bool() for name, mask in masks.items()}
    torch.save({"state_dict": {f"module.{name}": value for name, value in state.items()}}, folder / "checkpoint.pth")
    ticket = folder / "ticket.pt"
    status, _, errors = call("import", str(folder / "checkpoint.pth"), "--graph", str(graph), "--out", str(ticket))
    if status:
        return errors.strip()
    return check_ticket(ticket, masks) or run_of(ticket)


def try_layout(layout: Layout, folder: Path) -> str:
    module, graph = exported(ARCHITECTURES[OF_LAYOUTS], folder)
    masks = masks_of(module)
    checkpoint, ticket = layout.write(module, masks, folder), folder / "ticket.pt"
    status, _, errors = call("import", str(checkpoint), "--graph", str(graph), *layout.options, "--out", str(ticket))
    if layout.refusal:
        return "" if status == 2 and layout.refusal in errors else f"not refused as it should be: {errors.strip()}"
    return errors.strip() if status else check_ticket(ticket, masks)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_checkpoint_of_an_architecture_imports_with_its_masks(name: str, tmp_path: Path) -> None:
    assert try_architecture(ARCHITECTURES[name], tmp_path) == ""


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_layout_imports_with_its_masks_or_is_refused(name: str, tmp_path: Path) -> None:
    assert try_layout(LAYOUTS[name], tmp_path) == ""
