"""Which tilings the closed form likes best: of one layer for the mapper, of many for design-space exploration."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, fields, replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from accelsim.config.hardware import HardwareConfig
from accelsim.mapping.closed_form import (
    Figures,
    figures_of,
    memory_latency,
    objective_of,
)
from accelsim.mapping.figures import Layers, layer_figures
from accelsim.mapping.latency_form import chained, latency_of, picked
from accelsim.mapping.loops import LOOP_ORDERS, LOOPS, Loop, Tiling
from accelsim.mapping.many_tiles import MOST_ALIKE, MOST_STEPS
from accelsim.mapping.prices import EnergyPrices
from accelsim.mapping.task import LayerTask, content_of
from accelsim.mapping.tile_table import TileTable, Width
from accelsim.mapping.traffic_form import space_of
from accelsim.trace.model import LoopDims

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_NEARLY_EQUAL = 1.01  # what the closed form cannot tell apart: its latency is off by about a hundredth in the median
WIDTHS: tuple[Width, ...] = ("wide", "whole")
# Studied by `benchmarks/closed_form_error.py --layers 7` (392 layers): by how much the mapper's choice is above the
# best known tiling, in the mean (0.103 % as it stands) and in 99 of 100 layers (2.9 %). Without the leanest: 0.106 %,
# for 7.3 tilings solved instead of 7.6; with four 0.101 %, for 7.9. ABOUT: with 1 and with 1.02 0.104 %.
ABOUT, LEANEST = 1.005, 2
# K P Q C and P Q K C in `LOOP_ORDERS`, and with groups P Q G. Without simple ones: 0.116 % and 3.2 %, for 6.8 tilings;
# four: 0.112 % and 3.2 %; 18: 0.077 % and 2.1 %, for 8.9 tilings.
STATED_ORDERS, SIMPLEST = (0, 1, 6), 9
# Without: 0.098 %, and 1.37 times the events to be solved; ten times as much: 0.37 times, for 0.191 % and 32 % at most.
STEP_SHARE = 2e-6
# Tilings that the closed form cannot tell apart come in groups of about this size. 4: 0.117 %; 24: the same.
SIMILAR = 12
# Beyond MOST_STEPS tiles all steps are alike: on five chips and three layers of 138,000 to 8,000,000 tiles the fewest
# were as good in latency; in energy (eyeriss) twice as many save up to 15 %, and twice as many again 2 %.
DOUBLING = 0.02
# A layer is cut into more tiles, in design-space exploration, only if no other tiling fits. Of 346 layers of four
# networks on seven chips, latency and energy x delay, none has a better tiling with more than 16,384 tiles, and four
# with more than 4,096.
FEW_STEPS = 1 << 16


@dataclass(frozen=True, slots=True)
class Best:
    """The chosen tiling of each array layer, float64 [layers]; latency is infinite where none fits.

    ``layers``: figures of the layers themselves; ``busy``, ``made``: cycles in which the array, and decoder or
    generator, work.
    ``passes`` over the weights in all (visits of a tile times passes within a visit); ``fetches`` of the stored bits;
    ``input_bytes`` that inputs take from DRAM; ``spills``: how often partial sums leave the chip; ``slots``: fraction
    of the multiply-accumulates that zero skipping leaves to the array.
    """

    layers: Layers
    latency: Floats
    busy: Floats
    made: Floats
    dram_bytes: Floats
    passes: Floats
    fetches: Floats
    input_bytes: Floats
    spills: Floats
    input_reads: Floats
    weight_reads: Floats
    psum_writes: Floats
    psum_reads: Floats
    idle_pes: Floats
    slots: Floats
    words: Floats
    discarded: Floats
    seeds: Floats
    jumps: Floats


def best_tilings(hardware: HardwareConfig, tasks: list[LayerTask], prices: EnergyPrices) -> Best:
    """Return the best tiling of each layer, from the short table or, where nothing fits, from the long one."""
    if not tasks:
        return Best(layer_figures([]), *[np.zeros(0)] * 18)
    distinct: dict[Hashable, int] = {}
    kinds = np.array([distinct.setdefault(content_of(task), len(distinct)) for task in tasks])
    _, first = np.unique(kinds, return_index=True)
    different = [tasks[place] for place in first.tolist()]
    layers = layer_figures(different)
    with np.errstate(invalid="ignore"):  # a tiling that does not fit is infinite: infinity x 0 is not a number
        figures = figures_of(space_of(hardware, different, layers, "narrow"), prices, only_fitting=True)
        best = _best(figures, kinds, FEW_STEPS)
        if np.isfinite(best.latency).all():
            return best
        figures = figures_of(space_of(hardware, different, layers, "whole"), prices, only_fitting=True)
        return _best(figures, kinds, MOST_ALIKE)


@dataclass(frozen=True, slots=True)
class Estimate:
    """What the closed form says of a tiling of a layer: cycles, and the chip's objective."""

    latency_cycles: float
    value: float


