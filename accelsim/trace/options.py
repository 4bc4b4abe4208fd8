"""What a user may state about a workload that is no ticket."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod

from accelsim.errors import TraceError
from accelsim.prng import RandomSource, RatioDistribution
from accelsim.ticket.statistics import LayerStatistics, TicketStatistics, layer_statistics
from accelsim.trace.batch import batch_problem, with_batch
from accelsim.trace.from_graph import dense_weights
from accelsim.trace.model import LayerTrace, LayerWeights, Phase

PHASE_OPTIONS = ("phase", "context", "prompt", "tokens", "kv_bits", "experts")
"""Options of language models alone."""
PHASES = ("prefill", "decode", "generate")
KV_BITS = (16, 8, 4)
MAX_CONTEXT = 1 << 24
_LEAST = {"context": 0, "prompt": 1, "tokens": 1}


@dataclass(frozen=True, slots=True)
class TraceOptions:
    """Statistics of a synthetic ticket, the size of a network by name, and what is run of a language model.

    Attributes
    ----------
    sparsity
        Fraction of zeros k in the masks; None with zero ratios means a dense network, None with ratios means that what
        is pruned is all that is dropped.
    prune_ratio, lock_ratio
        Fractions of all weights that freezing prunes and locks.
    distribution
        How the ratios are spread over layers.
    seed
        32 bits, not zero; each layer's seed is derived from it.
    num_classes, input_shape, width_factor
        Of a network by name; None takes the network's own.
    ignore_sparsity_column
        Read a topology whose sparsity column states N:M as if it were dense.
    skip_unsupported
        Count operations of an exported module that are not supported and multiply nothing instead of refusing them.
    input_shapes
        Of an exported module: shapes of inputs by name, where ``input_shape`` is that of the first one.
    batch
        How many times the workload's inputs one run takes; of a ticket too.
    phase
        Of a language model: ``prefill``, ``decode`` or ``generate``; None takes the first.
    context
        Tokens in the cache before the one that is decoded; of a prefill the tokens of the prompt.
    prompt, tokens
        Of a generation: tokens of the prompt and of the answer; a prefill takes the former too.
    kv_bits
        Bits of a cached key or value: 16, 8 or 4; None: as an activation.
    experts
        The experts that are hit, of each mixture; None: as many as expected.
    """

    sparsity: float | None = None
    prune_ratio: float = 0.0
    lock_ratio: float = 0.0
    distribution: RatioDistribution = "uniform"
    seed: int = 1
    num_classes: int | None = None
    input_shape: tuple[int, ...] | None = None
    width_factor: float = 1.0
    ignore_sparsity_column: bool = False
    skip_unsupported: bool = False
    input_shapes: tuple[tuple[str, tuple[int, ...]], ...] = ()
    batch: int = 1
    phase: Phase | None = None
    context: int | None = None
    prompt: int | None = None
    tokens: int | None = None
    kv_bits: int | None = None
    experts: tuple[int, ...] | None = None

    @property
    def of_network(self) -> TraceOptions:
        """Return what they say of the network itself, without what is run of it."""
        return replace(self, batch=1, phase=None, context=None, prompt=None, tokens=None, kv_bits=None, experts=None)

    @property
    def says_only_run(self) -> bool:
        """Return whether they say only what is run of the workload, nothing of the workload itself."""
        return self.of_network == TraceOptions()

    @property
    def are_of_run(self) -> bool:
        """Return whether they say only how large the batch of a run is."""
        return replace(self, batch=1) == TraceOptions()

    @property
    def is_synthetic(self) -> bool:
        """Return whether a ticket's statistics are stated."""
        return self.sparsity is not None or self.prune_ratio > 0 or self.lock_ratio > 0

    @property
    def statistics(self) -> TicketStatistics:
        """Return the stated statistics."""
        sparsity = self.prune_ratio if self.sparsity is None else self.sparsity
        return TicketStatistics(sparsity, self.prune_ratio, self.lock_ratio, self.distribution, self.seed)

    def check(self) -> None:
        """Raise `TraceError` for ratios that no mask can have, and for what is no batch."""
        of_phase = {name: getattr(self, name) for name in PHASE_OPTIONS if getattr(self, name) is not None}
        problem = self.statistics.problem() or batch_problem(self.batch) or phase_problem(of_phase)
        if problem:
            raise TraceError(problem)


