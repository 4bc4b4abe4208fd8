"""What several cores divide among them: parts of a layer by filters, output positions, or inputs of the batch.

Parts add up to the layer: multiply-accumulates, outputs, stored bits and kept weights, to the last one. What parts have
in common, the inputs of all filters or the weights of all positions, each of them needs whole, halos of rows included.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, TypeGuard

from accelsim.mapping.task import LayerTask, input_window
from accelsim.storage.base import StoredBits, WeightPlan
from accelsim.timing.core_pieces import Alike
from accelsim.trace.model import LayerWeights, LoopDims, TraceLayer

Part = Literal["filters", "positions", "batch"]
PARTS: tuple[Part, ...] = ("filters", "positions", "batch")
ALIKE: dict[Part, Alike] = {"filters": "inputs", "positions": "weights", "batch": "weights"}
_MOVING = frozenset({"conv2d", "depthwise_conv2d", "linear", "matmul"})  # kinds whose rows of outputs may be divided


@dataclass(frozen=True, slots=True)
class Share:
    """Elements ``first`` to ``first + size`` of ``total``."""

    first: int
    size: int
    total: int

    def of(self, count: int) -> int:
        """Return this share of a count; those of all parts add up to it."""
        return count * (self.first + self.size) // self.total - count * self.first // self.total


def shares(total: int, parts: int) -> list[Share]:
    """Return ``total`` in at most ``parts`` nearly equal shares, none empty, the larger first."""
    base, rest = divmod(total, parts)
    sizes = [base + (place < rest) for place in range(parts)]
    firsts = [sum(sizes[:place]) for place in range(parts)]
    return [Share(first, size, total) for first, size in zip(firsts, sizes, strict=True) if size]


def is_part(word: str) -> TypeGuard[Part]:
    """Return whether a layer is divided by ``word``."""
    return word in PARTS


def split_task(task: LayerTask, by: Part, num_parts: int, num_inputs: int) -> tuple[LayerTask, ...] | None:
    """Return the parts of a layer for at most ``num_parts`` cores; None where it cannot be divided so.

    Parameters
    ----------
    num_inputs
        Inputs of the batch that the layer works on.
    """
    layer, dims = task.layer, task.layer.dims
    if not layer.uses_array:
        return _elements(task, num_parts)
    if by == "batch":
        return _batch(task, num_parts, num_inputs)
    if by == "positions":
        return _rows(task, num_parts)
    if dims.G > 1:
        return _divided(task, shares(dims.G, num_parts), "G")
    return _divided(task, shares(dims.K, num_parts), "K") if dims.K > 1 else None


def _elements(task: LayerTask, num_parts: int) -> tuple[LayerTask, ...] | None:
    """Divide what the vector unit works on alone, element by element."""
    layer = task.layer
    total = layer.num_outputs or layer.dims.num_outputs
    if total < num_parts:
        return None

    def part(share: Share) -> LayerTask:
        dims = LoopDims(P=share.size, H=max(1, share.of(layer.dims.num_inputs)))
        return _part(task, share, share.of, dims, weights=None)

    return tuple(part(share) for share in shares(total, num_parts))


def _batch(task: LayerTask, num_parts: int, num_inputs: int) -> tuple[LayerTask, ...] | None:
    """Divide the inputs of a batch; those of a product of two activations are groups."""
    dims = task.layer.dims
    if dims.N > 1 and dims.N % num_inputs == 0:
        each = dims.N // num_inputs
        found = [
            _part(task, share, share.of, replace(dims, N=share.size * each), weights=None)
            for share in shares(num_inputs, num_parts)
        ]
        return tuple(found) if len(found) > 1 else None
    if task.layer.kind == "matmul" and num_inputs > 1 and dims.G % num_inputs == 0:
        each = dims.G // num_inputs
        groups = [Share(share.first * each, share.size * each, dims.G) for share in shares(num_inputs, num_parts)]
        return _divided(task, groups, "G")
    return None


def _rows(task: LayerTask, num_parts: int) -> tuple[LayerTask, ...] | None:
    """Divide rows (or columns, where there are more) of outputs; each part reads the rows under its own."""
    layer, dims = task.layer, task.layer.dims
    loop: Literal["P", "Q"] = "P" if dims.P >= dims.Q else "Q"
    total = dims.P if loop == "P" else dims.Q
    if total < 2:  # noqa: PLR2004  one row is one part
        return None
    if layer.kind in _MOVING:
        return tuple(rows_part(task, share, loop) for share in shares(total, num_parts))
    return tuple(_apart_part(task, share, loop) for share in shares(total, num_parts)) if _is_apart(layer) else None


def _is_apart(layer: TraceLayer) -> bool:
    """Return whether no output of a transposed convolution gets products of two inputs of a channel.

    Its loops run over its inputs, each of which makes as many outputs as a filter has weights in a channel.
    """
    dims = layer.dims
    return layer.kind == "conv_transpose2d" and layer.num_outputs == dims.num_outputs * dims.R * dims.S


def _apart_part(task: LayerTask, share: Share, loop: Literal["P", "Q"]) -> LayerTask:
    """Return a range of the rows (or columns) of inputs of such a layer, with the outputs that they alone make."""
    dims = task.layer.dims
    own = replace(dims, P=share.size, H=share.size) if loop == "P" else replace(dims, Q=share.size, W=share.size)
    return _part(task, share, share.of, own, weights=None)


def rows_part(task: LayerTask, share: Share, loop: Literal["P", "Q"] = "P") -> LayerTask:
    """Return a range of a layer's rows (or columns) of outputs, with the rows under it of what it reads."""
    dims = task.layer.dims
    first, behind = input_window(task, loop, share.first, share.size)
    axis, all_rows = (0, dims.H) if loop == "P" else (1, dims.W)
    above = max(0, -dims.start(axis, share.first))
    padding = (above, dims.padding[1]) if axis == 0 else (dims.padding[0], above)
    rows = max(1, behind - first)
    every, further, spare, before = dims.slices
    slices = (every, further, spare, (before + share.first) % every)
    own = replace(dims, P=share.size, H=rows, slices=slices) if loop == "P" else replace(dims, Q=share.size, W=rows)

    def of_inputs(count: int) -> int:
        return -(-count * rows // all_rows)

    return _part(task, share, of_inputs, replace(own, padding=padding), weights=None)


def _divided(task: LayerTask, parts: list[Share], loop: Literal["G", "K"]) -> tuple[LayerTask, ...] | None:
    """Divide filters, or groups with their inputs; of a product of two activations the second operand with them."""
    if len(parts) < 2:  # noqa: PLR2004  one part is the layer
        return None
    layer, dims = task.layer, task.layer.dims
    # The weights of a transposed convolution lie, and are drawn, by input channel.
    is_swapped = layer.kind == "conv_transpose2d"
    within = is_swapped and loop == "K"
    filters = (dims.C if is_swapped else dims.K) if loop == "G" else 1
    window = dims.R * dims.S

    def whole(count: int) -> int:
        return count

    def part(share: Share) -> LayerTask:
        own = replace(dims, G=share.size) if loop == "G" else replace(dims, K=share.size)
        made = _part(task, share, share.of if loop == "G" else whole, own, weights=share)
        second = replace(
            made.layer,
            second_input_elements=share.of(layer.second_input_elements),
            cached_elements=None if layer.cached_elements is None else share.of(layer.cached_elements),
        )
        if within:
            first, total = share.first * window, share.total * window
            return replace(made, layer=second, first_weight=first, filter_weights=total)
        return replace(made, layer=second, first_filter=share.first * filters)

    return tuple(part(share) for share in parts)


def _part(
    task: LayerTask, share: Share, of_inputs: Callable[[int], int], dims: LoopDims, weights: Share | None
) -> LayerTask:
    """Return the task with a share of its outputs, ``of_inputs`` of its inputs, and all or a share of its weights."""
    layer = task.layer
    plan, own = task.plan, layer.weights
    if weights is not None and plan is not None and own is not None:
        each = own.shape[0] // weights.total  # filters of a group
        rows = Share(weights.first * each, weights.size * each, own.shape[0])
        is_swapped = layer.kind == "conv_transpose2d"
        drawn = layer.dims.G * layer.dims.C if is_swapped else rows.total
        plan = _part_of_plan(plan, rows, drawn, is_swapped and layer.dims.G == 1)
        own = _part_of_weights(own, rows)
    second = layer.second_input_elements
    if not layer.uses_array:
        second = share.of(second)
    return replace(
        task,
        layer=_part_of_layer(layer, share, dims, own, second),
        plan=plan,
        dram_input_elements=min(dims.num_inputs, of_inputs(task.dram_input_elements)),
        residual_dram_elements=share.of(task.residual_dram_elements),
        residual_elements=share.of(task.residual_elements),
    )


def _part_of_layer(
    layer: TraceLayer, share: Share, dims: LoopDims, weights: LayerWeights | None, second: int
) -> TraceLayer:
    return replace(
        layer,
        dims=dims,
        weights=weights,
        vector_ops=share.of(layer.vector_ops),
        num_outputs=share.of(layer.num_outputs),
        cached_outputs=None if layer.cached_outputs is None else share.of(layer.cached_outputs),
        second_input_elements=second,
        input_elements=(),
    )


def _part_of_plan(plan: WeightPlan, rows: Share, num_filters: int, needs_all: bool) -> WeightPlan:
    """Return how a share of a layer's filters reaches the array; streams keep the filters that they have.

    ``num_filters`` are those of the layer along which streams run; ``needs_all``: the share takes a part of each.
    """
    source = plan.source
    if source is not None and source.stream == "layer":
        source = replace(source, stream="tile", tile_filters=num_filters)
    has_seeds = not needs_all and (source is None or source.seeds == "stored")  # else each core needs the one seed
    return replace(
        plan,
        stored_bits=_part_of_bits(plan.stored_bits, rows, has_seeds),
        fetched_bits=None if plan.fetched_bits is None else _part_of_bits(plan.fetched_bits, rows, has_seeds),
        decoder_symbols=rows.of(plan.decoder_symbols),
        num_nonzero=rows.of(plan.num_nonzero),
        source=source,
    )


def _part_of_bits(bits: StoredBits, rows: Share, has_seeds: bool) -> StoredBits:
    parts = {name: rows.of(getattr(bits, name)) for name in StoredBits.__slots__}
    return StoredBits(**{**parts, "seed": parts["seed"] if has_seeds else bits.seed})


def _part_of_weights(weights: LayerWeights, rows: Share) -> LayerWeights:
    mask, sign = weights.load_mask, weights.load_sign
    place = slice(rows.first, rows.first + rows.size)
    return replace(
        weights,
        shape=(rows.size, *weights.shape[1:]),
        num_kept=rows.of(weights.num_kept),
        num_pruned=rows.of(weights.num_pruned),
        num_locked=rows.of(weights.num_locked),
        num_free=rows.of(weights.num_free),
        codec_bits=None if weights.codec_bits is None else rows.of(weights.codec_bits),
        num_scale_bits=rows.of(weights.num_scale_bits),
        coat_kept=tuple(rows.of(count) for count in weights.coat_kept),
        load_mask=None if mask is None else lambda: mask()[place],
        load_sign=None if sign is None else lambda: sign()[place],
    )
