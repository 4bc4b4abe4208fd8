"""``accelsim map``."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace

import click

from accelsim import costed
from accelsim.cli.collect import (
    MAPPING_ROW,
    STORAGE_OF_ROW,
    read_workload,
    workload_options,
)
from accelsim.cli.common import Choice, common_options, examples, json_option, session, set_option, write_stdout
from accelsim.cli.names import complete_chip, complete_formats, complete_workload
from accelsim.config.hardware import HardwareConfig
from accelsim.config.loader import LoadedHardware, load_hardware
from accelsim.errors import MappingError
from accelsim.mapping.core_chip import core_chip
from accelsim.mapping.fixed import load_fixed
from accelsim.mapping.loops import Tiling
from accelsim.mapping.mapper import MappedLayer
from accelsim.names import suggest
from accelsim.pipeline import batch_groups, best_on_cores, built_for, schedule_network
from accelsim.report.batch import groups_words
from accelsim.report.core_map import core_map, core_map_text, print_core_map
from accelsim.report.mapping import LayerMapping, describe_layer, mapping_text, print_mapping
from accelsim.report.terminal import make_console
from accelsim.report.text import printable
from accelsim.sim.run import run_schedule, simulate_schedule
from accelsim.storage.stated import parse_format, with_layers
from accelsim.timing.schedule import FusedLayers, LayerSchedule, Schedule
from accelsim.trace import TraceOptions
from accelsim.trace.model import LayerTrace

OBJECTIVES = ("latency", "energy", "edp", "dram_bytes")


@click.command(
    "map",
    epilog=examples(
        "accelsim map hwconfigs/edge.yaml resnet18",
        "accelsim map hwconfigs/edge.yaml resnet18 --objective dram_bytes --layer conv1 --json",
    ),
)
@click.argument("hardware", shell_complete=complete_chip)
@click.argument("workload", shell_complete=complete_workload)
@click.option(
    "--storage",
    metavar="FORMAT",
    shell_complete=complete_formats,
    help="Storage format [default: slt, or dense-int8 without a ticket].",
)
@STORAGE_OF_ROW.add_to
@click.option("--layer", "layer", metavar="NAME", help="Show this layer only.")
@click.option("--objective", type=Choice(OBJECTIVES), help="What the mapper minimises [default: the chip's].")
@set_option()
@MAPPING_ROW.add_to
@workload_options()
@json_option
@common_options
@click.pass_context
def command(  # noqa: PLR0913  each is an option, or several that belong together
    ctx: click.Context,
    hardware: str,
    workload: str,
    *,
    storage: str | None,
    storage_of: tuple[str, ...],
    layer: str | None,
    objective: str | None,
    overrides: tuple[str, ...],
    mapping: str | None,
    stated: TraceOptions,
    as_json: bool,
) -> None:
    """Show how WORKLOAD is cut into tiles on HARDWARE: sizes, loop order, buffers, reuse, and lost utilisation.

    The closed form by which tilings are ranked stands beside the simulated cycles, and the lower bound that no tiling
    can beat beside those of the layer alone, from cold buffers.
    """
    if storage is not None:
        storage = parse_format(storage, "--storage")
    chosen = (*overrides, f"mapping.objective={objective}") if objective else overrides
    chip = load_hardware(hardware, chosen)
    trace = read_workload(ctx, workload, stated)
    storage = with_layers(storage or costed.default_storage(trace, chip), storage_of)
    fixed = load_fixed(mapping, trace)
    if chip.config.num_cores > 1:
        if _print_cores(chip, trace, storage, fixed, layer, as_json):
            return
        session(ctx).note(f"{trace.name}: one core alone is best by the objective of {hardware}; this is its map")
        chip = replace(chip, config=core_chip(chip.config, 1, None))
    groups = batch_groups(chip.config, trace, storage, fixed)
    words = f", batch {trace.num_inputs:,}{groups_words(groups)}" if trace.num_inputs > 1 else ""
    built = built_for(chip.config, trace, storage)
    described: list[list[LayerMapping | None]] = []
    bounds: list[int | None] = []
    fused: tuple[FusedLayers, ...] = ()
    for first in {group.trace.layers[-1].name: group for group in reversed(groups)}.values():
        schedule, mapped = schedule_network(built, first.trace, storage, fixed)
        bounds.append(schedule.lower_bound_cycles)
        described.append(_described(schedule, mapped, first.trace, built))
        fused = (*schedule.fused, *fused)
    every = [item for part in reversed(described) for item in part if item is not None]
    layers = _wanted(every, layer, trace.name)
    if as_json:
        write_stdout(mapping_text(chip.config.name, trace.name, storage, sum(filter(None, bounds)), layers, fused))
    else:
        title = f"{printable(trace.name)}{words} on {printable(chip.config.name)}, stored as {storage}"
        print_mapping(make_console(sys.stdout), title, layers, fused)


def _described(
    schedule: Schedule, mapped: Sequence[MappedLayer], trace: LayerTrace, built: HardwareConfig
) -> list[LayerMapping | None]:
    """Return how each layer of a schedule is mapped; of a fused one, how its pieces are."""
    by_layer: dict[int, list[MappedLayer]] = {}
    for place, item in zip(schedule.places, mapped, strict=True):
        by_layer.setdefault(place, []).append(item)

    def alone(pieces: list[MappedLayer]) -> int | None:
        return _alone_cycles(schedule, pieces[0].schedule, built) if len(pieces) == 1 else None

    return [
        describe_layer(by_layer[place], traced.dims, counts, built, alone(by_layer[place]))
        for place, (traced, counts) in enumerate(zip(trace.layers, run_schedule(schedule, built).layers, strict=True))
    ]


def _print_cores(
    chip: LoadedHardware,
    trace: LayerTrace,
    storage: str,
    fixed: Mapping[str, Tiling] | None,
    layer: str | None,
    as_json: bool,
) -> bool:
    """Show who works on what of several cores; return whether any divide the work."""
    built = built_for(chip.config, trace, storage)
    program, counters = best_on_cores(built, trace, storage, fixed)
    if program is None:
        return False
    rows = core_map(program, counters)
    known = [row["name"] for row in rows]
    if layer is not None and layer not in known:
        hint = suggest(layer, known) or f"give one of {', '.join(known[:8])}{', ...' if len(known) > 8 else ''}"
        raise MappingError(f"--layer: {trace.name} has no layer {layer!r}; {hint.strip()}")
    rows = [row for row in rows if layer in (None, row["name"])]
    if as_json:
        write_stdout(core_map_text(chip.config.name, trace.name, storage, rows, program.fused))
    else:
        title = f"{printable(trace.name)} on {chip.config.num_cores} cores of {printable(chip.config.name)}, {storage}"
        print_core_map(make_console(sys.stdout), title, rows, program.fused)
    return True


def _alone_cycles(schedule: Schedule, layer: LayerSchedule, hardware: HardwareConfig) -> int:
    """Return what a layer of a network takes alone, from cold buffers."""
    only = replace(schedule, layers=(layer,), layer_of=(), fused=())
    (timing,) = simulate_schedule(only, hardware, engine="solver")
    return timing.latency_cycles


def _wanted(layers: Sequence[LayerMapping], name: str | None, network: str) -> Sequence[LayerMapping]:
    """Return the layers to show; a name that the network does not have is a mistake."""
    if name is None:
        return layers
    found = [item for item in layers if item.name == name]
    if not found:
        known = [item.name for item in layers]
        hint = suggest(name, known) or f"give one of {', '.join(known[:8])}{', ...' if len(known) > 8 else ''}"
        raise MappingError(f"--layer: {network} has no array layer {name!r}; {hint.strip()}")
    return found
