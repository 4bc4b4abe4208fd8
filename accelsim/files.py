"""Which places may be replaced by a new file."""

from __future__ import annotations

import os
import stat
from pathlib import Path


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
