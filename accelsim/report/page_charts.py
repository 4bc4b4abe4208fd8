"""The charts of a report, each from results alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from accelsim.cost.uncertainty import FormatBands
from accelsim.dse.pareto import pareto_front
from accelsim.report.labels import format_label, label
from accelsim.report.page_runs import Case, PageRun, TicketRuns
from accelsim.report.page_svg import NUM_COLOURS, Axis, BarPicture, BarRow, Mark, Picture, PointPicture, Segment, Series
from accelsim.report.page_words import case_name, first_rival, nearest_rival
from accelsim.report.roofline import Roofs, generation_roofs, roofline_points, roofs_of
from accelsim.report.sentence import factor
from accelsim.report.text import percent, prefix_of, printable, quantity, significant
from accelsim.results.compare import bottleneck, own_accuracy, stored_bits, traffic_bytes, weight_bytes
from accelsim.results.model import CyclesByCause, DramBytesRecord, EnergyByUnit, Record, RunResult, Totals

_CAUSE_COLOURS = dict(zip(CyclesByCause.model_fields, (0, 7, 5, 10, 8, 6, 3, 4, 2, 9), strict=True))
_CLASS_COLOURS = dict(zip(DramBytesRecord.model_fields, (0, 6, 4, 1, 3, 5, 2, 8, 7, 10), strict=True))
_UNIT_COLOURS = dict(zip(EnergyByUnit.model_fields, (8, 5, 1, 0, 4, 6, 3, 2, 7, 10, 11, 9), strict=True))

_WHISKERS = (
    "Whiskers: 5 to 95 % of the draws of every constant within its range; one with an arrow goes on beyond the figure."
)
_MOST_BARS = 24  # layers drawn one by one; of a longer network those with the largest bars

_GENERATION_NOTE = (
    "what generator and decoder allow in a layer, which depends on how often a weight is used; a layer without such a "
    "mark has that roof above the array's, or its weights were made while the layer before ran."
)


@dataclass(frozen=True, slots=True)
class Chart:
    """A figure of the page: its title, what it shows, and what to know when reading it."""

    title: str
    picture: Picture
    note: str = ""

    @property
    def svg(self) -> str:
        """Return the figure as the page has it."""
        return self.picture.svg


def overview_charts(ticket: TicketRuns) -> list[Chart]:
    """Return energy by unit, time by cause, memory traffic by class and area by unit: a bar per format."""
    totals = {format_label(run.result.storage): run.result.totals for run in ticket.runs}
    mine = ticket.main.result.totals
    most = bottleneck(mine)
    share = _share(int(getattr(mine.cycles_by_cause, most)), mine.latency_cycles)
    time = f"Time: {share} {_of(ticket)} is {label(most)}"
    return [
        _energy_chart(ticket),
        _record_chart(
            Labels(time, "time by cause"), totals, "cycles_by_cause", _CAUSE_COLOURS,
            _Unit("s", _seconds_per_cycle(ticket)),
        ),
        _record_chart(
            Labels(_against(ticket, "memory traffic", traffic_bytes), "memory traffic by class"), totals, "dram_bytes",
            _CLASS_COLOURS, _Unit("B", 1.0),
        ),
        _area_chart(ticket),
    ]  # fmt: skip


def hero_chart(cases: Sequence[Case]) -> Chart | None:
    """Return the one figure that answers a page about ``cases``; None without a case.

    Of one case the energy by unit of each format; of several how much more energy rivals need, a bar each with its
    band, or where nothing was compared the energy of each.
    """
    if len(cases) < 2:
        return _energy_chart(cases[0].focus) if cases else None
    rows: list[BarRow] = []
    key: dict[str, int] = {}
    for case in cases:
        ticket = case.focus
        rivals = [rival for rival in (first_rival(ticket), nearest_rival(ticket)) if rival is not None]
        for place, rival in enumerate(dict((run.result.storage, run) for run in rivals).values()):
            name, more = format_label(rival.result.storage), rival.result.totals.energy_j
            factor_of = more / ticket.main.result.totals.energy_j
            colour = key.setdefault(name, len(key) % NUM_COLOURS)
            pair = ticket.comparison(rival.result.storage)
            low, high = (pair.ratio.p05, pair.ratio.p95) if pair else (None, None)
            words = f"{case_name(case)}\n{name}: {significant(factor_of)} times the energy"
            band = f"\n5 to 95 % of the draws: {significant(low)} to {significant(high)}" if low and high else ""
            segment = Segment(factor_of, colour, words + band)
            rows.append(BarRow("" if place else case_name(case), (segment,), f"{significant(factor_of)}x", low, high))
    if not rows:
        return _cases_chart(cases)
    title = f"Energy of the rivals, as multiples {_of(cases[0].focus)}"
    note = _WHISKERS if any(row.low for row in rows) else ""
    return Chart(title, BarPicture(title, rows[:_MOST_BARS], "energy of the rival", "x", list(key.items())), note)


def _cases_chart(cases: Sequence[Case]) -> Chart:
    named = [(case_name(case), case.focus.main) for case in cases[:_MOST_BARS]]
    return _energy_bars("Energy by unit of each case", [(name, run, None) for name, run in named])


def _of(ticket: TicketRuns) -> str:
    """Return ``of the ticket``, or whatever format is in question, for shares."""
    name = format_label(ticket.main.result.storage)
    return f"of the {name}'s" if name.startswith("ticket") else f"of {name}"


def layer_charts(run: PageRun) -> list[Chart]:
    """Return memory traffic by class and time by cause: a bar per layer."""
    result = run.result
    records = {layer.name: layer for layer in result.layers}
    per_cycle = 1e-6 / result.hardware.clock_mhz
    moved = {layer.name: float(traffic_bytes(layer)) for layer in result.layers}
    taken = {layer.name: float(layer.latency_cycles) for layer in result.layers}
    return [
        _record_chart(
            Labels(f"Memory traffic per layer: {_most(moved)}", "memory traffic"), records, "dram_bytes",
            _CLASS_COLOURS, _Unit("B", 1.0),
        ),
        _record_chart(
            Labels(f"Time per layer: {_most(taken)}", "time"), records, "cycles_by_cause", _CAUSE_COLOURS,
            _Unit("s", per_cycle),
        ),
    ]  # fmt: skip


def _most(values: Mapping[str, float]) -> str:
    """Return which layers make up half of the sum."""
    total, reached = math.fsum(values.values()), 0.0
    for count, name in enumerate(sorted(values, key=lambda each: -values[each]), start=1):
        reached += values[name]
        if 2 * reached >= total > 0:
            first = f"{printable(name, 30)} alone takes" if count == 1 else f"{count} of {len(values)} layers take"
            return f"{first} {_share(reached, total)}"
    return "none"


def _against(ticket: TicketRuns, what: str, value: Callable[[Totals], float]) -> str:
    """Return the finding of a chart: how much less or more the format in question takes than its first rival."""
    main, rival = ticket.main.result, first_rival(ticket)
    if rival is None:
        return f"{what.capitalize()} of {format_label(main.storage)}"
    words = factor(value(main.totals), value(rival.result.totals), what)
    words = f"{words} {'as' if 'same' in words else 'than'} {format_label(rival.result.storage)}"
    return f"{what.capitalize()}: {words.replace(f' {what}', '', 1)}"


def freezing_charts(case: Case) -> list[Chart]:
    """Return energy, latency, weight traffic and accuracy over the freezing ratio; none for a single ticket."""
    if len({ticket.main.result.workload.freeze_ratio for ticket in case.tickets}) < 2:
        return []
    panels: list[tuple[str, str, Callable[[RunResult], float]]] = [
        ("energy", "J", lambda run: run.totals.energy_j),
        ("latency", "s", lambda run: run.totals.latency_s),
        ("weight traffic", "B", lambda run: weight_bytes(run.totals)),
    ]
    charts = [_freezing_chart(case, title, unit, value) for title, unit, value in panels]
    accuracy = _accuracy_chart(case)
    return [*charts, accuracy] if accuracy else charts


def roofline_chart(ticket: TicketRuns) -> Chart | None:
    """Return every layer of every format under the roofs of the chip; None without the chip's description."""
    known = [run for run in ticket.runs if run.counters is not None and run.result.layers]
    if not known or known[0].counters is None:
        return None
    roofs = roofs_of(known[0].counters.hardware.config)
    series = []
    for number, run in enumerate(ticket.runs):
        points = roofline_points(run.result, roofs)
        marks = tuple(
            Mark(
                point.macs_per_byte,
                point.macs_per_s / 1e9,
                f"{point.layer}, {format_label(run.result.storage)}\n{significant(point.macs_per_byte)} MACs per byte\n"
                f"{significant(point.macs_per_s / 1e9)} GMAC/s, {percent(point.fraction_of_roof)} of the roof",
            )
            for point in points
        )
        if marks:
            series.append(Series(format_label(run.result.storage), _format_colour(number), marks))
    generation = _generation_series(known[0], roofs)
    lowest = min((mark.x for each in series for mark in each.marks), default=1.0) / 2
    highest = max((mark.x for each in series for mark in each.marks), default=1.0) * 2
    corners = sorted({lowest, min(max(lowest, roofs.ridge_macs_per_byte), highest), highest})
    line = tuple(Mark(x, roofs.limit_macs_per_s(x) / 1e9, "") for x in corners)
    roof = Series("roof of memory and array", 9, line, joined=True, plain=True)
    picture = PointPicture(
        "roofline",
        Axis("multiply-accumulates per byte of memory traffic, logarithmic", log=True, low=lowest, high=highest),
        Axis("GMAC/s, logarithmic", log=True, high=roofs.macs_per_s / 1e9 * 2),
        [*series, *generation, roof],
        height=340,
    )
    note = (
        f"Roofs: {significant(roofs.macs_per_s / 1e9)} GMAC/s of the array; the memory's "
        + (f"{significant(roofs.bytes_per_s / 1e9)} GB/s. " if roofs.bytes_per_s else "bandwidth is unbounded here. ")
        + "A layer whose weights were fetched while the layer before computed can lie above the memory's roof, and "
        "one that skips zeros above the array's." + (f" Hollow: {_GENERATION_NOTE}" if generation else "")
    )
    return Chart(_bound_words(ticket.main), picture, note)


