"""The arrays that the kernels work on, and the meaning of every index.

A kernel gets four named tuples of integer arrays: `Device` (timing rules and parameters, never written), `Banks` (what the
device remembers), `Requests` (one column per burst) and `Queues` (what the controller remembers). All times are cycles of
the memory clock.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.int64]

NEVER = 1 << 60
"""A time that does not come."""

# Commands. RDA and WRA precharge their bank by themselves; PREA and REF address a rank.
ACT, PRE, PREA, RD, WR, RDA, WRA, REF, REFB = range(9)
NUM_COMMANDS = 9
COMMAND_NAMES = ("ACT", "PRE", "PREA", "RD", "WR", "RDA", "WRA", "REF", "REFB")
ACT2 = 9
"""The second half of a split activate; it has no timing of its own beyond its window."""
CAS = 10
"""The data-clock synchronisation command before a column command (LPDDR5)."""
LOGGED_NAMES = (*COMMAND_NAMES, "ACT2", "CAS")

# Scopes of a timing rule, seen from the preceding command.
SCOPE_CHANNEL, SCOPE_RANK, SCOPE_GROUP, SCOPE_BANK, SCOPE_OTHER_RANKS = range(5)

# Values of `Banks.open_row` that are not rows.
CLOSED = -1
ACTIVATING = -2

# Indices of `Device.p`.
(
    P_CHANNELS, P_RANKS, P_GROUPS, P_BANKS_PER_GROUP, P_BANKS, P_BURST, P_READ_DONE, P_WRITE_DONE, P_FAW,
    P_REFRESH_MODE, P_REFI, P_SPLIT_WINDOW, P_WCK_READ, P_WCK_WRITE, P_DUAL_BUS, P_CONTROLLER, P_CLOSED_PAGE,
    P_READ_ENTRIES, P_WRITE_ENTRIES, P_BANK_ENTRIES, P_DRAIN_ENTRIES, P_WRITE_HIGH, P_WRITE_LOW, P_HIT_LIMIT,
) = range(24)  # fmt: skip
NUM_PARAMETERS = 24

REFRESH_NONE, REFRESH_ALL_BANK, REFRESH_PER_BANK = range(3)
CONTROLLER_SHARED, CONTROLLER_BANK = range(2)

# Columns of `Banks.counts` (per channel).
(
    N_ACT, N_PRE, N_RD, N_WR, N_REF, N_REFB, N_HITS, N_COLUMN, N_FORWARDED, N_MERGED, N_ACTIVE_CYCLES,
) = range(11)  # fmt: skip
NUM_COUNTS = 11

# Columns of `Queues.ctl` (per channel).
(
    C_READS, C_WRITES, C_ACTIVE, C_NEXT, C_WRITE_MODE, C_DRAINING, C_ROUND_ROBIN, C_NEXT_REFRESH, C_REFRESH_AT,
    C_REFRESHES, C_WCK_EXPIRY, C_CAS_REQUEST, C_CAS_QUEUE, C_EVENT, C_SPLIT_BANKS, C_IN_BANKS, C_BANK_WRITES,
) = range(17)  # fmt: skip
NUM_CONTROL = 17

# Slots of `Queues.g` (the whole memory).
G_CLOCK, G_NEXT, G_OUTSTANDING, G_FLUSH, G_LOG = range(5)
NUM_GLOBAL = 5

MAX_REFRESHES = 64
"""Refreshes that may wait in a channel."""


class Device(NamedTuple):
    """Rules and parameters of a memory.

    ``rules[rule_start[c]:rule_start[c + 1]]`` are the rules behind command ``c``: scope, following command, cycles.
    """

    rule_start: IntArray
    rules: IntArray
    rank_of: IntArray
    group_of: IntArray
    p: IntArray


class Banks(NamedTuple):
    """Earliest cycle of each command per channel, rank, bank group and bank; open rows; counts."""

    ready_channel: IntArray
    ready_rank: IntArray
    ready_group: IntArray
    ready_bank: IntArray
    open_row: IntArray
    row_hits: IntArray
    act_times: IntArray
    open_banks: IntArray
    open_since: IntArray
    counts: IntArray


class Requests(NamedTuple):
    """One entry per burst, in the order offered.

    ``accept`` and ``done`` are written by the kernel: the cycle in which the controller took the burst, and the cycle at
    which its data are over (-1 before). ``parent`` is the burst that a merged one waits for, or -1.
    """

    channel: IntArray
    bank: IntArray
    row: IntArray
    key: IntArray
    is_write: IntArray
    arrive: IntArray
    accept: IntArray
    done: IntArray
    parent: IntArray
    seen: IntArray


class Queues(NamedTuple):
    """What the controller remembers; queues hold indices into `Requests`, oldest first."""

    reads: IntArray
    writes: IntArray
    active: IntArray
    active_banks: IntArray
    bank_queue: IntArray
    bank_len: IntArray
    split_owner: IntArray
    split_deadline: IntArray
    refreshes: IntArray
    ctl: IntArray
    g: IntArray
    log: IntArray


def new_banks(p: IntArray) -> Banks:
    """Return the cold device: all banks closed, nothing waited for."""
    channels, ranks, groups, banks = (int(p[i]) for i in (P_CHANNELS, P_RANKS, P_GROUPS, P_BANKS))

    def zeros(*shape: int) -> IntArray:
        return np.zeros(shape, dtype=np.int64)

    return Banks(
        ready_channel=zeros(channels, NUM_COMMANDS),
        ready_rank=zeros(channels, ranks, NUM_COMMANDS),
        ready_group=zeros(channels, ranks * groups, NUM_COMMANDS),
        ready_bank=zeros(channels, banks, NUM_COMMANDS),
        open_row=zeros(channels, banks) + CLOSED,
        row_hits=zeros(channels, banks),
        act_times=zeros(channels, ranks, 4) - NEVER,
        open_banks=zeros(channels, ranks),
        open_since=zeros(channels, ranks),
        counts=zeros(channels, NUM_COUNTS),
    )


def new_queues(p: IntArray, log_entries: int = 0) -> Queues:
    """Return an empty controller; `log_entries` commands are logged (0: none)."""
    channels, banks = int(p[P_CHANNELS]), int(p[P_BANKS])

    def zeros(*shape: int) -> IntArray:
        return np.zeros(shape, dtype=np.int64)

    ctl = zeros(channels, NUM_CONTROL)
    first_refresh = p[P_REFI] - 1 if p[P_CONTROLLER] == CONTROLLER_SHARED else p[P_REFI]
    ctl[:, C_NEXT_REFRESH] = first_refresh if p[P_REFRESH_MODE] != REFRESH_NONE else NEVER
    ctl[:, C_CAS_REQUEST] = -1
    return Queues(
        reads=zeros(channels, int(p[P_READ_ENTRIES])),
        writes=zeros(channels, int(p[P_WRITE_ENTRIES])),
        active=zeros(channels, banks + 1),
        active_banks=zeros(channels, banks),
        bank_queue=zeros(channels, banks, int(p[P_BANK_ENTRIES])),
        bank_len=zeros(channels, banks),
        split_owner=zeros(channels, banks) - 1,
        split_deadline=zeros(channels, banks) + NEVER,
        refreshes=zeros(channels, MAX_REFRESHES),
        ctl=ctl,
        g=zeros(NUM_GLOBAL),
        log=zeros(log_entries, 5),
    )
