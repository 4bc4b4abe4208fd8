"""``--set path=value``: changes of single fields, checked against the model before they are applied."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import BaseModel

from accelsim.config.explain import find_field, section_model
from accelsim.config.yaml_reader import YamlPath, YamlValue, parse_value
from accelsim.errors import ConfigError
from accelsim.names import suggest


@dataclass(frozen=True, slots=True)
class Override:
    """One ``--set``: its text, the field it names and the parsed value."""

    text: str
    location: YamlPath
    value: YamlValue

    @property
    def where(self) -> str:
        """Return how messages name it."""
        return f"--set {self.text}"


def field_paths(model: type[BaseModel], prefix: str = "") -> list[str]:
    """Return the dotted path of every field of ``model``, sections first, in the order of definition."""
    paths: list[str] = []
    for name, field in model.model_fields.items():
        path = f"{prefix}{name}"
        paths.append(path)
        section = section_model(field.annotation)
        if section is not None:
            paths.extend(field_paths(section, f"{path}."))
    return paths


def parse_override(text: str, model: type[BaseModel]) -> Override:
    """Return the override that ``path=value`` states.

    Raises
    ------
    ConfigError
        If there is no ``=``, the path is not a field of ``model``, or the value is not YAML.
    """
    shown = text if text.isprintable() else repr(text)
    path, equals, value_text = text.partition("=")
    path = path.strip()
    if not equals or not path:
        raise ConfigError(f"--set {shown}: not path=value; write e.g. --set pe_array.rows=16")
    if not value_text.strip():
        raise ConfigError(f"--set {shown}: no value behind the =; write e.g. --set pe_array.rows=16, or null for none")
    location: YamlPath = tuple(path.split("."))
    if find_field(model, location) is None and not _is_dict_item(model, location):
        known = field_paths(model)
        same_leaf = [candidate for candidate in known if candidate.rpartition(".")[2] == str(location[-1])]
        hint = f"did you mean {same_leaf[0]!r}? " if same_leaf else suggest(path, known)
        section = next((name for name in known if name == str(location[0])), "")
        inside = [name for name in known if name.startswith(f"{section}.")] if section else list(model.model_fields)
        raise ConfigError(
            f"--set {shown}: {path if path.isprintable() else repr(path)}: unknown path; {hint}"
            f"known: {', '.join(inside or model.model_fields)}"
        )
    return Override(text=shown, location=location, value=parse_value(value_text, f"--set {shown}"))


def refuse_twice(overrides: Sequence[Override]) -> None:
    """Raise `ConfigError` if two overrides set the same field: as with a key given twice, one of them would be lost."""
    seen: dict[YamlPath, Override] = {}
    for override in overrides:
        first = seen.setdefault(override.location, override)
        if first is not override:
            path = ".".join(str(part) for part in override.location)
            raise ConfigError(f"{override.where}: {path} is set twice (first by {first.where}); keep one")


def apply_overrides(
    root: dict[str, YamlValue], overrides: Sequence[Override], model: type[BaseModel]
) -> dict[str, YamlValue]:
    """Return a copy of ``root`` with each override applied in order; a section it lacks begins as its default.

    Raises
    ------
    ConfigError
        If an override names a key inside a section that the file sets to null.
    """
    result = copy.deepcopy(root)
    for override in overrides:
        section: dict[str, YamlValue] = result
        for depth, part in enumerate(override.location[:-1]):
            if str(part) not in section:
                section[str(part)] = _default_section(model, override.location[: depth + 1])
            inner = section[str(part)]
            if not isinstance(inner, dict):
                name = ".".join(str(each) for each in override.location[: depth + 1])
                raise ConfigError(f"{override.where}: {name} is not a section here; add --set {name}={{}} before it")
            section = inner
        section[str(override.location[-1])] = override.value
    return result


def _default_section(model: type[BaseModel], location: YamlPath) -> YamlValue:
    field = find_field(model, location)
    default = field.get_default(call_default_factory=False) if field is not None else None
    if isinstance(default, BaseModel):
        dumped: dict[str, YamlValue] = default.model_dump(exclude_unset=True)
        return dumped
    return None if field is not None and default is None else {}


def _is_dict_item(model: type[BaseModel], location: YamlPath) -> bool:
    """Return whether ``location`` is a key of a free mapping such as ``pe_array.unroll.K``."""
    parent = find_field(model, location[:-1]) if len(location) > 1 else None
    return parent is not None and section_model(parent.annotation) is None and "dict" in str(parent.annotation)
