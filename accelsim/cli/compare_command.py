"""``accelsim compare``."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import click
from rich.text import Text

from accelsim import costed, flow
from accelsim.cli.collect import (
    EXACT_ROW,
    STORAGE_OF_ROW,
    batches_option,
    read_workload,
    with_batches,
    workload_options,
)
from accelsim.cli.common import common_options, examples, json_option, progress, session, set_option, write_stdout
from accelsim.cli.names import complete_chip, complete_formats, complete_workload
from accelsim.cli.run_options import CHIP_ROW
from accelsim.config.loader import LoadedHardware, load_hardware
from accelsim.config.presets import CHIPS, find_preset
from accelsim.errors import AccelSimError
from accelsim.report.breakeven import Family, break_even_text, print_break_even
from accelsim.report.figures import freezing_figure
from accelsim.report.page_runs import holds_results, read_results
from accelsim.report.policies import policy_ratios
from accelsim.report.terminal import UNLIMITED_WIDTH, make_console, print_comparison
from accelsim.report.together import closing_of
from accelsim.results.build import Hardware
from accelsim.results.compare import chip_labels, runs_text
from accelsim.results.model import RunResult
from accelsim.results.store import (
    check_folder_place,
    prepare_folder,
    remove_runs,
    result_document,
    sole_writer,
    write_bytes,
    write_text,
)
from accelsim.storage.chip_decoder import STATED
from accelsim.storage.stated import with_layers
from accelsim.trace import TraceOptions
from accelsim.trace.model import LayerTrace

VALUES_RIVAL = "entropy-int8"
TABLE_NAME = "compare.csv"
FIGURE_NAME = "compare.png"
BREAK_EVEN_NAME = "break_even.json"
RUNS_NAME = "runs"
_NOTHING = TraceOptions()


@click.command(
    "compare",
    epilog=examples(
        "accelsim compare hwconfigs/edge.yaml workloads/conv6_slt_f*.pt --storage slt,dense-int8 --out out/conv6",
        "accelsim compare edge resnet_slt --chip eyeriss --storage slt,dense-int8 --out out/chips",
        "accelsim compare edge conv6_slt_f70 --batch 1,8 --out out/batches",
        "accelsim compare out/run1 out/run2 --out out/both",
    ),
)
@click.argument("hardware", shell_complete=complete_chip)
@click.argument("workloads", nargs=-1, metavar="WORKLOAD...", shell_complete=complete_workload)
@click.option(
    "--storage",
    metavar="FORMATS",
    shell_complete=complete_formats,
    help="Formats, by comma, or all. [default: each workload's own, and its rivals]",
)
@STORAGE_OF_ROW.add_to
@CHIP_ROW.add_to
@set_option()
@click.option("--out", "folder", required=True, metavar="DIR", help=f"Write {TABLE_NAME} and {FIGURE_NAME} there.")
@EXACT_ROW.add_to
@workload_options(without=("batch",))
@batches_option
@json_option
@common_options
@click.pass_context
def command(  # noqa: PLR0913  each is an option, or several that belong together
    ctx: click.Context,
    hardware: str,
    workloads: tuple[str, ...],
    *,
    storage: str | None,
    storage_of: tuple[str, ...],
    chip: tuple[str, ...],
    overrides: tuple[str, ...],
    folder: str,
    exact: bool,
    batches: tuple[int, ...],
    stated: TraceOptions,
    as_json: bool,
) -> None:
    """Simulate each WORKLOAD in each storage format on HARDWARE.

    More chips are given by --chip. Writes a folder per run, a CSV file with a row per run, and a figure of energy,
    latency and weight traffic over the freezing ratio, with the accuracy of the tickets beside them.

    In place of HARDWARE and WORKLOAD, folders that run, cost or compare wrote, with this or an earlier version, are
    compared as they are, without simulating. The name of a chip is that chip: a folder called so is ./NAME.
    """
    if find_preset(hardware, CHIPS) is None and holds_results(hardware):
        if storage is not None or storage_of or chip or overrides or exact or batches != (1,) or stated != _NOTHING:
            words = "--storage, --storage-of, --chip, --set, --exact, --batch and what states a workload"
            raise click.UsageError(f"{hardware}: saved runs are compared as they are; leave out {words}", ctx)
        _compare_saved(ctx, (hardware, *workloads), folder, as_json)
        return
    if not workloads:
        raise click.UsageError("Missing argument 'WORKLOAD...'.", ctx)
    wanted = _stated_formats(ctx, storage)
    chips = [load_hardware(name, overrides) for name in dict.fromkeys((hardware, *chip))]
    target = check_folder_place(folder)
    # As many sequences as there are hit the experts that are named.
    first = stated if stated.experts is None else replace(stated, batch=max(batches))
    read = [(workload, read_workload(ctx, workload, first)) for workload in workloads]
    traces = [trace for each in read for trace in with_batches(*each, stated, batches)]
    if target.is_dir():  # an older comparison goes first; a folder that is not there is made when there is a result
        _claim(ctx, target)
    is_named = bool(wanted) and (storage or "").strip() != costed.ALL_FORMATS
    found: list[tuple[LoadedHardware, LayerTrace, costed.CostedRun]] = []
    failures: list[AccelSimError] = []
    for each, trace in progress(list(product(chips, traces)), "simulating", session(ctx)):
        formats = _formats(each, trace, wanted, storage_of)
        runs, left_out = costed.simulate_possible(each, trace, formats, formats if is_named else (), exact)
        found += [(each, trace, run) for run in _with_limits(each, trace, formats[0], runs)]
        failures += [error for _, error in left_out]
        for line in flow.left_out_lines(trace, left_out):
            session(ctx).note(line)
    if not found:
        raise failures[0]
    if not target.is_dir():
        _claim(ctx, prepare_folder(target))
    for number, one in enumerate(found):
        flow.save_run(target / RUNS_NAME, number, *one)
    _show(ctx, _fresh(chips, found), target, as_json)


@dataclass(frozen=True, slots=True)
class _Compared:
    """Runs beside each other, of which of them the values are synthetic, and each ticket's run with its rivals'."""

    results: list[RunResult]
    synthetic: list[bool | None]
    families: tuple[tuple[Hardware, costed.CostedRun, list[costed.CostedRun]], ...]


def _fresh(
    chips: Sequence[LoadedHardware], found: Sequence[tuple[LoadedHardware, LayerTrace, costed.CostedRun]]
) -> _Compared:
    """Return runs that were just made; a ticket's rivals are those on its own chip."""
    families = tuple(
        (chip, ticket, rivals)
        for chip in chips
        for ticket, rivals in flow.by_ticket([run for other, _, run in found if other is chip])
    )
    synthetic: list[bool | None] = [flow.is_synthetic(trace, run.result.storage) for _, trace, run in found]
    return _Compared([run.result for _, _, run in found], synthetic, families)


