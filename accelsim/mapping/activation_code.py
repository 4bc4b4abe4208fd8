"""Activations in memory: run-length coded or padded, how much of them moves, and which tensors are coded.

A pair is a run of zeros and the value behind it; as many pairs as fit make a word of 64 bits, as in Eyeriss (Chen et
al., JSSC 2017, section V-B: 5 bits of run, three pairs of 16-bit values). The network's own input stays as it is, and
so does what the code would make longer.

Padded activations lie in whole tiles (``dma.activation_tile``): Cloud TPU performance guide, "Consequences of tiling":
one dimension is padded to a multiple of 8, a different one to a multiple of 128.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations

from accelsim.config.hardware import HardwareConfig
from accelsim.mapping.residency import NETWORK_INPUT
from accelsim.trace.model import LayerTrace, TraceLayer
from accelsim.units import round_up

RUN_BITS, WORD_BITS = 5, 64


@dataclass(frozen=True, slots=True)
class Coding:
    """Bits in memory over plain bits of a layer's activations: below 1 where they are coded, above where padded."""

    inputs: float = 1.0
    residuals: float = 1.0
    outputs: float = 1.0

    @property
    def any(self) -> bool:
        """Return whether anything is coded."""
        return min(self.inputs, self.residuals, self.outputs) < 1


PLAIN = Coding()


def pairs_per_word(activation_bits: int) -> int:
    """Return the pairs of a word; 0 where a value is too wide for one."""
    return WORD_BITS // (RUN_BITS + activation_bits)


def coded_share(density: float, activation_bits: int) -> float:
    """Return coded over plain bits of activations that are zero independently of each other, at most 1.

    With a share q of zeros a run is j times 32 or longer with probability q^(32 j): each non-zero brings
    q^32 / (1 - q^32) pairs that only carry a run on.
    """
    pairs = pairs_per_word(activation_bits)
    if density >= 1 or not pairs:
        return 1.0
    # A pair tells runs up to 31 zeros: the chance that a run is longer than one pair can tell.
    longest = (1.0 - density) ** (1 << RUN_BITS)
    each = density / (1.0 - longest) if longest < 1 else 1.0 / (1 << RUN_BITS)
    return min(1.0, each * WORD_BITS / pairs / activation_bits)


def padded_share(sizes: Sequence[int], tile: Sequence[int]) -> float:
    """Return padded over plain elements of a tensor in tiles of two of its dimensions, those that pad least.

    A tensor of one dimension fills whole tiles.
    """
    rows, lanes = tile
    long = [size for size in sizes if size > 1]
    if len(long) < 2:
        size = math.prod(long)
        return round_up(size, rows * lanes) / size
    pairs = permutations(long, 2)
    return min(round_up(one, rows) / one * (round_up(other, lanes) / other) for one, other in pairs)


def _padding_of(layer: TraceLayer, tile: Sequence[int]) -> Coding:
    """Return how much the tensors of a layer are padded; channels of all groups are one dimension."""
    dims = layer.dims
    inputs = padded_share((dims.N, dims.H, dims.W, dims.G * dims.C), tile)
    outputs = padded_share((dims.N, dims.P, dims.Q, dims.G * dims.K), tile)
    return Coding(inputs, outputs, outputs)


def coding_of(trace: LayerTrace, hardware: HardwareConfig, activation_bits: int) -> list[Coding]:
    """Return how the activations of each layer are coded or padded.

    How many zeros a tensor has is known where a layer that reads it has counted them, through layers of the vector unit
    too (a pooled map has fewer zeros than its input, which then is taken for longer than it is). The last layer's
    output is taken to have as many as its input. A tensor that takes the weights' place somewhere is not coded.
    """
    tile = hardware.dma.activation_tile
    if tile is not None:
        return [_padding_of(layer, tile) for layer in trace.layers]
    if hardware.dma.activation_codec == "none":
        return [PLAIN] * len(trace.layers)
    readers: dict[str, list[TraceLayer]] = {}
    for layer in trace.layers:
        for name in (*layer.inputs, *layer.residuals):
            readers.setdefault(name, []).append(layer)
    plain = {name for layer in trace.layers if layer.second_input_elements for name in layer.second_producers}
    densities: dict[str, float] = {}
    shares: dict[str, float] = {}
    for layer in reversed(trace.layers):  # readers stand behind what they read
        densities[layer.name] = _density(layer, readers.get(layer.name, []), densities)
        shares[layer.name] = 1.0 if layer.name in plain else coded_share(densities[layer.name], activation_bits)

    own_inputs = {NETWORK_INPUT, *(name for name, _ in trace.input_shapes)}

    def mean(names: tuple[str, ...], layer: TraceLayer) -> float:
        before = layer.input_density if layer.input_density_measured else 1.0  # of what a layer outside has made
        made = coded_share(before, activation_bits)
        found = [1.0 if name in own_inputs else shares.get(name, made) for name in names]
        return sum(found) / len(found) if found else 1.0

    return [
        Coding(mean(layer.inputs[:1] if layer.second_input_elements else layer.inputs, layer),
               mean(layer.residuals, layer), shares[layer.name])
        for layer in trace.layers
    ]  # fmt: skip


def _density(layer: TraceLayer, readers: list[TraceLayer], known: Mapping[str, float]) -> float:
    """Return the share of non-zeros in a layer's output, as the densest of its readers has counted it."""
    found = []
    for reader in readers:
        if reader.input_density_measured:
            found.append(reader.input_density)
        else:
            # A vector layer hands zeros on: what its readers counted holds. What an array reads uncounted is dense.
            found.append(1.0 if reader.uses_array else known.get(reader.name, 1.0))
    if not found:
        return layer.input_density if layer.input_density_measured else 1.0
    return max(found)
