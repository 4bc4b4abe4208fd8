"""Operators that multiply: convolutions, linear layers, matrix products, attention, recurrent layers."""

from __future__ import annotations

from dataclasses import replace
from math import prod

from accelsim.ticket.graph import GraphNode
from accelsim.ticket.shapes import Axis
from accelsim.trace.call import Call, Handler
from accelsim.trace.layout import Layout, Shape, contiguous
from accelsim.trace.products import (
    Terms,
    UnfitError,
    equation_terms,
    linear_terms,
    matmul_terms,
    shared_letters,
)
from accelsim.trace.records import ATTENTIONS
from accelsim.trace.recurrent import recurrent, recurrent_cell
from accelsim.trace.values import Value

_CONVS = (
    "conv1d conv2d conv3d convolution _convolution conv_transpose1d conv_transpose2d conv_transpose3d "
    "_convolution_mode convolution_overrideable mkldnn_convolution cudnn_convolution thnn_conv2d slow_conv3d "
    "_slow_conv2d_forward conv_depthwise3d _conv_depthwise2d"
)
_VECTOR_RANK = 2
OF_VECTORS = frozenset("mv dot vdot".split())


def _weight(call: Call, value: Value) -> Value:
    """Return the weights of an operator; where they are an input of the network, they are stored like others."""
    if not value.is_live:
        return value
    name = call.record.ref("weight", "mat2", "other") or ""
    if name in dict(call.program.inputs):
        return replace(value, node=None, root=name)
    raise UnfitError("its weights are computed from the input")


def _conv(call: Call) -> None:
    record = call.record
    source, weight = call.need("input", "self"), call.need("weight")
    if not source.is_live:
        raise UnfitError("its input is a constant, its weights are not")
    if weight.is_live and record.ref("weight") not in dict(call.program.inputs):
        _conv_of_computed(call, source, weight)
        return
    weight = _weight(call, weight)
    rank = len(weight.shape) - 2
    is_transposed = "transpose" in record.target or call.flag("transposed")
    kernel = weight.shape[2:]
    dilation = record.sizes("dilation", rank, 1)
    before, after = _conv_padding(call, kernel, dilation)
    strides, output_padding = record.sizes("stride", rank, 1), record.sizes("output_padding", rank, 0)
    axes = [Axis(*fields) for fields in zip(kernel, strides, before, after, dilation, output_padding, strict=True)]
    groups = record.integer("groups", 1)
    template = GraphNode(
        "",
        "conv_transpose2d" if is_transposed else "conv2d",
        (),
        (),
        weight.shape[1] * groups if is_transposed else weight.shape[0],
        groups=groups,
        bias=record.ref("bias") is not None,
    )
    call.emitter.conv(call.operation, source, weight, call.shape, template, axes)