def _generation_series(run: PageRun, roofs: Roofs) -> list[Series]:
    """Return the third ceiling, a mark per layer; none where generator and decoder always allow more than the array."""
    if run.counters is None:
        return []
    allowed = generation_roofs(run.counters.counters, run.counters.hardware.config)
    marks = tuple(
        Mark(
            point.macs_per_byte,
            allowed[point.layer] / 1e9,
            f"{point.layer}, {format_label(run.result.storage)}\ngenerator and decoder allow "
            f"{significant(allowed[point.layer] / 1e9)} GMAC/s",
            strong=False,
        )
        for point in roofline_points(run.result, roofs)
        if allowed.get(point.layer, roofs.macs_per_s) < roofs.macs_per_s
    )
    return [Series("roof of generator and decoder", 9, marks)] if marks else []


def _bound_words(run: PageRun) -> str:
    """Return how many layers the memory bounds: those that spend more cycles waiting for it than on anything else."""
    causes = [layer.cycles_by_cause.model_dump() for layer in run.result.layers]
    bound = sum(each["wait_dram"] > max(each[name] for name in each if name != "wait_dram") for each in causes)
    some = f"{bound} of {len(causes)} layers {'is' if bound == 1 else 'are'}"
    by = f"{some if bound else 'no layer is'} bound by the memory"
    return f"Roofline: stored as {format_label(run.result.storage)}, {by}"


