"""What a zoo builder is given."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class NetworkSpec:
    """The choices of `accelsim.ticket.zoo.build_network`, with every default filled in."""

    name: str
    num_classes: int
    input_shape: tuple[int, ...]
    width_factor: float = 1.0
    trained: bool = False


def scaled(channels: int, width_factor: float) -> int:
    """Return a channel count at another width, at least 1."""
    return max(1, int(channels * width_factor))