@dataclass(frozen=True, slots=True)
class Favourite(Estimate):
    """The estimate of a tiling that the closed form likes."""

    tiling: Tiling


def estimates(tasks: Sequence[LayerTask], prices: EnergyPrices) -> list[Estimate | None]:
    """Return the estimate of each array layer by itself, on its own chip; None where no tiling fits."""
    return [found[0] if found else None for found in favourites(tasks, prices, 1)]


def favourites(tasks: Sequence[LayerTask], prices: EnergyPrices, most: int) -> list[tuple[Favourite, ...]]:
    """Return the tilings that the closed form likes best of each array layer by itself, of each tile size one order.

    Layers of one chip stand side by side in the short table; what fits nothing there is looked for in the long one.
    """
    distinct = {(id(task.hardware), content_of(task)): task for task in tasks}
    by_chip: dict[int, list[tuple[Hashable, LayerTask]]] = {}
    for (chip, content), task in distinct.items():
        by_chip.setdefault(chip, []).append((content, task))
    found: dict[Hashable, tuple[Favourite, ...]] = {}
    for chip, rows in by_chip.items():
        estimated = _least([task for _, task in rows], prices, "narrow", FEW_STEPS, most)
        for (content, task), estimate in zip(rows, estimated, strict=True):
            found[chip, content] = estimate or _least([task], prices, "whole", MOST_ALIKE, most)[0]
    return [found[id(task.hardware), content_of(task)] for task in tasks]


def _least(
    tasks: list[LayerTask], prices: EnergyPrices, width: Width, most_steps: int, most: int
) -> list[tuple[Favourite, ...]]:
    space = space_of(tasks[0].hardware, tasks, layer_figures(tasks), width)
    with np.errstate(invalid="ignore"):  # a tiling that does not fit is infinite: infinity x 0 is not a number
        figures = figures_of(space, prices, only_fitting=True)
    table = figures.space.table
    value = np.where(figures.legal & (table.steps <= most_steps), figures.value, np.inf)
    row, best = value.argmin(axis=0), value.min(axis=0)
    pairs = row * best.size + np.arange(best.size) if figures.pairs is None else figures.pairs
    orders, tilings = np.divmod(pairs, space.table.layer.size)
    found: list[tuple[Favourite, ...]] = []
    for first, behind in pairwise([*table.first.tolist(), best.size]):
        ranked = first + best[first:behind].argsort(kind="stable")
        ranked = ranked[np.isfinite(best[ranked])]
        # Of each tile size the best order: the others are the solver's business.
        places = ranked[np.sort(np.unique(tilings[ranked], return_index=True)[1])[:most]]
        rows = zip(places.tolist(), _sizes(space.table, tilings[places]), strict=True)
        found.append(
            tuple(
                Favourite(
                    float(figures.latency[row[place], place]),
                    float(best[place]),
                    Tiling(N, G, K, C, P, Q, LOOP_ORDERS[orders[place]]),
                )
                for place, (N, G, K, C, P, Q) in rows
            )
        )
    return found


@dataclass(frozen=True, slots=True)
class Ranked:
    """A tiling with what the closed form says of it.

    ``floor`` is the objective in the least time, ``alike`` are tilings that the closed form cannot tell from this one.
    """

    tiling: Tiling
    value: float
    latency_cycles: float
    floor: float
    dram_bytes: float
    num_tiles: int
    is_simple: bool = False
    alike: tuple[Tiling, ...] = ()


@dataclass(frozen=True, slots=True)
class HeadStart:
    """For how many cycles before a layer's begin units had nothing more to do for the layer before it.

    Since the array had taken its last weight tile, and had ended; since the last request was issued; since decoder and
    generator had ended. ``occupied_bytes`` of the weight buffer are then still in use.
    """

    taken: int
    array: int
    issue: int
    made: int
    occupied_bytes: int