def pareto_charts(cases: Sequence[Case]) -> list[Chart]:
    """Return two figures a network: energy over latency, and over accuracy where tickets differ in it, else area."""
    charts = []
    for network in dict.fromkeys(case.network for case in cases):
        designs = [
            (case, run) for case in cases if case.network == network for each in case.tickets for run in each.runs
        ]
        if len(designs) < 3:
            continue
        charts.append(_pareto(f"{printable(network)}, energy and latency", designs, _LATENCY))
        measured = [(case, run) for case, run in designs if own_accuracy(run.result) is not None]
        if len({run.result.workload.accuracy for _, run in measured}) > 1:
            charts.append(_pareto(f"{printable(network)}, energy and accuracy of the tickets", measured, _WRONG))
        else:
            charts.append(_pareto(f"{printable(network)}, energy and chip area", designs, _AREA))
    return charts


@dataclass(frozen=True, slots=True)
class _Across:
    """What a figure of designs has across: its name, its unit ("" of one that is not scaled), and whose value."""

    name: str
    unit: str
    value: Callable[[RunResult], float]
    log: bool = True


_LATENCY = _Across("latency", "s", lambda result: result.totals.latency_s)
_AREA = _Across("chip area (mm2)", "", lambda result: result.totals.area_mm2)
_WRONG = _Across("wrong answers (%)", "", lambda result: 100 * (1 - (result.workload.accuracy or 0.0)), log=False)


