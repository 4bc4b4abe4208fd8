"""The space of an atlas: tickets against rivals over context, batch, bandwidth and the price of a DRAM bit.

A *place* is a context, a batch and a bandwidth: what must be simulated, once for each ticket and each rival. A *cell*
is a ticket at a place at a price of a DRAM bit, against all rivals.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from accelsim.config.hardware import HardwareConfig
from accelsim.config.loader import LoadedHardware, load_hardware
from accelsim.dse.points import Job, Point, address
from accelsim.dse.workloads import Workload, WorkloadSpec, load_trace, read_workloads
from accelsim.errors import AccelSimError, ConfigError
from accelsim.pipeline import layer_plans
from accelsim.storage import get_format
from accelsim.storage.base import is_ticket_format
from accelsim.trace.batch import batch_problem
from accelsim.trace.options import phase_problem

FIDELITY: Final = "priced"
MAX_CELLS = 100_000
DEFAULT_TICKETS = "mask-2bit:0,slt:0,slt:0.5,slt:0.7,slt:0.9"
DEFAULT_RIVALS = "ternary-1.58,int4-g128,lcg-2bit"
DEFAULT_BATCHES = (1, 4, 16)
DEFAULT_PJ_PER_BIT = (None, 2.0, 4.0, 8.0, 16.0)
# Half to four times the chip's bandwidth: a slower grade of its memory, and up to four times its channels.
DEFAULT_BANDWIDTHS = (0.5, 1.0, 2.0, 4.0)
# Four lengths that a model has room for: far apart, so that the weights rule at one end and the cache at the other.
_CONTEXTS = (16, 64, 256, 1024, 4096, 16384)
_NUM_CONTEXTS = 4
_MAX_CHANNELS = 64
_CHIP = "chip"


class Ticket(NamedTuple):
    """A storage format that holds a ticket, and the fraction of all weights that is frozen."""

    storage: str
    freeze_ratio: float

    @property
    def label(self) -> str:
        """Return both, as the option states them."""
        return f"{self.storage}:{self.freeze_ratio:g}"


class Place(NamedTuple):
    """What is simulated: tokens in the cache (of a prefill: of the prompt), sequences, and the memory's peak."""

    context: int
    batch: int
    bandwidth_gbps: float


@dataclass(frozen=True, slots=True)
class AtlasSpace:
    """A checked atlas.

    Attributes
    ----------
    chip
        As loaded, with the user's overrides; ``overrides`` are their texts.
    network
        As given; ``workload`` is it as read.
    sparsity
        Zeros in the masks of all tickets. Freezing F prunes F k and locks F (1 - k), so that the free weights are as
        dense as the network.
    run
        Phase and bits of the cache, as names and values of `accelsim.trace.options.TraceOptions`.
    pj_per_bit
        Prices of a DRAM bit; None is the price of the chip's own memory.
    """

    chip: LoadedHardware
    overrides: tuple[str, ...]
    network: str
    workload: Workload
    tickets: tuple[Ticket, ...]
    rivals: tuple[str, ...]
    contexts: tuple[int, ...]
    batches: tuple[int, ...]
    bandwidths_gbps: tuple[float, ...]
    pj_per_bit: tuple[float | None, ...]
    sparsity: float
    run: tuple[tuple[str, Any], ...]

    @property
    def num_cells(self) -> int:
        """Return how many cells the atlas has."""
        return len(self.tickets) * len(self.pj_per_bit) * len(list(self.places()))

    def places(self) -> Iterator[Place]:
        """Yield all places: bandwidth outermost, then batch, then context."""
        for bandwidth in self.bandwidths_gbps:
            for batch in self.batches:
                for context in self.contexts:
                    yield Place(context, batch, bandwidth)

    def memory(self, bandwidth_gbps: float) -> tuple[str, ...]:
        """Return the overrides that give the memory a peak: as few channels as can, at the data rate that is left.

        No channel is faster than the chip's own.
        """
        dram = self.chip.config.dram
        own_gbps = dram.peak_bytes_per_ns
        if math.isclose(bandwidth_gbps, own_gbps, rel_tol=1e-9):
            return ()
        channels = max(1, math.ceil(bandwidth_gbps / (own_gbps / dram.num_channels) * (1 - 1e-9)))
        rate = float(f"{bandwidth_gbps / channels / dram.bus_width_bits * 8000:.9g}")
        changes = []
        if channels != dram.num_channels:
            changes.append(f"dram.num_channels={channels}")
        if not math.isclose(rate, dram.data_rate_mtps, rel_tol=1e-9):
            changes.append(f"dram.data_rate_mtps={rate:.9g}")
        return tuple(changes)

    def spec(self, place: Place, freeze_ratio: float) -> WorkloadSpec:
        """Return the network with its ticket's statistics, run as a place says."""
        ticket = {"sparsity": self.sparsity, "freeze_ratio": freeze_ratio}
        return self.workload.choose({**ticket, **dict(self.run), "context": place.context, "batch": place.batch})

    def command(self, place: Place, ticket: Ticket, pj_per_bit: float | None) -> str:
        """Return the command that gives a cell again: the ticket's totals, and under ``comparison`` the rivals'."""
        options = self.spec(place, ticket.freeze_ratio).options
        words = ["accelsim", "run", self.chip.path, self.network, "--storage", ticket.storage]
        words += ["--compare", ",".join(self.rivals), "--json"]
        for name in ("phase", "context", "batch", "kv_bits", "sparsity", "prune_ratio", "lock_ratio"):
            value = getattr(options, name)
            if value is not None:
                words += [f"--{name.replace('_', '-')}", f"{value:.9g}" if isinstance(value, float) else str(value)]
        stated = () if pj_per_bit is None else (f"dram.traffic_pj_per_bit={pj_per_bit:.9g}",)
        for text in (*self.overrides, *self.memory(place.bandwidth_gbps), *stated):
            words += ["--set", text]
        return shlex.join(words)

    def points(self) -> list[tuple[Place, str, float, Point]]:
        """Return what is simulated: place, format, freezing ratio, and the point; equal runs have equal addresses.

        A rival that is no ticket has nothing to freeze: it runs beside the first ticket, unless freezing changes how
        it is stored.
        """
        chips = {gbps: self._chip(gbps) for gbps in self.bandwidths_gbps}
        ratios = tuple(dict.fromkeys(ticket.freeze_ratio for ticket in self.tickets))
        follows = {rival: self._follows_freezing(rival, ratios) for rival in self.rivals}
        found = []
        for place in self.places():
            wanted = [(ticket.storage, ticket.freeze_ratio, ticket.freeze_ratio) for ticket in self.tickets]
            for rival in self.rivals:
                wanted += [(rival, ratio, ratio if follows[rival] else ratios[0]) for ratio in ratios]
            for storage, ratio, simulated in wanted:
                spec = self.spec(place, simulated)
                config = chips[place.bandwidth_gbps]
                key = address(config, spec, storage, FIDELITY)
                job = Job(key, config, self.chip.path, spec, storage, FIDELITY)
                found.append((place, storage, ratio, Point(self.chip.path, self.network, storage, (), job)))
        return found

    def _chip(self, bandwidth_gbps: float) -> HardwareConfig:
        return load_hardware(self.chip.path, (*self.overrides, *self.memory(bandwidth_gbps))).config

    def _follows_freezing(self, storage: str, ratios: Sequence[float]) -> bool:
        """Return whether a format stores a network otherwise where more of it is frozen."""
        place = Place(self.contexts[0], self.batches[0], self.bandwidths_gbps[0])
        plans = [layer_plans(load_trace(self.spec(place, ratio)), storage) for ratio in ratios]
        return any(plan != plans[0] for plan in plans[1:])


