"""Several networks at once, each on cores of its own, beside one memory: what each takes, and what others cost it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from accelsim.config.hardware import HardwareConfig
from accelsim.cores.run import Network, Program, best_program, counters_of, whole_program
from accelsim.cost.evaluate import evaluate
from accelsim.cost.tables import load_tables
from accelsim.errors import MappingError
from accelsim.mapping.core_chip import core_chip, tenant_chip
from accelsim.sim.cores import SystemRun, WholeLayer, core_counters, run_system, whole_layer
from accelsim.sim.counters import CoreCounters, Counters
from accelsim.storage.base import StoredBits
from accelsim.timing.accounts import Probe
from accelsim.timing.core_pieces import Slot


@dataclass(frozen=True, slots=True)
class Tenant:
    """A network among others.

    Attributes
    ----------
    cores
        The cores that it has.
    counters
        Its layers, as it ran beside the others.
    alone_cycles
        What it takes on the same cores with the memory for itself.
    """

    name: str
    storage: str
    cores: tuple[int, ...]
    counters: Counters
    alone_cycles: int

    @property
    def latency_cycles(self) -> int:
        """Return its latency beside the others."""
        return sum(layer.latency_cycles for layer in self.counters.layers)

    @property
    def slow_down(self) -> float:
        """Return how many times longer it takes beside the others."""
        return self.latency_cycles / self.alone_cycles if self.alone_cycles else 1.0


@dataclass(frozen=True, slots=True)
class TenantsRun:
    """A run of several networks: each of them, each core, and what the chip spends until the last one ends."""

    tenants: tuple[Tenant, ...]
    cores: tuple[CoreCounters, ...]
    end_cycle: int
    energy_j_by_unit: Mapping[str, float]


def run_tenants(hardware: HardwareConfig, networks: Sequence[Network], probe: Probe | None = None) -> TenantsRun:
    """Run networks side by side on equal shares of the cores.

    A ``probe`` sees them side by side; to it layers are numbered through all networks.

    Raises
    ------
    MappingError
        There are more networks than cores, or one cannot be mapped on its cores.
    """
    if len(networks) > hardware.num_cores:
        raise MappingError(
            f"{hardware.name}: {len(networks)} networks are more than its cores ({hardware.num_cores}); "
            "raise num_cores: each needs one"
        )
    parts = _shares_of_cores(hardware.num_cores, [sum(each.dims.macs for each in one.trace.layers) for one in networks])
    chips = [_chip_for(hardware, network, networks) for network in networks]
    found = [
        _on_its_cores(chip, network, len(cores)) for chip, network, cores in zip(chips, networks, parts, strict=True)
    ]
    programs, alone = [program for program, _ in found], [run.end_cycle for _, run in found]
    slots, owner, layer_of = [], [], []
    before = 0
    for place, ((program, run), cores) in enumerate(zip(found, parts, strict=True)):
        begins = [run.end_cycle] * len(program.slots)
        for one in run.pieces:
            begins[one.piece.slot] = min(begins[one.piece.slot], one.account.start_cycle)
        slots += [_moved(slot, cores[0], begin) for slot, begin in zip(program.slots, begins, strict=True)]
        owner += [place] * len(program.slots)
        layer_of += [before + layer for layer in program.layer_of]
        before += len(program.layers)
    run = run_system(slots, hardware, probe=probe, layer_of=layer_of)
    first = [owner.index(place) for place in range(len(networks))]
    tenants = tuple(
        Tenant(
            _label(network), network.storage, cores,
            replace(counters_of(program, _own(run, program, begin), hardware, network), cores=(), dram=None), cycles,
        )
        for network, program, cores, begin, cycles in zip(networks, programs, parts, first, alone, strict=True)
    )  # fmt: skip
    names = {core: _label(network) for network, cores in zip(networks, parts, strict=True) for core in cores}
    return TenantsRun(
        tenants, core_counters(run, hardware.num_cores, names), run.end_cycle, _energy_j(run, tenants, hardware)
    )


def _chip_for(hardware: HardwareConfig, network: Network, networks: Sequence[Network]) -> HardwareConfig:
    """Return the chip with what ``mapping`` says of the layers of this network, not of those that others alone have."""
    own = {layer.name for layer in network.trace.layers}
    others = {layer.name for each in networks for layer in each.trace.layers} - own
    fuse, split = hardware.mapping.fuse, hardware.mapping.split
    if not isinstance(fuse, str):
        fuse = [group for group in fuse if others.isdisjoint(group)] or "none"
    if not isinstance(split, str):
        split = {name: word for name, word in split.items() if name not in others} or "auto"
    return hardware.model_copy(update={"mapping": hardware.mapping.model_copy(update={"fuse": fuse, "split": split})})


def _shares_of_cores(num_cores: int, macs: Sequence[int]) -> list[tuple[int, ...]]:
    """Return as many cores for each network; what is left goes to those with most work."""
    base, rest = divmod(num_cores, len(macs))
    longest = sorted(range(len(macs)), key=lambda place: -macs[place])[:rest]
    sizes = [base + (place in longest) for place in range(len(macs))]
    return [tuple(range(sum(sizes[:place]), sum(sizes[: place + 1]))) for place in range(len(macs))]


def _label(network: Network) -> str:
    """Return how a network was named: tickets of one network have different files."""
    return Path(network.trace.path or network.trace.name).stem


def _on_its_cores(hardware: HardwareConfig, network: Network, number: int) -> tuple[Program, SystemRun]:
    """Return the program of a network on some of the cores, mapped for its share of the chip, and its run alone."""
    own = tenant_chip(hardware, number)
    program = None if number == 1 else best_program(own, network)[0]
    program = program or whole_program(core_chip(own, 1, None), network)
    return program, run_system(program.slots, own)


def _moved(slot: Slot, first: int, begin: int) -> Slot:
    """Return a slot on cores from ``first`` on, expected to begin as it does alone."""
    pieces = {
        core + first: replace(piece, needs=tuple((other + first, number) for other, number in piece.needs))
        for core, piece in slot.pieces.items()
    }
    return Slot(pieces, slot.alike, begin)


def _own(run: SystemRun, program: Program, begin: int) -> SystemRun:
    """Return a tenant's part of a run, with its slots counted from its own first."""
    chosen = range(begin, begin + len(program.slots))
    pieces = tuple(
        replace(one, piece=replace(one.piece, slot=one.piece.slot - begin))
        for one in run.pieces
        if one.piece.slot in chosen
    )
    return SystemRun(pieces, max(one.account.end_cycle for one in pieces), None)


def _energy_j(run: SystemRun, tenants: Sequence[Tenant], hardware: HardwareConfig) -> Mapping[str, float]:
    """Return what the chip spends: all work of all tenants, and the clock, leakage and memory of the whole time."""
    last = max(run.pieces, key=lambda one: one.account.end_cycle).piece.core
    layer = whole_layer(
        run.pieces, [one for one in run.pieces if one.piece.core == last],
        WholeLayer("all networks", "tenants", (), StoredBits()),
    )  # fmt: skip
    causes = {**layer.cycles_by_cause, "other": layer.cycles_by_cause["other"] + run.end_cycle - layer.latency_cycles}
    arithmetics = {tenant.counters.arithmetic for tenant in tenants}
    decoders = {tenant.counters.decoder for tenant in tenants} - {"none"}
    chip = Counters(
        storage=" + ".join(tenant.storage for tenant in tenants),
        layers=(replace(layer, latency_cycles=run.end_cycle, cycles_by_cause=causes),),
        arithmetic=min(arithmetics),
        uses_generator=any(tenant.counters.uses_generator for tenant in tenants),
        decoder=min(decoders, default="none"),
        dram=run.dram,
    )
    return evaluate(chip, hardware, load_tables()).energy_j_by_unit
