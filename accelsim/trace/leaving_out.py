"""Which unknown operators may be left out: those that cannot carry multiply-accumulates, as far as that can be known.

An operator is known by its name, by the tensors it reads, and by the shape of its result. What reads two activations
may contract them (attention, scans); what reads weights works with products; and so may an operator of a library that
is not known here, where its result has axes that its operand does not have.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from accelsim.trace.layout import Shape
from accelsim.trace.values import Value

MATRIX_AXES = 2
"""Axes of more than one element from which on a tensor can be contracted with another."""
_MULTIPLYING = re.compile(
    "conv|gemm|matmul|linear|attention|lstm|gru|rnn|einsum|_mm|mm_|mm$|dft|stft|fft|dot|cdist|pdist|expert|moe|linalg"
    "|matrix_power|matrix_exp|inverse|solve|cholesky|svd|outer|kron|cosine_similarity|transformer|encoder|decoder"
    "|^inner$|^addr$|^cov$|corrcoef|qr|det$|^lu_|_lu_|nuclear|affine_?grid|svm|beamsearch|greedysearch|sampling"
    "|epcontext|snpe|^cond$|^if$|^loop$|^scan$|while_loop"
    # What maps a module over an axis: all behind it would be counted for one entry.
    "|functorch|batch_dim|vmap"
)
_FREE = re.compile(
    "nms|non_?max_?suppression|loss|multinomial|roi_?(pool|align)|quantile|histogram|isclose|isin|gcd|lcm|igamma"
    "|string|sequence|dropout|rand|gather|scatter|sort|unique|mask|where|compare|equal|broadcast"
)
"""Names of operators that read several activations and multiply no matrices."""


def is_vmap(target: str) -> bool:
    """Return whether an operation is one that ``torch.vmap`` leaves around those that it maps, which lack an axis."""
    return target in ("_add_batch_dim", "_remove_batch_dim") or "functorch" in target


def is_foreign(target: str) -> bool:
    """Return whether an operator is of another library than ATen and ONNX: what it does is not known."""
    return "::" in target or "." in target


def may_multiply(target: str, operands: Sequence[Value], shape: Shape, held: Sequence[str] = ()) -> str:
    """Return why an operator may multiply and accumulate, "" where that is ruled out.

    Parameters
    ----------
    operands
        All tensors that it reads.
    shape
        Of its first result.
    held
        The attributes in which it holds tensors or graphs of its own.
    """
    name = re.split(r"::|\.", target)[-1].lower()
    if _MULTIPLYING.search(name):
        return "it multiplies"
    if held:
        return f"it holds {held[0]!r}"
    if any(not value.is_live and value.root and _is_matrix(value.shape) for value in operands):
        return "it reads weights"
    if _FREE.search(name):
        return ""
    live = [value.shape for value in operands if value.is_live]
    if sum(map(_is_matrix, live)) > 1:
        return "it reads two activations"
    if is_foreign(target) and not any(_is_reduced(have, shape) for have in live):
        return "its result has other axes than its operand"
    return ""


def _is_matrix(shape: Shape) -> bool:
    return sum(size > 1 for size in shape) >= MATRIX_AXES


def _is_reduced(have: Shape, made: Shape) -> bool:
    """Return whether all axes of a result are, in order, axes of the operand: it may be one of their sums."""
    left = iter(size for size in have if size > 1)
    return all(size in left for size in made if size > 1)
