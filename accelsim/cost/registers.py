"""Energy of registers: bits written and read, of PEs and of memories that are made of flip-flops.

The clock pins are in `accelsim.cost.clock`; here is what data switch: a register's output, the inputs of a memory's
words that hang on the same bus, and the multiplexers that choose a word.
"""

from __future__ import annotations

from accelsim.config.hardware import BufferConfig
from accelsim.cost.inventory import num_words
from accelsim.cost.terms import Price, joined, scaled
from accelsim.cost.traits import Pricer


def write_pj(pricer: Pricer, words: float = 1.0) -> Price:
    """Return what a bit costs that is written to a memory of ``words`` registers, in pJ."""
    written = pricer.energy_pj("register_write")
    return written if words <= 1 else joined([written, pricer.energy_pj("register_input", words)])


def read_pj(pricer: Pricer, words: float = 1.0) -> Price:
    """Return what a bit costs that is read from a memory of ``words`` registers, in pJ; nothing from a single one."""
    return scaled(pricer.energy_pj("gate_energy"), words - 1, "register_read_gates", "register_read_activity")


def memory_pj(pricer: Pricer, buffer: BufferConfig) -> dict[str, Price]:
    """Return what a bit written to and read from a buffer made of registers costs, in pJ."""
    words = num_words(buffer)
    return {"read_bits": read_pj(pricer, words), "write_bits": write_pj(pricer, words)}
