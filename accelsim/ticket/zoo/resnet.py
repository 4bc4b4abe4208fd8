"""ResNets (He et al. 2016) and Wide ResNets (Zagoruyko & Komodakis 2016) with CIFAR and ImageNet stems.

The CIFAR form has a 3x3 stem and no first pooling and names its parts ``shortcut`` and ``linear``; the ImageNet form is
torchvision's (7x7 stem, ``downsample``, ``fc``; the stride of a bottleneck sits on its 3x3 convolution).
"""

from __future__ import annotations

from dataclasses import dataclass

from accelsim.ticket.builder import GraphBuilder
from accelsim.ticket.graph import NetworkGraph
from accelsim.ticket.zoo.spec import NetworkSpec, scaled


@dataclass(frozen=True, slots=True)
class ResNetShape:
    """Blocks per stage, and the bottleneck's expansion (1: basic blocks) and width.

    ``planes`` are the channels of each stage before expansion; None doubles the stem's from stage to stage.
    """

    blocks: tuple[int, ...]
    expansion: int = 1
    bottleneck_width: int = 1
    planes: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class ResNetNames:
    """How a code base names the 1x1 path and the last layer, and whether its stem is the small one."""

    cut: str
    head: str
    is_small: bool


CIFAR_NAMES = ResNetNames("shortcut", "linear", True)
IMAGENET_NAMES = ResNetNames("downsample", "fc", False)


def is_cifar_stem(input_shape: tuple[int, ...]) -> bool:
    """Return whether images are small enough for the 3x3 stem."""
    return min(input_shape[-2:]) < 64


def _residual_branch(builder: GraphBuilder, prefix: str, x: str, planes: int, stride: int, shape: ResNetShape) -> str:
    if shape.expansion == 1:
        convs = [(planes, 3, stride), (planes, 3, 1)]
    else:
        inner = planes * shape.bottleneck_width
        convs = [(inner, 1, 1), (inner, 3, stride), (planes * shape.expansion, 1, 1)]
    for position, (channels, kernel, step) in enumerate(convs, start=1):
        x = builder.conv(f"{prefix}.conv{position}", x, channels, kernel, stride=step)
        x = builder.norm(f"{prefix}.bn{position}", x)
        if position < len(convs):
            x = builder.activation(f"{prefix}.relu{position}", x)
    return x


def _block(builder: GraphBuilder, prefix: str, x: str, planes: int, stride: int, shape: ResNetShape, cut: str) -> str:
    main = _residual_branch(builder, prefix, x, planes, stride, shape)
    skip = x
    if stride != 1 or builder.shape(x)[0] != planes * shape.expansion:
        skip = builder.conv(f"{prefix}.{cut}.0", x, planes * shape.expansion, 1, stride=stride)
        skip = builder.norm(f"{prefix}.{cut}.1", skip)
    total = builder.add(f"{prefix}.add", main, skip)
    return builder.activation(f"{prefix}.relu", total)


def build_resnet(shape: ResNetShape, spec: NetworkSpec, names: ResNetNames | None = None) -> NetworkGraph:
    """Return a ResNet; images below 64x64 get the CIFAR form and its names, unless ``names`` say otherwise."""
    chosen = names or (CIFAR_NAMES if is_cifar_stem(spec.input_shape) else IMAGENET_NAMES)
    small = chosen.is_small
    builder = GraphBuilder(spec.name, spec.input_shape, trained=spec.trained)
    base = scaled(64, spec.width_factor)
    if small:
        x = builder.conv("conv1", "input", base)
    else:
        x = builder.conv("conv1", "input", base, 7, stride=2)
    x = builder.norm("bn1", x)
    x = builder.activation("relu1" if small else "relu", x)
    if not small:
        x = builder.pool("maxpool", x, 3, stride=2, padding=1)
    for stage, num_blocks in enumerate(shape.blocks):
        for block in range(num_blocks):
            stride = 2 if stage > 0 and block == 0 else 1
            prefix = f"layer{stage + 1}.{block}"
            planes = base << stage if shape.planes is None else shape.planes[stage]
            x = _block(builder, prefix, x, planes, stride, shape, chosen.cut)
    x = builder.global_pool("avgpool", x)
    builder.linear(chosen.head, x, spec.num_classes)
    return builder.build()
