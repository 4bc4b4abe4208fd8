"""What tickets claim: model sizes of partially frozen ones, and the efficiency of Hiddenite."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from operator import itemgetter

from accelsim.cost.evaluate import recost
from accelsim.cost.tables import load_tables
from accelsim.pipeline import layer_plans, simulate
from accelsim.sim.actions import ARITHMETICS
from accelsim.sim.counters import Counters
from accelsim.trace import TraceOptions, trace_network
from accelsim.trace.model import LayerTrace
from accelsim.validation.reference import preset_path
from accelsim.validation.rows import ValidationRow, statistic_row
from accelsim.validation.runs import machine

OTSUKA = "Otsuka et al., arXiv 2402.14029, TMLR 2025: partially frozen networks"
HIROSE = "K. Hirose et al., Hiddenite, ISSCC 2022 (title): 34.8 to 16.0 TOPS/W for CIFAR-100 and ImageNet"
HIDDENITE_TOPS_PER_W = {"resnet18-cifar": 34.8, "resnet50-imagenet": 16.0}
# Published accelerators run down to about half of their node's nominal supply: UNPU 0.63 V in 65 nm (recalled)
HIDDENITE_VOLTAGES = (0.6, 0.85, 1.1)
HIDDENITE_ACTIVATION_BITS = (4, 8)
HIDDENITE_CELLS = ("low_power", "general")
HIDDENITE_GATING = ("none", "unit", "lane")
# A few cycles a tile, which the run does not count.
HIDDENITE_TREES = {"with a register a level": 6, "of one cycle": 2}
HIDDENITE_SUMS: dict[str, dict[str, object]] = {
    "in accumulator memories": {},
    # Four words for each of 256 adder trees.
    "in registers of the PEs": {
        "accumulator": "{capacity_bytes: 3072, width_bits: 24, num_banks: 256, num_ports: 2, double_buffered: false, "
        "cells: registers}"
    },
    "at their adder trees": {"pe_array.operand_registers": True, "weight_generator.weights": "buffer"},
}
# ReLU leaves at most about half of the inputs behind the first layer: Eyeriss' AlexNet 61 to 21 % (JSSC 2017, Table V)
HIDDENITE_ZEROS = {"not used": 1.0, "half of them, gated": 0.5}
HIDDENITE_SPARSITY = 0.7


def validate_model_sizes() -> list[ValidationRow]:
    """Return by what factor freezing shrinks a model."""
    unfrozen = trace_network("resnet50-imagenet", TraceOptions(sparsity=0.7))
    frozen = trace_network("resnet50-imagenet", TraceOptions(sparsity=0.7, prune_ratio=0.5, lock_ratio=0.2))
    graph = trace_network("gin_ogbn_arxiv", TraceOptions(sparsity=0.6, prune_ratio=0.1, lock_ratio=0.1))
    raw = "one bit per free weight (no entropy code), scales and seeds not counted"
    return [
        ValidationRow(
            "frozen-sizes", OTSUKA, "size of a ResNet-50 ticket, unfrozen / frozen to 70 %", 3.3,
            _mask_bits(unfrozen, "slt-raw") / _mask_bits(frozen, "slt-raw"), raw,
        ),
        ValidationRow(
            "frozen-sizes", OTSUKA, "size of GIN, 32-bit weights / ticket frozen to 20 %", 40.3,
            _weight_bits(graph) / _mask_bits(graph, "slt-raw"), raw,
        ),
    ]  # fmt: skip


def _mask_bits(trace: LayerTrace, storage: str) -> int:
    return sum(plan.stored_bits.mask for plan in layer_plans(trace, storage).values())


def _weight_bits(trace: LayerTrace) -> int:
    return sum(plan.stored_bits.weight for plan in layer_plans(trace, "dense-fp32").values())


def validate_hiddenite() -> list[ValidationRow]:
    """Return whether the published efficiencies lie in the span of what is assumed, and what each needs."""
    rows = []
    for name, theirs in HIDDENITE_TOPS_PER_W.items():
        trace = trace_network(name, TraceOptions(sparsity=HIDDENITE_SPARSITY))
        found = [
            (efficiency, {"activations": f"{bits} bits", "sums": where, **assumed})
            for bits, (where, sums) in product(HIDDENITE_ACTIVATION_BITS, HIDDENITE_SUMS.items())
            for efficiency, assumed in _tops_per_w(trace, {"activation_bits": bits, **sums})
        ]
        low, high = min(found, key=itemgetter(0)), max(found, key=itemgetter(0))
        spans = "spans it" if low[0] <= theirs <= high[0] else "does not span it"
        note = f"{low[0]:.1f} to {high[0]:.1f}: {spans}; chip without DRAM; middle shown; {_needs(theirs, found)}"
        middle = (low[0] * high[0]) ** 0.5
        rows.append(statistic_row("hiddenite", HIROSE, f"TOPS/W on {name}", theirs, middle, note))
    return rows


def _gated(counters: Counters, density: float) -> Counters:
    """Return a run of which the array gates products whose input is zero, of all layers but the first; as long as it.

    ``density`` is that of inputs that are not.
    """
    layers = [counters.layers[0]]
    for item in counters.layers[1:]:
        array = dict(item.actions.get("pe_array", {}))
        for name in ARITHMETICS if array else ():
            executed = round(array.get(f"mac_{name}", 0) * density)
            array["mac_gated"] = array.get("mac_gated", 0) + array.get(f"mac_{name}", 0) - executed
            array[f"mac_{name}"] = executed
        layers.append(replace(item, actions=item.actions | {"pe_array": array}))
    return replace(counters, layers=tuple(layers))


def _needs(theirs: float, found: list[tuple[float, dict[str, str]]]) -> str:
    """Return the assumptions under which an efficiency is reached, where not all of a kind do."""
    reached = [assumed for efficiency, assumed in found if efficiency >= theirs]
    if not reached:
        return f"no assumption reaches {theirs:g}"
    parts = []
    for kind in found[0][1]:
        every, some = (list(dict.fromkeys(each[kind] for each in group)) for group in ((a for _, a in found), reached))
        if some != every:
            parts.append(f"{kind} {' or '.join(some)}")
    return f"{theirs:g} needs " + (", ".join(parts) or "none of them in particular")


def _tops_per_w(trace: LayerTrace, assumed: dict[str, object]) -> list[tuple[float, dict[str, str]]]:
    """Return dense operations per joule on the chip, DRAM left out, in tera, for what changes (next to) no time."""
    hardware = machine(preset_path("hiddenite"), assumed)
    counters = simulate(hardware, trace, "slt")
    macs = sum(item.macs for item in counters.layers)
    efficiencies = []
    runs = {zeros: _gated(counters, density) for zeros, density in HIDDENITE_ZEROS.items()}
    kinds = (runs.items(), HIDDENITE_VOLTAGES, HIDDENITE_CELLS, HIDDENITE_GATING, HIDDENITE_TREES.items())
    for (zeros, run), voltage, cells, gating, (tree, stages) in product(*kinds):
        array = hardware.config.pe_array.model_copy(update={"pipeline_latency_cycles": stages})
        changes = {"leakage_class": cells, "clock_gating": gating, "pe_array": array}
        chip = hardware.config.model_copy(update=changes)
        energy = recost(run, chip, load_tables(), voltage_v=voltage).energy_j_by_unit
        on_chip_j = sum(value for unit, value in energy.items() if unit != "dram")
        assumptions = {
            "zero activations": zeros,
            "supply": f"{voltage} V",
            "cells": cells.replace("_", "-"),
            "gating": gating,
            "adder trees": tree,
        }
        efficiencies.append((2 * macs / on_chip_j / 1e12, assumptions))
    return efficiencies
