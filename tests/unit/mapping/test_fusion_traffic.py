"""DRAM traffic of fused layers, against counts by hand; row by row a map here has 64 bytes (8 columns x 8 channels).

Every chip has bursts of 8 bytes, which all tiles here are multiples of, and keeps no whole map on chip.
"""

from dataclasses import replace

import pytest

from accelsim.config.hardware import BufferConfig, HardwareConfig
from accelsim.cores.run import best_program
from accelsim.errors import MappingError
from accelsim.mapping.fuse import choose_groups
from accelsim.mapping.network import map_network
from accelsim.mapping.prices import EnergyPrices
from accelsim.pipeline import layer_plans, network_on_cores
from accelsim.prng.source import RandomSource
from accelsim.sim.counters import Counters
from accelsim.sim.run import run_schedule
from accelsim.timing.schedule import FusedLayers
from accelsim.trace.batch import with_batch
from accelsim.trace.model import LayerTrace, LayerWeights, LoopDims, TraceLayer

MAPS = ("activation_in", "activation_out")
STORED = ("mask", "seed", "scale", "weight", "index")


def chip(fuse: object, stripes: int | None = 4, halo: str = "kept", **sizes: int) -> HardwareConfig:
    base = HardwareConfig.model_validate(
        {
            "name": "hand", "clock_mhz": 500, "node_nm": 22, "dram": {"burst_bytes": 8},
            "pe_array": {"dataflow": "weight_stationary", "rows": 8, "cols": 8},
            "weight_generator": {"kind": "xorshift32", "num_lanes": 8, "weights": "regenerate"},
            "mask_decoder": {"positions_per_cycle": 16},
            "mapping": {
                "keep_activations_on_chip": False, "objective": "dram_bytes", "fuse": fuse, "num_stripes": stripes,
                "halo": halo,
            },
        }
    )  # fmt: skip
    return base.model_copy(update={name: BufferConfig(capacity_bytes=size) for name, size in sizes.items()})


