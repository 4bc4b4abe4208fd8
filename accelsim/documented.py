"""What the lines below the fields of a model say, for schemas, help texts and pages.

pydantic can read them itself, but does so in every start of the program and takes a tenth of a second for it.
"""

from __future__ import annotations

import ast
import inspect
import sys
from functools import cache
from typing import Any, TypeVar, get_args

from pydantic import BaseModel

M = TypeVar("M", bound=BaseModel)


@cache
def documented(model: type[M]) -> type[M]:
    """Return ``model`` with the documentation of its fields, and of those of models in it, as their descriptions."""
    for base in reversed(model.__mro__):
        texts = _texts(base.__module__).get(base.__name__, {}) if base.__module__.startswith("accelsim") else {}
        for name, field in model.model_fields.items():
            if name in texts:
                field.description = texts[name]
    for field in model.model_fields.values():
        for inner in models_in(field.annotation):
            documented(inner)
    model.model_rebuild(force=True)
    return model


def models_in(annotation: Any) -> list[type[BaseModel]]:
    """Return the models that an annotation holds."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in models_in(part)]


@cache
def _texts(module: str) -> dict[str, dict[str, str]]:
    """Return for each class of a module, for each of its fields, the text that stands below it."""
    tree = ast.parse(inspect.getsource(sys.modules[module]))
    return {node.name: dict(_fields(node)) for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}


def _fields(node: ast.ClassDef) -> list[tuple[str, str]]:
    found = []
    for field, below in zip(node.body, node.body[1:], strict=False):
        match field, below:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                found.append((name, inspect.cleandoc(text)))
    return found
