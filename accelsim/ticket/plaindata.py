"""The few pickle instructions that plain data and tensors need, interpreted without executing anything.

Every call is refused but those that rebuild tensors and ordered dictionaries; every tensor is checked to lie inside its
storage; storages come from a loader that has checked their sizes.

`pickle.Unpickler` with a restricted ``find_class`` would be shorter, but it takes memory for its memo by the largest
number in the file, so that ten bytes ask for gigabytes, and hashes keys that hold themselves many times over, both
before the subclass is asked.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import IO, Any, NoReturn

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
LoadStorage = Callable[[str, np.dtype[Any], int], Array]

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
        "torch device",
        "torch._utils _rebuild_parameter",
        "torch._utils _rebuild_tensor",
        "torch._utils _rebuild_tensor_v2",
    }
)


_DTYPES = frozenset(
    f"torch {name}" for name in "float64 float32 float16 bfloat16 int64 int32 int16 int8 uint8 bool".split()
)
_SAVED_OTHERWISE = {
    "torch._utils _rebuild_sparse_tensor": "a sparse tensor; save it dense, as tensor.to_dense()",
    "torch._utils _rebuild_qtensor": "a quantised tensor; save its values, as tensor.dequantize()",
    "torch._utils _rebuild_tensor_v3": "numbers of 8 bits or without sign; save them as tensor.float()",
    "torch._utils _rebuild_parameter_with_state": "a parameter with attributes; save tensor.detach() of each",
    "torch ComplexFloatStorage": "complex numbers; save real ones, as torch.view_as_real(tensor)",
    "torch ComplexDoubleStorage": "complex numbers; save real ones, as torch.view_as_real(tensor)",
}


_SYSTEM_MODULES = frozenset(
    "os posix nt sys subprocess shutil socket importlib runpy pty ctypes code pickle webbrowser commands".split()
)
_BUILTINS = frozenset({"builtins", "__builtin__"})
_HARMLESS_BUILTINS = frozenset("set frozenset slice range complex bytearray object".split())


class DamagedError(Exception):
    """What is wrong with the file; becomes a TicketError that names it."""


class ForeignError(Exception):
    """What the file holds that is not read, and how to save it otherwise; becomes a TicketError that names it."""


@dataclass(frozen=True, slots=True)
class _Global:
    name: str


@dataclass(frozen=True, slots=True)
class _Storage:
    values: Array
    is_bfloat16: bool


def refuse(problem: str) -> NoReturn:
    """Raise `DamagedError`."""
    raise DamagedError(problem)


class PlainDataMachine:
    """Runs one program.

    Parameters
    ----------
    load_storage
        Returns ``numel`` values of a dtype, given (key, dtype, numel); refuses sizes that the file cannot hold.
    """

    def __init__(self, load_storage: LoadStorage) -> None:
        self._load_storage = load_storage
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: dict[int, Any] = {}
        self._storages: dict[str, _Storage] = {}
        self._holds_module = False

    def run(self, program: bytes | IO[bytes]) -> object:
        """Return what the program leaves on the stack; a stream is read to the program's end and not further."""
        # The attributes that every module has; only the error's text depends on it.
        self._holds_module = isinstance(program, bytes) and b"_parameters" in program and b"_modules" in program
        for opcode, argument, _ in pickletools.genops(program):
            if opcode.name == "STOP":
                return self._stack.pop()
            self._step(opcode.name, argument)
        refuse("its program does not end")

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
            refuse(f"instruction {name} is not plain data")

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
            refuse("items are appended to something that is no list")
        self._stack[-1].extend(items)

    def set_items(self, items: list[Any]) -> None:
        """Put pairs into the dictionary on top of the stack."""
        target = self._stack[-1]
        if type(target) is not dict or len(items) % 2:
            refuse("pairs are put into something that is no dictionary")
        for key, value in zip(items[::2], items[1::2], strict=True):
            if not _is_key(key):
                refuse("a dictionary key is neither text nor a number")
            target[key] = value

    def find_global(self, argument: Any) -> None:
        """Push a marker of an allowed name; every other one is refused here, before anything could be called."""
        if argument is None:
            name = self._stack.pop()
            argument = f"{self._stack.pop()} {name}"
        if argument in _DTYPES:
            self._stack.append(argument.replace(" ", "."))
            return
        if argument not in _CALLS and argument not in _STORAGE_DTYPES:
            raise ForeignError(_foreign(argument, self._holds_module))
        self._stack.append(_Global(argument))

    def reduce(self, _argument: Any) -> None:
        """Perform an allowed call."""
        arguments, function = self._stack.pop(), self._stack.pop()
        if not isinstance(function, _Global) or not isinstance(arguments, tuple):
            refuse("it calls something that is no function")
        self._stack.append(self._call(function.name, arguments))

    def _call(self, name: str, arguments: tuple[Any, ...]) -> Any:
        if name == "collections OrderedDict" and not arguments:
            return {}
        if name == "torch Size" and len(arguments) == 1:
            return tuple(arguments[0])
        if name == "torch device":
            return ":".join(map(str, arguments[:2]))
        if name == "torch._utils _rebuild_parameter" and arguments:
            return arguments[0]
        if name in ("torch._utils _rebuild_tensor", "torch._utils _rebuild_tensor_v2") and len(arguments) >= 4:
            return _tensor(*arguments[:4])
        refuse(f"it calls {name.replace(' ', '.')!r} in a way that is not plain data")

    def build(self, _argument: Any) -> None:
        """Drop the state of an ordered dictionary (module versions), which carries no data."""
        self._stack.pop()

    def load_storage(self, _argument: Any) -> None:
        """Push the storage that ('storage', type, key, device, numel) names; old files add None."""
        match self._stack.pop():
            case ("storage", _Global(name=kind), str(key), str(), int(numel), *rest) if (
                kind in _STORAGE_DTYPES and rest in ([], [None])
            ):
                self._stack.append(self._storage(kind, key, numel))
            case _:
                refuse("a storage is described wrongly")

    def _storage(self, kind: str, key: str, numel: int) -> _Storage:
        identity = f"{kind}:{key}"
        if identity not in self._storages:
            if numel < 0:
                refuse(f"storage {key} has {numel} values")
            values = self._load_storage(key, np.dtype(_STORAGE_DTYPES[kind]), numel)
            self._storages[identity] = _Storage(values, kind == "torch BFloat16Storage")
        return self._storages[identity]


