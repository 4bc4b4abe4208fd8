"""The Schedule artefact: the steps of every layer on a given chip, with all that the simulator needs and nothing else.

Progress of the array is counted in half steps: 2 s when step s - 1 has ended (step s may be loaded over its buffer),
2 s + 1 when step s has begun. An event may begin once the array's progress has reached ``release``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import numpy.typing as npt

from accelsim.config.hardware import HardwareConfig
from accelsim.storage.base import StoredBits
from accelsim.timing.tiling import Tiling

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
NO_RELEASE = -(1 << 62)


@dataclass(frozen=True, slots=True)
class WeightEvents:
    """Weight tiles in the order in which the array takes them, int64 [num_events].

    ``step`` takes the tile; ``release``: array progress from which its place in the weight buffer is free;
    ``fetch_bytes``: what DRAM
    delivers for it (0: held on chip); ``fetch_release``: event of the decoder (or of the array's progress, without a
    decoder) that
    frees the place for the fetched bytes (0: all events of the layers before; `NO_RELEASE`: the last may be under way);
    ``decode_cycles`` and ``generate_cycles``: work of decoder and generator
    (0: none); the decoder's is as long as the generator's at the least where it is too narrow for the words.
    """

    step: Ints
    release: Ints
    fetch_bytes: Ints
    fetch_release: Ints
    decode_cycles: Ints
    generate_cycles: Ints


@dataclass(frozen=True, slots=True)
class InputEvents:
    """Input tiles that come from DRAM, int64 [num_events]; ``release`` as in `WeightEvents`."""

    step: Ints
    release: Ints
    fetch_bytes: Ints


@dataclass(frozen=True, slots=True)
class OutputEvents:
    """Visits of output tiles, int64 [num_events], in order.

    ``first_step`` opens the tile's accumulators and ``last_step`` hands them to the vector unit; ``open_after`` is
    the number of
    earlier visits that must have left the accumulators; ``psum_read_bytes`` come from DRAM before ``first_step``;
    ``after_store`` is the store (visit number, or -1) that must have ended before that read; ``residual_bytes`` come
    from DRAM for the vector unit; ``store_bytes`` go to DRAM; ``is_partial`` marks partial sums.
    """

    first_step: Ints
    last_step: Ints
    open_after: Ints
    psum_read_bytes: Ints
    after_store: Ints
    vector_cycles: Ints
    residual_bytes: Ints
    store_bytes: Ints
    is_partial: Bools


@dataclass(frozen=True, slots=True)
class BusCycles:
    """For how long each event's bytes keep the bus to a memory behind a cache, int64, in the order of the events."""

    weights: Ints
    inputs: Ints
    psums: Ints
    residuals: Ints
    stores: Ints


_NONE = np.zeros(0, dtype=np.int64)
NO_WEIGHTS = WeightEvents(_NONE, _NONE, _NONE, _NONE, _NONE, _NONE)
NO_INPUTS = InputEvents(_NONE, _NONE, _NONE)
NO_OUTPUTS = OutputEvents(_NONE, _NONE, _NONE, _NONE, _NONE, _NONE, _NONE, _NONE, np.zeros(0, dtype=np.bool_))


class Parts(Protocol):
    """The parts of a layer that has too many tiles for one schedule, in order; each is built when it is asked for.

    A part is the schedule of a range of the layer's steps, counted from its own first. Parts run one after the other,
    as layers do. Their bytes, actions and MACs add up to the layer's.
    """

    @property
    def num_steps(self) -> int:
        """Return the tiles of all parts."""
        ...

    def __len__(self) -> int:
        """Return the number of parts."""
        ...

    def part(self, place: int) -> LayerSchedule:
        """Return the schedule of a part."""
        ...

    def likeness(self, place: int) -> Hashable:
        """Return a key that parts with equal schedules share."""
        ...