def _compare_saved(ctx: click.Context, saved: Sequence[str], folder: str, as_json: bool) -> None:
    """Compare the saved runs of some folders, without simulating."""
    compared = _saved(saved)
    target = prepare_folder(folder)
    ctx.with_resource(sole_writer(target))
    if not any(Path(path).resolve().is_relative_to(target.resolve()) for path in saved):
        remove_runs(target / RUNS_NAME, TABLE_NAME, FIGURE_NAME, BREAK_EVEN_NAME)
    _show(ctx, compared, target, as_json)


def _saved(paths: Sequence[str]) -> _Compared:
    """Return saved runs; where no counters are saved beside them they have no break-even points."""
    pages = read_results(paths)
    by_chip: dict[str, list[tuple[Hardware, costed.CostedRun]]] = {}
    for page in pages:
        if page.counters is not None:
            run = costed.CostedRun(page.result, page.counters.counters)
            by_chip.setdefault(page.result.hardware.sha256, []).append((page.counters.hardware, run))
    families = tuple(
        (same[0][0], ticket, rivals)
        for same in by_chip.values()
        for ticket, rivals in flow.by_ticket([run for _, run in same])
    )
    return _Compared([page.result for page in pages], [None] * len(pages), families)


def _show(ctx: click.Context, compared: _Compared, target: Path, as_json: bool) -> None:
    """Write the table, the figure and the break-even points of a comparison, and print it."""
    results, families = compared.results, _families(compared)
    written = [TABLE_NAME, FIGURE_NAME]
    write_text(target / TABLE_NAME, runs_text(results, compared.synthetic))
    write_bytes(target / FIGURE_NAME, freezing_figure(results))
    if families:
        write_text(target / BREAK_EVEN_NAME, break_even_text(families))
        written.append(BREAK_EVEN_NAME)
    if as_json:
        write_stdout(json.dumps([result_document(result) for result in results], indent=2, allow_nan=False) + "\n")
        return
    console = make_console(sys.stdout, UNLIMITED_WIDTH)
    print_comparison(console, results, compared.synthetic)
    if families:
        print_break_even(console, families)
    console.print()
    for line, style in zip(closing_of(results, compared.synthetic), ("bold", "", ""), strict=True):
        console.print(Text(line, style=style))
    session(ctx).note(f"wrote {', '.join(written)} into {target}")


