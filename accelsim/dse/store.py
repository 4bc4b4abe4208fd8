"""Results by content address in one SQLite file: several processes may share it, and a killed one loses nothing done.

Write-ahead logging lets readers go on while one process writes; who finds the file locked waits. A row is written once
and never changed: the same address always has the same content.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from accelsim.dse.rows import Row
from accelsim.errors import AccelSimError

_BUSY_S = 60.0
_PARAMETERS_AT_ONCE = 500
_TABLE = "points (key TEXT PRIMARY KEY, row TEXT NOT NULL) WITHOUT ROWID"
_APPLICATION_ID = 0x61736473  # "asds", so that another program's database is not taken for a store


# A row begins with a digest of its address and text: SQLite notices a damaged page only where it breaks the structure.
_DIGEST_CHARS = 16


class StoreError(AccelSimError):
    """A store cannot be opened, read or written."""


def _digest(key: str, text: str) -> str:
    return hashlib.sha256(f"{key}\n{text}".encode()).hexdigest()[:_DIGEST_CHARS]


def _unusable(error: sqlite3.Error | UnicodeDecodeError) -> str:
    if isinstance(error, UnicodeDecodeError) or "decode to UTF-8" in str(error):
        return "is damaged (text that is not UTF-8); remove it and run again"
    if getattr(error, "sqlite_errorname", "").startswith("SQLITE_CORRUPT"):
        return f"is damaged ({error}); remove it and run again"
    return f"cannot be used as a store ({error}); give a file that accelsim made"


@contextlib.contextmanager
def removed_store(path: Path, *refusals: type[AccelSimError]) -> Iterator[None]:
    """Remove the store that the body makes under ``path`` where there was none, if the body ends in ``refusals``."""
    is_new = not os.path.lexists(path)
    try:
        yield
    except refusals:
        if is_new:
            for suffix in ("", "-wal", "-shm"):
                path.with_name(path.name + suffix).unlink(missing_ok=True)
        raise


class ResultStore:
    """An open store.

    Raises
    ------
    StoreError
        The place cannot be written, or the file is no store.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with contextlib.ExitStack() as opened:
            try:
                self._database = opened.enter_context(
                    contextlib.closing(sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None))
                )
                self._database.execute("PRAGMA journal_mode=WAL")
                self._database.execute("PRAGMA synchronous=NORMAL")
                self._claim()
            except (sqlite3.Error, UnicodeDecodeError) as error:
                raise StoreError(f"{path}: {_unusable(error)}") from None
            opened.pop_all()  # what is refused is closed at once: its lock would stop whoever makes the store anew

    def _claim(self) -> None:
        (found,) = self._database.execute("PRAGMA application_id").fetchone()
        definitions = [text for (text,) in self._database.execute("SELECT sql FROM sqlite_master").fetchall()]
        if found != _APPLICATION_ID and definitions:
            raise StoreError(f"{self.path}: is a database of another program; give another file with --store")
        # A view or a trigger in a stranger's file would run for ever, or change what is written.
        if definitions not in ([], [f"CREATE TABLE {_TABLE}"]):
            raise StoreError(f"{self.path}: holds other tables than a store; give another file with --store")
        self._database.execute(f"PRAGMA application_id={_APPLICATION_ID}")
        self._database.execute(f"CREATE TABLE IF NOT EXISTS {_TABLE}")

    def get(self, keys: Sequence[str]) -> dict[str, Row]:
        """Return the rows that are there, by key."""
        found: dict[str, Row] = {}
        for start in range(0, len(keys), _PARAMETERS_AT_ONCE):
            part = keys[start : start + _PARAMETERS_AT_ONCE]
            marks = ",".join("?" * len(part))
            query = f"SELECT key, row FROM points WHERE key IN ({marks})"  # noqa: S608  only question marks
            for key, text in self._query(query, part):
                found[key] = self._row(key, text)
        return found

    def _row(self, key: str, stored: str) -> Row:
        digest, text = stored[:_DIGEST_CHARS], stored[_DIGEST_CHARS:]
        if digest != _digest(key, text):
            raise StoreError(f"{self.path}: the row {key[:12]} is damaged; remove the file and run again")
        row: Row = json.loads(text)
        return row

    def put(self, rows: Iterable[tuple[str, Row]]) -> None:
        """Add rows in one transaction; what is there already stays."""
        texts = [(key, json.dumps(row, sort_keys=True, separators=(",", ":"))) for key, row in rows]
        entries = [(key, f"{_digest(key, text)}{text}") for key, text in texts]
        try:
            self._database.execute("BEGIN IMMEDIATE")
            self._database.executemany("INSERT OR IGNORE INTO points VALUES (?, ?)", entries)
            self._database.execute("COMMIT")
        except sqlite3.Error as error:
            raise StoreError(f"{self.path}: cannot be written ({error}); make room, or free the lock") from None

    def count(self) -> int:
        """Return the number of rows."""
        return int(self._query("SELECT count(*) FROM points", ())[0][0])

    def _query(self, text: str, parameters: Sequence[str]) -> list[tuple[str, str]]:
        try:
            return self._database.execute(text, parameters).fetchall()
        except (sqlite3.Error, UnicodeDecodeError) as error:
            raise StoreError(f"{self.path}: {_unusable(error)}") from None

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
