from pathlib import Path

import pytest

from accelsim.errors import TraceError
from accelsim.storage import get_format, plan_layers
from accelsim.storage.default import default_format
from accelsim.trace import TraceOptions, trace_workload
from accelsim.trace.topology import read_topology

CONV = "Layer name, IFMAP Height, IFMAP Width, Filter Height, Filter Width, Channels, Num Filter, Strides,\n"


@pytest.fixture
def write(tmp_path: Path):
    def write_text(text: str, encoding: str = "utf-8") -> str:
        path = tmp_path / "net.csv"
        path.write_bytes(text.encode(encoding))
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


HEAD = [
    "Layer name",
    "IFMAP Height",
    "IFMAP Width",
    "Filter Height",
    "Filter Width",
    "Channels",
    "Num Filter",
    "Strides",
]
SIZES = ["c", "32", "32", "3", "3", "16", "32", "1"]


def table(*rows, delimiter=",", end="\n") -> str:
    return end.join(delimiter.join(row) for row in rows) + end


@pytest.mark.parametrize(
    "text",
    [
        table(HEAD, SIZES, end=",\r\n"),
        table(HEAD, SIZES, end="\r"),
        "\ufeff" + table(HEAD, SIZES, delimiter="\t"),
        table(HEAD, [*SIZES[:-1], "1,0"], delimiter=";"),
        "sep=|\n" + table(HEAD, SIZES, delimiter="|"),
        "# of a paper\n\nMy network,,,\n" + table(HEAD, ["Stage 1"], [], SIZES, HEAD),
        "#" + table(HEAD, SIZES) + '// "done\n',
        "Network, ResNet\n" + table(HEAD, [*SIZES[:-1], "1 # first"]),
        "|" + table(HEAD, ["---"] * 8, SIZES, delimiter="|", end="|\n|")[:-1],
        table(reversed(HEAD), reversed(SIZES)),
        table(
            ["layer_names", "ifmapHeight", "IFMAP W", "kernel_h", "Filter Widths", "channel", "#filters", "stride"],
            SIZES,
        ),
        table([*HEAD, "", "", "OFH", "Batch", "Padding", "Notes"], [*SIZES[:-1], "1.0", "", "", "30", "", "0", "1st"]),
        table(["Layer", *["IFMAP Height"] * 2, *HEAD[3:]], SIZES),
        table([*HEAD, "Stride Width", "sparsity"], [*SIZES, "1", "4:4"], [*SIZES, "", "dense  // none"]),
    ],
)
def test_one_layer_as_people_write_it(write, text: str) -> None:
    layers = read_topology(write(text)).layers
    assert {layer.dims.macs for layer in layers} == {4147200}
    assert layers[0].name == "c"


def test_wide_text_of_spreadsheets(write) -> None:
    assert read_topology(write(table(HEAD, SIZES, delimiter="\t"), "utf-16")).layers[0].dims.macs == 4147200


def test_remarks_say_what_was_not_read_as_written(write) -> None:
    twice = ["Layer", "IFMAP Width", "IFMAP Width", *HEAD[3:], "OFW", "", "Notes"]
    trace = read_topology(write(table(twice, ["Stage 1"], [*SIZES, "32", "", "first"], ["Total", *[""] * 9, "8"])))
    assert [remark.partition(": ")[2] for remark in trace.remarks] == [
        "'ifmap width' stands twice: column 2 is read as the height, column 3 as the width",
        "rows without sizes are read as headings: 'Stage 1', 'Total'",
        "columns left out, since they change no layer's work: 'OFW', 'Notes'",
        "line 3: OFW is 32, but input, filter and stride give 30, which is used; "
        "a table states inputs with their padding",
    ]


