"""Fused layers on several cores: each core runs the whole group for some of its rows, or of its inputs or heads.

A core makes what it needs of the maps between the layers itself, halos between cores included, so that cores wait for
each other behind the group alone. Their weights are the same: pieces that stand at the same place among those of their
cores are one slot, for which a shared unit makes weights once.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace

from accelsim.config.hardware import HardwareConfig
from accelsim.errors import MappingError
from accelsim.mapping.build import build_layer, in_one
from accelsim.mapping.cores import Share
from accelsim.mapping.fixed import fitted
from accelsim.mapping.fusion import FusedGroup, pieces_of
from accelsim.mapping.loops import Tiling
from accelsim.mapping.network import DoesNotFitError, likely_alone, map_alone
from accelsim.mapping.pieces import Entry, described, largest_of, with_figures
from accelsim.mapping.prices import EnergyPrices
from accelsim.mapping.task import LayerTask, content_of
from accelsim.mapping.vector_layer import build_vector_layer
from accelsim.timing.schedule import FusedLayers, LayerSchedule
from accelsim.trace.model import LayerTrace, TraceLayer


@dataclass(frozen=True, slots=True)
class GroupSlot:
    """Pieces at one place among those of their cores: of the layer at ``place``, by core, with the layer of each."""

    place: int
    schedules: Mapping[int, LayerSchedule]
    layers: Mapping[int, TraceLayer]


@dataclass(frozen=True, slots=True)
class GroupOnCores:
    """A fused group as the cores run it, in order."""

    slots: tuple[GroupSlot, ...]
    fused: FusedLayers


def seen_by_core(
    tasks: Sequence[LayerTask], group: FusedGroup, chip: HardwareConfig, hardware: HardwareConfig
) -> list[LayerTask]:
    """Return the layers of a group, and all others, on a core's ``chip``: with its part of a shared activation buffer.

    ``tasks`` are those of all layers with the room that maps which stay on chip leave in the buffer of all.
    """
    number = group.num_cores if "activation_buffer" in hardware.share else 1
    return [
        replace(task, hardware=chip, activation_capacity_bytes=task.activation_capacity_bytes // number)
        for task in tasks
    ]


def group_on_cores(
    trace: LayerTrace,
    group: FusedGroup,
    tasks: Sequence[LayerTask],
    prices: EnergyPrices,
    fixed: Mapping[str, Tiling],
    *,
    quick: bool = False,
) -> GroupOnCores:
    """Map a group; ``tasks`` are those of all layers as a core sees them (`seen_by_core`).

    All pieces of a layer have the tiling of the largest, cut to their rows. ``quick``: what the closed form likes best.

    Raises
    ------
    DoesNotFitError
        A piece fits a core in no way.
    """
    by_core = [
        [Entry(piece.place, piece.task, tasks[piece.place], piece) for piece in pieces_of(trace, group, tasks, core)]
        for core in range(group.num_cores)
    ]
    every = [entry for entries in by_core for entry in entries]
    tilings = {place: _tiling(every, place, prices, fixed, quick) for place in group.places}
    working = {
        place: [core for core, entries in enumerate(by_core) if any(entry.place == place for entry in entries)]
        for place in group.places
    }
    known: dict[Hashable, LayerSchedule] = {}
    found: dict[tuple[int, int, int], dict[int, tuple[LayerSchedule, TraceLayer]]] = {}
    for core, entries in enumerate(by_core):
        for entry in entries:
            piece, chip = entry.piece, entry.task.hardware
            assert piece is not None  # all of them are
            cores = working[entry.place]
            # A layer's products are counted by the cores that have rows of it, in parts that add up exactly.
            share = Share(cores.index(core), 1, len(cores))
            # Chips differ in what the group leaves of these buffers alone.
            left = chip.weight_buffer.capacity_bytes, chip.mask_buffer.capacity_bytes
            key = entry.place, content_of(entry.task), left
            try:
                if key not in known:
                    known[key] = _built(entry.task, tilings[entry.place], entry.task.layer.name in fixed)
                schedule = with_figures(known[key], entry, share)
            except MappingError as failure:
                raise DoesNotFitError(entry.place, str(failure)) from failure
            slot = found.setdefault((piece.part, piece.stripe, entry.place), {})
            slot[core] = schedule, entry.task.layer
    slots = tuple(
        GroupSlot(
            place,
            {core: schedule for core, (schedule, _) in found[part, stripe, place].items()},
            {core: layer for core, (_, layer) in found[part, stripe, place].items()},
        )
        for part, stripe, place in sorted(found)
    )
    return GroupOnCores(slots, described(trace, group, every))


def _tiling(
    entries: Sequence[Entry], place: int, prices: EnergyPrices, fixed: Mapping[str, Tiling], quick: bool
) -> Tiling | None:
    """Return the tiling of a layer's largest piece; None where it has none."""
    largest = largest_of(entries, place)
    if not largest.layer.uses_array:
        return None
    if largest.layer.name in fixed:
        return fixed[largest.layer.name]
    likely = likely_alone(largest, prices, 1.0) if quick else []
    try:
        return likely[0] if likely else map_alone(largest, prices).schedule.tiling
    except MappingError as failure:
        raise DoesNotFitError(place, str(failure)) from failure


def _built(part: LayerTask, tiling: Tiling | None, is_stated: bool) -> LayerSchedule:
    if not part.layer.uses_array or tiling is None:
        return build_vector_layer(part)
    own = tiling.cut_to(part.layer.dims)
    return in_one(build_layer(part, fitted(part, own) if is_stated else own))
