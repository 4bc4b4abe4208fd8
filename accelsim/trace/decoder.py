"""The layers of a decoder-only language model, for the positions that one run works on.

- Queries of all heads that share keys and values are positions of one product, so that keys and values are read once a
  group. The cache stands in the weights' place; what earlier runs left there counts as cached.
- Scale, bias, rotation, activation, softmax and the addition of a residual belong to the layer whose sums they take; a
  norm whose input is also added later is a layer of its own.
- Every position of a run meets all positions of the run, as a plain array computes them; what lies ahead of it is
  masked by the softmax. With a sliding window, blocks as long as the window meet themselves and the block before.
- Experts are groups: as many as the tokens of a run are expected to hit, or those that are named.
- The output layer works on the last position of each sequence.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from math import ceil

from accelsim.ticket.scales import SCALE_BITS, scale_bits
from accelsim.ticket.zoo.decoders import DecoderShape
from accelsim.trace.dims import vector_dims
from accelsim.trace.from_graph import dense_weights
from accelsim.trace.model import Blocks, LayerWeights, LoopDims, TraceLayer
from accelsim.trace.options import TraceOptions, stated_weights
from accelsim.trace.vector_ops import ACTIVATION_OPS, NORM_OPS, SCALE_OPS, SOFTMAX_OPS

# Vector operations per element: of `accelsim.trace.vector_ops`, and by its rules what only decoders have.
_OPS = {
    "layer_norm": NORM_OPS["layer"],
    "rms_norm": 4,  # square, sum; multiply, scale
    "rotary": 3,  # two products, one addition
    "gelu": ACTIVATION_OPS["gelu"],
    "silu": ACTIVATION_OPS["silu"],
    "relu2": 2,  # compare, square
    "softmax": SOFTMAX_OPS,
    "add": 1,
    "multiply": 1,
}


@dataclass(frozen=True, slots=True)
class DecoderRun:
    """What one run works on: ``num_positions`` of each of ``batch`` sequences behind ``context`` cached ones.

    ``experts`` are those that are hit, of each mixture; None: as many as expected.
    """

    batch: int
    context: int
    num_positions: int
    cache_bits: int | None = None
    experts: tuple[int, ...] | None = None

    @property
    def num_tokens(self) -> int:
        """Return the tokens of all sequences."""
        return self.batch * self.num_positions


@dataclass(frozen=True, slots=True)
class _Names:
    """How a family calls its parts."""

    tokens: str
    block: str
    norm: str
    query: str
    key: str
    value: str
    attention: str
    output: str
    norm2: str
    gate: str
    up: str
    down: str
    last_norm: str
    router: str = "block_sparse_moe.gate"


_LLAMA = _Names(
    "embed_tokens", "layers.{}", "input_layernorm", "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj",
    "self_attn", "self_attn.o_proj", "post_attention_layernorm", "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj",
    "norm",
)  # fmt: skip
_GPT2 = _Names(
    "wte", "h.{}", "ln_1", "attn.c_attn.q", "attn.c_attn.k", "attn.c_attn.v", "attn", "attn.c_proj", "ln_2", "",
    "mlp.c_fc", "mlp.c_proj", "ln_f",
)  # fmt: skip
_MIXTURE = replace(
    _LLAMA, gate="block_sparse_moe.experts.w1", up="block_sparse_moe.experts.w3", down="block_sparse_moe.experts.w2"
)
HEAD, POSITIONS = "lm_head", "wpe"


def _names(shape: DecoderShape) -> _Names:
    if shape.family == "gpt2":
        return _GPT2
    return _MIXTURE if shape.num_experts else _LLAMA


def _matrices(shape: DecoderShape) -> dict[str, tuple[tuple[int, int], bool]]:
    """Return the matrices of a block by name: (K, C) of all experts, and whether there is a bias."""
    names, features, experts = _names(shape), shape.features, max(1, shape.num_experts)
    hidden, back = (experts * shape.hidden, features), (experts * features, shape.hidden)
    found = {
        names.query: ((shape.query_features, features), shape.qkv_bias),
        names.key: ((shape.kv_features, features), shape.qkv_bias),
        names.value: ((shape.kv_features, features), shape.qkv_bias),
        names.output: ((features, shape.query_features), shape.output_bias),
    }
    if shape.num_experts:
        found[names.router] = ((shape.num_experts, features), False)
    if shape.is_gated:
        found[names.gate] = (hidden, shape.hidden_bias)
    return found | {names.up: (hidden, shape.hidden_bias), names.down: (back, shape.hidden_bias)}


@lru_cache(maxsize=16)
def decoder_weights(shape: DecoderShape, options: TraceOptions) -> Mapping[str, LayerWeights]:
    """Return the weights of all matrices and tables by name, dense or with the statistics that ``options`` state.

    A mask covers every matrix, the table of tokens among them where it is the output layer's too; tables that are only
    looked up stay dense.
    """
    names, table = _names(shape), (shape.vocabulary, shape.features)
    matrices = {
        f"{names.block.format(index)}.{name}": entry
        for index in range(shape.num_blocks)
        for name, entry in _matrices(shape).items()
    }
    if not shape.tied:
        matrices[HEAD] = (table, False)
    masked = [entry[0] for entry in matrices.values()] + ([table] if shape.tied else [])
    stated = list(stated_weights(masked, options))
    found = {
        name: replace(weights, num_scale_bits=scale_bits(size[0], is_normed=False, has_offset=bias))
        for (name, (size, bias)), weights in zip(matrices.items(), stated, strict=False)
    }
    looked_up = replace(dense_weights(table), num_scale_bits=SCALE_BITS, beside_supermasks=options.is_synthetic)
    found[names.tokens] = replace(stated[-1], num_scale_bits=SCALE_BITS) if shape.tied else looked_up
    if shape.learned_positions:
        rows = replace(dense_weights((shape.context, shape.features)), num_scale_bits=SCALE_BITS)
        found[POSITIONS] = replace(rows, beside_supermasks=options.is_synthetic)
    return found


def experts_hit(shape: DecoderShape, run: DecoderRun) -> tuple[int, float]:
    """Return how many experts of a mixture run, and which fraction of all experts' weights that is, in expectation.

    Each token goes to ``num_active_experts`` different ones, all equally likely: one is missed by all T tokens with the
    probability (1 - k / E)^T.
    """
    number, active = shape.num_experts, shape.num_active_experts
    if run.experts is not None:
        return len(run.experts), len(run.experts) / number
    expected = number * (1 - (1 - active / number) ** run.num_tokens)
    return min(number, ceil(expected - 1e-9)), expected / number


def decoder_layers(
    shape: DecoderShape,
    run: DecoderRun,
    weights: Mapping[str, LayerWeights],
    known: dict[str, TraceLayer] | None = None,
) -> tuple[tuple[TraceLayer, ...], Blocks]:
    """Return the layers of a run, and which of them repeat; ``weights`` may be those of a model of more blocks.

    Layers that are equal to those in ``known`` are the same objects; the others are put there.
    """
    return _Builder(shape, run, weights, {} if known is None else known).build()


class _Builder:
    """Collects the layers of a run in execution order."""

    def __init__(
        self, shape: DecoderShape, run: DecoderRun, weights: Mapping[str, LayerWeights], known: dict[str, TraceLayer]
    ) -> None:
        self._shape, self._run, self._weights, self._known = shape, run, weights, known
        self._names = _names(shape)
        self._layers: list[TraceLayer] = []
        self._norm = "layer_norm" if shape.norm == "layer" else "rms_norm"

    def build(self) -> tuple[tuple[TraceLayer, ...], Blocks]:
        """Return the layers, and which of them repeat."""
        shape, run = self._shape, self._run
        x = self._embed()
        first = len(self._layers)
        for index in range(shape.num_blocks):
            x = self._block(self._names.block.format(index), x)
        blocks = Blocks(first, (len(self._layers) - first) // shape.num_blocks, shape.num_blocks)
        last = self._norm_layer(self._names.last_norm, x, run.batch)
        self._linear(HEAD, last, shape.vocabulary, tokens=(run.batch, 1), is_output=True)
        return tuple(self._layers), blocks

    def _add(self, layer: TraceLayer) -> str:
        known = self._known.get(layer.name)
        if known == layer:
            layer = known
        else:
            self._known[layer.name] = layer
        self._layers.append(layer)
        return layer.name

    def _embed(self) -> str:
        shape, run, tied = self._shape, self._run, self._names.tokens
        residuals: tuple[str, ...] = ()
        if shape.learned_positions:
            residuals = (self._look_up(POSITIONS, run.num_positions),)
        return self._look_up(tied, run.num_tokens, residuals)

    def _look_up(self, name: str, num_rows: int, residuals: tuple[str, ...] = ()) -> str:
        count = num_rows * self._shape.features
        return self._add(
            TraceLayer(
                name,
                "embedding",
                vector_dims((num_rows, self._shape.features), count),
                ("input",),
                residuals,
                ("add",) * len(residuals),
                count * len(residuals),
                count,
                self._weights[name],
                input_elements=(num_rows,),
            )
        )

    def _norm_layer(self, name: str, source: str, num_rows: int) -> str:
        count = num_rows * self._shape.features
        dims = vector_dims((num_rows, self._shape.features), count)
        ops = _OPS[self._norm] * count
        return self._add(
            TraceLayer(name, "vector", dims, (source,), (), (self._norm,), ops, count, input_elements=(count,))
        )

    def _linear(  # noqa: PLR0913  each is a part of the layer
        self,
        name: str,
        source: str,
        features: int,
        post: tuple[str, ...] = (),
        residuals: tuple[str, ...] = (),
        *,
        tokens: tuple[int, int] | None = None,
        caches: bool = False,
        is_output: bool = False,
    ) -> str:
        samples, rows = tokens or (self._run.batch, self._run.num_positions)
        inner = self._inner(name)
        dims = LoopDims(N=samples, K=features, C=inner, P=rows, H=rows)
        return self._product(
            name, dims, (source, *residuals), post, samples * rows * inner, is_output=is_output, caches=caches
        )

    def _inner(self, name: str) -> int:
        """Return the inputs of each output of a matrix."""
        return self._weights[self._owner(name) or name].shape[1]

    def _owner(self, name: str) -> str:
        """Return the table whose weights an output layer has, where it has none of its own."""
        return self._names.tokens if name == HEAD and self._shape.tied else ""

    def _product(  # noqa: PLR0913  each is a part of the layer
        self,
        name: str,
        dims: LoopDims,
        sources: tuple[str, ...],
        post: tuple[str, ...],
        num_read: int,
        *,
        is_output: bool = False,
        caches: bool = False,
        share: float = 1.0,
    ) -> str:
        """Add the product of a matrix with its input, the first of ``sources``; the others are added to its results."""
        owner, count = self._owner(name), dims.num_outputs
        return self._add(
            TraceLayer(
                name,
                "linear",
                dims,
                sources[:1],
                sources[1:],
                ("scale", *post),
                (SCALE_OPS + sum(_OPS[op] for op in post)) * count,
                count,
                self._weights[owner or name],
                input_elements=(num_read,),
                is_output=is_output,
                weights_of=owner,
                caches=caches,
                cache_bits=self._run.cache_bits if caches else None,
                weight_share=share,
            )
        )

    def _block(self, prefix: str, x: str) -> str:
        shape, names, tokens = self._shape, self._names, self._run.num_tokens
        rotary = () if shape.learned_positions else ("rotary",)
        source = self._norm_layer(f"{prefix}.{names.norm}", x, tokens)
        query = self._linear(f"{prefix}.{names.query}", source, shape.query_features, rotary)
        key = self._linear(f"{prefix}.{names.key}", source, shape.kv_features, rotary, caches=True)
        value = self._linear(f"{prefix}.{names.value}", source, shape.kv_features, caches=True)
        attended = self._attention(f"{prefix}.{names.attention}", query, key, value)
        x = self._linear(f"{prefix}.{names.output}", attended, shape.features, ("add",), (x,))
        source = self._norm_layer(f"{prefix}.{names.norm2}", x, tokens)
        return self._mixture(prefix, source, x) if shape.num_experts else self._feed_forward(prefix, source, x)

    def _attention(self, name: str, query: str, key: str, value: str) -> str:
        """Add the two products of attention; returns the name of the second."""
        shape, run = self._shape, self._run
        rows, pieces = run.num_positions, 1
        before = shape.positions_seen(run.context)
        seen = before + rows
        if shape.window is not None and rows > shape.window:
            pieces = -(-rows // shape.window)
            rows, seen = -(-rows // pieces), min(seen, 2 * shape.window)
        per_position = run.batch * shape.kv_features
        cached, held = before * per_position, (before + run.num_positions) * per_position
        groups, size = run.batch * shape.num_kv_heads * pieces, shape.head_size
        lines = rows * (shape.num_heads // shape.num_kv_heads)
        queries, scores = run.num_tokens * shape.query_features, groups * lines * seen

        def product(part: str, dims: LoopDims, operands: tuple[str, str], sizes: tuple[int, int, str, int]) -> str:
            read, made, post, ops = sizes
            return self._add(
                TraceLayer(
                    f"{name}.{part}",
                    "matmul",
                    dims,
                    operands,
                    (),
                    (post,) if post else (),
                    ops * made,
                    made,
                    second_input_elements=held,
                    input_elements=(read, 0),
                    second_inputs=operands[1:],
                    cached_elements=cached,
                    cache_bits=run.cache_bits,
                )
            )

        first = LoopDims(G=groups, K=seen, C=size, P=lines, H=lines)
        weighed = product("scores", first, (query, key), (queries, scores, "softmax", _OPS["softmax"]))
        second = LoopDims(G=groups, K=size, C=seen, P=lines, H=lines)
        norm = self._norm if shape.sub_norms else ""
        return product("context", second, (weighed, value), (scores, queries, norm, _OPS.get(norm, 0)))

    def _feed_forward(self, prefix: str, source: str, x: str) -> str:
        shape, names = self._shape, self._names
        norm = (self._norm,) if shape.sub_norms else ()
        if shape.is_gated:
            gate = self._linear(f"{prefix}.{names.gate}", source, shape.hidden, (shape.activation,))
            inner = self._linear(f"{prefix}.{names.up}", source, shape.hidden, ("multiply", *norm), (gate,))
        else:
            inner = self._linear(f"{prefix}.{names.up}", source, shape.hidden, (shape.activation, *norm))
        return self._linear(f"{prefix}.{names.down}", inner, shape.features, ("add",), (x,))

    def _mixture(self, prefix: str, source: str, x: str) -> str:
        """Add a router and the experts that are hit; each of these gets as many tokens as the others."""
        shape, names, run = self._shape, self._names, self._run
        router = self._linear(f"{prefix}.{names.router}", source, shape.num_experts, ("softmax",))
        number, share = experts_hit(shape, run)
        rows = -(-run.num_tokens * shape.num_active_experts // number)
        gate = self._expert(f"{prefix}.{names.gate}", source, number, rows, share, shape.hidden, (shape.activation,))
        inner = self._expert(f"{prefix}.{names.up}", source, number, rows, share, shape.hidden, ("multiply",), (gate,))
        down = f"{prefix}.{names.down}"
        # Each token's results are weighed by the router and added, which leaves one row a token.
        self._expert(down, inner, number, rows, share, shape.features, ("multiply", "add", "add"), (x, router))
        self._layers[-1] = replace(self._layers[-1], num_outputs=run.num_tokens * shape.features)
        return down

    def _expert(  # noqa: PLR0913  each is a part of the layer
        self,
        name: str,
        source: str,
        number: int,
        rows: int,
        share: float,
        features: int,
        post: tuple[str, ...],
        residuals: tuple[str, ...] = (),
    ) -> str:
        inner = self._inner(name)
        read = self._run.num_tokens * inner if inner == self._shape.features else number * rows * inner
        dims = LoopDims(G=number, K=features, C=inner, P=rows, H=rows)
        return self._product(name, dims, (source, *residuals), post, read, share=share)