def _families(compared: _Compared) -> list[Family]:
    """Return each ticket beside its rivals, with the points at which they change places."""
    labels = chip_labels(compared.results)
    return [
        Family(
            ticket=ticket.result,
            rivals=tuple(rival.result for rival in rivals),
            points=tuple(flow.break_even_points(chip, ticket, rivals)),
            by_policy=policy_ratios(
                chip.config, ticket.counters, {rival.result.storage: rival.counters for rival in rivals}
            ),
            precision=flow.equal_precision(chip, ticket, rivals),
            chip=labels[ticket.result.hardware.sha256] if len(labels) > 1 else "",
        )
        for chip, ticket, rivals in compared.families
    ]


def _claim(ctx: click.Context, target: Path) -> None:
    """Keep others out of the folder while this call lasts, and remove an older comparison from it."""
    ctx.with_resource(sole_writer(target))
    remove_runs(target / RUNS_NAME, TABLE_NAME, FIGURE_NAME, BREAK_EVEN_NAME)


def _stated_formats(ctx: click.Context, storage: str | None) -> tuple[str, ...] | None:
    """Return the formats of ``--storage``, None without it."""
    if storage is None:
        return None
    wanted = costed.parse_formats(storage, "--storage")
    if not wanted:
        raise click.UsageError("--storage: no format given; give at least one, e.g. slt", ctx)
    return wanted


def _formats(
    chip: LoadedHardware, trace: LayerTrace, stated: Sequence[str] | None, storage_of: Sequence[str]
) -> tuple[str, ...]:
    """Return the formats of a network, each with the layers that the user stores otherwise; equal ones once."""
    names = stated or _default_formats(trace, chip)
    return tuple(dict.fromkeys(with_layers(name, storage_of) for name in names))


def _default_formats(trace: LayerTrace, chip: LoadedHardware) -> tuple[str, ...]:
    """Return the format a network is kept in, and what rivals that."""
    own = costed.default_storage(trace, chip)
    if own == flow.DENSE_STORAGE:
        return own, VALUES_RIVAL
    return (own, *costed.TICKET_RIVALS) if costed.is_ticket(trace, own) else (own, flow.DENSE_STORAGE)


def _with_limits(
    chip: LoadedHardware, trace: LayerTrace, own: str, runs: Mapping[str, costed.CostedRun]
) -> Iterator[costed.CostedRun]:
    """Yield ``runs`` by format; that of the network's ``own`` with what limits it."""
    for name, run in runs.items():
        yield costed.run_with_limits(chip, trace, run, None) if name in (own, own + STATED) else run
