"""What the mapper is asked for: one layer, its weights in one storage format, a chip, and where its tensors live."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, replace
from typing import Literal

from accelsim.config.hardware import BufferConfig, HardwareConfig
from accelsim.mapping.activation_code import PLAIN, Coding
from accelsim.mapping.kept import Kept, Key
from accelsim.mapping.loops import Loop
from accelsim.prng.streams import filters_per_stream
from accelsim.storage.base import StoredBits, WeightPlan
from accelsim.trace.model import TraceLayer
from accelsim.units import bits_to_bytes

UNBOUNDED = 1 << 60


@dataclass(frozen=True, slots=True)
class LayerTask:
    """One layer to be scheduled.

    Attributes
    ----------
    plan
        How the weights reach the array; None where the second operand is an activation or there is none.
    dram_input_elements
        Input elements that come from DRAM (0: the input is on chip).
    output_to_dram
        Whether the output is written to DRAM.
    residual_dram_elements
        Elements of residual operands that come from DRAM.
    activation_capacity_bytes
        What is left of the activation buffer beside the tensors that stay in it.
    residual_elements
        Elements of all residual operands, wherever they are.
    second_from_dram
        Whether the second activation operand (of a matrix multiplication) comes from DRAM, not from the activation
        buffer.
    coding
        How activations are coded in DRAM.
    settles
        Whether the mapper takes a tiling that is hardly slower than the lower bound without trying others: a language
        model has large layers, and one operand that is read once.
    cache_on_chip
        Whether keys and values of all layers are kept in the activation buffer from run to run.
    first_filter
        Of the filters of a layer that several cores divide among them, the first of this core; filters are those along
        which streams run.
    first_weight, filter_weights
        Where cores divide what lies within each of these filters (the outputs of a transposed convolution, whose
        weights lie by input channel): the first weight of each that is this core's, and how many all cores have
        of it; 0: the core has all.
    rest_stays
        Whether what does not go into a cache of keys and values stays on chip, of a layer of which a part does.
    held
        What an earlier stripe of a fused layer has left on chip of its weights: ``stored`` bits, which are decoded (and
        generated) again, or ``weights`` as the array takes them.
    """

    layer: TraceLayer
    plan: WeightPlan | None
    hardware: HardwareConfig
    dram_input_elements: int
    output_to_dram: bool
    residual_dram_elements: int
    activation_capacity_bytes: int
    residual_elements: int = 0
    second_from_dram: bool = True
    coding: Coding = PLAIN
    cache_on_chip: bool = False
    settles: bool = False
    first_filter: int = 0
    first_weight: int = 0
    filter_weights: int = 0
    rest_stays: bool = False
    held: Literal["", "stored", "weights"] = ""

    @property
    def is_ideal(self) -> bool:
        """Return whether memory and buffers are unlimited."""
        return self.hardware.memory == "ideal"

    @property
    def activation_bits(self) -> int:
        """Return the width of an activation."""
        if self.plan is not None and self.plan.activation_bits is not None:
            return self.plan.activation_bits
        return self.hardware.activation_bits

    @property
    def weight_bits(self) -> int:
        """Return the bits of a weight position in the weight buffer."""
        return self.plan.buffer_bits_per_weight if self.plan is not None else self.second_bits

    @property
    def second_bits(self) -> int:
        """Return the width of an element of the second operand; of a cached one that in the cache."""
        return self._cache_bits if self.layer.cached_elements is not None else self.activation_bits

    @property
    def output_bits(self) -> int:
        """Return the width of an output in memory; one that is cached has that of the cache."""
        return self._cache_bits if self.layer.caches else self.activation_bits

    @property
    def memory_outputs(self) -> int:
        """Return the outputs that are written where results go to memory."""
        made = self.layer.num_outputs or self.layer.dims.num_outputs
        cached = self.layer.cached_outputs
        return made if cached is None or not self.rest_stays else min(cached, made)

    @property
    def cached_share(self) -> float:
        """Return the fraction of what is written that goes into a cache of keys and values."""
        if not self.layer.caches:
            return 0.0
        cached = self.layer.cached_outputs
        return 1.0 if cached is None else min(1.0, cached / self.memory_outputs)

    @property
    def _cache_bits(self) -> int:
        return self.layer.cache_bits or self.activation_bits

    @property
    def second_dram_share(self) -> float:
        """Return the fraction of the second operand that comes from DRAM."""
        layer, new = self.layer, float(self.second_from_dram)
        if layer.cached_elements is None or not layer.second_input_elements:
            return new
        # Then what is new stays there too.
        if self.cache_on_chip:
            return 0.0
        share = layer.cached_elements / layer.second_input_elements
        return share + (1 - share) * new

    @property
    def second_dram_bits(self) -> int:
        """Return the bits of the second operand that one pass over it brings from DRAM."""
        if not self.loads_second:
            return 0
        dims, layer = self.layer.dims, self.layer
        if layer.cached_elements is None or self.second_from_dram:
            return dims.num_weights * self.second_bits
        return -(-dims.num_weights * layer.cached_elements // layer.second_input_elements) * self.second_bits

    @property
    def second_class(self) -> str:
        """Return the traffic class of the second operand."""
        return "activation_in" if self.layer.cached_elements is None else "kv_read"

    @property
    def output_class(self) -> str:
        """Return the traffic class of the outputs."""
        return "kv_write" if self.layer.caches else "activation_out"

    @property
    def stored_bits(self) -> StoredBits:
        """Return the stored bits of the layer's weights (none for a second activation)."""
        return self.plan.stored_bits if self.plan is not None else StoredBits()

    @property
    def traffic_bits(self) -> StoredBits:
        """Return the bits that one pass over the layer's weights reads; less than stored where formats share bits."""
        return self.plan.traffic_bits if self.plan is not None else StoredBits()

    @property
    def dram_bits(self) -> StoredBits:
        """Return what one pass over the layer's weights reads from DRAM."""
        return StoredBits() if self.held else self.traffic_bits

    @property
    def row_bits(self) -> StoredBits:
        """Return the bits of the rows that a look-up reads of its table: each once, those of scales with them."""
        weights = self.layer.weights
        if self.layer.kind != "embedding" or weights is None:
            return StoredBits()
        num_rows, length = weights.shape
        read, bits = min(num_rows, self.layer.num_outputs // length), self.traffic_bits
        share = {name: -(-getattr(bits, name) * read // num_rows) for name in StoredBits.__slots__}
        return StoredBits(**share)

    @property
    def regenerates(self) -> bool:
        """Return whether the generator makes this layer's weights."""
        return self.plan is not None and self.plan.source is not None

    @property
    def regenerates_each_pass(self) -> bool:
        """Return whether weights are generated anew at each use instead of being kept in the weight buffer."""
        generator = self.hardware.weight_generator
        return self.regenerates and generator is not None and generator.weights == "regenerate"

    @property
    def decodes(self) -> bool:
        """Return whether stored bits pass the decoder."""
        return self.plan is not None and self.plan.decoder != "none"

    @property
    def burst_bytes(self) -> int:
        """Return the smallest DRAM access."""
        return self.hardware.dram.burst_bytes

    @property
    def loads_second(self) -> bool:
        """Return whether a second activation operand takes the weights' place, and some of it comes from DRAM."""
        return self.plan is None and self.layer.second_input_elements > 0 and self.second_dram_share > 0

    @property
    def stages_output(self) -> bool:
        """Return whether results wait in the activation buffer on their way to DRAM, beside the sums they come from."""
        return self.output_to_dram and not self.hardware.sums_in_activation_buffer

    @property
    def buffers_output(self) -> bool:
        """Return whether results are written to the activation buffer."""
        return self.stages_output or not self.output_to_dram

    def capacity(self, buffer: BufferConfig) -> int:
        """Return the bytes of a buffer; unbounded where memory is ideal."""
        return UNBOUNDED if self.is_ideal else buffer.capacity_bytes


def content_of(task: LayerTask, capacity_bytes: int | None = None) -> Hashable:
    """Return a key of the task without what does not change its schedule: names, seeds, the mask if it is not used.

    ``capacity_bytes`` stand for what is left of the activation buffer.
    """
    capacity_bytes = task.activation_capacity_bytes if capacity_bytes is None else capacity_bytes
    return (
        _content(task.layer, task.plan, task.hardware.pe_array.zero_weights == "skip"), task.dram_input_elements,
        task.output_to_dram, task.residual_dram_elements, capacity_bytes, task.residual_elements,
        task.second_from_dram, task.coding, task.cache_on_chip, task.settles, _place_in_stream(task), task.rest_stays,
        task.held,
    )  # fmt: skip


def _place_in_stream(task: LayerTask) -> tuple[int, ...]:
    """Return how far within a random stream a part lies, by filters and within each; parts that agree are alike."""
    source = task.plan.source if task.plan is not None else None
    if source is None or not (task.first_filter or task.filter_weights):
        return ()
    first = task.first_filter if source.stream == "layer" else task.first_filter % filters_per_stream(source, ())
    return first, task.first_weight, task.filter_weights


_kept_contents: Kept[tuple[TraceLayer, WeightPlan | None, Hashable]] = Kept(1024)


def _content(layer: TraceLayer, plan: WeightPlan | None, skips_weights: bool) -> Hashable:
    # By identity, and so with both kept: to hash all that they hold takes longer than anything else asked of a task.
    same = id(layer), id(plan), skips_weights
    found = _kept_contents.get(same)
    if found is None:
        found = layer, plan, _content_of(layer, plan, skips_weights)
        _kept_contents.put(same, found, 1)
    return found[2]


def _content_of(layer: TraceLayer, plan: WeightPlan | None, skips_weights: bool) -> Hashable:
    layer = replace(
        layer, name="", inputs=(), residuals=(), post_ops=(), input_elements=(), second_inputs=(), weights_of=""
    )
    if layer.weights is not None and not skips_weights:
        layer = replace(layer, weights=replace(layer.weights, load_mask=None, load_sign=None, source=None))
    # A seed decides about values, never about words, bytes or cycles.
    if plan is not None and plan.source is not None:
        plan = replace(plan, source=replace(plan.source, seed=1))
    return Key((layer, plan))


# Contexts that are mapped alike: the last tile of a product with the cache then has at most this many positions fewer.
CONTEXTS_ALIKE = 32


def at_longest_context(task: LayerTask) -> LayerTask:
    """Return a product with the cache at the longest context that is mapped as its own is; other tasks as they are."""
    layer, dims = task.layer, task.layer.dims
    if not layer.cached_elements:
        return task
    # Scores have positions as outputs, and hand them to the product with the values, which sums over them.
    is_sum = layer.num_outputs != dims.num_outputs or not layer.post_ops or layer.post_ops[0] != "softmax"
    positions = dims.C if is_sum else dims.K
    # Neighbouring contexts share a tiling only if it fits the longest of them.
    more = -positions % CONTEXTS_ALIKE

    def longer(count: int) -> int:
        return count * (positions + more) // positions

    held = longer(layer.second_input_elements)
    wider = replace(
        layer,
        dims=replace(dims, C=dims.C + more) if is_sum else replace(dims, K=dims.K + more),
        second_input_elements=held,
        cached_elements=layer.cached_elements + held - layer.second_input_elements,
        num_outputs=layer.num_outputs if is_sum else longer(layer.num_outputs),
        vector_ops=layer.vector_ops if is_sum else longer(layer.vector_ops),
    )
    scores = dims.num_inputs if is_sum else layer.num_outputs
    stays = not task.dram_input_elements if is_sum else not task.output_to_dram
    bits = task.activation_bits
    # Scores that stay on chip take room from the tiles at the longest context already.
    grown = bits_to_bytes(longer(scores) * bits) - bits_to_bytes(scores * bits) if stays else 0
    return replace(
        task,
        layer=wider,
        dram_input_elements=longer(task.dram_input_elements) if is_sum else task.dram_input_elements,
        activation_capacity_bytes=task.activation_capacity_bytes - grown,
    )


def input_window(
    task: LayerTask, loop: Loop, first: int, size: int, tap: int = 0, num_taps: int = 0
) -> tuple[int, int]:
    """Return the first input row (``P``) or column (``Q``) under some outputs, and the one behind the last.

    There are ``size`` outputs, from ``first`` on.

    ``num_taps`` filter rows (columns) from ``tap`` on are applied; 0 means all.
    """
    dims = task.layer.dims
    axis = 0 if loop == "P" else 1
    extent = dims.H if loop == "P" else dims.W
    before = tap * dims.dilation[axis]
    start = dims.start(axis, first) + before
    end = dims.start(axis, first + size - 1) + before + dims.span(axis, num_taps)
    return max(start, 0), min(end, extent)


def input_extent(task: LayerTask, loop: Loop, first: int, size: int, tap: int = 0, num_taps: int = 0) -> int:
    """Return the input rows (``P``) or columns (``Q``) that ``size`` outputs from ``first`` on read.

    Parameters as of `input_window`; rows between windows that do not touch each other are not read.
    """
    dims = task.layer.dims
    axis = 0 if loop == "P" else 1
    if task.layer.kind == "aggregate":  # P are edges, each reads one node's features; H x W are nodes x features
        extent = dims.H if loop == "P" else dims.W
        return extent if loop == "Q" else min(size, extent)
    start, end = input_window(task, loop, first, size, tap, num_taps)
    return max(0, min(end - start, size * dims.span(axis, num_taps)))


def input_overlap(task: LayerTask, loop: Loop, first: int, size_before: int) -> int:
    """Return the rows (columns) that outputs from ``first`` on share with the ``size_before`` outputs before them."""
    dims, axis = task.layer.dims, 0 if loop == "P" else 1
    if task.layer.kind == "aggregate" or dims.span(axis) <= dims.stride[axis]:
        return 0
    end_before = input_window(task, loop, first - size_before, size_before)[1]
    return max(0, end_before - input_window(task, loop, first, 1)[0])
