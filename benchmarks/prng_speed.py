"""Time to regenerate all weights and the freezing map of ResNet-18 (11.2 M weights), per generator kind.

Usage: python benchmarks/prng_speed.py
"""

from __future__ import annotations

import time
from math import prod
from typing import get_args

from accelsim.prng import GeneratorKind, RandomSource, StreamGranularity, freezing_map, layer_weights

STAGES = ((64, 64), (64, 128), (128, 256), (256, 512))


def resnet18_shapes() -> list[tuple[int, ...]]:
    """Weight shapes of ResNet-18 in CIFAR geometry."""
    shapes: list[tuple[int, ...]] = [(64, 3, 3, 3)]
    for before, after in STAGES:
        shapes += [(after, before, 3, 3)] + 3 * [(after, after, 3, 3)]
        if before != after:
            shapes.append((after, before, 1, 1))
    return [*shapes, (10, 512)]


def main() -> None:
    """Print one line per generator and stream granularity."""
    shapes = resnet18_shapes()
    print(f"{sum(map(prod, shapes)):,} weights, freezing map with 16-bit words")
    for kind in get_args(GeneratorKind):
        for stream in get_args(StreamGranularity):
            best = float("inf")
            for _ in range(3):
                begin = time.perf_counter()
                for index, shape in enumerate(shapes):
                    source = RandomSource(
                        kind, index + 1, stream, prune_threshold=32768, lock_threshold=45875, tile_filters=16
                    )
                    layer_weights(source, shape)
                    freezing_map(source, shape)
                best = min(best, time.perf_counter() - begin)
            print(f"{kind:11} one stream per {stream:7} {best:6.3f} s")


if __name__ == "__main__":
    main()
