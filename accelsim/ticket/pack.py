"""A mask becomes a stored layer, and a stored layer becomes its mask and signed weights again."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod

import numpy as np
import numpy.typing as npt

from accelsim.errors import AccelSimError, TicketError
from accelsim.prng import RandomSource, freezing_map, layer_weights, words
from accelsim.ticket.coats import MAX_COATS, unpack_coats
from accelsim.ticket.codecs import EncodedMask, decode_mask, encode_mask
from accelsim.ticket.digest import filter_digests, value_digest
from accelsim.ticket.model import MaskCodec, TicketLayer

MaskArray = npt.NDArray[np.bool_]
TernaryArray = npt.NDArray[np.int8]
Float16Array = npt.NDArray[np.float16]


def pack_layer(
    name: str,
    shape: tuple[int, ...],
    source: RandomSource,
    mask: MaskArray,
    codec: MaskCodec,
    scale_K: npt.ArrayLike,  # noqa: N803  K is the shape letter
    offset_K: npt.ArrayLike,  # noqa: N803
    input_density: float | None = None,
) -> TicketLayer:
    """Pack a searched mask: only the bits of the free weights are stored, in flattened order.

    Parameters
    ----------
    name, shape
        Of the weighted graph node; KCRS or KC.
    source
        From which weights and freezing map are regenerated.
    mask
        Bool, of ``shape``, over all weights; locked ones must be kept and pruned ones dropped.
    codec
        How the free bits are encoded.
    scale_K, offset_K
        Per output channel; stored as float16.
    input_density
        Measured fraction of non-zero inputs, or None.

    Raises
    ------
    TicketError
        The mask has another shape or contradicts the freezing map, or a scale is not finite.
    """
    frozen = freezing_map(source, shape)
    scales = _float16(name, scale_K), _float16(name, offset_K)
    layer = _pack(name, mask, frozen, codec, scales, input_density, source)
    return replace(layer, digest_payload=filter_digests(layer_weights(source, shape) * mask))


@dataclass(frozen=True, slots=True)
class ImportedPattern:
    """What an imported layer cannot regenerate: its ternary freezing map and the signs of its weights, both int8."""

    frozen: TernaryArray
    sign: TernaryArray


def pack_imported_layer(
    name: str,
    pattern: ImportedPattern,
    mask: MaskArray,
    codec: MaskCodec,
    scale_K: npt.ArrayLike,  # noqa: N803
    offset_K: npt.ArrayLike,  # noqa: N803
    input_density: float | None = None,
) -> TicketLayer:
    """Pack a layer whose weights no generator can rebuild; its pattern and signs ride along for the simulation.

    Raises
    ------
    TicketError
        See `pack_layer`.
    """
    scales = _float16(name, scale_K), _float16(name, offset_K)
    layer = _pack(name, mask, pattern.frozen, codec, scales, input_density, None, pattern.sign)
    return replace(layer, digest_payload=filter_digests(unpack_weights(layer)))


def _float16(name: str, values: npt.ArrayLike) -> Float16Array:
    wide = np.asarray(values, dtype=np.float64).reshape(-1)
    if not np.isfinite(wide).all() or np.abs(wide).max(initial=0.0) > float(np.finfo(np.float16).max):
        raise TicketError(f"layer {name!r}: a scale or offset is not finite in float16; rescale it below 65504")
    return wide.astype(np.float16)


def _pack(  # noqa: PLR0913  private, and every argument is a stored field
    name: str,
    mask: MaskArray,
    frozen: TernaryArray,
    codec: MaskCodec,
    scales: tuple[Float16Array, Float16Array],
    input_density: float | None,
    source: RandomSource | None,
    sign: TernaryArray | None = None,
) -> TicketLayer:
    shape = tuple(frozen.shape)
    if mask.shape != shape:
        raise TicketError(
            f"layer {name!r}: the mask has shape {mask.shape}, the weights {shape}; give one bit a weight"
        )
    if input_density is not None and not 0.0 <= input_density <= 1.0:
        raise TicketError(f"layer {name!r}: input_density {input_density} is not from 0 to 1; give a fraction")
    kept = np.ascontiguousarray(mask, dtype=np.bool_)
    num_wrong = int(np.count_nonzero(kept & (frozen < 0)) + np.count_nonzero(~kept & (frozen > 0)))
    if num_wrong:
        raise TicketError(
            f"layer {name!r}: the mask contradicts the freezing map at {num_wrong} of {kept.size} weights; "
            "keep locked weights and drop pruned ones"
        )
    free = kept[frozen == 0]
    encoded: EncodedMask = encode_mask(codec, free)
    density = None if input_density is None else float(input_density)
    return TicketLayer(
        name,
        shape,
        source,
        codec,
        encoded.payload,
        encoded.payload_bits,
        num_free=int(free.size),
        num_locked=int(np.count_nonzero(frozen > 0)),
        num_kept=int(np.count_nonzero(kept)),
        scale_K=scales[0],
        offset_K=scales[1],
        input_density=density,
        weight_payload=b"" if sign is None else np.packbits(sign > 0).tobytes(),
        frozen_payload=b"" if source is not None else _pack_ternary(frozen),
        value_digest=value_digest(*scales, density),
    )


def with_input_density(layer: TicketLayer, input_density: float) -> TicketLayer:
    """Return a layer with a measured input density, under its digest."""
    digest = value_digest(layer.scale_K, layer.offset_K, input_density)
    return replace(layer, input_density=input_density, value_digest=digest)


def _pack_ternary(frozen: TernaryArray) -> bytes:
    """Two bit maps one after the other: pruned, locked; nothing where nothing is frozen."""
    if not frozen.any():
        return b""
    return np.packbits(frozen < 0).tobytes() + np.packbits(frozen > 0).tobytes()


def unpack_frozen(layer: TicketLayer) -> TernaryArray:
    """Return the freezing map: -1 pruned, +1 locked, 0 free; int8 of the layer's shape.

    Raises
    ------
    TicketError
        It does not have the number of free and locked weights that the ticket states.
    """
    if layer.source is not None:
        try:
            frozen = freezing_map(layer.source, layer.shape)
        except AccelSimError as error:
            raise TicketError(f"layer {layer.name!r}: {error}") from error
    else:
        frozen = _unpack_ternary(layer)
    num_free, num_locked = int(np.count_nonzero(frozen == 0)), int(np.count_nonzero(frozen > 0))
    if (num_free, num_locked) != (layer.num_free, layer.num_locked):
        raise TicketError(
            f"layer {layer.name!r}: the freezing map has {num_free} free and {num_locked} locked weights, "
            f"the ticket states {layer.num_free} and {layer.num_locked}; the seed, a threshold or the file is damaged"
        )
    return frozen


def _unpack_ternary(layer: TicketLayer) -> TernaryArray:
    frozen = np.zeros(layer.num_weights, dtype=np.int8)
    if layer.frozen_payload:
        halves = np.frombuffer(layer.frozen_payload, dtype=np.uint8).reshape(2, -1)
        bits = np.unpackbits(halves, axis=1, count=layer.num_weights).view(np.int8)
        frozen = bits[1] - bits[0]
    return frozen.reshape(layer.shape)


def unpack_mask(layer: TicketLayer) -> MaskArray:
    """Return the mask over all weights, bool of the layer's shape.

    Raises
    ------
    TicketError
        The payload does not decode to the number of kept weights that the ticket states.
    """
    frozen = unpack_frozen(layer)
    try:
        free = decode_mask(layer.codec, layer.mask_payload, layer.payload_bits, layer.num_free)
    except TicketError as error:
        raise TicketError(f"layer {layer.name!r}: {error}") from error
    mask = frozen > 0
    mask[frozen == 0] = free
    num_kept = int(np.count_nonzero(mask))
    if num_kept != layer.num_kept:
        raise TicketError(
            f"layer {layer.name!r}: the mask keeps {num_kept} weights, the ticket states {layer.num_kept}; "
            "the file is damaged"
        )
    return mask


def is_trained(layer: TicketLayer) -> bool:
    """Return whether the weights of an imported layer were trained: its zeros are stored, a random source or signs not.

    Such a layer is no supermask of random weights; what its kept weights are is not stored.
    """
    return layer.source is None and not layer.weight_payload


def unpack_weights(layer: TicketLayer) -> npt.NDArray[np.signedinteger]:
    """Return the signed integer weights of the layer's shape, 0 where the mask drops one.

    Regenerated ones are `accelsim.prng.layer_weights`, times the number of coats that keep them; imported ones are +1
    or -1.

    Raises
    ------
    TicketError
        See `unpack_mask`.
    """
    mask = unpack_mask(layer)
    if layer.coat_kept:
        return _with_sums(layer, mask)
    if layer.source is not None:
        return layer_weights(layer.source, layer.shape) * mask
    if not layer.weight_payload:
        raise TicketError(f"layer {layer.name!r}: the ticket has neither a random source nor signs; import it again")
    bits = np.unpackbits(np.frombuffer(layer.weight_payload, dtype=np.uint8), count=layer.num_weights)
    signs = (2 * bits.view(np.int8) - 1).reshape(layer.shape)
    return signs * mask


def _with_sums(layer: TicketLayer, mask: MaskArray) -> npt.NDArray[np.signedinteger]:
    sums = unpack_coats(layer, mask, unpack_frozen(layer) == 0)
    signs = unpack_weights(replace(layer, coat_payload=b"", coat_kept=()))
    largest = MAX_COATS * int(np.abs(signs).max(initial=0))
    return signs.astype(np.promote_types(signs.dtype, np.min_scalar_type(-largest))) * sums.astype(np.int8)


def random_mask(frozen: TernaryArray, density: float, seed: int) -> MaskArray:
    """Return a mask that keeps the locked weights and, of the free ones, exactly round(density x number), at random.

    Deterministic in ``seed`` (1 to 2^32 - 1), on any machine.
    """
    return _keep(frozen, round(density * int(np.count_nonzero(frozen == 0))), seed)


def synthetic_mask(frozen: TernaryArray, sparsity: float, seed: int) -> MaskArray:
    """Return a mask with a stated fraction of zeros: locked weights and a random choice of the free ones are kept.

    Exactly round((1 - sparsity) n) weights are kept where the freezing map allows it, else as near as it allows.
    Deterministic in ``seed`` (1 to 2^32 - 1), on any machine.
    """
    return _keep(frozen, round((1.0 - sparsity) * prod(frozen.shape)) - int(np.count_nonzero(frozen > 0)), seed)


def _keep(frozen: TernaryArray, wanted: int, seed: int) -> MaskArray:
    """Keep the ``wanted`` free weights with the smallest random words, earlier ones where words are equal."""
    mask = frozen > 0
    is_free = frozen == 0
    num_free = int(np.count_nonzero(is_free))
    wanted = min(max(wanted, 0), num_free)
    if wanted:
        keys = words("philox4x32", np.array([seed], dtype=np.uint32), 0, num_free)[0]
        limit = np.partition(keys, wanted - 1)[wanted - 1]
        kept = keys < limit
        ties = np.flatnonzero(keys == limit)
        kept[ties[: wanted - int(np.count_nonzero(kept))]] = True
        mask[is_free] = kept
    return mask
