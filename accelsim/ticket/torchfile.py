"""A strict reader of torch's zip files that never executes anything and does not need torch.

`torch.save` writes a zip archive: ``data.pkl``, a program for the pickle machine, and one uncompressed record per
tensor storage. `torch.load(weights_only=True)` runs that program with few allowed calls; this reader allows fewer
(tensors and ordered dictionaries), checks the archive's directory before it takes memory, checks that every tensor lies
inside its storage, and returns NumPy arrays. Reading a ticket takes milliseconds where importing torch takes a second.
"""

from __future__ import annotations

import os
import pickletools
import stat
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from accelsim.errors import TicketError

Array = npt.NDArray[Any]

MAX_FILE_BYTES = 512 << 20
_MAX_RECORDS = 100_000
_MAX_PROGRAM_BYTES = 64 << 20
_LEGACY_MAGIC = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."

_STORAGE_DTYPES = {
    "torch DoubleStorage": "<f8",
    "torch FloatStorage": "<f4",
    "torch HalfStorage": "<f2",
    "torch BFloat16Storage": "<u2",
    "torch LongStorage": "<i8",
    "torch IntStorage": "<i4",
    "torch ShortStorage": "<i2",
    "torch CharStorage": "<i1",
    "torch ByteStorage": "<u1",
    "torch BoolStorage": "|b1",
}
_CALLS = frozenset(
    {
        "collections OrderedDict",
        "torch Size",
        "torch._utils _rebuild_parameter",
        "torch._utils _rebuild_tensor",
        "torch._utils _rebuild_tensor_v2",
    }
)


class _DamagedError(Exception):
    """What is wrong with the file; becomes a TicketError that names it."""


@dataclass(frozen=True, slots=True)
class _Global:
    name: str


@dataclass(frozen=True, slots=True)
class _Storage:
    values: Array
    is_bfloat16: bool


def _refuse(problem: str) -> NoReturn:
    raise _DamagedError(problem)


