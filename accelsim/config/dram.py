"""The ``dram:`` section of a hardware file."""

from __future__ import annotations

import re
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from accelsim.config.base import ConfigModel
from accelsim.config.explain import show_value
from accelsim.config.memory_device import FAMILY_DEVICES
from accelsim.config.quantities import Bytes
from accelsim.names import suggest

STANDARD_FAMILIES = tuple(sorted(FAMILY_DEVICES))
"""Families with a device whose currents are known or stand for theirs."""
TIMING_STANDARDS = (
    "DDR3-1600", "DDR4-2400", "DDR4-2400R", "DDR4-3200", "DDR5-4800BN", "HBM2", "HBM2-2000", "LPDDR3-1866",
    "LPDDR4-2400", "LPDDR4-3200", "LPDDR5-6400",
)  # fmt: skip
"""Standards with a table of their own; a test sees to it that they are the same."""
# A family, a letter of a variant (LPDDR4X, DDR3L), and a speed grade (-3200, -4800BN).
_STANDARD = re.compile(rf"({'|'.join(STANDARD_FAMILIES)})[A-Z]?(-[0-9A-Z]{{1,12}})?", re.IGNORECASE)


def timing_problem(standard: str) -> str | None:
    """Return what is wrong with ``standard`` where ``dram.model`` is ``timing``; None if nothing is."""
    if standard in TIMING_STANDARDS:
        return None
    hint = suggest(standard, TIMING_STANDARDS)
    return (
        f"standard {show_value(standard)} has no timing table; {hint}allowed with model: timing are "
        f"{', '.join(TIMING_STANDARDS)}"
    )


