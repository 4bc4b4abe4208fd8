"""How a layer is cut into tiles: sizes along each loop, and the order of the loops over tiles.

R and S are split only where a user's mapping says so.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from accelsim.trace.model import LoopDims

Loop = Literal["N", "G", "K", "C", "P", "Q", "R", "S"]
LOOPS: tuple[Loop, ...] = ("N", "G", "K", "C", "P", "Q")  # what the mapper splits
WINDOW_LOOPS: tuple[Loop, ...] = ("R", "S")
ALL_LOOPS: tuple[Loop, ...] = LOOPS + WINDOW_LOOPS


@dataclass(frozen=True, slots=True)
class Tiling:
    """Tile sizes (K and C per group) and the order of the loops over tiles, outermost first.

    Attributes
    ----------
    R, S
        Filter rows and columns of a tile; 0 means whole.
    keep
        ``buffers``: an operand is kept on chip from as far out as its buffer allows. ``tile``: one tile of each operand
        is held, and every step loads its operands again (as command-driven accelerators do); partial sums stay while
        the steps that add to them follow each other.
    is_general
        Stated for several layers: where it does not fit a layer's buffers, its tiles are made smaller.
    """

    N: int
    G: int
    K: int
    C: int
    P: int
    Q: int
    order: tuple[Loop, ...]
    R: int = 0
    S: int = 0
    keep: Literal["buffers", "tile"] = "buffers"
    is_general: bool = False

    def size(self, loop: Loop) -> int:
        """Return the tile size along a loop."""
        value: int = getattr(self, loop)
        return value

    @property
    def whole_order(self) -> tuple[Loop, ...]:
        """Return the order of all loops; those that are not named stand innermost."""
        return self.order + tuple(loop for loop in ALL_LOOPS if loop not in self.order)

    def counts(self, dims: LoopDims) -> dict[Loop, int]:
        """Return the number of tiles along each loop."""
        return {  # written out: it is asked for several times in each tiling that is solved
            "N": -(-dims.N // self.N), "G": -(-dims.G // self.G), "K": -(-dims.K // self.K), "C": -(-dims.C // self.C),
            "P": -(-dims.P // self.P), "Q": -(-dims.Q // self.Q),
            "R": -(-dims.R // self.R) if self.R else 1, "S": -(-dims.S // self.S) if self.S else 1,
        }  # fmt: skip

    def cut_to(self, dims: LoopDims) -> Tiling:
        """Return the tiling with tiles no larger than a layer: a part of the one that it was made for."""
        return replace(self, **{loop: min(self.size(loop), getattr(dims, loop)) for loop in LOOPS})

    def splits_window(self, dims: LoopDims) -> bool:
        """Return whether R or S is split."""
        counts = self.counts(dims)
        return counts["R"] > 1 or counts["S"] > 1
