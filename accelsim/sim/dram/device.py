"""A memory device: its organisation and timing from a table, and the timing rules that follow from them.

A table is one YAML file in ``tables/`` named after the standard. Timing values are given in cycles of the memory
clock or in nanoseconds (``rcd_read_ns: 18``); nanoseconds become cycles in `_to_cycles` and nowhere else.
"""

from __future__ import annotations

import math
from functools import lru_cache
from importlib import resources
from typing import Any

from pydantic import Field, ValidationError
from ruamel.yaml import YAML

from accelsim.config.base import ConfigModel
from accelsim.errors import ConfigError
from accelsim.sim.dram import state as s

Rule = tuple[int, int, int, int]
"""(preceding command, scope, following command, cycles)."""

READS, WRITES = (s.RD, s.RDA), (s.WR, s.WRA)
ROW_COMMANDS = (s.ACT, s.PRE, s.PREA, s.REF, s.REFB)
COLUMN_COMMANDS = (s.RD, s.WR, s.RDA, s.WRA)


class Organisation(ConfigModel):
    """What a channel is made of."""

    num_pseudo_channels: int = Field(1, ge=1, le=4)
    """Independent halves of a channel that share the command buses (HBM); they take the place of ranks."""
    num_bank_groups: int = Field(ge=1, le=16)
    """Bank groups of a rank."""
    num_banks_per_group: int = Field(ge=1, le=16)
    """Banks of a bank group."""
    num_rows: int = Field(ge=1, le=1 << 20)
    """Rows of a bank."""
    num_columns: int = Field(ge=1, le=1 << 16)
    """Columns of a row, each as wide as the data bus."""
    device_width_bits: int = Field(ge=4, le=1024)
    """Data bus of one device; a rank has as many as fill the channel's bus."""
    burst_length: int = Field(ge=1, le=64)
    """Transfers of one burst."""


class Timing(ConfigModel):
    """Timing in cycles of the memory clock, with the names of the JEDEC standards."""

    burst_cycles: int = Field(ge=1)
    """Data bus occupancy of a burst."""
    cl_cycles: int = Field(ge=0)
    """Read latency: command to first data."""
    cwl_cycles: int = Field(ge=0)
    """Write latency."""
    rcd_read_cycles: int = Field(ge=0)
    """Activate to read."""
    rcd_write_cycles: int = Field(ge=0)
    """Activate to write."""
    rp_cycles: int = Field(ge=0)
    """Precharge to activate."""
    rp_all_cycles: int = Field(ge=0)
    """Precharge of all banks to activate."""
    ras_cycles: int = Field(ge=0)
    """Activate to precharge."""
    rc_cycles: int = Field(ge=0)
    """Activate to activate of one bank."""
    ccd_s_cycles: int = Field(ge=0)
    """Read to read, other bank group."""
    ccd_l_cycles: int = Field(ge=0)
    """Read to read, same bank group."""
    ccd_write_s_cycles: int = Field(ge=0)
    """Write to write, other bank group."""
    ccd_write_l_cycles: int = Field(ge=0)
    """Write to write, same bank group."""
    rrd_s_cycles: int = Field(ge=0)
    """Activate to activate, other bank group."""
    rrd_l_cycles: int = Field(ge=0)
    """Activate to activate, same bank group."""
    faw_cycles: int = Field(ge=0)
    """Window that holds at most four activates of a rank."""
    wtr_s_cycles: int = Field(ge=0)
    """End of write data to read, other bank group."""
    wtr_l_cycles: int = Field(ge=0)
    """End of write data to read, same bank group."""
    wr_cycles: int = Field(ge=0)
    """End of write data to precharge."""
    rtp_cycles: int = Field(ge=0)
    """Read to precharge."""
    ppd_cycles: int = Field(0, ge=0)
    """Precharge to precharge of a rank."""
    rtw_bubble_cycles: int = Field(ge=0)
    """Idle bus between read data and write data."""
    rank_switch_cycles: int = Field(ge=0)
    """Idle bus between data of two ranks."""
    rfc_cycles: int = Field(ge=0)
    """Refresh of a rank."""
    rfc_bank_cycles: int = Field(0, ge=0)
    """Refresh of a bank; 0: the device has none."""
    refb_to_refb_cycles: int = Field(0, ge=0)
    """Bank refresh to the next one, other bank."""
    refb_to_act_cycles: int = Field(0, ge=0)
    """Bank refresh to activate, other bank."""
    refi_cycles: int = Field(ge=1)
    """Average interval of refreshes of a rank."""
    refi_bank_cycles: int = Field(0, ge=0)
    """Average interval of bank refreshes of a rank."""
    act_command_cycles: int = Field(1, ge=1, le=4)
    """Command bus cycles of an activate."""
    column_command_cycles: int = Field(1, ge=1, le=4)
    """Command bus cycles of a read or write."""
    split_activate_cycles: int = Field(0, ge=0)
    """Window for the second half of a split activate (LPDDR5); 0: activates are not split."""
    wck_postamble_cycles: int = Field(0, ge=0)
    """Cycles for which the data clock stays synchronised after a burst (LPDDR5)."""


