"""The hardware description: one pydantic model per unit of the chip."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from accelsim.config.base import ConfigModel
from accelsim.config.dram import DramConfig, timing_problem
from accelsim.config.ports import streamed_bits, with_ports
from accelsim.config.quantities import SIZE, Bytes, Megahertz
from accelsim.prng.source import GeneratorKind

TileSide = Annotated[int, Field(ge=1, le=4096)]

ZeroPolicy = Literal["none", "gate", "skip"]
Dataflow = Literal["weight_stationary", "output_stationary", "input_stationary", "spatial", "row_stationary"]
LoopName = Literal["N", "K", "C", "P", "Q", "R", "S"]
ClockGating = Literal["none", "unit", "lane"]
Cells = Literal["sram", "registers"]
LeakageClass = Literal["general", "low_power"]
SharedUnit = Literal["weight_generator", "mask_decoder", "mask_buffer", "activation_buffer"]
Split = Literal["auto", "filters", "positions", "batch"]


MOST_SCRATCH_PADS = 1 << 20  # the banks that a memory may have
MOST_PES = 1 << 24  # the 4096 rows x 4096 columns that a systolic array may have


class ScratchPadConfig(ConfigModel):
    """The memories of each PE of a row-stationary array: they limit how many channels and filters a pass takes."""

    input_words: int = Field(ge=1, le=65536)
    """Inputs: a window of each channel of the pass."""
    weight_words: int = Field(ge=1, le=65536)
    """Weights: a filter row of each channel and filter of the pass."""
    sum_words: int = Field(ge=1, le=65536)
    """Partial sums: one of each filter of the pass."""
    input_cells: Cells = "registers"
    weight_cells: Cells = "sram"
    sum_cells: Cells = "registers"
    """What holds the bits of each, as `BufferConfig.cells`."""
    words_per_cycle: int = Field(ge=1, le=65536)
    """Words of a kind that all PEs together take from a buffer in a cycle before a pass begins."""


class PeArrayConfig(ConfigModel):
    """The PE array."""

    dataflow: Dataflow = "weight_stationary"
    """Which operand stays in the PEs; ``spatial`` unrolls the loops of ``unroll`` with adder trees over C, R and S;
    ``row_stationary`` lays filter rows over the rows and output rows over the columns."""
    rows: int = Field(32, ge=1, le=4096)
    """Rows of a systolic (S_R is laid over them) or row-stationary array; not used by ``spatial``."""
    cols: int = Field(32, ge=1, le=4096)
    """Columns of a systolic (S_C is laid over them) or row-stationary array; not used by ``spatial``."""
    scratch_pads: ScratchPadConfig | None = None
    """``row_stationary`` only, where it must be given: the memories of each PE."""
    num_arrays: int = Field(1, ge=1, le=64)
    """Weight-stationary only: arrays of rows x cols that work side by side on a tile, each on a part of its positions
    or, where that is faster, of its filters."""
    call_cycles: int = Field(0, ge=0, le=1_000_000)
    """Cycles from the end of a layer to the begin of the next one: what it costs to call a kernel."""
    weight_preload: bool = False
    """Weight-stationary only: the next fold's weights load behind the running one, as in TPUs."""
    preload_with: Literal["fold", "instruction"] = "fold"
    """With ``weight_preload``: new weights load beside all positions of the running fold, or beside its last
    instruction of at most ``rows`` positions of one output row (as in Gemmini)."""
    min_instruction_rows: int = Field(1, ge=1, le=4096)
    """``preload_with: instruction`` only: cycles that an instruction takes at the least, however few its positions."""
    instruction_interval_cycles: float = Field(1.0, ge=1, le=1000)
    """``preload_with: instruction`` only: n instructions of a fold take at least n times this many cycles (instructions
    in flight, over the time that each is)."""
    fold_taps: Literal[True, False, "row"] = True
    """Weight- and input-stationary: whether the positions of a filter's window fill the rows together with the
    channels; false: each is a pass of its own over the channels; ``row``: those of a filter row share a pass, as many
    as all channels of each fit the rows."""
    operand_registers: bool = False
    """``spatial`` only: a sum stays in the register of its adder tree until the tile is through, and the activations of
    a window shift from PE to PE, so that only the edge of a block of outputs is read for a further tap. Weights come
    again for each block of outputs."""
    unroll: dict[LoopName, int] = {}
    """``spatial`` only: loop name -> parallel copies, e.g. {K: 16, C: 16, P: 4, Q: 4}."""
    zero_weights: ZeroPolicy = "gate"
    """What a dropped weight costs: a MAC (none), a cycle but no MAC (gate), neither (skip)."""
    zero_activations: ZeroPolicy = "none"
    """The same for zero activations."""
    skip_group: Literal["rows", "columns", "array", "packed"] = "array"
    """PEs that advance in lockstep when zeros are skipped: they wait for the slowest in the group. ``packed`` (a
    ``spatial`` array without K unrolled): kept weights of whole filters lie side by side in the lanes of C, R and S."""
    padding_takes_cycles: bool = False
    """With ``zero_weights: skip``: PEs walk through the entries of a run-length code (``rle-int8``) themselves, as in
    EIE, so that an entry that only bridges a long run of zeros takes a cycle too."""
    distribution_words_per_cycle: int | None = Field(None, ge=1, le=1 << 24)
    """``spatial`` only: inputs that the network in front of the lanes takes in a cycle; a step of more takes several.
    None: all of a step."""
    pipeline_latency_cycles: int = Field(0, ge=0, le=1000)
    """Extra cycles from the last operand to the result (adder trees, output registers), once a tile."""

    @property
    def num_pes(self) -> int:
        """Return the number of multiply-accumulate units."""
        if self.dataflow != "spatial":
            return self.rows * self.cols * self.num_arrays
        product = 1
        for copies in self.unroll.values():
            product *= copies
        return product

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.dataflow == "spatial" and not self.unroll:
            raise ValueError("dataflow spatial needs unroll; give e.g. unroll: {K: 16, C: 16}")
        if self.dataflow != "spatial" and self.unroll:
            raise ValueError("unroll is for dataflow spatial only; remove it or set dataflow: spatial")
        if any(copies < 1 or copies > 65536 for copies in self.unroll.values()):
            raise ValueError("unroll factors must be 1 to 65536; correct the factor")
        if self.num_pes > MOST_PES:
            raise ValueError(f"unroll makes {self.num_pes} PEs; at most {MOST_PES} are modelled: unroll less")
        self._check_row_stationary()
        self._check_flexible()
        if self.operand_registers and self.dataflow != "spatial":
            raise ValueError("operand_registers is for dataflow spatial only; set it to false")
        if self.weight_preload and self.dataflow != "weight_stationary":
            raise ValueError("weight_preload is for dataflow weight_stationary only; set it to false")
        is_plain = self.dataflow == "weight_stationary" and self.preload_with == "fold"
        if self.num_arrays > 1 and not (is_plain and self.zero_weights != "skip" and self.zero_activations != "skip"):
            raise ValueError(
                "num_arrays is for dataflow weight_stationary with preload_with: fold and without skipping; set it to 1"
            )
        if self.fold_taps is not True and self.dataflow not in ("weight_stationary", "input_stationary"):
            raise ValueError("fold_taps is for dataflow weight_stationary or input_stationary; set it to true")
        is_by_instruction = self.weight_preload and self.preload_with == "instruction"
        if not is_by_instruction and (self.min_instruction_rows > 1 or self.instruction_interval_cycles > 1):
            raise ValueError(
                "min_instruction_rows and instruction_interval_cycles are for weight_preload with preload_with: "
                "instruction; leave them at 1"
            )
        return self

    def _check_flexible(self) -> None:
        if self.distribution_words_per_cycle is not None and self.dataflow != "spatial":
            raise ValueError("distribution_words_per_cycle is for dataflow spatial only; remove it")
        if self.padding_takes_cycles and (self.zero_weights != "skip" or self.skip_group == "packed"):
            raise ValueError(
                "padding_takes_cycles is for zero_weights: skip and skip_group other than packed; set it to false"
            )
        is_flexible = self.dataflow == "spatial" and self.unroll.get("K", 1) == 1 and self.zero_weights == "skip"
        if self.skip_group == "packed" and not (is_flexible and self.zero_activations != "skip"):
            raise ValueError(
                "skip_group: packed is for dataflow spatial without K unrolled, zero_weights: skip and "
                "zero_activations other than skip; take another group"
            )

    def _check_row_stationary(self) -> None:
        if self.dataflow != "row_stationary":
            if self.scratch_pads is not None:
                raise ValueError("scratch_pads is for dataflow row_stationary only; remove it")
            return
        if self.scratch_pads is None:
            raise ValueError(
                "dataflow row_stationary needs scratch_pads; give input_words, weight_words, sum_words and "
                "words_per_cycle"
            )
        if self.num_pes > MOST_SCRATCH_PADS:
            raise ValueError(f"row_stationary is for at most {MOST_SCRATCH_PADS} PEs; take fewer rows or cols")
        if "skip" in (self.zero_weights, self.zero_activations):
            raise ValueError(
                "zero_weights and zero_activations: skip is not for dataflow row_stationary; take gate or none"
            )


