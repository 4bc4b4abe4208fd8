"""The committed tickets are what they say they are."""

import os
from pathlib import Path

import pytest
import torch

from accelsim.slt.data import load_data
from accelsim.slt.export import TicketNetwork
from accelsim.slt.search import evaluate_ticket
from accelsim.ticket.file import read_ticket

WORKLOADS = Path(__file__).resolve().parents[3] / "workloads"
# name: (p, r, least accuracy)
TICKETS = {
    "resnet_slt": (0.5, 0.2, 0.95),
    "resnet_slt_f00": (0.0, 0.0, 0.95),
    "resnet_slt_f50": (0.35, 0.15, 0.95),
    "resnet_slt_f90": (0.63, 0.27, 0.95),
    "conv6_mc3": (0.5, 0.2, 0.9),
    "conv6_mpt": (0.35, 0.15, 0.9),
    "conv6_slt_f00": (0.0, 0.0, 0.9),
    "conv6_slt_f25": (0.175, 0.075, 0.9),
    "conv6_slt_f50": (0.35, 0.15, 0.9),
    "conv6_slt_f70": (0.5, 0.2, 0.9),
    "conv6_slt_f90": (0.63, 0.27, 0.9),
    "gin_slt_f00": (0.0, 0.0, 0.9),
    "gin_slt_f50": (0.35, 0.15, 0.9),
    "gin_slt_f90": (0.63, 0.27, 0.9),
}


# The same of decoders, which keep half of their weights and foresee the next character of a text.
DECODERS = {
    "decoder_slt_f00": (0.0, 0.0, 0.4),
    "decoder_slt_f50": (0.25, 0.25, 0.4),
    "decoder_slt_f70": (0.35, 0.35, 0.4),
}


@pytest.mark.parametrize("name", [*TICKETS, *DECODERS])
def test_statistics_are_the_wanted_ones(name):
    prune_ratio, lock_ratio, least_accuracy = (TICKETS | DECODERS)[name]
    ticket = read_ticket(str(WORKLOADS / f"{name}.pt"))
    total = sum(layer.num_weights for layer in ticket.layers)
    kept = sum(layer.num_kept for layer in ticket.layers) / total
    assert kept == pytest.approx(0.5 if name in DECODERS else 0.3, abs=1e-4)
    assert sum(layer.num_pruned for layer in ticket.layers) / total == pytest.approx(prune_ratio, abs=2e-3)
    assert sum(layer.num_locked for layer in ticket.layers) / total == pytest.approx(lock_ratio, abs=2e-3)
    assert all(layer.source.generator == "xorshift32" and layer.source.stream == "filter" for layer in ticket.layers)
    assert all(layer.input_density is not None for layer in ticket.layers)
    assert ticket.provenance == "searched"
    assert ticket.accuracy >= least_accuracy
    assert (ticket.bits_per_character is not None) == (name in DECODERS)
    network = ticket.graph.name
    assert ticket.command.startswith(f"accelsim search {network} ")
    assert ticket.command.endswith(f"--out workloads/{name}.pt")


def test_all_tickets_together_stay_small():
    assert sum(path.stat().st_size for path in WORKLOADS.glob("*.pt")) < 4.6e6


def test_readme_states_every_ticket_with_its_accuracy_and_command():
    text = (WORKLOADS / "README.md").read_text()
    for path in sorted(WORKLOADS.glob("*.pt")):
        ticket = read_ticket(str(path))
        assert ticket.command in text
        row = next(line for line in text.splitlines() if line.startswith(f"| `{path.name}`"))
        assert f"{100 * ticket.accuracy:.1f} %" in row
        if ticket.bits_per_character is not None:
            assert f"{ticket.bits_per_character:.3f} bits" in row


nightly = pytest.mark.skipif("ACCELSIM_NIGHTLY" not in os.environ, reason="15 seconds; make nightly runs it")


@pytest.mark.parametrize(
    "name",
    [
        "gin_slt_f50",
        *(pytest.param(name, marks=nightly) for name in ("conv6_slt_f90", "resnet_slt", "decoder_slt_f70")),
    ],
)
def test_stored_accuracy_is_what_the_stored_bits_give(name):
    ticket = read_ticket(str(WORKLOADS / f"{name}.pt"))
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    accuracy = evaluate_ticket(ticket)
    torch.set_num_threads(before)
    # One image may fall on the other side with another order of float32 sums.
    assert accuracy == pytest.approx(ticket.accuracy, abs=0.0011)


@pytest.mark.parametrize(("name", "part"), [("conv6_slt_f90", 10), ("resnet_slt", 40)])
def test_the_large_tickets_stored_bits_classify_digits(name, part):
    """A part of the test images: a ticket with other bits than it was searched with gets one in ten right."""
    ticket, digits = read_ticket(str(WORKLOADS / f"{name}.pt")), load_data("digits")
    scores = TicketNetwork(ticket).run(digits.test_images[::part])
    assert float((scores.argmax(1) == digits.test_labels[::part]).float().mean()) > ticket.accuracy - 0.1
