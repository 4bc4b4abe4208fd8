"""The multiply-accumulates of an ONNX node from its own shapes: what the layers made of it are compared with."""

from __future__ import annotations

from math import prod

from accelsim.trace.onnx_ops import Node

_CONVS = {"Conv": 1, "ConvInteger": 1, "QLinearConv": 3, "DeformConv": 1}
_MATMULS = frozenset(
    "MatMul MatMulInteger QLinearMatMul FusedMatMul DynamicQuantizeMatMul MatMulIntegerToFloat".split()
)


def node_macs(node: Node) -> int | None:
    """Return the multiply-accumulates of a node; None where the operator's own terms say it better."""
    kind, out = node.proto.op_type, node.shape_out()
    if kind in _CONVS:
        return prod(out) * prod(node.shape(_CONVS[kind])[1:])
    if kind == "ConvTranspose":
        return prod(node.shape(0)) * prod(node.shape(1)[1:])
    if kind in ("Gemm", "QGemm"):
        first = node.shape(0)
        return prod(out) * first[0 if node.integer("transA", 0) else -1]
    if kind in _MATMULS:
        first = node.shape(0)
        return prod(out) * first[-2 if kind == "FusedMatMul" and node.integer("transA", 0) else -1]
    if kind in ("MatMulNBits", "MatMulBnb4"):
        return prod(out) * node.integer("K", 1)
    if kind in ("LSTM", "GRU", "RNN"):
        positions = prod(node.shape(0)[:2])
        return positions * (prod(node.shape(1)) + prod(node.shape(2)))
    return None
