"""Layers of very many tiles: how many are simulated, and which of the parts in which they run are alike.

A layer of 131,072 x 131,072 attention scores has tens of millions of tiles on a small chip. They are not simulated one
by one: a part of a layer that does just what an earlier one did is known (`likeness`), and takes as long.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np

from accelsim.config.hardware import HardwareConfig
from accelsim.errors import MappingError
from accelsim.mapping.events import passed_weights, stream_bits
from accelsim.mapping.loops import WEIGHT_LOOPS, Loop, Tiling, build_nest
from accelsim.mapping.task import LayerTask

MOST_STEPS = 1 << 17  # some 100 MB of events at a time; a layer of more tiles is run in parts
PART_STEPS = 1 << 15  # of a part: a start of the pipeline for so many tiles takes about a ten thousandth of their time
MOST_TILES = 10_000_000  # of a layer, alike ones counted once: half a minute
MOST_ALIKE = 1 << 30  # of a layer in all: 32,768 parts, some seconds
MOST_WHOLE = 1 << 19  # of a layer on a core beside others, where all events are held at once: some 800 MB


def most_tiles(hardware: HardwareConfig) -> int:
    """Return into how many tiles a layer may be cut: fewer where the memory's rows and banks make each another one."""
    return MOST_TILES if hardware.has_timed_dram else MOST_ALIKE


def check_number(num_steps: int, where: str, most: int = MOST_TILES, unlike: int | None = None) -> None:
    """Refuse more tiles than are simulated: of one core's part of a layer ``most`` is `MOST_WHOLE`.

    ``unlike``: how many of them are in parts that have to be simulated; at most `MOST_TILES`.
    """
    if num_steps <= most and (unlike or 0) <= MOST_TILES:
        return
    whose = "a core's part of a layer" if most == MOST_WHOLE else "a layer"
    what = f"{num_steps} tiles are more than the {most}"
    if num_steps <= most:
        what = f"{num_steps} tiles, {unlike} of them unlike each other, are more than the {MOST_TILES}"
    raise MappingError(
        f"{where}: {what} that {whose} may be cut into; state larger tiles "
        "with --mapping FILE, take less at once (--prompt, --batch), or a chip with larger buffers"
    )


def likenesses(task: LayerTask, tiling: Tiling, ranges: Sequence[range], skips_weights: bool) -> list[Hashable]:
    """Return a key for each part of a layer: parts with equal keys have equal schedules, event by event.

    What a step does depends on its tiles' sizes and on which loops begin or end with it, hence on whether the part is
    at either end of each loop, and on how far it goes. Where a tile lies counts in four cases only: weights that are
    regenerated, or skipped by their real mask; windows that meet the border of a map; and bytes of weights, of which a
    burst of DRAM may hold some of two tiles.
    """
    dims, counts = task.layer.dims, tiling.counts(task.layer.dims)
    firsts = np.array([steps.start for steps in ranges], dtype=np.int64)
    lasts = np.array([steps.stop - 1 for steps in ranges], dtype=np.int64)
    first, last = build_nest(dims, tiling, firsts), build_nest(dims, tiling, lasts)
    loops = [loop for loop in tiling.whole_order if counts[loop] > 1]
    columns = []
    for loop in loops:
        begin, end = first.index[loop], last.index[loop]
        columns += [begin == 0, end == counts[loop] - 1, end - begin]
    columns += [first.index[loop] for loop in loops if loop in _placed_loops(task, skips_weights)]
    _, *passed = passed_weights(first, task, tiling, first.index)
    for total, of_weights, whole in stream_bits(task).values():
        burst = whole * 8 * task.burst_bytes
        columns.append(
            np.array([total * each % burst for each in passed[0 if of_weights else 1].tolist()], dtype=object)
        )
    return list(zip(*(column.tolist() for column in columns), strict=True))


def _placed_loops(task: LayerTask, skips_weights: bool) -> frozenset[Loop]:
    """Return the loops along which it counts where a tile lies."""
    found: set[Loop] = set()
    if task.regenerates or skips_weights:
        found |= WEIGHT_LOOPS
    dims = task.layer.dims
    if (dims.R, dims.S, dims.padding) != (1, 1, (0, 0)) or dims.slices[1] or task.layer.kind == "aggregate":
        found |= {"P", "Q"}
    return frozenset(found)