class DramConfig(ConfigModel):
    """Off-chip memory: ``simple`` has bandwidth, latency and turnaround, ``timing`` the device's own timing."""

    model: Literal["simple", "timing"] = "simple"
    """How time is computed."""
    standard: str = "LPDDR4-3200"
    """Name of the memory standard: a family and its speed, e.g. LPDDR4-3200. It selects the energy row, and with
    ``model: timing`` the timing table."""
    num_channels: int = Field(1, ge=1, le=64)
    """Independent channels."""
    bus_width_bits: int = Field(32, ge=8, le=2048)
    """Data bus width of one channel."""
    data_rate_mtps: float = Field(3200.0, ge=0.1, le=20000)
    """Transfers per second and pin, in millions."""
    burst_bytes: Bytes = Field(64, ge=8, le=1024)
    """Bytes of the smallest access; every request is rounded up to it."""
    read_latency_ns: float = Field(50.0, ge=0, le=10000)
    """From a request to its first data, bus idle (simple model)."""
    write_latency_ns: float = Field(20.0, ge=0, le=10000)
    """From a write request to its first data on the bus, bus idle (simple model)."""
    turnaround_ns: float = Field(10.0, ge=0, le=10000)
    """Bus time lost when the direction changes (simple model)."""
    separate_write_bus: bool = False
    """Reads and writes each have a bus of the full width, as the two data channels of AXI (simple model)."""
    num_outstanding_requests: int | None = Field(None, ge=1, le=1 << 20)
    """Requests of the DMA engine that may be under way at once; their entries are given back in the order of issue.
    None: as many as the program issues."""
    arbitration: Literal["oldest_first", "round_robin"] = "oldest_first"
    """Whose request the memory takes next where several cores ask: the one that was issued first, or that of the next
    core in turn which has one; of reads and of writes apart where each have a bus, or a queue, of their own."""
    num_ranks: int = Field(1, ge=1, le=8)
    """Ranks of a channel (timing model)."""
    address_mapping: str = Field("robabgracoch", min_length=12, max_length=40)
    """Fields from the highest to the lowest address bit, above the bytes of a burst: ch channel, ra rank (or
    pseudo-channel), bg bank group, ba bank, ro row, co column; ``co2`` takes two bits of a field, the rest may stand
    elsewhere."""
    address_xor: Literal["none", "column"] = "none"
    """``column``: rank, bank group, bank and row are XORed with successive column bits (permutation-based
    interleaving)."""
    controller: Literal["shared_queues", "bank_queues", "in_order"] = "shared_queues"
    """One read and one write queue with first-ready first-come scheduling, a command queue per bank served in turn, or
    one queue (``num_read_queue_entries``) served in order, rows opened ahead."""
    page_policy: Literal["open", "closed"] = "open"
    """``closed``: a row is precharged with the last queued burst that hits it."""
    refresh: Literal["all_bank", "per_bank", "none"] = "all_bank"
    """How rows are refreshed."""
    refresh_interval_ns: float | None = Field(None, gt=0, le=1000000)
    """Average refresh interval of a rank (of a bank with ``per_bank``); None takes that of the standard."""
    power_down_after_ns: float | None = Field(None, ge=0, le=1e9)
    """Time without a request after which a channel powers down, in both models; None: never. Refreshes go on."""
    power_down_kind: Literal["precharge", "active"] = "precharge"
    """``precharge``: all banks are closed first; ``active``: rows stay open until the next refresh."""
    self_refresh_after_ns: float | None = Field(None, ge=0, le=1e9)
    """Time without a request after which a channel goes into self-refresh, in both models; None: never."""
    clock_stop: Literal["never", "power_down", "self_refresh"] = "self_refresh"
    """From which state on the clock to the memory stands still: not at all, in power-down and self-refresh, or in
    self-refresh alone. All standards allow the last, LPDDR3 to LPDDR5 also power-down."""
    traffic_pj_per_bit: float | None = Field(None, ge=0, le=1000)
    """What a bit that is read or written costs, rows and lines included, whatever the device; None: what its currents
    give. Standby, power-down and refresh stay the device's, and tilings are chosen by its currents."""
    num_read_queue_entries: int = Field(32, ge=1, le=256)
    """Reads that a channel's controller holds."""
    num_write_queue_entries: int = Field(32, ge=1, le=256)
    """Writes that a channel's controller holds."""
    write_high_watermark: float = Field(0.8, gt=0, lt=1)
    """Writes are served when more than this fraction of the write queue is full (``shared_queues``)."""
    write_low_watermark: float = Field(0.2, ge=0, lt=1)
    """Writes are served until less than this fraction is full (``shared_queues``)."""
    num_bank_queue_entries: int = Field(8, ge=1, le=64)
    """Commands that wait for one bank (``bank_queues``)."""
    num_write_drain_entries: int = Field(9, ge=1, le=256)
    """Writes that must wait before they are served while no command waits for a bank (``bank_queues``)."""
    num_row_hits_before_precharge: int = Field(4, ge=1, le=1 << 20)
    """Row hits after which waiting hits no longer keep a row open (``bank_queues``)."""

    @field_validator("standard")
    @classmethod
    def _known_standard(cls, value: str) -> str:
        if not _STANDARD.fullmatch(value):
            hint = suggest(value, (*TIMING_STANDARDS, *STANDARD_FAMILIES))
            raise ValueError(
                f"{show_value(value)} has no energy row; {hint}give a family and its speed, such as LPDDR4-3200; "
                f"families are {', '.join(STANDARD_FAMILIES)}"
            )
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.write_low_watermark >= self.write_high_watermark:
            raise ValueError("write_low_watermark must be below write_high_watermark; lower it")
        if self.controller == "in_order" and self.page_policy == "closed":
            raise ValueError("page_policy: closed is not what controller in_order does; set page_policy to open")
        first, then = self.power_down_after_ns, self.self_refresh_after_ns
        if first is not None and then is not None and then < first:
            raise ValueError(
                f"self_refresh_after_ns: {then:g} is below power_down_after_ns, {first:g}; no power-down would come: "
                "raise it, or set power_down_after_ns: null"
            )
        return self

    @property
    def peak_bytes_per_ns(self) -> float:
        """Return the peak bandwidth of all channels in bytes per nanosecond."""
        return self.num_channels * self.bus_width_bits / 8 * self.data_rate_mtps / 1000
