"""A run with fused layers as its pieces: each of them a layer, for pictures and tables that show what runs when."""

from __future__ import annotations

from dataclasses import dataclass, replace

from accelsim.config.hardware import HardwareConfig
from accelsim.config.loader import LoadedHardware
from accelsim.cost.evaluate import evaluate
from accelsim.cost.tables import load_tables
from accelsim.mapping.fusion import groups_of
from accelsim.mapping.network import network_tasks
from accelsim.mapping.pieces import Entry, entries_of
from accelsim.mapping.residency import Residency
from accelsim.pipeline import layer_plans
from accelsim.results.build import assemble_result
from accelsim.results.model import RunResult
from accelsim.sim.run import run_schedule
from accelsim.timing.schedule import Schedule
from accelsim.trace.model import LayerTrace, TraceLayer


def piece_entries(trace: LayerTrace, storage: str, schedule: Schedule, chip: HardwareConfig) -> list[Entry]:
    """Return what runs, in order, with the sizes of each piece; where tensors lie is not told."""
    nothing = Residency(frozenset(), (0,) * len(trace.layers))
    tasks = network_tasks(trace, layer_plans(trace, storage), chip, nothing)
    return entries_of(trace, tasks, groups_of(schedule.fused))


@dataclass(frozen=True, slots=True)
class PiecesRun:
    """A run as its pieces: the network of them, its result, and the bytes that fused groups hold during each."""

    trace: LayerTrace
    result: RunResult
    held_bytes: tuple[int, ...]


def as_pieces(
    hardware: LoadedHardware, chip: HardwareConfig, trace: LayerTrace, schedule: Schedule, result: RunResult
) -> PiecesRun:
    """Return a run with fused layers as its pieces; ``chip`` is as it is built."""
    entries = piece_entries(trace, schedule.storage, schedule, chip)
    pieces = replace(trace, layers=tuple(_named(entries)), blocks=None)
    counters = run_schedule(replace(schedule, layer_of=(), fused=()), chip, engine="solver")
    cost = evaluate(counters, chip, load_tables())
    held = [0 if entry.piece is None else entry.piece.beside_bytes["activation_buffer"] for entry in entries]
    found = assemble_result(hardware, result.workload, counters, cost, dict(result.skipped))
    return PiecesRun(pieces, found, tuple(held))


def _named(entries: list[Entry]) -> list[TraceLayer]:
    """Return the pieces under names of their own; what a group holds of its own maps is told apart from them."""
    numbers: dict[int, int] = {}
    made: dict[str, list[str]] = {}
    group = {entry.whole.layer.name for entry in entries if entry.piece is not None}
    layers = []
    for entry in entries:
        name = entry.whole.layer.name
        if entry.piece is not None:
            number = numbers[entry.place] = numbers.get(entry.place, 0) + 1
            name = f"{name} stripe {number}"
        layer, left_out = entry.task.layer, group if entry.piece is not None else set()
        layers.append(
            replace(
                layer,
                name=name,
                inputs=_read(layer.inputs, made, left_out),
                residuals=_read(layer.residuals, made, left_out),
            )
        )
        made.setdefault(entry.whole.layer.name, []).append(name)
    return layers


def _read(names: tuple[str, ...], made: dict[str, list[str]], left_out: set[str]) -> tuple[str, ...]:
    return tuple(piece for name in names if name not in left_out for piece in made.get(name, [name]))