@pytest.mark.parametrize("sums", ["2,2024,1010", "2,-,1010"])
def test_a_row_of_sums_is_no_layer(write, sums: str) -> None:
    rows = "Layer,M,K,N\na,1,1024,1000\nb,1,1000,10\n"
    trace = read_topology(write(f"{rows}Total,{sums}\n"))
    assert [layer.name for layer in trace.layers] == ["a", "b"]
    assert trace.remarks[0].endswith("line 4 has the sums of the rows above and is no layer: 'Total'")
    other = read_topology(write(f"{rows}Total,2,99,1010\n"))
    assert len(other.layers) == 3
    assert other.remarks[0].endswith("line 4 does not add up, and is read as a layer: 'Total'")
    assert len(read_topology(write("Layer,M,K,N\na,1,1024,10\nTotal,1,1024,10\n")).layers) == 1


def test_gemm_columns_are_known_by_name_and_a_batch_shares_the_weights(write) -> None:
    layer = read_topology(write("L; K; N; M; Batch\na; 64; 512; 128; 12\n")).layers[0]
    assert (layer.kind, layer.dims.N, layer.dims.P, layer.dims.K, layer.dims.C) == ("linear", 12, 128, 512, 64)
    assert (layer.weights.num_weights, layer.num_outputs) == (512 * 64, 12 * 128 * 512)


def test_nm_of_each_row_is_kept_and_stored(write) -> None:
    path = write("Layer, M, N, K, Sparsity\na, 8, 8, 16, 2:4\nb, 8, 8, 16, 3:16\nc, 8, 8, 16, 4:4\n")
    trace = read_topology(path)
    assert [layer.weights.num_kept for layer in trace.layers] == [64, 24, 128]
    assert (default_format(trace), default_format(trace, can_decode=False)) == ("nm-own-int8", "dense-int8")
    bits = [plan.stored_bits for plan in plan_layers(get_format("nm-own-int8"), trace.layers)]
    assert [(stored.weight, stored.index) for stored in bits] == [(64 * 8, 64 * 2), (24 * 8, 24 * 4), (128 * 8, 0)]
    dense = read_topology(path, TraceOptions(ignore_sparsity_column=True))
    assert [layer.weights.num_kept for layer in dense.layers] == [128] * 3


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("", r"net\.csv: empty"),
        (CONV, r"net\.csv: 0 layers"),
        ("a, 1, 2, 3\n", "net.csv:1: no header; the first row must name the columns"),
        ("just text\n", "net.csv:1: no header"),
        (table(HEAD[:-1], SIZES[:-1]), "net.csv:1: the header has no column 'strides'"),
        (table([*HEAD[:5], "Chanels", *HEAD[6:]], SIZES), "no column 'channels'; is it 'Chanels'?"),
        (table([*HEAD, "Layers", "Stride"], [*SIZES, "c", "1"]), "columns 8 and 10 are both 'strides'"),
        (table([*HEAD, "M", "N", "K"], [*SIZES, "1", "1", "1"]), "column 'M': a table has sizes of convolutions or M"),
        (table(["Layer", *"HWRSCK", "Stride"], SIZES), "columns H, W, R, S, C: tools mean different sizes by a letter"),
        (table(HEAD) + table(SIZES, delimiter="\t"), "no row has more than one cell; .* as the header does, by commas"),
        (table([*HEAD, "Padding"], [*SIZES, "1"]), "net.csv:2: Padding: '1' would change .*add padding to IFMAP"),
        (table([*HEAD, "Repeat"], [*SIZES, "3"]), "net.csv:2: Repeat: '3' would change"),
        (table([*HEAD, "Type"], [*SIZES, "depthwise"]), "net.csv:2: Type: 'depthwise' would .*DP in the name"),
        (table([*HEAD, "Transposed"], [*SIZES, "1"]), "net.csv:2: Transposed: '1' would .*as ONNX"),
        (table([*HEAD, "Is Depthwise"], [*SIZES, "yes"]), "net.csv:2: Is Depthwise: 'yes' would .*DP in the name"),
        (table([*HEAD, "Filter Depth"], [*SIZES, "3"]), "net.csv:2: Filter Depth: '3' would .*three axes"),
        (table([*HEAD, "Num Blocks"], [*SIZES, "3"]), "net.csv:2: Num Blocks: '3' would .*as often as"),
        (table([*HEAD, "N"], [*SIZES, "8"]), "net.csv:2: N: '8' would change"),
        (table(HEAD, [*SIZES, "2"]), r"column 9 \(no name\): '2' behind the last known column is ambiguous"),
        (table(HEAD, SIZES[:-1]), "net.csv:2: Strides: the cell is empty"),
        (table(HEAD, [*SIZES[:-2], "x", "1"]), "net.csv:2: Num Filter: 'x' is not a whole number"),
        (table(HEAD, [*SIZES[:5], "0", "4", "1"]), "net.csv:2: Channels: '0'"),
        (table(HEAD, [*SIZES[:5], "1e3", "4", "1"]), "net.csv:2: Channels: '1e3'"),
        (table(HEAD, [*SIZES[:5], "1.000", "4", "1"]), "net.csv:2: Channels: '1.000' may be 1 or 1000"),
        (table(HEAD, ["c", "2", *SIZES[2:]]), "net.csv:2: Filter Height: 3 is more than the ifmap height 2"),
        (table(HEAD, ["", *SIZES[1:]]), "net.csv:2: Layer name: the name is empty"),
        ("Layer, M, N, K, Sparsity\na, 8, 8, 8, 0.5\n", "net.csv:2: Sparsity: '0.5' is not N:M"),
        ("Layer, M, N, K, Sparsity\na, 8, 8, 8, 5:4\n", "net.csv:2: Sparsity: '5:4' is not N:M"),
    ],
)
def test_errors_name_file_line_and_column(write, text: str, match: str) -> None:
    with pytest.raises(TraceError, match=match) as caught:
        read_topology(write(text))
    assert "\n" not in str(caught.value)