def atlas_space(
    chip: str,
    network: str,
    overrides: Sequence[str] = (),
    axes: Mapping[str, str | None] | None = None,
    sparsity: float = 0.5,
    run: Mapping[str, Any] | None = None,
) -> AtlasSpace:
    """Return the atlas that options describe.

    Parameters
    ----------
    axes
        Lists by comma of ``tickets``, ``rivals``, ``contexts``, ``batches``, ``bandwidths`` (GB/s) and ``pj_per_bit``;
        what is missing takes its default.
    run
        ``phase`` (decode or prefill) and ``kv_bits``.

    Raises
    ------
    AccelSimError
        One line that says which option is wrong and what is allowed.
    """
    lists = {name: text for name, text in (axes or {}).items() if text is not None}
    running = {"phase": "decode", **(run or {})}
    if running["phase"] not in ("decode", "prefill"):
        raise ConfigError(f"--phase: an atlas has no {running['phase']}; give decode or prefill")
    _refuse((phase_problem(running) or "").replace("_", "-", 1), "--")
    if not 0 <= sparsity <= 1:
        raise ConfigError(f"--sparsity: {sparsity:g} is not a fraction; give a number from 0 to 1")
    loaded = load_hardware(chip, overrides)
    if loaded.config.memory == "ideal":
        raise ConfigError(f"{chip}: an ideal memory has no bandwidth to vary; add --set memory=dram")
    workload = _language_model(network)
    own_gbps = loaded.config.dram.peak_bytes_per_ns
    tickets = tuple(dict.fromkeys(_ticket(text) for text in _parts(lists.get("tickets", DEFAULT_TICKETS), "--tickets")))
    space = AtlasSpace(
        chip=loaded,
        overrides=tuple(overrides),
        network=network,
        workload=workload,
        tickets=tickets,
        rivals=_rivals(lists.get("rivals", DEFAULT_RIVALS), tickets),
        contexts=_whole(lists["contexts"], "--contexts", 0) if "contexts" in lists else _contexts(workload, running),
        batches=_whole(lists["batches"], "--batches", 1) if "batches" in lists else DEFAULT_BATCHES,
        bandwidths_gbps=_numbers(lists["bandwidths"], "--bandwidths")
        if "bandwidths" in lists
        else tuple(float(f"{share * own_gbps:.6g}") if share != 1 else own_gbps for share in DEFAULT_BANDWIDTHS),
        pj_per_bit=_prices(lists["pj_per_bit"]) if "pj_per_bit" in lists else DEFAULT_PJ_PER_BIT,
        sparsity=sparsity,
        run=tuple(running.items()),
    )
    _check(space)
    return space


