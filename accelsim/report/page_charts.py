"""The charts of a report, each from results alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from accelsim.report.page_runs import Case, PageRun, TicketRuns
from accelsim.report.page_svg import NUM_COLOURS, Axis, BarRow, Mark, Segment, Series, bar_chart, xy_chart
from accelsim.report.roofline import roofline_points, roofs_of
from accelsim.report.text import percent, prefix_of, printable, quantity, significant
from accelsim.results.compare import stored_bits, traffic_bytes, weight_bytes
from accelsim.results.model import CyclesByCause, DramBytesRecord, EnergyByUnit, Record, RunResult

_CAUSE_COLOURS = dict(zip(CyclesByCause.model_fields, (0, 5, 8, 6, 3, 4, 9), strict=True))
_CLASS_COLOURS = dict(zip(DramBytesRecord.model_fields, (0, 6, 4, 1, 3, 5, 2, 8), strict=True))
_UNIT_COLOURS = dict(zip(EnergyByUnit.model_fields, (8, 5, 1, 0, 4, 6, 3, 2, 7, 10, 9), strict=True))


@dataclass(frozen=True, slots=True)
class Chart:
    """A figure of the page: its title, the SVG, and what to know when reading it."""

    title: str
    svg: str
    note: str = ""


def overview_charts(ticket: TicketRuns) -> list[Chart]:
    """Return energy by unit, time by cause, memory traffic by class and area by unit: a bar per format."""
    totals = {run.result.storage: run.result.totals for run in ticket.runs}
    charts = [
        _energy_chart(ticket),
        _record_chart(
            "time by cause", totals, "cycles_by_cause", _CAUSE_COLOURS, _Unit("s", _seconds_per_cycle(ticket))
        ),
        _record_chart("memory traffic by class", totals, "dram_bytes", _CLASS_COLOURS, _Unit("B", 1.0)),
    ]
    return [*charts, _area_chart(ticket)]


def layer_charts(run: PageRun) -> list[Chart]:
    """Return memory traffic by class and time by cause: a bar per layer."""
    result = run.result
    records = {layer.name: layer for layer in result.layers}
    per_cycle = 1e-6 / result.hardware.clock_mhz
    return [
        _record_chart("memory traffic per layer", records, "dram_bytes", _CLASS_COLOURS, _Unit("B", 1.0)),
        _record_chart("time per layer", records, "cycles_by_cause", _CAUSE_COLOURS, _Unit("s", per_cycle)),
    ]


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
                f"{point.layer}, {run.result.storage}\n{significant(point.macs_per_byte)} MACs per byte\n"
                f"{significant(point.macs_per_s / 1e9)} GMAC/s, {percent(point.fraction_of_roof)} of the roof",
            )
            for point in points
        )
        if marks:
            series.append(Series(run.result.storage, _format_colour(number), marks))
    lowest = min((mark.x for each in series for mark in each.marks), default=1.0) / 2
    highest = max((mark.x for each in series for mark in each.marks), default=1.0) * 2
    corners = sorted({lowest, min(max(lowest, roofs.ridge_macs_per_byte), highest), highest})
    line = tuple(Mark(x, roofs.limit_macs_per_s(x) / 1e9, "") for x in corners)
    roof = Series("", 9, line, joined=True, plain=True)
    svg = xy_chart(
        "roofline",
        Axis("multiply-accumulates per byte of memory traffic, logarithmic", log=True, low=lowest, high=highest),
        Axis("GMAC/s, logarithmic", log=True, high=roofs.macs_per_s / 1e9 * 2),
        [*series, roof],
        height=340,
    )
    note = (
        f"Roofs: {significant(roofs.macs_per_s / 1e9)} GMAC/s of the array; the memory's "
        + (f"{significant(roofs.bytes_per_s / 1e9)} GB/s. " if roofs.bytes_per_s else "bandwidth is unbounded here. ")
        + "A layer whose weights were fetched while the layer before computed can lie above the memory's roof, and "
        "one that skips zeros above the array's."
    )
    return Chart("roofline: every layer and format", svg, note)


def pareto_charts(cases: Sequence[Case]) -> list[Chart]:
    """Return, for each network, energy over latency of all its designs, and accuracy over energy where it differs."""
    charts = []
    for network in dict.fromkeys(case.network for case in cases):
        designs = [
            (case, run) for case in cases if case.network == network for each in case.tickets for run in each.runs
        ]
        if len(designs) < 3:
            continue
        charts.append(_pareto(f"{printable(network)}: energy and latency", designs, accuracy=False))
        measured = [(case, run) for case, run in designs if _is_tickets_own(run)]
        if len({run.result.workload.accuracy for _, run in measured}) > 1:
            charts.append(_pareto(f"{printable(network)}: energy and accuracy of the tickets", measured, accuracy=True))
    return charts


@dataclass(frozen=True, slots=True)
class _Unit:
    name: str
    factor: float


def _energy_chart(ticket: TicketRuns) -> Chart:
    rows = []
    for run in ticket.runs:
        totals, storage = run.result.totals, printable(run.result.storage)
        values = {name: float(getattr(totals.energy_j_by_unit, name)) for name in EnergyByUnit.model_fields}
        segments = tuple(
            Segment(
                value,
                _UNIT_COLOURS[name],
                f"{storage}\n{name}: {quantity(value, 'J')}, {_share(value, totals.energy_j)}",
            )
            for name, value in values.items()
            if value
        )
        band = ticket.format_bands(run.result.storage)
        low, high = (band.energy_j.p05, band.energy_j.p95) if band else (None, None)
        rows.append(BarRow(storage, segments, quantity(totals.energy_j, "J"), low, high))
    used = {segment.colour for row in rows for segment in row.segments}
    key = [(name, colour) for name, colour in _UNIT_COLOURS.items() if colour in used]
    note = "Whiskers: 5 to 95 % of the draws of every constant within its range." if ticket.bands else ""
    return Chart("energy by unit", bar_chart("energy by unit", rows, "J", key), note)


def _area_chart(ticket: TicketRuns) -> Chart:
    units = sorted({unit for run in ticket.runs for unit in run.result.totals.area_mm2_by_unit})
    spare = [index for index in range(NUM_COLOURS) if index not in {_UNIT_COLOURS.get(unit) for unit in units}]
    colours = {
        unit: _UNIT_COLOURS.get(unit, spare[index % len(spare)] if spare else 0) for index, unit in enumerate(units)
    }
    rows = []
    for run in ticket.runs:
        totals, storage = run.result.totals, printable(run.result.storage)
        segments = tuple(
            Segment(
                value,
                colours[unit],
                f"{storage}\n{unit}: {significant(value)} mm2, {_share(value, totals.area_mm2)}",
            )
            for unit, value in sorted(totals.area_mm2_by_unit.items())
            if value
        )
        rows.append(BarRow(storage, segments, f"{significant(totals.area_mm2)} mm2"))
    svg = bar_chart("chip area by unit", rows, "mm2", list(colours.items()))
    return Chart("chip area by unit", svg, "Each format with the units and the arithmetic that it needs.")


def _record_chart(title: str, records: Mapping[str, Record], field: str, colours: dict[str, int], unit: _Unit) -> Chart:
    rows = []
    used: set[str] = set()
    for label, record in records.items():
        values = {name: float(getattr(getattr(record, field), name)) * unit.factor for name in colours}
        total = sum(values.values())
        used.update(name for name, value in values.items() if value)
        segments = tuple(
            Segment(value, colours[name], f"{label}\n{name}: {quantity(value, unit.name)}, {_share(value, total)}")
            for name, value in values.items()
            if value
        )
        rows.append(BarRow(printable(label), segments, quantity(total, unit.name)))
    key = [(name, colour) for name, colour in colours.items() if name in used]
    return Chart(title, bar_chart(title, rows, unit.name, key))


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
                f"{storage}, {percent(run.workload.freeze_ratio)} frozen\n{title}: {quantity(value(run), unit)}",
            )
            for run in runs
            if run.storage == storage
        )
        series.append(Series(storage, _format_colour(number), marks, joined=True))
    suffix = ", logarithmic" if is_log else ""
    y_axis = Axis(f"{title} ({prefix}{unit}){suffix}", log=is_log)
    svg = xy_chart(f"{title} over the freezing ratio", _freezing_axis(), y_axis, series, height=270)
    return Chart(f"{title} over the freezing ratio", svg)


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
    title = "accuracy of the tickets over the freezing ratio"
    svg = xy_chart(title, _freezing_axis(), y_axis, [Series("ticket as stored", 2, marks, joined=True)], height=270)
    return Chart(title, svg)


def _freezing_axis() -> Axis:
    return Axis("frozen (% of all weights)", low=0.0, high=100.0)


def _pareto(title: str, designs: Sequence[tuple[Case, PageRun]], *, accuracy: bool) -> Chart:
    results = [run.result for _, run in designs]
    energies = [result.totals.energy_j for result in results]
    scale, prefix = prefix_of(max(energies))
    other = [
        100 * (1 - (result.workload.accuracy or 0.0)) if accuracy else result.totals.latency_s for result in results
    ]
    time_scale, time_prefix = (1.0, "") if accuracy else prefix_of(max(other))
    front = pareto_front(list(zip(energies, other, strict=True)))
    chips = list(dict.fromkeys(case.chip for case, _ in designs))
    series = []
    for number, chip in enumerate(chips):
        marks = tuple(
            Mark(
                other[index] / time_scale,
                energies[index] / scale,
                _design_tip(chip, results[index]),
                strong=index in front,
            )
            for index, (case, _) in enumerate(designs)
            if case.chip == chip
        )
        series.append(Series(chip, _format_colour(number), marks))
    ordered = sorted(front, key=lambda index: (other[index], energies[index]))
    line = tuple(Mark(other[index] / time_scale, energies[index] / scale, "") for index in ordered)
    x_title = "wrong answers (%)" if accuracy else f"latency ({time_prefix}s), logarithmic"
    svg = xy_chart(
        title,
        Axis(x_title) if accuracy else Axis(x_title, log=True),
        Axis(f"energy ({prefix}J), logarithmic", log=True),
        [*series, Series("", 9, line, joined=True, plain=True)],
        height=330,
    )
    return Chart(title, svg, "Filled: on the front, nothing is better in both. Hollow: beaten by another design.")


def pareto_front(points: Sequence[tuple[float, float]]) -> set[int]:
    """Return the numbers of the points that no other beats: as small in both figures and smaller in one."""
    front: set[int] = set()
    lowest = float("inf")
    last: tuple[float, float] | None = None
    for index in sorted(range(len(points)), key=lambda number: points[number]):
        if points[index][1] < lowest or points[index] == last:
            front.add(index)
            lowest, last = points[index][1], points[index]
    return front


def _design_tip(chip: str, result: RunResult) -> str:
    totals, work = result.totals, result.workload
    lines = [
        f"{printable(chip)}, {printable(result.storage)}, {percent(work.freeze_ratio)} frozen",
        f"energy {quantity(totals.energy_j, 'J')}, latency {quantity(totals.latency_s, 's')}",
        f"area {significant(totals.area_mm2)} mm2, stored {quantity(stored_bits(totals) / 8, 'B')}, "
        f"traffic {quantity(traffic_bytes(totals), 'B')}",
    ]
    if work.accuracy is not None and _is_tickets_own_format(result):
        lines.append(f"accuracy {percent(work.accuracy)}")
    return "\n".join(lines)


def _is_tickets_own(run: PageRun) -> bool:
    return run.result.workload.accuracy is not None and _is_tickets_own_format(run.result)


def _is_tickets_own_format(result: RunResult) -> bool:
    return result.storage == "slt" or result.storage.startswith("slt-")


def _format_colour(number: int) -> int:
    return number % NUM_COLOURS


def _seconds_per_cycle(ticket: TicketRuns) -> float:
    return 1e-6 / ticket.main.result.hardware.clock_mhz


def _share(part: float, whole: float) -> str:
    return percent(part / whole) if whole else "-"
