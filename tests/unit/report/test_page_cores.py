"""Several cores in a report: a table of what each did, and of networks side by side."""

import json
from pathlib import Path

import pytest

from accelsim.cli.main import main
from accelsim.report.page_cores import read_tenants
from accelsim.results.model import ResultError


def test_a_report_shows_cores_and_networks_side_by_side(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    chip = ["--set", "num_cores=2", "--compare", "none"]
    assert (
        main(["run", "edge", "conv2", "--batch", "3", "--set", "mapping.schedule=pipeline", *chip, "--out", "a"]) == 0
    )
    both = ["edge", "conv2", "conv2", "--tenants", "--set", "num_cores=2", "--timeline", "b.json"]
    assert main(["run", *both, "--out", "b"]) == 0
    seen = json.loads(Path("b.json").read_text(encoding="utf-8"))["traceEvents"]
    titles = [event["args"]["name"] for event in seen if event["name"] == "process_name"]
    assert titles == [f"core {core} of edge: conv2 as dense-int8" for core in range(2)]
    assert {"conv2: convs.0", "conv2: linears.2"} <= {event["args"]["layer"] for event in seen if event["ph"] == "X"}
    result = json.loads(Path("a/summary.json").read_text(encoding="utf-8"))
    assert result["first_input_latency_s"] < result["totals"]["latency_s"]
    for name in ("report.html", "report.md", "report.tex"):
        assert main(["report", "a", "b", "-o", name]) == 0
        text = Path(name).read_text(encoding="utf-8")
        assert "Cores: conv2" in text.replace("\\_", "_")
        assert "Networks side by side on edge" in text


@pytest.mark.parametrize("text", ["{", '{"tenants": [{}]}', '{"tenants": 3}', "[]"])
def test_a_broken_file_of_networks_is_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "tenants.json").write_text(text, encoding="utf-8")
    with pytest.raises(ResultError, match="give a tenants.json that accelsim run --tenants wrote"):
        read_tenants(tmp_path)
