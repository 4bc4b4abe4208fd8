"""Functional verification: the chip of a schedule produces the searched network, and what it does is what was counted.

1. Every layer's weights are produced tile by tile in the order of the schedule, on a chip with several cores those of
   each core's part (`accelsim.validation.verify_parts`, `accelsim.validation.verify_walk`), and
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
import numpy.typing as npt

from accelsim.config.loader import LoadedHardware
from accelsim.errors import AccelSimError, TicketError
from accelsim.storage.slt import multicoat_name
from accelsim.ticket.model import Ticket, TicketLayer
from accelsim.trace import trace_ticket
from accelsim.validation.verify_digests import coats_problem, digest_problem, sound_layer, values_problem
from accelsim.validation.verify_image import (
    LayerImage,
    joined_visits,
    layer_image,
    planned_productions,
    walk_pieces,
)
from accelsim.validation.verify_parts import VisitedPart, visited_parts
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
    parts = _simulate(hardware, replace(ticket, layers=tuple(layer for layer, _ in sound)))
    done: list[LayerVerification] = []
    for index, (layer, fault) in enumerate(progress(sound)):
        pair = (layer, layer) if reference is None else (ticket.layers[index], reference.layers[index])
        checked, problem = _verify_layer(hardware, pair, parts[layer.name], edit_image)
        if problem is None and reference is None:
            problem = digest_problem(layer, joined_visits([part.visits for part in parts[layer.name]]))
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


def _simulate(hardware: LoadedHardware, ticket: Ticket) -> dict[str, list[VisitedPart]]:
    trace = trace_ticket(ticket)
    num_coats = max(layer.num_coats for layer in ticket.layers)
    storage = STORAGE if num_coats == 1 else multicoat_name(num_coats)
    parts = visited_parts(hardware, trace, storage)
    for layer in trace.layers:
        if layer.weights_of and layer.uses_array:  # a table of embeddings is walked as the first product has it
            parts.setdefault(layer.weights_of, parts[layer.name])
    return parts


def _verify_layer(
    hardware: LoadedHardware,
    pair: tuple[TicketLayer, TicketLayer],
    parts: Sequence[VisitedPart],
    edit_image: ImageEdit | None,
) -> tuple[LayerVerification, str | None]:
    """Walk a layer, on a chip with several cores the part of each."""
    found: list[LayerVerification] = []
    productions = np.zeros(pair[0].num_weights, dtype=np.int64)
    problem: str | None = None
    for part in parts:
        one, produced, problem = _verify_part(hardware, pair, part, edit_image)
        found.append(one)
        productions += produced
        if problem is not None:
            break
    if problem is None and not productions.all():
        problem = f"layer {pair[0].name!r}: weight {int(np.argmin(productions))} is in no tile; report this fault"
    return replace(total_of(tuple(found)), name=pair[0].name, num_weights=pair[0].num_weights), problem


def _verify_part(
    hardware: LoadedHardware,
    pair: tuple[TicketLayer, TicketLayer],
    part: VisitedPart,
    edit_image: ImageEdit | None,
) -> tuple[LayerVerification, npt.NDArray[np.int32], str | None]:
    layer, reference = pair
    visits = part.visits
    image = layer_image(layer, reference, visits)
    if edit_image is not None:
        image = edit_image(layer.name, image)
    skips = hardware.config.pe_array.zero_weights == "skip" and image.source.generator == "philox4x32"
    result = walk_pieces(image, visits, reference, hardware.config, skips)
    found = _summary(layer, image, part, result)
    problem = _difference(layer, part, result)
    if problem is None and not np.array_equal(result.productions, planned_productions(visits, layer.shape)):
        problem = f"layer {layer.name!r}: {part.core}a weight is not produced as often as its tile is visited"
    if problem is None:
        problem = _miscount(found, part, skips)
    return found, result.productions, problem


def _summary(layer: TicketLayer, image: LayerImage, part: VisitedPart, result: WalkResult) -> LayerVerification:
    """Return what a part's units did; what another core's unit did for both counts there."""
    policy, makes, decodes = image.source.seeds, part.generator is not None, part.decoder is not None
    return LayerVerification(
        name=layer.name,
        num_weights=layer.num_weights,
        num_visits=len(part.visits.passes),
        words=result.words * makes,
        discarded_words=result.discarded_words * makes,
        derived_seeds=result.seeds * makes if policy == "derived" else 0,
        jumps=(result.jumps + (result.seeds if policy == "jump" else 0)) * makes,
        productions=int(result.productions.sum(dtype=np.int64)) * decodes,
        mask_bits=result.mask_bits * decodes,
        counted_mask_bits=(part.decoder or {}).get("raw_bits", 0),
    )


def _difference(layer: TicketLayer, part: VisitedPart, result: WalkResult) -> str | None:
    if result.mismatch is None:
        return None
    event, filter_, weight, got, expected = result.mismatch
    inner = np.asarray(np.unravel_index(weight, layer.shape[1:])).tolist()
    place = ", ".join(str(part) for part in (filter_, *inner))
    return (
        f"layer {layer.name!r}: {part.core}{part.visits.text(event)}: weight [{place}] is {got}, the searched network "
        f"has {expected}; the seed, the stored bits or the order of the streams is wrong"
    )


def _miscount(found: LayerVerification, part: VisitedPart, expected_words: bool) -> str | None:
    """Return the first counter that is not what the lanes did."""
    lanes = {
        "words": found.words,
        "discarded_words": found.discarded_words,
        "derived_seeds": found.derived_seeds,
        "jumps": found.jumps,
    }
    pairs = [(name, done, (part.generator or {}).get(name, 0)) for name, done in lanes.items()]
    pairs.append(("mask positions", found.productions, (part.decoder or {}).get("positions", 0)))
    for name, done, counted in pairs:
        tolerance = EXPECTED_WORDS_TOLERANCE if expected_words and name == "words" else 0.0
        if abs(done - counted) > tolerance * done:
            return (
                f"layer {found.name!r}: {part.core}{name}: the lanes need {done}, the simulation counted {counted}; "
                "please report this fault"
            )
    return None


def total_of(layers: tuple[LayerVerification, ...]) -> LayerVerification:
    """Return the sums over layers, under the name ``total``."""
    empty = LayerVerification("total", *[0] * 9)
    names = [name for name in LayerVerification.__slots__ if name != "name"]
    return replace(empty, **{name: sum(getattr(layer, name) for layer in layers) for name in names})
