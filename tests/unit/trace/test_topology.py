from pathlib import Path

import pytest

from accelsim.errors import TraceError
from accelsim.trace import TraceOptions, read_topology, trace_workload

CONV = "Layer name, IFMAP Height, IFMAP Width, Filter Height, Filter Width, Channels, Num Filter, Strides,\n"


@pytest.fixture
def write(tmp_path: Path):
    def write_text(text: str) -> str:
        path = tmp_path / "net.csv"
        path.write_text(text)
        return str(path)

    return write_text


def test_convolution_rows(write) -> None:
    trace = read_topology(write(CONV + "Conv1, 224, 224, 7, 7, 3, 64, 2,\nConv2, 57, 58, 3, 3, 64, 8, 2,\n"))
    first, second = trace.layers
    assert (first.dims.P, first.dims.Q) == (110, 110)  # ceil((224 - 7 + 2) / 2), one more than whole windows
    assert (second.dims.P, second.dims.Q) == (28, 29)
    assert first.dims.macs == 110 * 110 * 64 * 3 * 49
    assert first.weights is not None
    assert first.weights.shape == (64, 3, 7, 7)
    assert (trace.name, trace.provenance) == ("net", "dense")


def test_gemm_rows(write) -> None:
    layer = read_topology(write("Layer, M, N, K,\nattn, 128, 512, 64,\n")).layers[0]
    assert (layer.kind, layer.dims.P, layer.dims.K, layer.dims.C) == ("linear", 128, 512, 64)
    assert layer.weights is not None
    assert layer.weights.shape == (512, 64)


def test_rows_named_dp_are_depthwise(write) -> None:
    layer = read_topology(write(CONV + "Conv_DP1, 34, 34, 3, 3, 32, 1, 1,\n")).layers[0]
    assert (layer.kind, layer.dims.G, layer.dims.C, layer.dims.K) == ("depthwise_conv2d", 32, 1, 1)
    assert layer.dims.macs == 32 * 32 * 32 * 9


def test_statistics_make_a_synthetic_ticket(write) -> None:
    path = write(CONV + "a, 34, 34, 3, 3, 64, 64, 1,\nb, 34, 34, 3, 3, 64, 128, 1,\n")
    trace = trace_workload(path, TraceOptions(sparsity=0.7, prune_ratio=0.5, lock_ratio=0.2, seed=9))
    assert (trace.provenance, trace.regenerable) == ("synthetic", True)
    assert len(trace.sha256) == 64
    for layer in trace.layers:
        weights = layer.weights
        assert weights is not None
        assert weights.load_mask is None
        assert weights.sparsity == pytest.approx(0.7, abs=1e-4)
        assert weights.num_free / weights.num_weights == pytest.approx(0.3, abs=1e-4)
        assert weights.num_pruned + weights.num_locked + weights.num_free == weights.num_weights
    assert trace.layers[0].weights.source.seed != trace.layers[1].weights.source.seed


def test_equal_names_are_numbered(write) -> None:
    trace = read_topology(write("Layer, M, N, K\na, 1, 2, 3\na, 1, 2, 3\n"))
    assert [layer.name for layer in trace.layers] == ["a", "a_2"]


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("", r"net\.csv: empty"),
        (CONV, r"net\.csv: 0 layers"),
        ("a, 1, 2, 3\n", "net.csv:1: the header has no column 'layer name'"),
        (CONV.replace("Strides", "Strides, Colour") + "a, 8, 8, 3, 3, 3, 4, 1, red", "column 'colour' is not known"),
        (CONV + "a, 8, 8, 3, 3, 3, 4,\n", "net.csv:2: 7 cells for 8 columns"),
        (CONV + "a, 8, 8, 3, 3, 3, x, 1,\n", "net.csv:2: num filter: 'x' is not a whole number"),
        (CONV + "a, 8, 8, 3, 3, 0, 4, 1,\n", "net.csv:2: channels: '0'"),
        (CONV + "a, 8, 8, 3, 3, 1e3, 4, 1,\n", "net.csv:2: channels: '1e3'"),
        (CONV + "a, 8, 8, 9, 3, 3, 4, 1,\n", "net.csv:2: filter height: 9 is more than the ifmap height 8"),
        ("Layer, M, N, K, Sparsity\na, 8, 8, 8, 2:4\n", "net.csv:2: sparsity: '2:4' is not part of a topology"),
    ],
)
def test_errors_name_file_line_and_column(write, text: str, match: str) -> None:
    with pytest.raises(TraceError, match=match) as caught:
        read_topology(write(text))
    assert "\n" not in str(caught.value)


def test_sparsity_column_is_ignored_only_when_stated(write) -> None:
    path = write("Layer, M, N, K, Sparsity\na, 8, 8, 8, 2:4\n")
    assert read_topology(path, TraceOptions(ignore_sparsity_column=True)).layers[0].dims.macs == 512


@pytest.mark.parametrize(
    ("options", "match"),
    [
        (TraceOptions(sparsity=1.5), "sparsity: 1.5 is not from 0 to 1"),
        (TraceOptions(sparsity=0.3, prune_ratio=0.5), "sparsity: 0.3 is not from prune_ratio 0.5"),
        (TraceOptions(prune_ratio=0.7, lock_ratio=0.5), "sum to more than 1"),
        (TraceOptions(seed=0), "seed: 0"),
    ],
)
def test_impossible_statistics_are_refused(write, options: TraceOptions, match: str) -> None:
    with pytest.raises(TraceError, match=match):
        trace_workload(write("Layer, M, N, K\na, 1, 2, 3\n"), options)


def test_unknown_workloads_are_refused() -> None:
    with pytest.raises(
        TraceError, match="resnet51: no such file, and network 'resnet51' is unknown; did you mean resnet50"
    ):
        trace_workload("resnet51")
    with pytest.raises(TraceError, match=r"nowhere/a\.pt: no such file"):
        trace_workload("nowhere/a.pt")
