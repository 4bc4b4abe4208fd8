"""The storage-format interface: what a layer's weights cost to read, decode and generate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

from accelsim.prng.source import RandomSource
from accelsim.trace.model import LayerWeights, TraceLayer

Arithmetic = Literal["ternary", "binary_xnor", "int4", "int8", "int16", "fp16", "fp32"]
DecoderKind = Literal["none", "raw", "rle", "golomb", "entropy", "csr", "bitmap", "nm", "multicoat", "folded", "seedlm"]

# The action that a decoder of each kind counts, by which its front end is called in the cost tables. A code's front end
# takes one symbol after another, and is built once for each that it takes in a cycle; others are as wide as positions.
_CODED_FRONTS = {
    "rle": "rle_symbols", "golomb": "golomb_symbols", "entropy": "entropy_symbols", "csr": "csr_symbols",
}  # fmt: skip
_SYMBOL_FRONTS = _CODED_FRONTS | {"bitmap": "bitmap_bits", "nm": "nm_symbols"}
CODED_FRONTS = frozenset(_CODED_FRONTS.values())


def decoder_front(kind: str) -> str:
    """Return the action that a kind of decoder counts; of what is stored as plain bits ``raw_bits``."""
    return _SYMBOL_FRONTS.get(kind, "raw_bits")


# Formats that store seeds and mask bits of a ticket, by how their names begin; all others are its rivals.
_TICKET_FORMATS = ("slt", "mpt", "folded", "multicoat", "mask-")


def is_ticket_format(name: str) -> bool:
    """Return whether a storage format stores a ticket: seeds and mask bits."""
    return name.startswith(_TICKET_FORMATS)


@dataclass(frozen=True, slots=True)
class StoredBits:
    """Bits stored per class; the five classes of weight data in the result schema."""

    mask: int = 0
    seed: int = 0
    scale: int = 0
    weight: int = 0
    index: int = 0

    @property
    def total(self) -> int:
        """Return the sum over classes."""
        return self.mask + self.seed + self.scale + self.weight + self.index


@dataclass(frozen=True, slots=True)
class WeightPlan:
    """How one layer's weights reach the array in one storage format.

    Attributes
    ----------
    format
        The format's name.
    stored_bits
        Bits of the whole layer, by class. Mask, weight and index bits are spread evenly over weight positions when
        tiles are fetched; scale and seed bits over output channels.
    buffer_bits_per_weight
        Bits a position holds in the weight buffer after decoding (1 sign + 1 mask for a signed constant; 8 for int8).
    arithmetic
        What a PE must do per kept weight.
    decoder
        Which decoder the format needs; ``none`` needs none.
    decoder_symbols
        Symbols the decoder must consume for the whole layer (raw: mask bits; entropy: coded bits' symbols; csr:
        non-zeros).
    source
        What the generator must regenerate, or None. Generation covers every weight position.
    num_nonzero
        Weights that are not zero, over the whole layer (the MACs that matter, per output position).
    activation_bits
        Overrides the chip's activation width (1 for binary-activation tickets), or None.
    synthetic
        True where tensors with the stated statistics stood in for real ones.
    fetched_bits
        Bits that one pass over the whole layer reads, where they differ from the stored ones (the chosen level of a
        nested network; a later iteration of a folded block); None: all of ``stored_bits``.
    """

    format: str
    stored_bits: StoredBits
    buffer_bits_per_weight: int
    arithmetic: Arithmetic
    decoder: DecoderKind = "none"
    decoder_symbols: int = 0
    source: RandomSource | None = None
    num_nonzero: int = 0
    activation_bits: int | None = None
    synthetic: bool = False
    fetched_bits: StoredBits | None = None

    @property
    def traffic_bits(self) -> StoredBits:
        """Return the bits that one pass over the whole layer reads."""
        return self.stored_bits if self.fetched_bits is None else self.fetched_bits


class StorageFormat(Protocol):
    """One way of storing weights; a new one is one file with a class like this, registered in `accelsim.storage`."""

    @property
    def name(self) -> str:
        """The name that ``--storage`` takes."""
        ...

    @property
    def summary(self) -> str:
        """One line for lists: what is stored."""
        ...

    def plan(self, weights: LayerWeights) -> WeightPlan:
        """Return the plan of a layer; raise `MappingError` where the format cannot hold these weights."""
        ...


@runtime_checkable
class NetworkFormat(Protocol):
    """A storage format whose layers share what they store, so that a network must be planned as a whole."""

    def plan_layers(self, layers: Sequence[TraceLayer]) -> tuple[WeightPlan | None, ...]:
        """Return the plan of every layer in order; None for layers without weights."""
        ...


def planned(known: StorageFormat, layers: Sequence[TraceLayer]) -> tuple[WeightPlan | None, ...]:
    """Return the plan of every layer in order, planned as a network where the format does so; None without weights."""
    if isinstance(known, NetworkFormat):
        return known.plan_layers(layers)
    return tuple(None if layer.weights is None else known.plan(layer.weights) for layer in layers)