@dataclass(frozen=True, slots=True)
class Labels:
    """What a chart says above it and at its axis."""

    title: str
    axis: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class _Unit:
    name: str
    factor: float


def _energy_chart(ticket: TicketRuns) -> Chart:
    mine = ticket.main.result.totals
    spent = {name: float(getattr(mine.energy_j_by_unit, name)) for name in EnergyByUnit.model_fields}
    most = max(spent, key=lambda name: spent[name])
    bars = [(format_label(run.result.storage), run, ticket.format_bands(run.result.storage)) for run in ticket.runs]
    title = f"Energy: {_share(spent[most], mine.energy_j)} {_of(ticket)} is {label(most)}"
    return _energy_bars(title, bars)


def _energy_bars(title: str, bars: Sequence[tuple[str, PageRun, FormatBands | None]]) -> Chart:
    rows = []
    for name, run, band in bars:
        totals = run.result.totals
        values = {unit: float(getattr(totals.energy_j_by_unit, unit)) for unit in EnergyByUnit.model_fields}
        low, high = (band.energy_j.p05, band.energy_j.p95) if band else (None, None)
        ends = f"\nin all {quantity(low, 'J')} to {quantity(high, 'J')} (5 to 95 %)" if low and high else ""
        segments = tuple(
            Segment(
                value, _UNIT_COLOURS[unit],
                f"{name}\n{label(unit)}: {quantity(value, 'J')}, {_share(value, totals.energy_j)}{ends}",
            )
            for unit, value in values.items()
            if value
        )  # fmt: skip
        rows.append(BarRow(name, segments, quantity(totals.energy_j, "J"), low, high))
    used = {segment.colour for row in rows for segment in row.segments}
    key = [(label(unit), colour) for unit, colour in _UNIT_COLOURS.items() if colour in used]
    note = _WHISKERS if any(row.low for row in rows) else ""
    return Chart(title, BarPicture(title, rows, "energy by unit", "J", key), note)


def _area_chart(ticket: TicketRuns) -> Chart:
    units = sorted({unit for run in ticket.runs for unit in run.result.totals.area_mm2_by_unit})
    spare = [index for index in range(NUM_COLOURS) if index not in {_UNIT_COLOURS.get(unit) for unit in units}]
    colours = {
        unit: _UNIT_COLOURS.get(unit, spare[index % len(spare)] if spare else 0) for index, unit in enumerate(units)
    }
    rows = []
    for run in ticket.runs:
        totals, storage = run.result.totals, format_label(run.result.storage)
        segments = tuple(
            Segment(
                value,
                colours[unit],
                f"{storage}\n{label(unit)}: {significant(value)} mm2, {_share(value, totals.area_mm2)}",
            )
            for unit, value in sorted(totals.area_mm2_by_unit.items())
            if value
        )
        rows.append(BarRow(storage, segments, f"{significant(totals.area_mm2)} mm2"))
    title = _against(ticket, "chip area", lambda totals: totals.area_mm2)
    picture = BarPicture(
        title, rows, "chip area by unit", "mm2", [(label(unit), colour) for unit, colour in colours.items()]
    )
    return Chart(title, picture, "Each format with the units and the arithmetic that it needs.")


