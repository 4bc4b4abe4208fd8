"""Power of the published chips that run language models, as a range over what is not published.

Each is a decode on a chip with what is published of it: node, clock, memories on chip, and the bandwidth with which it
makes as many tokens as were measured. Supply, cells, gating of the clock and size of the array are assumptions with
their span, chosen before the result was seen; the middle is the geometric mean of the ends. Figures are those of the
papers' abstracts and of reports about them; no data sheet and no whole paper could be read here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

from accelsim.cost.evaluate import recost
from accelsim.cost.tables import load_tables
from accelsim.pipeline import simulate
from accelsim.trace import TraceOptions, trace_network
from accelsim.units import cycles_to_s
from accelsim.validation.decoders import BITS, CONTEXT, HAILO, PROMPT, RTX, SLIM_LLAMA, VITA_LLM, decode
from accelsim.validation.reference import preset_path
from accelsim.validation.rows import ValidationRow, statistic_row
from accelsim.validation.runs import machine

NAME = "decoder-power"
CELLS = ("low_power", "general")
GATING = ("none", "unit", "lane")
SLIM_VOLTAGES = (0.6, 1.0)
"""From what published chips in 28 to 65 nm still run at, to the node's nominal supply; none is stated."""
ARRAYS_28NM = ("{K: 16, C: 16}", "{K: 128, C: 96}")
"""From 256 lanes, six times what the memory feeds, to the 4.92 TOPS at 200 MHz that are stated as a peak."""
ARRAYS_16NM = ("{K: 16, C: 16}", "{K: 32, C: 16}")
"""From 256 lanes at 1 GHz, the fewest powers of two that make 70.7 tokens a second, to twice as many."""
HAILO_NODES = (7.0, 16.0)
"""Its node is not stated; its predecessor's is 16 nm (recalled), and our tables end at 7 nm."""
GDDR_PJ_PER_BIT = (5.5, 14.0)
"""From GDDR6 as its makers state it to GDDR5 with its interface; both are recalled, and none could be read."""

