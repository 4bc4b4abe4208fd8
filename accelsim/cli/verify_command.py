"""``accelsim verify``."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from accelsim.cli.common import common_options, examples, json_option, progress, session, set_option, write_stdout
from accelsim.cli.names import complete_chip, complete_ticket
from accelsim.config.hardware import HardwareConfig
from accelsim.config.loader import load_hardware
from accelsim.ticket.file import has_value_digests, read_ticket

if TYPE_CHECKING:
    from accelsim.validation.verify import LayerVerification, WeightVerification

_EQUAL_TO = {
    "reference": "equal to the reference, bit for bit",
    "digests": "equal to the searched network, by its digest of every filter",
    "itself": (
        "equal to what the ticket's own seeds and bits give; it has no digests of the search, so a wrong one would "
        "not be seen: give --reference"
    ),
}

_VALUES = {
    True: "those that were written, by their digest",
    False: "not checked: the file has no digest of them, it was written before there was one",
}


@click.command(
    "verify",
    epilog=examples(
        "accelsim verify hwconfigs/edge.yaml workloads/resnet_slt.pt",
        "accelsim verify hwconfigs/hiddenite.yaml workloads/resnet_slt.pt --images 100 --json",
    ),
)
@click.argument("hardware", shell_complete=complete_chip)
@click.argument("ticket", shell_complete=complete_ticket)
@set_option()
@click.option("--reference", metavar="FILE", help="Ticket of the searched network [default: digests in TICKET].")
@click.option("--images", type=click.IntRange(0), help="Classify so many test inputs, 0 none [default: all].")
@json_option
@common_options
@click.pass_context
def command(
    ctx: click.Context,
    hardware: str,
    ticket: str,
    overrides: tuple[str, ...],
    reference: str | None,
    images: int | None,
    as_json: bool,
) -> None:
    """Check that HARDWARE really produces TICKET's network, and does what the simulation counts.

    All weights are produced tile by tile, word by word. Each filter is compared with the searched network's by the
    digest that the search wrote into TICKET, or bit by bit with --reference. What was produced, decoded and discarded
    is compared with what a simulation counts. Then the test data are classified with integer arithmetic. Exit status 2
    if anything differs.
    """
    from accelsim.validation.verify import VerificationError, total_of, verify_weights  # noqa: PLC0415  numba

    chip = load_hardware(hardware, overrides)
    stored = read_ticket(ticket, check_counts=False)
    searched = read_ticket(reference) if reference is not None else None
    weights = verify_weights(
        chip, stored, searched, progress=lambda layers: progress(layers, "producing weights", session(ctx))
    )
    total = total_of(weights.layers)
    accuracy, problem = None, weights.problem
    if problem is None and images != 0:
        from accelsim.validation.verify_inference import data_of, verify_accuracy  # noqa: PLC0415  torch

        data = data_of(stored)
        accuracy = verify_accuracy(stored, data, images) if data is not None else None
        problem = accuracy.problem if accuracy is not None else None
    document: dict[str, Any] = {
        "verified": problem is None,
        "problem": problem,
        "compared_with": weights.compared_with,
        "values_checked": has_value_digests(stored),
        "hardware": hardware,
        "ticket": ticket,
        "total": asdict(total),
        "accuracy": asdict(accuracy) if accuracy is not None else None,
        "layers": [asdict(layer) for layer in weights.layers],
    }
    if as_json:
        write_stdout(json.dumps(document, indent=2, allow_nan=False) + "\n")
    elif problem is None:
        _print_weights(weights, total, has_value_digests(stored), chip.config)
    if problem is not None:
        raise VerificationError(f"{ticket}: {problem}")
    if accuracy is not None and not as_json:
        against = "stored" if accuracy.num_changed is None else "float32 on the same inputs"
        stored_too = "" if accuracy.num_changed is None else f", stored {accuracy.stored_accuracy:.4f}"
        click.echo(
            f"integer inference: {accuracy.accuracy:.4f} of {accuracy.num_images} test inputs right, {against} "
            f"{accuracy.reference_accuracy:.4f}{stored_too}"
        )
    elif accuracy is None and images != 0:
        session(ctx).note(f"{ticket}: no stated accuracy on data at hand, so nothing was classified")


def _print_weights(
    weights: WeightVerification, total: LayerVerification, are_values_checked: bool, chip: HardwareConfig
) -> None:
    """Print what was produced, and that it is as counted."""
    click.echo(
        f"{len(weights.layers)} layers, {_weights(total, chip)}: {_EQUAL_TO[weights.compared_with]}\n"
        f"  tile visits {total.num_visits}, weights produced {total.productions}, as often as the schedule says\n"
        f"  words {total.words}, discarded {total.discarded_words}, derived seeds {total.derived_seeds}, jumps "
        f"{total.jumps}: as counted\n"
        f"  mask bits decoded {total.mask_bits}{_counted(total.counted_mask_bits)}\n"
        f"  scales, offsets and input densities: {_VALUES[are_values_checked]}"
    )


def _counted(mask_bits: int) -> str:
    return f"; the simulation, which spreads them evenly over tiles, counted {mask_bits}" if mask_bits else ""


def _weights(total: LayerVerification, chip: HardwareConfig) -> str:
    return f"{total.num_weights} weights" + (f", in the parts of {chip.num_cores} cores" if chip.num_cores > 1 else "")
