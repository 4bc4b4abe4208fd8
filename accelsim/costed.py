"""A run with its counters, alone or beside the formats it is compared with: what commands and the Python API share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from accelsim.config.loader import LoadedHardware
from accelsim.cost.evaluate import evaluate
from accelsim.cost.tables import load_tables
from accelsim.errors import AccelSimError, ConfigError, MappingError
from accelsim.limits import with_limits
from accelsim.mapping.fixed import load_fixed
from accelsim.pipeline import layer_plans, simulate
from accelsim.results.build import build_result, limits_of
from accelsim.results.model import RunResult, Totals
from accelsim.sim.counters import Counters
from accelsim.storage import list_formats
from accelsim.storage.chip_decoder import STATED
from accelsim.storage.default import default_format
from accelsim.storage.stated import parse_format
from accelsim.timing.accounts import Probe
from accelsim.trace.model import LayerTrace

if TYPE_CHECKING:
    from accelsim.cost.uncertainty import UncertaintyReport
    from accelsim.sim.dram.recording import RequestLog

ALL_FORMATS = "all"
TICKET_RIVALS = ("dense-int8", "entropy-int4")
"""What a ticket is compared with by default: what most chips store, and the smallest format at hand."""
Failure = tuple[str, AccelSimError]
"""A format, and why it cannot run."""


@dataclass(frozen=True, slots=True)
class CostedRun:
    """A result, and the counters from which it can be costed again."""

    result: RunResult
    counters: Counters


def simulate_format(
    hardware: LoadedHardware,
    trace: LayerTrace,
    storage: str,
    exact: bool,
    probe: Probe | None = None,
    mapping: str | None = None,
    requests: RequestLog | None = None,
) -> CostedRun:
    """Simulate and cost ``trace`` in one format; the file ``mapping`` states tilings.

    ``probe`` sees what units do, ``requests`` gets what the memory is asked.
    """
    fixed, tap = load_fixed(mapping, trace), None if requests is None else requests.tap
    counters = simulate(hardware, trace, storage, exact=exact, probe=probe, fixed=fixed, tap=tap)
    cost = evaluate(counters, hardware.config, load_tables())
    return CostedRun(build_result(hardware, trace, counters, cost), counters)


def run_with_limits(hardware: LoadedHardware, trace: LayerTrace, run: CostedRun, mapping: str | None) -> CostedRun:
    """Return ``run`` with what each resource costs it; ``mapping`` is the file with its tilings."""
    found = with_limits
    if hardware.config.num_cores > 1:
        from accelsim.cores.limits import with_core_limits  # noqa: PLC0415  one core does not wait for it

        found = with_core_limits
    counters = found(run.counters, hardware.config, trace, load_fixed(mapping, trace))
    return CostedRun(run.result.model_copy(update=limits_of(counters)), counters)


def simulate_rivals(
    hardware: LoadedHardware, trace: LayerTrace, storages: Sequence[str], exact: bool
) -> dict[str, CostedRun]:
    """Return the run of ``trace`` in each of ``storages``, in their order.

    A format for which the chip needs a wider decoder is followed by the same on the decoder that the chip has.
    """
    found: dict[str, CostedRun] = {}
    for name in storages:
        found[name] = run = simulate_format(hardware, trace, name, exact)
        if run.counters.decoder_width is not None:
            found[name + STATED] = simulate_format(hardware, trace, name + STATED, exact)
    return found


def simulate_possible(
    hardware: LoadedHardware, trace: LayerTrace, storages: Sequence[str], asked: Sequence[str], exact: bool
) -> tuple[dict[str, CostedRun], list[Failure]]:
    """Return the runs of `simulate_rivals`, and which formats cannot run, with the reason.

    Raises
    ------
    AccelSimError
        One of those that somebody ``asked`` for cannot run.
    """
    found: dict[str, CostedRun] = {}
    failures: list[Failure] = []
    for name in storages:
        try:
            found |= simulate_rivals(hardware, trace, (name,), exact)
        except (ConfigError, MappingError) as error:
            if name in asked:
                raise
            failures.append((name, error))
    return found, failures


def totals_of(runs: Mapping[str, CostedRun]) -> dict[str, Totals]:
    """Return the totals of ``runs``."""
    return {name: run.result.totals for name, run in runs.items()}


def uncertainty_of(hardware: LoadedHardware, run: CostedRun, rivals: Mapping[str, CostedRun]) -> UncertaintyReport:
    """Return how sure the energies of a run and its rivals are."""
    from accelsim.cost.uncertainty import uncertainty  # noqa: PLC0415  a run without bands does not wait for it

    counters = {run.result.storage: run.counters, **{name: rival.counters for name, rival in rivals.items()}}
    return uncertainty(counters, hardware.config, load_tables())


def default_storage(trace: LayerTrace, hardware: LoadedHardware) -> str:
    """Return the format a network is stored in unless told otherwise."""
    return default_format(trace, can_decode=hardware.config.mask_decoder is not None)


def parse_formats(text: str, option: str) -> tuple[str, ...]:
    """Return the storage formats of a comma-separated list, each once, in order; ``none`` gives none, ``all`` all.

    Raises
    ------
    ConfigError
        A name is not that of a storage format.
    """
    names = [part.strip() for part in text.split(",") if part.strip()]
    if names == [ALL_FORMATS]:
        return list_formats()
    if names == ["none"]:
        return ()
    if not names:
        raise ConfigError(f"{option}: no storage format in {text!r}; give names separated by commas, or none")
    return tuple(dict.fromkeys(parse_format(name, option) for name in names))


def is_ticket(trace: LayerTrace, storage: str) -> bool:
    """Return whether the chip regenerates weights of ``trace`` when it is stored so."""
    return any(plan.source is not None for plan in layer_plans(trace, storage).values())