class BufferConfig(ConfigModel):
    """An on-chip SRAM."""

    capacity_bytes: Bytes = Field(ge=16, le=1 << 32)
    """Capacity of all banks together."""
    width_bits: int = Field(128, ge=8, le=65536)
    """Bits of one access of one port."""
    num_banks: int = Field(1, ge=1, le=1 << 20)
    """Banks that work at once; bandwidth = banks x ports x width bits per cycle. Where ``width_bits``, ``num_banks``
    and ``num_ports`` are all left out, the buffers beside the PE array get the banks that it needs."""
    num_ports: int = Field(1, ge=1, le=4)
    """Ports per bank (a single port serves a read or a write)."""
    bus_bits_per_cycle: int | None = Field(None, ge=1, le=1 << 24)
    """Bits that the bus to the PE array moves in a cycle, reads and writes together; None: as many as the ports."""
    double_buffered: bool = True
    """Whether half is filled while the other half is used."""
    cells: Cells = "sram"
    """What holds the bits: SRAM macros, or flip-flops. It costs energy, leakage and area, not time."""
    is_copied: bool = False
    """``weight_buffer`` only: PEs copy a tile when its step begins, so that its place is filled while they use it."""

    @property
    def port_bits_per_cycle(self) -> int:
        """Return the bits that all ports and the bus move in a cycle, reads and writes together."""
        ports = self.num_banks * self.num_ports * self.width_bits
        return ports if self.bus_bits_per_cycle is None else min(ports, self.bus_bits_per_cycle)

    @property
    def fills_ahead(self) -> bool:
        """Return whether the next tile comes while the array uses one."""
        return self.double_buffered or self.is_copied

    @property
    def bank_bytes(self) -> int:
        """Return the bytes of a bank."""
        return max(1, self.capacity_bytes // self.num_banks)


class WeightGeneratorConfig(ConfigModel):
    """The on-chip random number generator."""

    kind: GeneratorKind = "xorshift32"
    """Which generator is built; a ticket made with another kind cannot be regenerated by this chip."""
    num_lanes: int = Field(32, ge=1, le=65536)
    """Generators side by side; a lane works on one stream (a counter-based lane on any index)."""
    words_per_lane_per_cycle: int = Field(1, ge=1, le=64)
    """Words that a lane makes in one cycle."""
    latency_cycles: int = Field(2, ge=0, le=10000)
    """From a request to the first word."""
    seed_cycles: int = Field(1, ge=0, le=10000)
    """Cycles a lane needs to load or derive the seed of a stream."""
    jump_cycles: int = Field(32, ge=1, le=10000)
    """Cycles of one matrix-power jump of a linear generator (one column of the 32 x 32 GF(2) matrix a cycle)."""
    weights: Literal["regenerate", "buffer"] = "regenerate"
    """Whether a weight tile that is visited again is generated again or kept in the weight buffer when it fits."""


class MaskDecoderConfig(ConfigModel):
    """The unit that expands stored bits into a mask (or into weights, for compressed formats) over all positions."""

    positions_per_cycle: int = Field(64, ge=1, le=65536)
    """Weight positions expanded in one cycle (raw bits, bitmaps, N:M)."""
    symbols_per_cycle: int = Field(8, ge=1, le=65536)
    """Variable-length symbols decoded in one cycle (run lengths, Golomb, entropy codes, CSR entries)."""
    latency_cycles: int = Field(4, ge=0, le=10000)
    """From the first bit in to the first position out."""
    fits_rivals: bool = True
    """Whether a format that regenerates no weights gets a decoder as wide as it must be not to wait; false where the
    chip's decoder is what it is."""


class DmaConfig(ConfigModel):
    """The engine that moves data between DRAM and the buffers."""

    request_cycles: int = Field(0, ge=0, le=10000)
    """Cycles to issue a request; the next one follows behind it."""
    max_request_bytes: Annotated[int | None, SIZE] = Field(None, ge=8, le=1 << 30)
    """A transfer that is longer goes as several requests: each takes ``request_cycles`` and, from its issue to its last
    word, one of ``dram.num_outstanding_requests``; behind a cache each row of a tile too. None: a tile is a request."""
    loads_ahead: bool = True
    """Whether tiles are loaded while the array works on the ones before; false: when it has ended."""
    activation_codec: Literal["none", "rle"] = "none"
    """How activations are coded in memory. ``rle``: pairs of a 5-bit run of zeros and a value, as many as fit 64 bits,
    as in Eyeriss; the network's input, partial sums, and what the code would make longer are left as they are."""
    activation_tile: list[TileSide] | None = Field(None, min_length=2, max_length=2)
    """Activations lie in memory in whole tiles of so many elements of two of their dimensions, as XLA lays them out for
    a TPU ([8, 128]); of images, positions and channels it tiles the two that pad least. None: without padding."""
    codec_elements_per_cycle: int = Field(4, ge=1, le=65536)
    """Activations, zeros among them, that coder and decoder pass in a cycle; they hold up the link where it is
    faster."""


class CacheConfig(ConfigModel):
    """A cache between the DMA engine and DRAM that a host shares, with random replacement; it changes time alone.

    Tensors lie in memory in rows of channels, as software keeps them, so that a tile is many short rows.
    """

    capacity_bytes: Bytes = Field(ge=1024, le=1 << 32)
    """Capacity."""
    line_bytes: Bytes = Field(64, ge=8, le=4096)
    """Bytes of a line; a row that misses is read in whole lines."""
    num_ways: int = Field(8, ge=1, le=64)
    """Lines of a set: rows that lie many lines apart share few sets."""
    width_bits: int = Field(128, ge=8, le=65536)
    """Bits that a hit moves in a cycle."""


class CoreNetworkConfig(ConfigModel):
    """The network between the activation buffers of several cores: maps stay where they are made, and are fetched."""

    bytes_per_cycle: int = Field(32, ge=1, le=65536)
    """Bytes that a core takes from the others in a cycle."""
    hops: float = Field(2.0, ge=1, le=64)
    """Routers that a word passes in the mean: of a mesh of n x m cores about (n + m) / 3."""
    hop_cycles: int = Field(2, ge=0, le=1000)
    """Cycles of a hop: a router and the wires of a core's width."""


class VectorUnitConfig(ConfigModel):
    """The unit for normalisation, activation, pooling and residual additions."""

    num_lanes: int = Field(32, ge=1, le=65536)
    """Operations in one cycle."""
    latency_cycles: int = Field(4, ge=0, le=10000)
    """Pipeline depth, once a tile."""
    rereads_inputs: bool = False
    """Whether a layer of vector operations alone reads its inputs from DRAM again for each of them (a reduction that
    ends a kernel makes the next one do so); false: once."""


SPLITS = ("auto", "filters", "positions", "batch")


class MappingConfig(ConfigModel):
    """What the mapper looks for."""

    objective: Literal["latency", "energy", "edp", "dram_bytes"] = "latency"
    """The closed-form figure that the chosen tiling minimises."""
    keep_activations_on_chip: bool = True
    """Keep a layer's output in the activation buffer for its readers where it fits."""
    prefetch_next_layer: bool = True
    """Fetch the next layer's first weight tiles while this layer computes."""
    split: Split | dict[str, Split] = "auto"
    """What several cores divide among them: filters, output positions or inputs of the batch; one word, or layer ->
    word with ``default`` for the others. ``auto`` takes what the closed form likes best."""
    fuse: Literal["none", "auto"] | list[list[str]] = "none"
    """Which neighbouring layers run stripe by stripe, their maps between them on chip: none; groups of names; or
    ``auto``, the groups that the chip's objective likes better than the layers one after the other."""
    halo: Literal["auto", "kept", "recomputed"] = "auto"
    """Fused layers: whether rows that two stripes need stay on chip or are made again; ``auto``: what is better."""
    num_stripes: int | None = Field(None, ge=1, le=65536)
    """Fused layers: stripes of a group; None: what is best. Each head of an attention is cut into so many."""
    schedule: Literal["layer_by_layer", "pipeline", "tenants"] = "layer_by_layer"
    """Several cores: all on one layer after the other; each on a run of neighbouring layers, through which the inputs
    of a batch stream; or each on a network of its own (``run --tenants`` sets it)."""

    @field_validator("split", mode="before")
    @classmethod
    def _words(cls, value: object) -> object:
        given = value if isinstance(value, dict) else {"": value}
        for name, word in given.items():
            if word not in SPLITS:
                place = f"{name}: " if name else ""
                raise ValueError(
                    f"{place}{word!r} is not a split; give one of {', '.join(SPLITS)}, for all layers or as "
                    "{LAYER: WORD, default: WORD}"
                )
        return value

    @field_validator("fuse", mode="before")
    @classmethod
    def _groups(cls, value: object) -> object:
        is_groups = isinstance(value, list) and all(
            isinstance(group, list) and group and all(isinstance(name, str) for name in group) for group in value
        )
        if value not in ("none", "auto") and not is_groups:
            raise ValueError(f"{value!r} is no fusion; give none, auto, or lists of layers such as [[conv1, conv2]]")
        return value


class HardwareConfig(ConfigModel):
    """A chip and its memory."""

    name: str = Field(min_length=1, max_length=80, pattern=r"^[A-Za-z0-9_.-]+$")
    """Name used in results."""
    clock_mhz: Megahertz = Field(ge=0.001, le=100000)
    """Core clock."""
    node_nm: float = Field(ge=7, le=180)
    """Technology node, for energy and area; scaling is published for 7 to 180 nm."""
    voltage_v: float | None = Field(None, gt=0.2, le=3.0)
    """Core supply; None takes the node's nominal voltage, of which half to 1.3 times can be costed."""
    activation_bits: Literal[1, 2, 4, 8, 16, 32] = 8
    """Width of an activation in buffers and DRAM."""
    accumulator_bits: Literal[16, 24, 32, 48] = 32
    """Width of a partial sum."""
    clock_gating: ClockGating = "unit"
    """Which flip-flops stand still: none; those of a unit without work, and PEs that the passes of a
    row-stationary array leave out; or, ``lane``, also those of a PE or lane without work in the cycle, and words of
    register memories that are not written. It costs energy, not time."""
    leakage_class: LeakageClass = "low_power"
    """Cells of high threshold (``low_power``) or of a general-purpose process (``general``)."""
    num_cores: int = Field(1, ge=1, le=64)
    """Cores, each with array, buffers, generator, decoder and vector unit; the memory serves all of them."""
    share: list[SharedUnit] = Field([], max_length=4)
    """Units of which there is one for all cores; sizes and rates are those of the one."""
    core_network: CoreNetworkConfig | None = None
    """None: what a core makes reaches others through the memory, or through a shared activation buffer."""
    memory: Literal["dram", "ideal"] = "dram"
    """``ideal``: unlimited bandwidth, no latency, unbounded buffers."""
    dram: DramConfig = DramConfig()
    dma: DmaConfig = DmaConfig()
    cache: CacheConfig | None = None
    """None: the DMA engine reads DRAM itself, and tiles lie there one behind the other."""
    pe_array: PeArrayConfig = PeArrayConfig()
    activation_buffer: BufferConfig = BufferConfig(capacity_bytes=262144)
    weight_buffer: BufferConfig = BufferConfig(capacity_bytes=65536)
    mask_buffer: BufferConfig = BufferConfig(capacity_bytes=16384)
    accumulator: BufferConfig = BufferConfig(capacity_bytes=65536)
    sums_in_activation_buffer: bool = False
    """Partial sums lie in the activation buffer beside the inputs, each in whole banks, and results go from there to
    memory; ``accumulator`` then describes how they are reached, and is no memory of its own."""
    weight_generator: WeightGeneratorConfig | None = None
    """None: a chip without a generator; it cannot run the format ``slt``."""
    mask_decoder: MaskDecoderConfig | None = None
    """None: a chip without a decoder; it can run dense formats only."""
    vector_unit: VectorUnitConfig = VectorUnitConfig()
    mapping: MappingConfig = MappingConfig()

    @property
    def num_pes(self) -> int:
        """Return the multiply-accumulate units of all cores."""
        return self.num_cores * self.pe_array.num_pes

    @property
    def has_timed_dram(self) -> bool:
        """Return whether the memory has banks and rows, so that equal requests need not take equal time."""
        return self.memory != "ideal" and self.dram.model == "timing"

    @property
    def array_words(self) -> str:
        """Return the PEs in words, of several cores those of each."""
        pes = f"{self.pe_array.num_pes} PEs"
        return pes if self.num_cores == 1 else f"{self.num_cores} cores of {pes}"

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.cache is not None and self.dram.model == "timing":
            raise ValueError("cache is for dram.model simple only; remove it or set dram.model: simple")
        if self.dma.max_request_bytes is not None and self.dram.model == "timing":
            raise ValueError("dma.max_request_bytes is for dram.model simple only; remove it or set dram.model: simple")
        if self.cache is not None and self.dma.activation_codec != "none":
            raise ValueError("dma.activation_codec is for a chip without a cache; remove one of them")
        if self.dma.activation_tile is not None and (self.cache is not None or self.dma.activation_codec != "none"):
            raise ValueError("dma.activation_tile is for a chip without cache and activation_codec; remove one of them")
        self._check_buffers()
        self._check_cores()
        for name, bits in streamed_bits(self).items():
            object.__setattr__(self, name, with_ports(getattr(self, name), bits))
        return self

    def _check_buffers(self) -> None:
        copied = [name for name in ("activation_buffer", "mask_buffer", "accumulator") if getattr(self, name).is_copied]
        if copied:
            raise ValueError(f"{copied[0]}.is_copied is for weight_buffer only; set it to false")
        if not self.sums_in_activation_buffer:
            return
        if self.activation_buffer.double_buffered or self.accumulator.double_buffered:
            raise ValueError(
                "sums_in_activation_buffer is for activation_buffer and accumulator with double_buffered: false; set it"
            )
        if self.activation_buffer.num_banks < 2:  # noqa: PLR2004  one for inputs, one for sums
            raise ValueError("sums_in_activation_buffer needs activation_buffer.num_banks of at least 2; raise it")
        if self.accumulator.capacity_bytes != self.activation_buffer.capacity_bytes:
            raise ValueError(
                "sums_in_activation_buffer: accumulator.capacity_bytes is that of the activation buffer "
                f"({self.activation_buffer.capacity_bytes}); set it"
            )

    def _check_cores(self) -> None:
        if self.num_cores == 1:  # a scan over cores may begin with one, which has nothing to share
            return
        if self.cache is not None:
            raise ValueError("num_cores: a cache between DMA engine and DRAM is for one core; remove cache")
        self._check_shared()

    def _check_shared(self) -> None:
        if self.core_network is not None and "activation_buffer" in self.share:
            raise ValueError("core_network: all cores read the shared activation_buffer; remove one of the two")
        if "mask_decoder" in self.share and "mask_buffer" not in self.share:
            raise ValueError("share: mask_decoder: it reads one mask buffer; share mask_buffer too")
        twice = [name for number, name in enumerate(self.share) if name in self.share[:number]]
        if twice:
            raise ValueError(f"share: {twice[0]} is named twice; name it once")
        missing = [name for name in self.share if getattr(self, name) is None]
        if missing:
            raise ValueError(f"share: {missing[0]}: the chip has none; describe it or leave it out")
        if self.mapping.schedule == "pipeline" and self.mapping.split != "auto":
            raise ValueError(
                "mapping.split: with mapping.schedule pipeline each layer is one core's; leave split out, or take "
                "schedule layer_by_layer"
            )

    @field_validator("dram")
    @classmethod
    def _timing_table(cls, value: DramConfig) -> DramConfig:
        problem = timing_problem(value.standard) if value.model == "timing" else None
        if problem is not None:
            raise ValueError(problem)
        return value
