"""Runs of single layers and small networks, dense, as the references had them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from accelsim.config.loader import LoadedHardware, load_hardware
from accelsim.errors import ConfigError
from accelsim.mapping.loops import Tiling
from accelsim.pipeline import simulate
from accelsim.sim.counters import Counters
from accelsim.trace.model import LayerKind, LayerTrace, LayerWeights, LoopDims, TraceLayer

MOST_ELEMENTS = 1 << 48  # of a tensor: counts of bits and of operations stay below 64 bits


def dense_weights(dims: LoopDims) -> LayerWeights:
    """Return weights of which all are kept and none is frozen."""
    shape = (dims.G * dims.K, dims.C, dims.R, dims.S)
    return LayerWeights(shape=shape, num_kept=dims.num_weights, num_free=dims.num_weights)


def layer(
    name: str,
    dims: LoopDims,
    kind: LayerKind = "conv2d",
    inputs: tuple[str, ...] = ("input",),
    input_density: float = 1.0,
    vector_ops: int = 0,
) -> TraceLayer:
    """Return a layer with dense weights."""
    return TraceLayer(
        name=name, kind=kind, dims=dims, inputs=inputs, num_outputs=dims.num_outputs, weights=dense_weights(dims),
        input_density=input_density, input_density_measured=input_density < 1.0, vector_ops=vector_ops,
    )  # fmt: skip


def conv_dims(
    *, channels: int, filters: int, out: tuple[int, int], window: tuple[int, int], stride: int = 1, batch: int = 1,
    groups: int = 1, padding: int = 0,
) -> LoopDims:  # fmt: skip
    """Return the loops of a convolution; ``channels`` and ``filters`` are per group, the input is just large enough.

    Raises
    ------
    ConfigError
        A tensor has more than `MOST_ELEMENTS`.
    """
    height, width = ((size - 1) * stride + kernel - 2 * padding for size, kernel in zip(out, window, strict=True))
    most = batch * groups * max(channels * abs(height * width), filters * math.prod(out))
    if most > MOST_ELEMENTS:
        raise ConfigError(f"a tensor of {most} elements is larger than {MOST_ELEMENTS}; give smaller sizes")
    return LoopDims(
        N=batch, G=groups, K=filters, C=channels, P=out[0], Q=out[1], R=window[0], S=window[1], H=height, W=width,
        stride=(stride, stride), padding=(padding, padding),
    )  # fmt: skip


def gemm_dims(rows: int, cols: int, depth: int) -> LoopDims:
    """Return the loops of (rows x depth) times (depth x cols): the second operand takes the weights' place."""
    return LoopDims(K=cols, C=depth, P=rows, H=rows)


def network(name: str, layers: Sequence[TraceLayer]) -> LayerTrace:
    """Return a dense network of these layers."""
    return LayerTrace(name=name, layers=tuple(layers), provenance="dense")


def machine(path: Path, overrides: Mapping[str, object] | None = None) -> LoadedHardware:
    """Return a hardware description with some fields changed."""
    return _load(path, tuple(f"{name}={_yaml(value)}" for name, value in (overrides or {}).items()))


@lru_cache(maxsize=64)
def _load(path: Path, overrides: tuple[str, ...]) -> LoadedHardware:
    return load_hardware(path, overrides)


def _yaml(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def run_layers(
    hardware: LoadedHardware,
    layers: Sequence[TraceLayer],
    storage: str = "dense-int8",
    fixed: Mapping[str, Tiling] | None = None,
) -> Counters:
    """Return the counters of a dense network."""
    return simulate(hardware, network("validation", layers), storage, fixed=fixed)


def cycles(counters: Counters) -> int:
    """Return the cycles of all layers."""
    return sum(item.latency_cycles for item in counters.layers)
