"""The restated tables are those of the reference files, where these are at hand."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from accelsim.validation.formulas import MASKED_LAYERS, real_masks
from accelsim.validation.reference import load_table, table_path

REFERENCE = Path(__file__).resolve().parents[3] / "../shared/reference"
pytestmark = pytest.mark.skipif(not REFERENCE.is_dir(), reason="the reference files are not at hand")

COLUMNS = {
    "gemmini_rtl": ("accelerators/gemmini16x16_rtl_layers.csv", {
        "C": "C", "K": "K", "N": "N", "P": "P", "Q": "Q", "R": "R", "S": "S", "stride": "stride",
        "accumulator_bytes": "acc_bytes", "scratchpad_bytes": "spad_bytes", "mapping": "mapping",
        "rtl_cycles": "rtl_cycles_this_mapping", "default_tiler_cycles": "rtl_cycles_gemmini_default_tiler",
        "timeloop_cycles": "timeloop_cycles",
    }),
    "gemm_tilings_rtl": ("accelerators/systolic16x16_rtl_gemm.csv", {
        "M": "M", "N": "N", "K": "K", "tile_M": "tileM", "tile_N": "tileN", "tile_K": "tileK", "cycles": "rtl_cycles",
    }),
    "tpu_v3": ("accelerators/tpu_v3_cycles.csv", {"workload": "workload", "cycles": "cycles"}),
    "stonne": ("accelerators/stonne_sparse_gemm.csv", {
        "M": "M", "N": "N", "K": "K", "num_multipliers": "num_multipliers", "sparsity_percent": "sparsity_percent",
        "cycles": "cycles", "multiplications": "mults",
    }),
    "cacti": ("energy/sram_cacti.csv", {
        "node_nm": "node_nm", "width_bits": "width", "read_pj": "read_pJ", "write_pj": "write_pJ",
        "area_um2": "area_um2", "leakage_mw": "leak_mW",
    }),
    "eyeriss": ("accelerators/eyeriss_v1_alexnet_conv.csv", {
        "layer": "layer", "power_mw": "power_mW", "latency_ms": "total_latency_ms",
        "processing_ms": "processing_latency_ms", "zeros_percent": "zeros_in_ifmap_pct",
        "buffer_mb": "global_buffer_access_MB", "dram_mb": "dram_access_MB",
    }),
}  # fmt: skip


def read(name: str) -> list[dict[str, str]]:
    lines = (REFERENCE / name).read_text(encoding="utf-8").splitlines()
    return list(csv.DictReader(line for line in lines if not line.startswith("#")))


def same(ours: object, theirs: str) -> bool:
    return ours == theirs if isinstance(ours, str) else float(ours) == float(theirs)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", COLUMNS)
def test_table_equals_the_file(name):
    file, columns = COLUMNS[name]
    rows = [row for row in read(file) if row.get("layer") != "Total"]
    table = load_table(name)

    assert len(table.rows) == len(rows)
    for ours, theirs in zip(table.rows, rows, strict=True):
        assert all(same(ours.cells[column], theirs[original]) for column, original in columns.items()), theirs


def test_tpu_v1_equals_the_paper():
    rows = {row["row"]: row for row in read("accelerators/tpu_v1_table1_3.csv")}
    names = {
        "weights_m": "weights_M", "batch": "batch", "ops_per_weight_byte": "ops_per_weight_byte",
        "weight_stall_percent": "weight_stall_pct", "weight_shift_percent": "weight_shift_pct",
        "tops": "TOPS_measured_peak92",
    }  # fmt: skip
    for row in load_table("tpu_v1").rows:
        for column, original in names.items():
            assert row.number(column) == float(rows[original][row.text("workload")])


def test_dram_cycles_equal_the_simulators():
    files = {"dramsim3": read("dram/dramsim3_results.csv"), "ramulator2": read("dram/ramulator2_results.csv")}
    theirs = {
        (f"{sim}_{row['config']}", row["case"]): int(row["cycles"]) for sim, rows in files.items() for row in rows
    }
    for row in load_table("dram").rows:
        assert row.whole("cycles") == theirs[row.text("file"), row.text("case")]


@pytest.mark.parametrize("name", MASKED_LAYERS)
def test_masks_equal_the_files(name):
    inputs, weights = real_masks(name, MASKED_LAYERS[name][0])
    for mask, kind in ((inputs, "iacts"), (weights, "weights")):
        text = (REFERENCE / f"accelerators/sparse_mobilenet_masks/{name}_{kind}.txt").read_text(encoding="ascii")
        assert np.array_equal(mask.reshape(-1), [digit == "1" for digit in text.strip()])


def test_every_table_names_its_source():
    for path in table_path("").glob("*.yaml"):
        assert load_table(path.stem).source