def _foreign(name: str, holds_module: bool) -> str:
    """Return what a name that is not allowed stands for, and what to save instead."""
    shown = name.replace(" ", ".")
    if name in _SAVED_OTHERWISE:
        return f"holds {_SAVED_OTHERWISE[name]}"
    if holds_module or name.startswith("torch.nn.modules"):
        return f"holds a whole module ({shown}); save its state_dict() instead: torch.save(module.state_dict(), FILE)"
    module, _, function = name.partition(" ")
    if module.split(".")[0] in _SYSTEM_MODULES or (module in _BUILTINS and function not in _HARMLESS_BUILTINS):
        return f"asks for {shown!r}, which runs code; no checkpoint needs it: trust the file nowhere, and get another"
    what = "NumPy values" if name.startswith(("numpy", "_codecs encode")) else "a Python object"
    return (
        f"holds {what} ({shown}) beside tensors, and nothing is executed here; if you trust it, save the state_dict "
        "alone: torch.save(torch.load(FILE, weights_only=False)['state_dict'], NEW), or whatever the file calls it"
    )


def _is_key(key: object) -> bool:
    # A tuple of tuples is refused: one that holds itself many times over takes for ever to hash.
    parts = key if isinstance(key, tuple) else (key,)
    return all(isinstance(part, str | int) for part in parts)


_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_LITERALS = frozenset(
    {"BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"}
)
_EMPTY: dict[str, Callable[[], Any]] = {"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_ACTIONS: dict[str, Callable[[PlainDataMachine, Any], None]] = {
    "MARK": PlainDataMachine.mark,
    "BINPUT": PlainDataMachine.put,
    "LONG_BINPUT": PlainDataMachine.put,
    "MEMOIZE": PlainDataMachine.put,
    "BINGET": PlainDataMachine.get,
    "LONG_BINGET": PlainDataMachine.get,
    "TUPLE": lambda machine, _: machine.collect(tuple),
    "LIST": lambda machine, _: machine.collect(list),
    "APPEND": lambda machine, _: machine.extend([machine.pop()]),
    "APPENDS": lambda machine, _: machine.extend(machine.pop_to_mark()),
    "SETITEM": lambda machine, _: machine.set_items([machine.pop(), machine.pop()][::-1]),
    "SETITEMS": lambda machine, _: machine.set_items(machine.pop_to_mark()),
    "GLOBAL": PlainDataMachine.find_global,
    "STACK_GLOBAL": PlainDataMachine.find_global,
    "REDUCE": PlainDataMachine.reduce,
    "BUILD": PlainDataMachine.build,
    "BINPERSID": PlainDataMachine.load_storage,
}


def _tensor(storage: Any, offset: Any, size: Any, stride: Any) -> Array:
    """Return a view of a storage, after checking that it lies inside and repeats nothing."""
    if not isinstance(storage, _Storage) or not isinstance(size, tuple) or not isinstance(stride, tuple):
        refuse("a tensor is described wrongly")
    numbers = (offset, *size, *stride)
    if len(size) != len(stride) or not all(type(value) is int and value >= 0 for value in numbers):
        refuse("a tensor has a negative or odd size")
    last = offset + sum((length - 1) * step for length, step in zip(size, stride, strict=True))
    count = prod(size)
    if count > storage.values.size or (count and last >= storage.values.size):
        refuse(f"a tensor of {size} does not fit its storage of {storage.values.size} values")
    itemsize = storage.values.itemsize
    steps = tuple(step * itemsize for step in stride)
    view: Array = np.lib.stride_tricks.as_strided(storage.values[offset:], size, steps, writeable=False)
    return (view.astype(np.uint32) << 16).view(np.float32) if storage.is_bfloat16 else view
