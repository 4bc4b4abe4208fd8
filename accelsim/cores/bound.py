"""What no division of a network among cores can beat: work over all arrays, and traffic that each input costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from accelsim.config.hardware import HardwareConfig
from accelsim.cores.program import Network
from accelsim.cost.mapping_prices import mapping_prices
from accelsim.cost.tables import load_tables
from accelsim.mapping.bound import lower_bound
from accelsim.mapping.core_chip import compulsory_bytes, core_chip
from accelsim.mapping.figures import fixed_pj
from accelsim.mapping.network import kinds_of, network_tasks, residency_of
from accelsim.mapping.prices import EnergyPrices, objective
from accelsim.mapping.residency import Residency
from accelsim.mapping.task import LayerTask
from accelsim.timing.memory import bytes_per_cycle
from accelsim.timing.power_states import MemoryUse, activity_of, states_from_gaps

_IDLE_CYCLES = 1 << 30  # so many that falling asleep, and waking, cost nothing beside them


@dataclass(frozen=True, slots=True)
class LeastWork:
    """What a network cannot do without: cycles of one array and one vector unit, bytes of memory, and pJ of these.

    ``fixed_pj`` includes the clock of arrays at work; ``static_pj_per_cycle`` is what the whole chip, and a memory
    that nobody asks, draw whatever is done.
    """

    array_cycles: int
    vector_cycles: int
    dram_bytes: float
    dram_cycles: float
    fixed_pj: float
    static_pj_per_cycle: float

    def cycles(self, num_cores: int) -> int:
        """Return the least cycles on so many cores beside one memory."""
        return int(max(self.array_cycles / num_cores, self.vector_cycles / num_cores, self.dram_cycles))

    def value(self, hardware: HardwareConfig) -> float:
        """Return what the chip's objective is at the least with one core at work, in its units (J and cycles)."""
        cycles = self.cycles(1)
        return objective(
            hardware.mapping.objective,
            cycles,
            self.dram_bytes,
            lambda: 1e-12 * (self.fixed_pj + cycles * self.static_pj_per_cycle),
        )


def least_work(hardware: HardwareConfig, network: Network) -> LeastWork | None:
    """Return the least work of a network with all maps between layers on chip and every weight read once.

    None where activations are coded, so that their bytes are not known.
    """
    if hardware.dma.activation_codec != "none":
        return None
    prices = mapping_prices(hardware, load_tables(), kinds_of(network.plans)[0])
    whole = core_chip(hardware, 1, None)
    names = frozenset(layer.name for layer in network.trace.layers)
    # Keys and values move nothing where one core alone, or the buffer of all cores, has room for them.
    cache_bytes = residency_of(network.trace, network.plans, whole).cache_bytes
    residency = Residency(names, (0,) * len(network.trace.layers), cache_bytes)
    tasks = network_tasks(network.trace, network.plans, whole, residency)
    bounds = [lower_bound(task) for task in tasks]
    moved = sum(sum(compulsory_bytes(task, "weights")) for task in tasks if task.layer.uses_array)
    is_ideal = hardware.memory == "ideal"
    rate = hardware.dram.peak_bytes_per_ns * 1000 / hardware.clock_mhz
    if hardware.dram.model == "simple":
        rate = float(bytes_per_cycle(hardware.dram, hardware.clock_mhz))
    if hardware.dram.separate_write_bus:
        rate *= 2
    array_cycles = sum(bound.array_cycles for bound in bounds)
    clock_pj = array_cycles * prices.busy_pj_per_cycle / hardware.num_cores
    if hardware.pe_array.dataflow == "row_stationary":
        clock_pj = 0.0  # PEs that passes leave out stand still: how many is the mapping's affair
    return LeastWork(
        array_cycles,
        sum(bound.vector_cycles for bound in bounds),
        0 if is_ideal else moved,
        0 if is_ideal else moved / rate,
        _least_pj(tasks, 0 if is_ideal else moved, prices) + clock_pj,
        prices.static_pj_per_cycle + _standby_pj_per_cycle(hardware, prices),
    )


def _least_pj(tasks: Sequence[LayerTask], moved: float, prices: EnergyPrices) -> float:
    """Return the energy of products, results and of the bytes that memory must move."""
    bit = min(prices.pj("dram", "read_bits"), prices.pj("dram", "write_bits"))
    return sum(fixed_pj(task, prices) for task in tasks if task.layer.uses_array) + 8 * moved * bit


def _standby_pj_per_cycle(hardware: HardwareConfig, prices: EnergyPrices) -> float:
    """Return what a memory costs that nobody asks, its refresh included."""
    if prices.dram is None or hardware.memory == "ideal":
        return 0.0
    idle = activity_of(MemoryUse(), _IDLE_CYCLES, 1000 / hardware.clock_mhz, hardware.dram)
    return states_from_gaps(idle, hardware.dram).priced(prices.dram) / _IDLE_CYCLES
