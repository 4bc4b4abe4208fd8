"""A report as one self-contained HTML page: no network, light and dark, for screens, phones and paper."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

import accelsim
from accelsim.report.page_charts import (
    Chart,
    freezing_charts,
    layer_charts,
    overview_charts,
    pareto_charts,
    roofline_chart,
)
from accelsim.report.page_cores import core_tables
from accelsim.report.page_designs import Study, StudyView, study_view
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
from accelsim.report.page_words import Card, answer, card, headline, overall
from accelsim.report.text import printable

ASSUMPTIONS = (
    "Pruned rivals keep the ticket's mask; that they reach its accuracy is an assumption. Accuracy is that of the "
    "ticket as stored; a dense network of the same shape has its own.",
    "Break-even points move one quantity (DRAM energy per bit, freezing ratio) and keep all else as it was run. The "
    "DRAM energy is that of a bit that moves; standby, power-down and refresh are spent by time.",
    "Time is cycle-approximate: cycles inside a tile follow closed forms, and only tiles meet in time. Bands cover the "
    "cost constants, not the times.",
    "Area and energy of generator and decoder are gate counts times a per-gate constant: no netlist, no placement.",
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
    """Everything a report says, whatever the format it is written in."""

    title: str
    version: str
    overall: tuple[str, ...]
    cases: tuple[CaseView, ...]
    answers: PageTable
    pareto: tuple[Chart, ...]
    studies: tuple[StudyView, ...]
    cores: tuple[PageTable, ...]
    verdict: tuple[VerdictPart, ...]
    validation: PageTable
    constants: PageTable
    chips: tuple[PageTable, ...]
    assumptions: tuple[str, ...]


def build_page(
    runs: Sequence[PageRun],
    title: str | None = None,
    studies: Sequence[Study] = (),
    beside: Sequence[PageTable] = (),
) -> Page:
    """Return the report of ``runs``, ``studies`` and networks ``beside`` each other; the title names what it is about.

    It can be given instead.
    """
    cases = cases_of(runs)
    networks = ", ".join(dict.fromkeys(printable(case.network) for case in cases))
    chips = ", ".join(dict.fromkeys(printable(case.chip) for case in cases))
    first = {case.chip: case for case in cases}
    subject = (
        f"{networks} on {chips}"
        if cases
        else ", ".join([*(study.name for study in studies), *(table.title for table in beside)])
    )
    return Page(
        title=printable(title or subject, 120),
        version=accelsim.__version__,
        overall=tuple(overall(cases)),
        cases=tuple(_case_view(number, case) for number, case in enumerate(cases)),
        answers=answer_table(cases),
        pareto=tuple(pareto_charts(cases)),
        studies=tuple(study_view(study) for study in studies),
        cores=(*core_tables(cases), *beside),
        verdict=tuple(shipped().verdict),
        validation=agreement_table(shipped().agreement),
        constants=constants_table(cases),
        chips=tuple(table for table in map(chip_table, first.values()) if table is not None),
        assumptions=ASSUMPTIONS,
    )


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
    template = environment.get_template(name)
    text = template.render(page=page, style=_static("report.css"), script=_static("report.js"))
    return text.lstrip()


def _case_view(number: int, case: Case) -> CaseView:
    detailed = [run for run in case.focus.runs if run.result.layers]
    return CaseView(
        anchor=f"case-{number + 1}",
        name=f"{printable(case.network)} on {printable(case.chip)}",
        headline=headline(case),
        card=card(case),
        sentences=tuple(answer(case)),
        overview=tuple(overview_charts(case.focus)),
        freezing=tuple(freezing_charts(case)),
        layers=tuple(
            LayerView(printable(run.result.storage), tuple(layer_charts(run)), layers_table(run)) for run in detailed
        ),
        roofline=roofline_chart(case.focus),
        runs=runs_table(case),
    )


def _static(name: str) -> Markup:
    return Markup((resources.files("accelsim.report") / "templates" / name).read_text(encoding="utf-8"))
