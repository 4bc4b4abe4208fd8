"""Rows that requests open, where rows stay open until a refresh closes them."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from accelsim.config.dram import DramConfig
from accelsim.config.memory_device import device_of
from accelsim.timing.compiled import run_loop

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


def openings_of(num_bytes: Floats, num_requests: Floats, dram: DramConfig) -> Floats:
    """Return the rows that equal requests open if each lies elsewhere than the one before, float64 as ``num_bytes``."""
    stripe = stripe_of(dram)
    pieces = np.maximum(num_requests, num_bytes / stripe.num_bytes)
    # A short request does not reach all rows of a stripe: no more than one for each of its bursts.
    rows: Floats = np.minimum(num_bytes / dram.burst_bytes, pieces * stripe.num_rows)
    return rows


def count_openings(address: Ints, num_bytes: Ints, cycle_ns: Floats, interval_ns: float, dram: DramConfig) -> float:
    """Return how many rows requests open one after the other, where rows stay open until a refresh.

    The first refresh is an interval behind time 0.

    Parameters
    ----------
    address, num_bytes, cycle_ns
        Of each request, in order; int64, int64 and float64.
    interval_ns
        From one refresh to the next.
    """
    if not address.size:
        return 0.0
    stripe = stripe_of(dram)
    first, last = address // stripe.num_bytes, (address + np.maximum(num_bytes, 1) - 1) // stripe.num_bytes
    pieces = last - first + 1
    bursts = np.minimum(-(-num_bytes // (dram.burst_bytes * pieces)), stripe.num_rows)
    epoch = np.floor(cycle_ns / interval_ns)
    turns = int(np.minimum(pieces, 2 * stripe.num_sets).sum())  # of a long request the middle is counted at once
    return float(run_loop(_openings, turns, first, pieces, bursts, epoch.astype(np.int64), stripe.num_sets))


def _openings(first: Any, pieces: Any, bursts: Any, epoch: Any, num_sets: int) -> int:
    """Return the rows that requests of so many pieces, from ``first`` on, open; pieces go around the sets of banks."""
    is_open, since, opened = [-1] * num_sets, [0] * num_sets, 0
    for request in range(len(first)):
        number, count = 0, pieces[request]
        while number < count:
            if number == num_sets and count > 2 * num_sets:
                # Each of these opens a row: a piece of the same request has used its set.
                opened += (count - 2 * num_sets) * bursts[request]
                number = count - num_sets
            place = first[request] + number
            bank = place % num_sets
            if is_open[bank] != place or since[bank] != epoch[request]:
                opened += bursts[request]
                is_open[bank], since[bank] = place, epoch[request]
            number += 1
    return opened


@dataclass(frozen=True, slots=True)
class Stripe:
    """Neighbouring addresses that fill a row in each of ``num_rows`` banks; banks form ``num_sets`` such groups."""

    num_bytes: int
    num_rows: int
    num_sets: int


@lru_cache(maxsize=64)
def stripe_of(dram: DramConfig) -> Stripe:
    """Return the stripe of a memory's address mapping."""
    made = device_of(dram.standard).organisation
    counts = {
        "ch": dram.num_channels, "ra": dram.num_ranks * made.num_pseudo_channels, "bg": made.num_bank_groups,
        "ba": made.num_banks_per_group,
    }  # fmt: skip
    # What stands below the columns in an address changes first: neighbouring bursts go round those banks.
    below = re.findall("ch|ra|bg|ba", dram.address_mapping[dram.address_mapping.index("co") :])
    rows = math.prod(counts[name] for name in set(below))
    row_bytes = made.num_columns * dram.bus_width_bits // made.num_pseudo_channels // 8
    return Stripe(max(dram.burst_bytes, row_bytes * rows), rows, max(1, math.prod(counts.values()) // rows))
