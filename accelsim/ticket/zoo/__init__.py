"""Networks of the literature by name, as layer graphs with exact shapes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from accelsim.errors import TicketError
from accelsim.names import nearest, or_words
from accelsim.ticket.graph import NetworkGraph
from accelsim.ticket.zoo.classifiers import build_mobilenet_v2, build_vgg16
from accelsim.ticket.zoo.convnets import build_conv
from accelsim.ticket.zoo.decoders import is_decoder, list_decoders
from accelsim.ticket.zoo.graphs import (
    OGBN_ARXIV_CLASSES,
    OGBN_ARXIV_SHAPE,
    GraphNetShape,
    build_gcn,
    build_gin,
)
from accelsim.ticket.zoo.images import EdsrShape, build_dcgan_generator, build_edsr
from accelsim.ticket.zoo.resnet import CIFAR_NAMES, IMAGENET_NAMES, ResNetShape, build_resnet
from accelsim.ticket.zoo.spec import NetworkSpec
from accelsim.ticket.zoo.transformer import (
    TransformerShape,
    build_char_decoder,
    build_decoder_block,
    build_vit,
)

__all__ = ["NetworkInfo", "build_network", "list_networks"]

_CIFAR = (3, 32, 32)
_MOST_COLOURS = 16
"""Channels of an image, those of many spectral bands among them."""
_MAP_RANK = 3
_IMAGENET = (3, 224, 224)
NUM_CHARACTERS = 65
"""Different characters of the King James Bible, line ends among them."""
CHARACTER_SHAPE = (128, NUM_CHARACTERS + 128)
"""Positions, and a row of the input: a one for the character and a one for the position."""


@dataclass(frozen=True, slots=True)
class NetworkInfo:
    """A name, the input and classes it has unless told otherwise, and where it comes from.

    ``num_classes`` is None where the network has none.
    """

    name: str
    input_shape: tuple[int, ...]
    num_classes: int | None
    summary: str


@dataclass(frozen=True, slots=True)
class _Entry:
    info: NetworkInfo
    build: Callable[[NetworkSpec], NetworkGraph]


def _resnets() -> list[_Entry]:
    shapes = {
        "resnet18": (ResNetShape((2, 2, 2, 2)), "ResNet-18 (He et al. 2016)"),
        "resnet34": (ResNetShape((3, 4, 6, 3)), "ResNet-34 (He et al. 2016)"),
        "resnet50": (ResNetShape((3, 4, 6, 3), 4), "ResNet-50 (He et al. 2016)"),
        "resnet101": (ResNetShape((3, 4, 23, 3), 4), "ResNet-101 (He et al. 2016)"),
        "wide_resnet50_2": (ResNetShape((3, 4, 6, 3), 4, 2), "Wide ResNet-50-2 (Zagoruyko & Komodakis 2016)"),
    }
    entries = []
    for name, (shape, summary) in shapes.items():
        small = shape.expansion == 1
        plain = NetworkInfo(name, _CIFAR if small else _IMAGENET, 10 if small else 1000, summary)
        entries.append(_Entry(plain, partial(build_resnet, shape)))
        cifar = NetworkInfo(f"{name}-cifar", _CIFAR, 10, f"{summary}, 3x3 stem")
        imagenet = NetworkInfo(f"{name}-imagenet", _IMAGENET, 1000, f"{summary}, 7x7 stem")
        entries += [
            _Entry(cifar, partial(build_resnet, shape, names=CIFAR_NAMES)),
            _Entry(imagenet, partial(build_resnet, shape, names=IMAGENET_NAMES)),
        ]
    return entries


def _convs() -> list[_Entry]:
    return [
        _Entry(
            NetworkInfo(f"conv{2 * blocks}", _CIFAR, 10, f"Conv-{2 * blocks} (Frankle & Carbin 2019)"),
            partial(build_conv, blocks),
        )
        for blocks in (1, 2, 3, 4)
    ]


def _classifiers() -> list[_Entry]:
    return [
        _Entry(NetworkInfo("vgg16", _IMAGENET, 1000, "VGG-16 (Simonyan & Zisserman 2015)"), build_vgg16),
        _Entry(NetworkInfo("mobilenet_v2", _IMAGENET, 1000, "MobileNetV2 (Sandler et al. 2018)"), build_mobilenet_v2),
    ]


def _transformers() -> list[_Entry]:
    tiny, small, base = (TransformerShape(64 * heads, heads, 12) for heads in (3, 6, 12))
    vits = {
        "vit_tiny": (tiny, "ViT-Ti/16 (Dosovitskiy et al. 2021)"),
        "vit_small": (small, "ViT-S/16 (Dosovitskiy et al. 2021)"),
        "vit_base": (base, "ViT-B/16 (Dosovitskiy et al. 2021)"),
        "deit_tiny": (tiny, "DeiT-Ti/16 (Touvron et al. 2021)"),
        "deit_small": (small, "DeiT-S/16 (Touvron et al. 2021)"),
        "deit_base": (base, "DeiT-B/16 (Touvron et al. 2021)"),
    }
    entries = [
        _Entry(NetworkInfo(name, _IMAGENET, 1000, summary), partial(build_vit, shape))
        for name, (shape, summary) in vits.items()
    ]
    block = NetworkInfo("decoder_block", (128, 768), None, "a decoder block of GPT-2 small (Radford et al. 2019)")
    characters = NetworkInfo(
        "char_decoder", CHARACTER_SHAPE, NUM_CHARACTERS, "a decoder over characters, 5 blocks of 128 features"
    )
    return [
        *entries,
        _Entry(block, partial(build_decoder_block, TransformerShape(768, 12, 1))),
        _Entry(characters, partial(build_char_decoder, TransformerShape(128, 4, 5))),
    ]


def _graph_networks() -> list[_Entry]:
    gin = NetworkInfo("gin_ogbn_arxiv", OGBN_ARXIV_SHAPE, OGBN_ARXIV_CLASSES, "GIN (Xu et al. 2019), 4 layers")
    gcn = NetworkInfo("gcn_ogbn_arxiv", OGBN_ARXIV_SHAPE, OGBN_ARXIV_CLASSES, "GCN (Kipf & Welling 2017), 3 layers")
    return [
        _Entry(gin, partial(build_gin, GraphNetShape(386, 4))),
        _Entry(gcn, partial(build_gcn, GraphNetShape(256, 3))),
    ]


def _image_networks() -> list[_Entry]:
    edsr = NetworkInfo("edsr", (3, 48, 48), None, "EDSR baseline, x2 (Lim et al. 2017)")
    large = NetworkInfo("edsr_large", (3, 48, 48), None, "EDSR, x2 (Lim et al. 2017)")
    dcgan = NetworkInfo("dcgan_generator", (100, 1, 1), 3, "DCGAN generator, 64x64 (Radford et al. 2016)")
    return [
        _Entry(edsr, partial(build_edsr, EdsrShape(16, 64))),
        _Entry(large, partial(build_edsr, EdsrShape(32, 256))),
        _Entry(dcgan, build_dcgan_generator),
    ]


_ALL = (*_convs(), *_resnets(), *_classifiers(), *_transformers(), *_graph_networks(), *_image_networks())
_ENTRIES = {entry.info.name: entry for entry in _ALL}


def list_networks() -> tuple[NetworkInfo, ...]:
    """Return every network that `build_network` knows, in a fixed order."""
    return tuple(entry.info for entry in _ENTRIES.values())


def is_network(name: str) -> bool:
    """Return whether ``name`` is that of a network or of a language model."""
    return is_decoder(name) or name.lower().replace("_", "-") in {known.replace("_", "-") for known in _ENTRIES}


def _entry(name: str) -> _Entry:
    key = name.lower().replace("_", "-")
    for known, entry in _ENTRIES.items():
        if known.replace("_", "-") == key:
            return entry
    if is_decoder(name):
        raise TicketError(f"network {name!r}: is a language model, which is only run; give another network")
    every = [*_ENTRIES, *(shape.name for shape in list_decoders())]
    near = nearest(name, every)
    hint = f"did you mean {or_words(near)}? " if near else ""
    raise TicketError(f"network {name!r} is unknown; {hint}accelsim list networks shows all {len(every)}")


def build_network(
    name: str,
    *,
    num_classes: int | None = None,
    input_shape: tuple[int, ...] | None = None,
    width_factor: float = 1.0,
    trained: bool = False,
) -> NetworkGraph:
    """Return the layer graph of a network of the literature.

    Parameters
    ----------
    name
        One of `list_networks`; ``-`` and ``_`` are the same.
    num_classes, input_shape
        None takes the network's own (see `NetworkInfo`); shapes are (C, H, W), for graphs (nodes, features), or these
        behind a batch of 1.
    width_factor
        Multiplies the hidden channels.
    trained
        False: as a strong lottery ticket has it, without biases and affine norms. True: with them, so that
        `accelsim.ticket.shapes.count_parameters` is the published number.

    Raises
    ------
    TicketError
        An unknown name (with the nearest known ones) or an argument out of range.
    """
    entry = _entry(name)
    info = entry.info
    if info.num_classes is None and num_classes is not None:
        raise TicketError(f"network {name!r}: num_classes: {num_classes}: the network has no classes; leave it out")
    classes = (info.num_classes or 1) if num_classes is None else num_classes
    shape = info.input_shape if input_shape is None else tuple(input_shape)
    if not 1 <= classes <= 1 << 24:
        raise TicketError(
            f"network {name!r}: num_classes: {classes} is not from 1 to {1 << 24}; give the number of classes"
        )
    if not 0.0 < width_factor <= 64.0:
        raise TicketError(f"network {name!r}: width_factor: {width_factor} is not in (0, 64]; 1 is the published width")
    shape = _checked_shape(info, shape)
    return entry.build(NetworkSpec(info.name, classes, shape, width_factor, trained))


def _checked_shape(info: NetworkInfo, given: tuple[int, ...]) -> tuple[int, ...]:
    """Return a stated shape without a batch of 1; `TicketError` if the network cannot have it, or for channels last."""
    where, rank = f"network {info.name!r}: input_shape: {_shown(given)}", len(info.input_shape)
    shape = given[1:] if len(given) == rank + 1 and given[0] == 1 else given
    if len(given) == rank + 1 and given[0] > 1:
        raise TicketError(
            f"{where} has {given[0]} inputs; give {_shown(given[1:])}, and how many one run takes as batch"
        )
    if len(shape) != rank or not all(1 <= size <= 1 << 24 for size in shape):
        raise TicketError(f"{where} is not like {_shown(info.input_shape)}; give as many sizes >= 1")
    is_last = len(shape) == _MAP_RANK and shape[-1] <= _MOST_COLOURS and shape[-1] < min(shape[:-1])
    if is_last and shape[0] != info.input_shape[0]:
        first = _shown((shape[-1], *shape[:-1]))
        raise TicketError(f"{where} has its channels last; they come first, give {first}")
    return shape


def _shown(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))