class _Machine:
    """Runs the few pickle instructions that plain data and tensors need."""

    def __init__(self, load_record: Callable[[str], bytes]) -> None:
        self._load_record = load_record
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: dict[int, Any] = {}
        self._storages: dict[str, _Storage] = {}

    def run(self, program: bytes) -> object:
        """Return what the program leaves on the stack."""
        for opcode, argument, _ in pickletools.genops(program):
            if opcode.name == "STOP":
                return self._stack.pop()
            self._step(opcode.name, argument)
        _refuse("its program does not end")

    def _step(self, name: str, argument: Any) -> None:
        if name in _CONSTANTS:
            self._stack.append(_CONSTANTS[name])
        elif name in _LITERALS:
            self._stack.append(argument)
        elif name in _EMPTY:
            self._stack.append(_EMPTY[name]())
        elif name in _TUPLES:
            size = _TUPLES[name]
            items = self._stack[len(self._stack) - size :]
            del self._stack[len(self._stack) - size :]
            self._stack.append(tuple(items))
        elif name in _ACTIONS:
            _ACTIONS[name](self, argument)
        elif name not in ("PROTO", "FRAME"):
            _refuse(f"instruction {name} is not plain data")

    def mark(self, _argument: Any) -> None:
        """Remember where a group of items begins."""
        self._marks.append(len(self._stack))

    def pop(self) -> Any:
        """Take the top of the stack."""
        return self._stack.pop()

    def pop_to_mark(self) -> list[Any]:
        """Take the items down to the last mark."""
        place = self._marks.pop()
        items = self._stack[place:]
        del self._stack[place:]
        return items

    def put(self, argument: Any) -> None:
        """Remember the top of the stack."""
        self._memo[len(self._memo) if argument is None else argument] = self._stack[-1]

    def get(self, argument: Any) -> None:
        """Push something remembered."""
        self._stack.append(self._memo[argument])

    def collect(self, kind: Callable[[list[Any]], Any]) -> None:
        """Turn everything down to the mark into a tuple or list."""
        self._stack.append(kind(self.pop_to_mark()))

    def extend(self, items: list[Any]) -> None:
        """Append items to the list on top of the stack."""
        if type(self._stack[-1]) is not list:
            _refuse("items are appended to something that is no list")
        self._stack[-1].extend(items)

    def set_items(self, items: list[Any]) -> None:
        """Put pairs into the dictionary on top of the stack."""
        target = self._stack[-1]
        if type(target) is not dict or len(items) % 2:
            _refuse("pairs are put into something that is no dictionary")
        for key, value in zip(items[::2], items[1::2], strict=True):
            if not isinstance(key, str | int | tuple):
                _refuse("a dictionary key is neither text nor a number")
            target[key] = value

    def find_global(self, argument: Any) -> None:
        """Push a marker of an allowed name; every other one is refused here, before anything could be called."""
        if argument is None:
            name = self._stack.pop()
            argument = f"{self._stack.pop()} {name}"
        if argument not in _CALLS and argument not in _STORAGE_DTYPES:
            _refuse(f"it asks for {argument.replace(' ', '.')!r}, and only plain tensors, numbers and strings are read")
        self._stack.append(_Global(argument))

    def reduce(self, _argument: Any) -> None:
        """Perform an allowed call."""
        arguments, function = self._stack.pop(), self._stack.pop()
        if not isinstance(function, _Global) or not isinstance(arguments, tuple):
            _refuse("it calls something that is no function")
        self._stack.append(self._call(function.name, arguments))

    def _call(self, name: str, arguments: tuple[Any, ...]) -> Any:
        if name == "collections OrderedDict" and not arguments:
            return {}
        if name == "torch Size" and len(arguments) == 1:
            return tuple(arguments[0])
        if name == "torch._utils _rebuild_parameter" and arguments:
            return arguments[0]
        if name in ("torch._utils _rebuild_tensor", "torch._utils _rebuild_tensor_v2") and len(arguments) >= 4:
            return _tensor(*arguments[:4])
        _refuse(f"it calls {name.replace(' ', '.')!r} in a way that is not plain data")

    def build(self, _argument: Any) -> None:
        """Drop the state of an ordered dictionary (module versions), which carries no data."""
        self._stack.pop()

    def load_storage(self, _argument: Any) -> None:
        """Push the storage that ('storage', type, key, device, numel) names."""
        match self._stack.pop():
            case ("storage", _Global(name=kind), str(key), str(), int(numel)) if kind in _STORAGE_DTYPES:
                self._stack.append(self._storage(kind, key, numel))
            case _:
                _refuse("a storage is described wrongly")

    def _storage(self, kind: str, key: str, numel: int) -> _Storage:
        identity = f"{kind}:{key}"
        if identity not in self._storages:
            raw = self._load_record(f"data/{key}")
            dtype = np.dtype(_STORAGE_DTYPES[kind])
            if numel < 0 or numel * dtype.itemsize != len(raw):
                _refuse(f"record data/{key} has {len(raw)} bytes, declared are {numel} values of {dtype.itemsize}")
            self._storages[identity] = _Storage(np.frombuffer(raw, dtype=dtype), kind == "torch BFloat16Storage")
        return self._storages[identity]


_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_LITERALS = frozenset(
    {"BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"}
)
_EMPTY: dict[str, Callable[[], Any]] = {"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_ACTIONS: dict[str, Callable[[_Machine, Any], None]] = {
    "MARK": _Machine.mark,
    "BINPUT": _Machine.put,
    "LONG_BINPUT": _Machine.put,
    "MEMOIZE": _Machine.put,
    "BINGET": _Machine.get,
    "LONG_BINGET": _Machine.get,
    "TUPLE": lambda machine, _: machine.collect(tuple),
    "LIST": lambda machine, _: machine.collect(list),
    "APPEND": lambda machine, _: machine.extend([machine.pop()]),
    "APPENDS": lambda machine, _: machine.extend(machine.pop_to_mark()),
    "SETITEM": lambda machine, _: machine.set_items([machine.pop(), machine.pop()][::-1]),
    "SETITEMS": lambda machine, _: machine.set_items(machine.pop_to_mark()),
    "GLOBAL": _Machine.find_global,
    "STACK_GLOBAL": _Machine.find_global,
    "REDUCE": _Machine.reduce,
    "BUILD": _Machine.build,
    "BINPERSID": _Machine.load_storage,
}


