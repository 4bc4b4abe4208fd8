"""A strict reader of torch's files that never executes anything and does not need torch.

`torch.save` writes a zip archive: ``data.pkl``, a program for the pickle machine, and one uncompressed record per
tensor storage (before version 1.6: one stream of programs and storages). `torch.load(weights_only=True)` runs that
program with few allowed calls; this reader allows fewer, checks the archive's directory before it takes memory, and
returns NumPy arrays. Reading a ticket takes milliseconds where importing torch takes a second.
"""

from __future__ import annotations

import io
import os
import stat
import zipfile
from collections.abc import Iterable
from typing import IO, Any

import numpy as np

from accelsim.config.presets import TICKETS, suggest_preset
from accelsim.errors import TicketError
from accelsim.ticket.plaindata import Array, DamagedError, ForeignError, PlainDataMachine, refuse

MAX_FILE_BYTES = 512 << 20
_MAX_RECORDS = 100_000
_MAX_PROGRAM_BYTES = 64 << 20
_LEGACY_MAGIC = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."


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
        hint = suggest_preset(path, TICKETS)
        raise TicketError(f"{os.fspath(path)}: {reason}; {hint}give the path of an existing file") from error
    if not stat.S_ISREG(status.st_mode):
        raise TicketError(f"{os.fspath(path)}: not a regular file; give the path of a file")
    if status.st_size > max_bytes:
        raise TicketError(f"{os.fspath(path)}: {status.st_size} bytes are more than the {max_bytes} allowed; shrink it")
    return status.st_size


def _refuse_other_archives(names: Iterable[str]) -> None:
    """Refuse what torch writes as a zip archive besides checkpoints, with how to make one of it."""
    below = [name.partition("/")[2] for name in names]
    if any(name.startswith("code/") for name in below):
        raise ForeignError(
            "a TorchScript archive; save its state_dict() instead: torch.save(torch.jit.load(FILE).state_dict(), NEW)"
        )
    if "models/model.json" in below or "archive_format" in below:
        raise ForeignError(
            "an exported program, which has no masks; give it as --graph, and here the module's state_dict(): "
            "torch.save(module.state_dict(), FILE)"
        )


def _check_directory(archive: zipfile.ZipFile, file_bytes: int) -> dict[str, zipfile.ZipInfo]:
    entries = archive.infolist()
    _refuse_other_archives(entry.filename for entry in entries[:_MAX_RECORDS])
    if len(entries) > _MAX_RECORDS:
        refuse(f"{len(entries)} records are more than {_MAX_RECORDS}")
    for entry in entries:
        if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size:
            refuse(f"record {entry.filename!r} is compressed, which torch.save never does")
    total = sum(entry.file_size for entry in entries)
    if total > file_bytes:
        refuse(f"its records declare {total} bytes, the file has {file_bytes}")
    records = {entry.filename.partition("/")[2]: entry for entry in entries}
    if len(records) != len(entries):
        refuse("two records have one name")
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
    try:
        with _Bounded(io.FileIO(path)) as stream:
            if stream.read(len(_LEGACY_MAGIC)) == _LEGACY_MAGIC:
                stream.seek(0)
                return _read_legacy(stream, file_bytes)
        with zipfile.ZipFile(path) as archive:
            return _read_archive(archive, file_bytes)
    except ForeignError as error:
        raise TicketError(f"{where}: {error}") from None
    except DamagedError as error:
        raise TicketError(f"{where}: {error}; give an unchanged file written by torch.save") from None
    except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError, RuntimeError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise TicketError(
            f"{where}: not a file of torch.save, or cut off ({reason}); write it with torch.save"
        ) from error
    except (ValueError, TypeError, KeyError, IndexError, OverflowError, AttributeError) as error:
        raise TicketError(f"{where}: its program is damaged; give an unchanged file written by torch.save") from error


def _read_archive(archive: zipfile.ZipFile, file_bytes: int) -> object:
    records = _check_directory(archive, file_bytes)

    def load_record(name: str) -> bytes:
        if name not in records:
            refuse(f"record {name!r} is missing")
        return archive.read(records[name])

    def load_storage(key: str, dtype: np.dtype[Any], numel: int) -> Array:
        raw = load_record(f"data/{key}")
        if numel * dtype.itemsize != len(raw):
            refuse(f"record data/{key} has {len(raw)} bytes, declared are {numel} values of {dtype.itemsize}")
        return np.frombuffer(raw, dtype=dtype)

    if "data.pkl" not in records:
        refuse("it has no record 'data.pkl'")
    if records["data.pkl"].file_size > _MAX_PROGRAM_BYTES:
        refuse(f"record 'data.pkl' is larger than {_MAX_PROGRAM_BYTES} bytes")
    if "byteorder" in records and load_record("byteorder") != b"little":
        refuse("it was written on a big-endian machine")
    return PlainDataMachine(load_storage).run(load_record("data.pkl"))


class _Bounded(io.BufferedReader):
    """A file that is never asked for more than it has left, whatever a damaged length says."""

    def read(self, size: int | None = -1, /) -> bytes:
        """Return ``size`` bytes, or what is left."""
        left = max(0, os.fstat(self.fileno()).st_size - self.tell())
        return super().read(left if size is None or size < 0 else min(size, left))


def _read_legacy(stream: IO[bytes], file_bytes: int) -> object:
    """Read the format from before version 1.6: magic number, version, system, data, keys, then the storages."""
    storages: dict[str, Array] = {}
    declared_bytes = 0

    def reserve(key: str, dtype: np.dtype[Any], numel: int) -> Array:
        nonlocal declared_bytes
        declared_bytes += numel * dtype.itemsize
        if declared_bytes > file_bytes or key in storages:
            refuse(f"its storages declare {declared_bytes} bytes, the file has {file_bytes}")
        storages[key] = np.empty(numel, dtype=dtype)
        return storages[key]

    _magic, _version, system = (PlainDataMachine(reserve).run(stream) for _ in range(3))
    start = stream.tell()
    _data, keys = (PlainDataMachine(reserve).run(stream) for _ in range(2))
    if not isinstance(system, dict) or system.get("little_endian") is not True:
        refuse("it was written on a big-endian machine")
    if not isinstance(keys, list) or sorted(map(str, keys)) != sorted(storages):
        refuse("its storages are not those that it names")
    for key in keys:
        values = storages[key]
        size = int.from_bytes(stream.read(8), "little")
        raw = stream.read(values.nbytes)
        if size != values.size or len(raw) != values.nbytes:
            refuse(f"storage {key} is cut off")
        values[:] = np.frombuffer(raw, dtype=values.dtype)
    # The first run found the sizes, this one sees the data.
    stream.seek(start)
    return PlainDataMachine(lambda key, _dtype, _numel: storages[key]).run(stream)
