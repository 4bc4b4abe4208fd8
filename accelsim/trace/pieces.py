"""Tensors that a program cuts into pieces and joins again, brought to the repetition that they are.

Keys and values that several query heads share are also repeated by cutting out each head and joining it to itself, or
by joining a whole tensor to itself. Nothing is moved by either: the elements are read where they lie. Which slices of
one axis a tensor shows is followed through cuts, repetitions and joins. A join of slices of one tensor becomes what
picks the slices that it needs, and what repeats these.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import prod

from accelsim.trace.in_place import changed_bases
from accelsim.trace.records import Program, Record, Ref, Shape
from accelsim.trace.views import axis_of

_SLICES = frozenset("slice slice_copy narrow narrow_copy".split())
_ROWS = frozenset("select select_copy unbind unbind_copy".split())
_SPLITS = frozenset(
    "chunk split split_with_sizes split_copy split_with_sizes_copy tensor_split unsafe_split unsafe_chunk "
    "unsafe_split_with_sizes".split()
)
_SAME = frozenset(
    "clone contiguous to _to_copy alias detach dropout view reshape unsqueeze squeeze _unsafe_view type_as "
    "lift_fresh_copy float half bfloat16".split()
)
_IN_TURN = _SPLITS | {"unbind", "unbind_copy"}
_REPETITIONS = frozenset("expand expand_as broadcast_to expand_copy repeat tile".split())
_JOINS = frozenset("cat concat concatenate stack".split())
_MAX_SLICES = 4096
"""Slices of an axis that are followed; a tensor with more is none of heads."""


@dataclass(frozen=True, slots=True)
class _Slices:
    """Which slices along an axis of ``base`` a tensor shows, in order; a single one may have lost its axis."""

    base: str
    axis: int
    picks: tuple[int, ...]

    def of(self, picks: tuple[int, ...]) -> _Slices:
        """Return the slices that a cut of these shows."""
        return replace(self, picks=picks)


def with_repetitions(program: Program) -> Program:
    """Return the program with joins of slices of one tensor as repetitions."""
    pieces = _Pieces(program)
    return replace(program, records=tuple(step for record in program.records for step in pieces.of(record)))


class _Pieces:
    """Follows which slices each tensor shows."""

    def __init__(self, program: Program) -> None:
        self._shapes: dict[str, Shape] = {**dict(program.inputs), **program.constants}
        self._known: dict[str, _Slices] = {}
        self._changed = changed_bases(program)

    def of(self, record: Record) -> list[Record]:
        """Return what stands for a record, and remember what it makes."""
        made = [(name, shape) for name, shape in record.outputs if shape is not None]
        refs = record.refs()
        if not made or not refs or not all(ref in self._shapes for ref in refs):
            return [record]
        self._shapes.update((name, shape) for name, shape in made if name)
        if len(made) < len(record.outputs):
            return [record]
        if record.target in _JOINS:
            is_repeated = len(refs) > 1 and len(set(refs)) == 1
            return self._repeated(record, refs, *made[0]) if is_repeated else self._join(record, refs, *made[0])
        if record.target in _SAME and len(made) == 1 and refs[0] in self._known:
            self._remember(made[0], self._known[refs[0]])
        elif record.target in _REPETITIONS:
            self._repeat(record, refs[0], made[0])
        elif record.arguments.get("picks"):
            return self._pick(record, refs[0], made[0])
        elif record.target in _SLICES | _ROWS | _SPLITS:
            self._cut(record, refs[0], made)
        return [record]

    def _slices(self, name: str, axis: int) -> _Slices | None:
        """Return the slices of a tensor along an axis: of an earlier one if it was cut there, else its own."""
        shape, known = self._shapes[name], self._known.get(name)
        if known is not None and self._shape(known) == shape and known.axis == axis:
            return known
        if axis >= len(shape) or shape[axis] > _MAX_SLICES or name in self._changed:
            return None
        return _Slices(name, axis, tuple(range(shape[axis])))

    def _shape(self, slices: _Slices) -> Shape:
        base = self._shapes[slices.base]
        return (*base[: slices.axis], len(slices.picks), *base[slices.axis + 1 :])

    def _rest(self, slices: _Slices) -> Shape:
        base = self._shapes[slices.base]
        return (*base[: slices.axis], *base[slices.axis + 1 :])

    def _remember(self, made: tuple[str, Shape], slices: _Slices) -> None:
        """Remember the slices of a tensor whose shape shows them: all in their axis, or one anywhere."""
        name, shape = made
        is_one = len(slices.picks) == 1 and _without_ones(shape) == _without_ones(self._rest(slices))
        if name and (shape == self._shape(slices) or is_one):
            self._known[name] = slices

    def _cut(self, record: Record, name: str, made: list[tuple[str, Shape]]) -> None:
        rank = len(self._shapes[name])
        axis = axis_of(record, rank, "dim", "axis")
        slices = self._slices(name, axis)
        if slices is None:
            return
        step = record.integer("step", 1) if record.target in _SLICES else 1
        sizes = [1 if record.target in _ROWS else shape[axis] for _, shape in made]
        start = 0 if record.target in _IN_TURN else _start(record, len(slices.picks), sizes[0])
        if start is None:
            return
        for output, size in zip(made, sizes, strict=True):
            places = range(start, start + size * step, step)
            if not places or places[0] < 0 or places[-1] >= len(slices.picks):
                return
            self._remember(output, slices.of(tuple(slices.picks[place] for place in places)))
            start += size

    def _repeat(self, record: Record, name: str, made: tuple[str, Shape]) -> None:
        """Follow a repetition along the axis of the slices alone."""
        slices, shape = self._known.get(name), made[1]
        if slices is None or self._shape(slices) != self._shapes[name] or len(shape) != len(self._shapes[name]):
            return
        times, rest = divmod(shape[slices.axis], len(slices.picks))
        if (
            not rest
            and shape[slices.axis] <= _MAX_SLICES
            and (len(slices.picks) == 1 or record.target in ("repeat", "tile"))
        ):
            self._remember(made, slices.of(slices.picks * times))

    def _join(self, record: Record, refs: list[str], output: str, shape: Shape) -> list[Record]:
        axis = axis_of(record, len(shape), "dim", "axis")
        if shape[axis] > _MAX_SLICES:
            return [record]
        parts = [self._part(ref, axis, is_stacked=record.target == "stack") for ref in refs]
        first = parts[0]
        if first is None or any(part is None or part.of(()) != first.of(()) for part in parts):
            return [record]
        joined = first.of(tuple(pick for part in parts if part is not None for pick in part.picks))
        return self._joined(record, joined, axis, (output, shape))

    def _pick(self, record: Record, name: str, made: tuple[str, Shape]) -> list[Record]:
        """Return a reading by an index that is known."""
        slices = self._slices(name, axis := axis_of(record, len(self._shapes[name]), "dim"))
        if slices is None or len(picks := record.integers("picks", ())) > _MAX_SLICES:
            return [record]
        return self._joined(record, slices.of(tuple(slices.picks[pick] for pick in picks)), axis, made)

    def _joined(self, record: Record, joined: _Slices, axis: int, output: tuple[str, Shape]) -> list[Record]:
        """Return slices of one tensor that lie side by side: steps that repeat them, if any is there twice."""
        rest = self._rest(joined)
        if (*rest[:axis], len(joined.picks), *rest[axis:]) != output[1]:
            return [record]
        if joined.axis == axis:
            self._remember(output, joined)
        distinct = tuple(dict.fromkeys(joined.picks))
        is_whole = joined.picks == tuple(range(self._shapes[joined.base][joined.axis]))
        if len(distinct) == len(joined.picks) and not is_whole:
            return [record]
        return list(self._steps(record, joined, axis, output))

    def _part(self, name: str, axis: int, *, is_stacked: bool) -> _Slices | None:
        """Return which slices an operand of a join shows along the axis in which they are joined."""
        shape, known = self._shapes[name], self._known.get(name)
        if known is not None and len(known.picks) == 1:
            has_axis = not is_stacked and axis < len(shape) and shape[axis] == 1
            rest = (*shape[:axis], *shape[axis + 1 :]) if has_axis else shape
            if (is_stacked or has_axis) and rest == self._rest(known):
                return known
        return None if is_stacked else self._slices(name, axis)

    def _repeated(self, record: Record, refs: list[str], output: str, shape: Shape) -> list[Record]:
        """Return a tensor that is joined to itself as the repetition of its axis, or of a new one."""
        axis = axis_of(record, len(shape), "dim", "axis")
        name, made, steps = refs[0], self._shapes[refs[0]], []
        if record.target == "stack":
            made = (*made[:axis], 1, *made[axis:])
            steps.append(self._step(record, "view", name, f"{output}.one", made))
            name = f"{output}.one"
        if refs[0] in self._changed or (*made[:axis], made[axis] * len(refs), *made[axis + 1 :]) != shape:
            return [record]
        repeats = [len(refs) if place == axis else 1 for place in range(len(shape))]
        return [*steps, self._step(record, "repeat", name, output, shape, more={"repeats": repeats})]

    def _steps(self, record: Record, joined: _Slices, axis: int, output: tuple[str, Shape]) -> Iterator[Record]:
        """Yield what picks the slices of the base that are read, moves their axis, and repeats them."""
        name, shape = joined.base, self._shapes[joined.base]
        distinct = tuple(dict.fromkeys(joined.picks))
        if distinct != tuple(range(shape[joined.axis])):
            shape = self._shape(joined.of(distinct))
            start, steps = distinct[0], {b - a for a, b in zip(distinct, distinct[1:], strict=False)}
            is_even = len(steps) <= 1 and min(steps, default=1) > 0
            yield self._step(
                record, "slice" if is_even else "take", name, f"{output[0]}.picked", shape, joined.axis,
                {"start": start, "step": min(steps, default=1)} if is_even else {},
            )  # fmt: skip
            name = f"{output[0]}.picked"
        if axis != joined.axis:
            order = [place for place in range(len(shape)) if place != joined.axis]
            order.insert(axis, joined.axis)
            shape = tuple(shape[place] for place in order)
            yield self._step(record, "permute", name, f"{output[0]}.moved", shape, more={"dims": order})
            name = f"{output[0]}.moved"
        times = len(joined.picks) // len(distinct)
        if joined.picks == distinct:
            yield self._step(record, "clone", name, *output)
        elif joined.picks == tuple(pick for pick in distinct for _ in range(times)):
            yield self._step(record, "repeat_interleave", name, *output, axis)
        elif joined.picks == distinct * times:
            repeats = [times if place == axis else 1 for place in range(len(shape))]
            yield self._step(record, "repeat", name, *output, more={"repeats": repeats})
        else:
            yield self._step(record, "take", name, *output, axis)

    def _step(
        self,
        record: Record,
        target: str,
        name: str,
        output: str,
        shape: Shape,
        axis: int | None = None,
        more: dict[str, object] | None = None,
    ) -> Record:
        self._shapes[output] = shape
        arguments = {"self": Ref(name), **({} if axis is None else {"dim": axis}), **(more or {})}
        return Record(target, arguments, ((output, shape),), record.place, label=record.label or record.target)


def _start(record: Record, size: int, cut: int) -> int | None:
    """Return where a cut of ``cut`` of ``size`` slices begins; None where that depends on data."""
    stated = next((record.integers(key, ()) for key in ("start", "index") if record.arguments.get(key) is not None), ())
    if len(stated) == 1:
        return max(0, stated[0] + size) if stated[0] < 0 else stated[0]
    end = record.arguments.get("end")
    is_first = record.target not in _ROWS and cut == (min(end, size) if isinstance(end, int) and end >= 0 else size)
    return 0 if is_first else None


def _without_ones(shape: Shape) -> Shape:
    return tuple(size for size in shape if size != 1) if prod(shape) else shape


__all__ = ["with_repetitions"]
