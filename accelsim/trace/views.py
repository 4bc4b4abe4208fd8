"""Operators that move no data: which elements of their input each shows."""

from __future__ import annotations

from collections.abc import Callable
from math import prod

from accelsim.trace.layout import Layout, Shape
from accelsim.trace.records import Record
from accelsim.trace.values import Value

Viewer = Callable[[Record, Value, Shape], "Layout | None"]


def _same_order(_: Record, source: Value, shape: Shape) -> Layout | None:
    return source.layout.reshaped(shape)


def _lost(_: Record, __: Value, ___: Shape) -> None:
    return None


def axis_of(record: Record, rank: int, *names: str, default: int = 0) -> int:
    """Return the axis that an operation states under one of the names, counted from the first."""
    for name in names:
        if record.arguments.get(name) is not None:
            return record.integer(name, default) % max(1, rank)
    return default % max(1, rank)


def _permute(record: Record, source: Value, _: Shape) -> Layout:
    rank = len(source.shape)
    return source.layout.permuted([axis % rank for axis in record.integers("dims", tuple(range(rank)))])


def _transpose(record: Record, source: Value, _: Shape) -> Layout:
    rank = len(source.shape)
    order = list(range(rank))
    first, second = axis_of(record, rank, "dim0", "axis0"), axis_of(record, rank, "dim1", "axis1", default=1)
    order[first], order[second] = order[second], order[first]
    return source.layout.permuted(order)


def _reversed_axes(record: Record, source: Value, _: Shape) -> Layout:
    rank = len(source.shape)
    if record.target in ("mT", "mH", "adjoint"):
        return source.layout.permuted([*range(rank - 2), rank - 1, rank - 2])
    return source.layout.permuted(range(rank)[::-1])


def _move_axes(record: Record, source: Value, _: Shape) -> Layout:
    rank = len(source.shape)
    origins = [axis % rank for axis in record.integers("source", ())]
    targets = [axis % rank for axis in record.integers("destination", ())]
    order = [axis for axis in range(rank) if axis not in origins]
    for target, origin in sorted(zip(targets, origins, strict=True)):
        order.insert(target, origin)
    return source.layout.permuted(order)


def _expand(_: Record, source: Value, shape: Shape) -> Layout | None:
    return source.layout.expanded(shape)


def _repeat(record: Record, source: Value, shape: Shape) -> Layout | None:
    times = record.integers("repeats", record.integers("dims", ()))
    layout = source.layout.reshaped((1,) * (len(shape) - len(source.shape)) + source.shape)
    if layout is None:
        return None
    times = (1,) * (len(shape) - len(times)) + times
    for axis, count in enumerate(times):
        layout = layout.repeated(axis, count, each=False)
    return layout


def _repeat_each(record: Record, source: Value, shape: Shape) -> Layout | None:
    if record.arguments.get("dim") is None:
        return None
    axis = axis_of(record, len(source.shape), "dim")
    times, rest = divmod(shape[axis], source.shape[axis])
    return None if rest else source.layout.repeated(axis, times, each=True)


def _part(record: Record, source: Value, shape: Shape) -> Layout | None:
    if len(shape) != len(source.shape):
        return None
    axis = axis_of(record, len(shape), "dim", "axis")
    return source.layout.cut(axis, shape[axis], record.integer("step", 1))


def _drop(record: Record, source: Value, shape: Shape) -> Layout | None:
    axis = axis_of(record, len(source.shape), "dim", "axis")
    return source.layout.cut(axis, 1).without(axis)  # type: ignore[union-attr]  # one element can always be cut


