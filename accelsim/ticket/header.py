"""The ticket file's header: graph and layers as JSON text, and back, with every field checked."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import MISSING, asdict, dataclass, fields
from typing import Annotated

import numpy as np
from pydantic import BaseModel, BeforeValidator, ConfigDict, FailFast, Field, ValidationError

from accelsim.errors import TicketError
from accelsim.prng import RandomSource
from accelsim.strict_json import StrictJsonError, parse_json
from accelsim.ticket.graph import GraphNode, Names, NetworkGraph
from accelsim.ticket.model import TicketLayer
from accelsim.ticket.shapes import MAX_DIMENSION, MAX_NODES

Fraction = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0, le=MAX_DIMENSION)]
Counts = Annotated[tuple[Count, ...], Field(max_length=8)]
_MOST_FIELDS = 64  # of a record: each unknown one is an error of its own, of a kilobyte


def _all_given(source: object) -> object:
    """Refuse a source that leaves something out: a default would regenerate other weights."""
    if isinstance(source, dict):
        for field in fields(RandomSource):
            if field.name not in source:
                raise ValueError(f"{field.name} is missing")
    return source


@dataclass(frozen=True, slots=True)
class LayerHeader:
    """What the header says of a layer; its bytes lie in the payload, in the order of the fields ending in ``_bytes``.

    Scales and offsets follow the mask: ``num_scales`` little-endian float16 each.
    """

    name: str
    shape: Counts
    codec: str
    payload_bits: Annotated[int, Field(ge=0, le=1 << 40)]
    mask_bytes: Count
    num_scales: Count
    weight_bytes: Count
    frozen_bytes: Count
    num_free: Count
    num_locked: Count
    num_kept: Count
    input_density: Fraction | None
    source: Annotated[RandomSource | None, BeforeValidator(_all_given)]
    digest_bytes: Count = 0
    coat_bytes: Count = 0
    coat_kept: Counts = ()
    value_digest: Annotated[int, Field(ge=0, le=1 << 32)] | None = None


class StrictRecord(BaseModel):
    """A record of a ticket file: nothing is converted, left over or too long."""

    model_config = ConfigDict(defer_build=True, strict=True, extra="forbid", frozen=True, str_max_length=1 << 16)


class _Header(StrictRecord):
    """The whole header; sizes of the graph are bounded where it is checked (`accelsim.ticket.shapes`)."""

    name: str
    nodes: Annotated[tuple[GraphNode, ...], Field(max_length=MAX_NODES), FailFast()]
    layers: Annotated[tuple[LayerHeader, ...], Field(max_length=MAX_NODES), FailFast()]
    outputs: Names = ()
    batch: Count = 0


def layer_header(layer: TicketLayer) -> LayerHeader:
    """Return the header of a layer."""
    return LayerHeader(
        layer.name,
        layer.shape,
        layer.codec,
        layer.payload_bits,
        len(layer.mask_payload),
        int(layer.scale_K.size),
        len(layer.weight_payload),
        len(layer.frozen_payload),
        layer.num_free,
        layer.num_locked,
        layer.num_kept,
        layer.input_density,
        layer.source,
        len(layer.digest_payload),
        len(layer.coat_payload),
        layer.coat_kept,
        layer.value_digest,
    )


def _non_defaults(item: GraphNode) -> dict[str, object]:
    return {
        field.name: getattr(item, field.name)
        for field in fields(item)
        if field.default is MISSING or getattr(item, field.name) != field.default
    }


def _layer_record(layer: LayerHeader) -> dict[str, object]:
    """Return all fields; those of coats only where there are several: other files stay as they are."""
    record = asdict(layer)
    if layer.value_digest is None:
        del record["value_digest"]
    if not layer.coat_kept:
        del record["coat_bytes"], record["coat_kept"]
    return record


def dump_header(graph: NetworkGraph, layers: Sequence[LayerHeader]) -> str:
    """Return graph and layers as compact JSON; node fields that have their default are left out."""
    document = {
        "name": graph.name,
        "nodes": [_non_defaults(node) for node in graph.nodes],
        "layers": [_layer_record(layer) for layer in layers],
        **({"outputs": list(graph.outputs)} if graph.outputs else {}),
        **({"batch": graph.batch} if graph.batch else {}),
    }
    return json.dumps(document, separators=(",", ":"), allow_nan=False, ensure_ascii=False)


def shown(value: object) -> str:
    """Return ``value`` for an error text; collections as their size alone, for one may hold itself many times over."""
    if isinstance(value, dict | list | tuple) and value:
        return f"a {type(value).__name__} of {len(value)}"
    if isinstance(value, np.ndarray):
        return f"a tensor of shape {value.shape}"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def unknown_field(where: str, name: object) -> str:
    """Return what is wrong with a record that has a field which nobody knows."""
    return f"{where}: unknown field {shown(name)}; a newer format version, or a foreign file"


def problem_of(error: ValidationError, where: str) -> str:
    """Return the first problem of a record in one line."""
    first = error.errors(include_url=False)[0]
    *parents, last = map(str, (where, *first["loc"]))
    if first["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        return unknown_field(".".join(parents), last)
    said = first["msg"].removeprefix("Value error, ").replace("\n", " ")
    allowed = said.removeprefix("Input should be ")
    if first["type"] == "literal_error":
        allowed = "one of " + allowed.replace("'", "").replace(" or ", ", ")
    problem = said if allowed == said else f"{shown(first['input'])} is not {allowed}"
    if first["type"] == "missing":
        problem = f"{last!r} is missing"
    return f"{'.'.join((*parents, last))}: {problem}; the file is damaged or foreign"


def parse_header(text: str) -> tuple[NetworkGraph, tuple[LayerHeader, ...]]:
    """Return graph and layer headers of JSON text.

    Raises
    ------
    TicketError
        Naming the field that is missing, unknown, of another type or out of range.
    """
    try:
        parse_json(text, _MOST_FIELDS)  # refuses what pydantic lets pass: a field given twice, a number that is none
        header = _Header.model_validate_json(text)
    except StrictJsonError as error:
        raise TicketError(f"header: {error}; the file is damaged or foreign") from error
    except ValidationError as error:
        raise TicketError(problem_of(error, "header")) from error
    return NetworkGraph(header.name, header.nodes, header.outputs, header.batch), header.layers
