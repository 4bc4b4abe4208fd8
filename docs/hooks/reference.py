"""Pages that are made from the program when the site is built: reference of fields, formats and commands."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import click
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from pydantic import BaseModel
from pydantic.fields import FieldInfo

import accelsim
from accelsim.cli.main import cli
from accelsim.config.hardware import HardwareConfig
from accelsim.documented import documented, models_in
from accelsim.results.model import SCHEMA_VERSION, RunResult
from accelsim.storage import get_format, list_formats

ROOT = Path(__file__).resolve().parents[2]


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages, and the pages that lie beside the folder of documents."""
    pages = {
        "reference/hardware.md": hardware_page(),
        "reference/results.md": results_page(),
        "reference/formats.md": formats_page(),
        "reference/commands.md": commands_page(),
        "reference/python.md": python_page(),
        "contributing.md": outside_page("CONTRIBUTING.md"),
        "changelog.md": outside_page("CHANGELOG.md"),
    }
    for path, text in pages.items():
        files.append(File.generated(config, path, content=text))
    return files


def outside_page(name: str) -> str:
    """Return a page of the repository's root; links to files become code."""
    return (ROOT / name).read_text(encoding="utf-8").replace("](docs/", "](")


def hardware_page() -> str:
    """Return every field of a hardware file."""
    head = (
        "# Fields of a hardware file\n\n`accelsim config check FILE` checks one, `accelsim config "
        "schema` prints the JSON schema for editors. Units are at the end of names.\n"
    )
    return head + "".join(model_tables(HardwareConfig, "the top level"))


def results_page() -> str:
    """Return every field of a result."""
    head = (
        f"# Fields of a result\n\n`summary.json`, schema version {SCHEMA_VERSION}. [Results](../results.md) says what "
        "the figures mean.\n"
    )
    return head + "".join(model_tables(RunResult, "the document"))


def formats_page() -> str:
    """Return the storage formats with their summaries."""
    rows = "".join(f"| `{name}` | {cell(get_format(name).summary)} |\n" for name in list_formats())
    head = "# Storage formats\n\n[Storage](../storage.md) has the closed forms and papers.\n\n"
    return f"{head}| format | what is stored |\n|---|---|\n{rows}"


def commands_page() -> str:
    """Return the help of every command."""
    parts = ["# Commands\n"]
    for name, command in commands(cli, "accelsim"):
        context = click.Context(command, info_name=name, max_content_width=100, terminal_width=100)
        parts.append(f"\n## {name}\n\n```text\n{command.get_help(context)}\n```\n")
    return "".join(parts)


def commands(group: click.Group, prefix: str) -> Iterator[tuple[str, click.Command]]:
    """Yield the commands of a group, and those of groups in it."""
    context = click.Context(group, info_name=prefix)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from commands(command, f"{prefix} {name}")
        elif command is not None:
            yield f"{prefix} {name}", command


def python_page() -> str:
    """Return the functions of the Python interface."""
    parts = [
        "# Python\n\nThe functions do what the commands of their names do, and return objects instead of printing.\n"
    ]
    for name in accelsim.__all__:
        item = getattr(accelsim, name)
        if callable(item):
            text = inspect.cleandoc(item.__doc__ or "")
            parts.append(
                f"\n## accelsim.{name}\n\n```python\n{name}{inspect.signature(item)}\n```\n\n```text\n{text}\n```\n"
            )
    return "".join(parts)


def model_tables(model: type[BaseModel], title: str) -> Iterator[str]:
    """Yield a table of the fields of ``model``, then those of the models in it, each once."""
    waiting, seen = [(model, title)], {model}
    while waiting:
        current, name = waiting.pop(0)
        yield f"\n## {name}\n\n{cell(current.__doc__ or '')}\n\n"
        yield "| field | kind | default | meaning |\n|---|---|---|---|\n"
        for key, field in documented(current).model_fields.items():
            yield f"| `{key}` | {kind(field)} | {default(field)} | {cell(field.description or '')} |\n"
            for inner in models_in(field.annotation):
                if inner not in seen:
                    seen.add(inner)
                    waiting.append((inner, key))


def kind(field: FieldInfo) -> str:
    """Return the type of a field and its range."""
    text = str(field.annotation) if get_args(field.annotation) else getattr(field.annotation, "__name__", "")
    for prefix in ("typing.", "accelsim.config.hardware.", "accelsim.config.dram.", "accelsim.results.model."):
        text = text.replace(prefix, "")
    limits = [
        f"{sign} {getattr(item, name):g}" for item in field.metadata for name, sign in SIGNS if hasattr(item, name)
    ]
    return cell(", ".join([text, *limits]))


SIGNS = (("ge", ">="), ("gt", ">"), ("le", "<="), ("lt", "<"))


def default(field: FieldInfo) -> str:
    """Return the default of a field."""
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    return "see below" if isinstance(value, BaseModel) else f"`{cell(str(value))}`"


def cell(text: str) -> str:
    """Return ``text`` as the content of a table cell."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
