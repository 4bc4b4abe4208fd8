"""What `accelsim.run` returns: a result that shows itself in a notebook, as tables and as figures."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Literal, get_args

from pydantic import PrivateAttr

from accelsim.cost.uncertainty import UncertaintyReport
from accelsim.errors import ConfigError
from accelsim.report.page_runs import TicketRuns
from accelsim.report.text import printable, quantity, ratio, significant
from accelsim.results.compare import traffic_bytes, weight_bytes
from accelsim.results.model import CyclesByCause, DramBytesRecord, EnergyByUnit, LayerRecord, Record, RunResult, Totals

if TYPE_CHECKING:
    import pandas

    from accelsim.report.plots import Plots

FrameKind = Literal["layers", "energy", "traffic", "formats"]
_BAR_PIXELS = 120
_CELL = 'style="text-align:right"'


class Run(RunResult):
    """A result with what it was made from: the figures, tables and bands of a run.

    All fields are those of `accelsim.results.model.RunResult`; equal fields make equal runs.
    """

    _ticket: TicketRuns = PrivateAttr()

    @classmethod
    def of(cls, ticket: TicketRuns) -> Run:
        """Return the run of ``ticket`` with its rivals as the comparison."""
        rivals = {rival.result.storage: rival.result.totals for rival in ticket.rivals}
        fields = dict(ticket.main.result) | {"comparison": rivals or None}
        run = cls.model_construct(**fields)
        run._ticket = ticket
        return run

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RunResult) and dict(self) == dict(other)

    __hash__ = None  # type: ignore[assignment]  # results hold dictionaries

    @property
    def plot(self) -> Plots:
        """Return the figures, such as ``run.plot.energy()``."""
        from accelsim.report.plots import Plots  # noqa: PLC0415  a run must not wait for matplotlib

        return Plots(self._ticket)

    @property
    def uncertainty(self) -> UncertaintyReport | None:
        """Return how sure the energies are; None unless ``run`` was asked for it."""
        return self._ticket.bands

    @property
    def rivals(self) -> dict[str, RunResult]:
        """Return the runs to compare with, by storage format, with their layers."""
        return {rival.result.storage: rival.result for rival in self._ticket.rivals}

    def to_frame(self, what: FrameKind = "layers") -> pandas.DataFrame:
        """Return a table as a pandas frame; units are at the end of names, or as said here.

        Parameters
        ----------
        what
            ``layers``: a row per layer with kind, shape, cycles by cause and the main figures. ``energy``: joules by
            unit, ``traffic``: memory bytes by class, a row per layer. ``formats``: the main totals, a row per format.

        Raises
        ------
        ConfigError
            Another name.
        """
        import pandas  # noqa: PLC0415  a run must not wait for pandas

        if what not in get_args(FrameKind):
            raise ConfigError(f"to_frame: {what!r} is not allowed; give one of {', '.join(get_args(FrameKind))}")
        if what == "formats":
            totals = self._totals()
            rows = [_figures(record) | _whole_run(record) for record in totals.values()]
            return pandas.DataFrame(rows, index=pandas.Index(list(totals), name="storage"))
        rows = [_LAYER_ROWS[what](layer) for layer in self.layers]
        return pandas.DataFrame(rows, index=pandas.Index([layer.name for layer in self.layers], name="layer"))

    def _totals(self) -> dict[str, Totals]:
        return {self.storage: self.totals, **(self.comparison or {})}

    def __repr__(self) -> str:
        totals = self.totals
        return (
            f"<{printable(self.workload.name, 30)} on {printable(self.hardware.name, 30)} as "
            f"{printable(self.storage, 30)}: {quantity(totals.latency_s, 's')}, {quantity(totals.energy_j, 'J')}, "
            f"{significant(totals.tops_per_w)} TOPS/W>"
        )

    __str__ = __repr__

    def _repr_html_(self) -> str:
        """Return a small table, a row per format with a bar for its energy."""
        totals = self._totals()
        most = max(record.energy_j for record in totals.values()) or 1.0
        head = "".join(f"<th>{title}</th>" for title in ("format", "energy", "", "latency", "weights read", "area"))
        rows = "".join(
            _html_row(storage, record, record.energy_j / most, ratio(record.energy_j, self.totals.energy_j))
            for storage, record in totals.items()
        )
        name = f"{printable(self.workload.name, 60)} on {printable(self.hardware.name, 60)}"
        return f"<table><caption>{escape(name)}</caption><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


def _html_row(storage: str, record: Totals, share: float, against: str) -> str:
    bar = f'<div style="width:{_BAR_PIXELS * share:.0f}px;height:0.8em;background:#1565c0"></div>'
    energy = quantity(record.energy_j, "J") + ("" if against == "1.00x" else f" ({against})")
    cells = (
        quantity(record.latency_s, "s"),
        quantity(weight_bytes(record), "B"),
        f"{significant(record.area_mm2)} mm2",
    )
    rest = "".join(f"<td {_CELL}>{cell}</td>" for cell in cells)
    return f"<tr><td>{escape(printable(storage))}</td><td {_CELL}>{energy}</td><td>{bar}</td>{rest}</tr>"


def _figures(record: Record) -> dict[str, object]:
    return {
        "latency_cycles": record.latency_cycles,
        "latency_s": record.latency_s,
        "energy_j": record.energy_j,
        "macs": record.macs,
        "effective_macs": record.effective_macs,
        "pe_utilization": record.pe_utilization,
        "weight_bytes": weight_bytes(record),
        "dram_bytes": traffic_bytes(record),
    }


def _whole_run(record: Totals) -> dict[str, object]:
    return {"tops": record.tops, "tops_per_w": record.tops_per_w, "edp_js": record.edp_js, "area_mm2": record.area_mm2}


def _layer_row(layer: LayerRecord) -> dict[str, object]:
    causes = {f"{name}_cycles": getattr(layer.cycles_by_cause, name) for name in CyclesByCause.model_fields}
    return {"kind": layer.kind, "shape": layer.shape, **_figures(layer), **causes}


def _energy_row(layer: LayerRecord) -> dict[str, object]:
    return {name: getattr(layer.energy_j_by_unit, name) for name in EnergyByUnit.model_fields}


def _traffic_row(layer: LayerRecord) -> dict[str, object]:
    return {name: getattr(layer.dram_bytes, name) for name in DramBytesRecord.model_fields}


_LAYER_ROWS = {"layers": _layer_row, "energy": _energy_row, "traffic": _traffic_row}
