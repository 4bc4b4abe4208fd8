"""Strong lottery tickets: seeds and the mask bits of the searched weights; the weights are regenerated on chip."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

import numpy as np

from accelsim.errors import MappingError
from accelsim.prng import freezing_map, layer_weights, stream_seeds
from accelsim.prng.source import RandomSource
from accelsim.prng.streams import WEIGHT_DOMAIN
from accelsim.storage.base import Arithmetic, StoredBits, WeightPlan
from accelsim.storage.closed_forms import MaskSize, expected_mask_size, measured_mask_size
from accelsim.storage.dense import DENSE_INT8
from accelsim.storage.encoded import BoolArray, EncodedWeights, IntTensor
from accelsim.storage.stand_in import has_ticket
from accelsim.ticket.codecs import check_codec, decode_mask, encode_mask
from accelsim.ticket.model import MaskCodec
from accelsim.trace.model import LayerWeights
from accelsim.units import ceil_div

SEED_BITS = 32
THRESHOLD_BITS = 16
SourceNetwork = Literal["frozen", "pruned", "dense"]


def num_streams(source: RandomSource, num_filters: int) -> int:
    """Return the weight streams of a layer with ``num_filters`` output channels."""
    if source.stream == "layer":
        return 1
    return ceil_div(num_filters, source.tile_filters if source.stream == "tile" else 1)


def seed_bits(source: RandomSource, num_filters: int) -> int:
    """Return the stored seed bits: one seed per stream where they are ``stored``, else the layer's master seed alone.

    One seed serves a weight stream and its freezing stream: the two start at neighbouring positions of one bijective
    hash, so hardware computes the second from the first.
    """
    return SEED_BITS * (num_streams(source, num_filters) if source.seeds == "stored" else 1)


def weight_value_bits(source: RandomSource) -> int:
    """Return the bits that tell a regenerated weight's values apart.

    ``uniform`` has 2^b of them, ``normal`` m (2^b - 1) + 1: the sums of m fields of b bits. A signed constant has
    b = 1.
    """
    terms = source.normal_terms if source.weights == "normal" else 1
    return (terms * ((1 << source.weight_bits) - 1)).bit_length()


def value_arithmetic(value_bits: int) -> Arithmetic:
    """Return what a PE needs to multiply by a regenerated weight of ``value_bits`` bits."""
    if value_bits == 1:
        return "ternary"
    if value_bits <= 4:
        return "int4"
    return "int8" if value_bits <= 8 else "fp16"


def source_to_regenerate(weights: LayerWeights) -> RandomSource:
    """Return the ticket's random source, or one that would do where the ticket has none.

    An imported ticket's weights came from a software generator that no chip has. It is simulated as if the same pattern
    came from a sequential generator with one derived stream per filter; the result says ``regenerable: false``.
    """
    if weights.source is not None:
        return weights.source
    num_frozen = weights.num_pruned + weights.num_locked
    one = 1 << THRESHOLD_BITS
    return RandomSource(
        threshold_bits=THRESHOLD_BITS if num_frozen else 0,
        prune_threshold=one * weights.num_pruned // weights.num_weights,
        lock_threshold=one * num_frozen // weights.num_weights,
    )


def require_ticket(name: str, weights: LayerWeights) -> None:
    """Raise `MappingError` unless the layer has a supermask, real or synthetic."""
    if not has_ticket(weights):
        raise MappingError(
            f"storage {name}: a layer of shape {'x'.join(map(str, weights.shape))} has no supermask: its "
            "weights are trained values; give a ticket, state one with --sparsity, or choose dense-int8 or bitmap-int8"
        )


def require_one_coat(name: str, weights: LayerWeights) -> None:
    """Raise `MappingError` where a ticket has several masks a layer: the format has place for one."""
    if weights.coat_kept:
        num_coats = len(weights.coat_kept) + 1
        raise MappingError(
            f"storage {name}: holds one mask a layer, the ticket has {num_coats} coats; choose "
            f"{multicoat_name(num_coats)}, or dense-int8 for their sums as values"
        )


def multicoat_name(num_coats: int) -> str:
    """Return the name of the format for this number of coats."""
    return "multicoat" if num_coats == 2 else f"multicoat-{num_coats}"


def dense_part(name: str, weights: LayerWeights) -> WeightPlan:
    """Return the plan of a trained layer among supermasks: dense int8, whatever format the others have."""
    return replace(DENSE_INT8.plan(weights), format=name)


@dataclass(frozen=True, slots=True)
class SltFormat:
    """Seed + mask of the searched weights; weights and freezing map are regenerated.

    Attributes
    ----------
    codec
        Mask codec; None keeps the ticket's own.
    network
        The source network: ``frozen`` as the ticket has it (pruned and locked weights are not stored), ``pruned`` as if
        its locked weights had been searched (r = 0: a randomly pruned source, Gadhikar et al., ICML 2023), ``dense`` as
        if all weights had been (Ramanujan et al., CVPR 2020). The mask itself stays the same.
    """

    name: str
    summary: str
    codec: MaskCodec | None = None
    network: SourceNetwork = "frozen"

    def plan(self, weights: LayerWeights) -> WeightPlan:
        """Return the plan of a layer; O(1) in the ticket's own codec: the mask is loaded only to be encoded again.

        Raises
        ------
        MappingError
            If the layer has no supermask.
        """
        if weights.beside_supermasks:
            return dense_part(self.name, weights)
        require_ticket(self.name, weights)
        require_one_coat(self.name, weights)
        # Seeds are stored once a stream, and the mask only of what was searched: frozen weights have no bit at all.
        codec = self.codec or check_codec(weights.codec or "raw")
        size = self._mask_size(codec, weights)
        source = source_to_regenerate(weights)
        value_bits = weight_value_bits(source)
        return WeightPlan(
            format=self.name,
            stored_bits=StoredBits(
                mask=size.bits,
                seed=seed_bits(source, weights.shape[0]),
                scale=weights.num_scale_bits,
            ),
            buffer_bits_per_weight=1 + value_bits,  # the bit that keeps it, and the regenerated value
            arithmetic=value_arithmetic(value_bits),
            decoder=codec,
            decoder_symbols=size.symbols,
            source=source_of_network(source, self.network),
            num_nonzero=weights.num_kept,
            synthetic=weights.load_mask is None,
        )

    def encode(self, mask: BoolArray, source: RandomSource) -> EncodedWeights:
        """Return the seeds and mask bits that are stored of a layer; the mask must fit ``source``'s freezing map."""
        searched = searched_bits(mask, source, self.network)
        encoded = encode_mask(self.codec or "raw", searched)
        seeds = np.array([source.seed], dtype=np.uint32)
        if source.seeds == "stored":
            seeds = stream_seeds(source, mask.shape, WEIGHT_DOMAIN)
        return EncodedWeights(
            format=self.name,
            shape=mask.shape,
            bits=StoredBits(mask=encoded.payload_bits, seed=SEED_BITS * seeds.size),
            mask=encoded.payload,
            seed=seeds.astype(">u4").tobytes(),
        )

    def decode(self, encoded: EncodedWeights, source: RandomSource) -> IntTensor:
        """Return the ticket's integer weights: regenerated, and 0 where the mask or the freezing map drops them."""
        frozen = freezing_map(source_of_network(source, self.network), encoded.shape).reshape(-1)
        mask = frozen > 0
        num_searched = int(np.count_nonzero(frozen == 0))
        mask[frozen == 0] = decode_mask(self.codec or "raw", encoded.mask, encoded.bits.mask, num_searched)
        return layer_weights(source, encoded.shape) * mask.reshape(encoded.shape)

    def _mask_size(self, codec: MaskCodec, weights: LayerWeights) -> MaskSize:
        num_searched, num_ones = num_searched_weights(weights, self.network)
        expected = expected_mask_size(codec, num_searched, num_ones)
        # The ticket file says how long its own coding is; only another codec or network needs the mask itself.
        if codec == weights.codec and self.network == "frozen" and weights.codec_bits is not None:
            return MaskSize(weights.codec_bits, expected.symbols)
        if codec == "raw" or not _can_measure(weights, self.network):
            return expected
        return _measured_mask_size(codec, self.network, weights)


