"""What a process keeps of earlier work: schedules and choices by their content, least recently used ones dropped."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

Value = TypeVar("Value")


class Key:
    """A key that is looked up often: what it consists of is hashed once."""

    __slots__ = ("_hash", "parts")

    def __init__(self, parts: Hashable) -> None:
        self.parts = parts
        self._hash = hash(parts)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Key) and self._hash == other._hash and self.parts == other.parts)


class Kept(Generic[Value]):
    """A memory of results by key. A result never depends on what is kept; only the time to get it does.

    Attributes
    ----------
    limit
        Weight of all results together, beyond which those not used for longest are dropped.
    """

    def __init__(self, limit: int, share: int = 8) -> None:
        self.limit, self._largest = limit, limit // share
        self._weight = 0
        self._found: OrderedDict[Hashable, tuple[Value, int]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable) -> Value | None:
        """Return the result of a key, or None."""
        with self._lock:
            entry = self._found.get(key)
            if entry is None:
                return None
            self._found.move_to_end(key)
            return entry[0]

    def put(self, key: Hashable, value: Value, weight: int) -> None:
        """Keep a result; one that weighs more than a ``share``-th of the limit is not worth the others."""
        if weight > self._largest:
            return
        with self._lock:
            self._weight += weight - self._found.pop(key, (value, 0))[1]
            self._found[key] = value, weight
            while self._weight > self.limit:
                _, (_, dropped) = self._found.popitem(last=False)
                self._weight -= dropped

    def forget(self) -> None:
        """Keep nothing any more."""
        with self._lock:
            self._found.clear()
            self._weight = 0
