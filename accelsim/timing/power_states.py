"""What a memory did in a run: commands and time by power state, measured or worked out from the gaps between requests.

The closed form takes what the timing model does one by one as its mean: rows stay open behind the last data until the
next refresh, which is equally likely anywhere in its interval; a refresh in power-down is an exit, the refresh and an
entry; self-refresh begins with a refresh of its own and starts the interval anew at its exit.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import numpy.typing as npt

from accelsim.config.dram import DramConfig
from accelsim.config.memory_device import DeviceTable, device_of
from accelsim.timing.openings import count_openings, stripe_of

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
STATES = ("active", "precharged", "pd", "apd", "sr")
MOST_GAPS = 256
STEPS_PER_OCTAVE = 8  # gaps of about equal length become one of their mean where there are many


@dataclass(frozen=True, slots=True)
class DramStates:
    """Commands and state times of all ranks together, times in ns.

    ``active`` and ``precharged`` are standby with rows open (tRFC of a refresh counts) and without; ``pd`` and ``apd``
    power-down without and with open rows; ``sr`` self-refresh behind its first refresh. ``num_refreshes`` includes the
    latter; ``num_bank_refreshes`` are those of one bank.
    """

    num_activates: float
    num_precharges: float
    num_refreshes: float
    num_bank_refreshes: float
    num_power_downs: float
    num_self_refreshes: float
    active: float
    precharged: float
    pd: float
    apd: float
    sr: float

    def times(self, factor: float) -> DramStates:
        """Return ``factor`` times the same."""
        return DramStates(*(getattr(self, field.name) * factor for field in fields(self)))

    def plus(self, other: DramStates) -> DramStates:
        """Return both together."""
        return DramStates(*(getattr(self, field.name) + getattr(other, field.name) for field in fields(self)))

    def priced(self, price: DramStates) -> float:
        """Return the cost of all that, where ``price`` has that of each command and of a ns in each state."""
        return math.fsum(getattr(self, field.name) * getattr(price, field.name) for field in fields(self))

    @property
    def time_ns(self) -> float:
        """Return the time of all ranks."""
        return math.fsum(getattr(self, name) for name in STATES)


@dataclass(frozen=True, slots=True)
class Policy:
    """What a channel does without requests; see `accelsim.config.dram.DramConfig`."""

    power_down_after_ns: float | None
    power_down_kind: str
    self_refresh_after_ns: float | None


def policy_of(dram: DramConfig) -> Policy:
    """Return the policy of a memory."""
    return Policy(dram.power_down_after_ns, dram.power_down_kind, dram.self_refresh_after_ns)


@dataclass(frozen=True, slots=True)
class DramActivity:
    """What of a run the energy of its memory depends on; enough for any policy.

    Attributes
    ----------
    time_ns
        Length of the run.
    gaps
        (ns, how many) of the times between the last data of all requests before and the next request; also up to the
        first and behind the last.
    num_openings
        Rows that the requests open where the memory never sleeps.
    reopened_rows
        Rows that a request opens behind a gap in which all were closed, and would else have found open.
    measured, policy
        States of the timing model, and the policy that they belong to; None in the simple model.
    """

    time_ns: float
    gaps: tuple[tuple[float, int], ...]
    num_openings: float
    reopened_rows: float
    measured: DramStates | None = None
    policy: Policy | None = None

    def states(self, dram: DramConfig) -> DramStates:
        """Return what the memory did with the policy of ``dram``: as measured where it was measured with that one."""
        if self.measured is not None and self.policy == policy_of(dram):
            return self.measured
        return states_from_gaps(self, dram)


def one_after_other(parts: Sequence[tuple[DramActivity | None, int]]) -> DramActivity | None:
    """Return the activity of runs behind each other, each so many times; None where one is not known."""
    known = [(one, times) for one, times in parts if one is not None]
    if len(known) < len(parts) or not known:
        return None
    first = known[0][0]
    measured = [one.measured.times(times) for one, times in known if one.measured is not None]
    whole = measured[0] if len(measured) == len(known) else None
    for one in measured[1:] if whole is not None else ():
        whole = one.plus(whole) if whole is not None else None
    total = sum(times for _, times in known)
    return replace(
        first,
        time_ns=sum(one.time_ns * times for one, times in known),
        gaps=merged_gaps((length, count * times) for one, times in known for length, count in one.gaps),
        num_openings=sum(one.num_openings * times for one, times in known),
        reopened_rows=sum(one.reopened_rows * times for one, times in known) / total,
        measured=whole,
    )


def merged_gaps(gaps: Iterable[tuple[float, int]]) -> tuple[tuple[float, int], ...]:
    """Return gaps with equal lengths together, shortest first; of more than `MOST_GAPS`, like ones at their mean."""
    counts: dict[float, int] = {}
    for length, count in gaps:
        if length > 0 and count:
            counts[length] = counts.get(length, 0) + count
    if len(counts) <= MOST_GAPS:
        return tuple(sorted(counts.items()))
    bins: dict[int, tuple[float, int]] = {}
    for length, count in counts.items():
        # Bins of equal ratios: what a policy does with a gap depends on its magnitude.
        mantissa, exponent = math.frexp(length)
        place = exponent * STEPS_PER_OCTAVE + int((2 * mantissa - 1) * STEPS_PER_OCTAVE)
        total, number = bins.get(place, (0.0, 0))
        bins[place] = total + length * count, number + count
    return tuple((total / number, number) for _, (total, number) in sorted(bins.items()))


def num_ranks(dram: DramConfig) -> int:
    """Return the ranks of all channels; pseudo-channels count."""
    return dram.num_channels * dram.num_ranks * device_of(dram.standard).organisation.num_pseudo_channels


def refresh_ns(dram: DramConfig, device: DeviceTable) -> tuple[float, float]:
    """Return the mean interval of refreshes of a whole rank and the time of one; bank refreshes in units of a rank."""
    if dram.refresh == "none":
        return math.inf, 0.0
    tck = device.tck_ns
    interval = device.timing.refi_cycles * tck
    if dram.refresh_interval_ns is not None:
        banks = device.organisation.num_bank_groups * device.organisation.num_banks_per_group
        interval = dram.refresh_interval_ns * (banks if dram.refresh == "per_bank" else 1)
    return interval, device.timing.rfc_cycles * tck


def states_from_gaps(activity: DramActivity, dram: DramConfig) -> DramStates:
    """Return the states of an activity with the policy of ``dram``; all ranks sleep together."""
    device = device_of(dram.standard)
    sums = _Sums(*refresh_ns(dram, device))
    for gap, count in activity.gaps:
        sums.add(gap, count, policy_of(dram), device)
    time = activity.time_ns
    # In self-refresh the memory refreshes itself: the controller sends commands in the rest of the time only.
    awake = max(0.0, time - sums.sr)
    refreshes = awake / sums.interval
    if sums.num_self_refreshes:  # each exit starts the interval anew
        exits = sums.num_self_refreshes * (sums.refresh + device.timing.xs_cycles * device.tck_ns)
        refreshes = sums.num_self_refreshes + _refreshes_between_exits(
            max(0.0, awake - exits), sums, policy_of(dram).self_refresh_after_ns or 0.0
        )
    wakes = sums.num_power_downs * device.timing.xp_cycles + sums.num_self_refreshes * device.timing.xs_cycles
    busy = max(0.0, time - sums.total - wakes * device.tck_ns)
    # Both are means, and may overlap: states must add up to the time of the run.
    active = min(busy + sums.active, time - sums.pd - sums.apd - sums.sr)
    opened = activity.num_openings + sums.closed * activity.reopened_rows
    one = DramStates(
        num_activates=0.0, num_precharges=0.0, num_refreshes=refreshes, num_bank_refreshes=0.0,
        num_power_downs=sums.num_power_downs, num_self_refreshes=sums.num_self_refreshes, active=active,
        precharged=max(0.0, time - active - sums.pd - sums.apd - sums.sr), pd=sums.pd, apd=sums.apd, sr=sums.sr,
    ).times(num_ranks(dram))  # fmt: skip
    # Rows are counted over all ranks already, and each that is opened is closed in the end.
    return replace(one, num_activates=opened, num_precharges=opened)


def _refreshes_between_exits(awake_ns: float, sums: _Sums, after_ns: float) -> float:
    """Return the refreshes that the controller asks for in ``awake_ns``, cut into stretches by self-refreshes.

    A stretch begins with a whole interval. It lasts for its requests and at least for the ``after_ns`` of the gap that
    ends it; how many shorter gaps lie before that one is taken to be random, as where each gap's length is drawn anew.
    What lies behind the last exit counts as part of them.
    """
    stretches = sums.num_self_refreshes
    mean, interval = awake_ns / stretches, sums.interval
    shortest = min(mean, after_ns + max(0.0, awake_ns - sums.awake) / max(1.0, sums.num_gaps))
    certain = math.floor(shortest / interval)
    spread = mean - shortest
    if spread <= 0 or math.isinf(interval):
        return stretches * certain
    # The chances that an exponential part beyond the shortest reaches the next end of an interval, and each after it.
    beyond = math.exp(-((certain + 1) * interval - shortest) / spread) / -math.expm1(-interval / spread)
    return stretches * (certain + beyond)


@dataclass(frozen=True, slots=True)
class MeanStates:
    """What `states_from_gaps` comes to where all gaps are alike, float64 arrays; times in ns, of one rank."""

    active: Floats
    precharged: Floats
    asleep: Floats


def states_of_mean_gap(time_ns: Floats, busy_ns: Floats, num_gaps: Floats, dram: DramConfig) -> MeanStates:
    """Return the states of runs of ``time_ns`` whose requests take ``busy_ns``, with equal gaps between them."""
    policy, (interval, refresh) = policy_of(dram), refresh_ns(dram, device_of(dram.standard))
    waits = [after for after in (policy.power_down_after_ns, policy.self_refresh_after_ns) if after is not None]
    idle, number = np.maximum(time_ns - busy_ns, 0), np.maximum(num_gaps, 1)
    standby = np.minimum(idle / number, min(waits, default=math.inf))
    # As `_Sums`: rows stay open up to the gap's end or the next refresh, and refreshes count as rows open.
    within = np.minimum(standby, interval)
    still_open = (within - within * within / (2 * interval)) * number
    asleep = (idle - standby * number) * (1 - refresh / interval)
    active = np.minimum(time_ns - idle + still_open + idle * (refresh / interval), time_ns - asleep)
    return MeanStates(active, time_ns - asleep - active, asleep)


def sleeping_state(dram: DramConfig) -> str:
    """Return the state that a memory without requests gets into first; ``active`` where it never sleeps."""
    policy = policy_of(dram)
    down, itself = policy.power_down_after_ns, policy.self_refresh_after_ns
    if down is None or (itself is not None and itself < down):
        return "active" if itself is None else "sr"
    return "pd" if policy.power_down_kind == "precharge" else "apd"


def num_wakes(activity: DramActivity, dram: DramConfig) -> tuple[int, int]:
    """Return how many requests find the memory in power-down, and in self-refresh, with the policy of ``dram``."""
    policy = policy_of(dram)
    down = math.inf if policy.power_down_after_ns is None else policy.power_down_after_ns
    itself = math.inf if policy.self_refresh_after_ns is None else policy.self_refresh_after_ns
    refreshing = sum(count for gap, count in activity.gaps if gap > itself)
    return sum(count for gap, count in activity.gaps if down < gap <= itself), refreshing


@dataclass(slots=True)
class _Sums:
    """Sums over gaps, of one rank, in ns.

    ``closed`` counts gaps that closed rows which no refresh had closed; ``awake`` is the part of gaps before
    self-refresh.
    """

    interval: float
    refresh: float
    total: float = 0.0
    active: float = 0.0
    pd: float = 0.0
    apd: float = 0.0
    sr: float = 0.0
    num_power_downs: float = 0.0
    num_self_refreshes: float = 0.0
    closed: float = 0.0
    num_gaps: float = 0.0
    awake: float = 0.0

    def open_ns(self, length: float) -> float:
        """Return for how long rows stay open in a time without requests: up to its end or the next refresh."""
        # A refresh comes for certain, in the mean after half an interval.
        if length >= self.interval:
            return self.interval / 2
        # The mean of the smaller of ``length`` and a time that lies anywhere in the interval.
        return length - length * length / (2 * self.interval)

    def add(self, gap: float, count: int, policy: Policy, device: DeviceTable) -> None:
        """Add ``count`` gaps."""
        tck, timing = device.tck_ns, device.timing
        down = math.inf if policy.power_down_after_ns is None else policy.power_down_after_ns
        itself = math.inf if policy.self_refresh_after_ns is None else policy.self_refresh_after_ns
        standby = min(gap, down, itself)
        active, pd, apd, sr = self.open_ns(standby), 0.0, 0.0, 0.0
        refreshes = standby / self.interval
        close = timing.rp_all_cycles * tck
        if gap > down and down < itself:
            # Rows that must be closed are closed before the memory sleeps.
            length = max(0.0, min(gap, itself) - down - (close if policy.power_down_kind == "precharge" else 0.0))
            # Each refresh within wakes the memory up: its own time and the exit from power-down are no sleep.
            inside = length / self.interval
            pd = max(0.0, length - inside * (self.refresh + timing.xp_cycles * tck))
            if policy.power_down_kind == "active":
                # Power-down finds rows open until the first refresh closes them; from then on it is that of closed
                # rows.
                apd = min(pd, self.open_ns(min(gap, itself)) - self.open_ns(down))
                pd -= apd
            refreshes += inside
            self.num_power_downs += count
        if gap > itself:
            # Before it lie the exit from power-down, the closing of rows, and its own first refresh.
            sr = max(0.0, gap - itself - self.refresh - close - (timing.xp_cycles * tck if down < itself else 0.0))
            refreshes += 1
            self.num_self_refreshes += count
        if gap > itself or (gap > down and policy.power_down_kind == "precharge"):
            # A refresh within the gap would have closed the rows in any case.
            self.closed += count * max(0.0, 1 - gap / self.interval)
        self.total += count * gap
        self.num_gaps += count
        self.awake += count * min(gap, itself)
        self.active += count * (active + refreshes * self.refresh)
        self.pd += count * pd
        self.apd += count * apd
        self.sr += count * sr


@dataclass(frozen=True, slots=True)
class MemoryUse:
    """When requests in order of arrival use a memory, in any unit of time.

    Attributes
    ----------
    first, last
        The first arrival, and the end of the last data.
    gaps
        (length, how many) of the times between the last data of all requests before and the next arrival.
    num_openings
        Rows opened, see `count_openings`.
    num_requests, num_bytes
        Requests that move something, and what they move.
    """

    first: int = 0
    last: int = 0
    gaps: tuple[tuple[int, int], ...] = ()
    num_openings: float = 0.0
    num_requests: int = 0
    num_bytes: int = 0

    def shifted(self, time: int) -> MemoryUse:
        """Return the same use later."""
        return replace(self, first=self.first + time, last=self.last + time)


def use_of_requests(  # noqa: PLR0913  each is a column of the requests
    arrival: Ints, end: Ints, address: Ints | None, num_bytes: Ints, unit_ns: float, dram: DramConfig
) -> MemoryUse:
    """Return what requests in order of arrival make of a memory; arrays have one entry a request, times in a unit.

    Without an ``address`` no rows are opened: somebody else counts them.
    """
    moves = num_bytes > 0
    if not moves.all():
        arrival, end, num_bytes = arrival[moves], end[moves], num_bytes[moves]
        address = None if address is None else address[moves]
    if not arrival.size:
        return MemoryUse()
    openings = 0.0
    if address is not None:
        interval, _ = refresh_ns(dram, device_of(dram.standard))
        openings = count_openings(address, num_bytes, (arrival - arrival[0]) * unit_ns, interval, dram)
    # On two buses a later request may end first: idle is who has no data of any request before.
    lengths, counts = np.unique(arrival[1:] - np.maximum.accumulate(end)[:-1], return_counts=True)
    return MemoryUse(
        first=int(arrival[0]),
        last=int(end.max()),
        gaps=tuple((int(gap), int(count)) for gap, count in zip(lengths, counts, strict=True) if gap > 0),
        num_openings=openings,
        num_requests=int(arrival.size),
        num_bytes=int(num_bytes.sum()),
    )


def joined_use(parts: Sequence[MemoryUse]) -> MemoryUse:
    """Return the use of requests behind each other."""
    used = [part for part in parts if part.num_requests]
    if not used:
        return MemoryUse()
    gaps, last = Counter[int](), used[0].first
    for part in used:
        # Parts may overlap where requests of the next arrive before the last data: no gap then.
        gaps[max(0, part.first - last)] += 1
        last = max(last, part.last)
        for length, count in part.gaps:
            gaps[length] += count
    return MemoryUse(
        first=used[0].first,
        last=last,
        gaps=tuple(sorted((length, count) for length, count in gaps.items() if length)),
        num_openings=sum(part.num_openings for part in used),
        num_requests=sum(part.num_requests for part in used),
        num_bytes=sum(part.num_bytes for part in used),
    )


def with_copies(until: MemoryUse, after: MemoryUse, whole: MemoryUse, times: int, period: int) -> MemoryUse:
    """Return the use of requests of which some come ``times`` times more, each time a ``period`` later.

    Parameters
    ----------
    until, after
        The use up to the begin of these requests, and up to their end.
    whole
        The use of all requests, these once.
    """
    gaps = Counter(dict(whole.gaps))
    for sign, use in ((times, after), (-times, until)):
        for length, count in use.gaps:
            gaps[length] += sign * count
    return MemoryUse(
        first=whole.first,
        last=whole.last + times * period,
        gaps=tuple(sorted((length, count) for length, count in gaps.items() if count)),
        num_openings=whole.num_openings + times * (after.num_openings - until.num_openings),
        num_requests=whole.num_requests + times * (after.num_requests - until.num_requests),
        num_bytes=whole.num_bytes + times * (after.num_bytes - until.num_bytes),
    )


def activity_of(
    use: MemoryUse, end: int, unit_ns: float, dram: DramConfig, measured: DramStates | None = None
) -> DramActivity:
    """Return what a run up to ``end`` made of its memory; ``measured`` are the states of the timing model."""
    outside = [(use.first, 1), (end - use.last, 1)] if use.num_requests else [(end, 1)]
    return DramActivity(
        time_ns=end * unit_ns,
        # Equal lengths of several parts must be equal as floats to be merged.
        gaps=merged_gaps((round(length * unit_ns, 6), count) for length, count in (*use.gaps, *outside)),
        num_openings=use.num_openings,
        reopened_rows=reopened_rows(use, dram),
        measured=measured,
        policy=None if measured is None else policy_of(dram),
    )


def reopened_rows(use: MemoryUse, dram: DramConfig) -> float:
    """Return how many rows a request opens where all are closed, less those that it opens anyway, in the mean."""
    if not use.num_requests:
        return 0.0
    bursts = use.num_bytes / use.num_requests / dram.burst_bytes
    rows = max(1.0, min(stripe_of(dram).num_rows, bursts))
    return max(0.0, rows - use.num_openings / use.num_requests)
