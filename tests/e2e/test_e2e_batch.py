"""``--batch`` as a user types it."""

from __future__ import annotations

import csv
import json

from accelsim.cli.main import main
from accelsim.report.page_runs import cases_of, read_results


def test_compare_and_report_tell_batches_apart(tmp_path, capsys, first_choice) -> None:
    table = tmp_path / "mlp.csv"
    table.write_text("Layer, M, N, K\nfc1, 1, 256, 256\nfc2, 1, 10, 256\n")
    out = tmp_path / "out"
    stated = ["--sparsity", "0.5", "--prune-ratio", "0.35", "--lock-ratio", "0.35"]
    assert (
        main(
            ["compare", "edge", str(table), *stated, "--storage", "slt,dense-int8", "--batch", "1,4", "--out", str(out)]
        )
        == 0
    )
    assert "energy per input" in capsys.readouterr().out
    rows = list(csv.DictReader((out / "compare.csv").open()))
    assert [(row["workload.batch"], row["storage"]) for row in rows] == [
        ("1", "slt"), ("1", "dense-int8"), ("4", "slt"), ("4", "dense-int8"),
    ]  # fmt: skip
    cases = cases_of(read_results([out]))
    assert [(case.network, len(case.focus.runs)) for case in cases] == [("mlp (batch 1)", 2), ("mlp (batch 4)", 2)]

    assert main(["compare", str(out), "--out", str(tmp_path / "again"), "--json"]) == 0
    assert [run["workload"]["batch"] for run in json.loads(capsys.readouterr().out)] == [1, 1, 4, 4]


def test_zero_is_a_value_that_was_given(capsys) -> None:
    assert main(["run", "edge", "conv2", "--batch", "0"]) == 2
    assert capsys.readouterr().err.startswith("accelsim: --batch: 0 is not")
