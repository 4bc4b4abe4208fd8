"""Operations of an exported program, told to the emitter: which kind of work each is.

Operators have the names of ATen; ONNX files are brought to the same ones. What multiplies is in
`accelsim.trace.aten_products`, what only moves data in `accelsim.trace.views`.
"""

from __future__ import annotations

from dataclasses import replace
from math import ceil, log2, prod

from accelsim.errors import TraceError
from accelsim.ticket.graph import NodeKind
from accelsim.ticket.shapes import MAX_DIMENSION, Axis
from accelsim.trace.aten_products import OF_VECTORS, PRODUCTS
from accelsim.trace.call import Call, Handler
from accelsim.trace.emit import Emitter
from accelsim.trace.equations import in_index_notation
from accelsim.trace.in_place import Places, works_in_place
from accelsim.trace.pieces import with_repetitions
from accelsim.trace.products import UnfitError
from accelsim.trace.records import HELD, Program, Record
from accelsim.trace.sums import with_products
from accelsim.trace.values import Value
from accelsim.trace.views import is_view, picked, view
from accelsim.trace.work import record_macs

# Words that are no activations stand with the one that costs as much: one step, or a table look-up.
_ACTIVATION_WORDS = {
    "relu": "relu clamp_min clamp_max abs",
    "relu6": "relu6 hardtanh clamp threshold",
    "leaky_relu": "leaky_relu prelu _prelu_kernel rrelu",
    "gelu": "gelu erf erfc",
    "silu": "silu mish",
    "tanh": "tanh",
    "sign": "sign sgn neg negative signbit",
    "hardswish": "hardswish",
    "sigmoid": "sigmoid hardsigmoid elu selu celu softplus exp sqrt "
    "rsqrt pow log reciprocal sin cos tan atan asin acos log1p expm1 sinh cosh asinh acosh "
    "atanh exp2 log2 log10 log_sigmoid log_sigmoid_forward softsign logit i0 expit",
}
_ACTIVATIONS = {word: function for function, words in _ACTIVATION_WORDS.items() for word in words.split()}
_SUMS = frozenset("add sub rsub maximum minimum fmax fmin subtract".split())
_PRODUCTS = frozenset("mul div masked_fill where multiply divide true_divide".split())
# Operations per element of the result.
_OTHER = {
    **dict.fromkeys(
        "square eq ne lt le gt ge equal logical_and logical_or logical_xor logical_not bitwise_and bitwise_or "
        "bitwise_xor bitwise_not isnan isinf isfinite isposinf isneginf floor ceil round trunc frac bitwise_left_shift "
        "bitwise_right_shift __and__ __or__ __xor__ cumsum cumprod cummax cummin nan_to_num heaviside "
        "hardshrink softshrink "
        "polar complex nextafter diff __lshift__ __rshift__ not_equal less greater less_equal greater_equal "
        "one_hot histc bincount copysign dynamic_quantize bernoulli choose_qparams".split(),
        1,
    ),
    **dict.fromkeys(
        "addcmul addcdiv lerp remainder fmod floor_divide hypot "
        "hardmax max_unpool max_unpool2d max_unpool3d "
        "rotary normalize_minmax quantized_decomposed::choose_qparams tanhshrink".split(),
        3,
    ),
    **dict.fromkeys(
        "logcumsumexp logaddexp logaddexp2 atan2 angle xlogy special_xlogy lgamma digamma erfinv".split(), 5
    ),
    **dict.fromkeys("grid_sampler grid_sampler_2d grid_sampler_3d torchvision::roi_align".split(), 8),
    "local_response_norm": 8,
}
# Operations per element of the source.
_REDUCTIONS = {
    **dict.fromkeys(
        "mean sum amax amin argmax argmin max min prod any all nansum nanmean count_nonzero aminmax".split(), 1
    ),
    **dict.fromkeys("norm linalg_vector_norm linalg_matrix_norm linalg_norm sum_of_squares trace".split(), 2),
    **dict.fromkeys("var std var_mean std_mean".split(), 3),
    **dict.fromkeys("logsumexp".split(), 5),
}
_PAIRS = {"cosine_similarity": 6, "pairwise_distance": 3}
_SORTS = frozenset("topk sort argsort msort kthvalue median nanmedian mode searchsorted bucketize unique_dim".split())
_NORMS = {
    "batch_norm": "batch", "_native_batch_norm_legit_no_training": "batch", "native_batch_norm": "batch",
    "_native_batch_norm_legit": "batch", "cudnn_batch_norm": "batch", "_batch_norm_impl_index": "batch",
    "_batch_norm_no_update": "batch", "layer_norm": "layer", "native_layer_norm": "layer", "group_norm": "layer",
    "native_group_norm": "layer", "instance_norm": "layer", "rms_norm": "layer", "_fused_rms_norm": "layer",
}  # fmt: skip
_SOFTMAXES = frozenset("softmax _softmax log_softmax _log_softmax _safe_softmax softmin".split())
_RESIZES = frozenset(
    "upsample_nearest1d upsample_nearest2d upsample_nearest3d upsample_linear1d upsample_bilinear2d "
    "upsample_trilinear3d upsample_bicubic2d _upsample_nearest_exact1d _upsample_nearest_exact2d "
    "_upsample_nearest_exact3d _upsample_bilinear2d_aa _upsample_bicubic2d_aa interpolate".split()
)
_PADS = frozenset(
    "constant_pad_nd pad reflection_pad1d reflection_pad2d reflection_pad3d replication_pad1d replication_pad2d "
    "replication_pad3d _pad_circular _pad_enum".split()
)
_POOLS = frozenset(
    f"{kind}_pool{rank}d{suffix}"
    for kind in ("max", "avg", "lp")
    for rank in (1, 2, 3)
    for suffix in ("", "_with_indices")
)
_ADAPTIVE_POOLS = frozenset(
    f"{prefix}adaptive_{kind}_pool{rank}d" for prefix in ("", "_") for kind in ("max", "avg") for rank in (1, 2, 3)
)
_CONCATS = frozenset("cat concat concatenate stack hstack vstack dstack column_stack row_stack block_diag".split())
_UPDATES = frozenset(
    "copy index_put _index_put_impl_ index_copy slice_scatter select_scatter "
    "diagonal_scatter scatter masked_scatter index_fill fill as_strided_scatter "
    "_unsafe_index_put _unsafe_masked_index scatter_nd".split()
)
_ADDED_UPDATES = frozenset("col2im index_add scatter_add scatter_reduce index_reduce segment_reduce".split())
_LOOKUPS = frozenset("embedding index_select index gather take _unsafe_index".split())
# Made anew in the shape of a tensor: nothing of its content is read.
_FILLED = frozenset(
    "new_zeros new_ones new_full new_empty zeros_like ones_like full_like empty_like rand_like randn_like sym_size "
    "randint_like new_empty_strided empty_strided".split()
)
_CONTROL = frozenset("cond while_loop scan map map_impl associative_scan switch".split())
_IGNORED = frozenset("_assert_tensor_metadata _assert_async _assert_scalar sym_constrain_range".split())


