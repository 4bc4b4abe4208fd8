"""A checkpoint as named arrays, whatever wraps them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeGuard

import numpy as np

from accelsim.errors import TicketError
from accelsim.kinds import TORCH_INDEX
from accelsim.ticket.file import is_ticket
from accelsim.ticket.importers.content import (
    BESIDE,
    Array,
    flatten,
    is_copy,
    is_number,
    network_root,
    without_inner_wrappers,
    words,
)
from accelsim.ticket.safetensors import check_complete, is_safetensors, read_index, read_safetensors
from accelsim.ticket.torchfile import check_regular_file, read_torch_file

__all__ = ["Array", "Checkpoint", "read_checkpoint"]

MAX_CHECKPOINT_BYTES = 4 << 30


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Tensors of the network in the order of the file, without wrappers and prefixes; numbers and names beside them.

    ``others`` are the tensors beside the network, by their way through the file, ``lists`` numbers and lists of them.
    ``conv_type`` is the class of layer that biprop names in its files. ``notes`` say what was taken off the names.
    """

    path: str
    tensors: Mapping[str, Array]
    numbers: Mapping[str, float]
    arch: str = ""
    conv_type: str = ""
    others: Mapping[str, Array] = field(default_factory=dict)
    lists: Mapping[str, Array] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def read_checkpoint(path: str | os.PathLike[str], part: str | None = None, find_root: bool = True) -> Checkpoint:
    """Read a checkpoint without executing anything: a file of `torch.save`, or a ``.safetensors`` file.

    Parameters
    ----------
    path
        The file.
    part
        With what the names of the wanted network begin, where a file holds several; None finds it.
    find_root
        False leaves all names as they are: what a graph says of its layers finds the network later.

    Raises
    ------
    TicketError
        No plain tensors in it.
    """
    where = os.fspath(path)
    content = _content(path)
    try:
        flat = flatten(content)
        root = network_root(flat, part) if find_root or part is not None else ""
    except TicketError as error:
        raise TicketError(f"{where}: {error}") from error
    if not flat.tensors:
        raise TicketError(f"{where}: holds no tensors; save the module's state_dict()")
    numbers = {name: float(value) for name, value in content.items() if isinstance(name, str) and _is_real(value)}
    texts = _text(content, "arch"), _text(content, "conv_type")
    read = Checkpoint(where, flat.tensors, numbers, *texts, lists=flat.lists)
    return plain(_without_other_parts(under_root(read, root), part))


def _content(path: str | os.PathLike[str]) -> Mapping[Any, Any]:
    if os.fspath(path).lower().endswith(".onnx"):
        raise TicketError(
            f"{os.fspath(path)}: an ONNX file, which has no masks; give it as --graph, and here the state_dict()"
        )
    if is_safetensors(path):
        return read_safetensors(path, MAX_CHECKPOINT_BYTES)
    if os.fspath(path).lower().endswith(TORCH_INDEX):
        return _content_of_files(os.fspath(path))
    content = read_torch_file(path, MAX_CHECKPOINT_BYTES)
    if not isinstance(content, dict):
        raise TicketError(f"{os.fspath(path)}: holds no dictionary of tensors; save the module's state_dict()")
    if is_ticket(content):
        raise TicketError(f"{os.fspath(path)}: already a ticket; use it as it is")
    return content


def _content_of_files(where: str) -> Mapping[Any, Any]:
    """Return the tensors of all files of ``torch.save`` that an index names."""
    index = read_index(where)
    content: dict[Any, Any] = {}
    left = MAX_CHECKPOINT_BYTES
    for file in sorted(set(index.values())):
        left -= check_regular_file(file, left)
        part = read_torch_file(file, MAX_CHECKPOINT_BYTES)
        if not isinstance(part, dict):
            raise TicketError(f"{file}: holds no dictionary of tensors; give all files of one save")
        content.update(part)
    check_complete(where, index, content)
    return content


def under_root(checkpoint: Checkpoint, root: str) -> Checkpoint:
    """Return the checkpoint with the network whose names begin with ``root``; all else stands beside it."""
    if not root:
        return checkpoint
    inside = {name.removeprefix(root): value for name, value in checkpoint.tensors.items() if name.startswith(root)}
    beside = {name: value for name, value in checkpoint.tensors.items() if not name.startswith(root)}
    note = f"the network's names begin with {root.removesuffix('.')!r}, which is left out of them"
    return replace(checkpoint, tensors=inside, others={**checkpoint.others, **beside}, notes=(*checkpoint.notes, note))


def _without_copies_below(checkpoint: Checkpoint) -> Checkpoint:
    """Return the network with names of its own, without the copies below: of ``old.conv1.weight`` beside them."""
    kept = {
        name: value for name, value in checkpoint.tensors.items() if "." not in name or not is_copy(name.split(".")[0])
    }
    left = dict.fromkeys(name.split(".")[0] for name in checkpoint.tensors if name not in kept)
    notes = (f"left out beside the network's own names: {', '.join(left)}",) if left else ()
    return replace(checkpoint, tensors=kept, notes=(*checkpoint.notes, *notes))


