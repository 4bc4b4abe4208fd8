"""Networks of the literature by name, as layer graphs with exact shapes."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from accelsim.errors import TicketError
from accelsim.ticket.graph import NetworkGraph
from accelsim.ticket.zoo.convnets import build_conv
from accelsim.ticket.zoo.resnet import ResNetShape, build_resnet
from accelsim.ticket.zoo.spec import NetworkSpec

__all__ = ["NetworkInfo", "build_network", "list_networks"]

_CIFAR = (3, 32, 32)
_IMAGENET = (3, 224, 224)


@dataclass(frozen=True, slots=True)
class NetworkInfo:
    """A name, the input and classes it has unless told otherwise, and where it comes from."""

    name: str
    input_shape: tuple[int, ...]
    num_classes: int
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
        entries += [_Entry(info, partial(build_resnet, shape)) for info in (cifar, imagenet)]
    return entries


def _convs() -> list[_Entry]:
    return [
        _Entry(
            NetworkInfo(f"conv{2 * blocks}", _CIFAR, 10, f"Conv-{2 * blocks} (Frankle & Carbin 2019)"),
            partial(build_conv, blocks),
        )
        for blocks in (1, 2, 3, 4)
    ]


_ENTRIES = {entry.info.name: entry for entry in (*_convs(), *_resnets())}


def list_networks() -> tuple[NetworkInfo, ...]:
    """Return every network that `build_network` knows, in a fixed order."""
    return tuple(entry.info for entry in _ENTRIES.values())


def _entry(name: str) -> _Entry:
    key = name.lower().replace("_", "-")
    for known, entry in _ENTRIES.items():
        if known.replace("_", "-") == key:
            return entry
    near = difflib.get_close_matches(name.lower(), _ENTRIES, n=3)
    hint = f"did you mean {' or '.join(near)}?" if near else f"known are {', '.join(_ENTRIES)}"
    raise TicketError(f"network {name!r} is unknown; {hint}")


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
        None takes the network's own (see `NetworkInfo`); shapes are (C, H, W), for graphs (nodes, features).
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
    classes = info.num_classes if num_classes is None else num_classes
    shape = info.input_shape if input_shape is None else tuple(input_shape)
    if not 1 <= classes <= 1 << 24:
        raise TicketError(
            f"network {name!r}: num_classes: {classes} is not from 1 to {1 << 24}; give the number of classes"
        )
    if not 0.0 < width_factor <= 64.0:
        raise TicketError(f"network {name!r}: width_factor: {width_factor} is not in (0, 64]; 1 is the published width")
    if len(shape) != len(info.input_shape) or not all(1 <= size <= 1 << 24 for size in shape):
        raise TicketError(
            f"network {name!r}: input_shape: {shape} is not like {info.input_shape}; give as many sizes >= 1"
        )
    return entry.build(NetworkSpec(info.name, classes, shape, width_factor, trained))
