"""The configuration of a language model, as model hubs store it (``config.json``): its numbers, and nothing else.

Families differ in the names of their fields and in what a missing field means; the defaults are those of the public
library that writes these files (transformers 5). Sizes are bounded here, before memory depends on them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from accelsim.errors import TraceError
from accelsim.kinds import DECODER_FAMILIES, READ_KINDS
from accelsim.strict_json import StrictJsonError, parse_json
from accelsim.ticket.shapes import MAX_WEIGHTS
from accelsim.ticket.zoo.decoders import Activation, DecoderShape, num_parameters

_MAX_FILE_BYTES = 1 << 20
_MAX_BLOCKS = 1024
_MAX_EXPERTS = 4096
_MAX_SIZE = 1 << 24
_WINDOWED = ("mistral", "mixtral", "qwen2")
_ABSENT_KV_HEADS = {"mistral": 8, "mixtral": 8, "qwen2": 32, "bitnet": 5}
_ABSENT_WINDOW = {"mistral": 4096}
_ACTIVATIONS: dict[str, Activation] = {
    **dict.fromkeys(("gelu", "gelu_new", "gelu_fast", "gelu_pytorch_tanh"), "gelu"),
    **dict.fromkeys(("silu", "swish"), "silu"),
    "relu2": "relu2",
}  # fmt: skip


def read_model_config(path: str) -> DecoderShape | None:
    """Return the sizes that a configuration states; None for a file that is no configuration of a known family.

    Raises
    ------
    TraceError
        A field is missing, of another type, or out of range.
    """
    place = Path(path)
    try:
        if not place.is_file() or place.stat().st_size > _MAX_FILE_BYTES:
            return None
        text = place.read_text(encoding="utf-8-sig")
    except (OSError, ValueError):
        return None
    if not text.lstrip().startswith("{"):
        return None
    try:
        document = parse_json(text)
    except StrictJsonError as error:
        raise TraceError(f"{path}: {error}; give the file as the model's publisher has it") from error
    family = document.get("model_type")
    if not isinstance(family, str) or family not in DECODER_FAMILIES:
        if "model_type" not in document:
            return None
        shown = repr(family) if isinstance(family, str) and len(family) <= 64 else "of another kind"  # noqa: PLR2004
        inner = document.get("text_config")
        if isinstance(inner, dict) and inner.get("model_type") in DECODER_FAMILIES:
            raise TraceError(
                f"{path}: model_type: {shown} is none of {', '.join(DECODER_FAMILIES)}, but its text_config is: give "
                "that as a config.json of its own to run the language model alone"
            )
        raise TraceError(
            f"{path}: model_type: {shown} is none of {', '.join(DECODER_FAMILIES)}; {READ_KINDS}; load the model and "
            "export it: torch.export.save(torch.export.export(model.eval(), (example,)), 'm.pt2'), or as ONNX"
        )
    reader = _Reader(path, document)
    name = place.parent.name if place.name == "config.json" and place.parent.name else place.stem
    shape = _gpt2(reader, name) if family == "gpt2" else _llama(reader, name, family)
    _check_heads(path, shape)
    return shape


class _Reader:
    """Fields of a configuration, each checked when it is taken."""

    def __init__(self, path: str, document: dict[str, Any]) -> None:
        self._path, self._document = path, document

    def wrong(self, name: str, what: str) -> TraceError:
        """Return the error about a field."""
        return TraceError(f"{self._path}: {name}: {what}")

    def size(self, *names: str, default: int | None = None, high: int = _MAX_SIZE, low: int = 1) -> int:
        """Return a whole number under the first of ``names`` that is given; null is not given."""
        for name in names:
            value = self._document.get(name)
            if value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
                shown = str(value)[:40] if isinstance(value, (bool, int, float)) else type(value).__name__
                raise self.wrong(name, f"{shown} is not a whole number from {low} to {high}; give the model's own")
            return value
        if default is None:
            raise self.wrong(names[0], "is missing; give the model's own")
        return default

    def num_kv_heads(self, family: str, num_heads: int) -> int:
        """Return the heads of keys and values: null is one a query head, and a field left out the family's default."""
        name = "num_key_value_heads"
        default = num_heads if name in self._document else _ABSENT_KV_HEADS.get(family, num_heads)
        return self.size(name, default=default)

    def flag(self, name: str, default: bool) -> bool:
        """Return true or false."""
        value = self._document.get(name)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise self.wrong(name, f"{type(value).__name__} is neither true nor false; give one of them")
        return value

    def activation(self, name: str, default: str) -> Activation:
        """Return the activation of the feed-forward layers."""
        value = self._document.get(name)
        if value is None:
            value = default
        found = _ACTIVATIONS.get(value) if isinstance(value, str) else None
        if found is None:
            shown = repr(value[:40]) if isinstance(value, str) else type(value).__name__
            raise self.wrong(name, f"{shown} is not one of {', '.join(_ACTIVATIONS)}; others are not modelled")
        return found

    def window(self, family: str, num_blocks: int) -> int | None:
        """Return the sliding window of all layers; None without one.

        Raises
        ------
        TraceError
            Only some layers have it, or layers attend in another way.
        """
        kinds = self._layer_kinds(num_blocks)
        if family == "qwen2" and not self.flag("use_sliding_window", False):
            stated = None
        else:
            is_silent = "sliding_window" not in self._document and kinds is None
            stated = self.size("sliding_window", default=_ABSENT_WINDOW.get(family, 0) if is_silent else 0) or None
        if stated is not None and family not in _WINDOWED:
            raise self.wrong("sliding_window", f"{family} has none; leave it out, or give the model's own model_type")
        if kinds is None:
            return stated if family != "qwen2" or stated is None else self._from_layer(stated, num_blocks)
        if kinds == {"full_attention"} and (stated is None or family == "qwen2"):
            return None
        if kinds == {"sliding_attention"} and stated is not None:
            return stated
        if len(kinds) > 1:
            raise self.wrong("layer_types", "a window in some layers only is not modelled; give layers of one kind")
        raise self.wrong("layer_types", f"{next(iter(kinds))} does not fit sliding_window; give the model's own")

    def _from_layer(self, window: int, num_blocks: int) -> int | None:
        first = self.size("max_window_layers", default=28, low=0)
        if 0 < first < num_blocks:
            raise self.wrong("max_window_layers", "a window in some layers only is not modelled; set it to 0")
        return None if first else window

    def _layer_kinds(self, num_blocks: int) -> set[str] | None:
        """Return how layers attend; None where they do not say."""
        value = self._document.get("layer_types")
        if value is None:
            return None
        if not isinstance(value, list) or len(value) != num_blocks:
            raise self.wrong(
                "layer_types", f"not a list with a kind for each of {num_blocks} layers; give one, or none"
            )
        for kind in value:
            if kind not in ("full_attention", "sliding_attention"):
                shown = repr(kind[:40]) if isinstance(kind, str) else type(kind).__name__
                raise self.wrong("layer_types", f"{shown} is not modelled; full_attention and sliding_attention are")
        return set(value)


