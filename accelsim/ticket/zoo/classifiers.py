"""VGG-16 (Simonyan & Zisserman 2015) and MobileNetV2 (Sandler et al. 2018), with torchvision's names."""

from __future__ import annotations

from accelsim.ticket.builder import GraphBuilder
from accelsim.ticket.graph import NetworkGraph
from accelsim.ticket.zoo.spec import NetworkSpec, scaled

_VGG16_STAGES = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))
_VGG_HIDDEN = 4096

# Expansion, channels, blocks, stride: table 2 of the paper.
_MOBILENET_STAGES = (
    (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1),
)  # fmt: skip


def build_vgg16(spec: NetworkSpec) -> NetworkGraph:
    """Return VGG-16 without batch normalisation; its first linear layer takes what the last pool leaves."""
    builder = GraphBuilder(spec.name, spec.input_shape, trained=spec.trained)
    x, index = "input", 0
    for channels, num_convs in _VGG16_STAGES:
        for _ in range(num_convs):
            x = builder.conv(f"features.{index}", x, scaled(channels, spec.width_factor), bias=True)
            x = builder.activation(f"features.{index + 1}", x)
            index += 2
        x = builder.pool(f"features.{index}", x, 2)
        index += 1
    x = builder.flatten("flatten", x)
    for position in (0, 3):
        x = builder.linear(f"classifier.{position}", x, scaled(_VGG_HIDDEN, spec.width_factor))
        x = builder.activation(f"classifier.{position + 1}", x)
    builder.linear("classifier.6", x, spec.num_classes)
    return builder.build()


def _divisible(channels: float) -> int:
    """Round to a multiple of 8, at most a tenth down, as MobileNet's authors do."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded


def _inverted_residual(builder: GraphBuilder, prefix: str, x: str, channels: int, stride: int, expansion: int) -> str:
    source, in_channels = x, builder.shape(x)[0]
    hidden, index = in_channels * expansion, 0
    if expansion != 1:
        x = builder.conv(f"{prefix}.conv.0.0", x, hidden, 1)
        x = builder.norm(f"{prefix}.conv.0.1", x)
        x = builder.activation(f"{prefix}.conv.0.2", x, "relu6")
        index = 1
    x = builder.conv(f"{prefix}.conv.{index}.0", x, hidden, 3, stride=stride, groups=hidden)
    x = builder.norm(f"{prefix}.conv.{index}.1", x)
    x = builder.activation(f"{prefix}.conv.{index}.2", x, "relu6")
    x = builder.conv(f"{prefix}.conv.{index + 1}", x, channels, 1)
    x = builder.norm(f"{prefix}.conv.{index + 2}", x)
    return builder.add(f"{prefix}.add", x, source) if stride == 1 and in_channels == channels else x


def build_mobilenet_v2(spec: NetworkSpec) -> NetworkGraph:
    """Return MobileNetV2."""
    builder = GraphBuilder(spec.name, spec.input_shape, trained=spec.trained)
    x = builder.conv("features.0.0", "input", _divisible(32 * spec.width_factor), 3, stride=2)
    x = builder.norm("features.0.1", x)
    x = builder.activation("features.0.2", x, "relu6")
    index = 1
    for expansion, channels, num_blocks, first_stride in _MOBILENET_STAGES:
        for block in range(num_blocks):
            stride = first_stride if block == 0 else 1
            width = _divisible(channels * spec.width_factor)
            x = _inverted_residual(builder, f"features.{index}", x, width, stride, expansion)
            index += 1
    x = builder.conv(f"features.{index}.0", x, _divisible(1280 * max(1.0, spec.width_factor)), 1)
    x = builder.norm(f"features.{index}.1", x)
    x = builder.activation(f"features.{index}.2", x, "relu6")
    builder.linear("classifier.1", builder.global_pool("avgpool", x), spec.num_classes)
    return builder.build()
