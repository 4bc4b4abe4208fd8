"""A simulated point whose energy can be priced again: at another price of a DRAM bit, policy of the memory, or draw.

Time does not depend on these, so one simulation serves them all (`accelsim.config.dram.DramConfig.traffic_pj_per_bit`
does not move tilings, and a policy's exits are below a thousandth of the time).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass

from accelsim.config.loader import LoadedHardware
from accelsim.cost.dram import BY_TRAFFIC, policies, run_energy
from accelsim.cost.evaluate import energy_price_j, evaluate
from accelsim.cost.tables import load_tables
from accelsim.cost.terms import Price, Term, joined, scaled
from accelsim.dse.rows import Row, result_row
from accelsim.pipeline import simulate
from accelsim.results.build import build_result
from accelsim.trace.model import LayerTrace

J_PER_PJ = 1e-12


@dataclass(frozen=True, slots=True)
class MemoryPrice:
    """The memory's energy under one policy, in J: what follows the bits that move, and what follows time."""

    traffic: Price
    rest: Price


@dataclass(frozen=True, slots=True)
class Prices:
    """The energy of a run in parts, in J.

    Attributes
    ----------
    core
        Everything but the memory.
    memory
        Policy in words -> the memory under it; the chip's own comes first.
    traffic_bits
        Bits that crossed the memory's interface.
    """

    core: Price
    memory: Mapping[str, MemoryPrice]
    traffic_bits: int

    def text(self) -> str:
        """Return what `parse_prices` reads."""
        return json.dumps(asdict(self), separators=(",", ":"))


def parse_prices(text: str) -> Prices:
    """Return the prices that a row holds."""
    found = json.loads(text)
    memory = {
        words: MemoryPrice(_price(each["traffic"]), _price(each["rest"])) for words, each in found["memory"].items()
    }
    return Prices(_price(found["core"]), memory, found["traffic_bits"])


def _price(terms: Iterable[tuple[float, list[str]]]) -> Price:
    return tuple(Term(float(coefficient), tuple(_names(constants))) for coefficient, constants in terms)


def _names(found: object) -> list[str]:
    return [str(name) for name in found] if isinstance(found, list) else []


def priced_row(hardware: LoadedHardware, trace: LayerTrace, storage: str) -> Row:
    """Return the figures of a simulated point, and under ``prices`` the parts of its energy.

    Raises
    ------
    AccelSimError
        As `accelsim.pipeline.run`.
    """
    config, tables = hardware.config, load_tables()
    counters = simulate(hardware, trace, storage)
    row = result_row(build_result(hardware, trace, counters, evaluate(counters, config, tables)))
    core = joined(price for unit, price in energy_price_j(counters, config, tables).items() if unit != "dram")
    memory = {}
    for words, dram in policies(config.dram).items():
        lines = run_energy(counters, config.model_copy(update={"dram": dram}))
        parts: dict[bool, list[Price]] = {True: [], False: []}
        for name, line in lines.items():
            parts[name in BY_TRAFFIC].append(scaled(line.energy_pj, J_PER_PJ))
        memory[words] = MemoryPrice(joined(parts[True]), joined(parts[False]))
    bits = sum(layer.actions.get("dram", {}).get(name, 0) for layer in counters.layers for name in _BITS)
    return row | {"fidelity": "priced", "prices": Prices(core, memory, bits).text()}


_BITS = ("read_bits", "write_bits")
