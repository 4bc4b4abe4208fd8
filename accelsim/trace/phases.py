"""What is run of a language model: the options of a user, checked against the model, as a trace."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Protocol

from accelsim.errors import TraceError
from accelsim.ticket.zoo.decoders import DecoderShape, num_parameters
from accelsim.trace.batch import MAX_MACS
from accelsim.trace.decoder import DecoderRun, decoder_layers, decoder_weights
from accelsim.trace.decoder_ticket import DecoderTicket, ticket_layers
from accelsim.trace.model import Blocks, LanguageRun, LayerTrace, Phase, TraceLayer
from accelsim.trace.options import TraceOptions

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
    return _trace(_Shape(shape, options.of_network), options, where)


def trace_decoder_ticket(ticket: DecoderTicket, options: TraceOptions, where: str) -> LayerTrace:
    """Return the trace of a decoder's ticket in the phase that ``options`` state; else as `trace_decoder`."""
    options.check()
    return _trace(_Ticket(ticket), options, where)


class _Network(Protocol):
    """A language model: what is fixed of it, and its layers for a run."""

    @property
    def name(self) -> str:
        """Return its name."""
        ...

    @property
    def most_positions(self) -> int:
        """Return the positions that it was made for."""
        ...

    @property
    def window(self) -> int | None:
        """Return the positions that a token attends to at the most; None: all."""
        ...

    @property
    def cached_per_token(self) -> int:
        """Return the elements that a token leaves in the cache."""
        ...

    @property
    def bare(self) -> LayerTrace:
        """Return a trace without layers that says where the weights come from."""
        ...

    @property
    def experts(self) -> tuple[int, int]:
        """Return the experts of each mixture, and how many a token goes to; 0 without mixtures."""
        ...

    def layers(
        self, run: DecoderRun, num_blocks: int | None, known: dict[str, TraceLayer]
    ) -> tuple[tuple[TraceLayer, ...], Blocks | None]:
        """Return the layers of a run, of no more than so many blocks, and which of them repeat."""
        ...


@dataclass(frozen=True, slots=True)
class _Shape:
    """A model by its sizes."""

    shape: DecoderShape
    options: TraceOptions

    @property
    def name(self) -> str:
        return self.shape.name

    @property
    def most_positions(self) -> int:
        return self.shape.context

    @property
    def window(self) -> int | None:
        return self.shape.window

    @property
    def cached_per_token(self) -> int:
        return self.shape.cached_per_token

    @property
    def bare(self) -> LayerTrace:
        provenance = "synthetic" if self.options.is_synthetic else "dense"
        return LayerTrace(self.shape.name, (), provenance, num_parameters=self._num_parameters())

    def _num_parameters(self) -> int:
        """Return the parameters; a network with stated sparsity has neither biases nor norms with trained numbers."""
        if not self.options.is_synthetic:
            return num_parameters(self.shape)
        return sum(weights.num_weights for weights in decoder_weights(self.shape, self.options).values())

    @property
    def experts(self) -> tuple[int, int]:
        return self.shape.num_experts, self.shape.num_active_experts

    def layers(
        self, run: DecoderRun, num_blocks: int | None, known: dict[str, TraceLayer]
    ) -> tuple[tuple[TraceLayer, ...], Blocks | None]:
        shape = self.shape
        made = shape if num_blocks is None else replace(shape, num_blocks=min(num_blocks, shape.num_blocks))
        return decoder_layers(made, run, decoder_weights(shape, self.options), known)


@dataclass(frozen=True, slots=True)
class _Ticket:
    """A ticket; its blocks have masks of their own, and none is a copy of another."""

    ticket: DecoderTicket

    @property
    def name(self) -> str:
        return self.ticket.trace.name

    @property
    def most_positions(self) -> int:
        return self.ticket.num_positions

    @property
    def window(self) -> None:
        return None

    @property
    def cached_per_token(self) -> int:
        return self.ticket.cached_per_token

    @property
    def bare(self) -> LayerTrace:
        return replace(self.ticket.trace, layers=())

    @property
    def experts(self) -> tuple[int, int]:
        return 0, 0

    def layers(
        self, run: DecoderRun, num_blocks: int | None, known: dict[str, TraceLayer]
    ) -> tuple[tuple[TraceLayer, ...], Blocks | None]:
        return ticket_layers(self.ticket, run, known), None


