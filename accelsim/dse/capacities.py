"""``accelsim size``: the runs over the capacity of each buffer, by the engine of sweeps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from accelsim.config.hardware import HardwareConfig
from accelsim.config.ports import ALL_BUFFERS
from accelsim.dse.points import open_source
from accelsim.dse.progress import Progress
from accelsim.dse.rows import Row, figure
from accelsim.dse.what_if import evaluated_in_memory, what_if_space
from accelsim.dse.workloads import NOTHING_STATED
from accelsim.errors import ConfigError
from accelsim.report.capacities import CapacityCurve, CapacityPoint
from accelsim.trace.options import TraceOptions

DEFAULT_SPAN = 16
"""How far capacities go below and above the chip's own, as a factor, unless stated."""
_LEAST_BYTES, _MOST_BYTES = 16, 1 << 32  # those of `accelsim.config.hardware.BufferConfig`


@dataclass(frozen=True, slots=True)
class Span:
    """Capacities to try: powers of two times the chip's own, from ``first_bytes`` to ``last_bytes``."""

    first_bytes: int | None = None
    last_bytes: int | None = None

    def capacities(self, now_bytes: int) -> list[int]:
        """Return the capacities, rising, with the chip's own where it lies in the span.

        Raises
        ------
        ConfigError
            There is none.
        """
        stated, most = self.first_bytes, self.last_bytes
        first = max(now_bytes // DEFAULT_SPAN if stated is None else stated, _LEAST_BYTES)
        last = min(now_bytes * DEFAULT_SPAN if most is None else most, _MOST_BYTES)
        doublings = range(-_MOST_BYTES.bit_length(), _MOST_BYTES.bit_length() + 1)
        sizes = {now_bytes << power if power >= 0 else now_bytes >> -power for power in doublings}
        found = sorted(size for size in sizes if first <= size <= last)
        if not found:
            raise ConfigError(
                f"--from {first} --to {last}: no power of two times {now_bytes} bytes lies there; give a wider span"
            )
        return found


def capacity_curves(  # noqa: PLR0913  what `accelsim size` was given
    chip: tuple[str, HardwareConfig],
    workload: str,
    storage: str,
    progress: Progress,
    *,
    overrides: Sequence[str] = (),
    options: TraceOptions = NOTHING_STATED,
    storage_of: tuple[str, ...] = (),
    buffers: Sequence[str] = ALL_BUFFERS,
    span: Span = Span(),  # noqa: B008  frozen
) -> tuple[CapacityCurve, ...]:
    """Return a curve for each of ``buffers`` of the chip, given by name and description.

    Ports stay as they are. Where sums lie in the activation buffer, it and the accumulator are one memory.

    Raises
    ------
    ConfigError
        Memory is ideal, where buffers have no bounds; the span has no capacity; or a buffer is no memory of its own.
    """
    name, config = chip
    if config.memory == "ideal":
        raise ConfigError(f"{name}: memory: ideal: its buffers have no bounds; add --set memory=dram")
    curves, points, source = [], [], None
    for buffer in buffers:
        paths = [buffer]
        if config.sums_in_activation_buffer and buffer in ("activation_buffer", "accumulator"):
            if buffer == "accumulator":
                continue
            paths = ["activation_buffer", "accumulator"]
        now = int(getattr(config, buffer).capacity_bytes)
        sizes = span.capacities(now)
        variation = f"{', '.join(f'{path}.capacity_bytes' for path in paths)}={','.join(map(str, sizes))}"
        space = what_if_space((name,), workload, (storage,), (variation,), storage_of)
        source = replace(source, space=space) if source is not None else open_source(space, overrides, options)
        points += list(source.grid("simulation"))
        curves.append((buffer, now, sizes))
    if not curves:
        raise ConfigError(f"{name}: its sums lie in the activation buffer; give --buffer activation_buffer")
    rows = iter(entry.row for entry in evaluated_in_memory(points, progress))
    return tuple(
        CapacityCurve(buffer, now, tuple(_point(size, next(rows)) for size in sizes)) for buffer, now, sizes in curves
    )


def _point(size: int, row: Row) -> CapacityPoint:
    if row["status"] != "ok":
        return CapacityPoint(size, reason=str(row["reason"]))
    traffic, energy, latency, area = (
        figure(row, name) or 0.0 for name in ("dram_bytes", "energy_j", "latency_s", "area_mm2")
    )
    return CapacityPoint(size, round(traffic), energy, latency, area)
