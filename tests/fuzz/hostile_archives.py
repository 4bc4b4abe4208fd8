"""Turns good archives, tickets, checkpoints, stores and exported programs into broken ones; see ``hostile``."""

from __future__ import annotations

import contextlib
import io
import json
import pickle
import sqlite3
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from hostile import VALUES, damaged_bytes, damaged_tree

from accelsim.ticket.torchfile import read_torch_file


def torch_bytes(document: Any) -> bytes:
    """Return what ``torch.save`` writes."""
    import torch

    stream = io.BytesIO()
    torch.save(document, stream)
    return stream.getvalue()


def ticket_bytes(draw: Random, data: bytes, path: str) -> bytes:
    """Return a damaged ticket: its bytes, its program, its document, or a wrong value in a right header."""
    import torch

    kind = draw.random()
    if kind < 0.2:
        return damaged_bytes(draw, data)
    if kind < 0.3:
        return damaged_archive(draw, data)
    if kind < 0.35:
        return program_archive(draw.choice(PROGRAMS)())
    document: Any = read_torch_file(path)
    header = json.loads(zlib.decompress(document["header"].tobytes()))
    payload = document["payload"].tobytes()
    if kind < 0.45:
        payload = damaged_bytes(draw, payload)
    elif kind > 0.5:
        header = damaged_tree(draw, header)
    text = json.dumps(header).encode()
    document = {
        **document,
        "header": torch.tensor(bytearray(zlib.compress(text)), dtype=torch.uint8),
        "payload": torch.tensor(bytearray(payload), dtype=torch.uint8),
    }
    if 0.45 <= kind < 0.5:
        document[draw.choice(list(document))] = draw.choice((*VALUES, torch.zeros(3), torch.zeros(2, 2).bool()))
    return torch_bytes(document)


def checkpoint_bytes(draw: Random, state: dict[Any, Any]) -> bytes:
    """Return a damaged checkpoint: its bytes, its program, or wrong tensors under right names."""
    import torch

    kind = draw.random()
    if kind < 0.2:
        return damaged_bytes(draw, torch_bytes(state))
    if kind < 0.3:
        return damaged_archive(draw, torch_bytes(state))
    if kind < 0.4:
        return program_archive(draw.choice(PROGRAMS)())
    state = dict(state)
    for _ in range(draw.choice((1, 1, 2, 4))):
        name = draw.choice(list(state))
        if draw.random() < 0.5 and isinstance(state[name], torch.Tensor):
            state[name] = damaged_tensor(draw, state[name])
        else:
            _damage_entry(draw, state, name)
        state = state or {"x": 1}
    wrapped = draw.choice((state, state, {"state_dict": state}, {"model": state, "epoch": 3}, [state]))
    return torch_bytes(wrapped)


def damaged_tensor(draw: Random, value: Any) -> Any:
    """Return a tensor with other values, another shape or another type."""
    import torch

    match draw.randrange(4):
        case 0:
            return torch.full_like(value, draw.choice((0, 1, -1, 127)))
        case 1 if value.is_floating_point():
            changed = value.clone().flatten()
            changed[draw.randrange(len(changed))] = draw.choice((float("nan"), float("inf"), -1e38, 1e-45))
            return changed.reshape(value.shape)
        case 2:
            shape = [max(0, size + draw.choice((-1, 0, 0, 1))) for size in value.shape]
            return torch.zeros(*shape) if draw.random() < 0.5 else value.unsqueeze(0)
        case _:
            return value.to(draw.choice((torch.int64, torch.bfloat16, torch.float64, torch.bool, torch.int8)))


def _damage_entry(draw: Random, state: dict[Any, Any], name: Any) -> None:
    import torch

    match draw.randrange(4):
        case 0:
            del state[name]
        case 1:
            state[draw.choice(("", "module." + str(name), str(name) + ".mask", "x.weight", 3))] = state.pop(name)
        case 2:
            state[name] = draw.choice((*VALUES, {"state_dict": dict(state)}, torch.zeros(()), torch.zeros(0, 3, 3)))
        case _:
            state[name] = state[draw.choice(list(state))]


