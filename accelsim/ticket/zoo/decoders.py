"""Decoder-only language models: their numbers, as papers and public configurations give them.

A model is here a handful of sizes. Its layers depend on what is run of it, and are made in `accelsim.trace.decoder`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from accelsim.errors import TicketError

Norm = Literal["layer", "rms"]
Activation = Literal["gelu", "silu", "relu2"]


@dataclass(frozen=True, slots=True)
class DecoderShape:
    """The sizes of a decoder-only transformer.

    Attributes
    ----------
    family
        Whose names of layers and parts it has: gpt2, llama (mistral, qwen2 and mixtral too) or bitnet.
    vocabulary, features, hidden
        Tokens, features of a token, and features between the feed-forward matrices.
    num_blocks, num_heads, num_kv_heads, head_size
        Blocks, query heads, and heads of keys and values (fewer: grouped queries; one: multi-query attention).
    context
        Positions that the model was made for.
    learned_positions
        A table of positions is added to the tokens; else queries and keys are rotated.
    qkv_bias, output_bias, hidden_bias
        Biases of queries, keys and values; of the matrix behind attention; of the feed-forward matrices.
    sub_norms
        A norm more before the last matrix of attention and feed-forward each (BitNet).
    tied
        Whether the output layer's matrix is the table of tokens.
    num_experts, num_active_experts
        Experts of a feed-forward layer, and how many each token goes to; 0: no mixture.
    window
        Positions that a token attends to at the most, itself included; None: all before it.
    summary
        One line with the source.
    """

    name: str
    family: Literal["gpt2", "llama", "bitnet"]
    vocabulary: int
    features: int
    num_blocks: int
    num_heads: int
    num_kv_heads: int
    head_size: int
    hidden: int
    context: int
    norm: Norm = "rms"
    activation: Activation = "silu"
    is_gated: bool = True
    learned_positions: bool = False
    qkv_bias: bool = False
    output_bias: bool = False
    hidden_bias: bool = False
    sub_norms: bool = False
    tied: bool = False
    num_experts: int = 0
    num_active_experts: int = 0
    window: int | None = None
    summary: str = ""

    @property
    def query_features(self) -> int:
        """Return the features of all query heads."""
        return self.num_heads * self.head_size

    @property
    def kv_features(self) -> int:
        """Return the features of all keys (or values) of a position."""
        return self.num_kv_heads * self.head_size

    @property
    def cached_per_token(self) -> int:
        """Return the elements that a token leaves in the cache: keys and values of all blocks."""
        return 2 * self.num_blocks * self.kv_features

    def positions_seen(self, context: int) -> int:
        """Return how many cached positions a token reads behind ``context`` others."""
        return context if self.window is None else min(context, self.window - 1)


def num_parameters(shape: DecoderShape) -> int:
    """Return all trained numbers: matrices, tables, biases and norms; what is tied counts once."""
    per_norm = shape.features * (2 if shape.norm == "layer" else 1)
    return (
        shape.vocabulary * shape.features * (1 if shape.tied else 2)
        + (shape.context * shape.features if shape.learned_positions else 0)
        + shape.num_blocks * (_block_parameters(shape) + 2 * per_norm)
        + per_norm
    )


def _block_parameters(shape: DecoderShape) -> int:
    features, hidden = shape.features, shape.hidden
    qkv = shape.query_features + 2 * shape.kv_features
    attention = features * qkv + shape.query_features * features
    matrices = 3 if shape.is_gated else 2
    feed_forward = matrices * features * hidden * max(1, shape.num_experts) + features * shape.num_experts
    biases = (qkv if shape.qkv_bias else 0) + (features if shape.output_bias else 0)
    biases += features + hidden * (matrices - 1) if shape.hidden_bias else 0
    return attention + feed_forward + biases + (features + hidden if shape.sub_norms else 0)


def gpt2_shape(name: str, features: int, num_blocks: int, num_heads: int, summary: str) -> DecoderShape:
    """Return a model with the parts of GPT-2: learned positions, layer norms, biases, tied embeddings."""
    return DecoderShape(
        name, "gpt2", 50_257, features, num_blocks, num_heads, num_heads, features // num_heads, 4 * features, 1024,
        norm="layer", activation="gelu", is_gated=False, learned_positions=True, qkv_bias=True, output_bias=True,
        hidden_bias=True, tied=True,
        summary=summary,
    )  # fmt: skip


_GPT2 = "(Radford et al. 2019, and the sizes of the published checkpoint)"
_LLAMA = "(Grattafiori et al. 2024, arXiv 2407.21783, and its public configuration)"
_SHAPES = (
    gpt2_shape("gpt2", 768, 12, 12, f"GPT-2, 124 M {_GPT2}"),
    gpt2_shape("gpt2_medium", 1024, 24, 16, f"GPT-2 medium, 355 M {_GPT2}"),
    gpt2_shape("gpt2_large", 1280, 36, 20, f"GPT-2 large, 774 M {_GPT2}"),
    gpt2_shape("gpt2_xl", 1600, 48, 25, f"GPT-2 XL, 1.56 B {_GPT2}"),
    DecoderShape(
        "llama3_2_1b", "llama", 128_256, 2048, 16, 32, 8, 64, 8192, 131_072, tied=True,
        summary=f"Llama 3.2, 1.24 B {_LLAMA}",
    ),
    DecoderShape(
        "llama3_2_3b", "llama", 128_256, 3072, 28, 24, 8, 128, 8192, 131_072, tied=True,
        summary=f"Llama 3.2, 3.21 B {_LLAMA}",
    ),
    DecoderShape(
        "llama3_8b", "llama", 128_256, 4096, 32, 32, 8, 128, 14_336, 8192, summary=f"Llama 3, 8.03 B {_LLAMA}",
    ),
    DecoderShape(
        "qwen2_5_1_5b", "llama", 151_936, 1536, 28, 12, 2, 128, 8960, 131_072, qkv_bias=True, tied=True,
        summary="Qwen2.5, 1.54 B (Yang et al. 2024, arXiv 2412.15115, and its public configuration)",
    ),
    DecoderShape(
        "bitnet_2b", "bitnet", 128_256, 2560, 30, 20, 5, 128, 6912, 4096, activation="relu2", sub_norms=True, tied=True,
        summary="BitNet b1.58 2B4T, 2.41 B (Ma et al. 2025, arXiv 2504.12285, and its public configuration)",
    ),
    DecoderShape(
        "mixtral_8x7b", "llama", 32_000, 4096, 32, 32, 8, 128, 14_336, 32_768, num_experts=8, num_active_experts=2,
        summary="Mixtral 8x7B, 46.7 B (Jiang et al. 2024, arXiv 2401.04088)",
    ),
)  # fmt: skip
_BY_NAME = {shape.name: shape for shape in _SHAPES}


def _key(name: str) -> str:
    return name.lower().replace("-", "_").replace(".", "_")


def list_decoders() -> tuple[DecoderShape, ...]:
    """Return the language models that are known by name, in a fixed order."""
    return _SHAPES


def is_decoder(name: str) -> bool:
    """Return whether ``name`` is that of a language model; ``-``, ``_`` and ``.`` are the same."""
    return _key(name) in _BY_NAME


def decoder_shape(name: str) -> DecoderShape:
    """Return the sizes of the language model called ``name``; `TicketError` if none is."""
    found = _BY_NAME.get(_key(name))
    if found is None:
        raise TicketError(f"language model {name!r} is unknown; known are {', '.join(_BY_NAME)}")
    return found
