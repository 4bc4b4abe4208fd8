"""Storage formats: what each must read from DRAM, decode and generate."""

from __future__ import annotations

import difflib

from accelsim.errors import ConfigError
from accelsim.storage import dense, slt
from accelsim.storage.base import StorageFormat, StoredBits, WeightPlan
from accelsim.storage.tiles import tile_bits

__all__ = ["StorageFormat", "StoredBits", "WeightPlan", "get_format", "list_formats", "tile_bits"]

_FORMATS: dict[str, StorageFormat] = {known.name: known for group in (slt.FORMATS, dense.FORMATS) for known in group}


def list_formats() -> tuple[str, ...]:
    """Return the names of all storage formats, in the order of the documentation."""
    return tuple(_FORMATS)


def get_format(name: str) -> StorageFormat:
    """Return the storage format called ``name``; raise `ConfigError` with the known names if there is none."""
    known = _FORMATS.get(name)
    if known is not None:
        return known
    near = difflib.get_close_matches(name, _FORMATS, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]}?" if near else "give one of these"
    raise ConfigError(f"storage: {name!r} is not one of {', '.join(_FORMATS)}; {hint}")
