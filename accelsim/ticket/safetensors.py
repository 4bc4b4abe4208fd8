"""Files of the safetensors format, read by its library: a header and raw tensors, nothing that could be executed."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from accelsim.errors import TicketError
from accelsim.kinds import SAFETENSORS_INDEX, TORCH_INDEX
from accelsim.ticket.torchfile import check_regular_file

_DTYPES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "U64": "<u8", "I32": "<i4", "U32": "<u4", "I16": "<i2",
    "U16": "<u2", "I8": "<i1", "U8": "<u1", "BOOL": "|b1",
}  # fmt: skip
_MAX_INDEX_BYTES = 64 << 20


def is_safetensors(path: str | os.PathLike[str]) -> bool:
    """Return whether a file's name says that it is one, or the index of several."""
    return os.fspath(path).lower().endswith((".safetensors", SAFETENSORS_INDEX))


def read_safetensors(path: str | os.PathLike[str], max_bytes: int) -> dict[str, npt.NDArray[Any]]:
    """Return the tensors of a file, or of all files that an index names, in the order of their names and numbers.

    The format does not keep the order of the state dict.

    Raises
    ------
    TicketError
        A file is missing, too large, damaged, or holds numbers of a kind that is not read.
    """
    where = os.fspath(path)
    tensors: dict[str, npt.NDArray[Any]] = {}
    left = max_bytes
    index = read_index(where) if where.lower().endswith(SAFETENSORS_INDEX) else {}
    for file in sorted(set(index.values())) or [where]:
        left -= check_regular_file(file, left)
        tensors.update(_read(file))
    check_complete(where, index, tensors)
    return {name: tensors[name] for name in sorted(tensors, key=_by_numbers)}


def _by_numbers(name: str) -> list[tuple[bool, int, str]]:
    return [(part.isdigit(), int(part) if part.isdigit() else 0, part) for part in name.split(".")]


def read_index(where: str) -> dict[str, str]:
    """Return the file of each tensor that an index names.

    Raises
    ------
    TicketError
        It is no index, or names other files than such that lie beside it.
    """
    check_regular_file(where, _MAX_INDEX_BYTES)
    try:
        with open(where, encoding="utf-8") as stream:
            index = dict(json.load(stream)["weight_map"].items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise TicketError(f"{where}: no index of a checkpoint's files; give an unchanged file") from error
    ending = ".bin" if where.lower().endswith(TORCH_INDEX) else ".safetensors"
    names = index.values()
    if not all(isinstance(name, str) and name == os.path.basename(name) and name.endswith(ending) for name in names):
        raise TicketError(f"{where}: names files that do not lie beside it; give an unchanged file")
    return {key: os.path.join(os.path.dirname(where), name) for key, name in index.items()}


def check_complete(where: str, index: Mapping[str, str], tensors: Collection[str]) -> None:
    """Raise `TicketError` if a tensor that an index names is in none of its files."""
    missing = next((name for name in index if name not in tensors), None)
    if missing is not None:
        raise TicketError(f"{where}: {missing}: not in {os.path.basename(index[missing])}; give all files of one save")


def _read(where: str) -> dict[str, npt.NDArray[Any]]:
    from safetensors import SafetensorError, deserialize  # noqa: PLC0415  only such files need it

    try:
        with open(where, "rb") as stream:
            records: list[tuple[str, dict[str, Any]]] = deserialize(stream.read())  # type: ignore[no-untyped-call]
    except (SafetensorError, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise TicketError(f"{where}: not a safetensors file, or cut off ({reason}); give another file") from error
    try:
        return {name: _array(where, name, record) for name, record in records}
    except ValueError as error:  # sides that no array has, beside one of 0
        raise TicketError(f"{where}: a tensor's shape is impossible ({error}); give an undamaged file") from error


def _array(where: str, name: str, record: dict[str, Any]) -> npt.NDArray[Any]:
    kind, shape = record["dtype"], tuple(record["shape"])
    if kind == "BF16":
        return (np.frombuffer(record["data"], "<u2").astype(np.uint32) << 16).view(np.float32).reshape(shape)
    if kind not in _DTYPES:
        raise TicketError(f"{where}: {name}: numbers of kind {kind} are not read; save it as float32 or float16")
    return np.frombuffer(record["data"], _DTYPES[kind]).reshape(shape)
