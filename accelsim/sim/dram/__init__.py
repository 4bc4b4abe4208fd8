"""Off-chip memory: a simple bandwidth model and a command-level timing model behind one interface."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from accelsim.sim.dram.trace import DramTraceResult


def run_dram_command(config_path: str | Path, trace_path: str | Path) -> DramTraceResult:
    """Run a trace file on a configured memory; see `accelsim.sim.dram.trace.run_dram_command`."""
    from accelsim.sim.dram import trace  # noqa: PLC0415  the simple model must not wait for numba

    return trace.run_dram_command(config_path, trace_path)
