"""Exact sums of convolutions over int8 codes, as products of int8 matrices: much faster than floats on many hosts."""

from __future__ import annotations

import torch
from torch.nn import functional

from accelsim.ticket.graph import GraphNode

LARGEST_WEIGHT = 63
"""Hosts without an instruction for sums of int8 products add two of them, of up to 255 each code, in 16 bits."""


def int8_matrix(node: GraphNode, weights_KCRS: torch.Tensor) -> torch.Tensor | None:
    """Return a layer's weights as int8 [R x S x C, K], or None where it is no convolution of that kind.

    None too with a torch that has no product of int8 matrices, which is not among its documented functions.
    """
    if not hasattr(torch, "_int_mm"):
        return None
    is_plain = node.kind == "conv2d" and node.groups == 1 and weights_KCRS.ndim == 4  # noqa: PLR2004  no depth
    if not is_plain or float(weights_KCRS.abs().max()) > LARGEST_WEIGHT:
        return None
    columns = weights_KCRS.permute(2, 3, 1, 0).flatten(0, 2)
    return columns.to(torch.int8).contiguous()


def convolve(node: GraphNode, codes_NCHW: torch.Tensor, matrix: torch.Tensor) -> torch.Tensor:
    """Return the sums [N, K, P, Q] of codes within -127 to 127, int32, with channels last in memory."""
    (rows, columns), (down, right) = node.kernel, node.stride
    (top, left), (step_down, step_right) = node.padding, node.dilation
    codes = codes_NCHW.permute(0, 2, 3, 1).to(torch.int8)
    padded = functional.pad(codes, (0, 0, left, left, top, top)).contiguous()
    number, height, width, channels = padded.shape
    out_height = (height - step_down * (rows - 1) - 1) // down + 1
    out_width = (width - step_right * (columns - 1) - 1) // right + 1
    image, line, place, channel = padded.stride()
    windows = padded.as_strided(
        (number, out_height, out_width, rows, columns, channels),
        (image, line * down, place * right, line * step_down, place * step_right, channel),
    )
    sums = torch._int_mm(windows.reshape(number * out_height * out_width, -1), matrix)
    return sums.view(number, out_height, out_width, -1).permute(0, 3, 1, 2)
