"""Functional verification: the chip of a schedule produces the searched network, and what it does is what was counted.

1. Every layer's weights are produced tile by tile in the order of the schedule (`accelsim.validation.verify_walk`) and
   must be the searched network's: those of a reference bit for bit, or of the digests that the search wrote.
2. Words used and discarded, seeds, jumps and mask positions must be those that the simulation counted, and every
   weight must be produced as often as the schedule says.
3. Integer inference on the test data must reproduce the ticket's accuracy (`accelsim.validation.verify_inference`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from accelsim.config.loader import LoadedHardware
from accelsim.errors import AccelSimError, TicketError
from accelsim.pipeline import schedule_network
from accelsim.sim.counters import Counters, LayerCounters
from accelsim.sim.run import run_schedule
from accelsim.storage.slt import multicoat_name
from accelsim.ticket.model import Ticket, TicketLayer
from accelsim.timing.schedule import Schedule
from accelsim.trace import trace_ticket
from accelsim.trace.model import LayerTrace
from accelsim.validation.verify_digests import coats_problem, digest_problem, sound_layer, values_problem
from accelsim.validation.verify_image import (
    LayerImage,
    TileVisits,
    layer_image,
    planned_productions,
    tile_visits,
    walk_image,
)
from accelsim.validation.verify_walk import WalkResult

STORAGE = "slt"
# A counter-based generator that leaves out words is counted by the expected number of words without a kept weight.
EXPECTED_WORDS_TOLERANCE = 0.05


class VerificationError(AccelSimError):
    """What a chip produces is not the searched network, or not what the simulation counted."""


ComparedWith = Literal["reference", "digests", "itself"]


@dataclass(frozen=True, slots=True)
class LayerVerification:
    """One layer as its lanes produced it.

    Attributes
    ----------
    num_weights, num_visits
        Weights of the layer, and visits of its tiles.
    words, discarded_words, derived_seeds, jumps
        What the lanes did; the simulation's counters are equal.
    productions
        Weights produced in all visits and passes together.
    mask_bits, counted_mask_bits
        Mask bits that the decoder handed out, and what the simulation counted (raw masks only, else 0): it spreads
        stored bits evenly over the tiles, so these two differ a little.
    """

    name: str
    num_weights: int
    num_visits: int
    words: int
    discarded_words: int
    derived_seeds: int
    jumps: int
    productions: int
    mask_bits: int
    counted_mask_bits: int


@dataclass(frozen=True, slots=True)
class WeightVerification:
    """The layers produced, up to the first problem.

    Attributes
    ----------
    layers
        One a layer that is right.
    problem
        None where all is well.
    compared_with
        ``reference``: another ticket's weights. ``digests``: the filters' digests in the ticket. ``itself``: only what
        the ticket's own seeds and bits give, because the file has no digests.
    """

    layers: tuple[LayerVerification, ...]
    problem: str | None
    compared_with: ComparedWith


@dataclass(frozen=True, slots=True)
class _Counted:
    """The simulation's side: schedules and counters by layer name."""

    trace: LayerTrace
    schedule: Schedule
    counters: Counters

    def position(self, name: str) -> int:
        """Return the place of a layer."""
        return next(index for index, entry in enumerate(self.trace.layers) if entry.name == name)


ImageEdit = Callable[[str, LayerImage], LayerImage]
SoundLayer = tuple[TicketLayer, str | None]
"""A layer, and what is wrong with it as it is stored."""
Progress = Callable[[Sequence[SoundLayer]], Iterable[SoundLayer]]


def verify_weights(
    hardware: LoadedHardware,
    ticket: Ticket,
    reference: Ticket | None = None,
    edit_image: ImageEdit | None = None,
    progress: Progress = list,
) -> WeightVerification:
    """Produce all weights of a ticket on a chip and compare them with the searched network's.

    Parameters
    ----------
    hardware, ticket
        The chip, and what is stored.
    reference
        The ticket of the searched network; None takes the digests in ``ticket``.
    edit_image
        Changes a layer's memory image before it is walked, by layer name: how tests plant faults.
    progress
        Passes the layers on one by one, and may show how far it is.

    Raises
    ------
    AccelSimError
        The ticket cannot be regenerated, or the chip cannot run it. A difference is no error but the ``problem``.
    """
    if reference is not None and [item.name for item in reference.layers] != [item.name for item in ticket.layers]:
        raise TicketError("--reference: has other layers than the ticket; give a ticket of the same network")
    if not ticket.regenerable:
        raise TicketError(
            f"{ticket.graph.name}: an imported ticket cannot be regenerated, so there is nothing to verify; "
            "give a searched or synthetic one"
        )
    against = _against(ticket, reference)
    sound = [sound_layer(layer) for layer in ticket.layers]
    counted = _simulate(hardware, replace(ticket, layers=tuple(layer for layer, _ in sound)))
    done: list[LayerVerification] = []
    for index, (layer, fault) in enumerate(progress(sound)):
        pair = (layer, layer) if reference is None else (ticket.layers[index], reference.layers[index])
        checked, problem = _verify_layer(hardware, pair, counted, edit_image)
        if problem is None and reference is None:
            problem = digest_problem(layer, _visits(hardware, layer.name, counted))
        elif problem is None:
            problem = (coats_problem(*pair) if layer.num_coats > 1 else None) or values_problem(*pair)
        problem = problem or fault
        if problem is not None:
            return WeightVerification(tuple(done), problem, against)
        done.append(checked)
    return WeightVerification(tuple(done), None, against)