def _without_other_parts(checkpoint: Checkpoint, part: str | None) -> Checkpoint:
    """Return the checkpoint without the parts that the user did not take; masks and scores beside it stay."""
    if part is None:
        return checkpoint
    if not part.strip("."):
        return _without_copies_below(checkpoint)
    way = part.strip(".").split(".")
    kept, lists = (
        {name: value for name, value in found.items() if words(_where_they_part(name, way)) & BESIDE}
        for found in (checkpoint.others, checkpoint.lists)
    )
    left = dict.fromkeys(name.split(".")[0] for name in checkpoint.others if name not in kept)
    notes = (f"left out beside {part!r}: {', '.join(left)}",) if left else ()
    return replace(checkpoint, others=kept, lists=lists, notes=(*checkpoint.notes, *notes))


def _where_they_part(name: str, way: Sequence[str]) -> str:
    """Return the first step of a way through the file that is not one of another way."""
    steps = name.split(".")
    return next((step for step, other in zip(steps, way, strict=False) if step != other), steps[-1])


def plain(checkpoint: Checkpoint) -> Checkpoint:
    """Return the checkpoint with names and weights as a plain module has them, not a wrapped or parametrised one."""
    tensors = without_inner_wrappers(checkpoint.tensors)
    notes = checkpoint.notes
    if list(tensors) != list(checkpoint.tensors):
        notes = (*notes, "names of wrappers such as 'module' inside the network's names are left out of them")
    return replace(checkpoint, tensors=_without_parametrisations(checkpoint.path, tensors), notes=notes)


_NORMED = {"weight_g": "weight_v", "original0": "original1"}


def _without_parametrisations(where: str, tensors: Mapping[str, Array]) -> dict[str, Array]:
    """Return weights under their plain names: those of torch's pruning, weight and spectral normalisation.

    ``weight_mask`` stays as a mask; the mask of a bias is put into it. Weight normalisation is carried out; spectral
    normalisation divides a layer by one number, which no mask and no sign depends on, and is left out.
    """
    result: dict[str, Array] = {}
    for key, value in tensors.items():
        stem, _, last = key.rpartition(".")
        owner, _, parameter = stem.rpartition(".parametrizations.")
        if last in _NORMED and _beside(stem, _NORMED[last]) in tensors:
            continue
        if last in ("weight_v", "original1") and (gain := _gain_of(tensors, stem, last)) is not None:
            name = f"{owner}.{parameter}" if owner else _beside(stem, "weight")
            result[name] = _normed(where, key, value, gain)
        elif owner and last == "original":
            result[f"{owner}.{parameter}"] = value
        elif owner and "." in parameter:
            result[f"{owner}.{parameter.partition('.')[0]}_{last}"] = value
        elif last == "bias_orig" and (mask := tensors.get(_beside(stem, "bias_mask"))) is not None:
            result[_beside(stem, "bias")] = np.where(_fitting(where, stem, mask, value) != 0, value, 0)
        elif last.endswith("_orig") and key.removesuffix("_orig") not in tensors:
            result[key.removesuffix("_orig")] = value
        else:
            result[key] = value
    return result


def _beside(stem: str, name: str) -> str:
    return f"{stem}.{name}" if stem else name


def _gain_of(tensors: Mapping[str, Array], stem: str, last: str) -> Array | None:
    return tensors.get(_beside(stem, "weight_g" if last == "weight_v" else "original0"))


def _normed(where: str, key: str, direction: Array, gain: Array) -> Array:
    """Return gain times direction over its length, per filter."""
    wide = direction.astype(np.float32)
    axes = tuple(axis for axis in range(wide.ndim) if gain.ndim == wide.ndim and gain.shape[axis] == 1)
    length = np.sqrt((wide**2).sum(axis=axes or None, keepdims=bool(axes)))
    try:
        return np.asarray(wide * (gain.astype(np.float32) / np.where(length > 0, length, 1)), dtype=np.float32)
    except ValueError as error:
        raise TicketError(f"{where}: {key}: its gain has shape {gain.shape}; the file is damaged") from error


def _fitting(where: str, stem: str, mask: Array, bias: Array) -> Array:
    if mask.shape != bias.shape:
        raise TicketError(f"{where}: {stem}.bias_mask: shape {mask.shape} is not the bias's {bias.shape}; damaged file")
    return mask


def _text(content: Mapping[Any, Any], name: str) -> str:
    value = content.get(name)
    return value if isinstance(value, str) else ""


def _is_real(value: object) -> TypeGuard[float]:
    return is_number(value) and not isinstance(value, bool)
