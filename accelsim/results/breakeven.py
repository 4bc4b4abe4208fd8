"""At which DRAM energy, freezing ratio and weight precision the ranking of two storage formats changes.

Energy is linear in the DRAM energy per bit, and what a ticket stores is linear in the freezing ratio (one bit a free
weight, times what its codec makes of it), so each point is the crossing of two straight lines, all else as it was run.
So is the weight precision: the energy of dense weights is taken as linear in their bits through memory and weight
buffer.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from accelsim.config.hardware import HardwareConfig
from accelsim.cost.dram import BY_TRAFFIC
from accelsim.cost.evaluate import energy_lines
from accelsim.cost.tables import CostTables
from accelsim.results.compare import FREEZING_FORMATS, stored_bits, traffic_bytes, weight_bytes
from accelsim.results.model import RunResult
from accelsim.sim.counters import Counters


@dataclass(frozen=True, slots=True)
class BreakEven:
    """Where a ticket and a rival change places; None where they never do.

    Attributes
    ----------
    rival
        The other storage format.
    dram_pj_per_bit
        DRAM energy at which both need the same energy.
    dram_pj_per_bit_now
        DRAM energy of the run, reads and writes together.
    freeze_ratio
        Freezing ratio from which the ticket stores less than the rival, which stays as it is.
    freezes_too
        The rival's size falls with the freezing ratio as well, so that `freeze_ratio` says nothing.
    """

    rival: str
    dram_pj_per_bit: float | None
    dram_pj_per_bit_now: float
    freeze_ratio: float | None
    freezes_too: bool = False


@dataclass(frozen=True, slots=True)
class EqualEnergy:
    """The weight precision at which dense storage would need as much energy as a ticket.

    Attributes
    ----------
    rival
        The dense format from which it is reckoned; its arithmetic stays.
    bits
        Bits per weight; None where what does not depend on them needs more energy than the ticket already.
    fixed_j
        That energy: the rival's without its weights' memory traffic and without the weight buffer.
    """

    rival: str
    bits: float | None
    fixed_j: float


def dram_energy_j(counters: Counters, hardware: HardwareConfig, tables: CostTables) -> float:
    """Return the energy of the bits that cross the memory interface and of the commands for them, without standby."""
    lines = energy_lines(counters, hardware, tables)
    return math.fsum(line.energy_j for line in lines if line.unit == "dram" and line.action in BY_TRAFFIC)


def break_even(ticket: RunResult, rival: RunResult, ticket_dram_j: float, rival_dram_j: float) -> BreakEven:
    """Return where ``ticket`` (a format that stores a mask of the free weights) and ``rival`` change places.

    Parameters
    ----------
    ticket, rival
        Two runs of one network on one chip.
    ticket_dram_j, rival_dram_j
        `dram_energy_j` of the two.
    """
    bits, rival_bits = 8 * traffic_bytes(ticket.totals), 8 * traffic_bytes(rival.totals)
    now = (ticket_dram_j + rival_dram_j) / (bits + rival_bits) if bits + rival_bits else 0.0
    rest = ticket.totals.energy_j - ticket_dram_j
    rival_rest = rival.totals.energy_j - rival_dram_j
    crossing = (rest - rival_rest) / (rival_bits - bits) if rival_bits != bits else None
    return BreakEven(
        rival=rival.storage,
        dram_pj_per_bit=crossing * 1e12 if crossing is not None and crossing > 0 else None,
        dram_pj_per_bit_now=now * 1e12,
        freeze_ratio=_freeze_ratio(ticket, stored_bits(rival.totals)),
        freezes_too=rival.storage in FREEZING_FORMATS,
    )


def equal_energy(ticket: RunResult, dense: RunResult, dense_dram_j: float) -> EqualEnergy | None:
    """Return the weight precision at which ``dense`` would need as much energy as ``ticket``.

    The energy of ``dense`` is taken as linear in the bits of a weight through its memory traffic and the weight buffer;
    time, and with it leakage and standby, arithmetic and schedule stay. None if ``dense`` moves no weight values.

    Parameters
    ----------
    ticket, dense
        Two runs of one network on one chip; ``dense`` in a format that stores a value per weight.
    dense_dram_j
        `dram_energy_j` of ``dense``.
    """
    totals = dense.totals
    weights_j = (
        dense_dram_j * weight_bytes(totals) / max(1, traffic_bytes(totals)) + totals.energy_j_by_unit.weight_buffer
    )
    bits_now = totals.stored_bits.weight / max(1, dense.workload.num_weights)
    if not weights_j or not bits_now:
        return None
    fixed_j = totals.energy_j - weights_j
    bits = bits_now * (ticket.totals.energy_j - fixed_j) / weights_j
    return EqualEnergy(dense.storage, bits if bits > 0 else None, fixed_j)


def equal_precision_bits(ticket: RunResult) -> float:
    """Return the width at which dense weights, scales apart, would take as many bits as the ticket stores."""
    stored = ticket.totals.stored_bits
    return (stored_bits(ticket.totals) - stored.scale) / max(1, ticket.workload.num_weights)


def smaller_or_cheaper(ticket: RunResult, rivals: Sequence[RunResult]) -> list[tuple[str, tuple[str, ...]]]:
    """Return the rivals that beat ``ticket`` in stored bits, weight traffic, energy or time, and in what."""
    found = []
    for rival in rivals:
        figures = (
            ("stores less", stored_bits(rival.totals), stored_bits(ticket.totals)),
            ("moves less over the memory interface", traffic_bytes(rival.totals), traffic_bytes(ticket.totals)),
            ("needs less energy", rival.totals.energy_j, ticket.totals.energy_j),
            ("is faster", rival.totals.latency_cycles, ticket.totals.latency_cycles),
            ("needs less area", rival.totals.area_mm2, ticket.totals.area_mm2),
        )
        better = tuple(what for what, theirs, ours in figures if theirs < ours)
        if better:
            found.append((rival.storage, better))
    return found


def _freeze_ratio(ticket: RunResult, rival_bits: int) -> float | None:
    work, stored = ticket.workload, ticket.totals.stored_bits
    free = work.num_weights * (1 - work.freeze_ratio)
    if not stored.mask or free <= 0:
        return None
    bits_per_free_weight = stored.mask / free
    room = rival_bits - stored.seed - stored.scale
    ratio = 1 - room / bits_per_free_weight / work.num_weights
    return max(0.0, ratio) if ratio < 1 else None