def _view(call: Call) -> None:
    source = call.first_live()
    for index, (name, shape) in enumerate(call.record.outputs):
        if name and shape is not None:
            call.emitter.alias(name, view(call.record, source, shape, index))


def _lookup(call: Call) -> None:
    """Handle reading by index: rows of a trained table are looked up, of activations they are a view."""
    data = call.value("weight", "self", "input")
    if data is not None and data.is_live:
        layout = picked(data, call.shape, call.emitter.sample_axis(data))
        call.emitter.alias(call.operation.output, data.viewed(layout, call.shape))
        return
    rows = call.live()[0]
    if data is not None and data.root in call.program.trained and len(data.shape) > 1:
        call.emitter.embedding(call.operation, data, rows, call.shape)
    else:
        call.emitter.vector(call.operation, [rows], call.shape, prod(call.shape), "look_up")


def _embedding_bag(call: Call) -> None:
    table, rows = call.value("weight"), call.value("indices")
    if table is None or rows is None or table.is_live:
        raise call.unfit()
    looked_up = call.operation.part("rows")
    call.emitter.embedding(looked_up, table, rows if rows.is_live else None, (*rows.shape, table.shape[-1]))
    source = call.emitter.value(looked_up.output)
    call.emitter.vector(call.operation, [source], call.shape, prod(source.shape), "sum")


