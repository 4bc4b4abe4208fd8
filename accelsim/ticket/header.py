"""The ticket file's header: graph and layers as JSON text, and back, with every field checked."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import MISSING, asdict, dataclass, fields
from typing import Any, TypeGuard, TypeVar, get_args

import numpy as np

from accelsim.errors import TicketError
from accelsim.prng import GeneratorKind, RandomSource, SeedPolicy, StreamGranularity, WeightDistribution
from accelsim.strict_json import StrictJsonError, parse_json
from accelsim.ticket.graph import GraphNode, NetworkGraph, NodeKind
from accelsim.ticket.model import TicketLayer
from accelsim.ticket.shapes import MAX_DIMENSION, MAX_NODES, MAX_OPS

_T = TypeVar("_T")
_MAX_TEXT = 1 << 16
_MAX_WORD = 1 << 32


@dataclass(frozen=True, slots=True)
class LayerHeader:
    """What the header says of a layer; its bytes lie in the payload, in the order of the fields ending in ``_bytes``.

    Scales and offsets follow the mask: ``num_scales`` little-endian float16 each.
    """

    name: str
    shape: tuple[int, ...]
    codec: str
    payload_bits: int
    mask_bytes: int
    num_scales: int
    weight_bytes: int
    frozen_bytes: int
    num_free: int
    num_locked: int
    num_kept: int
    input_density: float | None
    source: RandomSource | None
    digest_bytes: int = 0
    coat_bytes: int = 0
    coat_kept: tuple[int, ...] = ()
    value_digest: int | None = None


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


class Fields:
    """A JSON object read field by field; each method checks one type, `done` refuses what nobody asked for."""

    def __init__(self, value: object, where: str) -> None:
        if not isinstance(value, dict):
            raise TicketError(f"{where}: {shown(value)} is not a record; give named fields")
        self._values: dict[str, object] = dict(value)
        self.where = where

    def fail(self, name: str, value: object, allowed: str) -> TicketError:
        """Return the error for a field."""
        return TicketError(f"{self.where}.{name}: {shown(value)} is not {allowed}; the file is damaged or foreign")

    def take(self, name: str, default: object = MISSING) -> object:
        """Return and remove a raw value."""
        value = self._values.pop(name, default)
        if value is MISSING:
            raise TicketError(f"{self.where}: field {name!r} is missing; the file is damaged or foreign")
        return value

    def text(self, name: str, default: object = MISSING) -> str:
        """Return a short string."""
        value = self.take(name, default)
        if not isinstance(value, str) or len(value) > _MAX_TEXT:
            raise self.fail(name, value, f"text of at most {_MAX_TEXT} characters")
        return value

    def choice(self, name: str, allowed: tuple[Any, ...]) -> Any:
        """Return one of the allowed words."""
        value = self.take(name)
        if not isinstance(value, str) or value not in allowed:
            raise self.fail(name, value, f"one of {', '.join(allowed)}")
        return value

    def flag(self, name: str, default: object = MISSING) -> bool:
        """Return true or false."""
        value = self.take(name, default)
        if not isinstance(value, bool):
            raise self.fail(name, value, "true or false")
        return value

    def integer(self, name: str, default: object = MISSING, high: int = MAX_DIMENSION) -> int:
        """Return a bounded integer."""
        value = self.take(name, default)
        if not _is_integer(value, high):
            raise self.fail(name, value, f"a whole number from 0 to {high}")
        return value

    def optional_integer(self, name: str, high: int = MAX_DIMENSION) -> int | None:
        """Return a bounded integer, or None where the field is absent."""
        return self.integer(name, high=high) if name in self._values else None

    def fraction(self, name: str, default: object = MISSING) -> float | None:
        """Return a number from 0 to 1, or None."""
        return self.number(name, default, high=1.0)

    def number(self, name: str, default: object = MISSING, *, high: float) -> float | None:
        """Return a number from 0 to ``high``, or None."""
        value = self.take(name, default)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0.0 <= value <= high:
            raise self.fail(name, value, f"a number from 0 to {high:g} or null")
        return float(value)

    def integers(self, name: str, default: object = MISSING, length: int | None = None) -> tuple[int, ...]:
        """Return a few bounded integers."""
        value = self.take(name, default)
        if not isinstance(value, list | tuple) or len(value) > 8 or (length is not None and len(value) != length):
            raise self.fail(name, value, f"a list of {length or 'up to 8'} whole numbers")
        if not all(_is_integer(item, MAX_DIMENSION) for item in value):
            raise self.fail(name, value, f"whole numbers from 0 to {MAX_DIMENSION}")
        return tuple(value)

    def texts(self, name: str, default: object = MISSING) -> tuple[str, ...]:
        """Return a list of strings."""
        value = self.take(name, default)
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self.fail(name, value, "a list of texts")
        return tuple(value)

    def done(self) -> None:
        """Refuse fields that nobody asked for."""
        if self._values:
            unknown = ", ".join(sorted(map(repr, self._values)))
            raise TicketError(f"{self.where}: unknown field {unknown}; a newer format version, or a foreign file")


def _is_integer(value: object, high: int) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= high


def shown(value: object) -> str:
    """Return ``value`` for an error text; collections as their size alone, for one may hold itself many times over."""
    if isinstance(value, dict | list | tuple) and value:
        return f"a {type(value).__name__} of {len(value)}"
    if isinstance(value, np.ndarray):
        return f"a tensor of shape {value.shape}"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _pair(record: Fields, name: str, default: tuple[int, int]) -> tuple[int, int]:
    first, second = record.integers(name, default, 2)
    return first, second


def _node(value: object, where: str) -> GraphNode:
    record = Fields(value, where)
    node = GraphNode(
        name=record.text("name"),
        kind=record.choice("kind", get_args(NodeKind)),
        inputs=record.texts("inputs"),
        out_shape=record.integers("out_shape"),
        out_channels=record.integer("out_channels", 0),
        kernel=_pair(record, "kernel", (1, 1)),
        stride=_pair(record, "stride", (1, 1)),
        padding=_pair(record, "padding", (0, 0)),
        dilation=_pair(record, "dilation", (1, 1)),
        output_padding=_pair(record, "output_padding", (0, 0)),
        groups=record.integer("groups", 1),
        function=record.text("function", ""),
        bias=record.flag("bias", False),
        affine=record.flag("affine", False),
        num_edges=record.integer("num_edges", 0),
        num_heads=record.integer("num_heads", 1),
        transpose_b=record.flag("transpose_b", False),
        end_padding=record.integers("end_padding", ()),
        depth=record.integers("depth", ()),
        num_ops=record.integer("num_ops", 0, high=MAX_OPS),
        num_rows=record.integer("num_rows", 0),
        weights_of=record.text("weights_of", ""),
    )
    record.done()
    return node


def _source(value: object, where: str) -> RandomSource | None:
    if value is None:
        return None
    record = Fields(value, where)
    source = RandomSource(
        generator=record.choice("generator", get_args(GeneratorKind)),
        seed=record.integer("seed", high=_MAX_WORD),
        stream=record.choice("stream", get_args(StreamGranularity)),
        seeds=record.choice("seeds", get_args(SeedPolicy)),
        weights=record.choice("weights", get_args(WeightDistribution)),
        weight_bits=record.integer("weight_bits"),
        normal_terms=record.integer("normal_terms"),
        threshold_bits=record.integer("threshold_bits"),
        prune_threshold=record.integer("prune_threshold", high=_MAX_WORD),
        lock_threshold=record.integer("lock_threshold", high=_MAX_WORD),
        tile_filters=record.integer("tile_filters"),
    )
    record.done()
    return source


def _layer(value: object, where: str) -> LayerHeader:
    record = Fields(value, where)
    header = LayerHeader(
        name=record.text("name"),
        shape=record.integers("shape"),
        codec=record.text("codec"),
        payload_bits=record.integer("payload_bits", high=1 << 40),
        mask_bytes=record.integer("mask_bytes"),
        num_scales=record.integer("num_scales"),
        weight_bytes=record.integer("weight_bytes"),
        frozen_bytes=record.integer("frozen_bytes"),
        num_free=record.integer("num_free"),
        num_locked=record.integer("num_locked"),
        num_kept=record.integer("num_kept"),
        input_density=record.fraction("input_density"),
        source=_source(record.take("source"), f"{where}.source"),
        digest_bytes=record.integer("digest_bytes", 0),
        coat_bytes=record.integer("coat_bytes", 0),
        coat_kept=record.integers("coat_kept", ()),
        value_digest=record.optional_integer("value_digest", high=_MAX_WORD),
    )
    record.done()
    return header


def _list(value: object, where: str, convert: Callable[[object, str], _T]) -> tuple[_T, ...]:
    if not isinstance(value, list) or len(value) > MAX_NODES:
        raise TicketError(f"{where}: not a list of at most {MAX_NODES} records; the file is damaged or foreign")
    return tuple(convert(item, f"{where}.{index}") for index, item in enumerate(value))


def parse_header(text: str) -> tuple[NetworkGraph, tuple[LayerHeader, ...]]:
    """Return graph and layer headers of JSON text.

    Raises
    ------
    TicketError
        Naming the field that is missing, unknown, of another type or out of range.
    """
    try:
        document = parse_json(text)
    except StrictJsonError as error:
        raise TicketError(f"header: {error}; the file is damaged or foreign") from error
    record = Fields(document, "header")
    name = record.text("name")
    nodes = _list(record.take("nodes"), "header.nodes", _node)
    layers = _list(record.take("layers"), "header.layers", _layer)
    outputs, batch = record.texts("outputs", []), record.integer("batch", 0)
    record.done()
    return NetworkGraph(name, nodes, outputs, batch), layers
