"""What is run of a language model: the options of a user, checked against the model, as a trace."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from accelsim.errors import TraceError
from accelsim.ticket.zoo.decoders import DecoderShape, num_parameters
from accelsim.trace.batch import MAX_MACS
from accelsim.trace.decoder import DecoderRun, decoder_layers, decoder_weights
from accelsim.trace.model import LanguageRun, LayerTrace, Phase, TraceLayer
from accelsim.trace.options import PHASE_OPTIONS, TraceOptions

_SHAPING = ("num_classes", "input_shape", "input_shapes", "width_factor", "ignore_sparsity_column", "skip_unsupported")


def with_cache_bits(trace: LayerTrace, bits: int | None, where: str) -> LayerTrace:
    """Return an exported decoder whose cached keys and values have ``bits`` each; None leaves them as activations.

    Raises
    ------
    TraceError
        It has no cache as input and output.
    """
    if bits is None:
        return trace
    if not any(layer.caches for layer in trace.layers):
        raise TraceError(f"{where}: --kv-bits: none of its inputs is a cache that it returns; leave the option out")
    return replace(
        trace,
        layers=tuple(
            replace(layer, cache_bits=bits) if layer.caches or layer.cached_elements is not None else layer
            for layer in trace.layers
        ),
    )


def refuse_phase(where: str, options: TraceOptions, but: tuple[str, ...] = ()) -> None:
    """Raise `TraceError` where phases are stated of a network that has none; options ``but`` these."""
    for name in PHASE_OPTIONS:
        if getattr(options, name) is not None and name not in but:
            raise TraceError(
                f"{where}: --{name.replace('_', '-')}: only a language model by name or config.json has phases; "
                "leave the option out"
            )


def trace_decoder(shape: DecoderShape, options: TraceOptions, where: str) -> LayerTrace:
    """Return the trace of a language model in the phase that ``options`` state, by default a prefill of its context.

    Parameters
    ----------
    where
        What the user called it, for errors.

    Raises
    ------
    TraceError
        An option that the model or the phase does not have, or a context beyond the model's.
    """
    options.check()
    for name in _SHAPING:
        if getattr(options, name) != getattr(TraceOptions(), name):
            option = name.removesuffix("s") if name == "input_shapes" else name
            raise TraceError(
                f"{where}: --{option.replace('_', '-')}: a language model has its own sizes; leave the option out, or "
                "state other ones in a config.json"
            )
    phase: Phase = options.phase or "prefill"
    _refuse_others(where, phase, options)
    stated = replace(options, phase=None, context=None, prompt=None, tokens=None, kv_bits=None, experts=None, batch=1)
    model = _Model(shape, stated, options.batch, options.kv_bits, _experts(where, shape, options))
    if phase == "generate":
        prompt, tokens = _given(where, options, "prompt"), _given(where, options, "tokens")
        _check_context(where, shape, prompt + tokens - 1, f"--prompt {prompt} with --tokens {tokens}")
        return _generation(model, prompt, tokens)
    if phase == "decode":
        context = shape.context - 1 if options.context is None else options.context
        _check_context(where, shape, context + 1, f"--context {context} with the token behind it")
        trace = model.trace("decode", context, 1)
    else:
        name = "context" if options.prompt is None else "prompt"
        stated_length = options.context if options.prompt is None else options.prompt
        length = shape.context if stated_length is None else stated_length
        if length < 1:
            raise TraceError(f"{where}: --{name}: {length} is not >= 1; give the tokens of the prompt")
        _check_context(where, shape, length, f"--{name} {length}")
        trace = model.trace("prefill", 0, length)
    macs = sum(layer.dims.macs for layer in trace.layers if layer.uses_array)
    if macs > MAX_MACS:
        raise TraceError(f"{where}: batch: {options.batch} sequences have {macs} MACs; give a smaller batch")
    return trace


def _refuse_others(where: str, phase: Phase, options: TraceOptions) -> None:
    allowed = {"prefill": {"context", "prompt"}, "decode": {"context"}, "generate": {"prompt", "tokens"}}[phase]
    for name in ("context", "prompt", "tokens"):
        if name not in allowed and getattr(options, name) is not None:
            others = " and ".join(f"--{each}" for each in sorted(allowed))
            raise TraceError(f"{where}: --{name}: phase {phase} does not take it; give {others}")
    if phase == "prefill" and options.context is not None and options.prompt is not None:
        raise TraceError(f"{where}: --prompt: phase prefill begins with an empty cache; give either it or --context")


def _given(where: str, options: TraceOptions, name: str) -> int:
    value: int | None = getattr(options, name)
    if value is None:
        raise TraceError(f"{where}: --{name}: phase generate needs it; give --prompt and --tokens")
    return value


def _check_context(where: str, shape: DecoderShape, positions: int, what: str) -> None:
    if positions > shape.context:
        raise TraceError(
            f"{where}: {what}: {positions} positions are more than the {shape.context} of {shape.name}; give fewer"
        )


def _experts(where: str, shape: DecoderShape, options: TraceOptions) -> tuple[int, ...] | None:
    """Return the experts that are named, in order."""
    named = options.experts
    if named is None:
        return None
    number, active = shape.num_experts, shape.num_active_experts
    if not number:
        raise TraceError(f"{where}: --experts: {shape.name} has no experts; leave the option out")
    for expert in named:
        if not 0 <= expert < number:
            raise TraceError(f"{where}: --experts: {expert} is not from 0 to {number - 1}; {shape.name} has {number}")
    if len(set(named)) < len(named):
        raise TraceError(f"{where}: --experts: {named} names one twice; name each once")
    most = min(number, active * options.batch) if options.phase == "decode" else number
    if not active <= len(named) <= most:
        raise TraceError(
            f"{where}: --experts: {len(named)} are not {active} to {most}, which is what the tokens of one step hit; "
            "name as many"
        )
    return tuple(sorted(named))


@dataclass(frozen=True, slots=True)
class _Model:
    """A model as it is run, but for the phase."""

    shape: DecoderShape
    options: TraceOptions
    batch: int
    cache_bits: int | None
    experts: tuple[int, ...] | None
    known: dict[str, TraceLayer] = field(default_factory=dict, compare=False, repr=False)
    """The last layer of each name: those of the tokens of an answer are the same objects, but for attention."""

    def trace(
        self,
        phase: Phase,
        context: int,
        num_positions: int,
        capacity: int | None = None,
        num_blocks: int | None = None,
    ) -> LayerTrace:
        """Return the trace of a run.

        Parameters
        ----------
        capacity
            Positions for which a cache is held, where that is more.
        num_blocks
            The blocks that the trace has, where that is fewer; the cache is that of all.
        """
        shape, end = self.shape, context + num_positions
        experts = self.experts
        if experts is not None and phase == "prefill" and num_positions * shape.num_active_experts < len(experts):
            experts = None
        run = DecoderRun(self.batch, context, num_positions, self.cache_bits, experts)
        made = shape if num_blocks is None else replace(shape, num_blocks=min(num_blocks, shape.num_blocks))
        layers, blocks = decoder_layers(made, run, decoder_weights(shape, self.options), self.known)
        held = min(capacity or end, shape.window or (1 << 62))
        language = LanguageRun(phase, end, num_positions, self.batch * shape.cached_per_token * held, self.cache_bits)
        return LayerTrace(
            shape.name,
            layers,
            "synthetic" if self.options.is_synthetic else "dense",
            num_parameters=self._num_parameters(),
            batch=self.batch,
            input_shapes=(("", (self.batch, num_positions)),),
            language=language,
            blocks=blocks,
        )

    def _num_parameters(self) -> int:
        """Return the parameters; a network with stated sparsity has neither biases nor norms with trained numbers."""
        if not self.options.is_synthetic:
            return num_parameters(self.shape)
        return sum(weights.num_weights for weights in decoder_weights(self.shape, self.options).values())


@dataclass(frozen=True, slots=True)
class _Generation:
    """The runs of a generation: the prompt, whose last position makes the first token, and one for each further one."""

    model: _Model
    prompt: int
    tokens: int

    def __len__(self) -> int:
        """Return the number of runs."""
        return self.tokens

    def trace(self, place: int, num_blocks: int | None = None) -> LayerTrace:
        """Return a run."""
        capacity = self.prompt + self.tokens - 1
        if not place:
            return self.model.trace("prefill", 0, self.prompt, capacity, num_blocks)
        return self.model.trace("decode", self.prompt + place - 1, 1, capacity, num_blocks)


def _generation(model: _Model, prompt: int, tokens: int) -> LayerTrace:
    steps = _Generation(model, prompt, tokens)
    last = steps.trace(tokens - 1)
    assert last.language is not None  # every trace of a model has one
    language = replace(last.language, phase="generate", num_tokens=tokens - 1)
    return replace(last, language=language, steps=steps, input_shapes=(("", (model.batch, prompt)),))
