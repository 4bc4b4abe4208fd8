"""What the cores of a chip do with a network, as `accelsim.cores.run` and its neighbours hand it to each other."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from accelsim.config.hardware import HardwareConfig
from accelsim.groups import Group
from accelsim.mapping.fusion import FusedGroup
from accelsim.mapping.loops import Tiling
from accelsim.sim.cores import WholeLayer
from accelsim.sim.counters import Counters
from accelsim.storage.base import WeightPlan
from accelsim.timing.core_pieces import Slot
from accelsim.timing.schedule import FusedLayers
from accelsim.trace.model import LayerTrace, TraceLayer

Plans = Mapping[str, WeightPlan]
MadeBy = Literal["layers", "stages", "inputs", "inputs at full rate", "nothing"]
ONE_CORE = "one core"


@dataclass(frozen=True, slots=True)
class Program:
    """What the cores do.

    Attributes
    ----------
    slots, layer_of
        Slots in order, and the layer that each belongs to.
    layers, divided
        The whole layers, and by what each is divided (``one core``: by nothing).
    section_of
        Of each slot the first slot of its section: behind a section all cores wait for each other.
    num_cores, made_by
        Cores that it is for, those that stand still included, and what they divide.
    fused
        Layers that run as one.
    traced
        Of each slot its layers by core, parts of whole ones, where layers are fused; else empty.
    round_of
        Of a pipeline the group of inputs that each slot is for; else empty.
    """

    slots: tuple[Slot, ...]
    layer_of: tuple[int, ...]
    layers: tuple[WholeLayer, ...]
    divided: tuple[str, ...]
    section_of: tuple[int, ...]
    num_cores: int
    made_by: MadeBy
    round_of: tuple[int, ...] = ()
    fused: tuple[FusedLayers, ...] = ()
    traced: tuple[Mapping[int, TraceLayer], ...] = ()


class Alone(Protocol):
    """Runs a network on a chip of one core."""

    def __call__(self, core: HardwareConfig, part: LayerTrace, *, exact: bool = False) -> Counters:
        """Return the counters of ``part`` on the chip ``core``; ``exact``: every tile as processes."""
        ...


@dataclass(frozen=True, slots=True)
class Network:
    """A network in a storage format, for a chip of several cores.

    Attributes
    ----------
    alone
        Runs a network on a chip of one core.
    groups
        Says in which groups of inputs a chip of one core takes a batch.
    fused
        Says which layers a chip of one core fuses.
    cost
        What is to be least on a chip: what its objective says of a run.
    fixed
        Layer name -> tiling that the user states, of a divided layer that of each part.
    """

    trace: LayerTrace
    storage: str
    plans: Plans
    alone: Alone
    groups: Callable[[HardwareConfig, LayerTrace], tuple[Group, ...]]
    fused: Callable[[HardwareConfig, LayerTrace], tuple[FusedGroup, ...]]
    cost: Callable[[Counters, HardwareConfig], float]
    fixed: Mapping[str, Tiling] = field(default_factory=dict)
