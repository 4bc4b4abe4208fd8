"""From a configuration to the kernel's arrays."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from accelsim.config.dram import DramConfig
from accelsim.errors import ConfigError
from accelsim.sim.dram import state as s
from accelsim.sim.dram.device import DeviceTable, load_device, timing_rules
from accelsim.sim.dram.mapping import AddressMapping, DecodedAddresses, parse_mapping

REFRESH_MODES = {"none": s.REFRESH_NONE, "all_bank": s.REFRESH_ALL_BANK, "per_bank": s.REFRESH_PER_BANK}


@dataclass(frozen=True, slots=True)
class Memory:
    """A configured memory: its table, the kernel's view of it, and its address mapping."""

    config: DramConfig
    table: DeviceTable
    device: s.Device
    mapping: AddressMapping

    @property
    def num_ranks(self) -> int:
        """Return the ranks (or pseudo-channels) of a channel."""
        return self.config.num_ranks * self.table.organisation.num_pseudo_channels

    @property
    def peak_bytes_per_cycle(self) -> float:
        """Return what all data buses together move in a memory cycle."""
        units = self.config.num_channels * self.table.organisation.num_pseudo_channels
        return units * self.config.burst_bytes / self.table.timing.burst_cycles


def build_device(config: DramConfig, table: DeviceTable) -> s.Device:
    """Return the rules and parameters of a memory as arrays."""
    organisation, t = table.organisation, table.timing
    ranks = config.num_ranks * organisation.num_pseudo_channels
    groups, per_group = organisation.num_bank_groups, organisation.num_banks_per_group
    shared = config.controller == "shared_queues"
    per_bank = config.refresh == "per_bank"
    interval = t.refi_bank_cycles if per_bank else t.refi_cycles
    if config.refresh_interval_ns is not None:
        interval = round(config.refresh_interval_ns / table.tck_ns)
    if per_bank or not shared:  # ranks take turns
        interval //= ranks
    p = np.zeros(s.NUM_PARAMETERS, dtype=np.int64)
    for index, value in {
        s.P_CHANNELS: config.num_channels, s.P_RANKS: ranks, s.P_GROUPS: groups, s.P_BANKS_PER_GROUP: per_group,
        s.P_BANKS: ranks * groups * per_group, s.P_BURST: t.burst_cycles,
        s.P_READ_DONE: t.cl_cycles + t.burst_cycles, s.P_WRITE_DONE: t.cwl_cycles + t.burst_cycles,
        s.P_FAW: t.faw_cycles, s.P_REFRESH_MODE: REFRESH_MODES[config.refresh],
        s.P_REFI: max(1, interval), s.P_SPLIT_WINDOW: t.split_activate_cycles,
        s.P_WCK_READ: t.cl_cycles + t.burst_cycles + t.wck_postamble_cycles,
        s.P_WCK_WRITE: t.cwl_cycles + t.burst_cycles + t.wck_postamble_cycles,
        s.P_DUAL_BUS: int(table.dual_command_bus), s.P_CONTROLLER: s.CONTROLLER_SHARED if shared else s.CONTROLLER_BANK,
        s.P_CLOSED_PAGE: int(config.page_policy == "closed"), s.P_READ_ENTRIES: config.num_read_queue_entries,
        s.P_WRITE_ENTRIES: config.num_write_queue_entries, s.P_BANK_ENTRIES: config.num_bank_queue_entries,
        s.P_DRAIN_ENTRIES: config.num_write_drain_entries,
        s.P_WRITE_HIGH: math.floor(config.write_high_watermark * config.num_write_queue_entries) + 1,
        s.P_WRITE_LOW: math.ceil(config.write_low_watermark * config.num_write_queue_entries),
        s.P_HIT_LIMIT: config.num_row_hits_before_precharge,
    }.items():  # fmt: skip
        p[index] = value
    rules = timing_rules(table)
    starts = np.searchsorted([rule[0] for rule in rules], np.arange(s.NUM_COMMANDS + 1)).astype(np.int64)
    bank_numbers = np.arange(ranks * groups * per_group, dtype=np.int64)
    return s.Device(
        rule_start=starts,
        rules=np.array([rule[1:] for rule in rules], dtype=np.int64),
        rank_of=bank_numbers // (groups * per_group),
        group_of=bank_numbers // per_group,
        p=p,
    )


def build(config: DramConfig, table: DeviceTable | None = None) -> Memory:
    """Return the memory that a configuration describes; `table` replaces the one of its standard.

    Raises
    ------
    ConfigError
        If there is no timing table for the standard, or the configuration contradicts it.
    """
    table = load_device(config.standard) if table is None else table
    organisation = table.organisation
    burst_bytes = config.bus_width_bits // organisation.num_pseudo_channels * organisation.burst_length // 8
    if config.burst_bytes != burst_bytes:
        raise ConfigError(
            f"dram.burst_bytes: {config.burst_bytes} is not a burst of {config.standard} on {config.bus_width_bits} bits; "
            f"set it to {burst_bytes}"
        )
    rate = organisation.burst_length / table.timing.burst_cycles / table.tck_ns * 1000
    if abs(config.data_rate_mtps - rate) > 0.02 * rate:
        raise ConfigError(
            f"dram.data_rate_mtps: {config.data_rate_mtps:g} is not the rate of {config.standard}; set it to {rate:.6g}"
        )
    if config.refresh == "per_bank" and table.timing.refi_bank_cycles == 0:
        raise ConfigError(f"dram.refresh: {config.standard} has no per_bank refresh; use all_bank")
    counts = {
        "ch": config.num_channels, "ra": config.num_ranks * organisation.num_pseudo_channels,
        "bg": organisation.num_bank_groups, "ba": organisation.num_banks_per_group, "ro": organisation.num_rows,
        "co": organisation.num_columns // organisation.burst_length,
    }  # fmt: skip
    mapping = parse_mapping(
        config.address_mapping, counts, config.burst_bytes, xor_column=config.address_xor == "column"
    )
    return Memory(config, table, build_device(config, table), mapping)


def new_requests(decoded: DecodedAddresses, writes: NDArray[np.bool_], arrive: s.IntArray) -> s.Requests:
    """Return the kernel's request arrays for decoded bursts that arrive at the given cycles (never decreasing)."""
    num = len(decoded.key)
    return s.Requests(
        channel=decoded.channel,
        bank=decoded.bank,
        row=decoded.row,
        key=decoded.key,
        is_write=writes.astype(np.int64),
        arrive=arrive,
        accept=np.full(num, -1, dtype=np.int64),
        done=np.full(num, -1, dtype=np.int64),
        parent=np.full(num, -1, dtype=np.int64),
        seen=np.zeros(num, dtype=np.int64),
    )
