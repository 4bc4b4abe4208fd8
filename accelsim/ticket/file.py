"""The ticket file (format version 1): written by torch.save, readable by ``torch.load(weights_only=True)``.

The file holds one dictionary of plain values::

    format "accelsim-ticket", version 1
    provenance, dataset, accuracy (or None), command, regenerable
    bits_per_character   of a text; absent for other data
    notes     text, a line each: what an import found and gave up; absent where there are none
    header    uint8 tensor: zlib of JSON text: layer graph; per layer shape, random source, codec, counts
    payload   uint8 tensor: per layer mask, float16 scales, float16 offsets; imported layers: signs, freezing map;
              digests of the filters (files of before have none); further coats of a multicoated mask

Two tensors, because every record of the archive costs some 200 bytes: the file is hardly larger than what is stored.
"""

from __future__ import annotations

import io
import os
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
from pydantic import BeforeValidator, Field, ValidationError

from accelsim.config.presets import TICKETS, preset_file
from accelsim.errors import AccelSimError, TicketError
from accelsim.files import write_file
from accelsim.prng import check_source
from accelsim.ticket.coats import coat_problem
from accelsim.ticket.codecs import check_codec
from accelsim.ticket.digest import DIGEST_BYTES, value_digest
from accelsim.ticket.header import (
    Fraction,
    LayerHeader,
    StrictRecord,
    dump_header,
    layer_header,
    parse_header,
    problem_of,
    shown,
    unknown_field,
)
from accelsim.ticket.model import Provenance, Ticket, TicketLayer
from accelsim.ticket.shapes import check_graph, count_weights, num_channels, weight_shapes
from accelsim.ticket.torchfile import read_torch_file

FORMAT_NAME = "accelsim-ticket"
FORMAT_VERSION = 1
MAX_TICKET_WEIGHTS = 1 << 31
_MAX_BITS = 64.0
_MAX_HEADER_BYTES = 16 << 20


def write_ticket(path: str | os.PathLike[str], ticket: Ticket) -> None:
    """Write a ticket; the file appears whole or not at all, and equal tickets give equal bytes.

    Raises
    ------
    TicketError
        The ticket is inconsistent (see `check_ticket`), or the file cannot be written.
    """
    import torch  # noqa: PLC0415  a second to import, and only writing needs it

    check_ticket(ticket)
    text = dump_header(ticket.graph, [layer_header(layer) for layer in ticket.layers])
    parts = [part for layer in ticket.layers for part in _layer_bytes(layer)]
    document = {
        "format": FORMAT_NAME,
        "version": FORMAT_VERSION,
        "provenance": ticket.provenance,
        "dataset": ticket.dataset,
        "accuracy": ticket.accuracy,
        "command": ticket.command,
        "regenerable": ticket.regenerable,
        "header": torch.tensor(bytearray(zlib.compress(text.encode(), 9)), dtype=torch.uint8),
        "payload": torch.tensor(bytearray(b"".join(parts)), dtype=torch.uint8),
        **({} if ticket.bits_per_character is None else {"bits_per_character": ticket.bits_per_character}),
        **({"notes": "\n".join(ticket.notes)} if ticket.notes else {}),
    }
    buffer = io.BytesIO()
    torch.save(document, buffer)
    write_file(path, buffer.getvalue(), TicketError)


def _layer_bytes(layer: TicketLayer) -> tuple[bytes, ...]:
    scales = (np.asarray(values, dtype="<f2").tobytes() for values in (layer.scale_K, layer.offset_K))
    others = (layer.weight_payload, layer.frozen_payload, layer.digest_payload, layer.coat_payload)
    return (layer.mask_payload, *scales, *others)


def read_ticket(path: str | os.PathLike[str], check_counts: bool = True) -> Ticket:
    """Read a ticket without executing anything and without decoding a mask; torch is not needed.

    Sizes are checked before memory is taken; graph, shapes, counts, thresholds and scales are checked against each
    other, and scales, offsets and densities against their digest where the file has one. Whether a mask agrees with its
    counts and its freezing map is checked when it is unpacked.

    Parameters
    ----------
    path
        The file, or the name of a ticket that came with the program.
    check_counts
        False takes counts as they are stated, whatever mask and thresholds say: for `accelsim.validation.verify`,
        which finds out where the weights differ.

    Raises
    ------
    TicketError
        The file is missing, damaged, foreign or inconsistent; the line starts with the path.
    """
    document = read_torch_file(preset_file(path, TICKETS))
    try:
        ticket = _parse(document)
        check_ticket(ticket, check_counts)
    except TicketError as error:
        raise TicketError(f"{os.fspath(path)}: {error}") from error
    return ticket


