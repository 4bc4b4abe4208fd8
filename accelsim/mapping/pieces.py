"""The network as it is mapped, entry by entry: layers, and the pieces of fused ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from accelsim.errors import MappingError
from accelsim.mapping.build import layer_shape
from accelsim.mapping.cores import Share
from accelsim.mapping.fusion import FusedGroup, PieceTask, pieces_of
from accelsim.mapping.mapper import MappedLayer
from accelsim.mapping.skipping import effective_macs
from accelsim.mapping.task import LayerTask
from accelsim.storage.base import StoredBits
from accelsim.timing.moment import Moment
from accelsim.timing.schedule import FusedLayers, LayerSchedule
from accelsim.timing.solve import layer_end, layer_table
from accelsim.trace.model import LayerTrace


@dataclass(frozen=True, slots=True)
class Entry:
    """What runs next: a layer, or a piece of a fused one; ``whole`` is the task of all of it, ``place`` its layer's."""

    place: int
    task: LayerTask
    whole: LayerTask
    piece: PieceTask | None = None


def entries_of(trace: LayerTrace, tasks: Sequence[LayerTask], groups: Sequence[FusedGroup]) -> list[Entry]:
    """Return the network in the order in which it runs; ``tasks`` are those of its layers."""
    by_first = {group.first: group for group in groups}
    entries: list[Entry] = []
    place = 0
    while place < len(tasks):
        group = by_first.get(place)
        if group is None:
            entries.append(Entry(place, tasks[place], tasks[place]))
            place += 1
            continue
        pieces = pieces_of(trace, group, tasks)
        entries += [Entry(piece.place, piece.task, tasks[piece.place], piece) for piece in pieces]
        place = group.stop
    return entries


def largest_of(entries: Sequence[Entry], place: int) -> LayerTask:
    """Return the piece of a layer with most rows, of equals the first.

    All pieces of a layer have the tiling of this one, cut to the rows of each: the stored bits of the weights lie in
    memory in the order of its tiles.
    """
    own = [entry.task for entry in entries if entry.place == place]
    return max(own, key=lambda task: task.layer.dims.P)


def as_piece(item: MappedLayer, entry: Entry, before: Moment) -> MappedLayer:
    """Return a piece under its layer's figures, with what the group has in the buffers beside it, and its end there."""
    if entry.piece is None:
        return item
    schedule, hardware = with_figures(item.schedule, entry), entry.whole.hardware
    end = layer_end(layer_table(schedule, hardware, before), hardware, before)
    return replace(item, schedule=schedule, end=item.end if end is None else end)


ALL = Share(0, 1, 1)


def with_figures(schedule: LayerSchedule, entry: Entry, share: Share = ALL) -> LayerSchedule:
    """Return a piece's schedule under its layer's figures, those of a core in its last piece: its ``share`` of them.

    Raises
    ------
    MappingError
        It has too many tiles.
    """
    piece, whole = entry.piece, entry.whole
    if piece is None:
        return schedule
    occupancy = {
        name: schedule.occupancy_bytes.get(name, 0) + piece.beside_bytes.get(name, 0)
        for name in {**schedule.occupancy_bytes, **piece.beside_bytes}
    }
    # Products and stored bits are the layer's: they stand with its last piece, so that sums count them once.
    counts = piece.is_last and whole.layer.uses_array
    if schedule.parts is not None:
        raise MappingError(
            f"{whole.layer.name}: its stripes have {schedule.num_steps} tiles each, too many to be fused; leave it out "
            "of mapping.fuse"
        )
    return replace(
        schedule,
        name=whole.layer.name,
        shape=layer_shape(whole.layer),
        macs=share.of(whole.layer.dims.macs) if counts else 0,
        effective_macs=share.of(effective_macs(whole)) if counts else 0,
        stored_bits=whole.stored_bits if piece.is_last else StoredBits(),
        occupancy_bytes=occupancy,
    )


def described(trace: LayerTrace, group: FusedGroup, entries: Sequence[Entry]) -> FusedLayers:
    """Return what a result says of a group, with the pieces of all cores among ``entries``."""
    pieces = [entry for entry in entries if entry.piece is not None and entry.place in group.places]
    made, held = dict.fromkeys(group.places, 0), dict.fromkeys(group.places, "")
    for entry in pieces:
        made[entry.place] += entry.task.layer.dims.P
        held[entry.place] = held[entry.place] or entry.task.held
    rows = [trace.layers[place].dims.P * group.num_parts for place in group.places]
    return FusedLayers(
        layers=tuple(trace.layers[place].name for place in group.places),
        first=group.first,
        division=group.division,
        num_parts=group.num_parts,
        num_stripes=group.num_stripes,
        halo=group.halo,
        held=tuple(held.values()),
        rows_made=tuple(count / own for count, own in zip(made.values(), rows, strict=True)),
        held_bytes=max(entry.piece.beside_bytes["activation_buffer"] for entry in pieces if entry.piece is not None),
        holds_second=group.holds_second,
        num_cores=group.num_cores,
    )
