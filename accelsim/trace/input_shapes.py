"""Shapes that a user states for the inputs of an exported module."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from accelsim.errors import TraceError

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class StatedShapes:
    """``first`` is that of the first input, ``named`` those of others; a shape may leave out the axis of samples.

    A dynamic first axis of which nothing is stated counts as ``samples``.
    """

    first: Shape | None = None
    named: tuple[tuple[str, Shape], ...] = ()
    samples: int = 1

    def of(self, where: str, name: str, rank: int, *, is_first: bool, batch: int = 1) -> Shape | None:
        """Return what is stated for an input of ``rank`` axes; None if nothing is.

        A missing axis of samples is ``batch``: the size that is fixed for it, else 1.

        Raises
        ------
        TraceError
            Another number of sizes.
        """
        stated = dict(self.named).get(name, self.first if is_first else None)
        if stated is None:
            return None
        if len(stated) == rank:
            return stated
        if len(stated) == rank - 1:
            return (batch, *stated)
        raise TraceError(
            f"{where}: --input-shape: input {name!r} has {rank} axes, {shown(stated)} has {len(stated)}; "
            f"give {rank} sizes, or {rank - 1} without the batch"
        )

    def check_names(self, where: str, names: Sequence[str]) -> None:
        """Raise `TraceError` if a shape is stated for an input that there is not."""
        for name, _ in self.named:
            if name not in names:
                known = ", ".join(names)
                raise TraceError(f"{where}: --input-shape: it has no input {name!r}; its inputs are {known}")


def shown(shape: Sequence[int]) -> str:
    """Return a shape as users write it: ``3x224x224``."""
    return "x".join(map(str, shape))


def check_fixed(where: str, stated: Mapping[str, Shape], have: Mapping[str, Shape]) -> None:
    """Raise `TraceError` if a stated shape is not the one that the module has."""
    for name, shape in stated.items():
        fixed = have[name]
        axis = next((axis for axis, (a, b) in enumerate(zip(shape, fixed, strict=True)) if a != b), None)
        if axis is not None:
            raise TraceError(
                f"{where}: --input-shape: input {name!r}: axis {axis} is fixed at {fixed[axis]}, not {shape[axis]} as "
                f"in {shown(shape)}; export it again with another size"
            )


@dataclass(slots=True)
class Symbols:
    """The sizes of dynamic axes by their names, and which of them are stated."""

    where: str
    sizes: dict[str, int] = field(default_factory=dict)
    stated: dict[str, int] = field(default_factory=dict)

    def state(self, symbol: str, size: int, name: str) -> None:
        """Take a size that is stated for an axis of input ``name``; TraceError if the same axis has another."""
        if self.stated.setdefault(symbol, size) != size:
            raise TraceError(
                f"{self.where}: --input-shape: input {name!r}: axis {symbol!r} is {size} here and "
                f"{self.stated[symbol]} elsewhere; give inputs that share an axis one size"
            )
        self.sizes[symbol] = size