def _trace(network: _Network, options: TraceOptions, where: str) -> LayerTrace:
    phase: Phase = options.phase or "prefill"
    _refuse_others(where, phase, options)

    def model(fewest_positions: int) -> _Model:
        experts = _experts(where, network, options.experts, options.batch * fewest_positions)
        return _Model(network, options.batch, options.kv_bits, experts)

    if phase == "generate":
        prompt, tokens = _given(where, options, "prompt"), _given(where, options, "tokens")
        _check_context(where, network, prompt + tokens - 1, f"--prompt {prompt} with --tokens {tokens}")
        trace = _generation(model(prompt if tokens == 1 else 1), prompt, tokens)
    elif phase == "decode":
        context = network.most_positions - 1 if options.context is None else options.context
        _check_context(where, network, context + 1, f"--context {context} with the token behind it")
        trace = model(1).trace("decode", context, 1)
    else:
        context, length = _prompt(where, network, options)
        trace = model(length).trace("prefill", context, length)
    macs = sum(layer.dims.macs for layer in trace.layers if layer.uses_array)
    if macs > MAX_MACS:
        raise TraceError(f"{where}: batch: {options.batch} sequences have {macs} MACs; give a smaller batch")
    return trace


def _prompt(where: str, network: _Network, options: TraceOptions) -> tuple[int, int]:
    """Return the tokens in the cache before a prompt, and those of the prompt; of one number given the latter."""
    if options.context is not None and options.prompt is not None:
        total = options.context + options.prompt
        _check_context(where, network, total, f"--context {options.context} with --prompt {options.prompt}")
        return options.context, options.prompt
    name = "context" if options.prompt is None else "prompt"
    stated = options.context if options.prompt is None else options.prompt
    length = network.most_positions if stated is None else stated
    if length < 1:
        raise TraceError(f"{where}: --{name}: {length} is not >= 1; give the tokens of the prompt")
    _check_context(where, network, length, f"--{name} {length}")
    return 0, length


def _refuse_others(where: str, phase: Phase, options: TraceOptions) -> None:
    allowed = {"prefill": {"context", "prompt"}, "decode": {"context"}, "generate": {"prompt", "tokens"}}[phase]
    for name in ("context", "prompt", "tokens"):
        if name not in allowed and getattr(options, name) is not None:
            others = " and ".join(f"--{each}" for each in sorted(allowed))
            raise TraceError(f"{where}: --{name}: phase {phase} does not take it; give {others}")


def _given(where: str, options: TraceOptions, name: str) -> int:
    value: int | None = getattr(options, name)
    if value is None:
        raise TraceError(f"{where}: --{name}: phase generate needs it; give --prompt and --tokens")
    return value


def _check_context(where: str, network: _Network, positions: int, what: str) -> None:
    if positions > network.most_positions:
        raise TraceError(
            f"{where}: {what}: {positions} positions are more than the {network.most_positions} of {network.name}; "
            "give fewer"
        )


def _experts(
    where: str, network: _Network, named: tuple[int, ...] | None, fewest_tokens: int
) -> tuple[int, ...] | None:
    """Return the experts that are named, in order; the step of ``fewest_tokens`` must be able to hit them all."""
    if named is None:
        return None
    number, active = network.experts
    if not number:
        raise TraceError(f"{where}: --experts: {network.name} has no experts; leave the option out")
    for expert in named:
        if not 0 <= expert < number:
            raise TraceError(f"{where}: --experts: {expert} is not from 0 to {number - 1}; {network.name} has {number}")
    if len(set(named)) < len(named):
        raise TraceError(f"{where}: --experts: {','.join(map(str, named))} names one twice; name each once")
    most = min(number, active * fewest_tokens)
    if not active <= len(named) <= most:
        raise TraceError(
            f"{where}: --experts: {len(named)} named, and the tokens of one step hit "
            f"{active if active == most else f'{active} to {most}'}; name as many"
        )
    return tuple(sorted(named))


@dataclass(frozen=True, slots=True)
class _Model:
    """A model as it is run, but for the phase."""

    network: _Network
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
        network, end = self.network, context + num_positions
        run = DecoderRun(self.batch, context, num_positions, self.cache_bits, self.experts)
        layers, blocks = network.layers(run, num_blocks, self.known)
        held = min(capacity or end, network.window or (1 << 62))
        elements = self.batch * network.cached_per_token * held
        return replace(
            network.bare,
            layers=layers,
            batch=self.batch,
            copies=1,
            input_shapes=(("", (self.batch, num_positions)),),
            language=LanguageRun(phase, end, num_positions, elements, self.cache_bits),
            blocks=blocks,
        )


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
