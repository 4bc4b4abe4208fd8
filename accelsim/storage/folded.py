"""Hidden-fold networks: the blocks of a stage are iterations of one block, so only one mask is stored for them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from accelsim.storage.base import StoredBits, WeightPlan
from accelsim.storage.slt import SltFormat
from accelsim.trace.model import LayerWeights, TraceLayer

_BLOCK_NAME = re.compile(r"^(?P<stage>.*?)(?P<block>\d+)\.(?P<rest>\D.*)$")


@dataclass(frozen=True, slots=True)
class FoldedFormat:
    """A ticket whose repeated blocks share seed and mask (Lopez-Garcia-Arias et al., BMVC 2021).

    Blocks repeat where layers are called ``STAGE.i.REST`` with equal STAGE, REST and weight shape: the second block of
    a stage stores, the later ones are its iterations (the first has another shape, or is kept apart as in the paper).
    An iteration stores its own normalisation (the paper's unshared batch normalisation), and reads seed and mask again:
    they are in ``fetched_bits``. The paper folds ResNet-50's last two stages; here all stages fold.
    """

    name: str = "folded"
    summary: str = "repeated blocks of a stage share one seed and mask (hidden-fold network)"

    def plan(self, weights: LayerWeights) -> WeightPlan:
        """Return the plan of a layer by itself, which stores its mask; see `plan_layers` for a whole network."""
        return SltFormat(self.name, "").plan(weights)

    def plan_layers(self, layers: Sequence[TraceLayer]) -> tuple[WeightPlan | None, ...]:
        """Return the plan of every layer of a network in order; None for layers without weights."""
        storing: dict[tuple[str, str, tuple[int, ...]], LayerWeights] = {}
        plans: list[WeightPlan | None] = []
        for layer in layers:
            if layer.weights is None:
                plans.append(None)
                continue
            match = _BLOCK_NAME.match(layer.name)
            if match is None or int(match["block"]) == 0:
                plans.append(self.plan(layer.weights))
                continue
            key = (match["stage"], match["rest"], layer.weights.shape)
            first = storing.setdefault(key, layer.weights)
            plan = self.plan(first)
            if first is not layer.weights:
                plan = _iteration(plan, layer.weights)
            plans.append(plan)
        return tuple(plans)


def _iteration(plan: WeightPlan, weights: LayerWeights) -> WeightPlan:
    """Return the plan of a later iteration: it reads the shared bits and its own scales, and stores the latter."""
    own = StoredBits(scale=weights.num_scale_bits)
    return replace(plan, stored_bits=own, fetched_bits=replace(plan.stored_bits, scale=weights.num_scale_bits))


FORMATS = (FoldedFormat(),)
