"""Vision transformers (Dosovitskiy et al. 2021; Touvron et al. 2021), a GPT-2 block (Radford et al. 2019), a decoder.

Names follow timm and the published GPT-2 checkpoint. The factor 1 / sqrt(head size) is part of the softmax.
"""

from __future__ import annotations

from dataclasses import dataclass

from accelsim.ticket.builder import GraphBuilder
from accelsim.ticket.graph import NetworkGraph
from accelsim.ticket.zoo.spec import NetworkSpec, scaled

_MLP_RATIO = 4


@dataclass(frozen=True, slots=True)
class TransformerShape:
    """Features, heads and blocks; patch size of a vision transformer."""

    features: int
    num_heads: int
    num_blocks: int
    patch: int = 16


@dataclass(frozen=True, slots=True)
class _BlockNames:
    norm1: str
    qkv: str
    projection: str
    norm2: str
    expand: str
    contract: str


def _names(prefix: str, style: str) -> _BlockNames:
    if style == "gpt2":
        parts = ("ln_1", "attn.c_attn", "attn.c_proj", "ln_2", "mlp.c_fc", "mlp.c_proj")
    else:
        parts = ("norm1", "attn.qkv", "attn.proj", "norm2", "mlp.fc1", "mlp.fc2")
    return _BlockNames(*(f"{prefix}.{part}" for part in parts))


def _attention(builder: GraphBuilder, names: _BlockNames, x: str, num_heads: int) -> str:
    tokens, features = builder.shape(x)
    qkv = builder.linear(names.qkv, x, 3 * features)
    q, k, v = (builder.reshape(f"{names.qkv}.{part}", qkv, (tokens, features), select=True) for part in "qkv")
    scores = builder.matmul(f"{names.qkv}.scores", q, k, heads=num_heads, transpose_b=True)
    scores = builder.softmax(f"{names.qkv}.softmax", scores)
    context = builder.matmul(f"{names.qkv}.context", scores, v, heads=num_heads)
    return builder.linear(names.projection, context, features)


def _block(builder: GraphBuilder, prefix: str, x: str, num_heads: int, style: str) -> str:
    names = _names(prefix, style)
    features = builder.shape(x)[-1]
    attended = _attention(builder, names, builder.norm(names.norm1, x, "layer"), num_heads)
    x = builder.add(f"{prefix}.add1", attended, x)
    hidden = builder.linear(names.expand, builder.norm(names.norm2, x, "layer"), _MLP_RATIO * features)
    hidden = builder.activation(f"{names.expand}.gelu", hidden, "gelu")
    return builder.add(f"{prefix}.add2", builder.linear(names.contract, hidden, features), x)


def build_vit(shape: TransformerShape, spec: NetworkSpec) -> NetworkGraph:
    """Return a vision transformer with a class token; DeiT has the same graph (it differs in training).

    Class token and position embedding are there without training too, where they would be random.
    """
    features = scaled(shape.features // shape.num_heads, spec.width_factor) * shape.num_heads
    builder = GraphBuilder(spec.name, spec.input_shape, trained=spec.trained)
    x = builder.conv("patch_embed.proj", "input", features, shape.patch, stride=shape.patch, padding=0, bias=True)
    _, rows, columns = builder.shape(x)
    x = builder.reshape("patch_embed.tokens", x, (rows * columns, features))
    x = builder.prepend_token("cls_token", x)
    x = builder.add("pos_embed", x, trained_tensor=True)
    for index in range(shape.num_blocks):
        x = _block(builder, f"blocks.{index}", x, shape.num_heads, "vit")
    x = builder.norm("norm", x, "layer")
    x = builder.reshape("token", x, (features,), select=True)
    builder.linear("head", x, spec.num_classes)
    return builder.build()


def build_decoder_block(shape: TransformerShape, spec: NetworkSpec) -> NetworkGraph:
    """Return decoder blocks of a language model over (tokens, features); every token attends to all (prefill)."""
    builder = GraphBuilder(spec.name, spec.input_shape, trained=spec.trained)
    x = "input"
    for index in range(shape.num_blocks):
        x = _block(builder, f"h.{index}", x, shape.num_heads, "gpt2")
    return builder.build()


def build_char_decoder(shape: TransformerShape, spec: NetworkSpec) -> NetworkGraph:
    """Return a decoder that predicts the next character at each of T positions.

    Its input is (T, characters + T): a row has a one for its character and a one for its position, so that ``embed``, a
    linear layer that a supermask covers like any other, is the token and the position embedding, summed. W_Q, W_K and
    W_V are layers of their own, the softmax is causal, the norms stand before the branches and the feed-forward part
    has a ReLU. What the linear layers of a pretrained decoder have as biases a ticket has not.
    """
    features = scaled(shape.features // shape.num_heads, spec.width_factor) * shape.num_heads
    builder = GraphBuilder(spec.name, spec.input_shape, trained=spec.trained)
    x = builder.linear("embed", "input", features, bias=False)
    for index in range(shape.num_blocks):
        x = _char_block(builder, f"blocks.{index}", x, shape.num_heads)
    builder.linear("head", builder.norm("norm", x, "layer"), spec.num_classes, bias=False)
    return builder.build()


def _char_block(builder: GraphBuilder, prefix: str, x: str, num_heads: int) -> str:
    features = builder.shape(x)[-1]
    normed = builder.norm(f"{prefix}.norm1", x, "layer")
    q, k, v = (builder.linear(f"{prefix}.attn.{part}_proj", normed, features) for part in "qkv")
    scores = builder.matmul(f"{prefix}.attn.scores", q, k, heads=num_heads, transpose_b=True)
    scores = builder.softmax(f"{prefix}.attn.softmax", scores, causal=True)
    context = builder.matmul(f"{prefix}.attn.context", scores, v, heads=num_heads)
    x = builder.add(f"{prefix}.add1", builder.linear(f"{prefix}.attn.out_proj", context, features), x)
    hidden = builder.linear(f"{prefix}.mlp.fc1", builder.norm(f"{prefix}.norm2", x, "layer"), _MLP_RATIO * features)
    hidden = builder.activation(f"{prefix}.mlp.relu", hidden)
    return builder.add(f"{prefix}.add2", builder.linear(f"{prefix}.mlp.fc2", hidden, features), x)