def _activation(call: Call) -> None:
    source = call.first_live()
    if prod(source.shape) != prod(call.shape):  # a power whose base is a constant, or that broadcasts
        call.emitter.vector(call.operation, call.live(), call.shape, 4 * prod(call.shape))
        return
    call.emitter.simple(call.operation, "activation", source, function=_ACTIVATIONS[call.record.target])


def _softmax(call: Call) -> None:
    dim = call.record.arguments.get("dim")
    across = [dim] if isinstance(dim, int) else []
    call.emitter.simple(call.operation, "softmax", call.first_live(), across=across)


def _norm(call: Call) -> None:
    function = _NORMS[call.record.target]
    weight = call.value("weight")
    num_affine = prod(weight.shape) if weight is not None and not weight.is_live else 0
    name = call.operation.place if num_affine else call.operation.output
    normalised = call.record.integers("normalized_shape", ())
    across = range(-len(normalised), 0) if normalised else ()
    source = call.first_live()
    call.emitter.simple(
        call.operation, "norm", source, function=function, num_affine=num_affine, leading_name=name, across=across
    )


def _elementwise(call: Call) -> None:
    live = call.live()
    constants = [value for value in call.values() if not value.is_live]
    constant = None
    if len(live) == 1:
        is_scalar = all(prod(value.shape) == 1 for value in constants)
        is_trained = any(value.root in call.program.trained for value in constants)
        is_sum = call.record.target in _SUMS
        constant = "scalar" if is_scalar else "" if is_trained and is_sum else "constant"
        if call.record.target in ("maximum", "minimum", "where"):
            constant = "constant"
    kind: NodeKind = "multiply" if call.record.target in _PRODUCTS else "add"
    call.emitter.elementwise(call.operation, kind, live, call.shape, constant=constant)


def _other(call: Call) -> None:
    ops = _OTHER[call.record.target] * prod(call.shape)
    call.emitter.vector(call.operation, call.live(), call.shape, ops, call.record.target.strip("_").rpartition("::")[2])


def _sort(call: Call) -> None:
    source = call.first_live()
    kept = call.record.integers("k", (source.shape[-1] if source.shape else 1,))[0]
    steps = ceil(log2(max(1, kept) + 1))
    call.emitter.vector(call.operation, [source], call.shape, steps * prod(source.shape))


def _pool(call: Call) -> None:
    record, rank = call.record, int(call.record.target.partition("_pool")[2][0])
    kernel = record.sizes("kernel_size", rank, 1)
    fields = zip(
        kernel,
        record.sizes("stride", rank, 0),
        record.sizes("padding", rank, 0),
        record.sizes("end_padding", rank, -1),
        record.sizes("dilation", rank, 1),
        strict=True,
    )
    axes = [
        Axis(size, step or size, before, before if after < 0 else after, gap, 0)
        for size, step, before, after, gap in fields
    ]
    function = "max" if record.target.startswith("max") else "avg"
    call.emitter.pool(call.operation, call.first_live(), call.shape, function, axes)