def _against(ticket: Ticket, reference: Ticket | None) -> ComparedWith:
    if reference is not None:
        return "reference"
    return "digests" if all(layer.digest_payload for layer in ticket.layers) else "itself"


def _visits(hardware: LoadedHardware, name: str, counted: _Counted) -> TileVisits:
    position = counted.position(name)
    return tile_visits(counted.trace.layers[position], counted.schedule.layers[position], hardware.config)


def _simulate(hardware: LoadedHardware, ticket: Ticket) -> _Counted:
    trace = trace_ticket(ticket)
    num_coats = max(layer.num_coats for layer in ticket.layers)
    storage = STORAGE if num_coats == 1 else multicoat_name(num_coats)
    schedule, _ = schedule_network(hardware.config, trace, storage)
    return _Counted(trace, schedule, run_schedule(schedule, hardware.config))


def _verify_layer(
    hardware: LoadedHardware,
    pair: tuple[TicketLayer, TicketLayer],
    counted: _Counted,
    edit_image: ImageEdit | None,
) -> tuple[LayerVerification, str | None]:
    layer, reference = pair
    position = counted.position(layer.name)
    visits = _visits(hardware, layer.name, counted)
    image = layer_image(layer, reference, visits)
    if edit_image is not None:
        image = edit_image(layer.name, image)
    skips = hardware.config.pe_array.zero_weights == "skip" and image.source.generator == "philox4x32"
    result = walk_image(image, visits, reference, hardware.config, skips)
    found = _summary(layer, image, visits, result, counted.counters.layers[position])
    problem = _difference(layer, visits, result)
    if problem is None and not result.productions.all():
        problem = f"layer {layer.name!r}: weight {int(np.argmin(result.productions))} is in no tile; report this fault"
    if problem is None and not np.array_equal(result.productions, planned_productions(visits, layer.shape)):
        problem = f"layer {layer.name!r}: a weight is not produced as often as its tile is visited"
    if problem is None:
        problem = _miscount(found, counted.counters.layers[position], skips)
    return found, problem


def _summary(
    layer: TicketLayer, image: LayerImage, visits: TileVisits, result: WalkResult, counters: LayerCounters
) -> LayerVerification:
    policy = image.source.seeds
    return LayerVerification(
        name=layer.name,
        num_weights=layer.num_weights,
        num_visits=len(visits.passes),
        words=result.words,
        discarded_words=result.discarded_words,
        derived_seeds=result.seeds if policy == "derived" else 0,
        jumps=result.jumps + (result.seeds if policy == "jump" else 0),
        productions=int(result.productions.sum(dtype=np.int64)),
        mask_bits=result.mask_bits,
        counted_mask_bits=counters.actions["mask_decoder"].get("raw_bits", 0),
    )


def _difference(layer: TicketLayer, visits: TileVisits, result: WalkResult) -> str | None:
    if result.mismatch is None:
        return None
    event, filter_, weight, got, expected = result.mismatch
    inner = np.asarray(np.unravel_index(weight, layer.shape[1:])).tolist()
    place = ", ".join(str(part) for part in (filter_, *inner))
    return (
        f"layer {layer.name!r}: {visits.text(event)}: weight [{place}] is {got}, the searched network has {expected}; "
        "the seed, the stored bits or the order of the streams is wrong"
    )


def _miscount(found: LayerVerification, counters: LayerCounters, expected_words: bool) -> str | None:
    """Return the first counter that is not what the lanes did."""
    generator = counters.actions["weight_generator"]
    lanes = {
        "words": found.words,
        "discarded_words": found.discarded_words,
        "derived_seeds": found.derived_seeds,
        "jumps": found.jumps,
    }
    pairs = [(name, done, generator.get(name, 0)) for name, done in lanes.items()]
    pairs.append(("mask positions", found.productions, counters.actions["mask_decoder"].get("positions", 0)))
    for name, done, counted in pairs:
        tolerance = EXPECTED_WORDS_TOLERANCE if expected_words and name == "words" else 0.0
        if abs(done - counted) > tolerance * done:
            return (
                f"layer {found.name!r}: {name}: the lanes need {done}, the simulation counted {counted}; "
                "please report this fault"
            )
    return None


def total_of(layers: tuple[LayerVerification, ...]) -> LayerVerification:
    """Return the sums over layers, under the name ``total``."""
    empty = LayerVerification("total", *[0] * 9)
    names = [name for name in LayerVerification.__slots__ if name != "name"]
    return replace(empty, **{name: sum(getattr(layer, name) for layer in layers) for name in names})
