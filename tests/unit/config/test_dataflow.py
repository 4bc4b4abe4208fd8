"""The same array asked for another dataflow keeps its PEs and drops what only the old one knows."""

import itertools

import pytest

from accelsim.config.dataflow import with_dataflow
from accelsim.config.hardware import PeArrayConfig

ARRAYS = {
    "weight_stationary": PeArrayConfig(rows=16, cols=64, weight_preload=True, num_arrays=2),
    "output_stationary": PeArrayConfig(dataflow="output_stationary", rows=16, cols=64),
    "input_stationary": PeArrayConfig(dataflow="input_stationary", rows=16, cols=64, fold_taps=False),
    "spatial": PeArrayConfig(
        dataflow="spatial", unroll={"K": 1, "C": 128}, zero_weights="skip", skip_group="packed",
        operand_registers=True, distribution_words_per_cycle=4,
    ),
}  # fmt: skip


@pytest.mark.parametrize(("before", "now"), list(itertools.permutations(ARRAYS, 2)))
def test_every_dataflow_can_be_asked_of_an_array(before, now):
    array = ARRAYS[before].model_dump() | {"dataflow": now}
    changed = PeArrayConfig.model_validate(with_dataflow(array, before, ()))

    assert changed.num_pes == ARRAYS[before].num_pes
    assert changed.zero_weights == ARRAYS[before].zero_weights


def test_what_is_stated_for_the_dataflow_stays():
    array = ARRAYS["weight_stationary"].model_dump() | {"dataflow": "spatial", "unroll": {"P": 8}}
    assert with_dataflow(array, "weight_stationary", {"unroll"})["unroll"] == {"P": 8}
    assert with_dataflow(array | {"dataflow": "weight_stationary"}, "weight_stationary", ())["weight_preload"]
