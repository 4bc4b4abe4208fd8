"""What a layer's schedules depend on, as keys under which they are kept."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, NamedTuple

from accelsim.config.hardware import HardwareConfig
from accelsim.config.ports import ALL_BUFFERS
from accelsim.mapping.kept import Kept, Key
from accelsim.mapping.task import LayerTask, content_of

KEPT_CONTENTS = 4096


class Contents(NamedTuple):
    """All that the schedules of a layer depend on (or the chip's part of it), as a key.

    ``built``: the same where it is known how tiles are held, so without the capacities of buffers, and the objective.
    """

    whole: Hashable
    built: Hashable


def chip_content(hardware: HardwareConfig) -> Contents:
    """Return what a layer's schedules depend on of a chip: all but names, clock and the memory's speed."""
    left_out: dict[str, Any] = dict.fromkeys(("name", "node_nm", "voltage_v"), True)
    is_plain = hardware.dma.activation_codec == "none" and hardware.dma.max_request_bytes is None
    if hardware.cache is None and is_plain:  # else a schedule has cycles on the bus
        left_out |= dict.fromkeys(("clock_mhz", "dram"), True)
    requests = f"{hardware.dram.burst_bytes} {hardware.dram.num_outstanding_requests}"
    of_holding = {name: {"capacity_bytes"} for name in ALL_BUFFERS} | {"mapping": {"objective"}}
    whole, built = (hardware.model_dump_json(exclude=exclude) for exclude in (left_out, left_out | of_holding))
    return Contents(f"{whole} {requests}", f"{built} {requests}")


_kept: Kept[tuple[LayerTask, Contents]] = Kept(KEPT_CONTENTS)


def layer_content(task: LayerTask, chip: Contents) -> Contents:
    """Return what the schedules of a task depend on; tasks of the same objects are not compared anew."""
    same = (
        id(task.layer), id(task.plan), id(task.hardware), task.dram_input_elements, task.output_to_dram,
        task.residual_dram_elements, task.activation_capacity_bytes, task.residual_elements, task.second_from_dram,
        task.coding, task.cache_on_chip, task.settles, task.first_filter, task.first_weight,
        task.filter_weights, task.rest_stays, task.held,
    )  # fmt: skip
    found = _kept.get(same)
    if found is None:
        found = task, of_chip(task, chip)  # the task stays, and with it the identities
        _kept.put(same, found, 1)
    return found[1]


def of_chip(task: LayerTask, chip: Contents) -> Contents:
    """Return what the schedules of a task depend on, of a chip of which it is known."""
    return Contents(Key((chip.whole, content_of(task))), Key((chip.built, content_of(task, 0))))