def _record_chart(
    labels: Labels, records: Mapping[str, Record], field: str, colours: dict[str, int], unit: _Unit
) -> Chart:
    """Return a bar for each record, made of the parts of ``field``; of many the largest, and the rest as one."""
    parts = {
        name: {part: float(getattr(getattr(record, field), part)) * unit.factor for part in colours}
        for name, record in records.items()
    }
    largest = sorted(parts, key=lambda name: -sum(parts[name].values()))
    shown = {name: parts[name] for name in parts if name in set(largest[:_MOST_BARS])}
    if len(parts) > _MOST_BARS + 1:
        rest = [parts[name] for name in largest[_MOST_BARS:]]
        shown[f"{len(rest)} others"] = {part: math.fsum(each[part] for each in rest) for part in colours}
    else:
        shown = parts
    rows = []
    for name, values in shown.items():
        total = sum(values.values())
        segments = tuple(
            Segment(
                value, colours[part], f"{name}\n{label(part)}: {quantity(value, unit.name)}, {_share(value, total)}"
            )
            for part, value in values.items()
            if value
        )  # fmt: skip
        rows.append(BarRow(printable(name), segments, quantity(total, unit.name)))
    key = [(label(part), colour) for part, colour in colours.items() if any(each[part] for each in shown.values())]
    return Chart(labels.title, BarPicture(labels.title, rows, labels.axis, unit.name, key), labels.note)


def _freezing_chart(case: Case, title: str, unit: str, value: Callable[[RunResult], float]) -> Chart:
    storages = list(dict.fromkeys(run.result.storage for ticket in case.tickets for run in ticket.runs))
    runs = [run.result for ticket in case.tickets for run in ticket.runs]
    highest, lowest = max(map(value, runs)), min(map(value, runs))
    scale, prefix = prefix_of(highest)
    is_log = lowest > 0 and highest > 8 * lowest
    series = []
    for number, storage in enumerate(storages):
        marks = tuple(
            Mark(
                100 * run.workload.freeze_ratio,
                value(run) / scale,
                f"{format_label(storage)}, {percent(run.workload.freeze_ratio)} frozen\n"
                f"{title}: {quantity(value(run), unit)}",
            )
            for run in runs
            if run.storage == storage
        )
        series.append(Series(format_label(storage), _format_colour(number), marks, joined=True))
    suffix = ", logarithmic" if is_log else ""
    y_axis = Axis(f"{title} ({prefix}{unit}){suffix}", log=is_log)
    finding = f"{title.capitalize()} over the freezing ratio{_change(case, value)}"
    return Chart(finding, PointPicture(finding, _freezing_axis(), y_axis, series, height=270))


def _change(case: Case, value: Callable[[RunResult], float]) -> str:
    """Return by how much a figure of the format in question changes from the least frozen ticket to the most frozen."""
    first, last = (case.tickets[index].main.result for index in (0, -1))
    before, after = value(first), value(last)
    ends = f"{percent(last.workload.freeze_ratio)} frozen"
    if not before or abs(after / before - 1) < 0.005:
        return f": {format_label(last.storage)} stays the same up to {ends}"
    word = "less" if after < before else "more"
    return f": {format_label(last.storage)} takes {percent(abs(after / before - 1))} {word} at {ends}"


