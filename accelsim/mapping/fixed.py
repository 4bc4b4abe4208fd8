"""Mappings that a user states in YAML, instead of the mapper's choice.

::

    default: {K: 64, order: [K, P, C]}      # every layer that is not named; sizes are cut to layer and buffers
    layers:
      conv1: {K: 16, C: 64, P: 8, Q: 14, order: [K, C, P, Q], keep: tile}
      depthwise_conv2d: {G: 32, P: 14}      # every layer of this kind that is not named; sizes are cut as well

A loop without a size is whole; a loop that ``order`` does not name stands innermost.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache
from math import prod
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from accelsim.config.base import ConfigModel
from accelsim.config.loader import load_config
from accelsim.errors import MappingError
from accelsim.mapping.holding import hold
from accelsim.mapping.loops import ALL_LOOPS, LOOPS, Loop, Tiling
from accelsim.mapping.many_tiles import MOST_ALIKE, check_number
from accelsim.mapping.task import LayerTask
from accelsim.names import suggest
from accelsim.trace.model import ARRAY_KINDS, LayerTrace, LoopDims, TraceLayer
from accelsim.units import ceil_div

MAX_SIZE = 1 << 31
_SHRINKING: tuple[Loop, ...] = ("Q", "P", "N", "G", "K", "C")


class TilingConfig(ConfigModel):
    """The tile of a layer: its size along each loop (K and C per group), and the loops over tiles."""

    N: int | None = Field(None, ge=1, le=MAX_SIZE)
    """Inputs of the batch in a tile; left out: all."""
    G: int | None = Field(None, ge=1, le=MAX_SIZE)
    """Groups."""
    K: int | None = Field(None, ge=1, le=MAX_SIZE)
    """Output channels of a group."""
    C: int | None = Field(None, ge=1, le=MAX_SIZE)
    """Input channels of a group."""
    P: int | None = Field(None, ge=1, le=MAX_SIZE)
    """Output rows."""
    Q: int | None = Field(None, ge=1, le=MAX_SIZE)
    """Output columns."""
    R: int | None = Field(None, ge=1, le=MAX_SIZE)
    """Filter rows; only dense weights and an array that does not skip zeros allow a part of them."""
    S: int | None = Field(None, ge=1, le=MAX_SIZE)
    """Filter columns; as R."""
    order: list[Loop] = []
    """Loops over tiles, outermost first."""
    keep: Literal["buffers", "tile"] = "buffers"
    """Keep operands on chip as far as the buffers allow, or only the tile at work."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if len(set(self.order)) != len(self.order):
            raise ValueError("order names a loop twice; name each loop once")
        return self

    def size(self, loop: Loop) -> int | None:
        """Return the stated size along a loop; None: whole."""
        value: int | None = getattr(self, loop)
        return value


class MappingFile(ConfigModel):
    """A mapping file; ``accelsim run`` and ``accelsim map`` take it with ``--mapping``."""

    default: TilingConfig | None = None
    """For layers that ``layers`` names neither themselves nor by their kind; without it the mapper chooses theirs."""
    layers: dict[str, TilingConfig] = {}
    """Layer name, or kind of layer (conv2d, depthwise_conv2d, linear, ...) -> tiling; a name goes before a kind."""


def load_fixed(path: str | Path | None, trace: LayerTrace) -> dict[str, Tiling] | None:
    """Return the tilings that a mapping file states for the array layers of a network; None without a file.

    Raises
    ------
    ConfigError
        The file is not a mapping file.
    MappingError
        It names a layer that the network does not have, or a tile larger than the layer.
    """
    if path is None:
        return None
    stamp: tuple[int, ...] = ()
    with suppress(OSError, ValueError):  # the loader says what is wrong with it
        found = os.stat(path)
        stamp = found.st_ino, found.st_size, found.st_mtime_ns
    return fixed_tilings(_read(str(path), stamp), trace, str(path))


