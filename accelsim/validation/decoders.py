"""Published chips that run language models, beside the floor that their memory sets.

None of them is described well enough to be simulated as a chip. What is compared is a decode on `phone_lpddr5x` with
their bandwidth and nothing taken by refreshes: no chip with that memory makes tokens faster from weights stored so.
Figures are those of the papers' abstracts and of reports about them; no whole paper could be read here.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from accelsim.pipeline import simulate
from accelsim.trace import TraceOptions, trace_network
from accelsim.units import cycles_to_s
from accelsim.validation.reference import preset_path
from accelsim.validation.rows import ValidationRow, statistic_row
from accelsim.validation.runs import machine

NAME = "decoders"
SLIM_LLAMA = (
    "Slim-Llama, ISSCC 2025: 28 nm, 500 KB, 1.6 GB/s, 489 ms a token at 3 B binary or ternary weights, 4.69 mW at 25 "
    "to 82.07 mW at 200 MHz"
)
VITA_LLM = (
    "VitaLLM, arXiv 2604.27396 and 2605.00320: 16 nm, 1 GHz, 0.8 V, 66 mW, 120 KB, 70.7 tokens/s at 3 B ternary weights"
)
HAILO = "Hailo-10H: 6.9 tokens/s with Qwen2.5 1.5B at 4 bits, a prompt of 258, under 2 W"
RTX = "RTX 4050 (laptop): 131.7 tokens/s with Qwen2.5 1.5B at 4 bits, a prompt of 258, 34.1 W"
CONTEXT = 128
"""Cached tokens of the first two, an assumption: none is stated. 1,024 more are 59 MB beside the 400 to 800 MB of Llama
3.2 3B."""
PROMPT = 258
"""Tokens of the prompt with which the last two were measured."""
BITS = ("dense-binary", "ternary-1.58", "ternary-2")


@dataclass(frozen=True, slots=True)
class Decode:
    """A decode of one token: its seconds, and the bytes that cross the memory's interface."""

    seconds: float
    num_bytes: int


@lru_cache(maxsize=16)
def decode(network: str, storage: str, gbps: float, context: int = CONTEXT) -> Decode:
    """Return a decode beside a memory of ``gbps``: four channels of 64 bits, without refreshes."""
    memory = {"dram.bus_width_bits": 64, "dram.data_rate_mtps": gbps / 32 * 1000, "dram.refresh": "none"}
    hardware = machine(preset_path("phone_lpddr5x"), memory)
    counters = simulate(hardware, trace_network(network, TraceOptions(phase="decode", context=context)), storage)
    cycles = sum(layer.latency_cycles for layer in counters.layers)
    moved = counters.moved_bytes
    return Decode(cycles_to_s(cycles, hardware.config.clock_mhz), moved)


def validate_decoders() -> list[ValidationRow]:
    """Return a row for each published rate, and what is assumed."""
    slim = [1000 * decode("llama3_2_3b", storage, 1.6).seconds for storage in BITS]
    vita = [70.7 * decode("llama3_2_3b", storage, 51.2).num_bytes / 1e9 for storage in BITS]
    hailo = [1 / decode("qwen2_5_1_5b", "int4-g128", gbps, PROMPT).seconds for gbps in (8.5, 17.1, 34.1)]
    rtx = 1 / decode("qwen2_5_1_5b", "int4-g128", 192.0, PROMPT).seconds
    return [
        statistic_row(
            NAME, SLIM_LLAMA, "ms a token of 3 B weights at 1.6 GB/s, Slim-Llama", 489, slim[1],
            f"floor; {slim[0]:.0f}, {slim[1]:.0f} and {slim[2]:.0f} ms with 1, 1.6 and 2 bits a weight of Llama 3.2 3B",
        ),
        statistic_row(
            NAME, VITA_LLM, "GB/s that 70.7 tokens/s need, VitaLLM", None, vita[1],
            f"{vita[0]:.0f} to {vita[2]:.0f} GB/s with 1 to 2 bits a weight of Llama 3.2 3B; its memory is not known",
        ),
        statistic_row(
            NAME, HAILO, "tokens/s of Qwen2.5 1.5B at 4 bits, Hailo-10H", 6.9, hailo[1],
            f"floor of an assumed LPDDR4X-4267 of 32 bits; {hailo[0]:.1f} to {hailo[2]:.1f} with 16 to 64 bits: "
            "who measured it name its memory as the limit, which it then uses to 16 to 65 %",
        ),
        statistic_row(
            NAME, RTX, "tokens/s of Qwen2.5 1.5B at 4 bits, RTX 4050", 131.7, rtx,
            "floor of its 192 GB/s (96 bits at 16 Gb/s)",
        ),
    ]  # fmt: skip
