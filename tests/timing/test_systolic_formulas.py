"""With ideal memory and dense weights a systolic layer takes exactly the cycles of the published fold formula.

The formula is restated here from the cells of a topology table, so that nothing of the product's geometry is reused:
folds x (f rows + cols + T - 2) as SCALE-Sim counts them (docs/benchmarks.md), with ceil((H - R + stride) / stride) rows
of outputs. On top comes the vector unit's pass over the last tile, and nothing else.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from accelsim.config.loader import load_hardware
from accelsim.pipeline import simulate
from accelsim.sim.counters import LayerCounters
from accelsim.trace.topology import read_topology

pytestmark = pytest.mark.usefixtures("first_choice_in_module")
HWCONFIGS = Path(__file__).resolve().parents[2] / "hwconfigs"
DATAFLOWS = ("ws", "os", "is")
ARRAYS = ((32, 32), (8, 32), (128, 128), (256, 3))
LANES = 65536
CONV_HEADER = "Layer name, IFMAP Height, IFMAP Width, Filter Height, Filter Width, Channels, Num Filter, Strides,"
GEMM_HEADER = "Layer, M, N, K,"


@dataclass(frozen=True)
class Problem:
    """S_R, S_C and T of the three dataflows follow from these three lengths, once per group."""

    reduction: int
    filters: int
    pixels: int
    groups: int = 1


@dataclass(frozen=True)
class Conv:
    H: int
    W: int
    R: int
    S: int
    C: int
    K: int
    stride: int
    depthwise: bool = False

    def line(self, index: int) -> str:
        name = f"{'DP' if self.depthwise else 'Conv'}_{index}"
        return f"{name}, {self.H}, {self.W}, {self.R}, {self.S}, {self.C}, {self.K}, {self.stride},"

    def problem(self) -> Problem:
        P, Q = (
            -(-(size - kernel + self.stride) // self.stride) for size, kernel in ((self.H, self.R), (self.W, self.S))
        )
        channels, groups = (1, self.C) if self.depthwise else (self.C, 1)
        return Problem(channels * self.R * self.S, self.K, P * Q, groups)


@dataclass(frozen=True)
class Gemm:
    M: int
    N: int
    K: int

    def line(self, index: int) -> str:
        return f"Gemm{index}, {self.M}, {self.N}, {self.K},"

    def problem(self) -> Problem:
        return Problem(self.K, self.N, self.M)


NASTY_CONVS = (
    Conv(1, 1, 1, 1, 1, 1, 1),  # a single multiply-accumulate
    Conv(56, 56, 1, 1, 64, 256, 1),
    Conv(57, 57, 3, 3, 5, 7, 2),  # stride leaves a column of the input unread
    Conv(8, 8, 3, 3, 4, 4, 4),  # ceil and floor of (H - R) / stride differ
    Conv(7, 7, 7, 7, 512, 1000, 1),  # filter as large as the input
    Conv(5, 90, 5, 1, 3, 33, 1),  # oblong
    Conv(9, 9, 1, 1, 17, 31, 3),  # stride above the filter
    Conv(230, 230, 7, 7, 3, 64, 2),
    Conv(3, 3, 3, 3, 1, 1, 7),  # stride above the input
    Conv(114, 114, 3, 3, 1, 32, 1),  # one channel
    Conv(30, 30, 3, 3, 96, 1, 1, depthwise=True),
    Conv(15, 15, 5, 5, 37, 1, 2, depthwise=True),
    Conv(12, 12, 3, 3, 10, 4, 1, depthwise=True),  # channel multiplier
    Conv(2048, 2048, 3, 3, 3, 16, 1),
    Conv(16, 16, 3, 3, 4096, 4096, 1),
    Conv(34, 34, 3, 3, 31, 33, 1),  # one off every array size
)
NASTY_GEMMS = (
    Gemm(1, 1, 1), Gemm(1, 1000, 2048), Gemm(512, 1, 64), Gemm(33, 31, 1), Gemm(128, 128, 128), Gemm(129, 127, 257),
    Gemm(100_000, 8, 8), Gemm(8, 100_000, 8), Gemm(8, 8, 100_000), Gemm(4096, 4096, 4096),
)  # fmt: skip


def random_convs(generator: random.Random, count: int) -> list[Conv]:
    convs = []
    for _ in range(count):
        R, S = generator.choice((1, 1, 2, 3, 3, 5, 7)), generator.choice((1, 2, 3, 3, 5, 7))
        H, W = generator.randint(R, 80), generator.randint(S, 80)
        depthwise = generator.random() < 0.2
        C = generator.choice((1, 3, 16, 64, generator.randint(1, 700)))
        K = generator.randint(1, 3) if depthwise else generator.choice((1, 8, 32, generator.randint(1, 700)))
        convs.append(Conv(H, W, R, S, C, K, generator.choice((1, 1, 1, 2, 3, 4)), depthwise))
    return convs


def random_gemms(generator: random.Random, count: int) -> list[Gemm]:
    return [Gemm(*(round(2 ** generator.uniform(0, 13)) for _ in range(3))) for _ in range(count)]


def fold_formula(dataflow: str, rows: int, cols: int, problem: Problem) -> int:
    """Cycles of all folds, each with its own filling and draining."""
    reduction, filters, pixels = problem.reduction, problem.filters, problem.pixels
    s_r, s_c, stream, fill = {
        "ws": (reduction, filters, pixels, 2 * rows),
        "is": (reduction, pixels, filters, 2 * rows),
        "os": (pixels, filters, reduction, rows),
    }[dataflow]
    folds = -(-s_r // rows) * -(-s_c // cols)
    return problem.groups * folds * (fill + cols + stream - 2)


def preload_formula(rows: int, cols: int, problem: Problem) -> int:
    """Weight stationary, the next fold's weights loading behind the running one: filled and drained once."""
    folds = problem.groups * -(-problem.reduction // rows) * -(-problem.filters // cols)
    return folds * max(problem.pixels, rows) + 2 * rows + cols - 2


def simulated(
    tmp_path: Path, layers: Sequence[Conv | Gemm], hardware: str, overrides: list[str]
) -> list[LayerCounters]:
    header = GEMM_HEADER if isinstance(layers[0], Gemm) else CONV_HEADER
    path = tmp_path / "topology.csv"
    path.write_text("\n".join([header, *(layer.line(index) for index, layer in enumerate(layers))]) + "\n")
    loaded = load_hardware(HWCONFIGS / f"systolic_32x32_{hardware}.yaml", overrides)
    return list(simulate(loaded, read_topology(path), "dense-int8").layers)


def array_cycles(counters: LayerCounters) -> int:
    return sum(counters.cycles_by_cause[name] for name in ("compute", "weight_load", "fill_drain"))


def sample(rows: int, cols: int, kind: str) -> Sequence[Conv | Gemm]:
    generator = random.Random(f"{rows}x{cols}")
    if kind == "conv":
        return [*NASTY_CONVS, *random_convs(generator, 4)]
    return [*NASTY_GEMMS, *random_gemms(generator, 3)]


@pytest.mark.parametrize("kind", ["conv", "gemm"])
@pytest.mark.parametrize(("rows", "cols"), ARRAYS)
@pytest.mark.parametrize("dataflow", DATAFLOWS)
def test_every_layer_takes_the_cycles_of_the_fold_formula(
    tmp_path: Path, dataflow: str, rows: int, cols: int, kind: str
) -> None:
    layers = sample(rows, cols, kind)
    counters = simulated(tmp_path, layers, dataflow, [f"pe_array.rows={rows}", f"pe_array.cols={cols}"])
    expected = [fold_formula(dataflow, rows, cols, layer.problem()) for layer in layers]
    found = [array_cycles(layer) for layer in counters]
    wrong = [(layer, got, want) for layer, got, want in zip(layers, found, expected, strict=True) if got != want]
    assert wrong == []
    for layer, counted in zip(layers, counters, strict=True):
        on_top = counted.latency_cycles - array_cycles(counted)
        problem = layer.problem()
        outputs = problem.groups * problem.filters * problem.pixels
        assert 1 <= on_top == counted.cycles_by_cause["wait_vector"] <= -(-outputs // LANES), layer


@pytest.mark.parametrize("kind", ["conv", "gemm"])
@pytest.mark.parametrize(("rows", "cols"), ARRAYS)
def test_weight_preload_fills_and_drains_once_a_layer(tmp_path: Path, rows: int, cols: int, kind: str) -> None:
    layers = sample(rows, cols, kind)
    overrides = [f"pe_array.rows={rows}", f"pe_array.cols={cols}", "pe_array.weight_preload=true"]
    counters = simulated(tmp_path, layers, "ws", overrides)
    expected = [preload_formula(rows, cols, layer.problem()) for layer in layers]
    found = [array_cycles(layer) for layer in counters]
    wrong = [(layer, got, want) for layer, got, want in zip(layers, found, expected, strict=True) if got != want]
    assert wrong == []
