"""The tilings that Eyeriss itself uses, by a rule that gives those of its Table III."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from accelsim.config.hardware import HardwareConfig, ScratchPadConfig
from accelsim.mapping.holding import left_beside
from accelsim.timing.tiling import Tiling
from accelsim.trace.model import LoopDims
from accelsim.units import bits_to_bytes, ceil_div, round_up

# Of 168 PEs Table V there has 154, 135 and three times 156 at work.
LEAST_PES = 135 / 168
# The narrowest set in Table III, over the width of the array.
LEAST_WIDTH = 7 / 14
# Filters that a PE has at once in all layers of Table III (p): a layer is cut as if it had whole lots of them.
PASS_FILTERS = 16


@dataclass(frozen=True, slots=True)
class _Block:
    """Sums that stay in the buffer: of ``images``, ``filters`` and ``rows``; a pass takes ``channels`` of the input.

    The filter buffer holds ``filters_at_once`` of a pass. Elements of inputs and weights that
    come from DRAM in the layer are ``fetched``.
    """

    images: int
    filters: int
    filters_at_once: int
    rows: int
    channels: int
    num_blocks: int
    fetched: int


def chip_tiling(dims: LoopDims, chip: HardwareConfig) -> Tiling | None:
    """Return the tiling of a convolution as the chip has it; None if no block of whole rows fits.

    Rows are never cut: a PE works through a whole one (JSSC 2017, section IV). Inputs, sums and the inputs of the next
    pass stand in banks of their own, since a bank has one port: one bank is left for what is being fetched. Of all
    blocks of sums that fit beside the inputs of one channel and leave few PEs idle (`LEAST_PES`, `LEAST_WIDTH`), the
    chip has that of which the layer needs the fewest; of equals that with the most rows, since filters are read once
    for each band of rows, then that whose passes take the most channels, then the one that fetches least. This gives
    images, filters and rows (n, m, e) of all five layers in Table III (`tests/unit/validation/test_silicon.py`); the
    paper does not state it.
    """
    blocks = list(_blocks(dims, chip))
    if not blocks:
        return None
    best = min(blocks, key=lambda block: (block.num_blocks, -block.rows, -block.channels, block.fetched))
    channels = ceil_div(dims.C, ceil_div(dims.C, best.channels))
    is_whole = best.filters_at_once == best.filters
    return Tiling(
        best.images, 1, best.filters_at_once, channels, best.rows, dims.Q,
        ("G", "K", "N", "P", "Q", "C") if is_whole else ("G", "N", "P", "Q", "C", "K"),
    )  # fmt: skip


def _blocks(dims: LoopDims, chip: HardwareConfig) -> Iterator[_Block]:
    """Yield the blocks that fit."""
    pads, buffer = chip.pe_array.scratch_pads, chip.activation_buffer
    if pads is None or dims.R > chip.pe_array.rows:
        return
    taps, parts = dims.R * dims.S, _filter_parts(dims.K)
    most_filters = chip.weight_buffer.capacity_bytes // bits_to_bytes(taps * chip.activation_bits)
    for images in _parts(dims.N):
        for rows in _heights(dims, chip):
            inputs = images * min(dims.H, (rows - 1) * dims.stride[0] + dims.R) * dims.W
            for filters in parts:
                sums = bits_to_bytes(images * filters * rows * dims.Q * chip.accumulator_bits)
                room = left_beside(buffer, buffer.capacity_bytes, sums) - buffer.bank_bytes
                fit = room // bits_to_bytes(inputs * chip.activation_bits)
                # Our nest has one loop over filters: parts of a block can follow each other only where it has all.
                at_once = (
                    filters if filters < dims.K else max((part for part in parts if part <= most_filters), default=0)
                )
                if fit < 1 or not 0 < at_once <= most_filters:
                    continue
                bands, turns, groups = ceil_div(dims.P, rows), dims.N // images, ceil_div(dims.K, filters)
                yield _Block(
                    images, filters, at_once, rows,
                    channels=min(fit, most_filters // at_once, dims.C, _channels(pads, chip, dims, rows)),
                    num_blocks=bands * turns * groups,
                    fetched=dims.C * bands * turns * (inputs * groups + dims.K * taps),
                )  # fmt: skip


def _heights(dims: LoopDims, chip: HardwareConfig) -> list[int]:
    """Return output rows of a block that leave few PEs idle; where all leave too many, those that leave the fewest."""
    cols, stacked = chip.pe_array.cols, chip.pe_array.rows // dims.R
    at_work = {
        rows: dims.R * rows * (stacked * (cols // rows) if rows <= cols else stacked // ceil_div(rows, cols))
        for rows in range(1, min(dims.P, stacked * cols) + 1)
        if rows == dims.P or LEAST_WIDTH * cols <= rows <= cols
    }
    least = min(max(at_work.values(), default=0), LEAST_PES * chip.pe_array.num_pes)
    return [rows for rows, num_pes in at_work.items() if num_pes >= least]


def _channels(pads: ScratchPadConfig, chip: HardwareConfig, dims: LoopDims, rows: int) -> int:
    """Return the channels that a pass can take: windows that a PE holds, in each of the sets above each other."""
    sets = max(1, chip.pe_array.rows // dims.R // ceil_div(rows, chip.pe_array.cols))
    return sets * max(1, min(pads.input_words, pads.weight_words) // dims.S)


def _filter_parts(filters: int) -> list[int]:
    """Return the sizes of equal parts of whole lots of filters: 67 are cut as 80, and the last part is short."""
    return sorted({min(part, filters) for part in _parts(round_up(filters, PASS_FILTERS))})


def _parts(extent: int) -> list[int]:
    """Return the sizes of equal parts: in Table III all blocks of a layer are equal."""
    return [size for size in range(1, extent + 1) if extent % size == 0]
