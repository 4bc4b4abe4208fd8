"""The one way in which this program writes files, and which places may be replaced by a new file.

A file is written whole or not at all: under a name that nobody can foresee, created exclusively and never through a
link, brought to the disk, and only then renamed. What stands under the wanted name is replaced, not written into: a
link planted there leads nowhere. After an error or a signal nothing is left.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import secrets
import stat
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from accelsim.errors import AccelSimError

_EXCLUSIVE = (
    os.O_WRONLY
    | os.O_CREAT
    | os.O_EXCL
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_BINARY", 0)
)
SPECIAL = "is a device, pipe or socket, which is never replaced; give the name of a file"


class FileError(AccelSimError):
    """A place cannot be written."""


def stamp_of(files: Iterable[Path]) -> int:
    """Return a number from 0 that changes with the text of any of these files."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.read_bytes())
    return int.from_bytes(digest.digest()[:6], "big")


def is_special(path: str | os.PathLike[str]) -> bool:
    """Return whether ``path`` is a device, pipe or socket, or a link to one, which a renamed file would destroy.

    Regular files, folders, links to these and names that do not exist are not. A link into ``/proc``, or one that
    stands in ``/dev``, is special wherever it leads (``/dev/stdout`` may lead to a file).
    """
    place = Path(path)
    try:
        if place.is_symlink() and (os.readlink(place).startswith("/proc/") or place.parent.resolve() == Path("/dev")):
            return True
        mode = place.stat().st_mode
    except (OSError, ValueError):  # nothing there, a link to nothing, or no name at all: writing tells
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def write_file(path: str | os.PathLike[str], data: bytes, error: type[AccelSimError] = FileError) -> None:
    """Write a whole file or none; raise ``error`` if the place cannot be written."""
    write_files([(path, data)], error)


def write_files(files: Sequence[tuple[str | os.PathLike[str], bytes]], error: type[AccelSimError] = FileError) -> None:
    """Write all files under other names, and only then rename them, the last one of old first removed.

    Who finds the last file finds the others of the same call: none is renamed before all are written, and the last one
    of an earlier call goes before anything else changes.

    Raises
    ------
    error
        A place is special or cannot be written; one line that names it.
    """
    places = [Path(path) for path, _ in files]
    for place in places:
        if is_special(place):
            raise error(f"{place}: {SPECIAL}")
    staged: list[tuple[str, Path]] = []
    try:
        for place, (_, data) in zip(places, files, strict=True):
            _stage(place, data, staged)
        if len(files) > 1:
            places[-1].unlink(missing_ok=True)
        for temporary, place in staged:
            os.replace(temporary, place)
    except (OSError, ValueError) as problem:
        name = places[-1] if len(files) == 1 else places[-1].parent
        raise error(f"{name}: cannot be written ({reason_of(problem)}); give a place you may write") from None
    finally:
        for temporary, _ in staged:  # after an error or a signal
            with contextlib.suppress(OSError):
                os.unlink(temporary)


def _stage(place: Path, data: bytes, staged: list[tuple[str, Path]]) -> None:
    """Write ``data`` beside ``place`` and note the name, which is known before the file is there."""
    temporary = _unforeseeable(place.parent)
    staged.append((temporary, place))
    with os.fdopen(_created(temporary, staged), "wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())


def _created(temporary: str, staged: list[tuple[str, Path]]) -> int:
    try:
        return os.open(temporary, _EXCLUSIVE, 0o666)
    except OSError:
        staged.pop()  # whatever stands there is not ours
        raise


def _unforeseeable(folder: Path) -> str:
    return os.path.join(folder, f".accelsim-{secrets.token_hex(12)}.tmp")


def probe_folder(folder: str | os.PathLike[str]) -> None:
    """Make a file in ``folder`` and remove it: permission bits alone do not tell whether that is possible.

    Raises
    ------
    OSError
        It is not.
    """
    temporary = _unforeseeable(Path(folder))
    os.close(os.open(temporary, _EXCLUSIVE, 0o600))
    os.unlink(temporary)


def nearest_folder(folder: Path) -> Path:
    """Return the folder itself, or where it would begin to be made: the nearest one above that exists."""
    place = Path(os.path.abspath(folder))
    while not os.path.lexists(place) and place.parent != place:
        place = place.parent
    return place


@contextlib.contextmanager
def removed_if_refused(folder: Path, *refusals: type[AccelSimError]) -> Iterator[None]:
    """Remove the empty folders that the body made down to ``folder``, if it ends in one of ``refusals``."""
    made = list(itertools.takewhile(lambda place: not os.path.lexists(place), (folder, *folder.parents)))
    try:
        yield
    except refusals:
        for place in made:
            with contextlib.suppress(OSError):  # something is in it, or it was never made
                place.rmdir()
        raise


def reason_of(error: OSError | ValueError) -> str:
    """Return the system's reason in one line."""
    return str(getattr(error, "strerror", None) or error).replace("\n", " ")
