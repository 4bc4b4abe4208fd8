"""Off-chip memory: cycles of accelerator-like traces beside two accepted DRAM simulators."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from accelsim.config.dram import DramConfig
from accelsim.config.loader import load_section
from accelsim.validation.reference import load_table, preset_path
from accelsim.validation.rows import ValidationRow, summary_rows

Segment = tuple[int, int, bool]  # byte address, bytes, whether they are written
KIB = 1 << 10
MIB = 1 << 20
ACTIVATIONS = 0
WEIGHTS = 128 * MIB
WEIGHTS_IN_ANOTHER_BANK = 128 * MIB + 37 * 8 * KIB
OUTPUTS = 256 * MIB


def validate_dram() -> list[ValidationRow]:
    """Return a row per memory and trace, and the summary."""
    from accelsim.sim.dram.trace import run_trace  # noqa: PLC0415  other references must not wait for numba

    table = load_table("dram")
    rows = []
    for row in table.rows:
        name, case = row.text("file"), row.text("case")
        config = load_section(preset_path(f"dram/{name}"), "dram", DramConfig)
        addresses, writes = _trace(CASES[case](), config.burst_bytes)
        ours = run_trace(config, addresses, writes).cycles
        rows.append(
            ValidationRow(
                table.name, table.source, f"cycles of {case}, {name}", row.number("cycles"), float(ours),
                kinds=(KINDS[case[:1]],),
            )
        )  # fmt: skip
    note = "the two simulators differ from each other by 4 % on sequential and 37 % on random reads"
    return summary_rows(table.name, table.source, "cycles of the traces", rows, (None, None), note) + rows


def _trace(segments: Iterator[Segment], burst_bytes: int) -> tuple[NDArray[np.uint64], NDArray[np.bool_]]:
    """Return the bursts of segments: addresses and directions."""
    addresses: list[NDArray[np.uint64]] = []
    writes: list[NDArray[np.bool_]] = []
    for start, num_bytes, is_write in segments:
        first = start // burst_bytes * burst_bytes
        bursts = np.arange(first, start + num_bytes, burst_bytes, dtype=np.uint64)
        addresses.append(bursts)
        writes.append(np.full(bursts.size, is_write))
    return np.concatenate(addresses), np.concatenate(writes)


def _sequential(num_bytes: int, is_write: bool = False) -> Iterator[Segment]:
    yield ACTIVATIONS, num_bytes, is_write


def _interleaved(weights: int) -> Iterator[Segment]:
    """1 MiB of activations and of weights, read in turn by 256 bytes."""
    for offset in range(0, MIB, 256):
        yield ACTIVATIONS + offset, 256, False
        yield weights + offset, 256, False


def _two_reads_a_write() -> Iterator[Segment]:
    """1.5 MiB in chunks of 256 bytes: an activation, a weight, an output."""
    for offset in range(0, 512 * KIB, 256):
        yield ACTIVATIONS + offset, 256, False
        yield WEIGHTS_IN_ANOTHER_BANK + offset, 256, False
        yield OUTPUTS + offset, 256, True


def _random_reads() -> Iterator[Segment]:
    generator = random.Random(1)
    for _ in range(8192):
        yield generator.randrange(256 * MIB // 64) * 64, 64, False


KINDS = {"a": "sequential", "b": "two streams", "d": "reads and writes mixed", "e": "random reads"}
"""Kinds of trace, by the first letter of its name."""
CASES: dict[str, Callable[[], Iterator[Segment]]] = {
    "a_seq_read_4KB": lambda: _sequential(4 * KIB),
    "a_seq_read_256KB": lambda: _sequential(256 * KIB),
    "a_seq_write_1MB": lambda: _sequential(MIB, is_write=True),
    "b_inter_1to1_c256_samebank": lambda: _interleaved(WEIGHTS),
    "b_inter_1to1_c256_offset": lambda: _interleaved(WEIGHTS_IN_ANOTHER_BANK),
    "d_rw2to1_c256": _two_reads_a_write,
    "e_random_read_64B_x8192": _random_reads,
}