def is_ticket(document: Mapping[Any, object]) -> bool:
    """Return whether what a file holds says that it is a ticket."""
    name = document.get("format")
    return isinstance(name, str) and name == FORMAT_NAME


def _parse(document: object) -> Ticket:
    if not isinstance(document, dict) or not is_ticket(document):
        raise TicketError("not a ticket; import checkpoints of other programs with 'accelsim import'")
    version = document.get("version")
    if type(version) is not int or version != FORMAT_VERSION:
        raise TicketError(
            f"ticket.version: {shown(version)} is not {FORMAT_VERSION}; use the program version that wrote it"
        )
    known = _Document.model_fields
    if len(document) > len(known):  # millions of unknown fields would be as many errors
        raise TicketError(unknown_field("ticket", next(name for name in document if name not in known)))
    for name in known:
        value = document.get(name)
        if isinstance(value, dict | list | tuple):  # one may hold itself many times over: nothing looks into it
            raise TicketError(f"ticket.{name}: {shown(value)} is no plain value; the file is damaged or foreign")
    try:
        record = _Document.model_validate(document)
    except ValidationError as error:
        raise TicketError(problem_of(error, "ticket")) from error
    graph, headers = parse_header(_inflate(record.header))
    return Ticket(
        graph,
        _layers(headers, record.payload),
        record.provenance,
        record.dataset,
        record.accuracy,
        record.command,
        record.regenerable,
        tuple(record.notes.splitlines()),
        record.bits_per_character,
    )


def _flat_bytes(value: object) -> bytes:
    if not isinstance(value, np.ndarray) or value.dtype != np.uint8 or value.ndim != 1:
        raise ValueError("its value is not a flat uint8 tensor")
    return value.tobytes()


_Tensor = Annotated[bytes, BeforeValidator(_flat_bytes)]


class _Document(StrictRecord):
    format: str
    version: int
    provenance: Provenance
    dataset: str
    accuracy: Fraction | None
    command: str
    regenerable: bool
    header: _Tensor
    payload: _Tensor
    bits_per_character: Annotated[float, Field(ge=0, le=_MAX_BITS)] | None = None
    notes: str = ""


def _inflate(header: bytes) -> str:
    inflater = zlib.decompressobj()
    try:
        text = inflater.decompress(header, _MAX_HEADER_BYTES)
        if not inflater.eof or inflater.unused_data:
            raise TicketError(f"ticket.header: cut off or above {_MAX_HEADER_BYTES} bytes; the file is damaged")
        return text.decode()
    except (zlib.error, UnicodeDecodeError) as error:
        raise TicketError("ticket.header: not zlib text; the file is damaged") from error


@dataclass(slots=True)
class _Cursor:
    payload: bytes
    position: int = 0

    def take(self, size: int) -> bytes:
        if size > len(self.payload) - self.position:
            raise TicketError(f"ticket.payload: {len(self.payload)} bytes are fewer than declared; the file is cut off")
        self.position += size
        return self.payload[self.position - size : self.position]

    def take_float16(self, count: int) -> npt.NDArray[np.float16]:
        return np.frombuffer(self.take(2 * count), dtype="<f2").astype(np.float16)


def _layers(headers: tuple[LayerHeader, ...], payload: bytes) -> tuple[TicketLayer, ...]:
    cursor = _Cursor(payload)
    layers = []
    for header in headers:
        layers.append(
            TicketLayer(
                header.name,
                header.shape,
                header.source,
                check_codec(header.codec),
                cursor.take(header.mask_bytes),
                header.payload_bits,
                header.num_free,
                header.num_locked,
                header.num_kept,
                cursor.take_float16(header.num_scales),
                cursor.take_float16(header.num_scales),
                header.input_density,
                cursor.take(header.weight_bytes),
                cursor.take(header.frozen_bytes),
                cursor.take(header.digest_bytes),
                cursor.take(header.coat_bytes),
                header.coat_kept,
                header.value_digest,
            )
        )
    if cursor.position != len(payload):
        raise TicketError(f"ticket.payload: {len(payload) - cursor.position} bytes belong to no layer; damaged file")
    return tuple(layers)


def has_value_digests(ticket: Ticket) -> bool:
    """Return whether scales, offsets and densities of all layers stand under a digest, which reading has checked."""
    return all(layer.value_digest is not None for layer in ticket.layers)