def _adaptive_pool(call: Call) -> None:
    source = call.first_live()
    rank = int(call.record.target[-2])
    spatial = list(zip(source.shape[-rank:], call.shape[-rank:], strict=True))
    if all(size == out for size, out in spatial):
        call.emitter.alias(call.operation.output, source.viewed(source.layout, call.shape))
    elif all(out == 1 for _, out in spatial):
        first = len(source.shape) - rank
        call.emitter.reduce(call.operation, source, call.shape, range(first, len(source.shape)))
    elif all(size % out == 0 for size, out in spatial):
        axes = [Axis(size // out, size // out, 0, 0, 1, 0) for size, out in spatial]
        function = "max" if "max" in call.record.target else "avg"
        call.emitter.pool(call.operation, source, call.shape, function, axes)
    else:  # windows of unequal sizes overlap by an element at most
        windows = prod(size // out + 2 for size, out in spatial)
        call.emitter.vector(call.operation, [source], call.shape, windows * prod(call.shape), "adaptive_pool")


def _reduce(call: Call) -> None:
    if len(call.record.refs()) > 1:  # the larger of two tensors
        return _elementwise(call)
    if call.record.arguments.get("ord") in ("nuc", 2, -2) and "matrix" in call.record.target:
        raise call.unfit("it takes singular values")
    source = call.first_live()
    every = (-2, -1) if "matrix" in call.record.target else tuple(range(len(source.shape)))
    axes = call.record.integers("dim", ()) or every
    call.emitter.reduce(call.operation, source, call.shape, axes, _REDUCTIONS[call.record.target])


def _resize(call: Call) -> None:
    source = call.first_live()
    if source.shape == call.shape:
        call.emitter.alias(call.operation.output, source.viewed(source.layout, call.shape))
    else:
        call.emitter.vector(call.operation, [source], call.shape, prod(call.shape), "upsample")


def _pad(call: Call) -> None:
    """Handle padding: readers see the tensor inside and so much around it; a negative padding is a cut."""
    source, shape = call.first_live(), call.shape
    stated = call.record.integers("pad", call.record.integers("padding", ()))
    pairs = [(stated[2 * place], stated[2 * place + 1]) for place in range(len(stated) // 2)][::-1]
    pads = ((0, 0),) * (len(shape) - len(pairs)) + tuple(pairs)
    inside = source.shape
    padded = source.viewed(None, shape)
    fits = all(size + sum(pad) == out for size, pad, out in zip(inside, pads, shape, strict=True))
    if fits and all(min(pad) >= 0 for pad in pads):
        if source.inside is not None:  # padded twice, as exported circular padding is
            pads = tuple((a + c, b + d) for (a, b), (c, d) in zip(source.pads, pads, strict=True))
            source = source.inside
        padded = Value(
            source.node, shape, padded.layout, min(source.num_distinct, prod(shape)), False, source.root, source.part,
            source, pads,
        )  # fmt: skip
    call.emitter.alias(call.operation.output, padded)


def _concat(call: Call) -> None:
    call.emitter.concat(call.operation, call.values(), call.shape)


def _update(call: Call) -> None:
    """Handle a tensor with another written into it."""
    values = call.values()
    target = values[0]
    written = [value for value in values[1:] if value.is_live]
    if not written:
        call.emitter.alias(call.operation.output, target.viewed(target.layout, call.shape))
    elif prod(written[-1].shape) == prod(call.shape):
        call.emitter.alias(
            call.operation.output, written[-1].viewed(written[-1].layout.reshaped(call.shape), call.shape)
        )
    else:
        call.emitter.concat(call.operation, [target, *written], call.shape, update=True)


def _added_update(call: Call) -> None:
    live = call.live()
    call.emitter.vector(call.operation, live, call.shape, max(prod(value.shape) for value in live))


def _glu(call: Call) -> None:
    """Handle gated linear units: one half times the sigmoid of the other."""
    source = call.first_live()
    half = source.viewed(None, call.shape)
    gated = call.operation.part("gated")
    call.emitter.simple(gated, "activation", half, function="sigmoid")
    call.emitter.elementwise(call.operation, "multiply", [half, call.emitter.value(gated.output)], call.shape)


def _pairs(call: Call) -> None:
    """Handle what compares two tensors and reduces an axis, by its operations per element."""
    live = call.live()
    num = max(prod(value.shape) for value in call.values())
    call.emitter.vector(call.operation, live, call.shape, _PAIRS[call.record.target] * num)


def _fft(call: Call) -> None:
    """Handle fast Fourier transforms, as work of the vector unit: 5 N log2 N operations of real numbers."""
    source = call.first_live()
    rank = len(source.shape)
    every = range(-rank, 0) if call.record.target.endswith("n") else (-1,)
    axes = call.record.integers("dim", (-2, -1) if call.record.target.endswith("2") else tuple(every))
    size = prod(max(source.shape[axis], call.shape[axis]) for axis in axes)
    num = max(prod(source.shape), prod(call.shape))
    call.emitter.vector(call.operation, [source], call.shape, ceil(5 * num * log2(max(2, size))), "fft")


def _fourier(call: Call) -> None:
    """Handle Fourier transforms of ``num`` complex numbers, ``size`` in each, as `_fft` does."""
    size, num = call.record.integer("size", 1), call.record.integer("num", 1)
    call.emitter.vector(call.operation, [call.first_live()], call.shape, ceil(5 * num * log2(max(2, size))), "fft")


_TABLE: dict[str, Handler] = {
    **dict.fromkeys(_ACTIVATIONS, _activation),
    **dict.fromkeys(_SUMS | _PRODUCTS, _elementwise),
    **dict.fromkeys(_OTHER, _other),
    **dict.fromkeys(_NORMS, _norm),
    **dict.fromkeys(_SOFTMAXES, _softmax),
    **dict.fromkeys(_POOLS, _pool),
    **dict.fromkeys(_ADAPTIVE_POOLS, _adaptive_pool),
    **dict.fromkeys(_REDUCTIONS, _reduce),
    **dict.fromkeys(_PAIRS, _pairs),
    **dict.fromkeys(_SORTS, _sort),
    **dict.fromkeys(_RESIZES, _resize),
    **dict.fromkeys(_PADS, _pad),
    **dict.fromkeys(_CONCATS, _concat),
    **dict.fromkeys(_UPDATES, _update),
    **dict.fromkeys(_ADDED_UPDATES, _added_update),
    **dict.fromkeys(_LOOKUPS, _lookup),
    **dict.fromkeys("embedding_bag _embedding_bag _embedding_bag_forward_only".split(), _embedding_bag),
    **dict.fromkeys(
        "_fft_r2c _fft_c2c _fft_c2r fft_fft fft_ifft fft_rfft fft_irfft fft_fft2 fft_ifft2 fft_rfft2 fft_irfft2 "
        "fft_fftn fft_ifftn fft_rfftn fft_irfftn".split(),
        _fft,
    ),
    "fourier": _fourier,
    "glu": _glu,
    **PRODUCTS,
}

# What arguments of the wrong kind or number end in; each is the fault of the file.
_UNFIT = (ValueError, TypeError, KeyError, IndexError, AttributeError, ArithmeticError)


def is_supported(target: str) -> bool:
    """Return whether an operator has a place in layer graphs."""
    return target in _TABLE or is_view(target)


def plain(record: Record) -> Record:
    """Return an operation that works in place as the one that makes a new tensor."""
    is_known = is_supported(record.target) or not works_in_place(record.target)
    return record if is_known else replace(record, target=record.target[:-1])


def emit_program(program: Program, emitter: Emitter) -> None:
    """Tell the emitter every operation of a program, in order."""
    try:
        program = with_products(with_repetitions(program), emitter.askew)
    except _UNFIT as error:
        raise TraceError(
            f"{program.name}: its sums, cuts and joins do not fit the shapes of their tensors; the file is damaged, "
            "export it again"
        ) from error
    for name, shape in program.constants.items():
        emitter.constant(name, shape, program.parameters.get(name, ""))
    places = Places(program)
    for record in program.records:
        try:
            _emit(program, plain(record), emitter)
            places.follow(record, emitter)
        except _UNFIT as error:
            raise TraceError(
                f"{program.name}: {record.place}: {record.label or record.target}: its arguments and shapes do not fit "
                "together; the file is damaged, or the operation is used in a way that is not supported"
            ) from error


def _emit(program: Program, record: Record, emitter: Emitter) -> None:
    record = in_index_notation(record, lambda name: emitter.value(name).shape)
    call = Call(program, record, emitter)
    if record.target.rpartition(".")[2] in _CONTROL:
        raise emitter.fail(
            call.operation, "control flow is not followed; export the module with the branch that is taken, or unrolled"
        )
    if record.target in _IGNORED or not record.outputs:
        return
    if record.outputs[0][1] is None and all(shape is None for _, shape in record.outputs):
        return
    if record.target in PRODUCTS and not program.complex_tensors.isdisjoint(record.refs()):
        raise emitter.fail(
            call.operation, "its operands are complex, and a complex product is four of real numbers; write it with "
            "real ones (torch.view_as_real)"
        )  # fmt: skip
    if not call.live() and record.target in PRODUCTS and record.target not in OF_VECTORS:
        _read_constant(call)
    if not call.live() or record.target in _FILLED:
        _constant(call)
        return
    handler = _TABLE.get(record.target) or (_view if is_view(record.target) else None)
    try:
        if handler is None:
            raise UnfitError
        handler(call)
    except UnfitError as error:
        held = record.arguments.get(HELD, ())
        emitter.unsupported(call.operation, record.refs(), call.shape, str(error), held)
    emitter.settle(call.operation, record_macs(record, emitter) if record.macs is None else record.macs)
    _bind_others(call)


def _bind_others(call: Call) -> None:
    """Bind what an operation makes beside its first output: it comes with that one."""
    emitter = call.emitter
    made = emitter.value(call.operation.output)
    for name, shape in call.record.outputs:
        if name and shape is not None and not emitter.has(name):
            emitter.alias(name, made.viewed(None, shape))


def _read_constant(call: Call) -> None:
    """Let what meets trained weights come from memory, as an input does, where it does not depend on one.

    Positions that pass through a layer are such; torch computes them in each run. Trained tensors that are multiplied
    by each other, as low-rank updates of weights are, make other weights; so do products of constant vectors, as norms
    of weights are.
    """
    trained = call.program.trained
    name = call.record.ref("input", "query")
    weight = call.value("weight", "key")
    if weight is None:
        names = [name for name in call.record.refs() if call.emitter.value(name).root not in trained]
        name = names[-1] if names and len(names) < len(call.record.refs()) else None
    if name is not None:
        call.emitter.alias(name, call.emitter.from_memory(call.emitter.value(name).shape))


def _constant(call: Call) -> None:
    """Bind an operation that does not depend on the input: a view of a trained tensor stays one, others are new.

    Which rows of a trained table are read may be known beforehand, as positions are: they are read all the same.
    """
    record, emitter = call.record, call.emitter
    values = call.values()
    if record.target == "embedding" and values[0].root in call.program.trained:
        emitter.embedding(call.operation, values[0], None, call.shape)
        return
    rooted = max((value for value in values if value.root), key=lambda value: prod(value.shape), default=None)
    for index, (name, shape) in enumerate(record.outputs):
        if not name or shape is None:
            continue
        if rooted is not None and is_view(record.target):  # a repetition of weights is none
            emitter.alias(name, view(record, rooted, shape, index))
        elif rooted is None or record.target in _FILLED or prod(shape) > prod(rooted.shape):
            emitter.constant(name, shape)
        else:
            emitter.constant(name, shape, rooted.root, f"{rooted.part}~{name}")


def check_program(program: Program) -> None:
    """Raise `TraceError` for a program without input, or with a shape out of bounds."""
    if not program.inputs:
        raise TraceError(f"{program.name}: has no tensor input; export a module that takes one")
    for record in program.records:
        for name, shape in record.outputs:
            if shape is not None and not (len(shape) <= 8 and all(0 <= size <= MAX_DIMENSION for size in shape)):
                raise TraceError(
                    f"{program.name}: {record.place}: tensor {name!r} of shape {shape[:8]} is out of bounds; "
                    "export a smaller module"
                )
