"""How long tilings keep the bus to a memory behind a cache: `accelsim.mapping.cached` for all of them side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from accelsim.config.hardware import CacheConfig
from accelsim.mapping.cached import bus_cycles, miss_shares, operand_rows, stored_weight_bytes, whole_bytes, wider
from accelsim.mapping.loops import LOOP_ORDERS, LOOPS
from accelsim.mapping.task import LayerTask
from accelsim.mapping.tile_table import TileTable

Floats = npt.NDArray[np.float64]


def tilings_on_bus(
    tasks: Sequence[LayerTask],
    table: TileTable,
    num_bytes: Mapping[str, Floats],
    loads: Mapping[str, Floats],
    cache: CacheConfig,
) -> dict[str, Floats]:
    """Return cycles on the bus by what moves, float64 [orders, n].

    Parameters
    ----------
    num_bytes
        By what moves: ``weights inputs spills residual stored``, [orders, n] or [n].
    loads
        Of ``weights inputs outputs``: how often blocks of tiles are loaded, [orders, n].
    """
    shape = loads["weights"].shape
    every = {name: np.broadcast_to(values, shape) for name, values in num_bytes.items()}
    cycles = {name: np.empty(shape) for name in every}
    ends = [*table.first.tolist()[1:], table.layer.size]
    for task, *span in zip(tasks, table.first.tolist(), ends, strict=True):
        for place in range(shape[0]):
            chosen = place, slice(*span)
            moved, loaded = ({name: values[chosen] for name, values in part.items()} for part in (every, loads))
            found = _of_layer(task, table, moved, loaded, chosen, cache)
            for name, values in found.items():
                cycles[name][chosen] = values
    return cycles


def _of_layer(
    task: LayerTask,
    table: TileTable,
    num_bytes: Mapping[str, Floats],
    loads: Mapping[str, Floats],
    chosen: tuple[int, slice],
    cache: CacheConfig,
) -> dict[str, Floats]:
    """Return the cycles of the tilings of one layer in one loop order."""
    (place, at), act = chosen, task.activation_bits / 8
    tile = {
        "weights": table.positions[at] * stored_weight_bytes(task),
        "inputs": table.tile_inputs[at] * act * bool(task.dram_input_elements),
        "outputs": table.outputs[at] * act * task.output_to_dram,
    }
    rows = operand_rows(task, {loop: table.sizes[loop][at] for loop in LOOPS}, tile, loads)
    counts = {loop: table.counts[loop][at] for loop in LOOPS}
    shares = miss_shares(LOOP_ORDERS[place], counts, rows, whole_bytes(task), cache)
    sums = wider(rows["outputs"], task.hardware.accumulator_bits / task.activation_bits)
    of = {
        "weights": (rows["weights"], shares["weights"], False),
        "inputs": (rows["inputs"], shares["inputs"], False),
        "spills": (sums, shares["outputs"], True),
        "residual": (rows["outputs"], shares["outputs"], False),
        "stored": (rows["outputs"], shares["outputs"], True),
    }
    return {
        name: bus_cycles(num_bytes[name], kind, share, task.hardware, is_store)
        for name, (kind, share, is_store) in of.items()
    }