def source_of_network(source: RandomSource, network: SourceNetwork) -> RandomSource:
    """Return ``source`` with the freezing of ``network``: no locked weights (pruned), or none frozen at all (dense)."""
    if network == "frozen":
        return source
    # A word below the first threshold is pruned, below the second locked: where both are equal nothing is locked.
    if network == "pruned" and source.prune_threshold:
        return replace(source, lock_threshold=source.prune_threshold)
    return replace(source, threshold_bits=0, prune_threshold=0, lock_threshold=0)


def num_searched_weights(weights: LayerWeights, network: SourceNetwork) -> tuple[int, int]:
    """Return how many weights have a mask bit in ``network``, and how many of these bits are 1."""
    if network == "frozen":
        return weights.num_free, weights.num_kept - weights.num_locked
    if network == "pruned":
        return weights.num_free + weights.num_locked, weights.num_kept
    return weights.num_weights, weights.num_kept


def searched_bits(mask: BoolArray, source: RandomSource | None, network: SourceNetwork) -> BoolArray:
    """Return the bits of ``mask`` that ``network`` searches and stores, in the order of the flattened tensor."""
    flat = mask.reshape(-1)
    if network == "dense" or source is None:
        return flat
    frozen = freezing_map(source, mask.shape).reshape(-1)
    return flat[frozen == 0] if network == "frozen" else flat[frozen >= 0]


def _can_measure(weights: LayerWeights, network: SourceNetwork) -> bool:
    """Return whether the searched bits are at hand: a real mask, and a freezing map if there is any freezing."""
    has_map = weights.source is not None or weights.num_free == weights.num_weights
    return weights.load_mask is not None and (network == "dense" or has_map)


@lru_cache(maxsize=1024)
def _measured_mask_size(codec: MaskCodec, network: SourceNetwork, weights: LayerWeights) -> MaskSize:
    mask = np.zeros(0, dtype=np.bool_) if weights.load_mask is None else weights.load_mask()
    return measured_mask_size(codec, searched_bits(mask, weights.source, network))


FORMATS = (
    SltFormat("slt", "seed and mask of the free weights, in the ticket's own codec"),
    SltFormat("slt-raw", "seed and mask of the free weights, one bit each", "raw"),
    SltFormat("slt-rle", "seed and mask of the free weights, run lengths", "rle"),
    SltFormat("slt-golomb", "seed and mask of the free weights, Golomb-Rice code", "golomb"),
    SltFormat("slt-entropy", "seed and mask of the free weights, range-coded", "entropy"),
    SltFormat(
        "slt-pruned", "the same ticket from a randomly pruned source: locked weights have a bit too", None, "pruned"
    ),
    SltFormat("slt-unfrozen", "the same ticket from a dense source: every weight has a mask bit", None, "dense"),
)
