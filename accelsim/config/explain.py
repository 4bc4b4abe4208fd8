"""One line out of a failed validation: where, what, what is allowed, and the remedy."""

from __future__ import annotations

import types
import typing
from typing import Any, Literal, Union

import annotated_types
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from accelsim.config.yaml_reader import YamlPath
from accelsim.names import suggest

_WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}
_BROKEN_BOUND = {
    "greater_than": ("gt", ">"),
    "greater_than_equal": ("ge", ">="),
    "less_than": ("lt", "<"),
    "less_than_equal": ("le", "<="),
}


def show_value(value: object) -> str:
    """Return ``value`` as a user wrote it, on one line and at most 60 characters."""
    if value is None or isinstance(value, bool):
        text = {None: "null", True: "true", False: "false"}[value]
    else:
        text = repr(value) if isinstance(value, str) else str(value)
    text = "".join(char if char.isprintable() else " " for char in text)
    return text if len(text) <= 60 else f"{text[:57]}..."


def strip_optional(annotation: Any) -> Any:
    """Return X of ``X | None``; other annotations unchanged."""
    if typing.get_origin(annotation) in (Union, types.UnionType):
        inner = [part for part in typing.get_args(annotation) if part is not types.NoneType]
        if len(inner) == 1:
            return inner[0]
    return annotation


def section_model(annotation: Any) -> type[BaseModel] | None:
    """Return the model of a section (optional or not), or None for a plain value."""
    inner = strip_optional(annotation)
    return inner if isinstance(inner, type) and issubclass(inner, BaseModel) else None


def find_section(model: type[BaseModel], location: YamlPath) -> type[BaseModel] | None:
    """Return the model of the section at ``location`` (list items are numbers), or None where there is none."""
    annotation: Any = model
    for part in location:
        inner = strip_optional(annotation)
        section = section_model(inner)
        if section is not None:
            field = section.model_fields.get(str(part))
            annotation = field.annotation if field is not None else None
        elif typing.get_origin(inner) in (list, tuple) and isinstance(part, int):
            annotation = typing.get_args(inner)[0]
        elif typing.get_origin(inner) is dict:
            annotation = typing.get_args(inner)[1]
        else:
            return None
    return section_model(annotation)


def find_field(model: type[BaseModel], location: YamlPath) -> FieldInfo | None:
    """Return the field that ``location`` names, or None where it names none (a dict's key, a list item)."""
    section = find_section(model, location[:-1]) if location else None
    return section.model_fields.get(str(location[-1])) if section is not None else None


def allowed(field: FieldInfo) -> str:
    """Return what a field accepts, e.g. ``a whole number from 1 to 4096``."""
    inner = strip_optional(field.annotation)
    null = " or null" if inner is not field.annotation else ""
    if typing.get_origin(inner) is Literal:
        return f"one of {', '.join(show_plain(choice) for choice in typing.get_args(inner))}{null}"
    section = section_model(field.annotation)
    if section is not None:
        return f"a section with the keys {', '.join(section.model_fields)}{null}"
    if typing.get_origin(inner) is dict:
        key_type = typing.get_args(inner)[0]
        keys = f" with keys of {', '.join(typing.get_args(key_type))}" if typing.get_origin(key_type) is Literal else ""
        return f"a mapping{keys}, e.g. {{K: 16, C: 16}}" if keys else "a mapping"
    if typing.get_origin(inner) in (list, tuple):
        return "a list"
    return f"{_WORDS.get(inner, 'a value')}{_range(field)}{null}"


def _kind(field: FieldInfo) -> str:
    inner = strip_optional(field.annotation)
    if section_model(inner) is not None:
        return "a section"
    if typing.get_origin(inner) is not None:
        return "a list" if typing.get_origin(inner) in (list, tuple) else "a mapping"
    return f"{_WORDS.get(inner, 'a value')}{' as allowed' if inner is str else ''}"


def _bound(value: object) -> str:
    """Return a bound as the model's author wrote it: pydantic turns the 3 of a float field into 3.0."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def show_plain(value: object) -> str:
    """Return a literal as it is written in YAML, without quotes."""
    return value if isinstance(value, str) else show_value(value)


def _range(field: FieldInfo) -> str:
    low = high = text = ""
    for rule in field.metadata:
        if isinstance(rule, annotated_types.Ge):
            low = f"from {_bound(rule.ge)}"
        elif isinstance(rule, annotated_types.Gt):
            low = f"above {_bound(rule.gt)}"
        elif isinstance(rule, annotated_types.Le):
            high = f"to {_bound(rule.le)}" if low.startswith("from") else f"up to {_bound(rule.le)}"
        elif isinstance(rule, annotated_types.Lt):
            high = f"and below {_bound(rule.lt)}"
        elif isinstance(rule, annotated_types.MaxLen):
            text = f"of at most {rule.max_length} characters"
        elif getattr(rule, "pattern", None):
            text += f" that matches {rule.pattern}"
    return "".join(f" {part.strip()}" for part in (low, high, text) if part)


def explain(details: ErrorDetails, model: type[BaseModel]) -> str:
    """Return ``key.path: what is wrong; what is allowed`` of one validation problem of ``model``."""
    return f"{dotted(details['loc'])}{_message(details, model)}"


def dotted(location: YamlPath) -> str:
    """Return ``a.b.0: `` of a location, an empty text for the whole file."""
    parts = [show_value(part).strip("'") for part in location if part != "[key]"]
    return f"{'.'.join(parts)}: " if parts else ""


def _message(details: ErrorDetails, model: type[BaseModel]) -> str:
    location = tuple(details["loc"])
    kind = details["type"]
    value = details["input"]
    if kind == "extra_forbidden":
        return _unknown_key(location, model)
    field = find_field(model, location)
    remedy = f"; give {allowed(field)}" if field is not None else "; correct the value"
    if kind == "missing":
        return f"is missing{remedy}" if field is not None else "is missing; add it"
    if kind == "value_error":
        return details["msg"].removeprefix("Value error, ")
    if kind in _BROKEN_BOUND:
        name, sign = _BROKEN_BOUND[kind]
        return f"{show_value(value)} is not {sign} {_bound(details.get('ctx', {}).get(name))}{remedy}"
    if kind == "literal_error":
        return _bad_choice(value, str(details.get("ctx", {}).get("expected", "")), field, location[-1:] == ("[key]",))
    if field is not None and kind not in ("too_short", "too_long"):
        return f"{show_value(value)} is not {_kind(field)}{remedy}"
    section = find_section(model, location)
    if kind in ("model_type", "model_attributes_type") and section is not None:
        return f"{show_value(value)} is not a section; give a section with the keys {', '.join(section.model_fields)}"
    said = details["msg"].lower().replace(" after validation", "")
    return f"{show_value(value)}: {said}; correct the value"


def _unknown_key(location: YamlPath, model: type[BaseModel]) -> str:
    parent = find_section(model, location[:-1])
    known = list(parent.model_fields) if parent is not None else []
    return f"unknown key; {suggest(str(location[-1]), known)}known keys: {', '.join(known)}"


def _bad_choice(value: object, expected: str, field: FieldInfo | None, is_key: bool) -> str:
    if field is not None:
        choices = [show_plain(choice) for choice in typing.get_args(strip_optional(field.annotation))]
    else:
        choices = expected.replace("'", "").replace(" or ", ", ").split(", ")
    what = "is not a known name" if is_key else "is not allowed"
    hint = suggest(value, choices) if isinstance(value, str) else ""
    return f"{show_value(value)} {what}; {hint}give one of {', '.join(choices)}"
