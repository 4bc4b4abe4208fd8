"""From a YAML file to a validated configuration, or to one line that says what is wrong and where."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ValidationError

from accelsim.config.explain import explain, show_value
from accelsim.config.hardware import HardwareConfig
from accelsim.config.overrides import Override, apply_overrides, parse_override, refuse_twice
from accelsim.config.presets import CHIPS, other_kind_words, preset_file, suggest_preset
from accelsim.config.yaml_reader import YamlDocument, YamlValue, read_yaml
from accelsim.documented import documented
from accelsim.errors import ConfigError

M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class LoadedHardware:
    """A hardware description and where it comes from.

    Attributes
    ----------
    config
        The validated description.
    path
        As given.
    sha256
        Of the file's bytes; with overrides, of the bytes followed by one line per override.
    """

    config: HardwareConfig
    path: str
    sha256: str


@dataclass(frozen=True, slots=True)
class LoadedConfig(Generic[M]):
    """Any other validated configuration file; fields as in `LoadedHardware`."""

    config: M
    path: str
    sha256: str


def load_hardware(path: str | Path, overrides: Sequence[str] = ()) -> LoadedHardware:
    """Read a hardware description.

    Parameters
    ----------
    path
        A YAML file, or the name of a chip that came with the program: ``edge`` for ``hwconfigs/edge.yaml``. A file
        of that name wins.
    overrides
        Texts ``path=value``, applied in order after the file is read; the value is YAML (``null`` removes a unit).

    Raises
    ------
    ConfigError
        One line with file, line, key path, what is allowed and the remedy.
    """
    file = preset_file(path, CHIPS)
    if not os.path.exists(file) and file.isprintable():
        hint = other_kind_words(path, CHIPS) or suggest_preset(path, CHIPS)
        raise ConfigError(f"{file}: no such file; {hint}give the path of a YAML file, or a chip of accelsim list chips")
    loaded = load_config(file, HardwareConfig, overrides)
    _refuse_without_effect(loaded.config, overrides, str(file))
    return LoadedHardware(config=loaded.config, path=str(path), sha256=loaded.sha256)


def _refuse_without_effect(config: HardwareConfig, overrides: Sequence[str], file: str) -> None:
    """Refuse overrides of fields that the chip as it is does not look at."""
    for text in overrides:
        path = text.partition("=")[0].strip()
        if config.pe_array.dataflow == "spatial" and path in ("pe_array.rows", "pe_array.cols"):
            raise ConfigError(
                f"{file}: --set {path}: has no effect on a spatial array; its size is pe_array.unroll: "
                "set pe_array.unroll.K or another loop"
            )
        if config.memory == "ideal" and path in _SPEED_OF_DRAM:
            raise ConfigError(
                f"{file}: --set {path}: has no effect with ideal memory; add --set memory=dram, or leave it out"
            )


_DRAM_SPEED = ("model", "data_rate_mtps", "read_latency_ns", "write_latency_ns", "turnaround_ns", "separate_write_bus")
_SPEED_OF_DRAM = frozenset(f"dram.{name}" for name in _DRAM_SPEED)


def load_config(path: str | Path, model: type[M], overrides: Sequence[str] = ()) -> LoadedConfig[M]:
    """Read a YAML file into ``model``; the same rules, messages and errors as `load_hardware`."""
    document = read_yaml(path)
    parsed = [parse_override(text, model) for text in overrides]
    refuse_twice(parsed)
    root = apply_overrides(document.root, parsed, model)
    config = validate(root, model, document, parsed)
    return LoadedConfig(config=config, path=document.path, sha256=_digest(document.content, parsed))


def load_section(path: str | Path, key: str, model: type[M]) -> M:
    """Read a YAML file that holds the one section ``key``, such as ``dram:``, into ``model``.

    Raises
    ------
    ConfigError
        As `load_hardware`; also if the file has other top-level keys, or lacks ``key``.
    """
    document = read_yaml(path)
    for name in document.root:
        if name != key:
            line = document.line_of((name,))
            raise ConfigError(f"{document.path}:{line}: {show_value(name)}: unknown key; the file holds only {key!r}")
    section = document.root.get(key)
    if not isinstance(section, dict):
        raise ConfigError(f"{document.path}: {key}: is missing or not a section; write '{key}:' and its keys below it")
    lines = {location[1:]: line for location, line in document.lines.items() if len(location) > 1}
    inner = YamlDocument(path=document.path, content=document.content, root=section, lines=lines)
    return validate(section, model, inner, (), prefix=f"{key}.")


def validate(
    root: dict[str, YamlValue],
    model: type[M],
    document: YamlDocument,
    overrides: Sequence[Override],
    prefix: str = "",
) -> M:
    """Return ``root`` as ``model``, or raise the first problem in file order as one `ConfigError`."""
    try:
        return model.model_validate(root)
    except ValidationError as error:
        problems = [_locate(details, model, document, overrides, prefix) for details in error.errors()]
        problems.sort(key=lambda problem: problem[0])
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise ConfigError(f"{problems[0][1]}{more}") from error


def hardware_json_schema() -> dict[str, Any]:
    """Return the JSON schema of a hardware description, with each field's documentation."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **documented(HardwareConfig).model_json_schema()}


def _locate(
    details: Any,  # pydantic_core.ErrorDetails, whose import mypy cannot see through in a sort key
    model: type[BaseModel],
    document: YamlDocument,
    overrides: Sequence[Override],
    prefix: str,
) -> tuple[int, str]:
    location = tuple(part for part in details["loc"] if part != "[key]")
    message = f"{prefix}{explain(details, model)}"
    for override in reversed(overrides):
        shorter = min(len(location), len(override.location))
        if shorter and location[:shorter] == override.location[:shorter]:
            return 0, f"{document.path}: {override.where}: {message}"
    line = document.line_of(location)
    return line, f"{document.path}:{line}: {message}"


def _digest(content: bytes, overrides: Sequence[Override]) -> str:
    digest = hashlib.sha256(content)
    for override in overrides:
        digest.update(f"\n--set {override.text}".encode())
    return digest.hexdigest()
