"""The timing rules that follow from the table of a memory device."""

from __future__ import annotations

from accelsim.config.memory_device import DeviceTable, Timing
from accelsim.sim.dram import state as s

Rule = tuple[int, int, int, int]
"""(preceding command, scope, following command, cycles)."""

READS, WRITES = (s.RD, s.RDA), (s.WR, s.WRA)
ROW_COMMANDS = (s.ACT, s.PRE, s.PREA, s.REF, s.REFB)
COLUMN_COMMANDS = (s.RD, s.WR, s.RDA, s.WRA)


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
