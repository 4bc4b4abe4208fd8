"""Storage formats as a user states them: names in an option, and other ones for some layers or kinds."""

from __future__ import annotations

from collections.abc import Sequence

from accelsim.errors import ConfigError
from accelsim.storage import get_format
from accelsim.storage.mixed import SIGN, check_keys, mixed_name, split_name
from accelsim.trace.model import TraceLayer


def parse_format(name: str, option: str) -> str:
    """Return ``name`` if it is that of a storage format, else raise `ConfigError`."""
    try:
        return get_format(name).name
    except ConfigError as error:
        raise ConfigError(f"{option}: {str(error).removeprefix('storage: ')}") from None


def with_layers(storage: str, stated: Sequence[str], layers: Sequence[TraceLayer] = ()) -> str:
    """Return the format ``storage`` with other formats for layers or kinds, each stated as ``LAYER=FORMAT``.

    Raises
    ------
    ConfigError
        One is of another form, says again what an earlier one said, or names no format.
    MappingError
        One names none of ``layers`` and no kind among them, where these are given.
    """
    if not stated:
        return storage
    base, by_key = split_name(storage)
    given: dict[str, str] = {}
    for text in stated:
        key, sign, name = text.rpartition("=")
        if not sign or not key:
            raise ConfigError(f"--storage-of: {text!r} is not LAYER=FORMAT; write e.g. fc=dense-int8")
        if key in given:
            raise ConfigError(f"--storage-of: {key!r} is given twice; give each layer or kind once")
        given[key] = parse_format(name, "--storage-of")
        if SIGN in given[key]:
            raise ConfigError(f"--storage-of: {name!r} is not one format; give a plain one, e.g. dense-int8")
    if layers:
        check_keys("--storage-of", layers, given)
    return get_format(mixed_name(base, by_key | given)).name
