"""The arrays that the kernels work on, and the meaning of every index.

Three integer arrays hold everything, so that compiled helpers pass few arguments and a snapshot is one copy:

``dev``
    One dimension, never written by a kernel: parameters (``P_*``), then the rank and the group of each bank, then the
    timing rules (see `accelsim.sim.dram.device.timing_rules`) as (scope, following command, cycles), sorted by
    preceding command.
``st``
    One row per channel: control and counts, earliest cycles of commands per channel, rank, group and bank, open rows,
    and the queues, oldest first. The read and write queues hold runs (see `accelsim.sim.dram.queues`), the others
    numbers of bursts. The bank queues stand last because their size is configurable.
``req``
    One row per burst in the order offered (``R_*``).

``log`` is a fourth array of zero or more command rows (cycle, channel, command, bank, row), its first row holding the
count. All times are cycles of the memory clock.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.int64]

NEVER = 1 << 60
"""A time that does not come."""

# Commands. RDA and WRA precharge their bank by themselves; PREA and REF address a rank.
ACT, PRE, PREA, RD, WR, RDA, WRA, REF, REFB = range(9)
NUM_COMMANDS = 9
ACT2 = 9
"""The second half of a split activate; it has no timing of its own beyond its window."""
CAS = 10
"""The data-clock synchronisation command before a column command (LPDDR5)."""
PDE, PDX, SRE, SRX = range(11, 15)
"""Into and out of power-down and self-refresh; all ranks of a channel together."""
COMMAND_NAMES = (
    "ACT", "PRE", "PREA", "RD", "WR", "RDA", "WRA", "REF", "REFB", "ACT2", "CAS", "PDE", "PDX", "SRE", "SRX",
)  # fmt: skip

AWAKE, POWERED_DOWN, SELF_REFRESHING = range(3)

# Scopes of a timing rule, seen from the preceding command.
SCOPE_CHANNEL, SCOPE_RANK, SCOPE_GROUP, SCOPE_BANK, SCOPE_OTHER_RANKS = range(5)

# Values of an open row that are not rows.
CLOSED = -1
ACTIVATING = -2

REFRESH_NONE, REFRESH_ALL_BANK, REFRESH_PER_BANK = range(3)
CONTROLLER_SHARED, CONTROLLER_BANK, CONTROLLER_IN_ORDER = range(3)

MAX_RANKS = 16
MAX_BANKS = 128
"""Banks of a channel, over all ranks and groups."""
BANK_MASK = MAX_BANKS - 1
ROW_SHIFT = 7
"""A burst's place is its row shifted by this, plus its bank."""
MAX_ENTRIES = 256
"""Bursts in a read or write queue."""
MAX_REFRESHES = 64
"""Refreshes that may wait in a channel."""
KEY_COUNTERS = 512
"""Counters of waiting addresses: an address whose counter is zero need not be searched."""

# ``dev``: parameters.
(
    P_CHANNELS, P_RANKS, P_BANKS, P_READ_DONE, P_WRITE_DONE, P_FAW, P_REFRESH_MODE, P_REFI, P_SPLIT_WINDOW, P_WCK_READ,
    P_WCK_WRITE, P_DUAL_BUS, P_CONTROLLER, P_CLOSED_PAGE, P_READ_ENTRIES, P_WRITE_ENTRIES, P_BANK_ENTRIES,
    P_DRAIN_ENTRIES, P_WRITE_HIGH, P_WRITE_LOW, P_HIT_LIMIT, P_FLUSH, P_POWER_DOWN, P_SELF_REFRESH, P_ACTIVE_DOWN,
    P_RFC, P_XP, P_CKE, P_XS, P_SR,
) = range(30)  # fmt: skip
RANK_OF = 32
GROUP_OF = RANK_OF + MAX_BANKS
RULE_START = GROUP_OF + MAX_BANKS
RULES = RULE_START + 16

