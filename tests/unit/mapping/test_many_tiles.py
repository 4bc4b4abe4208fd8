"""Layers of very many tiles run on a chip with small buffers; what is too much is refused with a remedy."""

from pathlib import Path

import pytest

from accelsim.config.loader import load_hardware
from accelsim.errors import MappingError
from accelsim.pipeline import run
from accelsim.trace import trace_workload

HIDDENITE = load_hardware(Path(__file__).parents[3] / "hwconfigs" / "hiddenite.yaml")


def product(tmp_path: Path, sizes: str) -> Path:
    path = tmp_path / "net.csv"
    path.write_text(f"Layer,M,N,K,\nproduct,{sizes},\n", encoding="utf-8")
    return path


def test_a_product_of_many_tiles_runs_close_to_its_bound(tmp_path: Path) -> None:
    result = run(HIDDENITE, trace_workload(product(tmp_path, "8192,16384,8192")), "dense-int8")
    layer = result.layers[0]
    assert layer.macs == 2 * 8192**3
    assert layer.lower_bound_cycles <= layer.latency_cycles < 1.05 * layer.lower_bound_cycles


def test_more_tiles_than_are_simulated_are_refused_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(MappingError, match=r"product: \d+ tiles are more than the 1073741824 .*--mapping FILE"):
        run(HIDDENITE, trace_workload(product(tmp_path, "81920,266240,163840")), "dense-int8")
