"""What of a PE array belongs to one dataflow, so that the same array can be asked for another one."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Any, Final

from accelsim.config.hardware import PeArrayConfig

DATAFLOW_PATH: Final = "pe_array.dataflow"

# Option -> the dataflows that know it, as `PeArrayConfig` checks them.
_OWNERS: Final[dict[str, tuple[str, ...]]] = {
    "weight_preload": ("weight_stationary",),
    "preload_with": ("weight_stationary",),
    "min_instruction_rows": ("weight_stationary",),
    "instruction_interval_cycles": ("weight_stationary",),
    "num_arrays": ("weight_stationary",),
    "fold_taps": ("weight_stationary", "input_stationary"),
    "operand_registers": ("spatial",),
    "unroll": ("spatial",),
    "distribution_words_per_cycle": ("spatial",),
    "scratch_pads": ("row_stationary",),
}


def with_dataflow(array: dict[str, Any], before: str, stated: Collection[str]) -> dict[str, Any]:
    """Return the fields of a PE array whose ``dataflow`` was ``before``, fitted to the one that it has now.

    Options of other dataflows go back to their defaults, and the number of PEs stays: arrays side by side become one
    with their columns side by side, a systolic array becomes a spatial one that unrolls C over its rows and K over its
    columns, and a spatial one the systolic array of its PEs that is nearest to a square. Fields of ``stated`` were
    given for this dataflow and stay as they are.
    """
    now = array["dataflow"]
    if now == before:
        return array
    changed = dict(array)
    rows, cols = array["rows"], array["cols"]
    if before == "spatial" and not {"rows", "cols"} & set(stated):
        rows, cols = _near_square(math.prod(array["unroll"].values()))
    elif now != "weight_stationary" and "num_arrays" not in stated:
        cols *= array["num_arrays"]
    changed.update(rows=rows, cols=cols)
    for option, owners in _OWNERS.items():
        if now not in owners and option not in stated:
            changed[option] = PeArrayConfig.model_fields[option].default
    if now == "spatial" and "unroll" not in stated:
        changed["unroll"] = {"C": rows, "K": cols}
    if now != "spatial" and array["skip_group"] == "packed" and "skip_group" not in stated:
        changed["skip_group"] = PeArrayConfig.model_fields["skip_group"].default
    return changed


def _near_square(number: int) -> tuple[int, int]:
    rows = next(size for size in range(math.isqrt(number), 0, -1) if number % size == 0)
    return rows, number // rows
