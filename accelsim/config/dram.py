"""The ``dram:`` section of a hardware file."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from accelsim.config.base import ConfigModel


class DramConfig(ConfigModel):
    """Off-chip memory. ``model: simple`` has bandwidth, latency and turnaround; ``model: timing`` has the full device timing."""

    model: Literal["simple", "timing"] = "simple"
    """How time is computed."""
    standard: str = "LPDDR4-3200"
    """Name of the memory standard; it selects the energy row, and with ``model: timing`` the timing table."""
    num_channels: int = Field(1, ge=1, le=64)
    """Independent channels."""
    bus_width_bits: int = Field(32, ge=8, le=2048)
    """Data bus width of one channel."""
    data_rate_mtps: float = Field(3200.0, gt=0, le=20000)
    """Transfers per second and pin, in millions."""
    burst_bytes: int = Field(64, ge=8, le=1024)
    """Bytes of the smallest access; every request is rounded up to it."""
    read_latency_ns: float = Field(50.0, ge=0, le=10000)
    """From a request to its first data, bus idle (simple model)."""
    write_latency_ns: float = Field(20.0, ge=0, le=10000)
    """From a write request to its first data on the bus, bus idle (simple model)."""
    turnaround_ns: float = Field(10.0, ge=0, le=10000)
    """Bus time lost when the direction changes (simple model)."""

    @property
    def peak_bytes_per_ns(self) -> float:
        """Return the peak bandwidth of all channels in bytes per nanosecond."""
        return self.num_channels * self.bus_width_bits / 8 * self.data_rate_mtps / 1000
