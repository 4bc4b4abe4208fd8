"""The LayerTrace artefact: the ordered operations of a network as hardware sees them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from accelsim.prng.source import RandomSource

MaskArray = npt.NDArray[np.bool_]
LayerKind = Literal[
    "conv2d", "depthwise_conv2d", "conv_transpose2d", "linear", "matmul", "aggregate", "pool", "vector", "embedding"
]
ARRAY_KINDS = frozenset({"conv2d", "depthwise_conv2d", "conv_transpose2d", "linear", "matmul", "aggregate"})


@dataclass(frozen=True, slots=True)
class LoopDims:
    """Loop bounds of a layer; K and C are per group: ``G`` independent problems of K x C x R x S x P x Q.

    ``H`` x ``W`` is the input without padding; ``C`` x ``G`` its channels. For a matmul the weights' place is taken by
    the second activation: heads are groups. Linear layers on sequences have P = tokens. A third spatial axis is part of
    P, R and H (see `accelsim.trace.dims`); what is padded below and to the right follows from P and Q. ``slices`` are
    then the output rows of a slice, the input rows that the next slice is further than the stride says, how many rows
    fewer a window reaches than its dilation says, and the output rows of the first slice that are not there: other
    cores, or earlier stripes, have them.
    """

    N: int = 1
    G: int = 1
    K: int = 1
    C: int = 1
    P: int = 1
    Q: int = 1
    R: int = 1
    S: int = 1
    H: int = 1
    W: int = 1
    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    slices: tuple[int, int, int, int] = (1, 0, 0, 0)

    def start(self, axis: int, output: int) -> int:
        """Return the first input row (axis 0) or column (1) under an output; below 0 it is padded."""
        every, further, _, before = self.slices if axis == 0 else (1, 0, 0, 0)
        return output * self.stride[axis] + (output + before) // every * further - self.padding[axis]

    def span(self, axis: int, taps: int = 0) -> int:
        """Return the input rows or columns from the first to the last that so many taps of a filter read; 0: all."""
        kernel = self.R if axis == 0 else self.S
        spare = self.slices[2] if axis == 0 and taps in (0, kernel) else 0
        return ((taps or kernel) - 1) * self.dilation[axis] + 1 - spare

    @property
    def macs(self) -> int:
        """Return the dense multiply-accumulates."""
        return self.N * self.G * self.K * self.C * self.P * self.Q * self.R * self.S

    @property
    def num_weights(self) -> int:
        """Return the number of weight positions (of the second operand, for a matmul)."""
        return self.G * self.K * self.C * self.R * self.S

    @property
    def num_inputs(self) -> int:
        """Return the number of input activations."""
        return self.N * self.G * self.C * self.H * self.W

    @property
    def num_outputs(self) -> int:
        """Return the number of output activations."""
        return self.N * self.G * self.K * self.P * self.Q


@dataclass(frozen=True, slots=True)
class LayerWeights:
    """The weights of a layer as counts, and the way to the real mask where there is one.

    Attributes
    ----------
    shape
        (G*K, C, R, S), or (K, C) of a linear layer.
    num_kept, num_pruned, num_locked, num_free
        See `accelsim.ticket.model.TicketLayer`; num_kept includes the locked ones. Dense: all kept, none frozen, all
        free.
    source
        How they are regenerated; None if they cannot be.
    codec, codec_bits
        Codec of the ticket and the measured bits of the encoded mask; None for a network without a ticket.
    num_scale_bits
        Bits of scales and normalisation parameters of this layer (the same for every storage format).
    load_mask
        Returns the real mask, bool, of ``shape``; None for synthetic statistics.
    load_sign
        Returns the real integer weights of ``shape`` (+1/-1 for signed constants); None if there are none.
    beside_supermasks
        The layer was trained, or left dense, in a network whose other layers have supermasks: formats of tickets store
        it as dense int8.
    coat_kept
        Multicoated masks: how many free weights each coat after the first keeps; empty where there is one mask.
    pattern
        N and M where a table states that N of each M neighbours along the reduction are kept; else None.
    """

    shape: tuple[int, ...]
    num_kept: int
    num_pruned: int = 0
    num_locked: int = 0
    num_free: int = 0
    source: RandomSource | None = None
    codec: str | None = None
    codec_bits: int | None = None
    num_scale_bits: int = 0
    load_mask: Callable[[], MaskArray] | None = None
    load_sign: Callable[[], npt.NDArray[np.int8]] | None = None
    beside_supermasks: bool = False
    coat_kept: tuple[int, ...] = ()
    pattern: tuple[int, int] | None = None

    @property
    def num_weights(self) -> int:
        """Return the number of weight positions."""
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def sparsity(self) -> float:
        """Return the fraction of zeros k in the final mask."""
        return 1.0 - self.num_kept / self.num_weights


@dataclass(frozen=True, slots=True)
class TraceLayer:
    """One layer: an array operation with what the vector unit does to its outputs, or a vector operation alone.

    Attributes
    ----------
    inputs
        Names of the layers that produce the activations read (``"input"`` is the network's input), those of a matmul's
        second operand behind those of the first.
    residuals
        Names of the layers whose outputs are added (or multiplied) to this layer's outputs in the vector unit.
    post_ops
        Names of the vector operations, in order: ``norm relu add gelu softmax max_pool ...``.
    vector_ops
        Vector operations per layer in total (all outputs).
    num_outputs
        Elements written: after a fused pool fewer than ``dims.num_outputs``.
    input_density
        Fraction of non-zero input activations (1.0 where nothing is known).
    input_density_measured
        Whether it was measured on real data.
    second_input_elements
        Elements of the second activation operand (matmul), else 0; what it repeats counts once.
    input_elements
        Different elements of each of ``inputs`` that the (first) operand consists of: none of a layer that only the
        second operand reads, and what is repeated counts once. Empty: not known, the operand is all of its inputs.
    second_inputs
        Those of ``inputs`` that the second operand consists of; empty: all but the first.
    is_output
        Whether the network returns what the layer makes, so that it is written to memory whoever else reads it.
    weights_of
        The earlier layer whose weights these are (``weights`` are the same): stored there once, fetched here again.
    weight_share
        Fraction of the stored weights that one run fetches, where that is an expectation (experts that a batch hits).
    cached_elements
        The second operand lies in a cache of keys and values: how many of its ``second_input_elements`` earlier runs
        have left there. None: it is no such operand.
    cache_bits
        Bits of a cached element; None: as an activation. Also of what the layer puts into the cache.
    caches
        Whether the outputs go into the cache of keys and values, besides to who reads them.
    cached_outputs
        How many of the outputs do, where queries are made along with keys and values; None: all.
    """

    name: str
    kind: LayerKind
    dims: LoopDims
    inputs: tuple[str, ...]
    residuals: tuple[str, ...] = ()
    post_ops: tuple[str, ...] = ()
    vector_ops: int = 0
    num_outputs: int = 0
    weights: LayerWeights | None = None
    input_density: float = 1.0
    input_density_measured: bool = False
    second_input_elements: int = 0
    input_elements: tuple[int, ...] = ()
    second_inputs: tuple[str, ...] = ()
    is_output: bool = False
    weights_of: str = ""
    weight_share: float | None = None
    cached_elements: int | None = None
    cache_bits: int | None = None
    caches: bool = False
    cached_outputs: int | None = None

    @property
    def second_producers(self) -> tuple[str, ...]:
        """Return the names of the layers that make the second operand of a matmul."""
        return self.second_inputs or self.inputs[1:]

    @property
    def uses_array(self) -> bool:
        """Return whether the layer runs on the PE array."""
        return self.kind in ARRAY_KINDS


Phase = Literal["forward", "prefill", "decode", "generate"]


@dataclass(frozen=True, slots=True)
class Blocks:
    """Equal blocks of a network: ``times`` times ``length`` layers, from layer ``first`` on.

    Each reads the block before it as the second one reads the first, and nothing of earlier blocks.
    """

    first: int
    length: int
    times: int

    @property
    def behind_first(self) -> slice:
        """Return the places of all blocks but the first."""
        return slice(self.first + self.length, self.first + self.times * self.length)


class Steps(Protocol):
    """What a generation consists of, one run after the other; each has the same layers by name."""

    def __len__(self) -> int:
        """Return the number of runs."""
        ...

    def trace(self, place: int, num_blocks: int | None = None) -> LayerTrace:
        """Return a run: the prompt first, then one for each token behind the first of the answer.

        With ``num_blocks``, of a network that has no more blocks.
        """
        ...


@dataclass(frozen=True, slots=True)
class LanguageRun:
    """What is run of a language model.

    Attributes
    ----------
    phase
        ``prefill``: all positions of a prompt; ``decode``: one token; ``generate``: both, up to the end of an answer.
    context_length
        Tokens that the run attends to at its end.
    num_tokens
        Tokens of a sequence that the run works on: of the prompt, one, or those of the answer behind its first.
    cache_elements
        Elements of keys and values at the end, of all sequences.
    cache_bits
        Bits of each; None: as an activation.
    """

    phase: Phase
    context_length: int
    num_tokens: int
    cache_elements: int
    cache_bits: int | None


@dataclass(frozen=True, slots=True)
class LayerTrace:
    """A network ready for mapping.

    ``provenance``, ``dataset``, ``accuracy`` and ``regenerable`` are those of the ticket (a topology without one is
    ``dense`` or ``synthetic``); ``path`` is as given on the command line and ``sha256`` that of the file.
    ``skipped`` are the operations of an exported module that are left out, and how often each occurs; ``remarks`` are
    lines about what was read otherwise than it is written, or not at all, without a loss.
    ``batch`` is how many inputs the layers process at once; None: as many as the largest N among them. ``copies`` is
    how many times as many that is as the workload itself has (`accelsim.trace.batch.with_batch`).
    ``input_shapes`` are the names and full shapes of the inputs, where known. ``num_parameters`` counts weights,
    tables, biases, norms and trained tensors that join the activations, tied ones once; None where the workload does
    not state them all (a topology table).
    ``language`` says what is run of a language model; None for other networks. ``blocks`` are layers that repeat.
    ``steps`` are the runs of a generation, whose ``layers`` are those of its last run. ``part_of`` is the network of
    which these are successive layers, run for themselves: how weights are stored follows from all of it.
    """

    name: str
    layers: tuple[TraceLayer, ...]
    provenance: str
    path: str = ""
    sha256: str = ""
    dataset: str = ""
    accuracy: float | None = None
    regenerable: bool = True
    skipped: tuple[tuple[str, int], ...] = ()
    num_parameters: int | None = None
    remarks: tuple[str, ...] = ()
    batch: int | None = None
    input_shapes: tuple[tuple[str, tuple[int, ...]], ...] = ()
    copies: int = 1
    language: LanguageRun | None = None
    blocks: Blocks | None = None
    steps: Steps | None = None
    part_of: LayerTrace | None = None

    @property
    def alike(self) -> slice:
        """Return the places of layers in blocks behind the first of their like."""
        return slice(0, 0) if self.blocks is None else self.blocks.behind_first

    @property
    def num_inputs(self) -> int:
        """Return how many inputs the layers process at once."""
        return self.batch if self.batch is not None else max((layer.dims.N for layer in self.layers), default=1)


def kept_by_pattern(shape: tuple[int, ...], num_values: int, group_size: int) -> int:
    """Return how many weights of ``shape`` are kept where ``num_values`` of each group along the reduction are."""
    whole, rest = divmod(int(np.prod(shape[1:], dtype=np.int64)), group_size)
    return shape[0] * (whole * num_values + min(rest, num_values))