def phase_problem(given: Mapping[str, object]) -> str | None:
    """Return what is wrong with options of a language model by name, or None."""
    for name, value in given.items():
        if name == "phase" and value not in PHASES:
            return f"phase: {value} is not one of {', '.join(PHASES)}; give one of them"
        if name == "kv_bits" and value not in KV_BITS:
            return f"kv_bits: {value} is not one of {', '.join(map(str, KV_BITS))}; give one of them"
        if name in _LEAST:
            is_whole = isinstance(value, int) and not isinstance(value, bool) and _LEAST[name] <= value <= MAX_CONTEXT
            if not is_whole:
                wanted = f"a whole number from {_LEAST[name]} to {MAX_CONTEXT}"
                return f"{name}: {value} is not {wanted}; give a number of tokens"
    return None


def refuse_phase(where: str, options: TraceOptions, but: tuple[str, ...] = ()) -> None:
    """Raise `TraceError` where phases are stated of a network that has none; options ``but`` these."""
    for name in PHASE_OPTIONS:
        if getattr(options, name) is not None and name not in but:
            raise TraceError(
                f"{where}: --{name.replace('_', '-')}: only a language model by name, its config.json, or a decoder's "
                "ticket has phases; leave the option out"
            )


def stated_weights(shapes: Sequence[tuple[int, ...]], options: TraceOptions) -> tuple[LayerWeights, ...]:
    """Return the weights of layers with the stated statistics, or dense ones; no mask exists.

    Raises
    ------
    TraceError
        The statistics are impossible.
    """
    options.check()
    if not options.is_synthetic:
        return tuple(dense_weights(shape) for shape in shapes)
    statistics = options.statistics
    layers = layer_statistics(shapes, statistics, RandomSource())
    return tuple(_stated(shape, layer, statistics) for shape, layer in zip(shapes, layers, strict=True))


def with_statistics(trace: LayerTrace, options: TraceOptions) -> LayerTrace:
    """Return a dense trace with the stated statistics of a ticket; no mask exists. Of a ticket's, the batch alone.

    Raises
    ------
    TraceError
        The trace is that of a ticket, the statistics are impossible, or an option shapes a network, which is traced.
    """
    if options.are_of_run:
        return with_batch(trace, options.batch)
    if trace.provenance != "dense":
        raise TraceError(f"options: {trace.name} has statistics of its own ({trace.provenance}); leave them out")
    shaping = [
        name
        for name in (
            "num_classes",
            "input_shape",
            "input_shapes",
            "width_factor",
            "ignore_sparsity_column",
            "skip_unsupported",
            *PHASE_OPTIONS,
        )
        if getattr(options, name) != getattr(TraceOptions(), name)
    ]
    if shaping:
        raise TraceError(f"options: {shaping[0]}: the trace has its own; state it where the trace is made")
    options.check()
    if not options.is_synthetic:
        return with_batch(trace, options.batch)
    known = {layer.name: layer.weights for layer in trace.layers if layer.weights is not None and not layer.weights_of}
    multiplied = {layer.weights_of for layer in trace.layers if layer.uses_array}
    tables = {layer.name for layer in trace.layers if layer.kind == "embedding"} - multiplied  # no mask covers these
    masked = [name for name in known if name not in tables]
    found = {name: replace(weights, beside_supermasks=True) for name, weights in known.items() if name in tables}
    for name, stated in zip(masked, stated_weights([known[name].shape for name in masked], options), strict=True):
        found[name] = replace(stated, num_scale_bits=known[name].num_scale_bits)
    layers = tuple(replace(layer, weights=found.get(layer.weights_of or layer.name)) for layer in trace.layers)
    return with_batch(replace(trace, layers=layers, provenance="synthetic"), options.batch)


def _stated(shape: tuple[int, ...], layer: LayerStatistics, statistics: TicketStatistics) -> LayerWeights:
    count = prod(shape)
    num_locked = round(layer.lock_ratio * count)
    num_pruned = min(round(layer.prune_ratio * count), count - num_locked)
    num_free = count - num_pruned - num_locked
    return replace(
        dense_weights(shape),
        num_kept=num_locked + round(statistics.free_density * num_free),
        num_pruned=num_pruned,
        num_locked=num_locked,
        num_free=num_free,
        source=layer.source,
    )