class LayerForm:
    """What the closed form says of all tilings of one layer, but for what a layer before it leaves."""

    def __init__(self, task: LayerTask, prices: EnergyPrices) -> None:
        layers = layer_figures([task])
        with np.errstate(invalid="ignore"):
            for width in WIDTHS:
                self._figures = figures_of(space_of(task.hardware, [task], layers, width), prices)
                if np.isfinite(self._figures.value[:, self._figures.space.table.steps <= FEW_STEPS]).any():
                    break
        self._prices = prices
        self.num_tilings = self._figures.space.table.layer.size

    def fewest_tiles(self) -> int | None:
        """Return the tiles of the tiling that fits with the fewest, however many; None if none fits."""
        held = self._figures.held
        fits = np.isfinite(held.weights.fetches) & np.isfinite(held.inputs.fetches) & np.isfinite(held.psums.fetches)
        steps = np.broadcast_to(self._figures.space.table.steps, fits.shape)[fits]
        return int(steps.min()) if steps.size else None

    def ranked(self, head_start: HeadStart | None, most: int) -> list[Ranked]:
        """Return the tilings that the chip's objective likes best, the best first, behind a layer that ends so."""
        figures, table = self._figures, self._figures.space.table
        latency, value, dims = figures.latency, figures.value, figures.space.tasks[0].layer.dims
        if head_start is not None:
            with np.errstate(invalid="ignore"):
                latency = _behind(figures, head_start)
                value = np.where(figures.legal, objective_of(figures, latency, self._prices), np.inf)
        # Between equals fewer tiles: requests are rounded up to whole cycles, and the solver takes less time.
        many = np.log2(np.maximum(1.0, table.steps / MOST_STEPS))
        flat = (value * (1 + STEP_SHARE * np.minimum(table.steps, MOST_STEPS) + DOUBLING * many)).reshape(-1)
        orders = np.repeat(np.arange(value.shape[0]), table.layer.size)
        # What skipping leaves is an expectation here: no bound.
        least = objective_of(figures, _floor(figures), self._prices, is_floor=True)
        floor = np.where(figures.space.left < 1, 0.0, least)
        near = np.argpartition(flat, min(flat.size - 1, SIMILAR * most))[: SIMILAR * most]
        near = near[np.lexsort((near, flat[near]))]
        # Of what is about as good, also the leanest: more traffic must buy something.
        about = np.flatnonzero(flat <= ABOUT * flat[near[0]])
        dram = np.broadcast_to(figures.dram, value.shape).reshape(-1)
        lean = about[np.lexsort((about, flat[about], dram[about]))][:LEANEST]
        # And of those that a person would state, each size of weights once, so that no simple mapping beats the choice.
        stated = np.tile(table.is_stated > 0, value.shape[0]) & np.isin(orders, STATED_ORDERS)
        simple = np.flatnonzero(stated)
        simple = simple[np.lexsort((simple, flat[simple]))]
        of_size: dict[Hashable, int] = {}
        for place, (_, *size, _, _) in zip(simple.tolist(), _sizes(table, simple), strict=True):
            of_size.setdefault(tuple(size), place)
        simple = np.array(list(of_size.values())[:SIMPLEST], dtype=np.int64)
        near = np.concatenate([near[:1], lean, simple, near[1:]])
        near = near[np.isfinite(flat[near])]
        found: dict[Hashable, Ranked] = {}
        alike: dict[Hashable, dict[Hashable, Tiling]] = {}
        for place, (N, G, K, C, P, Q) in zip(near.tolist(), _sizes(table, near), strict=True):
            order, chosen = divmod(place, table.layer.size)
            # Orders that differ in loops which are not split, and bands of equal area, are one to the closed form.
            key = flat[place], G, K, C, N * P * Q
            tiling = Tiling(N, G, K, C, P, Q, LOOP_ORDERS[order])
            alike.setdefault(key, {}).setdefault(_split(tiling, dims), tiling)
            if key not in found:
                if len(found) >= most + LEANEST + SIMPLEST:
                    break
                cycles = float(latency[order, chosen]), float(floor[order, chosen])
                steps, is_simple = int(table.steps[chosen]), bool(stated[place])
                found[key] = Ranked(tiling, float(flat[place]), *cycles, float(dram[place]), steps, is_simple)
        ranked = [replace(one, alike=tuple(alike[key].values())[1:]) for key, one in found.items()]
        return sorted(ranked, key=lambda one: one.value)


def _split(tiling: Tiling, dims: LoopDims) -> tuple[tuple[Loop, int], ...]:
    """Return the loops that a tiling splits, from the outermost in, with their sizes: others make no difference."""
    return tuple((loop, tiling.size(loop)) for loop in tiling.order if tiling.size(loop) < getattr(dims, loop))