# ``st``: control and counts.
(
    C_CHANNEL, C_READS, C_WRITES, C_READ_RUNS, C_WRITE_RUNS, C_ACTIVE, C_NEXT, C_WRITE_MODE, C_DRAINING,
    C_ROUND_ROBIN, C_NEXT_REFRESH, C_REFRESH_AT, C_REFRESHES, C_WCK_EXPIRY, C_CAS_REQUEST, C_CAS_QUEUE, C_EVENT,
    C_SPLIT_BANKS, C_IN_BANKS, C_BANK_WRITES, C_OUTSTANDING, N_ACT, N_PRE, N_RD, N_WR, N_REF, N_REFB, N_HITS,
    N_COLUMN, N_FORWARDED, N_MERGED, N_ACTIVE_CYCLES, C_POWER, C_ASLEEP_SINCE, C_DATA_END, C_REF_END,
    N_PD_CYCLES, N_APD_CYCLES, N_SR_CYCLES, N_POWER_DOWNS, N_SELF_REFRESHES,
) = range(41)  # fmt: skip
"""The ``N_..._CYCLES`` add up ranks: with a row open (a refresh counts, and ``N_APD_CYCLES`` too), in power-down with
none or some open, and in self-refresh behind its first refresh."""

# ``st``: regions.
READY_CHANNEL = 48
READY_RANK = READY_CHANNEL + 16
READY_GROUP = READY_RANK + MAX_RANKS * NUM_COMMANDS
READY_BANK = READY_GROUP + MAX_BANKS * NUM_COMMANDS
OPEN_ROW = READY_BANK + MAX_BANKS * NUM_COMMANDS
ROW_HITS = OPEN_ROW + MAX_BANKS
ACT_TIMES = ROW_HITS + MAX_BANKS
OPEN_BANKS = ACT_TIMES + MAX_RANKS * 4
OPEN_SINCE = OPEN_BANKS + MAX_RANKS
ACTIVE_BANKS = OPEN_SINCE + MAX_RANKS
SPLIT_OWNER = ACTIVE_BANKS + MAX_BANKS
SPLIT_DEADLINE = SPLIT_OWNER + MAX_BANKS
BANK_LEN = SPLIT_DEADLINE + MAX_BANKS
TRY_AT = BANK_LEN + MAX_BANKS
REFRESHES = TRY_AT + MAX_BANKS
ACTIVE = REFRESHES + MAX_REFRESHES
PENDING_READS = ACTIVE + MAX_BANKS
PENDING_WRITES = PENDING_READS + KEY_COUNTERS
READS = PENDING_WRITES + KEY_COUNTERS
WRITES = READS + 4 * MAX_ENTRIES
BANK_QUEUE = WRITES + 4 * MAX_ENTRIES

# ``req``: columns. NEXT is the next burst of the same channel, and
# FOLLOWS the one before if that has the same place and direction, or -1. The kernel writes ACCEPT (the cycle in which
# the controller took the burst), DONE (the cycle at which its data are over; both -1 before), PARENT (the burst that
# a merged one waits for, or -1) and SEEN (counted as hit or miss).
(
    R_CHANNEL, R_PLACE, R_KEY, R_WRITE, R_ARRIVE, R_NEXT, R_FOLLOWS, R_ACCEPT, R_DONE, R_PARENT, R_SEEN,
) = range(11)  # fmt: skip
NUM_REQUEST_COLUMNS = 11

# ``g``: the whole memory.
G_CLOCK, G_NEXT = range(2)


def new_state(dev: IntArray) -> IntArray:
    """Return the cold state: all banks closed, nothing waited for, queues empty."""
    channels, banks = int(dev[P_CHANNELS]), int(dev[P_BANKS])
    st = np.zeros((channels, BANK_QUEUE + banks * int(dev[P_BANK_ENTRIES])), dtype=np.int64)
    st[:, C_CHANNEL] = np.arange(channels)
    first_refresh = dev[P_REFI] - 1 if dev[P_CONTROLLER] == CONTROLLER_SHARED else dev[P_REFI]
    st[:, C_NEXT_REFRESH] = first_refresh if dev[P_REFRESH_MODE] != REFRESH_NONE else NEVER
    st[:, C_CAS_REQUEST] = -1
    st[:, OPEN_ROW : OPEN_ROW + MAX_BANKS] = CLOSED
    st[:, ACT_TIMES:OPEN_BANKS] = -NEVER
    st[:, SPLIT_OWNER : SPLIT_OWNER + MAX_BANKS] = -1
    st[:, SPLIT_DEADLINE : SPLIT_DEADLINE + MAX_BANKS] = NEVER
    return st


def new_log(num_commands: int = 0) -> IntArray:
    """Return a command log with room for `num_commands`."""
    return np.zeros((num_commands + 1, 5), dtype=np.int64)
