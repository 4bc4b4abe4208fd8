"""Measurements of a user's own in place of a reference's table."""

from __future__ import annotations

import pytest

from accelsim.errors import ConfigError
from accelsim.validation.compare import validate_rows
from accelsim.validation.reference import load_table
from accelsim.validation.tpu import validate_tpu_v3


def test_the_tables_own_rows_give_its_own_errors(tmp_path) -> None:
    file = tmp_path / "own.csv"
    lines = [f"{row.text('workload')},x,{row.number('cycles')}" for row in load_table("tpu_v3").rows]
    file.write_text("# a remark\nworkload,more,cycles\n" + "\n".join(lines) + "\n")
    own = validate_rows(["tpu-v3"], str(file))
    assert [(row.quantity, row.ours) for row in own] == [(row.quantity, row.ours) for row in validate_tpu_v3()]


def test_encoders_and_networks_are_kernels_too(tmp_path) -> None:
    file = tmp_path / "own.csv"
    file.write_text("workload,batch,cycles\nencoder_64x128x2,,20000\nresnet18,1,1000000\n")
    found = [row.quantity for row in validate_rows(["tpu-v3"], str(file))]
    assert found[-2:] == ["cycles of encoder_64x128x2", "cycles of resnet18"]


@pytest.mark.parametrize(
    ("reference", "text", "said"),
    [
        ("tpu-v3", "workload\ngemm_1x1x1\n", "no column cycles; tpu-v3 needs workload, cycles"),
        ("tpu-v3", "workload,cycles\ngemm_8x8x8,\n", "row 1: cycles: no value"),
        ("tpu-v3", "workload,cycles\ngemm_8x8x8,many\n", "cycles: 'many' is not a number"),
        ("tpu-v3", "workload,cycles\nfft_8,1\n", "'' is not a kernel"),
        ("hiddenite", "a\n1\n", "needs one --reference that takes rows; give one of eyeriss-v1"),
        ("gemmini-rtl", "C,K\n1,1\n", "no column N, P, Q, R, S, stride"),
    ],
)
def test_what_is_wrong_with_rows_is_one_line(tmp_path, reference: str, text: str, said: str) -> None:
    file = tmp_path / "own.csv"
    file.write_text(text)
    with pytest.raises(ConfigError) as failure:
        validate_rows([reference], str(file))
    assert said in str(failure.value)
