"""Measurements of a user's own in place of a reference's table."""

from __future__ import annotations

from pathlib import Path

import pytest

from accelsim.errors import AccelSimError
from accelsim.validation.compare import OWN_ROWS, validate_rows
from accelsim.validation.own_rows import PERCENT, SIZE, Text, read_rows
from accelsim.validation.reference import load_table

PUBLIC = Path(__file__).resolve().parents[3] / "../shared/reference/accelerators"
MAPPING = "L3[WIO] K2 - L2[WI] N1 K16X - L1[O] C8 P8 C16X - L0[W] P2"
GOOD = {
    "eyeriss-v1": {
        "layer": "a", "batch": 1, "R": 3, "E": 13, "C": 16, "M": 32, "stride": 1, "power_mw": 236, "latency_ms": 10.5,
        "processing_ms": 10, "zeros_percent": 77, "buffer_mb": 24.9, "dram_mb": 1.3,
    },
    "gemmini-rtl": {
        "C": 128, "K": 32, "N": 1, "P": 16, "Q": 1, "R": 1, "S": 1, "stride": 1, "accumulator_bytes": 16384,
        "scratchpad_bytes": 110592, "mapping": MAPPING, "rtl_cycles": 7164,
    },
    "gemm-tilings-rtl": {"M": 16, "N": 64, "K": 16, "tile_M": 16, "tile_N": 16, "tile_K": 16, "cycles": 702},
    "tpu-v3": {"workload": "gemm_64x64x64", "batch": 1, "cycles": 3000},
}  # fmt: skip
BAD = ("0", "-1", "nan", "inf", "1e400", "many", "1_000", "\u0663")


def refusal(tmp_path, reference: str, text: str) -> str:
    """Return the one line of a refusal, without the folder."""
    file = tmp_path / "own.csv"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(AccelSimError) as failure:
        validate_rows([reference], str(file))
    (line,) = str(failure.value).splitlines()
    return line.removeprefix(f"{tmp_path}/")


@pytest.mark.parametrize("reference", OWN_ROWS)
def test_a_bad_cell_is_refused_with_file_row_and_column(tmp_path, reference):
    for column in OWN_ROWS[reference][1].columns:
        bad = [] if isinstance(column.kind, Text) else list(BAD)
        bad += ["1.5", "1048577"] if column.kind is SIZE else []
        bad += [] if column.optional else [""]
        for text in bad[1:] if column.kind is PERCENT else bad:
            cells = GOOD[reference] | {column.name: text}
            lines = ("# a remark", ",".join(cells), ",".join(map(str, cells.values())))
            said = refusal(tmp_path, reference, "\n".join(lines))
            assert said.startswith(f"own.csv: row 1 (line 3): {column.name}: {repr(text) if text else 'no value'}"), (
                text
            )


