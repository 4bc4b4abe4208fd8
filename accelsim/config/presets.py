"""Where chips and tickets are that came with the program: in the current folder, else where it was installed."""

from __future__ import annotations

import os
import re
import sysconfig
from pathlib import Path

from accelsim.names import suggest_file

CHIPS, TICKETS, MEMORIES = "hwconfigs", "workloads", "hwconfigs/dram"
_SUFFIXES = {CHIPS: ".yaml", TICKETS: ".pt", MEMORIES: ".yaml"}
_KINDS = {CHIPS: "chip", TICKETS: "ticket", MEMORIES: "memory"}
_BARE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")


def preset_folder(name: str) -> Path:
    """Return the folder ``hwconfigs``, ``workloads`` or ``examples``; it need not exist.

    A folder of that name in the current one comes first, then that of a checkout the program runs from, then what the
    package installed (``share/accelsim`` below the environment).
    """
    here, checkout = Path(name), Path(__file__).resolve().parents[2] / name
    if here.is_dir():
        return here
    return checkout if checkout.is_dir() else _installed_folder(name)


def find_preset(name: str | os.PathLike[str], folder: str) -> Path | None:
    """Return the preset of `CHIPS`, `TICKETS` or `MEMORIES` called ``name``; None if there is none.

    Only bare names are looked up, such as ``edge`` for ``hwconfigs/edge.yaml``: in that folder of the current one, in a
    checkout's, then where the package was installed.
    """
    text = os.fspath(name)
    if not _BARE_NAME.fullmatch(text):
        return None
    places = (Path(folder), Path(__file__).resolve().parents[2] / folder, _installed_folder(folder))
    files = (place / f"{text}{_SUFFIXES[folder]}" for place in places)
    return next((file for file in files if file.is_file()), None)


def preset_file(name: str | os.PathLike[str], folder: str) -> str:
    """Return the path of what a user names: a file that exists as it is, else a preset's; else ``name`` itself."""
    text = os.fspath(name)
    if os.path.isfile(text):
        return text
    found = find_preset(text, folder)
    return text if found is None else str(found)


def preset_names(folder: str) -> list[str]:
    """Return the bare names of the presets at hand."""
    return sorted(path.stem for path in preset_folder(folder).glob(f"*{_SUFFIXES[folder]}"))


def suggest_preset(path: str | os.PathLike[str], folder: str) -> str:
    """Return ``did you mean 'x'? `` for a missing file: one beside it, else a preset; empty for none."""
    return suggest_file(path, preset_names(folder))


def other_kind_words(name: str | os.PathLike[str], wanted: str) -> str:
    """Return ``'edge' is a chip; `` where ``name`` is a preset of another folder than ``wanted``, else nothing."""
    found = next((folder for folder in _KINDS if folder != wanted and find_preset(name, folder)), None)
    return "" if found is None else f"{os.fspath(name)!r} is a {_KINDS[found]}; "


def _installed_folder(name: str) -> Path:
    return Path(sysconfig.get_path("data")) / "share" / "accelsim" / name
