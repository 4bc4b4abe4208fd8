"""The roofline: how fast each layer runs against what the array and the memory allow (Williams et al., CACM 2009).

Work is dense multiply-accumulates; intensity is work per byte that crosses the memory interface in that layer.
"""

from __future__ import annotations

from dataclasses import dataclass

from accelsim.config.hardware import HardwareConfig
from accelsim.results.compare import traffic_bytes
from accelsim.results.model import RunResult


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
    peak = hardware.pe_array.num_pes * hardware.clock_mhz * 1e6
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
