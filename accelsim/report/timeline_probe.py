"""What units did and when, collected while a run is simulated: three numbers a slice, so that nothing is left out."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]


class Slice(NamedTuple):
    """One piece of work of a unit."""

    layer: int
    label: str
    tile: int
    start_cycle: int
    end_cycle: int


@dataclass(frozen=True, slots=True)
class Columns:
    """The slices of one unit in one layer in the order in which they were noted, int64 [num_slices]."""

    index: Ints
    start: Ints
    end: Ints


@dataclass(slots=True)
class _Track:
    labels: list[str] = field(default_factory=list)
    index: array[int] = field(default_factory=lambda: array("q"))
    start: array[int] = field(default_factory=lambda: array("q"))
    end: array[int] = field(default_factory=lambda: array("q"))


class TimelineProbe:
    """Collects the slices of a run (see `accelsim.sim.chip.Probe`); they take less memory than the schedule does."""

    def __init__(self) -> None:
        self._tracks: dict[tuple[str, int], _Track] = {}
        self._labels: dict[str, str] = {}

    def slice(self, unit: str, layer: int, label: str, index: int, start_cycle: int, end_cycle: int) -> None:
        """Note that ``unit`` worked on item ``index`` from ``start_cycle`` to ``end_cycle``."""
        track = self._tracks.get((unit, layer))
        if track is None:
            track = self._tracks[unit, layer] = _Track()
        track.labels.append(self._labels.setdefault(label, label))
        track.index.append(index)
        track.start.append(start_cycle)
        track.end.append(end_cycle)

    def layers(self, unit: str) -> list[int]:
        """Return the layers in which ``unit`` worked, in order."""
        return sorted(layer for name, layer in self._tracks if name == unit)

    def pieces(self, unit: str, layer: int | None = None) -> Iterator[Slice]:
        """Yield the slices of ``unit`` in order, of one layer or of all."""
        for number in self.layers(unit) if layer is None else [layer]:
            track = self._tracks.get((unit, number), _Track())
            for label, index, start, end in zip(track.labels, track.index, track.start, track.end, strict=True):
                yield Slice(number, label, index, start, end)

    def columns(self, unit: str, layer: int) -> Columns:
        """Return the slices of ``unit`` in one layer as arrays."""
        track = self._tracks.get((unit, layer), _Track())
        return Columns(*(np.array(values, dtype=np.int64) for values in (track.index, track.start, track.end)))