def _conv_of_computed(call: Call, source: Value, weight: Value) -> None:
    """Handle a convolution whose weights the network computes (of each sample its own, by groups): matrix products.

    Its windows are read where they lie, as those of a convolution are; of a transposed one, what the products give is
    added up where it overlaps.
    """
    rank, groups, bias = len(weight.shape) - 2, call.record.integer("groups", 1), call.value("bias")
    samples = prod(source.shape[: len(source.shape) - rank - 1])
    product = call.operation if bias is None else call.operation.part("product")
    if "transpose" in call.record.target or call.flag("transposed"):
        terms, kernel_shape = Terms("bgcp", "gck", "bgkp"), (groups, weight.shape[0] // groups, prod(weight.shape[1:]))
        inner, positions = kernel_shape[1], prod(source.shape[-rank:])
        columns = product.part("columns")
        shape: Shape = (samples, groups, kernel_shape[2], positions)
    else:
        terms, kernel_shape = Terms("bgcp", "gkc", "bgkp"), (groups, weight.shape[0] // groups, prod(weight.shape[1:]))
        inner, positions = kernel_shape[2], prod(call.shape[-rank:])
        columns, shape = product, call.shape
    windows = source.viewed(None, (samples, groups, inner, positions))
    kernels = weight.viewed(weight.layout.reshaped(kernel_shape), kernel_shape)
    call.emitter.product(columns, windows, kernels, terms, shape)
    if columns is not product:
        call.emitter.vector(product, [call.emitter.value(columns.output)], call.shape, prod(shape), "col2im")
    if bias is not None:
        spread = (bias.shape[0], *[1] * rank)
        sources = [call.emitter.value(product.output)]
        sources += [bias.viewed(bias.layout.reshaped(spread), spread)] if bias.is_live else []
        call.emitter.elementwise(call.operation, "add", sources, call.shape, constant=None if bias.is_live else "")


def _conv_padding(call: Call, kernel: Shape, dilation: Shape) -> tuple[Shape, Shape]:
    """Return the padding before and after each axis."""
    rank, stated = len(kernel), call.record.arguments.get("padding")
    if isinstance(stated, str):
        spans = [gap * (size - 1) if stated == "same" else 0 for size, gap in zip(kernel, dilation, strict=True)]
        return tuple(span // 2 for span in spans), tuple(span - span // 2 for span in spans)
    before = call.record.sizes("padding", rank, 0)
    end = call.record.arguments.get("end_padding")
    return before, before if end is None else call.record.sizes("end_padding", rank, 0)


def _deform_conv(call: Call) -> None:
    """Handle a deformable convolution: a convolution over inputs that are interpolated first."""
    record, source, weight = call.record, call.need("input"), _weight(call, call.need("weight"))
    kernel = weight.shape[2:]
    window = prod(kernel)
    channels, groups = source.shape[1], source.shape[1] // weight.shape[1]
    taken: Shape = (source.shape[0], channels * window, *call.shape[2:])
    sampled = call.operation.part("sampled")
    others = [value for value in call.values() if value.is_live and value is not source]
    call.emitter.vector(sampled, [source, *others], taken, 8 * prod(taken), "interpolate")
    template = GraphNode("", "conv2d", (), (), weight.shape[0], groups=groups, bias=record.ref("bias") is not None)
    folded = weight.viewed(contiguous((weight.shape[0], weight.shape[1] * window, 1, 1)), (
        weight.shape[0], weight.shape[1] * window, 1, 1,
    ))  # fmt: skip
    plain = [Axis(1, 1, 0, 0, 1, 0)] * 2
    call.emitter.conv(call.operation, call.emitter.value(sampled.output), folded, call.shape, template, plain)


def _linear(call: Call) -> None:
    source, weight = call.need("input", "self"), call.need("weight")
    bias = call.record.ref("bias") is not None
    call.emitter.product(
        call.operation, source, weight, linear_terms(source.shape, weight.shape), call.shape, bias=bias
    )


def _packed_linear(call: Call) -> None:
    """Handle a linear layer whose weights are packed: their number follows from the sizes of input and result."""
    source, weight = call.need("input", "self"), call.need("weight", "mat2")
    shape = (call.shape[-1], source.shape[-1])
    unpacked = replace(
        weight, shape=shape, layout=contiguous(shape), num_distinct=prod(shape), root=weight.root or call.output
    )
    bias = call.record.ref("bias") is not None
    call.emitter.product(call.operation, source, unpacked, linear_terms(source.shape, shape), call.shape, bias=bias)


def _matmul(call: Call) -> None:
    """Handle products of two tensors, with or without an addend; a constant operand is a weight."""
    record = call.record
    has_addend = record.target.startswith(("addmm", "baddbmm", "addmv", "addbmm"))
    refs = record.refs()
    addend = call.emitter.value(refs[0]) if has_addend else None
    operands = [call.emitter.value(name) for name in (refs[1:3] if has_addend else refs[:2])]
    first, second = operands if len(operands) == _VECTOR_RANK else operands * 2
    product = call.operation.part("product") if addend is not None and addend.is_live else call.operation
    is_summed = record.target == "addbmm"
    terms = Terms("bMK", "bKN", "MN") if is_summed else matmul_terms(first.shape, second.shape)
    bias = addend is not None and not addend.is_live
    call.emitter.product(product, first, second, terms, call.shape, bias=bias)
    if addend is not None and addend.is_live:
        call.emitter.elementwise(call.operation, "add", [call.emitter.value(product.output), addend], call.shape)


def _einsum(call: Call) -> None:
    """Handle sums of products: of several tensors two at a time, from the left."""
    values = call.values_of("tensors") or call.values()
    terms, out = equation_terms(str(call.record.arguments.get("equation", "")), [len(v.shape) for v in values])
    for place, (value, term) in enumerate(zip(values, terms, strict=True)):
        values[place], terms[place] = _diagonal(value, term)
    if len(values) == 1:
        _single(call, values[0], terms[0], out)
        return
    kept = shared_letters(terms, out)
    values = [_summed(call, *pair, index) for index, pair in enumerate(zip(values, terms, kept, strict=True))]
    terms = kept
    value, term = values[0], terms[0]
    sizes: dict[str, int] = {}
    for other, letters in zip(values, terms, strict=True):
        for letter, size in zip(letters, other.shape, strict=True):
            sizes[letter] = max(size, sizes.get(letter, 1))
    for index in range(1, len(values)):
        later = "".join([*terms[index + 1 :], out])
        is_last = index == len(values) - 1
        wanted = out if is_last else "".join(letter for letter in dict.fromkeys(term + terms[index]) if letter in later)
        shape = tuple(sizes[letter] for letter in wanted)
        operation = call.operation if is_last else call.operation.part(str(index))
        pair = Terms(term, terms[index], wanted)
        if not value.is_live and not values[index].is_live:
            raise UnfitError("two of its operands are constants")
        if pair.inner:
            call.emitter.product(operation, value, values[index], pair, shape, bias=is_last and call.flag("bias"))
        else:
            _outer(call, (value, values[index]), pair, shape, operation.output)
        value, term = call.emitter.value(operation.output), wanted


def _diagonal(value: Value, term: str) -> tuple[Value, str]:
    """Return the diagonal along axes whose letter stands twice, and the term with each letter once."""
    if len(set(term)) == len(term) or len(term) != len(value.shape):
        return value, term
    once = "".join(dict.fromkeys(term))
    places = [[place for place, letter in enumerate(term) if letter == wanted] for wanted in once]
    if any(len({value.shape[place] for place in each}) > 1 for each in places):
        raise UnfitError("a letter stands for axes of different sizes")
    axes = [[value.layout.axes[place] for place in each] for each in places]
    shape = tuple(value.shape[each[0]] for each in places)
    layout = None
    if all(len(factors) <= 1 for each in axes for factors in each):  # one step goes one along each of the axes
        steps = [sum(factor[1] for factors in each for factor in factors) for each in axes]
        layout = Layout(tuple(((size, step),) if size > 1 else () for size, step in zip(shape, steps, strict=True)))
    return value.viewed(layout, shape, f"/diagonal{term}"), once


def _summed(call: Call, value: Value, term: str, kept: str, index: int) -> Value:
    """Return an operand without the axes that no other one and no result has: it is summed along them first."""
    if term == kept:
        return value
    shape = tuple(size for letter, size in zip(term, value.shape, strict=True) if letter in kept)
    operation = call.operation.part(f"sum{index}")
    if value.is_live:
        axes = [place for place, letter in enumerate(term) if letter not in kept]
        call.emitter.reduce(operation, value, shape, axes)
    else:
        call.emitter.constant(operation.output, shape, value.root, f"{value.part}~{operation.output}")
    return call.emitter.value(operation.output)


def _outer(call: Call, operands: tuple[Value, Value], terms: Terms, shape: Shape, output: str) -> None:
    """Multiply element by element, where nothing is summed."""
    if set(terms.first + terms.second) != set(terms.out):
        raise UnfitError("a letter stands in one operand alone")
    spread = []
    for value, term in zip(operands, (terms.first, terms.second), strict=True):
        order = [term.index(letter) for letter in terms.out if letter in term]
        layout = value.layout.permuted(order).reshaped(
            tuple(value.shape[term.index(letter)] if letter in term else 1 for letter in terms.out)
        )
        spread.append(value if layout is None else value.viewed(layout, layout.shape))
    live = [value for value in spread if value.is_live]
    constant = None if len(live) == len(spread) else "constant"
    call.emitter.elementwise(replace(call.operation, output=output), "multiply", live, shape, constant=constant)


def _single(call: Call, value: Value, term: str, out: str) -> None:
    summed = [place for place, letter in enumerate(term) if letter not in out]
    if summed:
        call.emitter.reduce(call.operation, value, call.shape, summed)
    else:
        order = [term.index(letter) for letter in out]
        call.emitter.alias(call.operation.output, value.viewed(value.layout.permuted(order), call.shape))


def _attention(call: Call) -> None:
    """Handle scaled dot-product attention: two products and a softmax; its scale folds into that of the queries.

    Keys and values with fewer heads than the queries serve a group of them.
    """
    emitter, query = call.emitter, call.need("query")
    key, value = (_shared_heads(call.need(name), query.shape) for name in ("key", "value"))
    leading = "abcdef"[: len(query.shape) - 2]
    scores, weights = call.operation.part("scores"), call.operation.part("softmax")
    shape = (*call.shape[:-1], key.shape[-2])
    emitter.product(scores, query, key, Terms(leading + "LE", leading + "SE", leading + "LS"), shape)
    mask = call.value("attn_mask", "attn_bias")
    found = emitter.value(scores.output)
    if mask is not None and mask.is_live:
        masked = call.operation.part("masked")
        emitter.elementwise(masked, "add", [found, mask], shape)
        found = emitter.value(masked.output)
    emitter.simple(weights, "softmax", found, across=[-1])
    terms = Terms(leading + "LS", leading + "SV", leading + "LV")
    emitter.product(call.operation, emitter.value(weights.output), value, terms, call.shape)


def _shared_heads(value: Value, query: Shape) -> Value:
    """Return keys or values repeated to as many heads as the queries have."""
    head = len(value.shape) - 3
    if head < 0 or value.shape[head] in (1, query[head]) or query[head] % value.shape[head]:
        return value
    layout = value.layout.repeated(head, query[head] // value.shape[head], each=True)
    return value.viewed(layout, layout.shape)


def _experts(call: Call) -> None:
    """Handle products of groups of rows with weights of their own each: experts of a mixture.

    How many rows each expert gets depends on data: all get as many, and the rest goes to some of them. Experts without
    a row are stored, not fetched.
    """
    source, weight = call.values()[:2]
    if weight.is_live or len(weight.shape) != 3 or len(source.shape) != 2:  # noqa: PLR2004  experts, in, out
        raise UnfitError("its operands are not rows and the weights of experts")
    num_experts, _, columns = weight.shape
    each, rest = divmod(source.shape[0], num_experts)
    made = []
    for name, groups, rows in (("each", num_experts, each), ("rest", rest, 1)):
        if groups * rows:
            operation = call.operation.part(name)
            call.emitter.experts(operation, source, weight, (groups, rows), (groups * rows, columns))
            made.append(call.emitter.value(operation.output))
    call.emitter.concat(call.operation, made, call.shape)


def _cdist(call: Call) -> None:
    """Handle distances of all pairs, as work of the vector unit: subtract, square, add."""
    first, second = call.need("x1", "input"), call.need("x2")
    num = prod(call.shape) * first.shape[-1]
    call.emitter.vector(call.operation, [v for v in (first, second) if v.is_live], call.shape, 3 * num, "cdist")


PRODUCTS: dict[str, Handler] = {
    **dict.fromkeys(_CONVS.split(), _conv),
    "torchvision::deform_conv2d": _deform_conv,
    "linear": _linear,
    **dict.fromkeys("mm bmm matmul addmm baddbmm addbmm mv dot vdot addmv _int_mm _scaled_mm".split(), _matmul),
    **dict.fromkeys("_weight_int8pack_mm _weight_int4pack_mm packed_linear".split(), _packed_linear),
    "einsum": _einsum,
    **dict.fromkeys("_grouped_mm transformers::grouped_mm_fallback".split(), _experts),
    **dict.fromkeys(ATTENTIONS.split(), _attention),
    **dict.fromkeys("_cdist_forward cdist _euclidean_dist".split(), _cdist),
    **dict.fromkeys("lstm gru rnn_tanh rnn_relu".split(), recurrent),
    **dict.fromkeys("lstm_cell gru_cell rnn_tanh_cell rnn_relu_cell".split(), recurrent_cell),
}