def damaged_archive(draw: Random, data: bytes) -> bytes:
    """Return a zip archive with records lost, doubled, renamed, compressed, damaged or with false sizes."""
    entries = []
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        entries = [(entry.filename, archive.read(entry)) for entry in archive.infolist()]
    place = draw.randrange(len(entries))
    name, content = entries[place]
    compression = zipfile.ZIP_STORED
    match draw.randrange(6):
        case 0:
            del entries[place]
        case 1:
            entries.append((name, content[: len(content) // 2]))
        case 2:
            entries[place] = (draw.choice(("../owned", "/owned", "x/", "data.pkl", "x/data/0", "x" * 60000)), content)
        case 3:
            compression = zipfile.ZIP_DEFLATED
            entries[place] = (name, content + bytes(1 << 22))
        case 4:
            entries[place] = (name, damaged_bytes(draw, content))
        case _:
            names = [entry for entry in entries if entry[0].endswith(("data.pkl", ".json"))]
            if names:
                index = entries.index(names[0])
                entries[index] = (names[0][0], damaged_bytes(draw, names[0][1]))
    stream = io.BytesIO()
    with warnings_off(), zipfile.ZipFile(stream, "w", compression) as archive:
        for name, content in entries:
            archive.writestr(name, content)
    result = bytearray(stream.getvalue())
    if draw.random() < 0.3:
        # The directory at the end declares other sizes than the records have.
        place = result.rfind(b"PK\x01\x02")
        offset = place + draw.choice((10, 16, 20, 24, 28, 30, 42))
        result[offset : offset + 4] = draw.choice(
            (b"\xff\xff\xff\x7f", b"\xff\xff\xff\xff", b"\x00\x00\x00\x40", bytes(4))
        )
    return bytes(result)


def exported_bytes(draw: Random, data: bytes) -> bytes:
    """Return a damaged ``.pt2`` file: its bytes, its records, code in its pickles, or a wrong value in its graph."""
    kind = draw.random()
    if kind < 0.15:
        return damaged_bytes(draw, data)
    if kind < 0.3:
        return damaged_archive(draw, data)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        entries = {entry.filename: archive.read(entry) for entry in archive.infolist()}
    graph = next(name for name in entries if name.endswith("models/model.json"))
    if kind < 0.4:
        for name in entries:
            if not name.endswith(".json"):
                entries[name] = PROGRAMS[0]()
    else:
        entries[graph] = json.dumps(damaged_tree(draw, json.loads(entries[graph]))).encode()
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return stream.getvalue()


ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n) SELECT 'k' AS key, i AS row FROM n"
STATEMENTS = (
    "UPDATE points SET row = ''",
    "UPDATE points SET row = x'ff00ff'",
    "UPDATE points SET row = 7",
    "UPDATE points SET row = replace(row, '1', '2')",
    "UPDATE points SET row = substr(row, 1, 40)",
    "UPDATE points SET row = row || printf('%.*c', 1000000, 'x')",
    "UPDATE points SET key = key || 'x'",
    "DELETE FROM points",
    "DROP TABLE points",
    "ALTER TABLE points ADD COLUMN more TEXT",
    "ALTER TABLE points RENAME TO others",
    "ALTER TABLE points RENAME COLUMN row TO line",
    f"ALTER TABLE points RENAME TO others; CREATE VIEW points AS {ENDLESS}",
    "CREATE TRIGGER t BEFORE INSERT ON points BEGIN SELECT raise(FAIL, 'line\nbreak'); END",
    f"CREATE TRIGGER t AFTER INSERT ON points BEGIN DELETE FROM points WHERE (SELECT count(*) FROM ({ENDLESS})); END",
    "PRAGMA application_id = 1",
    "PRAGMA user_version = 2",
    "PRAGMA user_version = 2; PRAGMA application_id = 0; DROP TABLE points; VACUUM",
    "PRAGMA journal_mode = DELETE; PRAGMA encoding = 'UTF-16'",
    "CREATE TABLE other (x); INSERT INTO other VALUES (zeroblob(1000000))",
)


def store_bytes(draw: Random, data: bytes) -> bytes:
    """Return a damaged store: its bytes, whole stretches of them, or other content under SQL."""
    kind = draw.random()
    if kind < 0.3:
        return damaged_bytes(draw, data)
    if kind < 0.6:
        place, length = draw.randrange(len(data)), draw.choice((16, 64, 512, 4096))
        return data[:place] + draw.choice((b"\xff", b"\x00", b"S")) * length + data[place + length :]
    with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as database:
        # A file that a log belongs to cannot be opened from memory: bytes 18 and 19 say so.
        database.deserialize(data[:18] + b"\x01\x01" + data[20:])
        for _ in range(draw.choice((1, 1, 2))):
            with contextlib.suppress(sqlite3.Error):
                database.executescript(draw.choice(STATEMENTS))
        return database.serialize()


def search_bytes(draw: Random, path: Path) -> bytes:
    """Return a damaged checkpoint of a search: its bytes, its program, or a wrong value under a right name."""
    import torch

    kind, data = draw.random(), path.read_bytes()
    if kind < 0.2:
        return damaged_bytes(draw, data)
    if kind < 0.3:
        return damaged_archive(draw, data)
    if kind < 0.4:
        return program_archive(draw.choice(PROGRAMS)())
    state = torch.load(path, weights_only=True)
    for _ in range(draw.choice((1, 1, 2))):
        name = draw.choice(list(state))
        table = state[name]
        if isinstance(table, dict) and table and draw.random() < 0.8:
            entry = draw.choice(list(table))
            if draw.random() < 0.7:
                table[entry] = damaged_tensor(draw, table[entry]) if table[entry].numel() else torch.zeros(2)
            else:
                _damage_entry(draw, table, entry)
        else:
            _damage_entry(draw, state, name)
        state = state or {"format": 1}
    return torch_bytes(state)


def warnings_off() -> Any:
    import warnings

    return warnings.catch_warnings(action="ignore")


def program_archive(program: bytes, storage: bytes = b"\x00" * 64) -> bytes:
    """Return a file of ``torch.save`` with another program in it."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in (
            ("data.pkl", program),
            ("byteorder", b"little"),
            ("data/0", storage),
            ("version", b"3\n"),
        ):
            archive.writestr(f"archive/{name}", content)
    return stream.getvalue()


class _Command:
    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


def _shared(levels: int) -> Any:
    value: Any = ("x",)
    for _ in range(levels):
        value = (value, value)
    return value


def _tensor_program(numel: int, size: str, stride: str, key: str = "0", kind: str = "FloatStorage") -> bytes:
    """Return a program whose dictionary holds one tensor with declared sizes; ``size`` and ``stride`` are pickled."""
    storage = f"(X\x07\x00\x00\x00storagectorch\n{kind}\nX\x01\x00\x00\x00{key}X\x03\x00\x00\x00cpu".encode("latin-1")
    count = pickle.dumps(numel, 2)[2:-1]
    shapes = b"".join(pickle.dumps(tuple(map(int, text.split(","))), 2)[2:-1] for text in (size, stride))
    tensor = b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + count + b"tQK\x00" + shapes + b"\x89}tR"
    return b"\x80\x02}X\x06\x00\x00\x00weight" + tensor + b"s."


def _nested(levels: int) -> bytes:
    return b"\x80\x02}X\x01\x00\x00\x00a" + b"]" * levels + b"a" * (levels - 1) + b"s."


PROGRAMS: tuple[Callable[[], bytes], ...] = (
    lambda: pickle.dumps({"a": _Command(__import__("os").system, "touch owned")}, 2),
    lambda: pickle.dumps({"a": _Command(eval, "open('owned', 'w')")}, 2),
    lambda: pickle.dumps({"a": _Command(exec, "raise SystemExit")}, 4),
    lambda: pickle.dumps({"weight": np.zeros(3)}, 2),
    lambda: pickle.dumps({"format": "accelsim-ticket", "version": _shared(60)}, 2),
    lambda: pickle.dumps({"format": _shared(60), "state_dict": _shared(60)}, 2),
    lambda: pickle.dumps({"format": "accelsim-ticket", "version": 1, "provenance": _shared(60)}, 2),
    lambda: pickle.dumps({"format": "accelsim-ticket", "version": 10**600}, 2),
    lambda: b"\x80\x02}" + pickle.dumps(_shared(60), 2)[2:-1] + b"K\x01s.",
    lambda: pickle.dumps({"module." * 3000 + "w": 1, "prune_rate": 1 << 2000}, 2),
    lambda: _nested(100),
    lambda: _nested(200_000),
    lambda: b"\x80\x02]q\x00h\x00a.",
    lambda: b"\x80\x02}q\x00X\x0a\x00\x00\x00state_dicth\x00s.",
    lambda: b"\x80\x02.",
    lambda: b"\x80\x02N",
    lambda: b"\x80\x02(((.",
    lambda: b"\x80\x02}]K\x01s.",
    lambda: b"\x80\x02X\xff\xff\xff\x7fabc.",
    lambda: b"\x80\x04\x8d\xff\xff\xff\xff\xff\xff\xff\x7fabc.",
    lambda: b"\x80\x02\x8b\xff\xff\xff\x7f\x01.",
    lambda: b"\x80\x02r\xff\xff\xff\xff.",
    lambda: b"\x80\x02}X\x01\x00\x00\x00a\x8a\xff" + b"\x7f" * 255 + b"s.",
    lambda: _tensor_program(16, "16", "1"),
    lambda: _tensor_program(1 << 40, "16", "1"),
    lambda: _tensor_program(16, f"{1 << 40}", "1"),
    lambda: _tensor_program(16, f"{1 << 40}", "0"),
    lambda: _tensor_program(16, "4,4,0", "1,1,1"),
    lambda: _tensor_program(16, "2,2", f"{1 << 62},{1 << 62}"),
    lambda: _tensor_program(16, "-1", "1"),
    lambda: _tensor_program(16, ",".join("1" * 70), ",".join("1" * 70)),
    lambda: _tensor_program(16, "16", "1", key="9"),
    lambda: _tensor_program(16, "16", "1", kind="ComplexFloatStorage"),
)