@lru_cache(maxsize=8)
def _read(path: str, stamp: tuple[int, ...]) -> MappingFile:  # noqa: ARG001  another text is another entry
    """Return a mapping file: a run, its limits and its groups ask for the same one."""
    return load_config(path, MappingFile).config


def fixed_tilings(mapping: MappingFile, trace: LayerTrace, where: str) -> dict[str, Tiling]:
    """Return layer name -> tiling; ``where`` begins each message."""
    layers = {layer.name: layer for layer in trace.layers if layer.uses_array}
    for name in mapping.layers:
        if name not in layers and name not in ARRAY_KINDS:
            known = ", ".join(list(layers)[:8]) + (", ..." if len(layers) > 8 else "")
            raise MappingError(
                f"{where}: layers.{name}: {trace.name} has no array layer of that name; "
                f"{suggest(name, [*layers, *ARRAY_KINDS])}give one of {known}, or a "
                f"kind: {', '.join(sorted(ARRAY_KINDS))}"
            )
    tilings = {}
    for name, layer in layers.items():
        stated, of_kind = mapping.layers.get(name), mapping.layers.get(layer.kind)
        if stated is not None:
            tilings[name] = _tiling(stated, layer, f"{where}: layers.{name}", cut=False)
        elif of_kind is not None and layer.kind not in layers:  # where a layer is called so, the key is that layer's
            tilings[name] = _tiling(of_kind, layer, f"{where}: layers.{layer.kind}", cut=True)
        elif mapping.default is not None:
            tilings[name] = _tiling(mapping.default, layer, f"{where}: default", cut=True)
    return tilings


def _tiling(config: TilingConfig, layer: TraceLayer, where: str, *, cut: bool) -> Tiling:
    """Return the tiling of a layer; sizes beyond its loops are cut, or refused."""
    dims = layer.dims
    sizes: dict[Loop, int] = {}
    for loop in ALL_LOOPS:
        extent: int = getattr(dims, loop)
        size = config.size(loop)
        if size is not None and size > extent and not cut:
            raise MappingError(f"{where}: {loop}: {size} is more than the {extent} of the layer; give 1 to {extent}")
        sizes[loop] = extent if size is None else min(size, extent)
    named = tuple(config.order)
    order = named + tuple(loop for loop in ALL_LOOPS if loop not in named)
    tiling = Tiling(
        N=sizes["N"], G=sizes["G"], K=sizes["K"], C=sizes["C"], P=sizes["P"], Q=sizes["Q"], order=order,
        R=sizes["R"], S=sizes["S"], keep=config.keep, is_general=cut,
    )  # fmt: skip
    _check(tiling, dims, layer.name, where)
    return tiling


def fitted(task: LayerTask, tiling: Tiling) -> Tiling:
    """Return a tiling stated for several layers as it fits this one: halved along pixels first, then channels.

    One that is stated for this layer alone, or that fits in no size, is returned as it is: building it is refused.
    """
    if not tiling.is_general:
        return tiling
    smaller = tiling = replace(tiling, is_general=False)
    for loop in _SHRINKING:
        while hold(task, smaller) is None and smaller.size(loop) > 1:
            if loop in "KC" and smaller.G > 1:  # a tile of several groups holds all their channels
                break
            half: dict[str, Any] = {loop: ceil_div(smaller.size(loop), 2)}
            smaller = replace(smaller, **half)
    return tiling if hold(task, smaller) is None else smaller


def _check(tiling: Tiling, dims: LoopDims, name: str, where: str) -> None:
    """Refuse what the simulator cannot hold: too many steps, and group tiles that are not contiguous in storage."""
    check_number(prod(tiling.counts(dims).values()), f"{where}: {name}", MOST_ALIKE)
    if tiling.G > 1 and any(tiling.size(loop) < getattr(dims, loop) for loop in LOOPS if loop in "KC"):
        raise MappingError(
            f"{where}: {name}: a tile of {tiling.G} groups holds all their channels; give G: 1, or leave K and C out"
        )
