"""The error tree: everything a user can cause ends in one of these.

Each message is one line and says where, what, what is allowed, and the remedy:
``hwconfigs/x.yaml: pe_array.rows: 0 is not >= 1; give a positive number of rows``.
The command line prints it and ends with exit status 2; anything else is an internal fault (status 1).
"""

from __future__ import annotations


class AccelSimError(Exception):
    """Base of every error that a user's input can cause."""


class ConfigError(AccelSimError):
    """A hardware, sweep or search description is wrong."""


class TicketError(AccelSimError):
    """A ticket or checkpoint is missing, broken, foreign or inconsistent."""


class TraceError(AccelSimError):
    """A layer graph or topology cannot be turned into a layer trace."""


class MappingError(AccelSimError):
    """No legal schedule exists for a layer on the given hardware, or a fixed one is illegal."""


class SimulationError(AccelSimError):
    """A simulation cannot go on: a deadlock, or bytes produced and not consumed."""


class Interrupted(KeyboardInterrupt):
    """A command that can go on later was told to stop: what is kept, and what the same command does then."""

    def __init__(self, kept: str, then: str) -> None:
        super().__init__(kept)
        self.then = then