def _language_model(network: str) -> Workload:
    (workload,) = read_workloads((network,), varies_ticket=True)
    member = workload.members[0]
    if member.is_ticket:
        raise ConfigError(f"{network}: is a ticket, whose freezing is its own; give a language model by name or config")
    if load_trace(member.spec).language is None:
        raise ConfigError(f"{network}: is no language model, it has no context to vary; see accelsim list networks")
    return workload


def _contexts(workload: Workload, running: Mapping[str, Any]) -> tuple[int, ...]:
    """Return the default contexts: the longest four that the model has room for, its own room among them."""
    language = load_trace(workload.choose({"phase": running["phase"]})).language
    assert language is not None  # see `_language_model`
    room = language.context_length - (1 if running["phase"] == "decode" else 0)
    shorter = [length for length in _CONTEXTS if 2 * length <= room]
    longest = [room] if room < _CONTEXTS[-1] else []
    return tuple([*shorter, *longest][-_NUM_CONTEXTS:])


def _check(space: AtlasSpace) -> None:
    """Try what cannot be a row with its reason: memories, contexts, masks."""
    if space.num_cells > MAX_CELLS:
        raise ConfigError(f"atlas: {space.num_cells} cells; at most {MAX_CELLS} are drawn; give fewer values")
    for batch in space.batches:
        _refuse(batch_problem(batch), "--batches: ")
    for gbps in space.bandwidths_gbps:
        dram = space.chip.config.dram
        if gbps / dram.peak_bytes_per_ns * dram.num_channels > _MAX_CHANNELS:
            raise ConfigError(f"--bandwidths: {gbps:g} GB/s needs more than {_MAX_CHANNELS} channels; give less")
        load_hardware(space.chip.path, (*space.overrides, *space.memory(gbps)))
    for context in space.contexts:
        load_trace(space.spec(Place(context, 1, space.bandwidths_gbps[0]), space.tickets[0].freeze_ratio))
    for ticket in space.tickets:
        place = Place(space.contexts[0], 1, space.bandwidths_gbps[0])
        layer_plans(load_trace(space.spec(place, ticket.freeze_ratio)), ticket.storage)


def _refuse(problem: str | None, before: str) -> None:
    if problem:
        raise ConfigError(f"{before}{problem}")


def _parts(text: str, option: str) -> tuple[str, ...]:
    parts = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    if not parts:
        raise ConfigError(f"{option}: nothing in {text!r}; give values by comma")
    return parts


def _ticket(text: str) -> Ticket:
    storage, sign, ratio = text.rpartition(":")
    number = _number(ratio)
    if not sign or number is None or not 0 <= number < 1:
        raise ConfigError(f"--tickets: {text!r} is not FORMAT:FREEZING; give a fraction below 1, e.g. slt:0.7")
    name = _format(storage, "--tickets")
    if not is_ticket_format(name):
        raise ConfigError(f"--tickets: {name} stores no ticket; give it to --rivals, and here slt, mask-2bit, ...")
    return Ticket(name, number)


def _rivals(text: str, tickets: Sequence[Ticket]) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(_format(part, "--rivals") for part in _parts(text, "--rivals")))
    for name in names:
        if any(ticket.storage == name for ticket in tickets):
            raise ConfigError(f"--rivals: {name} is one of --tickets; keep it in one of them")
    return names


def _format(name: str, option: str) -> str:
    try:
        return get_format(name).name
    except AccelSimError as error:
        raise ConfigError(f"{option}: {str(error).removeprefix('storage: ')}") from None


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _numbers(text: str, option: str) -> tuple[float, ...]:
    found = []
    for part in _parts(text, option):
        number = _number(part)
        if number is None or not 0 < number <= 1e6:
            raise ConfigError(f"{option}: {part!r} is no positive number; give numbers by comma")
        found.append(number)
    return tuple(sorted(dict.fromkeys(found)))


def _whole(text: str, option: str, least: int) -> tuple[int, ...]:
    found = []
    for part in _parts(text, option):
        if not (part.isascii() and part.isdecimal() and len(part) < 9 and int(part) >= least):
            raise ConfigError(f"{option}: {part!r} is no whole number from {least} on; give numbers by comma")
        found.append(int(part))
    return tuple(sorted(dict.fromkeys(found)))


def _prices(text: str) -> tuple[float | None, ...]:
    parts = _parts(text, "--pj-per-bit")
    numbers = tuple(part for part in parts if part != _CHIP)
    own: tuple[float | None, ...] = (None,) if _CHIP in parts else ()
    found = _numbers(",".join(numbers), "--pj-per-bit") if numbers else ()
    if any(number > 1000 for number in found):
        raise ConfigError("--pj-per-bit: more than 1000 pJ a bit is no memory; give less")
    return own + found
