"""Stages of a pipeline: runs of neighbouring layers, one a core, and which maps stay in the stages' own buffers."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

from accelsim.mapping.fusion import FusedGroup
from accelsim.mapping.residency import Residency, Together, last_uses, output_elements
from accelsim.trace.model import LayerTrace
from accelsim.units import bits_to_bytes


def balanced(cycles: Sequence[float], num_stages: int) -> list[int]:
    """Return the stage of each layer, such that the longest of at most ``num_stages`` runs of layers is shortest."""
    number, upto = len(cycles), [0.0, *accumulate(cycles)]
    stages = min(num_stages, number)
    longest = list(upto)  # of the first layers in one stage
    first_of: list[list[int]] = []
    for _ in range(1, stages):
        found, cuts = [0.0], [0]
        for behind in range(1, number + 1):
            options = ((max(longest[cut], upto[behind] - upto[cut]), cut) for cut in range(behind))
            best, cut = min(options)
            found.append(best)
            cuts.append(cut)
        longest = found
        first_of.append(cuts)
    stage_of, behind = [0] * number, number
    for stage, cuts in reversed(list(enumerate(first_of, 1))):
        stage_of[cuts[behind] : behind] = [stage] * (behind - cuts[behind])
        behind = cuts[behind]
    used = {stage: place for place, stage in enumerate(dict.fromkeys(stage_of))}
    return [used[stage] for stage in stage_of]


def balanced_groups(cycles: Sequence[float], num_stages: int, groups: Sequence[FusedGroup]) -> list[int]:
    """Return what `balanced` does of layers of which some are fused: all layers of a group are in one stage."""
    first = {place: group.first for group in groups for place in group.places}
    units = [first.get(place, place) for place in range(len(cycles))]
    sums = dict.fromkeys(units, 0.0)
    for unit, count in zip(units, cycles, strict=True):
        sums[unit] += count
    stage = dict(zip(sums, balanced(list(sums.values()), num_stages), strict=True))
    return [stage[unit] for unit in units]


def copies_of(trace: LayerTrace, stage_of: Sequence[int]) -> dict[str, int]:
    """Return for each map that later stages read how many of it are there at a time, of as many inputs.

    One is being written; each further stage that it is kept for has one of an earlier input.
    """
    last = last_uses(trace)
    spans = {
        layer.name: stage_of[last[layer.name]] - stage_of[place]
        for place, layer in enumerate(trace.layers)
        if layer.name in last
    }
    return {name: span + 1 for name, span in spans.items() if span}


def second_operands(trace: LayerTrace) -> frozenset[str]:
    """Return the maps that products of two activations read as their second operand: in rows, not in tiles."""
    return frozenset(name for layer in trace.layers if layer.second_input_elements for name in layer.second_producers)


def beside_dram(trace: LayerTrace, on_chip: frozenset[str]) -> frozenset[str]:
    """Return the maps on chip that some layer reads together with one that is in DRAM.

    Its tiles come in one piece, from the memory or from other cores.
    """
    every = [group for layer in trace.layers for group in (layer.inputs, layer.residuals)]
    mixed = (frozenset(group) for group in every if 0 < len(on_chip & set(group)) < len(set(group)))
    return on_chip & frozenset(name for group in mixed for name in group)


def stage_residency(
    trace: LayerTrace,
    stage_of: Sequence[int],
    activation_bits: int,
    capacity_bytes: int,
    banned: frozenset[str] = frozenset(),
    together: Sequence[Together] = (),
) -> Residency:
    """Keep maps on chip, first come first served, while three quarters of a stage's buffer suffice.

    A map that its own stage reads stays until its last reader; one that later stages read has a place for each of its
    copies in the buffer of the stage that makes it, all the time. As with one core, a quarter is left for tiles.

    Parameters
    ----------
    capacity_bytes
        What each stage has.
    banned
        Maps that go to DRAM: those that later stages cannot read, and those that others have no room beside.
    together
        Layers of a stage that run as one; what lies between them is never whole.
    """
    last, copies = last_uses(trace), copies_of(trace, stage_of)
    limit = capacity_bytes - capacity_bytes // 4
    held, first, behind = [0] * len(trace.layers), list(range(len(trace.layers))), list(range(len(trace.layers)))
    for group in together:
        for place in range(group.first, group.stop):
            held[place], first[place], behind[place] = group.held_bytes, group.first, group.stop - 1
        banned |= group.inside
    taken = list(held)
    kept: set[str] = set()
    for position, layer in enumerate(trace.layers):
        size = bits_to_bytes(output_elements(layer) * activation_bits) * copies.get(layer.name, 1)
        if layer.name not in last or layer.name in banned:
            continue
        live = [place for place, stage in enumerate(stage_of) if stage == stage_of[position]]
        if layer.name not in copies:
            live = list(range(first[position], behind[last[layer.name]] + 1))
        if all(taken[place] + size <= limit for place in live):
            kept.add(layer.name)
            for place in live:
                taken[place] += size
    return Residency(frozenset(kept), tuple(all_ - own for all_, own in zip(taken, held, strict=True)))
