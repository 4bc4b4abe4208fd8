"""The memory that a hardware file asks for."""

from __future__ import annotations

from accelsim.config.dram import DramConfig
from accelsim.timing.memory import MemoryModel, SimpleMemory


def build_memory(dram: DramConfig, clock_mhz: float) -> MemoryModel:
    """Return the memory that ``dram.model`` asks for, seen from a core clock of `clock_mhz`.

    Raises
    ------
    ConfigError
        With ``model: timing``, if the standard has no timing table or the configuration contradicts it.
    """
    if dram.model == "timing":
        from accelsim.sim.dram.timing_memory import TimingMemory  # noqa: PLC0415  the simple model needs no numba

        return TimingMemory(dram, clock_mhz)
    return SimpleMemory(dram, clock_mhz)
