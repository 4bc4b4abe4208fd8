"""Which pictures of a run are wanted."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pictures:
    """Files in which the user wants to see the run: a timeline, and a Gantt chart of one layer (None: the slowest)."""

    timeline: str | None
    gantt: str | None
    gantt_layer: str | None

    @property
    def are_wanted(self) -> bool:
        """Return whether there is any."""
        return self.timeline is not None or self.gantt is not None