def check_ticket(ticket: Ticket, check_counts: bool = True) -> None:
    """Check that graph, layers, counts, payloads and scales agree; nothing is decoded.

    ``check_counts=False`` leaves out whether the counts are those of mask and thresholds.

    Raises
    ------
    TicketError
        Naming the first layer and field that is wrong.
    """
    check_graph(ticket.graph)
    shapes = weight_shapes(ticket.graph)
    if count_weights(ticket.graph) > MAX_TICKET_WEIGHTS:
        raise TicketError(f"ticket: more than {MAX_TICKET_WEIGHTS} weights; shrink the network")
    names = [layer.name for layer in ticket.layers]
    kinds = {node.name: node.kind for node in ticket.graph.nodes}
    if names != [name for name in shapes if name in names or kinds[name] != "embedding"]:  # once stored with none
        odd = sorted(set(names) ^ set(shapes)) or ["their order"]
        raise TicketError(
            f"ticket.layers: {odd[0]!r} differs from the graph; give one layer per weighted node, in order"
        )
    channels = {node.name: num_channels(node) for node in ticket.graph.nodes}
    for layer in ticket.layers:
        expected = shapes[layer.name]
        _need(layer.shape == expected, layer, f"shape {layer.shape} is not {expected} as in the graph")
        _check_layer(layer, channels[layer.name])
        if check_counts:
            _check_counts(layer)


def _need(condition: bool, layer: TicketLayer, problem: str) -> None:
    if not condition:
        raise TicketError(f"layer {layer.name!r}: {problem}; the ticket is damaged")


def _check_layer(layer: TicketLayer, out_channels: int) -> None:
    n, free, locked, kept = layer.num_weights, layer.num_free, layer.num_locked, layer.num_kept
    _need(free >= 0 and locked >= 0 and free + locked <= n, layer, f"{free} free and {locked} locked of {n} weights")
    _need(locked <= kept <= locked + free, layer, f"{kept} kept is not from {locked} to {locked + free}")
    bits, size = layer.payload_bits, len(layer.mask_payload)
    _need(size == -(-bits // 8), layer, f"{bits} mask bits in {size} bytes")
    if layer.codec == "raw":
        _need(bits == free, layer, f"{bits} raw mask bits for {free} free weights")
    for name, values in (("scale_K", layer.scale_K), ("offset_K", layer.offset_K)):
        _need(values.size == out_channels, layer, f"{name} has {values.size} values for {out_channels} channels")
        _need(bool(np.isfinite(values).all()), layer, f"{name} has a value that is not finite")
    digest_bytes = DIGEST_BYTES * layer.shape[0]
    _need(len(layer.digest_payload) in (0, digest_bytes), layer, f"{len(layer.digest_payload)} bytes of digests")
    problem = coat_problem(layer)
    _need(problem is None, layer, problem or "")
    density = layer.input_density
    _need(density is None or 0.0 <= density <= 1.0, layer, f"input_density {density} is not from 0 to 1")
    written = layer.value_digest
    is_same = written is None or written == value_digest(layer.scale_K, layer.offset_K, density)
    _need(is_same, layer, "its scales, offsets or input_density are not those that their digest was made of")
    if layer.source is None:
        _need(len(layer.weight_payload) in (0, -(-n // 8)), layer, f"{len(layer.weight_payload)} bytes of signs")
        _need(len(layer.frozen_payload) in (0, 2 * -(-n // 8)), layer, f"{len(layer.frozen_payload)} bytes of map")
    else:
        _need(not layer.weight_payload and not layer.frozen_payload, layer, "both a random source and stored weights")
        try:
            check_source(layer.source)
        except AccelSimError as error:
            raise TicketError(f"layer {layer.name!r}: {error}") from error


def _check_counts(layer: TicketLayer) -> None:
    if layer.codec == "raw":
        ones, free_kept = int.from_bytes(layer.mask_payload, "big").bit_count(), layer.num_kept - layer.num_locked
        _need(ones == free_kept, layer, f"{ones} ones in the mask, {free_kept} free weights are kept")
    in_coats = int.from_bytes(layer.coat_payload, "big").bit_count()
    _need(in_coats == sum(layer.coat_kept), layer, f"{in_coats} ones in coats that keep {sum(layer.coat_kept)}")
    source = layer.source
    if source is None:
        return
    n, full = layer.num_weights, 1 << source.threshold_bits
    pruned_fraction = source.prune_threshold / full
    locked_fraction = (source.lock_threshold - source.prune_threshold) / full
    for what, count, fraction in (
        ("pruned", layer.num_pruned, pruned_fraction),
        ("locked", layer.num_locked, locked_fraction),
    ):
        # Binomial; short registers stray a little more, a wrong threshold much more.
        slack = 8 * (n * fraction * (1 - fraction)) ** 0.5 + 0.02 * n * (0 < fraction < 1)
        expected = n * fraction
        _need(abs(count - expected) <= slack, layer, f"{count} {what} weights where the thresholds give {expected:.0f}")
