"""Fused layers: which may be, and the pieces that they are cut into, each a layer of fewer rows.

A group runs stripe by stripe (`accelsim.mapping.stripes`); what lies in it more than once, the inputs of a batch or the
heads of an attention, is divided first, and each part runs for itself. Weights that all pieces of a layer need stay in
the weight buffer where there is room for them, else their stored bits in the mask buffer; what has no place there is
fetched for each piece again. Of several cores each runs the whole group for some of the parts, or, of a group that has
none, for some of the rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from typing import Literal

from accelsim.config.hardware import BufferConfig, HardwareConfig
from accelsim.mapping.cores import Share, rows_part, shares, split_task
from accelsim.mapping.residency import Together, output_elements
from accelsim.mapping.stripes import Halo, Member, Read, Rows, StripePiece, cut
from accelsim.mapping.task import LayerTask, input_window
from accelsim.storage.base import StoredBits
from accelsim.timing.schedule import FusedLayers
from accelsim.trace.model import LayerTrace, TraceLayer
from accelsim.units import bits_to_bytes

Division = Literal["none", "inputs", "heads"]
_DIVISIONS: dict[str, Division] = {"none": "none", "inputs": "inputs", "heads": "heads"}
FUSED_KINDS = frozenset({"conv2d", "depthwise_conv2d", "linear", "matmul", "pool", "vector"})
MOST_HELD_ONE_BY_ONE = 8  # layers of a group of which any may have its weights held: 256 ways


@dataclass(frozen=True, slots=True)
class FusedGroup:
    """Layers ``first`` up to ``stop`` of a network, run as one.

    Attributes
    ----------
    division, num_parts
        What is divided before rows are, and in how many parts.
    num_stripes, halo
        How each part is cut (`accelsim.mapping.stripes.cut`), of rows that cores divide those of each.
    holds_second
        Whether second operands (keys and values) stay on chip from stripe to stripe.
    num_cores
        Cores that the group runs on: no more than there are parts, or rows of the last layer.
    """

    first: int
    stop: int
    num_stripes: int
    halo: Halo = "kept"
    division: Division = "none"
    num_parts: int = 1
    holds_second: bool = False
    num_cores: int = 1

    @property
    def rows_on_cores(self) -> int:
        """Return among how many cores the rows are divided; 1 where the parts are."""
        return self.num_cores if self.num_parts == 1 else 1

    def parts_of(self, core: int) -> range:
        """Return the parts that a core runs."""
        if self.num_parts == 1:
            return range(1)
        own = shares(self.num_parts, self.num_cores)[core]
        return range(own.first, own.first + own.size)

    @property
    def places(self) -> range:
        """Return the places of its layers."""
        return range(self.first, self.stop)


def groups_of(fused: Sequence[FusedLayers]) -> tuple[FusedGroup, ...]:
    """Return the groups that a result describes."""
    return tuple(
        FusedGroup(
            one.first, one.first + len(one.layers), one.num_stripes, "kept" if one.halo == "kept" else "recomputed",
            _DIVISIONS[one.division], one.num_parts, one.holds_second, one.num_cores,
        )
        for one in fused
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class PieceTask:
    """A piece of a fused layer as the mapper takes it; ``place`` is the layer's in the network.

    ``part`` and ``stripe`` say where among those of its core it stands, ``is_last`` whether it is the layer's last on
    its core; ``beside_bytes`` are what the group has in each buffer beside what the piece itself takes there.
    """

    place: int
    part: int
    stripe: int
    task: LayerTask
    is_last: bool
    beside_bytes: Mapping[str, int]


def why_apart(trace: LayerTrace, first: int, stop: int) -> str | None:
    """Return why layers cannot run as one; None where they can."""
    layers = trace.layers[first:stop]
    by_name = {layer.name: layer for layer in layers}
    seen: set[str] = set()
    for place, layer in enumerate(layers):
        problem = _problem(layer, by_name)
        if problem is not None:
            return f"{layer.name}: {problem}"
        read = {*_main(layer), *layer.residuals}
        if place and not read & (seen | set(by_name)):
            return f"{layer.name}: it reads nothing that the layers before it in the group make or read"
        seen |= read
    if stop - first < 2:  # noqa: PLR2004
        return f"{layers[0].name}: a group has two layers at the least"
    return None


def _main(layer: TraceLayer) -> tuple[str, ...]:
    """Return the producers of the first operand."""
    second = layer.second_producers if layer.second_input_elements else ()
    return tuple(name for name in layer.inputs if name not in second) or layer.inputs[:1]


def _problem(layer: TraceLayer, group: Mapping[str, TraceLayer]) -> str | None:
    if layer.kind not in FUSED_KINDS:
        return f"a layer of kind {layer.kind} has no rows that could be made one after the other"
    if layer.caches:
        return "it fills a cache of keys and values, which is written whole"
    main = _main(layer)
    if len(main) > 1:
        return "it joins several maps into one"
    if layer.second_input_elements and any(name in group for name in layer.second_producers):
        return "its second operand is read whole for each row, so that what makes it must end first"
    rows = {"reads": (layer.dims.H, layer.dims.num_inputs), "is joined to": (layer.dims.P, output_elements(layer))}
    for word, names in (("reads", main), ("is joined to", layer.residuals)):
        for producer in (group[name] for name in names if name in group):
            made = producer.dims.P, output_elements(producer)
            if made != rows[word] or output_elements(producer) != producer.dims.num_outputs:
                return (
                    f"it {word} {producer.name} not row by row: {made[1]} elements in {made[0]} rows are made, "
                    f"{rows[word][1]} in {rows[word][0]} taken"
                )
    return None


def inside_of(trace: LayerTrace, group: FusedGroup) -> frozenset[str]:
    """Return the layers whose maps only the group reads."""
    names = {trace.layers[place].name for place in group.places}
    read = {name for place in group.places for name in _read_by_rows(trace.layers[place])}
    outside = {
        name
        for place, layer in enumerate(trace.layers)
        if place not in group.places
        for name in (*layer.inputs, *layer.residuals)
    }
    returned = {layer.name for layer in trace.layers if layer.is_output}
    return frozenset((names & read) - outside - returned)


def _read_by_rows(layer: TraceLayer) -> tuple[str, ...]:
    return (*_main(layer), *layer.residuals)


def together_of(trace: LayerTrace, group: FusedGroup, tasks: Sequence[LayerTask]) -> Together:
    """Return what a group has on chip at most, for those of its ``tasks`` that are given (of all layers).

    All its cores together, each with no more than the one that has most.
    """
    held = max(
        piece.beside_bytes["activation_buffer"]
        for core in range(group.num_cores)
        for piece in pieces_of(trace, group, tasks, core)
    )
    return Together(group.first, group.stop, inside_of(trace, group), held * group.num_cores)


def pieces_of(trace: LayerTrace, group: FusedGroup, tasks: Sequence[LayerTask], core: int = 0) -> Iterator[PieceTask]:
    """Yield the pieces of a group on a core in the order in which they run; ``tasks`` are those of all layers."""
    own = [tasks[place] for place in group.places]
    inside = inside_of(trace, group)
    parts = [each for number, each in enumerate(_parts(own, group, trace.num_inputs)) if number in group.parts_of(core)]
    every = [_members(part, inside, trace, group) for part in parts]
    place = core if group.rows_on_cores > 1 else 0
    cuts = [cut(members, group.num_stripes, group.halo, group.rows_on_cores, place) for members in every]
    # Later ones overwrite earlier ones: what is counted of a whole layer goes to its last piece.
    last = {piece.member: (number, place) for number, pieces in enumerate(cuts) for place, piece in enumerate(pieces)}
    counts = [sum(piece.member == member for pieces in cuts for piece in pieces) for member in range(len(own))]
    holds = _holds(own, counts)
    begun: set[int] = set()
    for number, (part, members, pieces) in enumerate(zip(parts, every, cuts, strict=True)):
        second: set[int] = set()
        # Keys and values are those of a part: each part brings its own, and its pieces share them.
        held_second = sum(_second_bytes(task) for task in part) if group.holds_second else 0
        for place, piece in enumerate(pieces):
            member, task = piece.member, part[piece.member]
            made = _piece_task(task, piece, members[member], task.layer.name in inside)
            made = _with_weights(made, holds, member, member in begun)
            held = piece.held_bytes
            if group.holds_second:
                made = replace(made, second_from_dram=False, cache_on_chip=True) if member in second else made
                held += held_second
            capacity = made.activation_capacity_bytes - held
            begun.add(member)
            second.add(member)
            yield PieceTask(
                group.first + member, number, piece.stripe, replace(made, activation_capacity_bytes=capacity),
                last[member] == (number, place), {"activation_buffer": held, **holds.beside(member)},
            )  # fmt: skip


def traffic_bytes(
    trace: LayerTrace, group: FusedGroup, tasks: Sequence[LayerTask], masks_once: bool = False
) -> tuple[int, int]:
    """Return the DRAM bytes of a group in whole bits, and the most that it has in the activation buffer of a core.

    ``tasks`` are those of all layers, as they are without fusion; parts are alike, so that one is counted for all.
    ``masks_once``: what cores decode comes once for all of them.
    """
    own = [tasks[place] for place in group.places]
    inside = inside_of(trace, group)
    part = next(_parts(own, group, trace.num_inputs))
    members = _members(part, inside, trace, group)
    cores = range(group.rows_on_cores)
    cuts = [cut(members, group.num_stripes, group.halo, len(cores), core) for core in cores]
    of_part = [max(sum(piece.member == member for piece in pieces) for pieces in cuts) for member in range(len(own))]
    counts = [len(group.parts_of(0)) * count for count in of_part]
    held_second = sum(_second_bytes(task) for task in part) if group.holds_second else 0
    total = 0
    for piece in (piece for pieces in cuts for piece in pieces):
        reads = zip(members[piece.member].reads, piece.new_rows, strict=True)
        total += sum(read.row_bytes * rows for read, rows in reads)
    total *= group.num_parts
    for task, what, count, each in zip(own, _holds(own, counts).what, counts, of_part, strict=True):
        times = (1 if what else count) * (1 if masks_once and task.decodes else group.num_cores)
        total += times * bits_to_bytes(task.traffic_bits.total)
        total += _second_bytes(task) * len(cores) * (1 if group.holds_second else max(1, each))
        outputs = task.layer.num_outputs or task.layer.dims.num_outputs
        if task.output_to_dram and task.layer.name not in inside:
            total += bits_to_bytes(outputs * task.output_bits)
    return total, max(piece.held_bytes for pieces in cuts for piece in pieces) + held_second


def min_stripes(trace: LayerTrace, group: FusedGroup, tasks: Sequence[LayerTask], room_bytes: int) -> int | None:
    """Return the stripes below which the largest map between the layers does not fit ``room_bytes``; None: never.

    The room is that of a core.
    """
    own = [tasks[place] for place in group.places]
    inside = inside_of(trace, group)
    if group.holds_second:
        room_bytes -= sum(_second_bytes(task) for task in own) // group.num_parts
    largest = max(
        (output_elements(task.layer) * task.activation_bits // 8 for task in own if task.layer.name in inside),
        default=0,
    )
    return None if room_bytes <= 0 else max(1, -(-largest // group.num_parts // group.rows_on_cores // room_bytes))


def _parts(tasks: Sequence[LayerTask], group: FusedGroup, num_inputs: int) -> Iterator[list[LayerTask]]:
    """Yield the layers of each part: of some inputs of the batch, or some heads."""
    if group.division == "none" or group.num_parts == 1:
        yield list(tasks)
        return
    by: Literal["batch", "filters"] = "batch" if group.division == "inputs" else "filters"
    divided = [_divided(task, by, group.num_parts, num_inputs) for task in tasks]
    assert all(parts is not None for parts in divided)  # see `divisions`
    yield from ([parts[number] for parts in divided if parts] for number in range(group.num_parts))


def _divided(
    task: LayerTask, by: Literal["batch", "filters"], number: int, num_inputs: int
) -> tuple[LayerTask, ...] | None:
    """Return a layer in parts of equal work; layers of the vector unit alone have their inputs as loop N too."""
    if not task.layer.uses_array and by == "batch":
        as_conv = replace(task, layer=replace(task.layer, kind="conv2d"))
        parts = split_task(as_conv, by, number, num_inputs)
        return parts and tuple(replace(each, layer=replace(each.layer, kind=task.layer.kind)) for each in parts)
    return split_task(task, by, number, num_inputs)


def divisions(trace: LayerTrace, first: int, stop: int, tasks: Sequence[LayerTask]) -> Iterator[tuple[Division, int]]:
    """Yield how a group can be divided before its rows are: not at all, by inputs of the batch, by heads."""
    own = [tasks[place] for place in range(first, stop)]
    yield "none", 1
    number = trace.num_inputs
    if number > 1 and all(len(_divided(task, "batch", number, number) or ()) == number for task in own):
        yield "inputs", number
    heads = {task.layer.dims.G for task in own}
    if all(task.layer.kind == "matmul" for task in own) and len(heads) == 1 and max(heads) > 1:
        yield "heads", max(heads)


def _members(tasks: Sequence[LayerTask], inside: frozenset[str], trace: LayerTrace, group: FusedGroup) -> list[Member]:
    """Return what `cut` needs to know of layers; maps that are on chip as a whole are read without it."""
    names = {trace.layers[place].name for place in group.places}
    found = []
    for task in tasks:
        layer, dims = task.layer, task.layer.dims
        reads = []
        main = _main(layer)[0] if layer.inputs else ""
        window = partial(_window, task)
        if main in names or task.dram_input_elements:
            # Readers share the rows of a map, but not where one leaves out columns that another needs.
            key = main if main in names or not _has_gaps(task) else f"{main} {layer.name}"
            row = bits_to_bytes(dims.num_inputs // dims.H * task.activation_bits)
            reads.append(Read(_key(key, dims.H, main in names), row, window, main in names, True))
        outputs = layer.num_outputs or dims.num_outputs
        each = bits_to_bytes(outputs // dims.P * task.activation_bits)
        for name in layer.residuals:
            is_own = name in names
            if is_own or (task.residual_dram_elements and _fits_rows(trace, name, layer, task)):
                reads.append(Read(_key(name, dims.P, is_own), each, _same_rows, is_own, False))
        leaves = layer.name not in inside
        found.append(Member(layer.name, dims.P, each, tuple(reads), leaves))
    return found


def _key(name: str, num_rows: int, is_inside: bool) -> str:
    """Return the name of a map as it is read: in other rows it is another one."""
    return name if is_inside else f"{name} {num_rows}"


def _same_rows(first: int, size: int) -> Rows:
    return first, first + size


def _window(task: LayerTask, first: int, size: int) -> Rows:
    return input_window(task, "P", first, size)


def _has_gaps(task: LayerTask) -> bool:
    """Return whether there are rows or columns between the windows that are not read."""
    dims = task.layer.dims
    return dims.span(0) < dims.stride[0] + dims.slices[1] or dims.span(1) < dims.stride[1]


def _fits_rows(trace: LayerTrace, name: str, layer: TraceLayer, task: LayerTask) -> bool:
    """Return whether a residual from outside the group has an element for each output, all of it in memory."""
    number = len(layer.residuals)
    outputs = layer.num_outputs or layer.dims.num_outputs
    return task.residual_dram_elements == task.residual_elements == number * outputs


def _piece_task(task: LayerTask, piece: StripePiece, member: Member, stays: bool) -> LayerTask:
    """Return some rows of a layer, with what of its operands comes from memory."""
    first, last = piece.rows
    made = rows_part(task, Share(first, last - first, task.layer.dims.P))
    inputs, residuals = made.dram_input_elements, made.residual_dram_elements
    reads = list(zip(member.reads, piece.new_rows, piece.window_rows, strict=True))
    each = made.layer.num_outputs or made.layer.dims.num_outputs
    for read, new, rows in reads:
        if read.is_main:
            inputs = 0 if read.is_inside else -(-made.layer.dims.num_inputs * new // max(1, rows))
        else:
            # The layer's own count takes each joined map as whole rows: those of this one are put right.
            residuals += (0 if read.is_inside else -(-each * new // max(1, rows))) - each
    return replace(
        made,
        dram_input_elements=inputs,
        residual_dram_elements=max(0, residuals),
        output_to_dram=task.output_to_dram and not stays,
    )


def _second_bytes(task: LayerTask) -> int:
    """Return the bytes of a second operand that comes from memory."""
    return bits_to_bytes(task.layer.second_input_elements * task.second_bits) if task.loads_second else 0


@dataclass(frozen=True, slots=True)
class _Holds:
    """What stays on chip of the weights of each member from piece to piece, and its bytes in both buffers.

    Members share one object of the chip for each way to see its buffers.
    """

    what: tuple[Literal["", "stored", "weights"], ...]
    weight_bytes: tuple[int, ...]
    mask_bytes: tuple[int, ...]
    chips: tuple[HardwareConfig, ...]

    def beside(self, member: int) -> dict[str, int]:
        """Return what the others have in the buffers of weights and of stored bits."""
        return {
            "weight_buffer": sum(self.weight_bytes) - self.weight_bytes[member],
            "mask_buffer": sum(self.mask_bytes) - self.mask_bytes[member],
        }


def _holds(tasks: Sequence[LayerTask], counts: Sequence[int]) -> _Holds:
    """Decide what stays: weights of as much traffic as fit the weight buffer, and of the others stored bits."""
    hardware = tasks[0].hardware
    again = [
        count > 1 and task.plan is not None and task.layer.uses_array for task, count in zip(tasks, counts, strict=True)
    ]
    saved = [task.traffic_bits.total * int(is_again) for task, is_again in zip(tasks, again, strict=True)]
    weights = [bits_to_bytes(task.layer.dims.num_weights * task.weight_bits) for task in tasks]
    masks = [bits_to_bytes(task.traffic_bits.total) for task in tasks]
    # Weights that are made anew in each pass of the array are in the buffer for a tile only.
    may_stay = [is_again and not task.regenerates_each_pass for task, is_again in zip(tasks, again, strict=True)]
    others = [task.layer.uses_array for task in tasks]
    in_weights = _most_saved(weights, saved, may_stay, others, hardware.weight_buffer)
    decodes = [
        is_again and task.decodes and not held for task, is_again, held in zip(tasks, again, in_weights, strict=True)
    ]
    in_masks = _most_saved(masks, saved, decodes, [task.decodes for task in tasks], hardware.mask_buffer)
    weight_bytes = tuple(size * int(held) for size, held in zip(weights, in_weights, strict=True))
    mask_bytes = tuple(size * int(held) for size, held in zip(masks, in_masks, strict=True))
    what: list[Literal["", "stored", "weights"]] = [
        "weights" if here else "stored" if there else "" for here, there in zip(in_weights, in_masks, strict=True)
    ]
    chips: dict[tuple[int, int], HardwareConfig] = {}
    for here, there in zip(weight_bytes, mask_bytes, strict=True):
        # A member sees the buffers without what the others hold in them.
        rest = sum(weight_bytes) - here, sum(mask_bytes) - there
        chips.setdefault(rest, _chip_beside(hardware, *rest))
    seen = tuple(
        chips[sum(weight_bytes) - here, sum(mask_bytes) - there]
        for here, there in zip(weight_bytes, mask_bytes, strict=True)
    )
    return _Holds(tuple(what), weight_bytes, mask_bytes, seen)


def _most_saved(
    sizes: Sequence[int], saved: Sequence[int], may: Sequence[bool], uses: Sequence[bool], buffer: BufferConfig
) -> list[bool]:
    """Return which of some tensors stay in a buffer: those that save most.

    For those that pass through it while others stay, a quarter of it is left, or what they take whole if that is less.
    """
    wanted = [place for place, is_wanted in enumerate(may) if is_wanted and saved[place]]
    wanted = sorted(wanted, key=lambda place: (sizes[place], place))[:MOST_HELD_ONE_BY_ONE]
    best, chosen = 0, frozenset[int]()
    for answer in product((False, True), repeat=len(wanted)):
        held = frozenset(place for place, is_held in zip(wanted, answer, strict=True) if is_held)
        passing = (sizes[place] for place, is_used in enumerate(uses) if is_used and place not in held)
        room = buffer.capacity_bytes - min(buffer.capacity_bytes // 4, max(passing, default=0))
        total = sum(saved[place] for place in held)
        if total > best and sum(sizes[place] for place in held) <= room:
            best, chosen = total, held
    return [place in chosen for place in range(len(sizes))]


def _chip_beside(hardware: HardwareConfig, weight_bytes: int, mask_bytes: int) -> HardwareConfig:
    """Return a chip whose buffers are as large as what others leave of them."""
    if not weight_bytes and not mask_bytes:
        return hardware
    changed = {
        name: getattr(hardware, name).model_copy(
            update={"capacity_bytes": getattr(hardware, name).capacity_bytes - taken}
        )
        for name, taken in (("weight_buffer", weight_bytes), ("mask_buffer", mask_bytes))
    }
    return hardware.model_copy(update=changed)


def _with_weights(task: LayerTask, holds: _Holds, member: int, is_begun: bool) -> LayerTask:
    """Return a piece with what of its weights an earlier piece has left on chip."""
    what, plan = holds.what[member] if is_begun else "", task.plan
    if what == "weights" and plan is not None:
        plan = replace(
            plan, stored_bits=StoredBits(), fetched_bits=None, decoder="none", decoder_symbols=0, source=None
        )
    return replace(task, plan=plan, held=what, hardware=holds.chips[member])
