"""From a configuration to the kernel's arrays."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from accelsim.config.dram import DramConfig
from accelsim.config.memory_device import DeviceTable, Organisation, load_device
from accelsim.errors import ConfigError
from accelsim.sim.dram import state as s
from accelsim.sim.dram.device import timing_rules
from accelsim.sim.dram.mapping import AddressMapping, DecodedAddresses, FieldCounts, parse_mapping

CONTROLLERS = {
    "shared_queues": s.CONTROLLER_SHARED, "bank_queues": s.CONTROLLER_BANK, "in_order": s.CONTROLLER_IN_ORDER,
}  # fmt: skip
REFRESH_MODES = {"none": s.REFRESH_NONE, "all_bank": s.REFRESH_ALL_BANK, "per_bank": s.REFRESH_PER_BANK}


@dataclass(frozen=True, slots=True)
class Memory:
    """A configured memory: its table, the kernel's view of it, and its address mapping."""

    config: DramConfig
    table: DeviceTable
    dev: s.IntArray
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


def build_device(config: DramConfig, table: DeviceTable, *, flush: bool = False) -> s.IntArray:
    """Return the parameters and rules of a memory as the kernel's ``dev`` array.

    With `flush` a controller that posts writes serves them as soon as it has nothing else to do, and they are waited
    for; one that goes to sleep always does.
    """
    organisation, t = table.organisation, table.timing
    ranks = config.num_ranks * organisation.num_pseudo_channels
    per_rank = organisation.num_bank_groups * organisation.num_banks_per_group
    in_order = config.controller == "in_order"
    sleeps = config.power_down_after_ns is not None or config.self_refresh_after_ns is not None
    parameters = {
        s.P_CHANNELS: config.num_channels, s.P_RANKS: ranks, s.P_BANKS: ranks * per_rank,
        s.P_READ_DONE: t.cl_cycles + t.burst_cycles, s.P_WRITE_DONE: t.cwl_cycles + t.burst_cycles,
        s.P_FAW: t.faw_cycles, s.P_REFRESH_MODE: REFRESH_MODES[config.refresh],
        s.P_REFI: _refresh_interval(config, table), s.P_SPLIT_WINDOW: 0 if in_order else t.split_activate_cycles,
        s.P_WCK_READ: t.cl_cycles + t.burst_cycles + t.wck_postamble_cycles,
        s.P_WCK_WRITE: t.cwl_cycles + t.burst_cycles + t.wck_postamble_cycles,
        s.P_DUAL_BUS: int(table.dual_command_bus), s.P_CONTROLLER: CONTROLLERS[config.controller],
        s.P_CLOSED_PAGE: int(config.page_policy == "closed"), s.P_READ_ENTRIES: config.num_read_queue_entries,
        s.P_WRITE_ENTRIES: config.num_write_queue_entries,
        s.P_BANK_ENTRIES: config.num_bank_queue_entries if config.controller == "bank_queues" else 0,
        s.P_DRAIN_ENTRIES: config.num_write_drain_entries,
        s.P_WRITE_HIGH: math.floor(config.write_high_watermark * config.num_write_queue_entries) + 1,
        s.P_WRITE_LOW: max(1, math.ceil(config.write_low_watermark * config.num_write_queue_entries)),
        s.P_HIT_LIMIT: config.num_row_hits_before_precharge, s.P_FLUSH: int(flush or sleeps),
        s.P_POWER_DOWN: _time_out(config.power_down_after_ns, table),
        s.P_SELF_REFRESH: _time_out(config.self_refresh_after_ns, table),
        s.P_ACTIVE_DOWN: int(config.power_down_kind == "active"), s.P_RFC: t.rfc_cycles, s.P_XP: t.xp_cycles,
        s.P_CKE: t.cke_cycles, s.P_XS: t.xs_cycles, s.P_SR: t.sr_cycles,
    }  # fmt: skip
    rules = [
        rule
        for rule in timing_rules(table)
        if rule[2] not in (s.RDA, s.WRA) and (ranks > 1 or rule[1] != s.SCOPE_OTHER_RANKS)
    ]  # RDA and WRA become ready with RD and WR
    dev = np.zeros(s.RULES + 3 * len(rules), dtype=np.int64)
    for index, value in parameters.items():
        dev[index] = value
    banks = np.arange(ranks * per_rank)
    dev[s.RANK_OF : s.RANK_OF + len(banks)] = banks // per_rank
    dev[s.GROUP_OF : s.GROUP_OF + len(banks)] = banks // organisation.num_banks_per_group
    preceding = [rule[0] for rule in rules]
    dev[s.RULE_START : s.RULE_START + s.NUM_COMMANDS + 1] = np.searchsorted(preceding, np.arange(s.NUM_COMMANDS + 1))
    dev[s.RULES :] = np.array([rule[1:] for rule in rules]).ravel()
    return dev


def _time_out(after_ns: float | None, table: DeviceTable) -> int:
    return s.NEVER if after_ns is None else max(1, math.ceil(after_ns / table.tck_ns - 1e-6))


