"""The RunResult artefact: schema version 2, in the key order in which it is written.

Others read this file format. A field is added, renamed or given another meaning only with a new `SCHEMA_VERSION`;
`accelsim.results.convert` then learns to read files of the version before.
Ratios, utilisation and accuracy are fractions of 1.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from accelsim.errors import AccelSimError

SCHEMA_VERSION: Literal[2] = 2
OPTIONAL_KEYS = ("comparison", "cores", "fused", "first_input_latency_s", "limits_left_out", "next_limit")
"""Keys of a result that are left out where there is nothing to say."""
PortLimit = Literal["activation_buffer", "weight_buffer", "mask_buffer", "accumulator"]


class ResultError(AccelSimError):
    """A saved result is missing, broken, of another version, or cannot be written where the user wants it."""


class ResultModel(BaseModel):
    """Base of all parts of a result: frozen, strict, unknown keys refused."""

    model_config = ConfigDict(defer_build=True, frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class HardwareRecord(ResultModel):
    """The chip of a run."""

    name: str
    """Name in the hardware file."""
    path: str
    """As given on the command line."""
    sha256: str
    """Of the hardware file and the values set on the command line."""
    clock_mhz: float = Field(gt=0)
    """Core clock."""
    node_nm: float = Field(gt=0)
    """Technology node of energy and area."""


class WorkloadRecord(ResultModel):
    """The network of a run, and what is known of its mask."""

    name: str
    """Name of the network."""
    path: str
    """As given on the command line."""
    sha256: str
    """Of the workload file."""
    provenance: Literal["searched", "imported", "synthetic", "dense"]
    """Where the mask comes from."""
    dataset: str
    """What the accuracy was measured on; empty if it was not."""
    accuracy: float | None = Field(ge=0, le=1)
    """Fraction of test images classified right by the ticket as stored; null if not measured."""
    batch: int = Field(ge=1, le=1 << 53)
    """Inputs of one run; all figures are for the whole batch unless their name says otherwise."""
    phase: Literal["forward", "prefill", "decode", "generate"]
    """What is run of the network: forward; of a language model prefill, decode, or both (generate)."""
    num_parameters: int | None = Field(ge=0)
    """Weights of all layers, biases, affine norms and trained tensors that join the activations (class token, position
    embedding), as the network is simulated: one with stated sparsity has no biases and affine norms. Null where the
    workload does not state them all: a topology table, left-out operations, a result of schema version 1."""
    context_length: int | None = Field(ge=1)
    """Tokens that the phase attends to at its end; null for a network without phases."""
    num_weights: int = Field(ge=0)
    """Weight positions of the network, dropped ones included."""
    sparsity: float = Field(ge=0, le=1)
    """Fraction of zeros in the final mask."""
    prune_ratio: float = Field(ge=0, le=1)
    """Fraction of all weights that freezing pruned."""
    lock_ratio: float = Field(ge=0, le=1)
    """Fraction of all weights that freezing locked."""
    freeze_ratio: float = Field(ge=0, le=1)
    """Fraction of all weights that were frozen: pruned or locked."""
    regenerable: bool
    """Whether the on-chip generator makes exactly these weights; false for an imported pattern."""


class StoredBitsRecord(ResultModel):
    """Bits stored for the weights, by class."""

    mask: int = Field(ge=0)
    """Mask bits of the free weights, as encoded."""
    seed: int = Field(ge=0)
    """Seeds of the weight generator."""
    scale: int = Field(ge=0)
    """Scales and normalisation parameters."""
    weight: int = Field(ge=0)
    """Weight values."""
    index: int = Field(ge=0)
    """Positions of the stored values: bitmaps, run lengths, pointers."""


class DramBytesRecord(ResultModel):
    """Bytes that cross the memory interface, by class."""

    mask: int = Field(ge=0)
    """Mask bits of the free weights."""
    seed: int = Field(ge=0)
    """Seeds of the weight generator."""
    scale: int = Field(ge=0)
    """Scales and normalisation parameters."""
    weight: int = Field(ge=0)
    """Weight values."""
    index: int = Field(ge=0)
    """Positions of the stored values."""
    activation_in: int = Field(ge=0)
    """Activations read."""
    activation_out: int = Field(ge=0)
    """Activations written."""
    partial_sum: int = Field(ge=0)
    """Partial sums written and read again."""
    kv_read: int = Field(ge=0)
    """Keys and values of earlier tokens read from the cache; 0 for a network without one."""
    kv_write: int = Field(ge=0)
    """Keys and values written to the cache; 0 for a network without one."""


class EnergyByUnit(ResultModel):
    """Energy in joules per unit of the chip and of its memory."""

    dram: float = Field(ge=0)
    """Off-chip memory and its interface."""
    activation_buffer: float = Field(ge=0)
    """Activation buffer."""
    weight_buffer: float = Field(ge=0)
    """Weight buffer."""
    mask_buffer: float = Field(ge=0)
    """Mask FIFO."""
    accumulator: float = Field(ge=0)
    """Accumulators."""
    weight_generator: float = Field(ge=0)
    """On-chip random number generators."""
    mask_decoder: float = Field(ge=0)
    """Decoder of stored bits."""
    pe_array: float = Field(ge=0)
    """Multiply-accumulate units and the registers between them."""
    vector_unit: float = Field(ge=0)
    """Normalisation, activation, pooling, residual additions."""
    interconnect: float = Field(ge=0)
    """Wires between the buffers and the array."""
    clock: float = Field(ge=0)
    """Clock network and registers; 0 while the cost model counts them in the units' own actions."""
    leakage: float = Field(ge=0)
    """Leakage power times latency, all on-chip units."""