def _accuracy_chart(case: Case) -> Chart | None:
    works = [ticket.main.result.workload for ticket in case.tickets]
    marks = tuple(
        Mark(
            100 * work.freeze_ratio,
            100 * work.accuracy,
            f"{work.path}\n{percent(work.freeze_ratio)} frozen\naccuracy {percent(work.accuracy)} on {work.dataset}",
        )
        for work in works
        if work.accuracy is not None
    )
    if not marks:
        return None
    low = max(0.0, 5 * int(min(mark.y for mark in marks) / 5) - 5.0)
    y_axis = Axis(f"accuracy (%), axis from {low:g}", low=low, high=100.0)
    best = max((work for work in works if work.accuracy is not None), key=lambda work: work.accuracy or 0.0)
    last = next(work for work in reversed(works) if work.accuracy is not None)
    title = f"Accuracy of the tickets: {percent(best.accuracy or 0.0)} at best, {percent(last.accuracy or 0.0)} at "
    title += f"{percent(last.freeze_ratio)} frozen"
    picture = PointPicture(
        title, _freezing_axis(), y_axis, [Series("ticket as stored", 2, marks, joined=True)], height=270
    )
    return Chart(title, picture)


def _freezing_axis() -> Axis:
    return Axis("frozen (% of all weights)", low=0.0, high=100.0)


def _pareto(title: str, designs: Sequence[tuple[Case, PageRun]], across: _Across) -> Chart:
    results = [run.result for _, run in designs]
    energies = [result.totals.energy_j for result in results]
    scale, prefix = prefix_of(max(energies))
    other = [across.value(result) for result in results]
    other_scale, other_prefix = prefix_of(max(other)) if across.unit else (1.0, "")
    front = set(pareto_front(np.array([energies, other], dtype=np.float64).T))
    # Marks tell chips apart; of a single chip, formats.
    names = [case.chip for case, _ in designs]
    if len(set(names)) == 1:
        names = [format_label(result.storage) for result in results]
    series = []
    for number, name in enumerate(dict.fromkeys(names)):
        marks = tuple(
            Mark(
                other[index] / other_scale,
                energies[index] / scale,
                _design_tip(case.chip, results[index]),
                strong=index in front,
            )
            for index, (case, _) in enumerate(designs)
            if names[index] == name
        )
        series.append(Series(name, _format_colour(number), marks))
    ordered = sorted(front, key=lambda index: (other[index], energies[index]))
    line = tuple(Mark(other[index] / other_scale, energies[index] / scale, "") for index in ordered)
    unit = f" ({other_prefix}{across.unit})" if across.unit else ""
    x_title = f"{across.name}{unit}{', logarithmic' if across.log else ''}"
    title = f"{title}: {len(front)} of {len(designs)} designs are on the front"
    picture = PointPicture(
        title,
        Axis(x_title, log=across.log),
        Axis(f"energy ({prefix}J), logarithmic", log=True),
        [*series, Series("", 9, line, joined=True, plain=True)],
        height=330,
    )
    return Chart(title, picture, "Filled: on the front, nothing is better in both. Hollow: beaten by another design.")


def _design_tip(chip: str, result: RunResult) -> str:
    totals, work = result.totals, result.workload
    lines = [
        f"{printable(chip)}, {format_label(result.storage)}, {percent(work.freeze_ratio)} frozen",
        f"energy {quantity(totals.energy_j, 'J')}, latency {quantity(totals.latency_s, 's')}",
        f"area {significant(totals.area_mm2)} mm2, stored {quantity(stored_bits(totals) / 8, 'B')}, "
        f"traffic {quantity(traffic_bytes(totals), 'B')}",
    ]
    accuracy = own_accuracy(result)
    if accuracy is not None:
        lines.append(f"accuracy {percent(accuracy)}")
    return "\n".join(lines)


def _format_colour(number: int) -> int:
    return number % NUM_COLOURS


def _seconds_per_cycle(ticket: TicketRuns) -> float:
    return 1e-6 / ticket.main.result.hardware.clock_mhz


def _share(part: float, whole: float) -> str:
    return percent(part / whole) if whole else "-"