def _refresh_interval(config: DramConfig, table: DeviceTable) -> int:
    """Return the cycles between two refreshes of a channel's controller."""
    per_bank = config.refresh == "per_bank"
    interval = table.timing.refi_bank_cycles if per_bank else table.timing.refi_cycles
    if config.refresh_interval_ns is not None:
        interval = round(config.refresh_interval_ns / table.tck_ns)
    if per_bank or config.controller == "bank_queues":  # ranks take turns
        interval //= config.num_ranks * table.organisation.num_pseudo_channels
    return max(1, interval)


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
            f"dram.burst_bytes: {config.burst_bytes} is not a burst of {config.standard} on "
            f"{config.bus_width_bits} bits; set it to {burst_bytes}"
        )
    rate = organisation.burst_length / table.timing.burst_cycles / table.tck_ns * 1000
    if abs(config.data_rate_mtps - rate) > 0.02 * rate:
        raise ConfigError(
            f"dram.data_rate_mtps: {config.data_rate_mtps:g} is not the rate of {config.standard}; set it to {rate:.6g}"
        )
    _check_size(config, organisation)
    _check_refresh(config, table)
    if table.timing.split_activate_cycles and config.controller == "bank_queues":
        # Its banks never see the second half of an activate, and close the half-open row again, for ever.
        raise ConfigError(
            f"dram.controller: bank_queues cannot split activates in two commands, as {config.standard} does; "
            "use shared_queues"
        )
    return Memory(config, table, build_device(config, table), address_mapping(config, table))


def address_mapping(config: DramConfig, table: DeviceTable) -> AddressMapping:
    """Return where the addresses of a memory lie.

    Raises
    ------
    ConfigError
        The configuration's string of fields does not fit the device.
    """
    organisation = table.organisation
    counts = FieldCounts(
        channels=config.num_channels,
        ranks=config.num_ranks * organisation.num_pseudo_channels,
        bank_groups=organisation.num_bank_groups,
        banks=organisation.num_banks_per_group,
        rows=organisation.num_rows,
        columns=organisation.num_columns // organisation.burst_length,
    )
    return parse_mapping(config.address_mapping, counts, config.burst_bytes, xor_column=config.address_xor == "column")


def _check_size(config: DramConfig, organisation: Organisation) -> None:
    """Refuse a bus that devices do not fill, and more ranks or banks than the kernel has room for."""
    unit = organisation.num_pseudo_channels * organisation.device_width_bits
    if config.bus_width_bits % unit:
        raise ConfigError(
            f"dram.bus_width_bits: {config.bus_width_bits} is no multiple of {unit}, the devices of {config.standard}; "
            f"widen the bus or take another standard"
        )
    ranks = config.num_ranks * organisation.num_pseudo_channels
    banks = ranks * organisation.num_bank_groups * organisation.num_banks_per_group
    if ranks > s.MAX_RANKS or banks > s.MAX_BANKS:
        raise ConfigError(
            f"dram.num_ranks: {config.num_ranks} makes {banks} banks of {config.standard} in a channel; "
            f"at most {s.MAX_BANKS} banks and {s.MAX_RANKS} ranks are possible, lower it"
        )


def _check_refresh(config: DramConfig, table: DeviceTable) -> None:
    """Refuse a refresh that the device has not, or that leaves no time between refreshes."""
    per_bank = config.refresh == "per_bank"
    if per_bank and table.timing.refi_bank_cycles == 0:
        raise ConfigError(
            f"dram.refresh: per_bank: the table of {config.standard} has no tRFCpb and tREFIpb, for the preset it "
            f"is from has none; use all_bank"
        )
    least_ns = (table.timing.rfc_bank_cycles if per_bank else 2 * table.timing.rfc_cycles) * table.tck_ns
    if config.refresh_interval_ns is not None and config.refresh_interval_ns < least_ns:
        raise ConfigError(
            f"dram.refresh_interval_ns: {config.refresh_interval_ns:g} leaves no time between refreshes; "
            f"give at least {least_ns:g}"
        )


def new_requests(decoded: DecodedAddresses, writes: NDArray[np.bool_], arrive_cycle: int = 0) -> s.IntArray:
    """Return the kernel's ``req`` array for decoded bursts that all arrive at one cycle."""
    num = len(decoded.key)
    req = np.zeros((num, s.NUM_REQUEST_COLUMNS), dtype=np.int64)
    req[:, s.R_CHANNEL] = decoded.channel
    req[:, s.R_PLACE] = (decoded.row << s.ROW_SHIFT) + decoded.bank
    req[:, s.R_KEY] = decoded.key
    req[:, s.R_WRITE] = writes
    req[:, s.R_ARRIVE] = arrive_cycle
    req[:, (s.R_NEXT, s.R_FOLLOWS, s.R_ACCEPT, s.R_DONE, s.R_PARENT)] = -1
    by_channel = np.argsort(decoded.channel, kind="stable")
    before, after = by_channel[:-1], by_channel[1:]
    together = req[before, s.R_CHANNEL] == req[after, s.R_CHANNEL]
    req[before[together], s.R_NEXT] = after[together]
    together &= req[before, s.R_PLACE] == req[after, s.R_PLACE]
    together &= req[before, s.R_WRITE] == req[after, s.R_WRITE]
    req[after[together], s.R_FOLLOWS] = before[together]
    return req
