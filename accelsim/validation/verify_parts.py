"""What each core of a chip visits of a layer's weight tiles, and what the simulation counted for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from accelsim.config.hardware import HardwareConfig
from accelsim.config.loader import LoadedHardware
from accelsim.cores.program import Program
from accelsim.fused_view import piece_entries
from accelsim.mapping.core_chip import core_chip
from accelsim.mapping.cores import is_part, split_task
from accelsim.mapping.network import network_tasks
from accelsim.mapping.residency import Residency
from accelsim.pipeline import best_on_cores, built_for, layer_plans, schedule_network
from accelsim.sim.cores import run_system
from accelsim.sim.run import run_schedule
from accelsim.timing.schedule import LayerSchedule, Schedule
from accelsim.trace.model import LayerTrace, TraceLayer
from accelsim.validation.verify_image import TileVisits, joined_visits, tile_visits

_GENERATOR, _DECODER = "weight_generator", "mask_decoder"


@dataclass(frozen=True, slots=True)
class VisitedPart:
    """A layer, or a core's part of it.

    Attributes
    ----------
    core
        Empty on a chip with one core, else ``core N: ``.
    visits
        Of its weight tiles; of a fused layer those of the pieces whose weights are made anew, one after the other.
    generator, decoder
        Action -> count, of the simulation; None where another core's unit made the same for both.
    """

    core: str
    visits: TileVisits
    generator: Mapping[str, int] | None
    decoder: Mapping[str, int] | None


def visited_parts(hardware: LoadedHardware, trace: LayerTrace, storage: str) -> dict[str, list[VisitedPart]]:
    """Return for each layer with weights what its cores visit, in a run of ``trace``.

    Raises
    ------
    AccelSimError
        The chip cannot run the network.
    """
    chip = hardware.config
    if chip.num_cores > 1:
        built = built_for(chip, trace, storage)
        program, _ = best_on_cores(built, trace, storage)
        if program is not None:
            return _of_cores(LoadedHardware(built, hardware.path, hardware.sha256), trace, storage, program)
        chip = core_chip(chip, 1, None)
    schedule, _ = schedule_network(chip, trace, storage)
    counters = run_schedule(schedule, chip)
    visited = _of_pieces(trace, storage, schedule, chip)
    return {
        layer.name: [
            VisitedPart("", visited[place], counted.actions.get(_GENERATOR, {}), counted.actions.get(_DECODER, {}))
        ]
        for place, (layer, counted) in enumerate(zip(trace.layers, counters.layers, strict=True))
        if layer.weights is not None and layer.uses_array
    }


def _of_pieces(trace: LayerTrace, storage: str, schedule: Schedule, chip: HardwareConfig) -> dict[int, TileVisits]:
    """Return by the place of a layer with weights the visits of its pieces whose weights are made anew."""
    traced = trace.layers
    if schedule.layer_of:
        traced = tuple(entry.task.layer for entry in piece_entries(trace, storage, schedule, chip))
    by_layer: dict[int, list[tuple[TraceLayer, LayerSchedule]]] = {}
    for place, layer, piece in zip(schedule.places, traced, schedule.layers, strict=True):
        if layer.weights is not None and layer.uses_array:
            by_layer.setdefault(place, []).append((layer, piece))
    found = {}
    for place, own in by_layer.items():
        made = [(layer, piece) for layer, piece in own if piece.uses_generator or piece.uses_decoder] or own[:1]
        found[place] = joined_visits([tile_visits(layer, piece, chip) for layer, piece in made])
    return found


def _of_cores(
    hardware: LoadedHardware, trace: LayerTrace, storage: str, program: Program
) -> dict[str, list[VisitedPart]]:
    chip = hardware.config
    nowhere = Residency(frozenset(), (0,) * len(trace.layers))
    tasks = network_tasks(trace, layer_plans(trace, storage), core_chip(chip, 1, None), nowhere)
    found: dict[str, list[VisitedPart]] = {}
    begun: set[tuple[int, int]] = set()
    for one in run_system(program.slots, chip).pieces:
        place, slot = program.layer_of[one.piece.slot], program.slots[one.piece.slot]
        own, by = tasks[place], program.divided[place]
        if own.layer.weights is None or not own.layer.uses_array:
            continue
        parts = split_task(own, by, len(slot.pieces), trace.num_inputs) if is_part(by) else None
        if parts is not None:
            own = parts[sorted(slot.pieces).index(one.piece.core)]
        layer = own.layer
        if program.traced and one.piece.core in program.traced[one.piece.slot]:
            layer, schedule = program.traced[one.piece.slot][one.piece.core], one.piece.schedule
            is_made = schedule.uses_generator or schedule.uses_decoder
            if not is_made and (place, one.piece.core) in begun:
                continue  # its weights stayed on chip
            begun.add((place, one.piece.core))
        visits = tile_visits(layer, one.piece.schedule, chip, (own.first_filter, own.first_weight))
        made, decoded = (
            None if unit in one.piece.follows else one.actions.get(unit, {}) for unit in (_GENERATOR, _DECODER)
        )
        part = VisitedPart(f"core {one.piece.core}: ", visits, made, decoded)
        found.setdefault(trace.layers[place].name, []).append(part)
    return found