@dataclass(frozen=True, slots=True)
class LayerSchedule:
    """One layer on the chip.

    Attributes
    ----------
    compute_cycles, weight_load_cycles, fill_drain_cycles, stall_cycles
        Per step, int64 [num_steps]: the array's time; ``stall_cycles`` are lost to the ports of on-chip buffers, most
        of them to those of ``port_limit``.
    dram_bytes
        Bytes by traffic class, from the events.
    actions
        Unit -> action -> count, for the whole layer.
    tiling
        None for layers that do not use the array.
    occupancy_bytes
        Buffer -> bytes that the schedule uses at most.
    seeds_with_tiles
        Whether stream seeds are stored and come with the tiles, so that the generator waits for them.
    bus_cycles
        None: the memory's bandwidth decides.
    loads_ahead
        Whether tiles are loaded while the array works on the ones before.
    lower_bound_cycles, bound_by
        What no tiling can beat for the layer alone, and the unit or buffer that says so; None where it was not asked.
    parts
        None, or the layer's parts: then arrays, ``dram_bytes`` and ``actions`` here are empty, and those of the parts
        count (`pieces`).
    goes_on
        Whether this is a part behind another part of the same layer.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    macs: int
    effective_macs: int
    stored_bits: StoredBits
    compute_cycles: Ints
    weight_load_cycles: Ints
    fill_drain_cycles: Ints
    stall_cycles: Ints
    weights: WeightEvents
    inputs: InputEvents
    outputs: OutputEvents
    dram_bytes: dict[str, int]
    actions: dict[str, dict[str, int]]
    tiling: Tiling | None
    occupancy_bytes: dict[str, int]
    uses_decoder: bool
    uses_generator: bool
    seeds_with_tiles: bool = False
    port_limit: str = ""
    bus_cycles: BusCycles | None = None
    loads_ahead: bool = True
    lower_bound_cycles: int | None = None
    bound_by: str = ""
    parts: Parts | None = None
    goes_on: bool = False

    @property
    def num_steps(self) -> int:
        """Return the number of tiles that pass the array."""
        if self.parts is not None:
            return self.parts.num_steps
        return int(self.compute_cycles.size)

    @property
    def num_events(self) -> int:
        """Return the events of all stations, about: steps, tiles, outputs and requests."""
        weights, inputs, outputs = self.weights, self.inputs, self.outputs
        moved = (weights.fetch_bytes, inputs.fetch_bytes, outputs.psum_read_bytes, outputs.residual_bytes)
        requests = sum(int(np.count_nonzero(values)) for values in (*moved, outputs.store_bytes))
        made = weights.step.size * (int(self.uses_decoder) + int(self.uses_generator))
        return self.num_steps + made + int(outputs.last_step.size) + requests + 1

    def pieces(self) -> Iterator[LayerSchedule]:
        """Yield what runs one after the other: the layer itself or, one at a time, its parts."""
        if self.parts is None:
            yield self
        else:
            yield from (self.parts.part(place) for place in range(len(self.parts)))

    def kinds(self) -> Iterator[tuple[LayerSchedule, int]]:
        """Yield each piece that is like no other, with how many there are of it."""
        if self.parts is None:
            yield self, 1
            return
        every = [self.parts.likeness(place) for place in range(len(self.parts))]
        of_kind, number = {kind: place for place, kind in enumerate(every)}, Counter(every)
        yield from ((self.parts.part(place), number[kind]) for kind, place in of_kind.items())

    def without_events(self) -> LayerSchedule:
        """Return what the next layer has to know of this one."""
        return replace(
            self, compute_cycles=_NONE, weight_load_cycles=_NONE, fill_drain_cycles=_NONE, stall_cycles=_NONE,
            weights=NO_WEIGHTS, inputs=NO_INPUTS, outputs=NO_OUTPUTS, bus_cycles=None,
        )  # fmt: skip

    @property
    def array_cycles(self) -> Ints:
        """Return the cycles of each step on the array."""
        return self.compute_cycles + self.weight_load_cycles + self.fill_drain_cycles + self.stall_cycles


def first_weights_fit(before: LayerSchedule, schedule: LayerSchedule, hardware: HardwareConfig) -> bool:
    """Return whether a layer's first weight block fits beside what the layer before still holds.

    Then it may be loaded as soon as the layer before has taken its last weight tile, else when the array has ended.
    """
    # Within a layer a single buffer is filled when the block before is done, also where a part begins.
    if schedule.goes_on and not hardware.weight_buffer.fills_ahead:
        return False
    return weights_fit_beside(before, schedule.occupancy_bytes, hardware)


def weights_fit_beside(
    before: LayerSchedule | None, occupancy_bytes: Mapping[str, int], hardware: HardwareConfig
) -> bool:
    """Return what `first_weights_fit` does of a whole layer that takes so many bytes of each buffer."""
    buffer = hardware.weight_buffer
    if before is None or not hardware.mapping.prefetch_next_layer:
        return False
    # PEs work from copies: nothing of the layer before holds a place once its last tile is taken.
    if buffer.is_copied:
        return True
    taken = before.occupancy_bytes.get("weight_buffer", 0)
    needed = occupancy_bytes.get("weight_buffer", 0)
    capacity = buffer.capacity_bytes
    # Both fit as they are, or each into one half of a double buffer.
    return hardware.memory == "ideal" or taken + needed <= capacity or max(taken, needed) <= capacity // 2


@dataclass(frozen=True, slots=True)
class FusedLayers:
    """Neighbouring layers that run as one, by name: ``num_parts`` inputs or heads, each in ``num_stripes`` of rows.

    Attributes
    ----------
    first
        The place of the first of them in the network.
    division
        What the parts are: ``inputs`` of the batch, ``heads`` of an attention, or ``none``.
    halo
        Whether rows that two stripes need are ``kept`` on chip or ``recomputed``.
    held
        By layer, what stays on chip of its weights from stripe to stripe: ``weights``, ``stored`` bits, or nothing.
    rows_made
        By layer, the rows that all stripes make, over the layer's own: above 1 where halos are recomputed.
    held_bytes
        What maps between the layers take of the activation buffer at most.
    holds_second
        Whether keys and values, or other second operands, are among these.
    num_cores
        Cores that the group runs on, each for some of the parts, or of the rows where there is one part.
    """

    layers: tuple[str, ...]
    first: int
    division: str
    num_parts: int
    num_stripes: int
    halo: str
    held: tuple[str, ...]
    rows_made: tuple[float, ...]
    held_bytes: int
    holds_second: bool
    num_cores: int = 1


@dataclass(frozen=True, slots=True)
class Schedule:
    """A network on a chip in one storage format; ``lower_bound_cycles`` is what none of its mappings can beat.

    Where layers are fused, ``layers`` are pieces of them, in the order in which they run; ``layer_of`` says of each
    which layer of the network it is a piece of. Figures of a whole layer, such as its MACs, are those of its last
    piece. Empty: each of ``layers`` is a layer.
    """

    storage: str
    layers: tuple[LayerSchedule, ...]
    arithmetic: str
    decoder: str
    uses_generator: bool
    lower_bound_cycles: int | None = None
    layer_of: tuple[int, ...] = ()
    fused: tuple[FusedLayers, ...] = ()

    @property
    def places(self) -> tuple[int, ...]:
        """Return of each of ``layers`` the place of the network's layer that it belongs to."""
        return self.layer_of or tuple(range(len(self.layers)))
