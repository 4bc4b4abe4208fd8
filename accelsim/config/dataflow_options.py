"""Options of the PE array that belong to some dataflows only, and what becomes of them when a dataflow is varied."""

from __future__ import annotations

from collections.abc import Collection
from math import prod
from typing import Any

DATAFLOWS_OF = {
    "weight_preload": ("weight_stationary",),
    "preload_with": ("weight_stationary",),
    "min_instruction_rows": ("weight_stationary",),
    "instruction_interval_cycles": ("weight_stationary",),
    "fold_taps": ("weight_stationary", "input_stationary"),
    "operand_registers": ("spatial",),
    "unroll": ("spatial",),
    "distribution_words_per_cycle": ("spatial",),
    "scratch_pads": ("row_stationary",),
}
"""Options, and the dataflows that have them; `accelsim.config.hardware.PeArrayConfig` refuses others."""
_SUMMED = ("C", "R", "S")


def follow_dataflow(array: dict[str, Any], before: str, stated: Collection[str]) -> None:
    """Change the dumped description of an array so that its options follow its dataflow, which was ``before``.

    Options of other dataflows get their defaults, and the number of PEs stays: a spatial array unrolls filters over the
    columns and channels over the rows, a systolic one has the unrolled C, R and S as rows. Fields in ``stated`` stay as
    they are.
    """
    now = array["dataflow"]
    unroll = dict(array.get("unroll") or {})
    for name, dataflows in DATAFLOWS_OF.items():
        if now not in dataflows and name not in stated:
            array.pop(name, None)
    if "spatial" in (now, before) and now != before:
        if now == "spatial" and "unroll" not in stated:
            array["unroll"] = {"K": array["cols"], "C": array["rows"]}
        if before == "spatial" and not {"rows", "cols"} & set(stated):
            array["rows"] = prod(unroll.get(loop, 1) for loop in _SUMMED)
            array["cols"] = prod(copies for loop, copies in unroll.items() if loop not in _SUMMED)
    if array.get("skip_group") == "packed" and now != "spatial" and "skip_group" not in stated:
        array.pop("skip_group")
