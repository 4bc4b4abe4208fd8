"""Options of ``run`` that say how it is simulated, beside what, and what is drawn of it, as one argument."""

from __future__ import annotations

from dataclasses import dataclass

import click

from accelsim.cli.collect import EXACT_ROW, MAPPING_ROW, UNCERTAINTY_ROW, F, OptionRow, collecting
from accelsim.cli.names import complete_chip, complete_variable
from accelsim.report.pictures import Pictures
from accelsim.trace import TraceOptions

CHIP_ROW = OptionRow(
    "--chip", click.STRING, "Another chip, beside HARDWARE; repeatable.", True, "CHIP", completer=complete_chip
)


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What the user asked of a run besides chip, network and storage; see the options of the same names.

    Attributes
    ----------
    tenants, vary, chip
        Several networks at once, or several runs in one table.
    timeline, gantt, gantt_layer, dram_trace
        Files to write of one run, and the layer of the chart.
    mapping
        File of stated tilings.
    uncertainty, exact
        Bands of the energies; every tile simulated.
    """

    tenants: bool = False
    vary: tuple[str, ...] = ()
    chip: tuple[str, ...] = ()
    timeline: str | None = None
    gantt: str | None = None
    gantt_layer: str | None = None
    dram_trace: str | None = None
    mapping: str | None = None
    uncertainty: bool = False
    exact: bool = False

    @property
    def pictures(self) -> Pictures:
        """Return which pictures are wanted."""
        return Pictures(self.timeline, self.gantt, self.gantt_layer)

    @property
    def is_what_if(self) -> bool:
        """Return whether several runs are wanted in one table."""
        return bool(self.vary or self.chip)

    @property
    def of_one_run(self) -> list[str]:
        """Return the options given that belong to one run of one network."""
        given = {
            "--timeline": self.timeline,
            "--gantt": self.gantt,
            "--dram-trace": self.dram_trace,
            "--mapping": self.mapping,
            "--exact": self.exact,
            "--uncertainty": self.uncertainty,
        }
        return [option for option, value in given.items() if value]


_ROWS = (
    OptionRow(
        "--tenants",
        click.BOOL,
        "Run several WORKLOADs at once, each on its share of the chip's cores (sets mapping.schedule=tenants).",
    ),
    OptionRow(
        "--vary",
        click.STRING,
        "Values of a field of the chip, or of batch, storage, sparsity and so on as in a sweep: a table with a row for "
        "each; repeatable, for all combinations.",
        is_repeated=True,
        metavar="PATH=VALUE,...",
        completer=complete_variable,
    ),
    CHIP_ROW,
    OptionRow(
        "--timeline",
        click.STRING,
        "Write a timeline of all units there (JSON for ui.perfetto.dev).",
        metavar="FILE",
    ),
    OptionRow("--gantt", click.STRING, "Draw the tiles of one layer there (SVG).", metavar="FILE"),
    OptionRow("--gantt-layer", click.STRING, "Layer of --gantt [default: the slowest].", metavar="NAME"),
    OptionRow(
        "--dram-trace",
        click.STRING,
        "Write the run's memory requests there, as accelsim dram --requests reads them.",
        metavar="FILE",
    ),
    MAPPING_ROW,
    UNCERTAINTY_ROW,
    EXACT_ROW,
)


@dataclass(frozen=True, slots=True)
class RunRequest:
    """What ``accelsim run`` was asked: the words of the command line, checked as far as each can be alone.

    Attributes
    ----------
    storage, storage_of, rivals
        The format, None for the workload's own; layers stored otherwise; formats to compare with, None: not stated.
    overrides
        Values of ``--set``.
    folder, as_json
        Where results go, and whether they are printed as JSON.
    how, stated
        How it is simulated; what the workload is like.
    """

    hardware: str
    workloads: tuple[str, ...]
    storage: str | None
    storage_of: tuple[str, ...]
    rivals: tuple[str, ...] | None
    overrides: tuple[str, ...]
    folder: str | None
    as_json: bool
    how: RunOptions
    stated: TraceOptions


def run_options(function: F) -> F:
    """Add the options: the argument ``how``, `RunOptions`."""
    return collecting("how", *_ROWS, make=lambda _, given: RunOptions(**given))(function)