class CyclesByCause(ResultModel):
    """Cycles of the core clock by what the layer waited for; they add up to the latency."""

    compute: int = Field(ge=0)
    """The array works."""
    weight_load: int = Field(ge=0)
    """The array is filled with weights; 0 while that is counted in fill_drain."""
    fill_drain: int = Field(ge=0)
    """The array fills or drains."""
    buffer_ports: int = Field(ge=0)
    """The array works slower than it could, held up by the ports of a buffer; 0 while that is counted in other."""
    wait_dram: int = Field(ge=0)
    """Waiting for the memory."""
    wait_generator: int = Field(ge=0)
    """Waiting for the weight generator."""
    wait_decoder: int = Field(ge=0)
    """Waiting for the mask decoder."""
    wait_vector: int = Field(ge=0)
    """Waiting for the vector unit; in a layer without the array, its work too."""
    call_overhead: int = Field(ge=0)
    """Starting a layer: commands and configuration; 0 where a chip states none."""
    other: int = Field(ge=0)
    """Anything else."""


class Record(ResultModel):
    """The measures of a layer, or of a whole run."""

    latency_cycles: int = Field(ge=0)
    """Cycles of the core clock."""
    latency_s: float = Field(ge=0)
    """The same in seconds."""
    lower_bound_cycles: int | None = Field(ge=0)
    """Cycles that no tiling of the mapper's family can beat: a layer's for that layer alone, from cold buffers, so that
    one whose operands were fetched during the layer before it may take fewer; the totals' for the whole network, which
    is not the sum over layers. Null where it was not worked out."""
    energy_j: float = Field(ge=0)
    """Energy in joules, memory and leakage included."""
    average_power_w: float = Field(ge=0)
    """Energy over latency; 0 for a layer without latency."""
    macs: int = Field(ge=0)
    """Dense multiply-accumulates."""
    effective_macs: int = Field(ge=0)
    """Multiply-accumulates with a kept weight."""
    pe_utilization: float = Field(ge=0, le=1)
    """Fraction of PE cycles that hold a multiply-accumulate, gated ones included and skipped ones not."""
    stored_bits: StoredBitsRecord
    """Bits stored for the weights."""
    dram_bytes: DramBytesRecord
    """Memory traffic by class; the classes add up to bytes read plus bytes written."""
    dram_read_bytes: int = Field(ge=0)
    """Bytes read from memory."""
    dram_write_bytes: int = Field(ge=0)
    """Bytes written to memory."""
    average_bandwidth_gbps: float | None = Field(ge=0)
    """Bytes read and written over latency, in 10^9 bytes per second. What was fetched for a layer while the layer
    before it ran counts for the layer it was fetched for. Null with ideal memory, and in a converted result of schema
    version 1."""
    peak_bandwidth_gbps: float | None = Field(ge=0)
    """What the memory can move at most, in 10^9 bytes per second; null as the average."""
    bandwidth_share: float | None = Field(ge=0)
    """The average over the peak; above 1 for a layer most of whose data came early. Null as the average."""
    energy_j_by_unit: EnergyByUnit
    """Energy per unit."""
    dram_energy_j_by_state: dict[str, float] | None
    """What `energy_j_by_unit.dram` consists of: commands (act_pre, rd, wr, ref), standby with rows open and without
    (active, precharged), power-down (pd, apd), self-refresh (sr), and lines (dq, strobe, ca, ck); null in results of
    versions that did not know them."""
    cycles_by_cause: CyclesByCause
    """Where the cycles went."""
    port_limit: PortLimit | None
    """The buffer whose ports cost most of the cycles of `cycles_by_cause.buffer_ports`; null where they cost none."""
    actions: dict[str, dict[str, int]]
    """Unit -> action -> count: what the cost model prices."""


class _LayerIdentity(ResultModel):
    name: str
    """Name of the graph node."""
    kind: str
    """What the layer is: conv2d, linear, pool, ..."""
    shape: tuple[int, ...]
    """Shape of the weights, KCRS or KC; of the output where there are none."""


class LayerRecord(Record, _LayerIdentity):
    """One layer of a run."""