def conv(  # noqa: PLR0913, PLR0917  a layer has so many sizes
    name: str, source: str, channels: tuple[int, int] = (8, 8), kernel: int = 1, rows: int = 16, stride: int = 1,
    residual: str = "", depthwise: bool = False, columns: int = 8,
) -> TraceLayer:  # fmt: skip
    read, made = channels
    dims = LoopDims(
        G=made if depthwise else 1, K=1 if depthwise else made, C=1 if depthwise else read, P=rows // stride,
        Q=columns // stride, R=kernel, S=kernel, H=rows, W=columns, stride=(stride, stride),
        padding=(kernel // 2, kernel // 2),
    )  # fmt: skip
    shape = (made, dims.C, kernel, kernel)
    return TraceLayer(
        name, "depthwise_conv2d" if depthwise else "conv2d", dims, (source,), (residual,) if residual else (),
        num_outputs=dims.num_outputs, weights=LayerWeights(shape, dims.num_weights, num_free=dims.num_weights),
    )  # fmt: skip


def run(
    hardware: HardwareConfig, *layers: TraceLayer, storage: str = "dense-int8", batch: int = 1
) -> tuple[Counters, Counters, tuple[FusedLayers, ...]]:
    """Return the counters fused and apart, and what was fused."""
    trace = with_batch(LayerTrace("hand", layers, "synthetic", batch=1), batch)
    plans, prices = layer_plans(trace, storage), EnergyPrices()
    groups = choose_groups(trace, plans, hardware, prices, lambda _: (0.0, 0))
    fused, _ = map_network(trace, plans, storage, hardware, prices, None, groups)
    apart, _ = map_network(trace, plans, storage, hardware, prices)
    return run_schedule(fused, hardware), run_schedule(apart, hardware), fused.fused


def moved(counters: Counters, names: tuple[str, ...]) -> int:
    return sum(layer.dram_bytes[name] for layer in counters.layers for name in names)


def check(found: tuple[Counters, Counters, tuple[FusedLayers, ...]], maps: int, weights: int) -> None:
    fused, apart, _ = found
    assert (moved(fused, MAPS), moved(fused, STORED)) == (maps, weights)
    assert sum(sum(layer.dram_bytes.values()) for layer in fused.layers) == maps + weights
    assert maps + weights <= moved(apart, (*MAPS, *STORED))


def test_two_pointwise_layers() -> None:
    # 16 rows x 64 B come in and 16 x 64 B leave; 2 x 8 x 8 weights stay in the weight buffer.
    check(run(chip([["a", "b"]]), conv("a", "input"), conv("b", "a")), 1024 + 1024, 2 * 64)


def test_two_windows_with_the_halo_kept() -> None:
    # Every row is read once and made once, however many stripes: 16 + 16 rows; 2 x 9 x 64 weights.
    found = run(chip([["a", "b"]]), conv("a", "input", kernel=3), conv("b", "a", kernel=3))
    check(found, 1024 + 1024, 2 * 576)
    assert found[2][0].rows_made == (1.0, 1.0)


def test_two_windows_with_the_halo_recomputed() -> None:
    # Outputs 0-4, 4-8, 8-12, 12-16 need rows 0-5, 3-9, 7-13, 11-16 of the map between (5 + 6 + 6 + 5 = 22 of 16), and
    # those rows 0-6, 2-10, 6-14, 10-16 of the input: 6 + 8 + 8 + 6 = 28 rows x 64 B = 1792 B.
    found = run(chip([["a", "b"]], halo="recomputed"), conv("a", "input", kernel=3), conv("b", "a", kernel=3))
    check(found, 1792 + 1024, 2 * 576)
    assert found[2][0].rows_made == (22 / 16, 1.0)
    macs = [layer.actions["pe_array"]["mac_int8"] for layer in found[0].layers]
    assert macs == [22 * 8 * 8 * 72, 16 * 8 * 8 * 72]  # a row: 8 positions x 8 filters x 72 products
    assert [layer.macs for layer in found[0].layers] == [16 * 8 * 8 * 72] * 2


def test_weights_that_do_not_stay_come_for_each_stripe() -> None:
    # 64 x 64 weights each, a weight buffer of 1 KiB: 4 stripes x 2 x 4096 B. Maps: 16 rows x 8 x 64 = 8192 B each.
    hardware = chip([["a", "b"]], weight_buffer=1024)
    layers = conv("a", "input", (64, 64)), conv("b", "a", (64, 64))
    fused, _, what = run(hardware, *layers)
    assert (moved(fused, MAPS), moved(fused, STORED)) == (2 * 8192, 4 * 2 * 4096)
    assert what[0].held == ("", "")


def test_weights_of_one_of_two_layers_stay() -> None:
    # 6 KiB hold the 4096 B of one layer and a quarter of the buffer for the other's: 4096 + 4 x 4096 B.
    hardware = chip([["a", "b"]], weight_buffer=6144)
    fused, _, what = run(hardware, conv("a", "input", (64, 64)), conv("b", "a", (64, 64)))
    assert (moved(fused, MAPS), moved(fused, STORED)) == (2 * 8192, 5 * 4096)
    assert sorted(what[0].held) == ["", "weights"]


def test_a_residual_block_reads_its_input_once() -> None:
    # The shortcut's 1024 B are those that the first layer reads; apart they are read twice, the map between moves too.
    found = run(chip([["a", "b"]]), conv("a", "input", kernel=3), conv("b", "a", kernel=3, residual="input"))
    check(found, 1024 + 1024, 2 * 576)
    assert moved(found[1], MAPS) == 1024 * 5


def test_depthwise_with_a_stride_and_pointwise() -> None:
    # 3 x 3, stride 2: 8 rows of 4 columns x 8 channels; all 16 input rows are read, 8 x 4 x 16 = 512 B leave.
    layers = conv("dw", "input", kernel=3, stride=2, depthwise=True), conv("pw", "dw", (8, 16), rows=8, columns=4)
    check(run(chip([["dw", "pw"]]), *layers), 1024 + 512, 72 + 128)


def test_a_pool_between() -> None:
    # 16 rows in; the pool makes 8 rows of 4 columns; 8 x 4 x 8 = 256 B leave.
    dims = LoopDims(G=8, P=8, Q=4, R=2, S=2, H=16, W=8, stride=(2, 2))
    pool = TraceLayer("pool", "pool", dims, ("a",), (), ("max_pool",), 4 * 256, 256)
    layers = conv("a", "input", kernel=3), pool, conv("b", "pool", rows=8, columns=4)
    check(run(chip([["a", "pool", "b"]]), *layers), 1024 + 256, 576 + 64)


def attention(heads: int = 2, rows: int = 16, length: int = 64) -> tuple[TraceLayer, ...]:
    scores = LoopDims(G=heads, K=rows, C=length, P=rows, H=rows)
    values = LoopDims(G=heads, K=length, C=rows, P=rows, H=rows)
    each = heads * rows * length
    return (
        TraceLayer("scores", "matmul", scores, ("q", "k"), (), ("softmax",), 0, scores.num_outputs,
                   second_input_elements=each, second_inputs=("k",)),
        TraceLayer("context", "matmul", values, ("scores", "v"), (), (), 0, each, second_input_elements=each,
                   second_inputs=("v",)),
    )  # fmt: skip


def test_attention_moves_no_score() -> None:
    # Queries, keys, values and results of 2 heads x 16 tokens x 64: 2048 B each, once. Apart, 512 B of scores go to
    # memory and come back.
    found = run(chip([["scores", "context"]]), *attention())
    check(found, 4 * 2048, 0)
    assert moved(found[1], MAPS) == 4 * 2048 + 2 * 512
    assert found[2][0].holds_second


def test_keys_that_do_not_stay_come_for_each_stripe() -> None:
    # The keys and values of a head take 2 x 1024 B; 2 KiB have no room for them beside scores: each of 2 stripes reads
    # them, 2 x 2 x 2048 B, and queries and results move once.
    hardware = chip([["scores", "context"]], stripes=2, activation_buffer=2048)
    fused, _, what = run(hardware, *attention())
    assert moved(fused, MAPS) == 2 * 2 * 2048 + 2 * 2048
    assert not what[0].holds_second


def test_the_inputs_of_a_batch_share_weights() -> None:
    # Two inputs, one after the other, in stripes: twice the maps, weights once.
    found = run(chip([["a", "b"]]), conv("a", "input", kernel=3), conv("b", "a", kernel=3), batch=2)
    check(found, 2 * (1024 + 1024), 2 * 576)


def test_a_map_that_others_read_too_is_written() -> None:
    # The map between leaves for layer c, which reads it: 1024 B in, a out, b out, c in, c out; b reads it on chip.
    found = run(chip([["a", "b"]]), conv("a", "input"), conv("b", "a"), conv("c", "a"))
    check(found, 5 * 1024, 3 * 64)


def ticket(layer: TraceLayer) -> TraceLayer:
    """Return a layer of 64 x 64 weights with 1024 mask bits and a seed."""
    source = RandomSource(
        generator="xorshift32", seed=5, stream="layer", seeds="stored", prune_threshold=1, lock_threshold=2
    )
    free = {"num_kept": 512, "num_pruned": 3072, "num_locked": 0, "num_free": 1024}
    weights = LayerWeights((64, 64, 1, 1), source=source, codec="raw", codec_bits=1024, **free)
    return replace(layer, weights=weights)


@pytest.mark.parametrize(("mask_buffer", "times"), [(1024, 1), (128, 4)])
def test_weights_made_again_cost_their_stored_bits_or_nothing(mask_buffer: int, times: int) -> None:
    # 64 x 64 weights, of which 1024 are free: 1024 bits of mask and a seed of 32 bits are 132 B, 136 in bursts of 8;
    # of both layers 272 B. They stay in a mask buffer of 1 KiB, and come for each of 4 stripes where it has 128 B.
    layers = [ticket(layer) for layer in (conv("a", "input", (64, 64)), conv("b", "a", (64, 64)))]
    fused, apart, what = run(chip([["a", "b"]], mask_buffer=mask_buffer), *layers, storage="slt")
    assert (moved(fused, MAPS), moved(fused, STORED)) == (2 * 8192, times * 272)
    assert what[0].held == (("stored",) * 2 if times == 1 else ("", ""))
    words = [[layer.actions["weight_generator"]["words"] for layer in each.layers] for each in (fused, apart)]
    assert words[0] == [4 * count for count in words[1]]  # made again in each stripe


def on_two_cores(hardware: HardwareConfig, *layers: TraceLayer, share: list[str], storage: str) -> Counters:
    """Return the counters of two cores that run a group for half of the rows each."""
    mapping = hardware.mapping.model_copy(update={"split": "positions", "num_stripes": 2})
    two = hardware.model_copy(update={"num_cores": 2, "share": share, "mapping": mapping})
    trace = LayerTrace("hand", layers, "synthetic", batch=1)
    _, counters = best_program(two, network_on_cores(two, trace, storage))
    assert (counters.fused[0].num_cores, counters.fused[0].num_stripes) == (2, 2)
    assert [layer.macs for layer in counters.layers] == [layer.dims.macs for layer in layers]
    return counters


def test_two_cores_recompute_what_both_need_and_read_weights_each() -> None:
    # Outputs 0-8 and 8-16 need rows 0-9 and 7-16 of the map between (18 of 16), these 0-10 and 6-16 of the input: 20
    # rows x 64 B. Within a core halos are kept. Each core reads 2 x 576 weights.
    layers = conv("a", "input", kernel=3), conv("b", "a", kernel=3)
    counters = on_two_cores(chip([["a", "b"]]), *layers, share=[], storage="dense-int8")
    assert (moved(counters, MAPS), moved(counters, STORED)) == (1280 + 1024, 2 * 1152)
    assert counters.fused[0].rows_made == (18 / 16, 1.0)


def test_a_shared_mask_buffer_and_generator_serve_both_cores_once() -> None:
    # Mask and seed of both layers, 272 B as above, come once and stay; both cores' two stripes take the same words.
    shared = ["weight_generator", "mask_decoder", "mask_buffer"]
    layers = [ticket(layer) for layer in (conv("a", "input", (64, 64)), conv("b", "a", (64, 64)))]
    both = on_two_cores(chip([["a", "b"]], mask_buffer=1024), *layers, share=shared, storage="slt")
    assert (moved(both, MAPS), moved(both, STORED)) == (2 * 8192, 272)
    alone = run(chip([["a", "b"]], stripes=2, mask_buffer=1024), *layers, storage="slt")[0]
    words = [[layer.actions["weight_generator"]["words"] for layer in each.layers] for each in (both, alone)]
    assert words[0] == words[1]


@pytest.mark.parametrize(
    ("fuse", "sizes", "message"),
    [
        ([["a", "x"]], {}, "hand: mapping.fuse: hand has no layer 'x'; accelsim trace shows its layers"),
        ([["a", "c"]], {}, "hand: mapping.fuse: a, c: not neighbours in hand; put 'b' in too"),
        ([["a"]], {}, "hand: mapping.fuse: a: a group has two layers at the least; leave it out of the group"),
        ([["a", "b"], ["b", "c"]], {}, "hand: mapping.fuse: 'b' is in two groups; leave it out of one"),
        # Rows 3 to 9 of the map between, and of the input rows 4 and 5 from the stripe before and 8 and 9 for the next.
        ([["a", "b"]], {"activation_buffer": 256},
         "hand: mapping.fuse: a, b: in 4 stripes the maps between them take 640 B of activation_buffer (256 B), beside "
         "tiles; fuse fewer layers or enlarge the buffer"),
    ],
)  # fmt: skip
def test_what_cannot_be_fused_is_refused(fuse: object, sizes: dict[str, int], message: str) -> None:
    layers = conv("a", "input", kernel=3), conv("b", "a", kernel=3), conv("c", "b")
    with pytest.raises(MappingError) as caught:
        run(chip(fuse, **sizes), *layers)
    assert str(caught.value) == message
