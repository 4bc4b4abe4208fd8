"""A mapping laid open: tiles, loops, buffers, reuse, and what keeps the array from being full."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from rich.console import Console
from rich.text import Text

from accelsim.config.hardware import HardwareConfig
from accelsim.mapping.loops import ALL_LOOPS
from accelsim.mapping.mapper import MappedLayer
from accelsim.report.terminal import print_fitted
from accelsim.report.text import percent, printable, quantity, significant
from accelsim.sim.counters import CAUSES, LayerCounters
from accelsim.timing.schedule import FusedLayers, LayerSchedule
from accelsim.trace.model import LoopDims

STALLS = tuple(cause for cause in CAUSES if cause not in ("compute", "fill_drain"))
_BUFFERS = {
    "weight_buffer": "weight buf.", "mask_buffer": "mask buf.", "activation_buffer": "act. buf.",
    "accumulator": "accumulator",
}  # fmt: skip
_CLASSES = {
    "weights": ("mask", "seed", "scale", "weight", "index", "kv_read"),
    "inputs": ("activation_in",),
    "outputs": ("activation_out", "partial_sum", "kv_write"),
}


@dataclass(frozen=True, slots=True)
class BufferUse:
    """What a tiling takes of a buffer at most; ``fraction`` of its capacity."""

    bytes: int
    fraction: float


@dataclass(frozen=True, slots=True)
class OperandUse:
    """Traffic and reuse of an operand.

    ``num_transfers`` tiles move between DRAM and chip; ``macs_per_byte`` is how many multiply-accumulates each moved
    byte serves (0: nothing moves).
    """

    num_transfers: int
    dram_bytes: int
    macs_per_byte: float


@dataclass(frozen=True, slots=True)
class Utilization:
    """Where the PE cycles of a layer went, as fractions of PEs x latency that add up to 1.

    ``used``: MAC slots (executed or gated); ``lost_shape``: PEs without work while the array streams;
    ``lost_fill_drain`` and ``lost_stalls`` (by cause): cycles in which it does not.
    """

    used: float
    lost_shape: float
    lost_fill_drain: float
    lost_stalls: dict[str, float]


@dataclass(frozen=True, slots=True)
class LayerMapping:
    """One array layer: its tiling and what it comes to.

    ``simulated_cycles`` are those in the network, ``alone_cycles`` those from cold buffers: these are what no tiling
    brings below ``lower_bound_cycles``. ``bound_by`` is the unit or buffer that says so, ``gap`` the fraction by which
    the layer alone is above it. ``num_pieces`` are the stripes that a fused layer is cut into: tile, buffers and closed
    form are those of the piece with most rows, and there are no cycles of the layer alone.
    """

    name: str
    kind: str
    tile: dict[str, int]
    num_tiles: dict[str, int]
    loop_order: list[str]
    num_steps: int
    buffers: dict[str, BufferUse]
    operands: dict[str, OperandUse]
    estimated_cycles: int | None
    simulated_cycles: int
    relative_difference: float | None
    alone_cycles: int | None
    lower_bound_cycles: int | None
    bound_by: str
    gap: float | None
    utilization: Utilization
    num_pieces: int = 1


def describe_layer(
    pieces: Sequence[MappedLayer],
    dims: LoopDims,
    counters: LayerCounters,
    hardware: HardwareConfig,
    alone_cycles: int | None,
) -> LayerMapping | None:
    """Return what a layer's mapping comes to; None for a layer without the array.

    Parameters
    ----------
    pieces
        The layer as it is mapped, or the pieces of a fused one.
    alone_cycles
        What the layer takes alone, from cold buffers; None of a fused one.
    """
    mapped = max(pieces, key=lambda item: 0 if item.schedule.tiling is None else item.schedule.tiling.P)
    schedule = mapped.schedule
    tiling = schedule.tiling
    if tiling is None:
        return None
    counts = tiling.counts(dims)
    simulated, bound = counters.latency_cycles, counters.lower_bound_cycles
    estimated = mapped.estimated_cycles if len(pieces) == 1 else None
    return LayerMapping(
        name=schedule.name,
        kind=schedule.kind,
        tile={loop: tiling.size(loop) or getattr(dims, loop) for loop in ALL_LOOPS},
        num_tiles={loop: counts[loop] for loop in ALL_LOOPS},
        loop_order=[loop for loop in tiling.whole_order if counts[loop] > 1],
        num_steps=sum(item.schedule.num_steps for item in pieces),
        buffers=_buffers(schedule, hardware),
        operands=_operands([item.schedule for item in pieces], counters),
        estimated_cycles=estimated,
        simulated_cycles=simulated,
        relative_difference=estimated / simulated - 1 if estimated and simulated else None,
        alone_cycles=alone_cycles,
        lower_bound_cycles=bound,
        bound_by=schedule.bound_by,
        gap=alone_cycles / bound - 1 if bound and alone_cycles is not None else None,
        utilization=_utilization(counters, hardware.pe_array.num_pes),
        num_pieces=len(pieces),
    )


def _buffers(schedule: LayerSchedule, hardware: HardwareConfig) -> dict[str, BufferUse]:
    uses = {}
    for name, used in schedule.occupancy_bytes.items():
        capacity = getattr(hardware, name).capacity_bytes
        uses[name] = BufferUse(used, used / capacity)
    return uses


def _operands(schedules: Sequence[LayerSchedule], counters: LayerCounters) -> dict[str, OperandUse]:
    transfers = dict.fromkeys(_CLASSES, 0)
    for piece, number in (kind for schedule in schedules for kind in schedule.kinds()):
        stored = np.count_nonzero(piece.outputs.store_bytes) + np.count_nonzero(piece.outputs.psum_read_bytes)
        transfers["weights"] += number * int(np.count_nonzero(piece.weights.fetch_bytes))
        transfers["inputs"] += number * int(np.count_nonzero(piece.inputs.fetch_bytes))
        transfers["outputs"] += number * int(stored)
    uses = {}
    for name, classes in _CLASSES.items():
        moved = sum(counters.dram_bytes[traffic] for traffic in classes)
        uses[name] = OperandUse(transfers[name], moved, counters.macs / moved if moved else 0.0)
    return uses


def _utilization(counters: LayerCounters, num_pes: int) -> Utilization:
    latency = max(1, counters.latency_cycles)
    array = counters.actions.get("pe_array", {})
    slots = sum(count for action, count in array.items() if action.startswith("mac_"))
    causes = counters.cycles_by_cause
    used = min(slots / (num_pes * latency), causes["compute"] / latency)
    return Utilization(
        used=used,
        lost_shape=causes["compute"] / latency - used,
        lost_fill_drain=causes["fill_drain"] / latency,
        lost_stalls={cause: causes[cause] / latency for cause in STALLS},
    )


def mapping_text(  # noqa: PLR0913  each is a part of the text
    hardware: str,
    workload: str,
    storage: str,
    lower_bound_cycles: int | None,
    layers: Iterable[LayerMapping],
    fused: Iterable[FusedLayers] = (),
) -> str:
    """Return the mappings as JSON: ``hardware workload storage lower_bound_cycles layers fused``."""
    record = {
        "hardware": hardware,
        "workload": workload,
        "storage": storage,
        "lower_bound_cycles": lower_bound_cycles,
        "layers": [asdict(item) for item in layers],
        "fused": [asdict(group) for group in fused],
    }
    return json.dumps(record, indent=1, allow_nan=False) + "\n"


def print_mapping(
    console: Console, title: str, layers: Sequence[LayerMapping], fused: Sequence[FusedLayers] = ()
) -> None:
    """Print tiles and cycles of all layers, lower bounds, buffers and reuse, and where the PE cycles went.

    The layers that are fused come first.
    """
    console.print(Text(title, style="bold"))
    print_fused(console, fused)
    if not layers:
        return
    print_fitted(console, _tile_rows(layers), ("differs", "loops, outermost first", "closed form", "tiles"))
    for rows in (_bound_rows(layers), _buffer_rows(layers), _use_rows(layers)):
        # The first column names the layer; what does not fit is left out from the right.
        print_fitted(console, rows, list(reversed(list(rows[0])[2:])))


def print_fused(console: Console, fused: Sequence[FusedLayers]) -> None:
    """Print the layers that are fused, if there are any."""
    if fused:
        print_fitted(console, _fused_rows(fused), ("halo", "weights from stripe to stripe"))


def _fused_rows(fused: Sequence[FusedLayers]) -> list[dict[str, str]]:
    words = {"inputs": "inputs of", "heads": "heads of", "none": ""}
    rows = []
    for group in fused:
        number = f"{group.num_parts} {words[group.division]} " if group.num_parts > 1 else ""
        cores = "" if group.num_cores == 1 else f" on each of {group.num_cores} cores"
        most = max(group.rows_made)
        again = f", {100 * (most - 1):.0f} % more rows" if most > 1 else ""
        rows.append(
            {
                "fused layers": f"{printable(group.layers[0], 24)} to {printable(group.layers[-1], 24)}",
                "layers": str(len(group.layers)),
                "stripes": f"{number}{group.num_stripes}{cores}",
                "halo": f"{group.halo}{again}",
                "maps on chip": quantity(group.held_bytes, "B"),
                "weights from stripe to stripe": _held_cell(group),
            }
        )
    return rows


def _held_cell(group: FusedLayers) -> str:
    """Return of how many layers weights, or their stored bits, stay on chip."""
    words = {"weights": "weights", "stored": "stored bits", "": "read again"}
    counts = {word: group.held.count(kind) for kind, word in words.items()}
    return ", ".join(f"{word} {count}" for word, count in counts.items() if count)


def _name(item: LayerMapping) -> str:
    return printable(item.name, 24)


def _tile_rows(layers: Sequence[LayerMapping]) -> list[dict[str, str]]:
    rows = []
    for item in layers:
        tile = " ".join(f"{loop}{item.tile[loop]}" for loop in ALL_LOOPS if loop not in "NG" or item.tile[loop] > 1)
        order = " ".join(f"{loop}{item.num_tiles[loop]}" for loop in item.loop_order) or "-"
        rows.append(
            {
                "layer": _name(item),
                "tile": tile,
                "tiles": f"{item.num_steps:,}",
                "loops, outermost first": order,
                "closed form": "-" if item.estimated_cycles is None else f"{item.estimated_cycles:,}",
                "simulated": f"{item.simulated_cycles:,}",
                "differs": "-" if item.relative_difference is None else f"{100 * item.relative_difference:+.1f} %",
            }
        )
    return rows


def _bound_rows(layers: Sequence[LayerMapping]) -> list[dict[str, str]]:
    return [
        {
            "from cold buffers": _name(item),
            "alone": "-" if item.alone_cycles is None else f"{item.alone_cycles:,}",
            "lower bound": "-" if item.lower_bound_cycles is None else f"{item.lower_bound_cycles:,}",
            "gap": "-" if item.gap is None else f"{100 * item.gap:.1f} %",
            "bound by": item.bound_by or "-",
        }
        for item in layers
    ]


def _buffer_rows(layers: Sequence[LayerMapping]) -> list[dict[str, str]]:
    names = [name for name in _BUFFERS if any(item.buffers[name].bytes for item in layers if name in item.buffers)]
    return [
        {
            "buffers, MACs per byte": _name(item),
            **{_BUFFERS[name]: _use_cell(item.buffers.get(name)) for name in names},
            **{name: _reuse_cell(item.operands[name]) for name in _CLASSES},
        }
        for item in layers
    ]


def _use_cell(use: BufferUse | None) -> str:
    return "-" if use is None else f"{quantity(use.bytes, 'B')} {100 * use.fraction:.0f}%"


def _reuse_cell(use: OperandUse) -> str:
    return f"{significant(use.macs_per_byte)} ({use.num_transfers:,} x)" if use.dram_bytes else "on chip"


def _use_rows(layers: Sequence[LayerMapping]) -> list[dict[str, str]]:
    stalls = [cause for cause in STALLS if any(item.utilization.lost_stalls[cause] > 0 for item in layers)]
    return [
        {
            "PE cycles": _name(item),
            "used": percent(item.utilization.used),
            "lost to shape": percent(item.utilization.lost_shape),
            "fill and drain": percent(item.utilization.lost_fill_drain),
            **{cause: percent(item.utilization.lost_stalls[cause]) for cause in stalls},
        }
        for item in layers
    ]
