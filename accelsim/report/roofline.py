"""The roofline: how fast each layer runs against what the array and the memory allow (Williams et al., CACM 2009).

Work is dense multiply-accumulates; intensity is work per byte that crosses the memory interface in that layer. Weights
that are decoded and generated on chip have a third ceiling, which differs from layer to layer: how often a generated
weight is used is not a matter of memory traffic.
"""

from __future__ import annotations

from dataclasses import dataclass

from accelsim.config.hardware import HardwareConfig
from accelsim.results.compare import traffic_bytes
from accelsim.results.model import RunResult
from accelsim.sim.counters import Counters

GENERATION_UNITS = ("weight_generator", "mask_decoder")


@dataclass(frozen=True, slots=True)
class Roofs:
    """What a chip allows: multiply-accumulates per second of the array, bytes per second of the memory (0: ideal)."""

    macs_per_s: float
    bytes_per_s: float

    @property
    def ridge_macs_per_byte(self) -> float:
        """Return the intensity from which the array is the limit."""
        return self.macs_per_s / self.bytes_per_s if self.bytes_per_s else 0.0

    def limit_macs_per_s(self, macs_per_byte: float) -> float:
        """Return the roof at an intensity."""
        if not self.bytes_per_s:
            return self.macs_per_s
        return min(self.macs_per_s, macs_per_byte * self.bytes_per_s)


@dataclass(frozen=True, slots=True)
class RooflinePoint:
    """A layer: intensity, attained rate, and the fraction of the roof above it that it attains."""

    layer: str
    macs_per_byte: float
    macs_per_s: float
    fraction_of_roof: float


def roofs_of(hardware: HardwareConfig) -> Roofs:
    """Return the roofs of a chip; every PE makes a multiply-accumulate a cycle, the memory moves at its pins' rate."""
    peak = hardware.num_pes * hardware.clock_mhz * 1e6
    memory = 0.0 if hardware.memory == "ideal" else hardware.dram.peak_bytes_per_ns * 1e9
    return Roofs(peak, memory)


def roofline_points(result: RunResult, roofs: Roofs) -> tuple[RooflinePoint, ...]:
    """Return a point per layer that has multiply-accumulates and memory traffic."""
    points = []
    for layer in result.layers:
        moved = traffic_bytes(layer)
        if not (layer.macs and moved and layer.latency_s):
            continue
        intensity, rate = layer.macs / moved, layer.macs / layer.latency_s
        points.append(RooflinePoint(layer.name, intensity, rate, rate / roofs.limit_macs_per_s(intensity)))
    return tuple(points)


def generation_roofs(counters: Counters, hardware: HardwareConfig) -> dict[str, float]:
    """Return by layer the multiply-accumulates per second that generator and decoder allow.

    That is the layer's work over the time for which the busier of the two is at work while the layer runs; what it
    does for a later layer counts where it is done. Layers in which neither works are left out.
    """
    roofs = {}
    for layer in counters.layers:
        busy = max(layer.busy_cycles.get(unit, 0) for unit in GENERATION_UNITS)
        if busy and layer.macs:
            roofs[layer.name] = layer.macs * hardware.clock_mhz * 1e6 / busy
    return roofs
