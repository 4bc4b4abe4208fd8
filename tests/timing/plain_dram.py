"""A plain memory model, one cycle and one burst at a time.

It restates the JEDEC distances and both controllers with lists and dictionaries, and asks in every cycle.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from accelsim.sim.dram import state as s
from accelsim.sim.dram.build import Memory

COLUMN = ("RD", "WR", "RDA", "WRA")
READS, WRITES = ("RD", "RDA"), ("WR", "WRA")


Distances = dict[tuple[str, str], dict[str, int]]


def column_distances(memory: Memory) -> Distances:
    t = memory.table.timing
    write_end, out = t.cwl_cycles + t.burst_cycles, {}
    kinds = {
        ("R", "R"): {
            "group": max(t.burst_cycles, t.ccd_l_cycles), "rank": max(t.burst_cycles, t.ccd_s_cycles),
            "other": t.burst_cycles + t.rank_switch_cycles,
        },
        ("W", "W"): {
            "group": max(t.burst_cycles, t.ccd_write_l_cycles), "rank": max(t.burst_cycles, t.ccd_write_s_cycles),
            "other": t.burst_cycles,
        },
        ("R", "W"): {
            "rank": t.cl_cycles + t.burst_cycles - t.cwl_cycles + t.rtw_bubble_cycles,
            "other": t.cl_cycles + t.burst_cycles - t.cwl_cycles + t.rank_switch_cycles,
        },
        ("W", "R"): {
            "group": write_end + t.wtr_l_cycles, "rank": write_end + t.wtr_s_cycles,
            "other": write_end - t.cl_cycles + t.rank_switch_cycles,
        },
    }  # fmt: skip
    for b in COLUMN:
        for a in COLUMN:
            out[b, a] = dict(kinds[b[0], a[0]])
            if memory.table.organisation.num_pseudo_channels > 1:
                del out[b, a]["other"]
    return out


def row_distances(memory: Memory) -> Distances:
    t = memory.table.timing
    write_end, read_end = t.cwl_cycles + t.burst_cycles + t.wr_cycles, t.rtp_cycles
    out: Distances = {
        ("ACT", "ACT"): {"bank": t.rc_cycles, "group": t.rrd_l_cycles, "rank": t.rrd_s_cycles},
        ("ACT", "PRE"): {"bank": t.ras_cycles}, ("ACT", "PREA"): {"rank": t.ras_cycles},
        ("RD", "PRE"): {"bank": read_end}, ("RD", "PREA"): {"rank": read_end},
        ("WR", "PRE"): {"bank": write_end}, ("WR", "PREA"): {"rank": write_end},
        ("PRE", "ACT"): {"bank": t.rp_cycles}, ("PREA", "ACT"): {"rank": t.rp_all_cycles},
        ("RDA", "ACT"): {"bank": read_end + t.rp_cycles}, ("WRA", "ACT"): {"bank": write_end + t.rp_cycles},
        ("ACT", "REF"): {"rank": t.rc_cycles}, ("REF", "ACT"): {"rank": t.rfc_cycles},
        ("REF", "REF"): {"rank": t.rfc_cycles}, ("PRE", "REF"): {"rank": t.rp_cycles},
        ("PREA", "REF"): {"rank": t.rp_cycles}, ("RDA", "REF"): {"rank": read_end + t.rp_cycles},
        ("WRA", "REF"): {"rank": write_end + t.rp_cycles},
    }  # fmt: skip
    out |= {("ACT", a): {"bank": t.rcd_read_cycles} for a in READS}
    out |= {("ACT", a): {"bank": t.rcd_write_cycles} for a in WRITES}
    out |= {(b, a): {"rank": t.ppd_cycles} for b in ("PRE", "PREA") for a in ("PRE", "PREA")}
    return out


def distances(memory: Memory) -> Distances:
    """Minimum cycles from one command to another by how near they are: bank, group, rank, other (rank), bus."""
    t = memory.table.timing
    out = column_distances(memory) | row_distances(memory)
    length = {"ACT": t.act_command_cycles, **dict.fromkeys(COLUMN, t.column_command_cycles)}
    for (b, a), near in out.items():
        for key in near:
            near[key] += length.get(b, 1) - length.get(a, 1)
    kinds = ("ACT", "PRE", "PREA", *COLUMN, "REF")
    for b in [kind for kind in kinds if length.get(kind, 1) > 1]:
        for a in kinds:
            if not memory.table.dual_command_bus or (b in COLUMN) == (a in COLUMN):
                out.setdefault((b, a), {})["bus"] = length[b]
    return out


@dataclass
class PlainDevice:
    """Last issue of each command per place, and the open rows."""

    memory: Memory
    last: dict[tuple[object, ...], int] = field(default_factory=dict)
    acts: dict[int, list[int]] = field(default_factory=dict)
    rows: dict[int, int] = field(default_factory=dict)
    hits: dict[int, int] = field(default_factory=dict)
    log: list[tuple[int, str, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        o = self.memory.table.organisation
        self.per_group, self.per_rank = o.num_banks_per_group, o.num_banks_per_group * o.num_bank_groups
        self.ranks = self.memory.num_ranks
        self.distance = distances(self.memory)

    def rank(self, bank: int) -> int:
        return bank // self.per_rank

    def places(self, bank: int) -> dict[str, object]:
        return {
            "bank": ("b", bank),
            "group": ("g", bank // self.per_group),
            "rank": ("r", self.rank(bank)),
            "bus": ("c",),
        }

    def earliest(self, cmd: str, bank: int) -> int:
        at, where = 0, self.places(bank)
        for (before, after), near in self.distance.items():
            if after != cmd:
                continue
            for key, cycles in near.items():
                if key == "other":
                    ranks = [("r", r) for r in range(self.ranks) if r != self.rank(bank)]
                else:
                    ranks = [where[key]]  # type: ignore[list-item]
                for place in ranks:
                    if (before, place) in self.last:
                        at = max(at, self.last[before, place] + cycles)
        acts = self.acts.get(self.rank(bank), [])
        if cmd == "ACT" and len(acts) >= 4:
            at = max(at, acts[-4] + self.memory.table.timing.faw_cycles)
        return at

    def issue(self, cmd: str, bank: int, row: int, clk: int) -> None:
        for place in self.places(bank).values():
            self.last[cmd, place] = clk
        if cmd == "ACT":
            self.acts.setdefault(self.rank(bank), []).append(clk)
            self.rows[bank], self.hits[bank] = row, 0
        elif cmd in ("PRE", "RDA", "WRA"):
            self.rows.pop(bank)
        elif cmd == "PREA":
            for other in [b for b in self.rows if self.rank(b) == self.rank(bank)]:
                self.rows.pop(other)
        if cmd in COLUMN and bank in self.rows:
            self.hits[bank] += 1
        self.log.append((clk, cmd, bank))


@dataclass
class Burst:
    number: int
    bank: int
    row: int
    key: int
    write: bool
    taken: int = -1
    done: int = -1

    @property
    def column(self) -> str:
        return "WR" if self.write else "RD"


class PlainBankQueues:
    """The controller with a queue per bank."""

    def __init__(self, memory: Memory) -> None:
        self.memory, self.config, self.device = memory, memory.config, PlainDevice(memory)
        self.reads: list[Burst] = []
        self.writes: list[Burst] = []
        self.queues: list[list[Burst]] = [[] for _ in range(int(memory.dev[s.P_BANKS]))]
        self.refreshes: list[int] = []
        self.turn = self.draining = self.next_rank = 0
        self.done_reads = 0

    def accepts(self, burst: Burst) -> bool:
        queue, limit = (
            (self.writes, self.config.num_write_queue_entries) if burst.write
            else (self.reads, self.config.num_read_queue_entries)
        )  # fmt: skip
        return len(queue) < limit

    def accept(self, burst: Burst, clk: int) -> None:
        (self.writes if burst.write else self.reads).append(burst)

    def busy(self) -> bool:
        return bool(self.reads) or any(not b.write for q in self.queues for b in q)

    def schedule(self) -> None:
        full = len(self.writes) >= self.config.num_write_queue_entries
        starving = not any(self.queues) and len(self.writes) >= self.config.num_write_drain_entries
        if self.draining == 0 and (full or starving):
            self.draining = len(self.writes)
        source = self.writes if self.draining else self.reads
        for burst in source:
            queue = self.queues[burst.bank]
            if len(queue) < self.config.num_bank_queue_entries:
                self.draining -= bool(self.draining)
                source.remove(burst)
                queue.append(burst)
                return

    def wanted(self, queue: list[Burst], burst: Burst) -> str | None:
        device = self.device
        if burst.bank not in device.rows:
            return "ACT"
        if device.rows[burst.bank] == burst.row:
            return burst.column
        hit = any(b.row == device.rows[burst.bank] for b in queue)
        worn_out = device.hits[burst.bank] >= self.config.num_row_hits_before_precharge
        return "PRE" if burst is queue[0] and (worn_out or not hit) else None

    def serve(self, clk: int, previous: str | None, held_rank: int | None) -> str | None:
        count = len(self.queues)
        for bank in [(self.turn + 1 + k) % count for k in range(count)]:
            if self.device.rank(bank) == held_rank:
                continue
            for burst in self.queues[bank]:
                cmd = self.wanted(self.queues[bank], burst)
                if cmd is None or self.device.earliest(cmd, bank) > clk:
                    continue
                self.turn = bank
                if previous is not None and (previous in COLUMN) == (cmd in COLUMN):
                    return None
                if cmd in COLUMN:
                    self.queues[bank].remove(burst)
                    burst.done = clk + int(self.memory.dev[s.P_WRITE_DONE if burst.write else s.P_READ_DONE])
                self.device.issue(cmd, bank, burst.row, clk)
                return cmd
        return None

    def refresh(self, clk: int) -> str | None:
        rank = self.refreshes[0]
        banks = [b for b in range(len(self.queues)) if self.device.rank(b) == rank]
        still_open = [b for b in banks if b in self.device.rows]
        for bank in still_open:
            if self.device.earliest("PRE", bank) <= clk:
                self.device.issue("PRE", bank, 0, clk)
                return "PRE"
        if still_open or self.device.earliest("REF", banks[-1]) > clk:
            return None
        self.refreshes.pop(0)
        self.device.issue("REF", banks[-1], 0, clk)
        return "REF"

    def tick(self, clk: int) -> None:
        if clk > 0 and clk % int(self.memory.dev[s.P_REFI]) == 0:
            self.refreshes.append(self.next_rank)
            self.next_rank = (self.next_rank + 1) % self.device.ranks
        cmd = self.refresh(clk) if self.refreshes else None
        held = self.refreshes[0] if self.refreshes else None
        cmd = cmd or self.serve(clk, None, held)
        if cmd and self.memory.table.dual_command_bus:
            self.serve(clk, cmd, None if cmd == "REF" else held)
        self.schedule()


class PlainSharedQueues:
    """The controller with one read and one write queue."""

    def __init__(self, memory: Memory) -> None:
        self.memory, self.config, self.device = memory, memory.config, PlainDevice(memory)
        self.reads: list[Burst] = []
        self.writes: list[Burst] = []
        self.active: list[Burst] = []
        self.half: list[tuple[int, Burst]] = []
        self.cas: tuple[list[Burst], Burst] | None = None
        self.refreshes: list[int] = []
        self.write_mode = False
        self.clock_until = 0

    accepts = PlainBankQueues.accepts
    accept = PlainBankQueues.accept

    def busy(self) -> bool:
        return bool(self.reads or self.writes or self.active or self.half or self.cas)

    def wanted(self, burst: Burst) -> str | None:
        if any(b.bank == burst.bank for _, b in self.half):
            return None
        row = self.device.rows.get(burst.bank)
        if row is None:
            return "ACT" if not self.half else None
        if row == burst.row:
            return burst.column
        return None if any(b.bank == burst.bank for b in self.active) else "PRE"

    def pick(self, queue: list[Burst], clk: int, kinds: tuple[str, ...]) -> tuple[Burst, str] | None:
        for burst in sorted(queue, key=lambda b: b.taken):
            cmd = self.wanted(burst)
            if cmd in kinds and self.device.earliest(cmd, burst.bank) <= clk:
                return burst, cmd
        return None

    def waiting(self) -> list[Burst]:
        size = self.config.num_write_queue_entries
        if not self.write_mode:
            self.write_mode = len(self.writes) > self.config.write_high_watermark * size or not self.reads
        else:
            self.write_mode = not (len(self.writes) < self.config.write_low_watermark * size and self.reads)
        return self.writes if self.write_mode else self.reads

    def do(self, queue: list[Burst], burst: Burst, cmd: str, clk: int) -> None:
        t = self.memory.table.timing
        self.device.issue(cmd, burst.bank, burst.row, clk)
        if cmd in COLUMN:
            queue.remove(burst)
            burst.done = clk + int(self.memory.dev[s.P_WRITE_DONE if burst.write else s.P_READ_DONE])
            latency = (t.cwl_cycles if burst.write else t.cl_cycles) + t.burst_cycles + t.wck_postamble_cycles
            self.clock_until = max(self.clock_until, clk + latency)
        elif cmd == "ACT":
            queue.remove(burst)
            if t.split_activate_cycles:
                self.half.append((clk + t.split_activate_cycles, burst))
            else:
                self.active.append(burst)

    def refresh(self, clk: int) -> bool:
        if not self.refreshes:
            return False
        rank, device = self.refreshes[0], self.device
        if any(device.rank(b.bank) == rank for b in [*self.active, *(b for _, b in self.half)]):
            return False
        cmd = "PREA" if any(device.rank(b) == rank for b in device.rows) else "REF"
        bank = rank * device.per_rank + device.per_rank - 1
        if device.earliest(cmd, bank) > clk:
            return False
        device.issue(cmd, bank, 0, clk)
        if cmd == "REF":
            self.refreshes.pop(0)
        return True

    def finish_half(self, clk: int, latest: int) -> bool:
        if not self.half or self.half[0][0] > latest:
            return False
        self.active.append(self.half.pop(0)[1])
        return True

    def tick_split(self, clk: int) -> None:
        if self.cas is not None:
            queue, burst = self.cas
            self.cas = None
            self.do(queue, burst, burst.column, clk)
            return
        if self.finish_half(clk, clk):
            return
        queue = self.active
        found = self.pick(queue, clk, ("RD", "WR"))
        if found is None:
            if self.refresh(clk):
                return
            if not self.refreshes:
                queue = self.waiting()
                found = self.pick(queue, clk, ("ACT", "PRE", "RD", "WR"))
        if found is None:
            self.finish_half(clk, 1 << 60)
        elif found[1] in COLUMN and clk >= self.clock_until:
            if not self.finish_half(clk, clk + 1):
                self.cas = (queue, found[0])
        else:
            self.do(queue, *found, clk)

    def serve(self, clk: int, kinds: tuple[str, ...], with_active: bool, with_refresh: bool) -> None:
        if with_active and (found := self.pick(self.active, clk, ("RD", "WR"))):
            self.do(self.active, *found, clk)
        elif (with_refresh and self.refresh(clk)) or self.refreshes:
            return
        else:
            queue = self.waiting()
            if found := self.pick(queue, clk, kinds):
                self.do(queue, *found, clk)

    def tick(self, clk: int) -> None:
        if (clk + 1) % int(self.memory.dev[s.P_REFI]) == 0:
            self.refreshes += range(self.device.ranks)
        if self.memory.table.timing.split_activate_cycles:
            self.tick_split(clk)
        elif self.memory.table.dual_command_bus:
            self.serve(clk, ("RD", "WR"), True, False)
            self.serve(clk, ("ACT", "PRE"), False, True)
        else:
            self.serve(clk, ("ACT", "PRE", "RD", "WR"), True, True)


class PlainInOrder:
    """The controller with one queue in order, rows opened ahead in order."""

    refresh = PlainSharedQueues.refresh

    def __init__(self, memory: Memory) -> None:
        self.memory, self.config, self.device = memory, memory.config, PlainDevice(memory)
        self.queue: list[Burst] = []
        self.active: list[Burst] = []
        self.half: list[tuple[int, Burst]] = []
        self.refreshes: list[int] = []

    def accepts(self, burst: Burst) -> bool:
        return len(self.queue) < self.config.num_read_queue_entries

    def accept(self, burst: Burst, clk: int) -> None:
        self.queue.append(burst)

    def busy(self) -> bool:
        return bool(self.queue)

    def candidates(self) -> Iterator[tuple[str, Burst]]:
        """Yield the commands that may go out: the first burst's column, the first row to open, and precharges."""
        all_open, banks = True, set()
        for burst in self.queue:
            row = self.device.rows.get(burst.bank)
            cmd = "ACT" if row is None else burst.column if row == burst.row else "PRE"
            blocked = (
                burst.bank in banks or (cmd in COLUMN and burst is not self.queue[0]) or (cmd == "ACT" and not all_open)
            )
            banks.add(burst.bank)
            all_open = all_open and cmd in COLUMN
            if not blocked:
                yield cmd, burst

    def tick(self, clk: int) -> None:
        if clk > 0 and clk % int(self.memory.dev[s.P_REFI]) == 0:
            self.refreshes += range(self.device.ranks)
        if self.refresh(clk) or self.refreshes:
            return
        for cmd, burst in self.candidates():
            if self.device.earliest(cmd, burst.bank) <= clk:
                self.device.issue(cmd, burst.bank, burst.row, clk)
                if cmd in COLUMN:
                    self.queue.remove(burst)
                    burst.done = clk + int(self.memory.dev[s.P_WRITE_DONE if burst.write else s.P_READ_DONE])
                return


