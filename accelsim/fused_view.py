"""A run with fused layers as its pieces: each of them a layer, for pictures and tables that show what runs when."""

from __future__ import annotations

from dataclasses import replace

from accelsim.config.hardware import HardwareConfig
from accelsim.config.loader import LoadedHardware
from accelsim.cost.evaluate import evaluate
from accelsim.cost.tables import load_tables
from accelsim.mapping.fusion import groups_in
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
    return entries_of(trace, tasks, groups_in(schedule))


def as_pieces(
    hardware: LoadedHardware, chip: HardwareConfig, trace: LayerTrace, schedule: Schedule, result: RunResult
) -> tuple[LayerTrace, RunResult]:
    """Return the network of pieces, and its result, of a run with fused layers; ``chip`` is as it is built."""
    entries = piece_entries(trace, schedule.storage, schedule, chip)
    pieces = replace(trace, layers=tuple(_named(entries)), blocks=None)
    alone = replace(schedule, layer_of=(), fused=())
    counters = run_schedule(alone, chip, engine="solver")
    cost = evaluate(counters, chip, load_tables())
    return pieces, assemble_result(hardware, result.workload, counters, cost, dict(result.skipped))


def _named(entries: list[Entry]) -> list[TraceLayer]:
    """Return the pieces under names of their own; each reads all pieces so far of what its layer reads."""
    numbers: dict[int, int] = {}
    made: dict[str, list[str]] = {}
    layers = []
    for entry in entries:
        name = entry.whole.layer.name
        if entry.piece is not None:
            number = numbers[entry.place] = numbers.get(entry.place, 0) + 1
            name = f"{name} stripe {number}"
        layer = entry.task.layer
        layers.append(
            replace(
                layer,
                name=name,
                inputs=tuple(each for source in layer.inputs for each in _readable(made, source, entry)),
                residuals=tuple(each for source in layer.residuals for each in _readable(made, source, entry)),
            )
        )
        made.setdefault(entry.whole.layer.name, []).append(name)
    return layers


def _readable(made: dict[str, list[str]], source: str, entry: Entry) -> list[str]:
    """Return the pieces of a map that a layer reads; within its group the last two: the stripe and its halo."""
    pieces = made.get(source, [source])
    return pieces if entry.piece is None else pieces[-2:]