class Supply(ConfigModel):
    """One supply of a device and the currents it delivers, with the names of the JEDEC standards."""

    vdd_v: float = Field(gt=0, le=3)
    """Voltage."""
    idd0_ma: float = Field(ge=0)
    """One bank activated and precharged every tRC."""
    idd2n_ma: float = Field(ge=0)
    """Standby, all banks closed."""
    idd3n_ma: float = Field(ge=0)
    """Standby, rows open."""
    idd4r_ma: float = Field(ge=0)
    """Reading without a gap."""
    idd4w_ma: float = Field(ge=0)
    """Writing without a gap."""
    idd5_ma: float = Field(ge=0)
    """Refreshing every tRFC."""
    idd5_bank_ma: float = Field(0.0, ge=0)
    """Refreshing a bank every tRFCpb; 0: not published."""


class Power(ConfigModel):
    """Currents of one device; see `accelsim.sim.dram.energy` for what is made of them."""

    source: str = Field(min_length=10)
    """Where the currents come from."""
    supplies: tuple[Supply, ...] = Field(min_length=1, strict=False)
    """The core supplies; that of the data bus is in ``io_pj_per_bit``."""
    activate_pj: float | None = Field(None, ge=0)
    """Activate and precharge in one device, where the currents do not give it."""
    read_pj_per_bit: float | None = Field(None, ge=0)
    """Reading from an open row, where the currents do not give it."""
    write_pj_per_bit: float | None = Field(None, ge=0)
    """Writing to an open row, where the currents do not give it."""
    io_pj_per_bit: float = Field(ge=0)
    """The data bus: drivers, termination and receivers of both ends."""
    io_source: str = Field(min_length=10)
    """Where that figure comes from."""


class DeviceTable(ConfigModel):
    """One memory standard, as in ``tables/<name>.yaml``."""

    name: str
    source: str = Field(min_length=10)
    """Where the figures come from."""
    tck_ns: float = Field(gt=0, le=100)
    """Period of the memory clock; the published figure, which may be rounded."""
    dual_command_bus: bool = False
    """Row and column commands have buses of their own (HBM)."""
    organisation: Organisation
    timing: Timing
    power: Power


def _to_cycles(section: dict[str, Any], tck_ns: float) -> dict[str, Any]:
    """Turn every ``x_ns`` of a timing section into ``x_cycles``, rounded up (a thousandth of a cycle is forgiven)."""
    return {
        (f"{key[:-3]}_cycles" if key.endswith("_ns") else key): (
            math.ceil(value / tck_ns - 1e-3) if key.endswith("_ns") else value
        )
        for key, value in section.items()
    }


def device_names() -> tuple[str, ...]:
    """Return the names of all standards with a timing table, sorted."""
    folder = resources.files("accelsim.sim.dram") / "tables"
    return tuple(sorted(entry.name[:-5] for entry in folder.iterdir() if entry.name.endswith(".yaml")))


@lru_cache(maxsize=32)
def load_device(standard: str) -> DeviceTable:
    """Return the timing table of a standard.

    Raises
    ------
    ConfigError
        If there is no such table, or it is not complete.
    """
    if standard not in device_names():
        known = ", ".join(device_names())
        raise ConfigError(f"dram.standard: {standard!r} has no timing table; allowed with model: timing are {known}")
    text = (resources.files("accelsim.sim.dram") / "tables" / f"{standard}.yaml").read_text(encoding="utf-8")
    return parse_device(text, standard)


