"""The Counters artefact: how often each unit did each action, and where the cycles went. No energy in it."""

from __future__ import annotations

from dataclasses import dataclass

from accelsim.storage.base import StoredBits
from accelsim.timing.accounts import CAUSES

__all__ = ["CAUSES", "TRAFFIC_CLASSES", "UNITS", "Counters", "LayerCounters"]

TRAFFIC_CLASSES = (
    "mask", "seed", "scale", "weight", "index", "activation_in", "activation_out", "partial_sum",
)  # fmt: skip
UNITS = (
    "dram", "activation_buffer", "weight_buffer", "mask_buffer", "accumulator", "weight_generator", "mask_decoder",
    "pe_array", "vector_unit", "interconnect",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class LayerCounters:
    """One layer of a run.

    ``cycles_by_cause`` sums to ``latency_cycles``; ``dram_bytes`` (by `TRAFFIC_CLASSES`) sums to read plus written
    bytes.
    ``actions`` maps unit -> action -> count; which actions exist is the table of `accelsim.sim.actions`.
    ``busy_cycles`` maps a unit to the cycles in which it worked.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    latency_cycles: int
    macs: int
    effective_macs: int
    cycles_by_cause: dict[str, int]
    stored_bits: StoredBits
    dram_bytes: dict[str, int]
    dram_read_bytes: int
    dram_write_bytes: int
    actions: dict[str, dict[str, int]]
    busy_cycles: dict[str, int]


@dataclass(frozen=True, slots=True)
class Counters:
    """A whole run: layers in order. Totals are sums over layers, nothing else."""

    storage: str
    layers: tuple[LayerCounters, ...]
    arithmetic: str
    uses_generator: bool
    decoder: str
