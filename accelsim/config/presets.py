"""Where chips and tickets are that came with the program: in the current folder, else where it was installed."""

from __future__ import annotations

import sysconfig
from pathlib import Path


def preset_folder(name: str) -> Path:
    """Return the folder ``hwconfigs``, ``workloads`` or ``examples``; it need not exist.

    A folder of that name in the current one comes first, then that of a checkout the program runs from, then what the
    package installed (``share/accelsim`` below the environment).
    """
    here, checkout = Path(name), Path(__file__).resolve().parents[2] / name
    if here.is_dir():
        return here
    return checkout if checkout.is_dir() else Path(sysconfig.get_path("data")) / "share" / "accelsim" / name
