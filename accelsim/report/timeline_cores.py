"""The timeline of several cores: a group of tracks for each, in the format of `accelsim.report.timeline`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from accelsim.report.timeline import MAX_SLICES, Heading, Timeline, written
from accelsim.report.timeline_probe import Slice, TimelineProbe
from accelsim.results.model import RunResult
from accelsim.timing.program import KIND_NAMES

_TRACKS = ("pe_array", "stall", "weight_generator", "mask_decoder", "vector_unit")
_SHOWN = {"stall": "pe_array waits for"}
Event = dict[str, object]


@dataclass(frozen=True, slots=True)
class CoresSeen:
    """What a probe saw of several cores: the names of layers, and which network each core works on."""

    heading: Heading
    clock_mhz: float
    layers: Sequence[str]
    networks: Sequence[str]

    @classmethod
    def of(cls, result: RunResult, num_cores: int) -> CoresSeen:
        """Return what was seen of one network on all cores."""
        name = f"{result.workload.name} as {result.storage}"
        layers = [layer.name for layer in result.layers]
        return cls(Heading.of(result), result.hardware.clock_mhz, layers, [name] * num_cores)


def make_core_timeline(seen: CoresSeen, probe: TimelineProbe) -> Timeline:
    """Return the timeline of a run on several cores that ``probe`` saw.

    Requests of a core are tracks by their kind, at the times at which their data cross; of more than `MAX_SLICES`
    slices the first ones of each core are drawn.
    """
    units = [*_TRACKS, *(f"dma {kind}" for kind in KIND_NAMES)]
    room = MAX_SLICES // len(seen.networks)
    events: list[Event] = []
    left_out = 0
    for core, network in enumerate(seen.networks):
        title = f"core {core} of {seen.heading.hardware}: {network}"
        events.append({"name": "process_name", "ph": "M", "pid": core + 1, "tid": 0, "args": {"name": title}})
        events += [
            {"name": "thread_name", "ph": "M", "pid": core + 1, "tid": tid, "args": {"name": _SHOWN.get(unit, unit)}}
            for tid, unit in enumerate(units)
        ]
        slices = sorted(_slices(probe, core), key=lambda each: each[1].start_cycle)
        left_out += max(0, len(slices) - room)
        events += [_event(seen, core, units.index(unit), unit, piece) for unit, piece in slices[:room]]
    words = f"{left_out:,} slices behind the first {room:,} of each core are not drawn" if left_out else ""
    return written(seen.heading, events, words, {})


def _slices(probe: TimelineProbe, core: int) -> Iterator[tuple[str, Slice]]:
    for unit in _TRACKS:
        yield from ((unit, piece) for piece in probe.pieces(f"{core}/{unit}"))
    for piece in probe.pieces(f"{core}/dram"):
        if piece.end_cycle > piece.start_cycle:  # else another core fetches it for all
            yield f"dma {KIND_NAMES[int(piece.label)]}", piece


def _event(seen: CoresSeen, core: int, track: int, unit: str, piece: Slice) -> Event:
    layer = seen.layers[piece.layer]
    begin = round(piece.start_cycle / seen.clock_mhz, 6)
    end = round(piece.end_cycle / seen.clock_mhz, 6)
    name = piece.label if unit == "stall" else f"{layer} {piece.tile}".strip()
    args = {"layer": layer, "tile": piece.tile, "cycles": piece.end_cycle - piece.start_cycle}
    return {
        "name": name, "ph": "X", "pid": core + 1, "tid": track, "ts": begin, "dur": round(end - begin, 6), "args": args,
    }  # fmt: skip
