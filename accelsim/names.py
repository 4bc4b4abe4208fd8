"""Near misses: what a mistyped name or file may have meant."""

from __future__ import annotations

import difflib
import itertools
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

_MAX_NAME = 200
_LEAST_PART = 3  # letters: fewer stand in nearly every name
_MAX_NEIGHBOURS = 5_000  # a folder of any size must not make a message slow


def nearest(word: str, known: Iterable[str], most: int = 3, cutoff: float = 0.6) -> list[str]:
    """Return the names that a mistyped or shortened ``word`` may have meant, the nearest first: ``most`` of them.

    Upper and lower case count as the same. ``cutoff``, 0 to 1, is the least share of letters in common.
    """
    if len(word) > _MAX_NAME:
        return []
    names = {name.lower(): name for name in known}
    given = word.lower()
    close = difflib.get_close_matches(given, names, n=most, cutoff=cutoff)
    # A ratio of equal letters puts names low that are much longer than the part of them which was typed.
    longer = [name for name in names if given in name] if len(given) >= _LEAST_PART else []
    return [names[name] for name in dict.fromkeys([*close, *longer])][:most]


def suggest(word: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """Return ``did you mean 'x'? `` for the `nearest` of known names, else an empty text."""
    near = nearest(word, known, 1, cutoff)
    return f"did you mean {near[0]!r}? " if near else ""


def or_words(names: Sequence[str]) -> str:
    """Return names as a choice: ``a``, ``a or b``, ``a, b or c``."""
    return " or ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def suggest_file(path: str | os.PathLike[str], presets: Sequence[str] = ()) -> str:
    """Return ``did you mean 'x'? `` for a file that does not exist, else an empty text.

    Looked at are the files beside it (or, where its folder does not exist, the folders beside that), then ``presets``,
    which are names without folder and suffix.
    """
    given = Path(path)
    nearby = _near_path(given)
    return nearby or suggest(given.stem, presets, cutoff=0.7)


def _near_path(given: Path) -> str:
    folder, name = given.parent, given.name
    if len(name) > _MAX_NAME:
        return ""
    if not os.path.isdir(folder):
        # A mistyped folder: the file may lie in one of nearly that name.
        above = folder.parent
        near = [
            other
            for other in _neighbours(above)
            if suggest(folder.name, [other]) and os.path.isfile(above / other / name)
        ]
        return _meant(above / near[0] / name) if near else ""
    close = difflib.get_close_matches(name, _neighbours(folder), n=1, cutoff=0.75)
    return _meant(folder / close[0]) if close else ""


def _meant(path: Path) -> str:
    text = path.as_posix()
    return f"did you mean {text!r}? " if text.isprintable() else ""


def _neighbours(folder: Path) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.name for entry in itertools.islice(entries, _MAX_NEIGHBOURS))
    except OSError:
        return []
