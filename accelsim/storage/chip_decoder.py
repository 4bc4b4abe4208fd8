"""A format on the decoder that the chip's description states, not on one that fits it: ``entropy-int4@chip``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from accelsim.storage.base import StorageFormat, WeightPlan, planned
from accelsim.trace.model import LayerWeights, TraceLayer

STATED = "@chip"


def is_as_stated(storage: str) -> bool:
    """Return whether the format called ``storage`` keeps the chip's decoder as it is stated."""
    return storage.endswith(STATED)


@dataclass(frozen=True, slots=True)
class StatedDecoderFormat:
    """The format ``base``; that the decoder stays as it is stated is read from the name (`accelsim.rivals`)."""

    base: StorageFormat

    @property
    def name(self) -> str:
        """The name that ``--storage`` takes."""
        return f"{self.base.name}{STATED}"

    @property
    def summary(self) -> str:
        """One line for lists."""
        return f"{self.base.summary}; the chip's decoder as it is"

    def plan(self, weights: LayerWeights) -> WeightPlan:
        """Return the plan of a layer."""
        return self.base.plan(weights)

    def plan_layers(self, layers: Sequence[TraceLayer]) -> tuple[WeightPlan | None, ...]:
        """Return the plan of every layer in order."""
        return planned(self.base, layers)
