"""Networks that make images: EDSR super-resolution (Lim et al. 2017) and the DCGAN generator (Radford et al. 2016)."""

from __future__ import annotations

from dataclasses import dataclass

from accelsim.ticket.builder import GraphBuilder
from accelsim.ticket.graph import NetworkGraph
from accelsim.ticket.zoo.spec import NetworkSpec, scaled

_UPSCALE = 2


@dataclass(frozen=True, slots=True)
class EdsrShape:
    """Residual blocks and features."""

    num_blocks: int
    features: int


def build_edsr(shape: EdsrShape, spec: NetworkSpec) -> NetworkGraph:
    """Return EDSR for doubling the size, without its fixed mean shifts; a pixel shuffle moves no data here."""
    builder = GraphBuilder(spec.name, spec.input_shape, trained=spec.trained)
    features = scaled(shape.features, spec.width_factor)
    head = builder.conv("head.0", "input", features, bias=True)
    x = head
    for index in range(shape.num_blocks):
        inner = builder.conv(f"body.{index}.body.0", x, features, bias=True)
        inner = builder.activation(f"body.{index}.body.1", inner)
        inner = builder.conv(f"body.{index}.body.2", inner, features, bias=True)
        x = builder.add(f"body.{index}.add", inner, x)
    x = builder.conv(f"body.{shape.num_blocks}", x, features, bias=True)
    x = builder.add("body.add", x, head)
    x = builder.conv("tail.0.0", x, features * _UPSCALE**2, bias=True)
    _, rows, columns = builder.shape(x)
    x = builder.reshape("tail.0.1", x, (features, rows * _UPSCALE, columns * _UPSCALE))
    builder.conv("tail.1", x, spec.input_shape[0], bias=True)
    return builder.build()


def build_dcgan_generator(spec: NetworkSpec) -> NetworkGraph:
    """Return the 64x64 DCGAN generator; ``num_classes`` is its number of image channels."""
    builder = GraphBuilder(spec.name, spec.input_shape, trained=spec.trained)
    x = "input"
    for position, channels in enumerate((512, 256, 128, 64)):
        first = position == 0
        width = scaled(channels, spec.width_factor)
        x = builder.conv_transpose(
            f"main.{3 * position}", x, width, 4, stride=1 if first else 2, padding=0 if first else 1
        )
        x = builder.norm(f"main.{3 * position + 1}", x)
        x = builder.activation(f"main.{3 * position + 2}", x)
    x = builder.conv_transpose("main.12", x, spec.num_classes, 4, stride=2, padding=1)
    builder.activation("main.13", x, "tanh")
    return builder.build()
