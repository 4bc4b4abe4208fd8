"""A report as one self-contained HTML page: no network, light and dark, for screens, phones and paper."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from importlib import resources

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

import accelsim
from accelsim.report.labels import format_label
from accelsim.report.page_card import Card, card
from accelsim.report.page_charts import (
    Chart,
    freezing_charts,
    hero_chart,
    layer_charts,
    overview_charts,
    pareto_charts,
    roofline_chart,
)
from accelsim.report.page_cores import TenantsView, core_tables
from accelsim.report.page_designs import StudyView, study_view
from accelsim.report.page_runs import Case, PageRun, cases_of
from accelsim.report.page_tables import (
    PageTable,
    answer_table,
    chip_table,
    constants_table,
    layers_table,
    runs_table,
)
from accelsim.report.page_validation import VerdictPart, agreement_table, shipped
from accelsim.report.page_words import answer, case_name, headline, lead, overall, question
from accelsim.report.studies import Study
from accelsim.report.text import printable, unbroken

_OF_RIVALS = (
    "Pruned rivals keep the ticket's mask; that they reach its accuracy is an assumption. Accuracy is that of the "
    "ticket as stored; a dense network of the same shape has its own.",
)
_OF_BREAK_EVEN = (
    "Break-even points move one quantity (DRAM energy per bit, freezing ratio) and keep all else as it was run. The "
    "DRAM energy is that of a bit that moves; standby, power-down and refresh are spent by time.",
)
_OF_ALL = (
    "Time is cycle-approximate: cycles inside a tile follow closed forms, and only tiles meet in time. Bands cover the "
    "cost constants, not the times.",
    "Generator and decoder have the gates of their RTL, synthesised with open cell libraries, without layout.",
    "Control software, host, caches and several chips are not modelled.",
)


@dataclass(frozen=True, slots=True)
class LayerView:
    """One run, layer by layer."""

    label: str
    charts: tuple[Chart, ...]
    table: PageTable


@dataclass(frozen=True, slots=True)
class CaseView:
    """A network on a chip, as the page shows it."""

    anchor: str
    name: str
    headline: str
    card: Card
    sentences: tuple[str, ...]
    overview: tuple[Chart, ...]
    freezing: tuple[Chart, ...]
    layers: tuple[LayerView, ...]
    roofline: Chart | None
    runs: PageTable


@dataclass(frozen=True, slots=True)
class Page:
    """Everything a report says, whatever the format it is written in.

    Its title is a question, ``lead`` the answer in one sentence, and ``hero`` the one figure beside it.
    """

    title: str
    version: str
    lead: str
    hero: Chart | None
    overall: tuple[str, ...]
    cases: tuple[CaseView, ...]
    answers: PageTable
    pareto: tuple[Chart, ...]
    studies: tuple[StudyView, ...]
    cores: tuple[PageTable, ...]
    tenants: tuple[TenantsView, ...]
    verdict: tuple[VerdictPart, ...]
    validation: PageTable
    constants: PageTable
    chips: tuple[PageTable, ...]
    assumptions: tuple[str, ...]


def build_page(
    runs: Sequence[PageRun],
    title: str | None = None,
    studies: Sequence[Study] = (),
    tenants: Sequence[TenantsView] = (),
) -> Page:
    """Return the report of ``runs``, ``studies`` and ``tenants``, networks beside each other; there is one of these.

    The title is its question unless given.
    """
    cases = cases_of(runs)
    first = {case.chip: case for case in cases}
    views = [study_view(study) for study in studies]
    said: set[str] = set()
    asked, answered, hero = _opening(cases, views, tenants)
    return Page(
        title=printable(title or asked, 160),
        version=accelsim.__version__,
        lead=answered,
        hero=next(iter(once(filter(None, [hero]), said)), None),
        overall=tuple(overall(cases)[1:]),
        cases=tuple(_case_view(number, case, said) for number, case in enumerate(cases)),
        answers=answer_table(cases),
        pareto=once(pareto_charts(cases), said),
        studies=tuple(views),
        cores=(*core_tables(cases), *(each.table for each in tenants)),
        tenants=tuple(tenants),
        verdict=tuple(shipped().verdict),
        validation=agreement_table(shipped().agreement),
        constants=constants_table(cases),
        chips=tuple(table for table in map(chip_table, first.values()) if table is not None),
        assumptions=_assumptions(cases, views),
    )


def _opening(
    cases: Sequence[Case], views: Sequence[StudyView], tenants: Sequence[TenantsView]
) -> tuple[str, str, Chart | None]:
    """Return question, answer and figure of the first screen: of the cases, else of the first study or networks."""
    if cases:
        return question(cases), lead(cases), hero_chart(cases)
    if views:
        return views[0].question, views[0].lead, views[0].charts[0]
    if tenants:
        return tenants[0].question, tenants[0].lead, tenants[0].chart
    return "What was run?", "", None


def _assumptions(cases: Sequence[Case], views: Sequence[StudyView]) -> tuple[str, ...]:
    """Return what the page takes for granted; of rivals and of break-even points only where it shows some."""
    are_rivals = any(case.focus.rivals for case in cases)
    of_rivals = _OF_RIVALS if are_rivals or any(view.has_duels for view in views) else ()
    return (*of_rivals, *(_OF_BREAK_EVEN if are_rivals else ()), *_OF_ALL)


def page_html(page: Page) -> str:
    """Return the page; equal results give equal bytes."""
    return render("report.html.j2", page)


def render(name: str, page: object) -> str:
    """Return a page made from the template ``name``, which extends ``page.html.j2`` and reads ``page``."""
    environment = Environment(
        loader=PackageLoader("accelsim.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    # The charts escaped their texts when they were drawn.
    environment.filters["svg"] = Markup
    environment.filters["unbroken"] = unbroken
    template = environment.get_template(name)
    text = template.render(page=page, style=_static("report.css"), script=_static("report.js"))
    return text.lstrip()


def once(charts: Iterable[Chart], said: set[str]) -> tuple[Chart, ...]:
    """Return charts without the notes that are ``said`` already, and add theirs to them."""
    kept = []
    for chart in charts:
        kept.append(replace(chart, note="" if chart.note in said else chart.note))
        said.add(chart.note)
    return tuple(kept)


def _case_view(number: int, case: Case, said: set[str]) -> CaseView:
    detailed = [run for run in case.focus.runs if run.result.layers]
    return CaseView(
        anchor=f"case-{number + 1}",
        name=case_name(case),
        headline=headline(case),
        card=card(case),
        sentences=tuple(answer(case)),
        overview=once(overview_charts(case.focus), said),
        freezing=tuple(freezing_charts(case)),
        layers=tuple(
            LayerView(format_label(run.result.storage), tuple(layer_charts(run)), layers_table(run)) for run in detailed
        ),
        roofline=next(iter(once(filter(None, [roofline_chart(case.focus)]), said)), None),
        runs=runs_table(case),
    )


def _static(name: str) -> Markup:
    return Markup((resources.files("accelsim.report") / "templates" / name).read_text(encoding="utf-8"))
