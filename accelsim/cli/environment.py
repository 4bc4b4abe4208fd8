"""What the caller left to a call besides its words: streams, limits, variables. Nothing of it may end in a fault."""

from __future__ import annotations

import importlib.util
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path

if sys.platform == "win32":
    resource = None
else:
    import resource

COMPLETION_VARIABLE = "_ACCELSIM_COMPLETE"
_SHELLS = ("bash", "zsh", "fish")
_MIN_SPACE_BYTES = 192 << 20  # below that the algebra library ends the program itself
_WHOLE_NUMBER = re.compile(r"\d{1,18}")
# Variables over which a library that is always loaded would stumble, and the numbers that they may have.
_LIBRARY_NUMBERS = {"SOURCE_DATE_EPOCH": 0, "NUMBA_NUM_THREADS": 1}


def open_closed_streams() -> None:
    """Send to nowhere what would go to a stream that the caller closed; files are still written.

    The numbers 0 to 2 are taken first: else the next file that is opened would get what libraries print there.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")


def figures_go_to_files() -> None:
    """Keep the user's own settings for windows and styles out of figures, which are the same on any machine."""
    found = importlib.util.find_spec("matplotlib") if "matplotlib" not in sys.modules else None
    if found is not None and found.origin is not None:
        os.environ["MPLBACKEND"] = "agg"
        os.environ["MATPLOTLIBRC"] = str(Path(found.origin).parent / "mpl-data" / "matplotlibrc")


def unusable_words(words: Sequence[str]) -> str:
    """Return what is wrong with a word that is not UTF-8: results, which hold paths, could not be read again."""
    for word in words:
        try:
            word.encode("utf-8")
        except UnicodeEncodeError:
            return f"{ascii(word)}: is not UTF-8; rename the file, or use a link with another name"
    return ""


def unusable_environment() -> str:
    """Return what is wrong with limits and variables, and what to do; an empty text if nothing is."""
    return _little_space() or _library_numbers() or _completion()


def _little_space() -> str:
    """Return what is wrong with the limit of address space.

    Under any limit the algebra library is kept to one thread, since it takes memory for each core of the machine.
    """
    if resource is None:
        return ""
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit == resource.RLIM_INFINITY:
        return ""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    if limit < _MIN_SPACE_BYTES:
        return f"address space is limited to {limit >> 20} MiB; allow at least {_MIN_SPACE_BYTES >> 20} (ulimit -v)"
    return ""


def _library_numbers() -> str:
    for name, least in _LIBRARY_NUMBERS.items():
        value = os.environ.get(name, "").strip()
        if value and not (_WHOLE_NUMBER.fullmatch(value) and int(value) >= least):
            return f"{name}: {value[:40]!r} is not a whole number from {least}; correct or unset the variable"
    return ""


def _completion() -> str:
    """Return what is wrong with the variables by which a shell asks for completions; click would stumble over them."""
    asked = os.environ.get(COMPLETION_VARIABLE)
    if not asked:
        return ""
    shell, _, action = asked.partition("_")
    if shell not in _SHELLS or action not in ("source", "complete"):
        known = ", ".join(f"{name}_source" for name in _SHELLS)
        return f"{COMPLETION_VARIABLE}: {asked[:40]!r} is unknown; give one of {known}, or unset it"
    for name in ("COMP_WORDS", "COMP_CWORD") if action == "complete" else ():
        value = os.environ.get(name)
        is_number = name == "COMP_CWORD" and shell != "fish"  # there it is the word that is being typed
        if value is None or (is_number and not _WHOLE_NUMBER.fullmatch(value)):
            remedy = f"which the shell's completion sets; unset {COMPLETION_VARIABLE}"
            return f"{COMPLETION_VARIABLE}: {asked} needs {name}, {remedy}"
    return ""
