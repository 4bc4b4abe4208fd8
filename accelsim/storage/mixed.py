"""Storage layer by layer: one format for the network, and others for layers by name or by kind.

Its name is its meaning, so that a result, a sweep and a report need nothing else: ``slt+fc=dense-int8+linear=csr-int8``
is slt, but the layer ``fc`` in dense int8 and linear layers otherwise in CSR. Signs in a layer's name that mean
something here or on the command line are written as in addresses of pages (``%2B`` for a plus).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import quote, unquote

from accelsim.errors import MappingError
from accelsim.names import suggest
from accelsim.storage.base import StorageFormat, WeightPlan, planned
from accelsim.trace.model import ARRAY_KINDS, LayerWeights, TraceLayer

SIGN = "+"
_KINDS = ARRAY_KINDS | {"embedding"}
T = TypeVar("T")


def mixed_name(base: str, by_key: Mapping[str, str]) -> str:
    """Return the name of ``base`` with other formats for layers or kinds; those that say nothing are left out."""
    parts = (f"{quote(key, safe='._-/:')}={name}" for key, name in sorted(telling(base, by_key).items()))
    return SIGN.join((base, *parts))


def telling(base: T, by_key: Mapping[str, T]) -> dict[str, T]:
    """Return the formats by key without those that say what ``base`` says.

    A layer in ``base`` does say something where a kind has another format: it may be of that kind.
    """
    has_other_kinds = any(key in _KINDS and known != base for key, known in by_key.items())
    return {key: known for key, known in by_key.items() if known != base or (has_other_kinds and key not in _KINDS)}


def split_name(name: str) -> tuple[str, dict[str, str]]:
    """Return the network's format and those by layer or kind, as `mixed_name` joined them."""
    base, *parts = name.split(SIGN)
    pairs = (part.partition("=") for part in parts)
    return base, {unquote(key): value for key, _, value in pairs}


def format_of_layer(name: str, layer: str, kind: str) -> str:
    """Return the format in which a layer is stored where the network is stored as ``name``."""
    base, by_key = split_name(name)
    return by_key.get(layer, by_key.get(kind, base))


def check_keys(where: str, layers: Sequence[TraceLayer], keys: Iterable[str]) -> None:
    """Raise `MappingError` for a key that names no layer with weights of its own, and no kind of layer there is."""
    names = [layer.name for layer in layers if layer.weights is not None and not layer.weights_of]
    kinds = sorted({layer.kind for layer in layers if layer.weights is not None} & _KINDS)
    owners = {layer.name: layer.weights_of for layer in layers if layer.weights_of}
    for key in keys:
        if key in owners:
            raise MappingError(
                f"{where}: {key!r} has the weights of {owners[key]!r}, and they are stored once; name {owners[key]!r}"
            )
        if key not in names and key not in kinds:
            hint = suggest(key, [*names, *kinds])
            is_called = "is of the kind" if key in _KINDS else "is called"
            raise MappingError(
                f"{where}: no layer with weights {is_called} {key!r}; {hint}give a layer's name or a "
                f"kind that there is: {', '.join(kinds) or 'none'}"
            )


@dataclass(frozen=True, slots=True)
class MixedFormat:
    """A format for the network, and others by layer name (first) or by kind of layer."""

    base: StorageFormat
    by_key: tuple[tuple[str, StorageFormat], ...]

    @property
    def name(self) -> str:
        """The name that ``--storage`` takes."""
        return mixed_name(self.base.name, {key: known.name for key, known in self.by_key})

    @property
    def summary(self) -> str:
        """One line for lists."""
        others = ", ".join(f"{key} as {known.name}" for key, known in self.by_key)
        return f"{self.base.name}, but {others}"

    def plan(self, weights: LayerWeights) -> WeightPlan:
        """Return the plan of a layer that no key names."""
        return self.base.plan(weights)

    def plan_layers(self, layers: Sequence[TraceLayer]) -> tuple[WeightPlan | None, ...]:
        """Return the plan of every layer in order; layers of one format are planned together, as a network.

        Raises
        ------
        MappingError
            A key names no layer with weights of its own, and no kind of layer that there is.
        """
        formats = dict(self.by_key)
        check_keys(f"storage {self.name}", layers, formats)
        plans: dict[int, WeightPlan | None] = dict.fromkeys(range(len(layers)))
        by_layer = {layer.name: formats.get(layer.name, formats.get(layer.kind, self.base)) for layer in layers}
        chosen = [by_layer[layer.weights_of or layer.name] for layer in layers]  # shared weights are stored once
        for known in dict.fromkeys(chosen):
            places = [place for place, each in enumerate(chosen) if each == known and layers[place].weights is not None]
            for place, plan in zip(places, planned(known, [layers[place] for place in places]), strict=True):
                plans[place] = plan
        return tuple(plans.values())