def picked(source: Value, shape: Shape, sample_axis: int | None = None) -> Layout | None:
    """Return the view of what is read by an index along an axis; None where its order is not followed.

    An index that is a multiple of its axis, as that of key heads to query heads is, is taken to name each slice as
    often: which one each is changes no count. ``sample_axis`` is never such an axis: an index mixes samples.
    """
    have, more = source.shape, len(shape) - len(source.shape)
    for axis, size in enumerate(have):
        rest = axis + more + 1
        if more < 0 or have[:axis] != shape[:axis] or have[axis + 1 :] != shape[rest:] or axis == sample_axis:
            continue
        times, left = divmod(prod(shape[axis:rest]), max(1, size))
        if not left and times > 1:
            return source.layout.repeated(axis, times, each=True).reshaped(shape)
    return None


def _picked(_: Record, source: Value, shape: Shape) -> Layout | None:
    return picked(source, shape)


_SAME_ORDER = (
    "view _unsafe_view reshape flatten unflatten unsqueeze squeeze contiguous clone detach detach_ to _to_copy type_as "
    "alias alias_copy dropout dropout_ feature_dropout feature_dropout_ alpha_dropout view_as reshape_as identity "
    "_reshape_alias view_copy squeeze_copy unsqueeze_copy detach_copy lift_fresh_copy lift_fresh lift native_dropout "
    "tril triu tril_ triu_ ravel atleast_1d atleast_2d atleast_3d view_as_real view_as_complex real imag "
    "conj resolve_conj resolve_neg positive fake_quantize_per_tensor_affine fake_quantize_per_channel_affine "
    "quantize_per_tensor quantize_per_channel dequantize float half int long bool double bfloat16 _conj cpu cuda "
    "fake_quantize_per_tensor_affine_cachemask fake_quantize_per_channel_affine_cachemask "
    "quantized_decomposed::quantize_per_tensor quantized_decomposed::dequantize_per_tensor getitem "
    "quantized_decomposed::quantize_per_channel quantized_decomposed::dequantize_per_channel prims::view_of "
    "prims::convert_element_type squeeze_ unsqueeze_"
)
_LOST = (
    "pixel_shuffle pixel_unshuffle channel_shuffle native_channel_shuffle roll flip fliplr flipud rot90 unfold im2col "
    "unfold_copy as_strided as_strided_copy diagonal diagonal_copy masked_select"
)
_VIEWERS: dict[str, Viewer] = {
    **dict.fromkeys(_SAME_ORDER.split(), _same_order),
    **dict.fromkeys(_LOST.split(), _lost),
    **dict.fromkeys("permute permute_copy".split(), _permute),
    **dict.fromkeys("transpose transpose_ transpose_copy swapaxes swapdims".split(), _transpose),
    **dict.fromkeys("t t_ numpy_T T mT mH adjoint t_copy".split(), _reversed_axes),
    **dict.fromkeys("movedim moveaxis".split(), _move_axes),
    **dict.fromkeys("expand expand_as broadcast_to expand_copy".split(), _expand),
    **dict.fromkeys("repeat tile".split(), _repeat),
    "repeat_interleave": _repeat_each,
    **dict.fromkeys("gather index index_select take take_along_dim _unsafe_index".split(), _picked),
    **dict.fromkeys(
        "slice slice_copy narrow narrow_copy chunk split split_with_sizes split_copy split_with_sizes_copy "
        "tensor_split unsafe_split unsafe_chunk unsafe_split_with_sizes hsplit vsplit dsplit".split(),
        _part,
    ),
    **dict.fromkeys("select select_copy unbind unbind_copy".split(), _drop),
}


def is_view(target: str) -> bool:
    """Return whether an operator moves no data."""
    return target in _VIEWERS


def view(record: Record, source: Value, shape: Shape, index: int) -> Value:
    """Return the ``index``-th output of a view.

    Raises
    ------
    ValueError, TypeError, LookupError
        Arguments that do not fit the operator.
    """
    layout = _VIEWERS[record.target](record, source, shape)
    part = ""
    if not source.is_live:
        where = [record.arguments.get(name) for name in ("dim", "start", "index")]
        is_part = layout is None or layout.num_distinct < source.layout.num_distinct
        part = f"/{record.target}{where}{index}" if is_part else ""
    return source.viewed(layout, shape, part)
