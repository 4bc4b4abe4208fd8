"""``accelsim map``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace

import click

from accelsim import flow
from accelsim.cli.collect import (
    mapping_file,
    mapping_option,
    read_workload,
    storage_of,
    storage_of_option,
    workload_options,
)
from accelsim.cli.common import Choice, common_options, examples, json_option, session, set_option, write_stdout
from accelsim.cli.names import complete_chip, complete_workload
from accelsim.config.hardware import HardwareConfig
from accelsim.config.loader import LoadedHardware, load_hardware
from accelsim.cores import best_program
from accelsim.errors import MappingError
from accelsim.mapping.core_chip import core_chip
from accelsim.mapping.fixed import load_fixed
from accelsim.names import suggest
from accelsim.pipeline import batch_groups, built_for, mapped_group, network_on_cores
from accelsim.report.batch import groups_words
from accelsim.report.core_map import core_map, core_map_text, print_core_map
from accelsim.report.mapping import LayerMapping, describe_layer, mapping_text, print_mapping
from accelsim.report.terminal import make_console
from accelsim.report.text import printable
from accelsim.sim.run import run_schedule, simulate_schedule
from accelsim.storage.stated import parse_format, with_layers
from accelsim.timing.schedule import LayerSchedule, Schedule
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
@click.option("--storage", metavar="FORMAT", help="Storage format [default: slt, or dense-int8 without a ticket].")
@storage_of_option
@click.option("--layer", "layer", metavar="NAME", help="Show this layer only.")
@click.option("--objective", type=Choice(OBJECTIVES), help="What the mapper minimises [default: the chip's].")
@set_option()
@mapping_option
@workload_options()
@json_option
@common_options
@click.pass_context
def command(
    ctx: click.Context,
    hardware: str,
    workload: str,
    storage: str | None,
    layer: str | None,
    objective: str | None,
    overrides: tuple[str, ...],
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
    trace = read_workload(ctx, workload)
    storage = with_layers(storage or flow.default_storage(trace, chip), storage_of(ctx))
    if chip.config.num_cores > 1:
        if _print_cores(ctx, chip, trace, storage, layer, as_json):
            return
        session(ctx).note(f"{trace.name}: one core alone is best by the objective of {hardware}; this is its map")
        chip = replace(chip, config=core_chip(chip.config, 1, None))
    mapping = mapping_file(ctx)
    fixed = load_fixed(mapping, trace) if mapping is not None else None
    groups = batch_groups(chip.config, trace, storage, fixed)
    words = f", batch {trace.num_inputs:,}{groups_words(groups)}" if trace.num_inputs > 1 else ""
    built = built_for(chip.config, trace, storage)
    described, bounds = [], []
    for first in {group.trace.layers[-1].name: group for group in reversed(groups)}.values():
        schedule, mapped = mapped_group(built, first.trace, (trace, storage), fixed)
        bounds.append(schedule.lower_bound_cycles)
        counters = run_schedule(schedule, built)
        described.append([
            describe_layer(item, dims.dims, counts, built, _alone_cycles(schedule, item.schedule, built))
            for item, dims, counts in zip(mapped, first.trace.layers, counters.layers, strict=True)
        ])  # fmt: skip
    every = [item for part in reversed(described) for item in part if item is not None]
    layers = _wanted(every, layer, trace.name)
    if as_json:
        write_stdout(mapping_text(chip.config.name, trace.name, storage, sum(filter(None, bounds)), layers))
    else:
        title = f"{printable(trace.name)}{words} on {printable(chip.config.name)}, stored as {storage}"
        print_mapping(make_console(sys.stdout), title, layers)


def _print_cores(
    ctx: click.Context, chip: LoadedHardware, trace: LayerTrace, storage: str, layer: str | None, as_json: bool
) -> bool:
    """Show who works on what of several cores; return whether any divide the work."""
    if mapping_file(ctx) is not None:
        raise MappingError(f"{chip.path}: --mapping states tilings of one core; leave it out, or --set num_cores=1")
    built = built_for(chip.config, trace, storage)
    program, counters = best_program(built, network_on_cores(built, trace, storage))
    if program is None:
        return False
    rows = core_map(program, counters)
    known = [row["name"] for row in rows]
    if layer is not None and layer not in known:
        hint = suggest(layer, known) or f"give one of {', '.join(known[:8])}{', ...' if len(known) > 8 else ''}"
        raise MappingError(f"--layer: {trace.name} has no layer {layer!r}; {hint.strip()}")
    rows = [row for row in rows if layer in (None, row["name"])]
    if as_json:
        write_stdout(core_map_text(chip.config.name, trace.name, storage, rows))
    else:
        title = f"{printable(trace.name)} on {chip.config.num_cores} cores of {printable(chip.config.name)}, {storage}"
        print_core_map(make_console(sys.stdout), title, rows)
    return True


def _alone_cycles(schedule: Schedule, layer: LayerSchedule, hardware: HardwareConfig) -> int:
    """Return what a layer of a network takes alone, from cold buffers."""
    (timing,) = simulate_schedule(replace(schedule, layers=(layer,)), hardware, engine="solver")
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