class Totals(Record):
    """The whole run: sums over layers, and what only a whole run has."""

    tops: float = Field(ge=0)
    """Two operations per dense multiply-accumulate, in 1e12 per second."""
    tops_per_w: float = Field(ge=0)
    """tops over average power."""
    edp_js: float = Field(ge=0)
    """Energy times latency, joule seconds."""
    frames_per_s: float = Field(ge=0)
    """Inputs per second, one batch after the other."""
    latency_s_per_input: float = Field(ge=0)
    """Latency over the batch."""
    energy_j_per_input: float = Field(ge=0)
    """Energy over the batch."""
    tokens_per_s: float | None = Field(ge=0)
    """Tokens of all inputs per second, of a language model: of a prefill the prompt's, else the answer's; of a
    generation those behind the first, in the time behind the prompt. Null elsewhere."""
    energy_j_per_token: float | None = Field(ge=0)
    """Energy over the tokens of all inputs, of a language model: of a generation all its energy, over the answer's
    tokens. Null elsewhere."""
    time_to_first_token_s: float | None = Field(ge=0)
    """Seconds until the first token is there, of a language model: the time of the prompt. Null elsewhere, and of a
    decode, before which it is there."""
    area_mm2: float = Field(ge=0)
    """Area of the chip."""
    area_mm2_by_unit: dict[str, float]
    """Area per on-chip unit; units that the storage format does not need are absent."""


class LimitRecord(ResultModel):
    """How much one resource holds a run up."""

    share: float = Field(ge=0, le=1)
    """Fraction of the latency that is put down to it."""
    latency_cycles_with_twice: int = Field(ge=0)
    """Latency of the run with twice as much of it."""


class NextLimitRecord(ResultModel):
    """What limits a run with twice as much of the resource that most of its time is put down to."""

    doubled: str
    """The resource of which there is twice as much."""
    name: str
    """The resource that most of the time is put down to then; it may be the same."""
    share: float = Field(ge=0, le=1)
    """The fraction of that time."""


class CoreRecord(ResultModel):
    """One of several cores."""

    core: int = Field(ge=0)
    """Its number."""
    network: str
    """What it worked on, where cores work on different networks; else empty."""
    end_cycle: int = Field(ge=0)
    """When its last layer had ended."""
    num_layers: int = Field(ge=0)
    """Layers that it worked on, or parts of them, stripes of fused ones included."""
    macs: int = Field(ge=0)
    """Dense multiply-accumulates; cores add up to the run."""
    effective_macs: int = Field(ge=0)
    """Those with a kept weight."""
    dram_bytes: int = Field(ge=0)
    """Bytes that it moved; what came for several cores counts at the first of them, so that cores add up to the run."""
    cycles_by_cause: dict[str, int]
    """As in records, and ``wait_cores``: waiting for other cores. They add up to the run's latency."""


class FusedRecord(ResultModel):
    """Neighbouring layers that ran stripe by stripe, with the maps between them on chip."""

    layers: tuple[str, ...]
    """Their names."""
    division: Literal["none", "inputs", "heads"]
    """What was divided before rows were: inputs of the batch, heads of an attention."""
    num_parts: int = Field(ge=1)
    """In how many parts; 1 where nothing was."""
    num_stripes: int = Field(ge=1)
    """Stripes of rows of each part; where cores divide rows, of each core."""
    halo: Literal["kept", "recomputed"]
    """Whether rows that two stripes need stayed on chip, or were made again."""
    held: tuple[Literal["", "stored", "weights"], ...]
    """Of each layer, what stayed on chip of its weights from stripe to stripe; empty: they were read for each."""
    rows_made: tuple[float, ...]
    """Rows that each layer made, over those that it has."""
    held_bytes: int = Field(ge=0)
    """What the group had of its maps in the activation buffer at most; of several cores, one of them."""
    num_cores: int = Field(1, ge=1)
    """Cores that it ran on, each for some of the parts, or of the rows where there is one part."""


class RunResult(ResultModel):
    """One network on one chip in one storage format."""

    schema_version: Literal[2]
    """Version of this file format."""
    accelsim_version: str
    """Version of the program that wrote it."""
    hardware: HardwareRecord
    """The chip."""
    workload: WorkloadRecord
    """The network."""
    storage: str
    """Name of the storage format."""
    totals: Totals
    """The whole run."""
    limits: dict[str, LimitRecord]
    """Resource -> how much it holds the run up; empty where that was not worked out."""
    skipped: dict[str, int]
    """Operator -> how often it occurs among the operations of the workload that are left out; empty: nothing is."""
    layers: tuple[LayerRecord, ...]
    """One record per layer, in execution order."""
    comparison: dict[str, Totals] | None = None
    """Only when asked for: storage format -> totals of the same network on the same chip."""
    cores: tuple[CoreRecord, ...] | None = None
    """Only of a chip with several cores: what each did. Records of layers are then those of the core that ends last, or
    of a pipeline the cycles in which the end of the run waited for them."""
    first_input_latency_s: float | None = None
    """Only of a pipeline through which several inputs stream: when the first (group) of them has left it."""
    limits_left_out: dict[str, str] | None = None
    """Only of a run with ``limits``: resource -> why what it costs was not worked out."""
    next_limit: NextLimitRecord | None = None
    """Only of a run with ``limits``: what limits it with twice as much of the resource of most of the time."""
    fused: tuple[FusedRecord, ...] | None = None
    """Only where layers were fused: the groups, of a batch or a generation those of its first run."""
