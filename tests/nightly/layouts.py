"""Layouts of checkpoints that the nightly import tries on one network: how others save what a mask or score says."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.utils import prune
from torch.optim.swa_utils import AveragedModel

State = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Layout:
    """How to save a module whose weights keep what their masks say; what the command then needs; why it is refused.

    ``write`` returns the file: given (module, masks by parameter name, folder).
    """

    write: Callable[[torch.nn.Module, State, Path], Path]
    options: tuple[str, ...] = ()
    refusal: str = ""


def _saved(content: object, folder: Path, **options: Any) -> Path:
    path = folder / "checkpoint.pth"
    torch.save(content, path, **options)
    return path


def _state(make: Callable[[torch.nn.Module, State], object]) -> Callable[[torch.nn.Module, State, Path], Path]:
    return lambda module, masks, folder: _saved(make(module, masks), folder)


def _zeroed(module: torch.nn.Module, masks: State) -> State:
    return {name: value * masks.get(name, 1) for name, value in module.state_dict().items()}


def _beside(part: str, *, whole: bool = False) -> Callable[[torch.nn.Module, State], State]:
    """Return the state dict with masks called ``NAME.part``, or ``NAME.weight_part`` for a part that says so."""

    def make(module: torch.nn.Module, masks: State) -> State:
        suffix = f"_{part}" if whole else ""
        return dict(module.state_dict()) | {
            (name + suffix if whole else re.sub(r"weight$", part, name)): mask for name, mask in masks.items()
        }

    return make


def _prefixed(prefix: str, state: State) -> State:
    return {f"{prefix}{name}": value for name, value in state.items()}


def _pruned(module: torch.nn.Module, masks: State, folder: Path) -> Path:
    for name, mask in masks.items():
        prune.custom_from_mask(module.get_submodule(name.rpartition(".")[0]), "weight", mask)
    return _saved(module.state_dict(), folder)


def _sparsified(module: torch.nn.Module, masks: State, folder: Path) -> Path:
    class Mask(torch.nn.Module):
        def __init__(self, mask: torch.Tensor) -> None:
            super().__init__()
            self.register_buffer("mask", mask)

        def forward(self, weight: torch.Tensor) -> torch.Tensor:
            return weight * self.mask

    for name, mask in masks.items():
        owner = module.get_submodule(name.rpartition(".")[0])
        torch.nn.utils.parametrize.register_parametrization(owner, "weight", Mask(mask))
    return _saved(module.state_dict(), folder)


def _scores(part: str) -> Callable[[torch.nn.Module, State], State]:
    def make(module: torch.nn.Module, masks: State) -> State:
        return dict(module.state_dict()) | {
            re.sub(r"weight$", part, name): mask.float() + torch.rand(mask.shape) / 2 for name, mask in masks.items()
        }

    return make


def _soft_thresholds(module: torch.nn.Module, masks: State) -> State:
    state = dict(module.state_dict())
    for name, mask in masks.items():
        state[name] = torch.where(mask.bool(), 0.5 + torch.rand(mask.shape), 0.2 * torch.rand(mask.shape))
        state[re.sub(r"weight$", "sparseThreshold", name)] = torch.logit(torch.tensor([[0.3]]))
    return state


def _thresholds(module: torch.nn.Module, masks: State) -> State:
    state = {name: value for name, value in _soft_thresholds(module, masks).items() if name[-9:] != "Threshold"}
    return state | {
        re.sub(r"weight$", "threshold", name): torch.full((len(mask),), 0.3) for name, mask in masks.items()
    }


def _of_masks(part: str, change: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[torch.nn.Module, State], State]:
    return lambda module, masks: (
        dict(module.state_dict()) | {re.sub(r"weight$", part, name): change(mask) for name, mask in masks.items()}
    )


def _safetensors(module: torch.nn.Module, masks: State, folder: Path) -> Path:
    from safetensors.torch import save_file

    save_file(_beside("mask", whole=True)(module, masks), folder / "model.safetensors")
    return folder / "model.safetensors"


LAYOUTS: dict[str, Layout] = {
    "zeros in the weights": Layout(_state(_zeroed)),
    "torch.nn.DataParallel": Layout(_state(lambda m, k: {"state_dict": _prefixed("module.", _zeroed(m, k))})),
    "torch.compile": Layout(_state(lambda m, k: _prefixed("_orig_mod.", _zeroed(m, k)))),
    "Lightning": Layout(_state(lambda m, k: {"state_dict": _prefixed("model.net.", _zeroed(m, k)), "callbacks": {}})),
    "torch.optim.swa_utils": Layout(
        _state(
            lambda m, k: {
                name: value * k.get(name.removeprefix("module."), 1)
                for name, value in AveragedModel(m).state_dict().items()
            }
        )
    ),
    "{'model': ..., 'model_ema': ..., 'optimizer': ...}": Layout(
        _state(
            lambda m, k: {
                "model": _zeroed(m, k), "model_ema": dict(m.state_dict()),
                "optimizer": torch.optim.SGD(m.parameters(), 0.1).state_dict(),
            }
        ),
        ("--part", "model"),
    ),
    "{'student': ..., 'teacher': ...}": Layout(
        _state(lambda m, k: {"student": _prefixed("module.backbone.", _zeroed(m, k)), "teacher": dict(m.state_dict())})
    ),
    "one of several networks": Layout(
        _state(lambda m, k: {"small": _zeroed(m, k), "large": dict(m.state_dict())}), ("--part", "small")
    ),
    "torch.nn.utils.prune": Layout(_pruned),
    "torch.nn.utils.parametrize": Layout(_sparsified),
    "weight_mask": Layout(_state(_beside("mask", whole=True))),
    "mask": Layout(_state(_beside("mask"))),
    "__weight_mma_mask": Layout(_state(_beside("__weight_mma_mask"))),
    "{'model': ..., 'masks': ...}": Layout(_state(lambda m, k: {"model": dict(m.state_dict()), "masks": k})),
    "popup_scores": Layout(_state(_scores("popup_scores")), ("--sparsity", "0.75")),
    "scores": Layout(_state(_scores("scores")), ("--sparsity", "0.75")),
    "sparseThreshold": Layout(_state(_soft_thresholds)),
    "a stated mask": Layout(_state(_beside("alive")), ("--mask-key", "alive")),
    "a stated score": Layout(_state(_scores("importance")), ("--score-key", "importance", "--sparsity", "0.75")),
    "a stated threshold": Layout(_state(_thresholds), ("--threshold-key", "threshold")),
    "safetensors": Layout(_safetensors),
    "before torch 1.6": Layout(
        lambda m, k, folder: _saved(_zeroed(m, k), folder, _use_new_zipfile_serialization=False)
    ),
    "an unknown score": Layout(_state(_scores("importance")), refusal="importance: is shaped like the layer's weight"),
    "places of kept weights": Layout(
        _state(_of_masks("kept_idx", lambda mask: mask.flatten().nonzero().flatten())),
        refusal="kept_idx: holds whole numbers of a layer",
    ),
    "packed bits": Layout(
        _state(_of_masks("bits", lambda mask: torch.from_numpy(np.packbits(mask.numpy() == 1)))),
        refusal="bits: holds whole numbers of a layer",
    ),
    "stated places": Layout(
        _state(_of_masks("kept_idx", lambda mask: mask.flatten().nonzero().flatten())),
        ("--mask-key", "kept_idx", "--mask-form", "places"),
    ),
    "stated packed bits": Layout(
        _state(_of_masks("bits", lambda mask: torch.from_numpy(np.packbits(mask.numpy() == 1)))),
        ("--mask-key", "bits", "--mask-form", "packed"),
    ),
    "a whole module": Layout(_state(lambda m, k: m), refusal="torch.save(module.state_dict()"),
    "{'args': Namespace, ...}": Layout(
        _state(lambda m, k: {"state_dict": _zeroed(m, k), "args": argparse.Namespace(rate=1)}),
        refusal="save the state_dict alone",
    ),
}  # fmt: skip
