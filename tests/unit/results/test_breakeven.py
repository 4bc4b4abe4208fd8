import pytest

from accelsim.results.breakeven import break_even, equal_energy, equal_precision_bits, smaller_or_cheaper
from accelsim.results.build import build_result


@pytest.fixture
def ticket(sample_run):
    return build_result(sample_run.hardware, sample_run.trace, sample_run.counters, sample_run.cost)


def rival_of(ticket, energy_factor=2.0, stored_bits=1600):
    stored = ticket.totals.stored_bits.model_copy(update={"mask": 0, "seed": 0, "scale": 0, "weight": stored_bits})
    totals = ticket.totals.model_copy(
        update={
            "energy_j": ticket.totals.energy_j * energy_factor,
            "stored_bits": stored,
            "dram_read_bytes": ticket.totals.dram_read_bytes + 1000,
        }
    )
    return ticket.model_copy(update={"storage": "rival", "totals": totals})


def test_energies_are_equal_at_the_crossing(ticket):
    bits = 8 * (ticket.totals.dram_read_bytes + ticket.totals.dram_write_bytes)
    rival = rival_of(ticket, energy_factor=0.9)
    ours, theirs = 1e-12 * bits, 1e-12 * (bits + 8000)

    point = break_even(ticket, rival, ours, theirs)

    price_j = point.dram_pj_per_bit * 1e-12
    assert ticket.totals.energy_j - ours + price_j * bits == pytest.approx(
        rival.totals.energy_j - theirs + price_j * (bits + 8000), rel=1e-12
    )
    assert point.dram_pj_per_bit_now == pytest.approx(1.0)


def test_a_rival_that_always_needs_more_energy_has_no_crossing(ticket):
    assert break_even(ticket, rival_of(ticket), 0.0, 0.0).dram_pj_per_bit is None


def test_stored_bits_are_equal_at_the_freezing_ratio(ticket):
    stored, num_weights = ticket.totals.stored_bits, ticket.workload.num_weights
    ratio = break_even(ticket, rival_of(ticket, stored_bits=400), 0.0, 0.0).freeze_ratio

    bits_per_free_weight = stored.mask / (num_weights * (1 - ticket.workload.freeze_ratio))
    mask = (1 - ratio) * num_weights * bits_per_free_weight
    assert mask + stored.seed + stored.scale == pytest.approx(400)


def test_a_rival_as_small_as_the_seeds_is_never_matched(ticket):
    assert break_even(ticket, rival_of(ticket, stored_bits=10), 0.0, 0.0).freeze_ratio is None


def test_winning_rivals_are_named_with_what_they_win(ticket):
    assert smaller_or_cheaper(ticket, [rival_of(ticket)]) == []
    assert smaller_or_cheaper(ticket, [rival_of(ticket, energy_factor=0.5, stored_bits=1)]) == [
        ("rival", ("stores less", "needs less energy"))
    ]


def test_equal_precision_leaves_the_scales_out(ticket):
    stored = ticket.totals.stored_bits
    assert equal_precision_bits(ticket) == (stored.mask + stored.seed) / ticket.workload.num_weights


def dense_of(ticket, energy_j, buffer_j):
    """A dense int8 rival that moves weights alone, 100 bytes of them."""
    stored = ticket.totals.stored_bits.model_copy(
        update={"mask": 0, "seed": 0, "scale": 0, "weight": 8 * ticket.workload.num_weights}
    )
    moved = ticket.totals.dram_bytes.model_copy(
        update=dict.fromkeys(type(ticket.totals.dram_bytes).model_fields, 0) | {"weight": 100}
    )
    units = ticket.totals.energy_j_by_unit.model_copy(update={"weight_buffer": buffer_j})
    totals = ticket.totals.model_copy(
        update={
            "energy_j": energy_j, "stored_bits": stored, "dram_bytes": moved, "dram_read_bytes": 100,
            "dram_write_bytes": 0, "energy_j_by_unit": units,
        }
    )  # fmt: skip
    return ticket.model_copy(update={"storage": "dense-int8", "totals": totals})


def test_dense_energy_is_equal_at_the_weight_precision(ticket):
    ours = ticket.totals.energy_j
    # Memory and buffer take a whole ticket's energy at 8 bits, the rest half of one: half the bits are left.
    point = equal_energy(ticket, dense_of(ticket, 1.5 * ours, 0.25 * ours), 0.75 * ours)

    assert point.fixed_j == pytest.approx(0.5 * ours)
    assert point.bits == pytest.approx(4.0)


def test_no_weight_precision_helps_where_the_rest_needs_more(ticket):
    ours = ticket.totals.energy_j
    point = equal_energy(ticket, dense_of(ticket, 3 * ours, 0.0), ours)
    assert (point.bits, point.rival) == (None, "dense-int8")


@pytest.mark.parametrize(("storage", "too"), [("slt-entropy", True), ("folded", True), ("slt-unfrozen", False)])
def test_a_rival_that_freezes_too_has_no_freezing_ratio_to_meet(ticket, storage, too):
    rival = rival_of(ticket).model_copy(update={"storage": storage})
    assert break_even(ticket, rival, 0.0, 0.0).freezes_too is too