def test_nm_and_stated_statistics_exclude_each_other(write) -> None:
    path = write("Layer, M, N, K, Sparsity\na, 8, 8, 8, 2:4\n")
    with pytest.raises(TraceError, match="Sparsity: '2:4' and stated statistics exclude each other"):
        read_topology(path, TraceOptions(sparsity=0.5))


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


@pytest.mark.parametrize(
    ("options", "match"),
    [
        (TraceOptions(input_shape=(224, 224, 3)), "^network 'mobilenet_v2': .* channels last; .* give 3x224x224"),
        (TraceOptions(input_shape=(64, 64, 8)), "channels last; they come first, give 8x64x64"),
        (TraceOptions(input_shape=(2, 3, 96, 96)), "has 2 inputs; give 3x96x96"),
        (TraceOptions(input_shape=(96, 96)), "96x96 is not like 3x224x224"),
        (TraceOptions(input_shapes=(("x", (3, 96, 96)),)), "its only input has no name 'x'"),
    ],
)
def test_shapes_that_a_network_by_name_cannot_have_are_refused(options: TraceOptions, match: str) -> None:
    with pytest.raises(TraceError, match=match):
        trace_workload("mobilenet_v2", options)


def test_a_batch_of_one_may_be_stated_and_a_table_has_its_own_shapes(write) -> None:
    whole, bare = (trace_workload("conv2", TraceOptions(input_shape=s)) for s in ((1, 3, 16, 16), (3, 16, 16)))
    assert whole.layers[0].dims == bare.layers[0].dims
    with pytest.raises(TraceError, match="--input-shape: a topology table has its own; leave the option out"):
        trace_workload(write("Layer, M, N, K\na, 1, 2, 3\n"), TraceOptions(input_shape=(3, 8, 8)))


def test_unknown_workloads_are_refused() -> None:
    with pytest.raises(
        TraceError, match="resnet51: no such file, and network 'resnet51' is unknown; did you mean resnet50"
    ):
        trace_workload("resnet51")
    with pytest.raises(TraceError, match=r"nowhere/a\.pt: no such file"):
        trace_workload("nowhere/a.pt")
