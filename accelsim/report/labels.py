"""The words that readers see for the names of results: causes, units, classes, storage formats and fields of a chip."""

from __future__ import annotations

from typing import Final

from accelsim.report.text import printable, size_words
from accelsim.results.model import WorkloadRecord
from accelsim.storage.chip_decoder import is_as_stated
from accelsim.storage.mixed import SIGN

_WORDS: Final[dict[str, str]] = {
    # causes
    "compute": "computing",
    "weight_load": "loading weights",
    "fill_drain": "fill and drain",
    "buffer_ports": "buffer ports",
    "wait_dram": "awaiting memory",
    "wait_generator": "awaiting generator",
    "wait_decoder": "awaiting decoder",
    "wait_vector": "awaiting vector unit",
    "call_overhead": "starting layers",
    # units
    "dram": "memory",
    "pe_array": "PE array",
    "accumulator": "accumulators",
    "clock": "clock and registers",
    "dma": "DMA",
    # classes of traffic
    "mask": "mask bits",
    "seed": "seeds",
    "scale": "scales",
    "weight": "weight values",
    "index": "indices",
    "activation_in": "activations in",
    "activation_out": "activations out",
    "partial_sum": "partial sums",
    "kv_read": "keys and values read",
    "kv_write": "keys and values written",
    # components of the memory's energy
    "act_pre": "opening rows",
    "rd": "reading",
    "wr": "writing",
    "ref": "refresh",
    "active": "standby, open row",
    "precharged": "standby, closed",
    "apd": "power-down, open",
    "pd": "power-down",
    "sr": "self-refresh",
    "dq": "data pins",
    "strobe": "strobes",
    "ca": "command pins",
    "ck": "clock pins",
    # figures and fields of points
    "latency_s": "time",
    "latency_s_per_input": "time per input",
    "energy_j": "energy",
    "energy_j_per_input": "energy per input",
    "energy_j_per_token": "energy per token",
    "time_to_first_token_s": "time to the first token",
    "latency_cycles": "cycles",
    "pe_utilization": "PE use",
    "area_mm2": "chip area",
    "edp_js": "energy x time",
    "weight_bytes": "weight traffic",
    "dram_bytes": "memory traffic",
    "stored_bits": "stored bits",
    "average_power_w": "average power",
    "hardware": "chip",
    "workload": "network",
    "storage": "stored as",
    "tops": "TOPS",
    "tops_per_w": "TOPS/W",
}  # fmt: skip
_FORMATS: Final[dict[str, str]] = {
    "slt": "ticket",
    "slt-raw": "ticket with plain mask",
    "slt-rle": "ticket with run lengths",
    "slt-golomb": "ticket with Golomb code",
    "slt-entropy": "entropy-coded ticket",
    "slt-pruned": "ticket of pruned source",
    "slt-unfrozen": "unfrozen ticket",
    "folded": "folded ticket",
    "csr-int8": "pruned int8 as CSR",
    "bitmap-int8": "pruned int8 with bitmap",
    "rle-int8": "pruned int8 with runs",
    "entropy-int8": "entropy-coded int8",
    "entropy-int4": "entropy-coded int4",
    "ternary-1.58": "ternary of 1.58 bits",
    "ternary-2": "ternary of 2 bits",
    "int4-g128": "int4 in groups of 128",
}
# The unit at the end of a field's name, as it is written.
_UNITS: Final[dict[str, str]] = {
    "bytes": "B",
    "bits": "bits",
    "mtps": "MT/s",
    "mhz": "MHz",
    "gbps": "GB/s",
    "cycles": "cycles",
    "ns": "ns",
    "us": "us",
    "nm": "nm",
    "v": "V",
    "mm2": "mm2",
}
_PER_CYCLE: Final = "_per_cycle"


def label(name: str) -> str:
    """Return what readers call a cause, unit, class of traffic or component of energy: ``wait_dram`` -> its words."""
    return printable(_WORDS.get(name, name.replace("_", " ")))


def format_label(storage: str) -> str:
    """Return what readers call a storage format: ``slt`` -> ``ticket``, ``dense-int8`` -> ``dense int8``."""
    if SIGN in storage:
        return printable(storage)
    if is_as_stated(storage):
        return f"{format_label(storage.partition('@')[0])} @chip"
    if storage.startswith(("dense-", "elsa-", "multicoat-")):
        return printable(storage.replace("-", " ", 1))
    return printable(_FORMATS.get(storage, storage))


def field_label(path: str) -> str:
    """Return what readers call a field of a chip or a variable of a sweep, with its unit in brackets.

    ``weight_buffer.capacity_bytes`` is ``weight buffer capacity (B)``; fields that take one value together are joined
    by ``and``: ``PE array rows and cols``.
    """
    paths = path.removeprefix("vary.").split("=")
    sections = [label(each.rpartition(".")[0].replace(".", "_")) for each in paths]
    names = [_field(each.rpartition(".")[2]) for each in paths]
    texts = [f"{section} {name}".strip() for section, name in zip(sections, names, strict=True)]
    if len(set(sections)) == 1:
        return f"{sections[0]} {' and '.join(names)}".strip()
    return " and ".join(texts)


def _field(name: str) -> str:
    if name in _WORDS:
        return _WORDS[name]
    if name.endswith(_PER_CYCLE):
        return f"{name.removesuffix(_PER_CYCLE).replace('_', ' ')} per cycle"
    words, _, last = name.rpartition("_")
    if words and last in _UNITS:
        return f"{words.replace('_', ' ')} ({_UNITS[last]})"
    return name.replace("_", " ").removeprefix("num ")


def with_unit(path: str, value: str) -> str:
    """Return a field's value with its unit: ``dram.data_rate_mtps``, ``3200`` -> ``3200 MT/s``; sizes as ``64 KiB``."""
    unit = _UNITS.get(path.rpartition("_")[2], "") if not path.endswith(_PER_CYCLE) else ""
    if unit == "B" and value.isdecimal() and int(value) % 1024 == 0:
        return size_words(int(value))
    return f"{value} {unit}".strip()


def phase_words(work: WorkloadRecord) -> str:
    """Return what is run of a language model, with the tokens that it attends to; nothing for other networks."""
    if work.phase == "forward":
        return ""
    if work.phase == "decode" and work.context_length:
        return f", decode of a token behind {work.context_length - 1:,}"
    return f", {work.phase}" + (f" up to {work.context_length:,} tokens" if work.context_length else "")