def _tensor(storage: Any, offset: Any, size: Any, stride: Any) -> Array:
    """Return a view of a storage, after checking that it lies inside and repeats nothing."""
    if not isinstance(storage, _Storage) or not isinstance(size, tuple) or not isinstance(stride, tuple):
        _refuse("a tensor is described wrongly")
    numbers = (offset, *size, *stride)
    if len(size) != len(stride) or not all(type(value) is int and value >= 0 for value in numbers):
        _refuse("a tensor has a negative or odd size")
    last = offset + sum((length - 1) * step for length, step in zip(size, stride, strict=True))
    count = prod(size)
    if count > storage.values.size or (count and last >= storage.values.size):
        _refuse(f"a tensor of {size} does not fit its storage of {storage.values.size} values")
    itemsize = storage.values.itemsize
    steps = tuple(step * itemsize for step in stride)
    view: Array = np.lib.stride_tricks.as_strided(storage.values[offset:], size, steps, writeable=False)
    return (view.astype(np.uint32) << 16).view(np.float32) if storage.is_bfloat16 else view


def check_regular_file(path: str | os.PathLike[str], max_bytes: int = MAX_FILE_BYTES) -> int:
    """Return the size in bytes of a file that may be read.

    Raises
    ------
    TicketError
        It is missing, no regular file, unreadable or larger than ``max_bytes``.
    """
    try:
        status = os.stat(path)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "not a path"
        raise TicketError(f"{os.fspath(path)}: {reason}; give the path of an existing file") from error
    if not stat.S_ISREG(status.st_mode):
        raise TicketError(f"{os.fspath(path)}: not a regular file; give the path of a file")
    if status.st_size > max_bytes:
        raise TicketError(f"{os.fspath(path)}: {status.st_size} bytes are more than the {max_bytes} allowed; shrink it")
    return status.st_size


def is_legacy_file(path: str | os.PathLike[str]) -> bool:
    """Return whether the file is in torch's format from before version 1.6."""
    with open(path, "rb") as stream:
        return stream.read(len(_LEGACY_MAGIC)) == _LEGACY_MAGIC


def _check_directory(archive: zipfile.ZipFile, file_bytes: int) -> dict[str, zipfile.ZipInfo]:
    entries = archive.infolist()
    if len(entries) > _MAX_RECORDS:
        _refuse(f"{len(entries)} records are more than {_MAX_RECORDS}")
    for entry in entries:
        if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size:
            _refuse(f"record {entry.filename!r} is compressed, which torch.save never does")
    total = sum(entry.file_size for entry in entries)
    if total > file_bytes:
        _refuse(f"its records declare {total} bytes, the file has {file_bytes}")
    records = {entry.filename.partition("/")[2]: entry for entry in entries}
    if len(records) != len(entries):
        _refuse("two records have one name")
    return records


def read_torch_file(path: str | os.PathLike[str], max_bytes: int = MAX_FILE_BYTES) -> object:
    """Return the plain data of a file that `torch.save` wrote, with read-only NumPy arrays for its tensors.

    Raises
    ------
    TicketError
        The file is missing, too large, cut off, foreign, or needs more than tensors, numbers, strings, lists and
        dictionaries. One line.
    """
    where = os.fspath(path)
    file_bytes = check_regular_file(path, max_bytes)
    if is_legacy_file(path):
        raise TicketError(f"{where}: torch's format from before version 1.6; load it and save it again with torch.save")
    try:
        with zipfile.ZipFile(path) as archive:
            return _read_archive(archive, file_bytes)
    except _DamagedError as error:
        raise TicketError(f"{where}: {error}; give an unchanged file written by torch.save") from None
    except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError, RuntimeError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise TicketError(f"{where}: not a file of torch.save, or cut off ({reason}); give another file") from error
    except (ValueError, TypeError, KeyError, IndexError, OverflowError, AttributeError) as error:
        raise TicketError(f"{where}: its program is damaged; give an unchanged file written by torch.save") from error


def _read_archive(archive: zipfile.ZipFile, file_bytes: int) -> object:
    records = _check_directory(archive, file_bytes)

    def load_record(name: str) -> bytes:
        if name not in records:
            _refuse(f"record {name!r} is missing")
        return archive.read(records[name])

    if "data.pkl" not in records:
        _refuse("it has no record 'data.pkl'")
    if records["data.pkl"].file_size > _MAX_PROGRAM_BYTES:
        _refuse(f"record 'data.pkl' is larger than {_MAX_PROGRAM_BYTES} bytes")
    if "byteorder" in records and load_record("byteorder") != b"little":
        _refuse("it was written on a big-endian machine")
    return _Machine(load_record).run(load_record("data.pkl"))
