"""What a search is told."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from accelsim.config.base import ConfigModel
from accelsim.prng import GeneratorKind, RatioDistribution, SeedPolicy, StreamGranularity, WeightDistribution
from accelsim.ticket.model import MaskCodec

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
ThresholdScope = Literal["layer", "network"]
ScalingRule = Literal["none", "static", "dynamic"]
Precision = Literal["float32", "bfloat16"]
ActivationRule = Literal["network", "sign"]
OptimizerName = Literal["sgd", "adam"]
Learned = Literal["mask", "weights"]
QueryKeyScale = Literal["none", "head"]
COATS = (1, 2, 3, 7)
MeasuredOn = Literal["test", "validation"]
ScoreRank = Literal["magnitude", "value"]


class SearchConfig(ConfigModel):
    """A search for a partially frozen strong lottery ticket."""

    network: str = "resnet18"
    """A network of the zoo; images are 3x32x32."""
    dataset: Literal["digits", "blocks", "kjv"] = "digits"
    """The MNIST digits for networks on images, a generated graph (stochastic block model) for networks on graphs, or
    the King James Bible, character by character, for decoders."""
    measured_on: MeasuredOn = "test"
    """What accuracy is measured on: the test part, or a fifth of the training part that is then not searched on. Choose
    settings on ``validation``."""
    learned: Learned = "mask"
    """What is learned: the supermask of random weights, or, to hold tickets against, the weights, all of them kept."""
    width_factor: Annotated[float, Field(gt=0.0, le=64.0)] = 1.0
    """Multiplies the hidden channels."""
    sparsity: Fraction = 0.7
    """Fraction of zeros k in the final mask."""
    prune_ratio: Fraction = 0.0
    """Fraction p of all weights that freezing prunes."""
    lock_ratio: Fraction = 0.0
    """Fraction r of all weights that freezing locks."""
    distribution: RatioDistribution = "uniform"
    """How p and r are spread over layers."""
    threshold_scope: ThresholdScope = "layer"
    """Whether each layer keeps its own fraction, or the network's best scores win wherever they are."""
    coats: Annotated[int, Field(ge=1, le=7)] = 1
    """Nested masks of a layer, summed (multicoated supermasks): 1, 2, 3 or 7. Each keeps the fraction 1 - sparsity of
    the free weights that the one before keeps."""
    score_rank: ScoreRank = "value"
    """What of a score the threshold compares: its value, or its magnitude, as published edge-popup code does."""
    scaling: ScalingRule = "dynamic"
    """Scaling of kept weights: 1/sqrt of the kept fraction wanted (static), or of the layer's present one (dynamic)."""
    generator: GeneratorKind = "xorshift32"
    """Weight generator."""
    stream: StreamGranularity = "filter"
    """Granularity of the random streams."""
    seeds: SeedPolicy = "derived"
    """Where the seeds of the streams come from."""
    weights: WeightDistribution = "signed_constant"
    """Distribution of the random weights; all have the Kaiming deviation sqrt(2 / fan in). The fan in of a decoder's
    embedding is 2: so many of its inputs are ones."""
    query_key_scale: QueryKeyScale = "head"
    """Of a decoder: ``head`` multiplies W_Q and W_K by the fourth root of the head size, ``none`` leaves them."""
    weight_bits: Annotated[int, Field(ge=1, le=16)] = 1
    """Bits of a field of a weight; 1 for a signed constant."""
    normal_terms: Annotated[int, Field(ge=1, le=64)] = 4
    """Fields summed for one weight where ``weights`` is ``normal``."""
    tile_filters: Annotated[int, Field(ge=1)] = 1
    """Filters per stream where ``stream`` is ``tile``."""
    threshold_bits: Annotated[int, Field(ge=1, le=32)] = 16
    """Bits of a freezing word."""
    activations: ActivationRule = "network"
    """The network's own activations, or the signs of what would enter them (binary-activation multi-prize tickets)."""
    codec: MaskCodec = "raw"
    """Codec of the stored mask."""
    num_epochs: Annotated[int, Field(ge=1)] = 20
    """Passes over the training data; of a text 8,192 windows of 128 characters each."""
    batch_size: Annotated[int, Field(ge=1)] = 64
    """Images, or windows of a text, per step."""
    optimizer: OptimizerName = "sgd"
    """Stochastic gradient descent with momentum, or Adam with decoupled weight decay."""
    learning_rate: Annotated[float | None, Field(gt=0.0)] = None
    """Learning rate of the scores at the start; falls to 0 along a half cosine. None: 0.4 for a network with sums of
    branches, as a ResNet has, else 0.1; with Adam 0.01."""
    momentum: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.9
    """Momentum of stochastic gradient descent, and of Adam's first moment."""
    weight_decay: Annotated[float, Field(ge=0.0)] = 1e-4
    """Weight decay of the scores."""
    max_shift: Annotated[int, Field(ge=0, le=8)] = 2
    """Training images are shifted at random by up to this many pixels; 0 leaves them as they are."""
    precision: Precision = "bfloat16"
    """Arithmetic of the search; accuracy is always measured in float32 on the ticket as stored."""
    seed: Annotated[int, Field(ge=0, le=2**32 - 1)] = 1
    """Seed of everything: weights, freezing, first scores, order of the images."""
    output_path: str | None = None
    """Where the ticket is written; None writes none."""
    checkpoint_path: str | None = None
    """Where the state is written after every epoch and stays; None: beside the ticket until the search is done."""

    @model_validator(mode="after")
    def _check_ratios(self) -> Self:
        if self.weights == "signed_constant" and self.weight_bits != 1:
            raise ValueError(
                f"weight_bits {self.weight_bits} is not 1, all that signed_constant has; use weights uniform"
            )
        if self.coats not in COATS:
            raise ValueError(f"coats {self.coats} is not 1, 2, 3 or 7, for which there are storage formats; use one")
        if self.coats > 1 and self.codec != "raw":
            raise ValueError(f"codec {self.codec} is not raw, how several coats are stored; use codec raw or coats 1")
        freeze = self.prune_ratio + self.lock_ratio
        if freeze > 1.0 + 1e-9:
            raise ValueError(f"prune_ratio + lock_ratio = {freeze:g} is not <= 1; lower one of them")
        # Realised ratios are binomial around p and r, so a few weights over are no contradiction.
        if self.prune_ratio > self.sparsity + 1e-9:
            raise ValueError(
                f"prune_ratio {self.prune_ratio:g} is not <= sparsity {self.sparsity:g}; lower it or raise sparsity"
            )
        if self.lock_ratio > 1.0 - self.sparsity + 1e-9:
            raise ValueError(
                f"lock_ratio {self.lock_ratio:g} is not <= 1 - sparsity = {1 - self.sparsity:g}; lower it or sparsity"
            )
        return self

    def checkpoint_place(self) -> str | None:
        """Return where checkpoints go: ``checkpoint_path``, else ``output_path`` with ``.ckpt`` added, else nowhere."""
        if self.checkpoint_path is None and self.output_path is not None:
            return f"{self.output_path}.ckpt"
        return self.checkpoint_path

    def command(self) -> str:
        """Return the command line that repeats this search: every option that is not its default."""
        words = ["accelsim", "search", self.network]
        for name, field in type(self).model_fields.items():
            value = getattr(self, name)
            if name not in ("network", "output_path", "checkpoint_path") and value != field.default:
                words += [f"--{name.replace('_', '-')}", f"{value}"]
        if self.output_path is not None:
            words += ["--out", self.output_path]
        return " ".join(words)
