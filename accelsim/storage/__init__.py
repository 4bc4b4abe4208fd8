"""Storage formats: what each must read from DRAM, decode and generate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from accelsim.errors import ConfigError
from accelsim.names import nearest, or_words
from accelsim.storage import bitmap, csr, dense, elsa, entropy, folded, low_bit, mpt, multicoat, nm, rle, seedlm, slt
from accelsim.storage.base import StorageFormat, StoredBits, WeightPlan, planned
from accelsim.storage.chip_decoder import STATED, StatedDecoderFormat, is_as_stated
from accelsim.storage.mixed import SIGN, MixedFormat, split_name, telling
from accelsim.storage.tiles import tile_bits
from accelsim.trace.model import TraceLayer

__all__ = [
    "StorageFormat",
    "StoredBits",
    "WeightPlan",
    "get_format",
    "list_formats",
    "plan_layers",
    "plan_of_use",
    "planned",
    "tile_bits",
]

_GROUPS: tuple[Sequence[StorageFormat], ...] = (
    slt.FORMATS, multicoat.FORMATS, folded.FORMATS, dense.FORMATS, csr.FORMATS, bitmap.FORMATS, rle.FORMATS,
    entropy.FORMATS, nm.FORMATS, elsa.FORMATS, mpt.FORMATS, seedlm.FORMATS, low_bit.FORMATS,
)  # fmt: skip
_FORMATS: dict[str, StorageFormat] = {known.name: known for group in _GROUPS for known in group}
_ALIASES = {"nm-int8": "nm-2:4-int8"}
_OFTEN = ("slt", "dense-int8", "entropy-int4")  # what most comparisons are about


def list_formats() -> tuple[str, ...]:
    """Return the names of all storage formats, in the order of docs/storage.md."""
    return tuple(_FORMATS)


def get_format(name: str) -> StorageFormat:
    """Return the storage format called ``name``; raise `ConfigError` with the known names if there is none.

    ``slt+fc=dense-int8`` is slt with dense int8 for a layer or kind of layer, see `accelsim.storage.mixed`;
    ``csr-int8@chip`` is csr-int8 on the chip's decoder as it is, see `accelsim.storage.chip_decoder`.
    """
    if is_as_stated(name):
        return StatedDecoderFormat(get_format(name.removesuffix(STATED)))
    if SIGN in name:
        base, by_key = split_name(name)
        if not all(by_key) or not all(by_key.values()):
            raise ConfigError(f"storage: {name!r}: a part is not LAYER=FORMAT; write e.g. slt+fc=dense-int8")
        first = get_format(base)
        others = telling(first, {key: get_format(part) for key, part in by_key.items()})
        return MixedFormat(first, tuple(sorted(others.items()))) if others else first
    known = _FORMATS.get(_ALIASES.get(name, name))
    if known is not None:
        return known
    near = nearest(name, _FORMATS)
    hint = f"did you mean {or_words(near)}? " if near else f"give for example {or_words(_OFTEN)}; "
    raise ConfigError(f"storage: {name!r} is unknown; {hint}accelsim list formats shows all {len(_FORMATS)}")


def plan_layers(storage_format: StorageFormat, layers: Sequence[TraceLayer]) -> tuple[WeightPlan | None, ...]:
    """Return the plan of every layer of a network in order; None for layers without weights.

    Same as the format's ``plan`` layer by layer, but for a `NetworkFormat` (``folded``), whose layers share bits.
    Weights of another layer are stored there; each use fetches them.
    """
    plans = planned(storage_format, layers)
    return tuple(None if plan is None else plan_of_use(plan, layer) for plan, layer in zip(plans, layers, strict=True))


def plan_of_use(plan: WeightPlan, layer: TraceLayer) -> WeightPlan:
    """Return the plan of a layer that uses another's weights, or a part of its own: experts of a mixture.

    ``plan`` is that of all the weights.
    """
    own, used = plan.traffic_bits, layer.dims.num_weights
    if layer.weights is not None and layer.weight_share is not None:
        used = round(layer.weight_share * layer.weights.num_weights)
    if layer.weights is not None and layer.kind == "linear" and used < layer.weights.num_weights:
        num = layer.weights.num_weights
        own = StoredBits(**{name: -(-getattr(own, name) * used // num) for name in StoredBits.__slots__})
        plan = replace(
            plan,
            fetched_bits=own,
            num_nonzero=plan.num_nonzero * used // num,
            decoder_symbols=-(-plan.decoder_symbols * used // num),
        )
    return replace(plan, stored_bits=StoredBits(), fetched_bits=own) if layer.weights_of else plan