def _floor(figures: Figures) -> Floats:
    """Return the array's own cycles with what must come before and after them, [orders, n]."""
    space, work, table = figures.space, figures.work, figures.space.table
    read, write = memory_latency(space)
    lead = work.first_inputs + np.where(work.inputs > 0, read, 0)
    tail = work.last_vector + space.hardware.vector_unit.latency_cycles
    tail = tail + work.last_store + np.where(work.stores > 0, write, 0)
    return np.broadcast_to(table.compute + table.fill + table.once + lead + tail, figures.value.shape)


def _behind(figures: Figures, start: HeadStart) -> Floats:
    """Return the latency behind another layer, [orders, n]: some of the first load's weights may be there already."""
    space, work = figures.space, figures.work
    hardware, occupied = space.hardware, figures.occupied
    room = np.inf if space.is_ideal else hardware.weight_buffer.capacity_bytes
    fits = (occupied + start.occupied_bytes <= room) | (np.maximum(occupied, start.occupied_bytes) <= room / 2)
    fits = fits | hardware.weight_buffer.is_copied
    place = np.where(fits, start.taken, start.array)
    decodes = space.layers.decoded_bits[0] > 0  # stored bits have a buffer of their own
    may_fetch = min(start.issue, start.made) if decodes else np.minimum(place, start.issue)
    fetched = np.clip(may_fetch, 0, work.weights / work.loads_w)
    made = np.clip(np.minimum(place, start.made), 0, work.made / work.loads_w)
    shape = figures.value.shape
    return np.broadcast_to(latency_of(hardware, work, fetched, made), shape)


def _sizes(table: TileTable, places: Ints) -> list[list[int]]:
    """Return the sizes, in the order of `LOOPS`, of the tilings at places among [orders, n]."""
    chosen = places % table.layer.size
    rows: list[list[int]] = np.array([table.sizes[loop][chosen] for loop in LOOPS]).astype(np.int64).T.tolist()
    return rows


def _best(figures: Figures, kinds: Ints, most_steps: int) -> Best:
    """Return the tiling of each layer that the objective likes best, and what follows from it.

    ``kinds``, int64 [layers]: which of the space's layers each layer of the network is like.
    """
    space, held, moved = figures.space, figures.held, figures.moved
    table, latency = space.table, figures.latency
    layers = Layers(*(getattr(space.layers, each.name)[kinds] for each in fields(Layers)))
    legal = figures.legal & (table.steps <= most_steps)
    order, chosen = _least_tilings(
        np.where(legal, figures.value, np.inf),
        np.where(legal, figures.dram, np.inf),
        np.where(legal, latency, np.inf),
        table,
    )
    order, chosen = places = order[kinds], chosen[kinds]

    def at(values: Floats) -> Floats:
        return picked(values, latency.shape, places)

    left, (of_inputs, of_sums) = space.left[chosen], (share[chosen] for share in space.accessed)
    time = chained(space.hardware, figures.work.take(*places), at(figures.occupied))
    accumulated = layers.num_outputs * (table.counts["C"][chosen] - 1)
    return Best(
        layers=layers,
        latency=np.where(np.isfinite(figures.value[places]) & legal[places], time, np.inf),
        busy=np.minimum(time, at(figures.array)),
        made=at(figures.work.made),
        dram_bytes=at(figures.dram),
        passes=at(held.weights.fetches * figures.passes),
        fetches=at(held.stored),
        input_bytes=at(moved.inputs),
        spills=at(held.psums.fetches - 1),
        input_reads=table.input_reads[chosen] * of_inputs,
        weight_reads=table.weight_reads[chosen],
        psum_writes=table.psum_writes[chosen] * of_sums,
        psum_reads=table.psum_reads[chosen] * of_sums + accumulated,
        idle_pes=table.idle_pes[chosen],
        slots=left,
        words=at(figures.made.work[0]),
        discarded=at(figures.made.work[1]),
        seeds=at(figures.made.work[2]),
        jumps=at(figures.made.work[3]),
    )


def _least_tilings(value: Floats, dram: Floats, latency: Floats, table: TileTable) -> tuple[Ints, Ints]:
    """Return order and place of each layer's tiling: of those as good as the best the leanest, then the fastest."""
    rest = value
    for following in (dram, latency):
        least = np.minimum.reduceat(rest.min(axis=0), table.first)
        rest = np.where(rest <= (least * _NEARLY_EQUAL)[table.layer], following, np.inf)
    order = rest.argmin(axis=0)
    of_tiling = rest[order, np.arange(order.size)]
    fewest = np.minimum.reduceat(of_tiling, table.first)
    places = np.flatnonzero(of_tiling == fewest[table.layer])
    _, first = np.unique(table.layer[places], return_index=True)
    chosen = places[first]
    return order[chosen], chosen
