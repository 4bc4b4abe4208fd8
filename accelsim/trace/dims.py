"""Loop bounds of graph nodes.

A third spatial axis has no loop of its own. Where its filters are one element deep, its positions are samples (N);
where they are one element high and wide, its positions are rows, and height times width are columns: both are exact.
Else depth times height are rows, the shorter of both inside, with a dilation and a jump from slice to slice under which
tiles of whole slices read the input rows that their windows in three dimensions do. Tiles of a part of a slice count as
if they read what lies between its windows.
"""

from __future__ import annotations

from math import prod

from accelsim.ticket.graph import GraphNode
from accelsim.ticket.shapes import Axis, Shape, axes_of, matmul_dims, split_map
from accelsim.trace.model import LoopDims

_PLAIN = Axis(1, 1, 0, 0, 1, 0)
Slices = tuple[int, int, int, int]
_NO_SLICES = (1, 0, 0, 0)
_FLAT = 2
"""Spatial axes of a map without depth."""


def array_dims(node: GraphNode, sources: list[Shape]) -> LoopDims:
    """Return the loop bounds of an array layer whose operands have the shapes ``sources``."""
    first = sources[0]
    match node.kind:
        case "linear":
            return _linear_dims(node, first)
        case "matmul":
            rows, inner, columns = matmul_dims(node, first, sources[1])
            return LoopDims(G=node.num_heads, K=columns, C=inner, P=rows, H=rows)
        case "aggregate":
            return LoopDims(K=first[-1], P=node.num_edges, H=first[0], W=first[-1])
        case _:
            return _conv_dims(node, first)


def _linear_dims(node: GraphNode, source: Shape) -> LoopDims:
    is_grouped = node.groups > 1
    samples = source[0] if len(source) == 3 and not is_grouped else 1  # noqa: PLR2004  (N, tokens, features)
    rows = prod(source[1:-1] if is_grouped or samples > 1 else source[:-1])
    return LoopDims(N=samples, G=node.groups, K=node.out_channels // node.groups, C=source[-1], P=rows, H=rows)


def _conv_dims(node: GraphNode, source: Shape) -> LoopDims:
    samples, channels, sizes = split_map(node, source)
    is_transposed = node.kind == "conv_transpose2d"
    axes = axes_of(node)
    if is_transposed:
        axes = tuple(Axis(axis.kernel, 1, (axis.kernel - 1) // 2, 0, axis.dilation, 0) for axis in axes)
        outs = sizes
    else:
        outs = node.out_shape[-len(axes) :]
    bound = {"G": node.groups, "K": node.out_channels // node.groups, "C": channels // node.groups}
    return _map_dims(samples, bound, axes, sizes, outs)


def _map_dims(samples: int, channels: dict[str, int], axes: tuple[Axis, ...], sizes: Shape, outs: Shape) -> LoopDims:
    """Return the loop bounds of a window that slides over a map, by the bounds of its channels (G, K, C)."""
    times, (rows, columns), (H, W), (P, Q), slices = _flat(axes, sizes, outs)
    return LoopDims(
        N=samples * times,
        **channels,
        P=P,
        Q=Q,
        R=rows.kernel,
        S=columns.kernel,
        H=H,
        W=W,
        stride=(rows.stride, columns.stride),
        dilation=(rows.dilation, columns.dilation),
        padding=(rows.before, columns.before),
        slices=slices,
    )


def _flat(
    axes: tuple[Axis, ...], sizes: Shape, outs: Shape
) -> tuple[int, tuple[Axis, Axis], tuple[int, int], tuple[int, int], Slices]:
    """Return samples, rows and columns of a map that may have a depth, its sizes, those of its outputs, its slices."""
    if len(axes) == _FLAT:
        return 1, (axes[0], axes[1]), (sizes[0], sizes[1]), (outs[0], outs[1]), _NO_SLICES
    depth, height, width = axes
    if depth.kernel == 1 and not depth.before:
        return outs[0], (height, width), (sizes[1], sizes[2]), (outs[1], outs[2]), _NO_SLICES
    if (height.kernel, width.kernel) == (1, 1) and outs[1:] == sizes[1:]:
        return 1, (depth, _PLAIN), (sizes[0], sizes[1] * sizes[2]), (outs[0], outs[1] * outs[2]), _NO_SLICES
    rows = sorted(zip((depth, height), sizes, outs, strict=False), key=lambda row: -row[1])
    axis, slices = _rows(*zip(*rows, strict=True))
    return 1, (axis, width), (sizes[0] * sizes[1], sizes[2]), (outs[0] * outs[1], outs[2]), slices


def _rows(axes: tuple[Axis, Axis], sizes: Shape, outs: Shape) -> tuple[Axis, Slices]:
    """Return how two axes move as one, the longer one outside: a window over it holds fewest of the other's rows.

    One step along the outer axis reads as many whole slices across it as a filter is long there.
    """
    outer, inner = axes
    across, kernel, before = sizes[1], outer.kernel * inner.kernel, outer.before * sizes[1]
    long = outer.dilation * (outer.kernel - 1) + 1
    stride = inner.stride
    further = outer.stride * across - outs[1] * stride
    if further < 0:  # padded beyond a filter: outputs without an input, which count as steps of less than a row
        stride, further = max(1, prod(sizes) // prod(outs)), 0
    last = (outs[0] - 1) * (outs[1] * stride + further) + (outs[1] - 1) * stride
    of_a_slice = long * across - (outs[1] - 1) * stride
    of_all = min(((outs[0] - 1) * outer.stride + long) * across - before, prod(sizes)) + before - last
    span = max(1, of_a_slice, of_all)
    dilation = max(1, -(-(span - 1) // (kernel - 1))) if kernel > 1 else 1
    spare = max(0, (kernel - 1) * dilation + 1 - span)
    return Axis(kernel, stride, before, 0, dilation, 0), (outs[1], further, spare, 0)


def pool_dims(node: GraphNode, source: Shape) -> LoopDims:
    """Return the loop bounds of a pool: channels as G."""
    if node.kind == "global_pool":
        is_map = len(source) >= 3  # noqa: PLR2004  (C, H, W)
        samples = prod(source[:-3]) if is_map else 1
        high, wide = source[-2:] if is_map else (prod(source[:-1]), 1)
        return LoopDims(N=samples, G=source[-3] if is_map else source[-1], R=high, S=wide, H=high, W=wide)
    samples, channels, sizes = split_map(node, source)
    outs = node.out_shape[-len(sizes) :]
    return _map_dims(samples, {"G": channels}, axes_of(node), sizes, outs)


def vector_dims(shape: Shape, num_inputs: int) -> LoopDims:
    """Return loop bounds that read ``num_inputs`` elements and walk over an output once.

    Channels or features are G, the rest P x Q; where fewer or more elements are read than made, all are rows.
    """
    if prod(shape) != num_inputs:
        return LoopDims(P=prod(shape), H=num_inputs)
    if len(shape) < 3:  # noqa: PLR2004  (tokens, features)
        rows = prod(shape[:-1])
        return LoopDims(G=shape[-1], P=rows, H=rows)
    rows, columns = shape[-2:]
    return LoopDims(N=prod(shape[:-3]), G=shape[-3], P=rows, Q=columns, H=rows, W=columns)
