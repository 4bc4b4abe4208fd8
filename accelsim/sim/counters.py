"""The Counters artefact: how often each unit did each action, and where the cycles went. No energy in it."""

from __future__ import annotations

from dataclasses import dataclass, field

from accelsim.storage.base import StoredBits
from accelsim.timing.accounts import CAUSES
from accelsim.timing.power_states import DramActivity
from accelsim.timing.schedule import FusedLayers

__all__ = ["CAUSES", "TRAFFIC_CLASSES", "UNITS", "Counters", "DecoderWidth", "LayerCounters"]

TRAFFIC_CLASSES = (
    "mask", "seed", "scale", "weight", "index", "activation_in", "activation_out", "partial_sum",
    "kv_read", "kv_write",
)  # fmt: skip
UNITS = (
    "dram", "activation_buffer", "weight_buffer", "mask_buffer", "accumulator", "weight_generator", "mask_decoder",
    "pe_array", "vector_unit", "interconnect",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class LayerCounters:
    """One layer of a run.

    ``cycles_by_cause`` sums to ``latency_cycles``; ``dram_bytes`` (by `TRAFFIC_CLASSES`) sums to read plus written
    bytes.
    ``actions`` maps unit -> action -> count; which actions exist is the table of `accelsim.sim.actions`.
    ``busy_cycles`` maps a unit to the cycles in which it worked.
    ``lower_bound_cycles`` is what no tiling of the mapper's family can beat for the layer alone, ``port_limit`` the
    buffer whose ports cost the cycles of ``buffer_ports``; both None where that is not known.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    latency_cycles: int
    macs: int
    effective_macs: int
    cycles_by_cause: dict[str, int]
    stored_bits: StoredBits
    dram_bytes: dict[str, int]
    dram_read_bytes: int
    dram_write_bytes: int
    actions: dict[str, dict[str, int]]
    busy_cycles: dict[str, int]
    lower_bound_cycles: int | None = None
    port_limit: str | None = None


@dataclass(frozen=True, slots=True)
class ResourceLimit:
    """How much one resource holds a run up.

    ``share`` is the fraction of the latency that is put down to it; ``latency_cycles_with_twice`` the latency of the
    run with twice as much of it.
    """

    share: float
    latency_cycles_with_twice: int


@dataclass(frozen=True, slots=True)
class NextLimit:
    """What limits a run with twice as much of what most of its time is put down to: a resource, and its share then."""

    doubled: str
    name: str
    share: float


@dataclass(frozen=True, slots=True)
class Tokens:
    """The tokens of a run of a language model, of all its inputs.

    Attributes
    ----------
    counted
        Those that the run's energy is spread over: of a prefill the prompt, else the answer.
    timed, untimed_cycles
        Those whose rate is stated, and the cycles before these: of a generation the tokens behind the first, and the
        prompt.
    first_cycles
        Cycles until the first token of the answer; None where it was there before.
    """

    counted: int
    timed: int
    untimed_cycles: int
    first_cycles: int | None


@dataclass(frozen=True, slots=True)
class CoreCounters:
    """One of several cores: ``cycles_by_cause``, waiting for other cores among them, sums to the run's latency.

    ``end_cycle`` is that of its last layer; ``network`` is empty where all cores work on one. DRAM bytes that come for
    several cores are those of the first of them.
    """

    core: int
    network: str
    end_cycle: int
    num_layers: int
    macs: int
    effective_macs: int
    dram_bytes: int
    cycles_by_cause: dict[str, int]


@dataclass(frozen=True, slots=True)
class DecoderWidth:
    """How wide a decoder a run had, where it is not what the chip's description states (`accelsim.rivals`)."""

    positions_per_cycle: int
    symbols_per_cycle: int


@dataclass(frozen=True, slots=True)
class Counters:
    """A whole run: layers in order. Totals are sums over layers; only the lower bound is the network's own.

    ``lower_bound_cycles`` and ``limits`` (by resource) are None and empty where they were not worked out;
    ``limits_left_out`` says by resource why not, and ``next_limit`` is None there;
    ``decoder_width`` is None where the decoder is the one that the chip's description states; ``dram`` is None with an
    ideal memory, and in files of versions that did not know it; ``tokens`` is None for other than language models,
    ``first_input_cycles`` for other than pipelines: when the first (group) of the inputs that stream through has left.
    ``fused`` are the layers that ran stripe by stripe, of a batch or a generation those of its first run.
    """

    storage: str
    layers: tuple[LayerCounters, ...]
    arithmetic: str
    uses_generator: bool
    decoder: str
    lower_bound_cycles: int | None = None
    limits: dict[str, ResourceLimit] = field(default_factory=dict)
    limits_left_out: dict[str, str] = field(default_factory=dict)
    next_limit: NextLimit | None = None
    decoder_width: DecoderWidth | None = None
    dram: DramActivity | None = None
    tokens: Tokens | None = None
    cores: tuple[CoreCounters, ...] = ()
    fused: tuple[FusedLayers, ...] = ()
    first_input_cycles: int | None = None

    @property
    def moved_bytes(self) -> int:
        """Return the bytes that memory read and wrote."""
        return sum(layer.dram_read_bytes + layer.dram_write_bytes for layer in self.layers)
