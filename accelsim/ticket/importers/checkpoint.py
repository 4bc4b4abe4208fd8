"""A checkpoint as named arrays, whatever wraps them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard

import numpy as np
import numpy.typing as npt

from accelsim.errors import TicketError
from accelsim.ticket.file import is_ticket
from accelsim.ticket.torchfile import read_torch_file

Array = npt.NDArray[Any]

MAX_CHECKPOINT_BYTES = 2 << 30
_WRAPPERS = ("state_dict", "model_state_dict", "model", "net", "network", "model_state", "state_dict_ema", "weights")
_PREFIXES = ("module.", "model.", "_orig_mod.")
_MAX_TENSORS = 100_000
_MAX_PREFIXES = 16


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Tensors in the order of the file, without wrappers and prefixes; numbers and the architecture beside them.

    ``conv_type`` is the class of layer that biprop names in its files.
    """

    path: str
    tensors: Mapping[str, Array]
    numbers: Mapping[str, float]
    arch: str = ""
    conv_type: str = ""


def read_checkpoint(path: str | os.PathLike[str]) -> Checkpoint:
    """Read a checkpoint without executing anything.

    A state dict may stand under ``state_dict``, ``model`` and the like; a prefix such as ``module.`` that all names
    share is dropped.

    Raises
    ------
    TicketError
        No plain tensors in it.
    """
    where = os.fspath(path)
    content = read_torch_file(path, MAX_CHECKPOINT_BYTES)
    if not isinstance(content, dict):
        raise TicketError(f"{where}: holds no dictionary of tensors; save the module's state_dict()")
    if is_ticket(content):
        raise TicketError(f"{where}: already a ticket; use it as it is")
    numbers = {name: float(value) for name, value in content.items() if isinstance(name, str) and _is_number(value)}
    tensors = _tensors(content)
    if not tensors:
        raise TicketError(f"{where}: holds no tensors; save the module's state_dict()")
    if len(tensors) > _MAX_TENSORS:
        raise TicketError(f"{where}: {len(tensors)} tensors are more than {_MAX_TENSORS}; save one network")
    plain = _without_pruning(where, _without_prefix(tensors))
    return Checkpoint(where, plain, numbers, _text(content, "arch"), _text(content, "conv_type"))


def _text(content: Mapping[Any, Any], name: str) -> str:
    value = content.get(name)
    return value if isinstance(value, str) else ""


def _tensors(content: Mapping[Any, Any]) -> dict[str, Array]:
    for wrapper in _WRAPPERS:
        inner = content.get(wrapper)
        if isinstance(inner, dict) and any(isinstance(value, np.ndarray) for value in inner.values()):
            content = inner
            break
    return {name: value for name, value in content.items() if isinstance(name, str) and isinstance(value, np.ndarray)}


def _without_pruning(where: str, tensors: dict[str, Array]) -> dict[str, Array]:
    """Return the weights that torch.nn.utils.prune keeps as ``weight_orig`` and ``weight_mask``, with zeros in them."""
    plain = {}
    for key, value in tensors.items():
        stem, _, ending = key.rpartition("_")
        if ending == "mask" and f"{stem}_orig" in tensors:
            continue
        mask = tensors.get(f"{stem}_mask") if ending == "orig" else None
        if mask is None:
            plain[key] = value
        elif mask.shape != value.shape or not np.isin(mask, (0, 1)).all():
            raise TicketError(
                f"{where}: {stem}_mask: shape {mask.shape} or values are not those of a mask of {key}; damaged file"
            )
        else:
            plain[stem] = np.where(mask != 0, value, 0).astype(value.dtype)
    return plain


def _is_number(value: object) -> TypeGuard[int | float]:
    # A whole number of torch's may have 2,040 bits, more than a float holds.
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1 << 64


def _without_prefix(tensors: dict[str, Array]) -> dict[str, Array]:
    for _ in range(_MAX_PREFIXES):
        shared = [prefix for prefix in _PREFIXES if all(name.startswith(prefix) for name in tensors)]
        if not shared:
            break
        tensors = {name.removeprefix(shared[0]): value for name, value in tensors.items()}
    return tensors