def parse_device(text: str, name: str) -> DeviceTable:
    """Return the table in a YAML text; `name` is for messages."""
    data = YAML(typ="safe").load(text)
    try:
        data["timing"] = _to_cycles(data["timing"], data["tck_ns"])
        return DeviceTable.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"memory table {name}: {where}: {first['msg']}; give the figure and its source") from error
    except (KeyError, TypeError) as error:
        raise ConfigError(f"memory table {name}: {error} is missing; give organisation, timing and power") from error


def timing_rules(device: DeviceTable) -> list[Rule]:
    """Return all timing rules of a device (JEDEC's minimum distances), without the activation window.

    A command that takes several bus cycles is dated by its first and acts with its last, so a distance grows by the
    extra cycles of the preceding and shrinks by those of the following command.
    """
    t = device.timing
    length = {command: 1 for command in range(9)} | {s.ACT: t.act_command_cycles}
    length |= {command: t.column_command_cycles for command in COLUMN_COMMANDS}
    rules = _bus_rules(device, length)
    for before, scope, after, cycles in (*_column_rules(device), *_row_rules(t), *_refresh_rules(t)):
        distance = cycles + length[before] - length[after]
        if distance > 0:
            rules.append((before, scope, after, distance))
    return _strongest(rules)


def _strongest(rules: list[Rule]) -> list[Rule]:
    """Return the rules with the longest distance per (before, scope, after), in a fixed order."""
    longest: dict[tuple[int, int, int], int] = {}
    for before, scope, after, cycles in rules:
        longest[before, scope, after] = max(cycles, longest.get((before, scope, after), 0))
    return sorted((before, scope, after, cycles) for (before, scope, after), cycles in longest.items())


def _bus_rules(device: DeviceTable, length: dict[int, int]) -> list[Rule]:
    """Return how long commands of more than one cycle hold their command bus."""
    buses = (ROW_COMMANDS, COLUMN_COMMANDS) if device.dual_command_bus else (ROW_COMMANDS + COLUMN_COMMANDS,)
    return [
        (before, s.SCOPE_CHANNEL, after, length[before])
        for bus in buses
        for before in bus
        if length[before] > 1
        for after in bus
    ]


def _column_rules(device: DeviceTable) -> list[Rule]:
    """Return distances between column commands."""
    t = device.timing
    rules: list[Rule] = []

    def add(before: tuple[int, ...], scope: int, after: tuple[int, ...], cycles: int) -> None:
        rules.extend((b, scope, a, cycles) for b in before for a in after)

    add(READS, s.SCOPE_RANK, READS, max(t.burst_cycles, t.ccd_s_cycles))
    add(READS, s.SCOPE_GROUP, READS, max(t.burst_cycles, t.ccd_l_cycles))
    add(WRITES, s.SCOPE_RANK, WRITES, max(t.burst_cycles, t.ccd_write_s_cycles))
    add(WRITES, s.SCOPE_GROUP, WRITES, max(t.burst_cycles, t.ccd_write_l_cycles))
    add(READS, s.SCOPE_RANK, WRITES, t.cl_cycles + t.burst_cycles + t.rtw_bubble_cycles - t.cwl_cycles)
    add(WRITES, s.SCOPE_RANK, READS, t.cwl_cycles + t.burst_cycles + t.wtr_s_cycles)
    add(WRITES, s.SCOPE_GROUP, READS, t.cwl_cycles + t.burst_cycles + t.wtr_l_cycles)
    if device.organisation.num_pseudo_channels == 1:  # ranks share the data bus, pseudo-channels do not
        add(READS, s.SCOPE_OTHER_RANKS, READS, t.burst_cycles + t.rank_switch_cycles)
        add(WRITES, s.SCOPE_OTHER_RANKS, WRITES, t.burst_cycles)
        add(READS, s.SCOPE_OTHER_RANKS, WRITES, t.cl_cycles + t.burst_cycles + t.rank_switch_cycles - t.cwl_cycles)
        add(WRITES, s.SCOPE_OTHER_RANKS, READS, t.cwl_cycles + t.burst_cycles + t.rank_switch_cycles - t.cl_cycles)
    return rules