@pytest.mark.parametrize(
    ("reference", "text", "said"),
    [
        ("tpu-v3", "workload\n1\n", "no column cycles; tpu-v3 needs workload, cycles, and may have batch; other"),
        ("tpu-v3", "workload,Cycles\n1,1\n", "no column cycles; did you mean 'Cycles'? "),
        ("tpu-v3", "workload,cycles\n", "no rows; give"),
        ("tpu-v3", "workload,cycles\nfft_8,1\n", "row 1 (line 2): workload: 'fft_8' is no kernel and no"),
        ("tpu-v3", "workload,cycles\ngemm_8x8,1\n", "workload: 'gemm_8x8' needs 3 whole numbers from 1"),
        ("tpu-v3", "workload,cycles\ngemm_8x8x0,1\n", "workload: 'gemm_8x8x0' needs 3 whole numbers"),
        ("tpu-v3", "workload,cycles\nencoder_8x8x3,1\n", "workload: encoder of width 8: 3 heads do not"),
        ("tpu-v3", "workload,cycles\nconv_1x3x3x8x8x7x1x0,1\n", "workload: 'conv_1x3x3x8x8x7x1x0': its"),
        ("tpu-v3", "workload,cycles\nconv_9x1048576x1048576x99x8x3x1x1,1\n", "row 1 (line 2): a tensor of "),
        ("hiddenite", "a\n1\n", "--rows: needs one --reference that takes rows; give one of eyeriss-v1"),
        ("gemmini-rtl", "C,K\n1,1\n", "no column N, P, Q, R, S, stride, accumulator_bytes"),
        ("gemmini-rtl", "C,K\n1,1\n", "scratchpad_bytes or spad_bytes, mapping, rtl_cycles or rtl_cycles_this_mapping"),
        ("gemm-tilings-rtl", "M,N,K,tile_M,tileM\n1,1,1,1,1\n", "line 1: tile_M and tileM: two columns of tile_M"),
        ("tpu-v3", "workload,cycles\nsoftmax_8x8,1,,7\n", "row 1 (line 2): 2 columns, and '7' behind the last"),
        ("gemm-tilings-rtl", "M,N,K,tile_M,tile_N,tile_K,cycles\n8,8,8,8,16,8,99\n", "tile_N: 16 is more than N, 8"),
        ("eyeriss-v1", "layer,power_mW,C\nCONV1,1,3\n", "no column R, E, M, stride, latency_ms"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_file_is_one_line(tmp_path, reference, text, said):
    assert said in refusal(tmp_path, reference, text)


@pytest.mark.parametrize(
    ("mapping", "said"),
    [
        ("fast", "mapping: 'fast' is no level"),
        (MAPPING.replace("P8", "X8"), "mapping: 'X8' is not a loop"),
        (MAPPING.replace("K16X", "K8X"), "mapping: its factors of K come to 16, column K has 32"),
    ],
)
def test_a_bad_mapping_is_refused(tmp_path, mapping, said):
    cells = GOOD["gemmini-rtl"] | {"mapping": mapping}
    text = f"{','.join(cells)}\n{','.join(map(str, cells.values()))}\n"
    assert refusal(tmp_path, "gemmini-rtl", text).startswith(f"own.csv: row 1 (line 2): {said}")


def test_the_tables_own_rows_give_its_own_errors_and_no_one_elses(tmp_path, reference_rows):
    file = tmp_path / "own.csv"
    lines = [f"{row.text('workload')}\tx\t{row.number('cycles')}" for row in load_table("tpu_v3").rows]
    file.write_text("# a remark\nworkload\tmore\tcycles\n" + "\n".join(lines) + "\n")
    own = validate_rows(["tpu-v3"], str(file))
    assert [(row.quantity, row.ours) for row in own] == [(row.quantity, row.ours) for row in reference_rows("tpu-v3")]
    assert own[0].theirs is None


def test_rows_may_have_groups(tmp_path):
    file = tmp_path / "own.csv"
    rows = [GOOD["eyeriss-v1"] | {"layer": f"of {groups}", "groups": groups} for groups in (1, 2, 32)]
    file.write_text("\n".join(",".join(map(str, cells)) for cells in (rows[0], *(row.values() for row in rows))))
    ours = {row.quantity: row.ours for row in validate_rows(["eyeriss-v1"], str(file))}
    one, two, each = (ours[f"DRAM traffic in MB, of {groups}"] for groups in (1, 2, 32))
    assert one < two < each  # as many channels in each group, so that more groups read more inputs


def test_inputs_that_are_all_zeros_leave_no_product_to_execute(tmp_path):
    file = tmp_path / "own.csv"
    row = GOOD["eyeriss-v1"] | {"zeros_percent": 100}
    file.write_text("\n".join(",".join(map(str, cells)) for cells in (row, row.values())), encoding="utf-8")
    rows = {row.quantity: row.ours for row in validate_rows(["eyeriss-v1"], str(file))}
    assert rows["arithmetic's share of power, largest of layers"] == 0
    assert rows["power in mW, a"] > 0


def test_encoders_and_networks_are_kernels_too_and_all_take_a_batch(tmp_path):
    file = tmp_path / "own.csv"
    names = ("encoder_64x128x2", "conv2", "gemm_64x64x64", "attention_2x64x64", "softmax_64x64")
    lines = [f"{name},{batch},20000" for name in names for batch in ("", 64)]
    file.write_text("workload,batch,cycles\n" + "\n".join(lines) + "\n")
    found = [row for row in validate_rows(["tpu-v3"], str(file)) if row.gap]
    assert [row.quantity for row in found[:2]] == ["cycles of encoder_64x128x2", "cycles of encoder_64x128x2, batch 64"]
    assert all(one.ours < many.ours for one, many in zip(found[::2], found[1::2], strict=True))


@pytest.mark.skipif(not PUBLIC.is_dir(), reason="the reference files are not at hand")
@pytest.mark.parametrize(
    ("reference", "file"),
    [
        ("eyeriss-v1", "eyeriss_v1_alexnet_conv.csv"),
        ("gemmini-rtl", "gemmini16x16_rtl_layers.csv"),
        ("gemm-tilings-rtl", "systolic16x16_rtl_gemm.csv"),
        ("tpu-v3", "tpu_v3_cycles.csv"),
    ],
)
def test_the_public_files_are_read_as_they_are(reference, file):
    columns = OWN_ROWS[reference][1]
    own, table = read_rows(columns, str(PUBLIC / file)), load_table(columns.stem)
    for ours, theirs in zip(own.rows, table.rows, strict=True):
        assert {name: ours.cells[name] for name in theirs.cells if name in ours.cells} == {
            name: value for name, value in theirs.cells.items() if name in ours.cells
        }
        assert set(theirs.cells) - set(ours.cells) <= {"H", "default_tiler_cycles"}
