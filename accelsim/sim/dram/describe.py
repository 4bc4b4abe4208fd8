"""A memory in figures: what it is made of, how fast it can be, and how long a read takes."""

from __future__ import annotations

from accelsim.config.dram import DramConfig
from accelsim.sim.dram.build import Memory, build

Figures = dict[str, str | int | float]


def describe_memory(config: DramConfig) -> Figures:
    """Return the figures of a memory by name, units at the end of the names.

    Raises
    ------
    ConfigError
        If ``model: timing`` is asked for and the standard has no timing table, or the configuration contradicts it.
    """
    figures: Figures = {
        "standard": config.standard,
        "model": config.model,
        "num_channels": config.num_channels,
        "bus_width_bits": config.bus_width_bits,
        "data_rate_mtps": config.data_rate_mtps,
        "burst_bytes": config.burst_bytes,
        "peak_gbps": config.peak_bytes_per_ns,
        "power_down_after_ns": _or_never(config.power_down_after_ns),
        "power_down_kind": config.power_down_kind,
        "self_refresh_after_ns": _or_never(config.self_refresh_after_ns),
    }
    if config.model == "timing":
        return figures | _timing_figures(build(config))
    return figures | {
        "read_latency_ns": config.read_latency_ns,
        "write_latency_ns": config.write_latency_ns,
        "turnaround_ns": config.turnaround_ns,
    }


def _or_never(value: float | None) -> float | str:
    return "never" if value is None else value


def _timing_figures(memory: Memory) -> Figures:
    config, table = memory.config, memory.table
    made, timing, tck = table.organisation, table.timing, table.tck_ns
    ranks = config.num_ranks * made.num_pseudo_channels
    banks = made.num_bank_groups * made.num_banks_per_group
    width = config.bus_width_bits // made.num_pseudo_channels
    row_bytes = made.num_columns * width // 8
    data = (timing.cl_cycles + timing.burst_cycles) * tck
    refresh = timing.refi_bank_cycles if config.refresh == "per_bank" else timing.refi_cycles
    interval = refresh * tck if config.refresh_interval_ns is None else config.refresh_interval_ns
    figures: Figures = {
        "capacity_bytes": config.num_channels * ranks * banks * made.num_rows * row_bytes,
        "num_ranks_per_channel": ranks,
        "num_bank_groups_per_rank": made.num_bank_groups,
        "num_banks_per_group": made.num_banks_per_group,
        "num_rows_per_bank": made.num_rows,
        "row_bytes": row_bytes,
        "address_mapping": config.address_mapping,
        "controller": config.controller,
        "page_policy": config.page_policy,
        "refresh": config.refresh,
        "clock_period_ns": tck,
        "read_of_open_row_ns": data,
        "read_of_closed_bank_ns": timing.rcd_read_cycles * tck + data,
        "read_of_other_row_ns": (timing.rp_cycles + timing.rcd_read_cycles) * tck + data,
        "row_cycle_ns": timing.rc_cycles * tck,
    }
    return figures if config.refresh == "none" else figures | {"refresh_interval_ns": interval}
