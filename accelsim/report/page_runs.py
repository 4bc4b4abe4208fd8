"""What a report is made of: saved results, grouped by chip and network, with the bands of their costs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from accelsim.cost.evaluate import evaluate
from accelsim.cost.report import CostReport
from accelsim.cost.tables import load_tables
from accelsim.cost.uncertainty import ComparisonBands, FormatBands, UncertaintyReport, uncertainty
from accelsim.report.labels import phase_words
from accelsim.results.breakeven import BreakEven, break_even, dram_energy_j
from accelsim.results.compare import batches, chip_labels
from accelsim.results.model import ResultError, RunResult
from accelsim.results.store import (
    COUNTERS_NAME,
    SUMMARY_NAME,
    CountersFile,
    read_counters,
    read_summary,
    rebuild_result,
)

MAX_RESULTS = 2000
TICKET_STORAGE = "slt"
# Freezing ratios whose accuracy differs by less than this say nothing about accuracy: the standard error of a
# fraction of 0.97 over 1,000 test images is half a point.
ACCURACY_MARGIN = 0.01


@dataclass(frozen=True, slots=True)
class PageRun:
    """A result; its counters where they are saved beside it and cost what the result says."""

    result: RunResult
    counters: CountersFile | None

    @property
    def key(self) -> tuple[str, ...]:
        """Return what tells runs apart: chip, network file, what is run of it, batch, format."""
        work = self.result.workload
        what = str(work.batch), phase_words(work)
        return self.result.hardware.sha256, work.sha256, work.path, *what, self.result.storage


@dataclass(frozen=True, slots=True)
class TicketRuns:
    """One network file on one chip: the format in question, its rivals, and how sure their energies are."""

    main: PageRun
    rivals: tuple[PageRun, ...]
    bands: UncertaintyReport | None

    @property
    def runs(self) -> tuple[PageRun, ...]:
        """Return all runs, the format in question first."""
        return self.main, *self.rivals

    def format_bands(self, storage: str) -> FormatBands | None:
        """Return the bands of one format, None where its counters are not at hand."""
        return next((each for each in (self.bands.formats if self.bands else ()) if each.storage == storage), None)

    def comparison(self, storage: str) -> ComparisonBands | None:
        """Return how surely the format in question needs less energy than ``storage``; None as in `format_bands`."""
        first = self.main.result.storage
        pairs = self.bands.comparisons if self.bands else ()
        return next((pair for pair in pairs if pair.first == first and pair.second == storage), None)

    def break_even(self, rival: PageRun) -> BreakEven | None:
        """Return where the ticket and ``rival`` change places; None where counters are not at hand."""
        joules = [_dram_energy_j(run) for run in (self.main, rival)]
        if joules[0] is None or joules[1] is None:
            return None
        return break_even(self.main.result, rival.result, joules[0], joules[1])


@dataclass(frozen=True, slots=True)
class Case:
    """A network on a chip at one batch: its tickets in the order of their freezing ratio, and the one looked into.

    ``focus`` is the ticket with the highest freezing ratio whose accuracy is within `ACCURACY_MARGIN` of the best.
    """

    chip: str
    network: str
    tickets: tuple[TicketRuns, ...]
    focus: TicketRuns

    @property
    def freeze_ratios(self) -> frozenset[float]:
        """Return how much of the network the tickets freeze."""
        return frozenset(ticket.main.result.workload.freeze_ratio for ticket in self.tickets)


def read_results(paths: Sequence[str | Path]) -> list[PageRun]:
    """Return the results in ``paths``: summary files, folders of runs, or folders that hold such folders.

    A comparison inside a result, or in the counters beside it, gives further runs: with totals only unless their
    counters are saved. Results that
    are there twice count once.

    Raises
    ------
    ResultError
        A path holds no result, a result is broken, or there are more than `MAX_RESULTS`.
    """
    files = [file for path in paths for file in _summaries(Path(path))]
    if len(files) > MAX_RESULTS:
        raise ResultError(f"{len(files)} results are too many for a report; give at most {MAX_RESULTS}")
    runs = [_read(file) for file in files]
    found = {run.key: run for run in reversed(runs)}
    kept = [run for run in runs if found[run.key] is run]
    for run in runs:
        counted = run.counters.comparison if run.counters is not None else None
        for storage in dict.fromkeys((*(run.result.comparison or {}), *(counted or {}))):
            other = _compared(run, storage)
            if other is not None and other.key not in found:
                found[other.key] = other
                kept.append(other)
    return kept


def holds_results(path: str | Path) -> bool:
    """Return whether ``path`` is a saved result, or a folder with one in it."""
    place = Path(path)
    return any(place.rglob(SUMMARY_NAME)) if place.is_dir() else place.name == SUMMARY_NAME and place.is_file()


def cases_of(runs: Sequence[PageRun]) -> list[Case]:
    """Return the cases of ``runs``, in the order in which chip, network and batch first occur."""
    groups: dict[tuple[str, str, int], list[PageRun]] = {}
    for run in runs:
        work = run.result.workload
        groups.setdefault((run.result.hardware.sha256, work.name + phase_words(work), work.batch), []).append(run)
    results = [run.result for run in runs]
    labels, are_batched = chip_labels(results), bool(batches(results))
    cases = []
    for (digest, network, batch), group in groups.items():
        tickets = sorted(_tickets(group), key=lambda each: each.main.result.workload.freeze_ratio)
        name = f"{network} (batch {batch})" if are_batched else network
        cases.append(Case(labels[digest], name, tuple(tickets), _focus(tickets)))
    return cases


def _summaries(path: Path) -> list[Path]:
    if not path.is_dir() or (path / SUMMARY_NAME).is_file():
        return [path / SUMMARY_NAME if path.is_dir() else path]
    found = sorted(path.rglob(SUMMARY_NAME), key=lambda file: file.as_posix())
    if not found:
        raise ResultError(
            f"{path}: no {SUMMARY_NAME} in it; give a folder that accelsim run --out, compare, sweep or explore wrote "
            "and finished"
        )
    return found


def _read(file: Path) -> PageRun:
    result = read_summary(file)
    place = file.with_name(COUNTERS_NAME)
    if file.name != SUMMARY_NAME or not place.is_file():
        return PageRun(result, None)
    stored = read_counters(place)
    if stored.hardware.sha256 != result.hardware.sha256 or not _counts_agree(stored, result):
        raise ResultError(f"{place}: not the counters of {SUMMARY_NAME} beside it; run it again with --out")
    energy_j = math.fsum(_cost(stored, str(place)).energy_j_by_unit.values())
    is_current = math.isclose(energy_j, result.totals.energy_j, rel_tol=1e-9)
    return PageRun(result, stored if is_current else None)


def _compared(run: PageRun, storage: str) -> PageRun | None:
    """Return a run that ``run`` was compared with: whole where its counters are saved and agree, else totals only.

    None where neither is at hand.
    """
    totals = (run.result.comparison or {}).get(storage)
    counters = (run.counters.comparison or {}).get(storage) if run.counters is not None else None
    if run.counters is not None and counters is not None:
        stored = run.counters.model_copy(update={"counters": counters, "comparison": None})
        result = rebuild_result(stored, stored.hardware, _cost(stored, COUNTERS_NAME), COUNTERS_NAME)
        agrees = totals is None or math.isclose(result.totals.energy_j, totals.energy_j, rel_tol=1e-9)
        if result.storage == storage and agrees:
            return PageRun(result, stored)
    if totals is None:
        return None
    update = {"storage": storage, "totals": totals, "layers": (), "comparison": None}
    return PageRun(run.result.model_copy(update=update), None)


def _cost(stored: CountersFile, where: str) -> CostReport:
    try:
        return evaluate(stored.counters, stored.hardware.config, load_tables())
    except (ArithmeticError, LookupError) as error:
        problem = f"counts that cannot be priced ({type(error).__name__})"
        raise ResultError(f"{where}: {problem}; run it again with --out") from None


def _counts_agree(stored: CountersFile, result: RunResult) -> bool:
    """Return whether format, layers, cycles and action counts are those of the result."""
    if stored.counters.storage != result.storage or len(stored.counters.layers) != len(result.layers):
        return False
    pairs = zip(stored.counters.layers, result.layers, strict=True)
    return all(
        (counted.name, counted.latency_cycles, counted.actions) == (layer.name, layer.latency_cycles, layer.actions)
        for counted, layer in pairs
    )


def _tickets(group: Sequence[PageRun]) -> list[TicketRuns]:
    by_file: dict[tuple[str, str], list[PageRun]] = {}
    for run in group:
        by_file.setdefault((run.result.workload.sha256, run.result.workload.path), []).append(run)
    tickets = []
    for same in by_file.values():
        main = next((run for run in same if run.result.storage == TICKET_STORAGE), same[0])
        rivals = tuple(run for run in same if run is not main)
        tickets.append(TicketRuns(main, rivals, _bands([main, *rivals])))
    return tickets


def _bands(runs: Sequence[PageRun]) -> UncertaintyReport | None:
    counters = {run.result.storage: run.counters.counters for run in runs if run.counters is not None}
    if runs[0].counters is None:
        return None
    return uncertainty(counters, runs[0].counters.hardware.config, load_tables())


def _focus(tickets: Sequence[TicketRuns]) -> TicketRuns:
    known = [ticket for ticket in tickets if ticket.main.result.workload.accuracy is not None]
    best = max((ticket.main.result.workload.accuracy or 0.0 for ticket in known), default=0.0)
    good = [each for each in known if (each.main.result.workload.accuracy or 0.0) >= best - ACCURACY_MARGIN - 1e-9]
    return (good or list(tickets))[-1]


def _dram_energy_j(run: PageRun) -> float | None:
    if run.counters is None:
        return None
    return dram_energy_j(run.counters.counters, run.counters.hardware.config, load_tables())
