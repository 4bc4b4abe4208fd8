"""ATen operators, as ``torch.export`` leaves them, told to the emitter."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import prod

from accelsim.errors import TraceError
from accelsim.ticket.graph import GraphNode
from accelsim.ticket.shapes import MAX_DIMENSION
from accelsim.trace.emit import Emitter, Operation
from accelsim.trace.exported import Program
from accelsim.trace.records import Record, Shape

_VIEWS = frozenset(
    "view _unsafe_view reshape flatten unflatten transpose permute unsqueeze squeeze contiguous clone detach detach_ "
    "to _to_copy type_as alias alias_copy dropout dropout_ feature_dropout expand expand_as t numpy_T movedim moveaxis "
    "swapaxes pixel_shuffle pixel_unshuffle channel_shuffle select slice narrow chunk split split_with_sizes unbind "
    "getitem lift_fresh_copy roll flip repeat tile repeat_interleave view_as reshape_as select_copy slice_copy "
    "identity _reshape_alias embedding mT mH adjoint swapdims tensor_split permute_copy view_copy squeeze_copy "
    "unsqueeze_copy transpose_copy detach_copy".split()
)
# Made anew in the shape of a tensor: nothing of its content is read.
_FILLED = frozenset(
    "new_zeros new_ones new_full new_empty zeros_like ones_like full_like empty_like rand_like randn_like".split()
)
# Words that are no activations stand with the one that costs as much: one step, or a table look-up.
_ACTIVATION_WORDS = {
    "relu": "relu relu_ clamp_min clamp_max abs",
    "relu6": "relu6 hardtanh hardtanh_ clamp clamp_",
    "leaky_relu": "leaky_relu leaky_relu_ prelu _prelu_kernel",
    "gelu": "gelu",
    "silu": "silu silu_ mish",
    "tanh": "tanh tanh_",
    "sign": "sign neg",
    "hardswish": "hardswish hardswish_",
    "sigmoid": "sigmoid sigmoid_ hardsigmoid hardsigmoid_ elu elu_ selu softplus exp sqrt rsqrt pow erf log reciprocal "
    "sin cos tan atan log1p expm1 sinh cosh",
}
_ACTIVATIONS = {word: function for function, words in _ACTIVATION_WORDS.items() for word in words.split()}
_SUMS = frozenset("add add_ sub sub_ rsub maximum minimum".split())
_PRODUCTS = frozenset("mul mul_ div div_ masked_fill masked_fill_ where".split())
_NORMS = {
    "batch_norm": "batch", "_native_batch_norm_legit_no_training": "batch", "native_batch_norm": "batch",
    "_native_batch_norm_legit": "batch", "layer_norm": "layer", "native_layer_norm": "layer", "group_norm": "layer",
    "native_group_norm": "layer", "instance_norm": "layer", "rms_norm": "layer",
}  # fmt: skip
_SOFTMAXES = frozenset("softmax _softmax log_softmax _log_softmax _safe_softmax".split())
_REDUCTIONS = frozenset("mean sum amax amin argmax argmin max min prod".split())
_RESIZES = frozenset(
    "upsample_nearest2d upsample_bilinear2d upsample_bicubic2d upsample_nearest1d upsample_linear1d "
    "_upsample_nearest_exact2d _upsample_bilinear2d_aa constant_pad_nd pad reflection_pad2d replication_pad2d".split()
)
_CONVS = frozenset("conv1d conv2d convolution _convolution conv_transpose1d conv_transpose2d".split())


# What arguments of the wrong kind or number end in; each is the fault of the file.
_UNFIT = (ValueError, TypeError, KeyError, IndexError, AttributeError, ArithmeticError)


def emit_program(program: Program, emitter: Emitter) -> None:
    """Tell the emitter every operation of a program, in order."""
    for name, shape in program.constants.items():
        emitter.constant(name, shape)
    for record in program.records:
        try:
            _emit(program, record, emitter)
        except _UNFIT as error:
            raise TraceError(
                f"{program.name}: {record.place}: {record.target}: its arguments and shapes do not fit together; "
                "the file is damaged, or the operation is used in a way that is not supported"
            ) from error


def _emit(program: Program, record: Record, emitter: Emitter) -> None:
    sources = record.refs()
    live = [source for source in sources if emitter.value(source).node is not None]
    live = [] if record.target in _FILLED else live
    for name, shape in record.outputs:
        if not live or shape is None:
            emitter.constant(name, shape or ())
    if not live or not record.outputs or record.outputs[0][1] is None:
        return
    handler = _handler(record.target)
    for index, (name, shape) in enumerate(record.outputs):
        if shape is None:
            continue
        operation = Operation(record.target, record.place, name)
        if handler is None and index == 0:
            emitter.unsupported(operation, sources, shape)
        elif handler is None:
            emitter.filled(operation, sources, shape)
        elif index == 0 or record.target in _VIEWS:
            handler(program, record, operation, emitter, shape)
        else:
            emitter.constant(name, shape)  # statistics beside a norm, indices beside a pool


Handler = Callable[[Program, Record, Operation, Emitter, Shape], None]


def is_supported(target: str) -> bool:
    """Return whether an operator has a place in layer graphs."""
    return _handler(target) is not None


def _handler(target: str) -> Handler | None:
    for names, handler in _TABLE:
        if target in names:
            return handler
    return None


def _live(record: Record, emitter: Emitter) -> list[str]:
    return [source for source in record.refs() if emitter.value(source).node is not None]


def _view(_: Program, record: Record, operation: Operation, emitter: Emitter, shape: Shape) -> None:
    emitter.view(operation, _live(record, emitter)[0], shape)


def _activation(_: Program, record: Record, operation: Operation, emitter: Emitter, shape: Shape) -> None:
    emitter.simple(operation, "activation", _live(record, emitter)[0], shape, function=_ACTIVATIONS[record.target])


def _softmax(_: Program, record: Record, operation: Operation, emitter: Emitter, shape: Shape) -> None:
    emitter.simple(operation, "softmax", _live(record, emitter)[0], shape)


def _norm(_: Program, record: Record, operation: Operation, emitter: Emitter, shape: Shape) -> None:
    function = _NORMS[record.target]
    weight = record.ref("weight")
    num_affine = prod(emitter.value(weight).shape) if weight is not None else 0
    name = operation.place if num_affine else operation.output
    source = _live(record, emitter)[0]
    emitter.simple(operation, "norm", source, shape, function=function, num_affine=num_affine, leading_name=name)


def _elementwise(program: Program, record: Record, operation: Operation, emitter: Emitter, shape: Shape) -> None:
    live = _live(record, emitter)
    constants = [source for source in record.refs() if source not in live]
    constant = None
    if len(live) == 1:
        is_trained = any(source in program.parameters for source in constants)
        constant = "" if is_trained and record.target in _SUMS else "constant"
    emitter.elementwise(operation, "multiply" if record.target in _PRODUCTS else "add", live, shape, constant=constant)


def _conv(program: Program, record: Record, operation: Operation, emitter: Emitter, shape: Shape) -> None:
    source, weight = record.ref("input"), record.ref("weight")
    if source is None or weight is None or emitter.value(weight).node is not None:
        emitter.unsupported(operation, record.refs(), shape)
        return
    is_transposed = "transpose" in record.target or record.arguments.get("transposed") is True
    kernel = emitter.value(weight).shape[2:]
    if len(kernel) > 2:
        emitter.unsupported(operation, record.refs(), shape)
        return
    size = (kernel[0], kernel[1]) if len(kernel) == 2 else (1, kernel[0])
    dilation = record.pair("dilation", (1, 1))
    padding = _conv_padding(record, size, dilation)
    template = GraphNode(
        "",
        "conv_transpose2d" if is_transposed else "conv2d",
        (),
        (),
        shape[1],
        size,
        record.pair("stride", (1, 1)),
        padding,
        dilation,
        record.pair("output_padding", (0, 0)),
        int(record.arguments.get("groups") or 1),
        bias=record.ref("bias") is not None,
    )
    emitter.conv(operation, source, shape, template, leading_name=_weight_name(program, weight, operation))


def _conv_padding(record: Record, kernel: tuple[int, int], dilation: tuple[int, int]) -> tuple[int, int]:
    stated = record.arguments.get("padding")
    if isinstance(stated, str):
        if stated == "valid":
            return (0, 0)
        return (dilation[0] * (kernel[0] - 1) // 2, dilation[1] * (kernel[1] - 1) // 2)
    return record.pair("padding", (0, 0))


def _weight_name(program: Program, weight: str, operation: Operation) -> str:
    name = program.parameters.get(weight, operation.output)
    return name.removesuffix(".weight").removesuffix("_weight")


def _linear(program: Program, record: Record, operation: Operation, emitter: Emitter, shape: Shape) -> None:
    weight = record.ref("weight")
    source = record.ref("input")
    if source is None or weight is None or emitter.value(source).node is None or emitter.value(weight).node is not None:
        emitter.unsupported(operation, record.refs(), shape)
        return
    bias = record.ref("bias") is not None
    emitter.linear(operation, source, shape, leading_name=_weight_name(program, weight, operation), bias=bias)


def _matmul(program: Program, record: Record, operation: Operation, emitter: Emitter, shape: Shape) -> None:
    """Handle ``mm``, ``bmm``, ``matmul`` and ``addmm``; a constant operand is a weight."""
    bias = record.ref("self", "input") if record.target in ("addmm", "baddbmm") else None
    operands = [name for name in record.refs() if name != bias][-2:]
    first, second = operands[0], operands[-1]
    is_live = [emitter.value(name).node is not None for name in (first, second)]
    if all(is_live):
        emitter.matmul(operation, first, second, shape)
        return
    source, weight = (first, second) if is_live[0] else (second, first)
    features = None if is_live[0] else emitter.value(source).shape[-2]
    if len(emitter.value(weight).shape) > 2 and prod(emitter.value(weight).shape[:-2]) > 1:
        emitter.unsupported(operation, record.refs(), shape)
        return
    name = _weight_name(program, weight, operation)
    emitter.linear(operation, source, shape, leading_name=name, bias=bias is not None, features=features)


def _einsum(program: Program, record: Record, operation: Operation, emitter: Emitter, shape: Shape) -> None:
    """Handle sums of products of two tensors: shared letters are heads, and what the result lacks is summed."""
    names = record.refs()
    terms = str(record.arguments.get("equation", "")).replace(" ", "").replace("->", ",").split(",")
    if len(names) != 2 or len(terms) != 3 or any(len(set(term)) != len(term) or "." in term for term in terms):
        emitter.unsupported(operation, names, shape)
        return
    first, second, out = terms
    sizes = dict(zip(first + second, emitter.value(names[0]).shape + emitter.value(names[1]).shape, strict=True))
    heads = [letter for letter in first if letter in second and letter in out]
    inner = [letter for letter in first if letter in second and letter not in out]
    rows, columns = ([letter for letter in term if letter not in heads + inner] for term in (first, second))
    num_heads, depth, height, width = (prod(sizes[one] for one in some) for some in (heads, inner, rows, columns))
    if not inner or set(out) != {*heads, *rows, *columns}:
        emitter.unsupported(operation, names, shape)
        return
    live = [emitter.value(name).node is not None for name in names]
    if all(live):
        parts = [replace(operation, output=f"{operation.output}.{part}") for part in ("first", "second", "product")]
        emitter.view(parts[0], names[0], (num_heads, height, depth))
        emitter.view(parts[1], names[1], (num_heads, depth, width))
        emitter.matmul(parts[2], parts[0].output, parts[1].output, (num_heads, height, width))
        emitter.view(operation, parts[2].output, shape)
    elif num_heads == 1:
        source, weight = names if live[0] else names[::-1]
        name = _weight_name(program, weight, operation)
        emitter.linear(operation, source, shape, leading_name=name, bias=False, features=depth)
    else:
        emitter.unsupported(operation, names, shape)


def _glu(_: Program, record: Record, operation: Operation, emitter: Emitter, shape: Shape) -> None:
    """Handle gated linear units: one half times the sigmoid of the other."""
    source = _live(record, emitter)[0]
    value, gate, gated = (
        replace(operation, output=f"{operation.output}.{part}") for part in ("value", "gate", "gated")
    )
    for half in (value, gate):
        emitter.view(half, source, shape)
    emitter.simple(gated, "activation", gate.output, shape, function="sigmoid")
    emitter.elementwise(operation, "multiply", [value.output, gated.output], shape)


def _attention(_: Program, record: Record, operation: Operation, emitter: Emitter, shape: Shape) -> None:
    query, key, value = record.ref("query"), record.ref("key"), record.ref("value")
    if query is None or key is None or value is None:
        emitter.unsupported(operation, record.refs(), shape)
        return
    emitter.attention(operation, query, key, value, shape)


def _pool(_: Program, record: Record, operation: Operation, emitter: Emitter, shape: Shape) -> None:
    source = _live(record, emitter)[0]
    kernel = record.pair("kernel_size", (1, 1))
    template = GraphNode(
        "",
        "pool",
        (),
        (),
        0,
        kernel,
        record.pair("stride", kernel),
        record.pair("padding", (0, 0)),
        record.pair("dilation", (1, 1)),
        function="max" if record.target.startswith("max") else "avg",
    )
    emitter.pool(operation, source, shape, template)


def _adaptive_pool(_: Program, record: Record, operation: Operation, emitter: Emitter, shape: Shape) -> None:
    source = _live(record, emitter)[0]
    have = emitter.value(source).shape
    spatial = list(zip(have[2:], shape[2:], strict=True))
    if all(out == 1 for _, out in spatial):
        emitter.reduce(operation, source, shape, range(2, len(have)))
    elif all(size == out for size, out in spatial):
        emitter.view(operation, source, shape)
    elif all(size % out == 0 for size, out in spatial) and len(spatial) == 2:
        steps = (spatial[0][0] // spatial[0][1], spatial[1][0] // spatial[1][1])
        function = "max" if "max" in record.target else "avg"
        emitter.pool(operation, source, shape, GraphNode("", "pool", (), (), 0, steps, steps, function=function))
    else:
        emitter.resize(operation, source, shape)


def _reduce(program: Program, record: Record, operation: Operation, emitter: Emitter, shape: Shape) -> None:
    if len(record.refs()) > 1:  # the larger of two tensors
        _elementwise(program, record, operation, emitter, shape)
        return
    source = _live(record, emitter)[0]
    every = tuple(range(1, len(emitter.value(source).shape)))
    emitter.reduce(operation, source, shape, record.integers("dim", every) or every)


def _resize(_: Program, record: Record, operation: Operation, emitter: Emitter, shape: Shape) -> None:
    emitter.resize(operation, _live(record, emitter)[0], shape)


def _concat(_: Program, record: Record, operation: Operation, emitter: Emitter, shape: Shape) -> None:
    emitter.concat(operation, record.refs(), shape)


_TABLE: tuple[tuple[frozenset[str], Handler], ...] = (
    (_VIEWS, _view),
    (frozenset(_ACTIVATIONS), _activation),
    (_SUMS | _PRODUCTS, _elementwise),
    (frozenset(_NORMS), _norm),
    (_SOFTMAXES, _softmax),
    (_CONVS, _conv),
    (frozenset({"linear"}), _linear),
    (frozenset({"mm", "bmm", "matmul", "addmm", "baddbmm"}), _matmul),
    (frozenset({"einsum"}), _einsum),
    (frozenset({"glu"}), _glu),
    (frozenset({"scaled_dot_product_attention"}), _attention),
    (frozenset({"max_pool2d", "max_pool2d_with_indices", "avg_pool2d", "max_pool1d", "avg_pool1d"}), _pool),
    (
        frozenset(
            "adaptive_avg_pool2d _adaptive_avg_pool2d adaptive_max_pool2d adaptive_avg_pool1d "
            "adaptive_max_pool1d".split()
        ),
        _adaptive_pool,
    ),
    (_REDUCTIONS, _reduce),
    (_RESIZES, _resize),
    (frozenset({"cat", "concat", "concatenate", "stack"}), _concat),
)


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