_KIB = 1024
_SLIM: Mapping[str, object] = {  # 480 KiB of the 500 KB
    "node_nm": 28, "weight_generator": "null", "activation_buffer.capacity_bytes": 256 * _KIB,
    "weight_buffer.capacity_bytes": 128 * _KIB, "mask_buffer.capacity_bytes": 32 * _KIB,
    "accumulator.capacity_bytes": 64 * _KIB,
}  # fmt: skip
_VITA: Mapping[str, object] = {  # 120 KiB
    "node_nm": 16, "voltage_v": 0.8, "clock_mhz": 1000, "weight_generator": "null",
    "activation_buffer.capacity_bytes": 64 * _KIB, "weight_buffer.capacity_bytes": 32 * _KIB,
    "mask_buffer.capacity_bytes": 8 * _KIB, "accumulator.capacity_bytes": 16 * _KIB,
}  # fmt: skip
_HAILO: Mapping[str, object] = {  # 8,192 int8 products at 1.2 GHz are its 40 TOPS of int4; buffers as on the phone
    "clock_mhz": 1200, "weight_generator": "null", "pe_array.unroll": "{K: 128, C: 64}",
    "dram.standard": "LPDDR4-3200",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Case:
    """A decode, the machine it runs on, and the supplies that are assumed (None: the machine's)."""

    preset: str
    changes: Mapping[str, object]
    network: str
    storage: str
    context: int
    gbps: float
    voltages: Sequence[float | None] = (None,)
    with_memory: bool = False


def _watts(case: _Case) -> list[float]:
    """Return the power of a decode under each assumption that changes no time."""
    bits = 32 if case.with_memory else 64  # without its power only the bandwidth matters
    memory: dict[str, object] = {
        "dram.num_channels": bits // 16, "dram.bus_width_bits": 16, "dram.data_rate_mtps": case.gbps * 8000 / bits,
        "dram.refresh": "all_bank" if case.with_memory else "none",
    }  # fmt: skip
    hardware = machine(preset_path(case.preset), {**case.changes, **memory})
    options = TraceOptions(phase="decode", context=case.context)
    counters = simulate(hardware, trace_network(case.network, options), case.storage)
    seconds = cycles_to_s(sum(layer.latency_cycles for layer in counters.layers), hardware.config.clock_mhz)
    found = []
    for voltage, cells, gating in product(case.voltages, CELLS, GATING):
        chip = hardware.config.model_copy(update={"leakage_class": cells, "clock_gating": gating})
        energy = recost(counters, chip, load_tables(), voltage_v=voltage).energy_j_by_unit
        spent = sum(joules for unit, joules in energy.items() if case.with_memory or unit != "dram")
        found.append(spent / seconds)
    return found


def _row(
    source: str, quantity: str, theirs: float, watts: Sequence[float], note: str, says: str | None = None
) -> ValidationRow:
    """Return a row; ``says`` what the range is of theirs, where theirs is no measurement of the same."""
    scale = 1000 if quantity.startswith("mW") else 1
    low, high = (scale * end for end in (min(watts), max(watts)))
    spans = says or ("spans it" if low <= theirs <= high else "does not span it")
    text = f"{low:.3g} to {high:.3g}: {spans}; middle shown; {note}"
    return statistic_row(NAME, source, quantity, theirs, (low * high) ** 0.5, text)


def _slim(clock_mhz: float) -> list[float]:
    """Return the power of Slim-Llama at a clock; its bandwidth, stated at 200 MHz, follows the clock."""
    return [
        watts
        for array, storage in product(ARRAYS_28NM, BITS)
        for watts in _watts(_Case(
            "edge_llm", {**_SLIM, "clock_mhz": clock_mhz, "pe_array.unroll": array}, "llama3_2_3b", storage, CONTEXT,
            1.6 * clock_mhz / 200, SLIM_VOLTAGES,
        ))
    ]  # fmt: skip


def _gbps(network: str, storage: str, context: int, tokens_per_s: float) -> float:
    """Return the bandwidth that so many tokens a second need, without refreshes."""
    return tokens_per_s * decode(network, storage, 51.2, context).num_bytes / 1e9


def validate_decoder_power() -> list[ValidationRow]:
    """Return a row for each published power: whether it lies in the span of what is assumed."""
    vita = [
        watts
        for array, storage in product(ARRAYS_16NM, BITS[1:])
        for watts in _watts(_Case(
            "edge_llm", {**_VITA, "pe_array.unroll": array}, "llama3_2_3b", storage, CONTEXT,
            _gbps("llama3_2_3b", storage, CONTEXT, 70.7),
        ))
    ]  # fmt: skip
    qwen = ("qwen2_5_1_5b", "int4-g128", PROMPT)
    hailo = [
        watts
        for node in HAILO_NODES
        for watts in _watts(
            _Case("phone_lpddr5x", {**_HAILO, "node_nm": node}, *qwen, _gbps(*qwen, 6.9), with_memory=True)
        )
    ]
    rtx = [_gbps(*qwen, 131.7) * 8e-3 * price for price in GDDR_PJ_PER_BIT]
    chip = "chip without DRAM; supply 0.6 to 1 V, all cells and gating, 256 to 12,288 lanes, 1 to 2 bits a weight"
    return [
        _row(SLIM_LLAMA, "mW of a decode at 200 MHz, Slim-Llama", 82.07, _slim(200), chip),
        _row(SLIM_LLAMA, "mW of a decode at 25 MHz, Slim-Llama", 4.69, _slim(25), f"{chip}; 0.2 GB/s"),
        _row(
            VITA_LLM, "mW of a decode, VitaLLM", 65.97, vita,
            "chip without DRAM, 1 GHz and 0.8 V as stated; all cells and gating, 256 to 512 lanes, 1.6 to 2 bits",
        ),
        _row(
            HAILO, "W of a decode, Hailo-10H", 2.0, hailo,
            "chip and an assumed LPDDR4 of 32 bits at 6.9 tokens/s, 7 to 16 nm, all cells and gating",
            "theirs is a limit",
        ),
        _row(
            RTX, "W of a decode, RTX 4050", 34.1, rtx,
            "the traffic of its memory, 5.5 to 14 pJ a bit (recalled); a GPU's instructions, caches and register files "
            "are not modelled, so what they take is absent",
            "a part of it",
        ),
    ]  # fmt: skip