def _gpt2(reader: _Reader, name: str) -> DecoderShape:
    features, heads = reader.size("n_embd", "hidden_size"), reader.size("n_head", "num_attention_heads")
    num_blocks = reader.size("n_layer", "num_hidden_layers", high=_MAX_BLOCKS)
    reader.window("gpt2", num_blocks)
    if reader.flag("add_cross_attention", False):
        raise reader.wrong("add_cross_attention", "attention to an encoder is not modelled; set it to false")
    return DecoderShape(
        name,
        "gpt2",
        vocabulary=reader.size("vocab_size"),
        features=features,
        num_blocks=num_blocks,
        num_heads=heads,
        num_kv_heads=heads,
        head_size=_share(reader, features, heads, "n_head"),
        hidden=reader.size("n_inner", default=4 * features),
        context=reader.size("n_positions", "n_ctx", "max_position_embeddings"),
        norm="layer",
        activation=reader.activation("activation_function", "gelu_new"),
        is_gated=False,
        learned_positions=True,
        qkv_bias=True,
        output_bias=True,
        hidden_bias=True,
        tied=reader.flag("tie_word_embeddings", True),
    )


def _llama(reader: _Reader, name: str, family: str) -> DecoderShape:
    features, heads = reader.size("hidden_size"), reader.size("num_attention_heads")
    bias = reader.flag("attention_bias", False) if family in ("llama", "bitnet") else False
    is_mixture = family == "mixtral"
    head_size = reader.size("head_dim", default=0)
    num_blocks = reader.size("num_hidden_layers", high=_MAX_BLOCKS)
    return DecoderShape(
        name,
        "bitnet" if family == "bitnet" else "llama",
        vocabulary=reader.size("vocab_size"),
        features=features,
        num_blocks=num_blocks,
        num_heads=heads,
        num_kv_heads=reader.num_kv_heads(family, heads),
        head_size=head_size or _share(reader, features, heads, "num_attention_heads"),
        hidden=reader.size("intermediate_size"),
        context=reader.size("max_position_embeddings"),
        activation=reader.activation("hidden_act", "relu2" if family == "bitnet" else "silu"),
        qkv_bias=bias or family == "qwen2",
        output_bias=bias,
        hidden_bias=reader.flag("mlp_bias", False) if family == "llama" else False,
        sub_norms=family == "bitnet",
        tied=reader.flag("tie_word_embeddings", False),
        num_experts=reader.size("num_local_experts", default=8, high=_MAX_EXPERTS) if is_mixture else 0,
        num_active_experts=reader.size("num_experts_per_tok", default=2, high=_MAX_EXPERTS) if is_mixture else 0,
        window=reader.window(family, num_blocks),
    )


def _share(reader: _Reader, features: int, heads: int, name: str) -> int:
    if features % heads:
        raise reader.wrong(name, f"{heads} does not divide {features} features; give the model's own")
    return features // heads


def _check_heads(path: str, shape: DecoderShape) -> None:
    if shape.num_heads % shape.num_kv_heads:
        raise TraceError(
            f"{path}: num_key_value_heads: {shape.num_kv_heads} does not divide {shape.num_heads} query heads; "
            "give the model's own"
        )
    if num_parameters(shape) > MAX_WEIGHTS:
        raise TraceError(f"{path}: {num_parameters(shape)} parameters are more than {MAX_WEIGHTS}; give smaller sizes")
    if shape.num_active_experts > shape.num_experts:
        raise TraceError(
            f"{path}: num_experts_per_tok: {shape.num_active_experts} is more than {shape.num_experts} experts; "
            "give the model's own"
        )