def _row_rules(t: Timing) -> list[Rule]:
    """Return distances between activates, precharges and column commands of a bank."""
    write_to_pre = t.cwl_cycles + t.burst_cycles + t.wr_cycles
    rules = [
        (s.ACT, s.SCOPE_RANK, s.ACT, t.rrd_s_cycles), (s.ACT, s.SCOPE_GROUP, s.ACT, t.rrd_l_cycles),
        (s.ACT, s.SCOPE_BANK, s.ACT, t.rc_cycles), (s.ACT, s.SCOPE_BANK, s.PRE, t.ras_cycles), (s.ACT, s.SCOPE_RANK,
        s.PREA, t.ras_cycles), (s.PRE, s.SCOPE_BANK, s.ACT, t.rp_cycles), (s.PREA, s.SCOPE_RANK, s.ACT,
        t.rp_all_cycles), (s.RD, s.SCOPE_BANK, s.PRE, t.rtp_cycles), (s.RD, s.SCOPE_RANK, s.PREA, t.rtp_cycles),
        (s.WR, s.SCOPE_BANK, s.PRE, write_to_pre), (s.WR, s.SCOPE_RANK, s.PREA, write_to_pre),
        (s.RDA, s.SCOPE_BANK, s.ACT, t.rtp_cycles + t.rp_cycles), (s.WRA, s.SCOPE_BANK, s.ACT, write_to_pre +
        t.rp_cycles),
    ]  # fmt: skip
    rules += [(s.ACT, s.SCOPE_BANK, after, t.rcd_read_cycles) for after in READS]
    rules += [(s.ACT, s.SCOPE_BANK, after, t.rcd_write_cycles) for after in WRITES]
    rules += [(before, s.SCOPE_RANK, after, t.ppd_cycles) for before in (s.PRE, s.PREA) for after in (s.PRE, s.PREA)]
    return rules


def _refresh_rules(t: Timing) -> list[Rule]:
    """Return distances around refreshes."""
    read_end, write_end = t.rtp_cycles, t.cwl_cycles + t.burst_cycles + t.wr_cycles
    rules = [
        (s.ACT, s.SCOPE_RANK, s.REF, t.rc_cycles), (s.PRE, s.SCOPE_RANK, s.REF, t.rp_cycles), (s.PREA, s.SCOPE_RANK,
        s.REF, t.rp_cycles), (s.RDA, s.SCOPE_RANK, s.REF, read_end + t.rp_cycles), (s.WRA, s.SCOPE_RANK, s.REF,
        write_end + t.rp_cycles), (s.REF, s.SCOPE_RANK, s.ACT, t.rfc_cycles), (s.REF, s.SCOPE_RANK, s.REF,
        t.rfc_cycles),
    ]  # fmt: skip
    if t.rfc_bank_cycles == 0:
        return rules
    return rules + [
        (s.REF, s.SCOPE_RANK, s.REFB, t.rfc_cycles), (s.REFB, s.SCOPE_RANK, s.REF, t.rfc_bank_cycles),
        (s.REFB, s.SCOPE_BANK, s.ACT, t.rfc_bank_cycles), (s.REFB, s.SCOPE_RANK, s.ACT, t.refb_to_act_cycles),
        (s.REFB, s.SCOPE_RANK, s.REFB, t.refb_to_refb_cycles), (s.REFB, s.SCOPE_BANK, s.REFB, t.rfc_bank_cycles),
        (s.ACT, s.SCOPE_BANK, s.REFB, t.rc_cycles), (s.ACT, s.SCOPE_RANK, s.REFB, t.rrd_s_cycles),
        (s.PRE, s.SCOPE_BANK, s.REFB, t.rp_cycles), (s.PREA, s.SCOPE_RANK, s.REFB, t.rp_all_cycles),
        (s.RDA, s.SCOPE_BANK, s.REFB, read_end + t.rp_cycles), (s.WRA, s.SCOPE_BANK, s.REFB, write_end + t.rp_cycles),
    ]  # fmt: skip