KINDS = {"bank_queues": PlainBankQueues, "shared_queues": PlainSharedQueues, "in_order": PlainInOrder}


def plain_run(memory: Memory, addresses: np.ndarray, writes: np.ndarray) -> tuple[int, list[tuple[int, int, str, int]]]:
    """Run a trace of distinct addresses cycle by cycle; return the cycles and the command log."""
    by_bank = memory.config.controller == "bank_queues"
    kind = KINDS[memory.config.controller]
    channels = [kind(memory) for _ in range(memory.config.num_channels)]
    d = memory.mapping.decode(addresses)
    bursts = [Burst(i, int(d.bank[i]), int(d.row[i]), int(d.key[i]), bool(w)) for i, w in enumerate(writes.tolist())]
    clk, offered, first = 0, 0, 1 if by_bank else 0
    while offered < len(bursts) or any(c.busy() for c in channels):
        while clk >= first and offered < len(bursts):
            channel = channels[int(d.channel[offered])]
            if not channel.accepts(bursts[offered]):
                break
            bursts[offered].taken = clk
            channel.accept(bursts[offered], clk)
            offered += 1
        for channel in channels:
            channel.tick(clk)
        clk += 1
    write_end = int(memory.dev[s.P_WRITE_DONE])
    ends = [(b.taken - 1 if by_bank else b.done - write_end) if b.write else b.done for b in bursts]
    log = [(at, ch, cmd, bank) for ch, c in enumerate(channels) for at, cmd, bank in c.device.log]
    return max(ends), sorted(log)
