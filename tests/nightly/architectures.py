"""Architectures that the nightly import tries, with random weights and small sizes; their libraries load when asked."""

from __future__ import annotations

import enum
import importlib.abc
import importlib.machinery
import sys
import types
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

TEXT = {
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 128,
    "vocab_size": 100,
}
IMAGES = {
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 128,
    "image_size": 32,
    "patch_size": 8,
}


@dataclass(frozen=True, slots=True)
class Architecture:
    """A module and its example: how to make it, and the shape of its input; whole numbers where it reads words."""

    library: str
    make: Callable[[], Any]
    shape: tuple[int, ...]
    reads_words: bool = False


class _Absent(type):
    def __getattr__(cls, name: str) -> type:
        if name.startswith("__"):
            raise AttributeError(name)
        return cls


class _Module(types.ModuleType):
    __path__: list[str] = []

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if name == "InterpolationMode":
            words = ("nearest", "nearest_exact", "bilinear", "bicubic", "box", "hamming", "lanczos")
            return enum.Enum(name, {word.upper(): word for word in words})
        return _Absent(name, (), {})


class _WithoutTorchvision(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Stands in for torchvision, which timm's data loaders import and its models do not use.

    Its binaries fit one build of torch only; here torch is pinned, whatever its build.
    """

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        is_wanted = name.partition(".")[0] == "torchvision"
        return importlib.machinery.ModuleSpec(name, self, is_package=True) if is_wanted else None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        return _Module(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        pass


def timm_model(name: str) -> Any:
    """Return a model of timm with random weights."""
    finder = _WithoutTorchvision()
    sys.meta_path.insert(0, finder)
    try:
        import timm

        return timm.create_model(name)
    finally:
        sys.meta_path.remove(finder)


def _timm(name: str, size: int = 224) -> Architecture:
    return Architecture("timm", lambda: timm_model(name), (1, 3, size, size))


def _transformers(kind: str, shape: tuple[int, ...], reads_words: bool = True, **sizes: Any) -> Architecture:
    def make() -> Any:
        import transformers

        config = getattr(transformers, f"{kind.removesuffix('Model').removesuffix('Encoder')}Config")(**sizes)
        return getattr(transformers, kind)(config)

    return Architecture("transformers", make, shape, reads_words)


def _geometric(layer: str, **sizes: Any) -> Architecture:
    """Return two layers of a graph network on a dense adjacency matrix, which stands behind the features."""

    def make() -> Any:
        import torch
        from torch_geometric import nn

        def one(inputs: int, outputs: int) -> Any:
            if layer == "DenseGINConv":
                return nn.DenseGINConv(torch.nn.Sequential(torch.nn.Linear(inputs, outputs)))
            return getattr(nn, layer)(inputs, outputs, **sizes)

        class Network(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.first, self.second = one(16, 32), one(32, 8)

            def forward(self, x: Any) -> Any:
                features, adjacency = x[..., :16], x[..., 16:]
                return self.second(self.first(features, adjacency).relu(), adjacency)

        return Network()

    return Architecture("torch_geometric", make, (1, 24, 40))


def _torch(make: Callable[[Any], Any], shape: tuple[int, ...]) -> Architecture:
    def made() -> Any:
        import torch

        return make(torch)

    return Architecture("torch", made, shape)


ARCHITECTURES: dict[str, Architecture] = {
    **{
        name: _timm(name)
        for name in (
            "resnet18", "densenet121", "mobilenetv3_small_100", "efficientnet_b0", "regnety_002",
            "ghostnet_100", "convnext_atto", "nf_resnet26", "inception_next_atto", "vit_tiny_patch16_224",
            "deit_tiny_distilled_patch16_224", "swin_tiny_patch4_window7_224", "mixer_s32_224", "levit_128s",
            "poolformer_s12", "xcit_nano_12_p16_224",
        )
    },
    "mobilevit_xxs": _timm("mobilevit_xxs", 256),
    "maxvit_pico_rw_256": _timm("maxvit_pico_rw_256", 256),
    "BertModel": _transformers("BertModel", (1, 16), **TEXT),
    "RobertaModel": _transformers("RobertaModel", (1, 16), **TEXT),
    "AlbertModel": _transformers("AlbertModel", (1, 16), embedding_size=32, **TEXT),
    "DistilBertModel": _transformers(
        "DistilBertModel", (1, 16), dim=64, n_layers=2, n_heads=4, hidden_dim=128, vocab_size=100
    ),
    "GPT2Model": _transformers("GPT2Model", (1, 16), n_embd=64, n_layer=2, n_head=4, vocab_size=100, use_cache=False),
    "LlamaModel": _transformers("LlamaModel", (1, 16), num_key_value_heads=2, use_cache=False, **TEXT),
    "Qwen2Model": _transformers("Qwen2Model", (1, 16), num_key_value_heads=2, use_cache=False, **TEXT),
    "T5EncoderModel": _transformers(
        "T5EncoderModel", (1, 16), d_model=64, d_kv=16, d_ff=128, num_layers=2, num_heads=4, vocab_size=100
    ),
    "CLIPVisionModel": _transformers("CLIPVisionModel", (1, 3, 32, 32), False, **IMAGES),
    "ViTModel": _transformers("ViTModel", (1, 3, 32, 32), False, **IMAGES),
    "Wav2Vec2Model": _transformers(
        "Wav2Vec2Model", (1, 4000), False, conv_dim=[16] * 7, num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=4, **TEXT,
    ),
    "DenseGCNConv": _geometric("DenseGCNConv"),
    "DenseSAGEConv": _geometric("DenseSAGEConv"),
    "DenseGINConv": _geometric("DenseGINConv"),
    "TransformerEncoder": _torch(
        lambda torch: torch.nn.TransformerEncoder(
            torch.nn.TransformerEncoderLayer(32, 4, 64, batch_first=True), 2, enable_nested_tensor=False
        ),
        (1, 8, 32),
    ),
    "ConvTranspose2d": _torch(
        lambda torch: torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.ConvTranspose2d(8, 4, 2, 2)),
        (1, 3, 16, 16),
    ),
}  # fmt: skip
