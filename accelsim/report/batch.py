"""How a batch goes through the chip, in words."""

from __future__ import annotations

from collections.abc import Sequence

from accelsim.groups import Group


def groups_words(groups: Sequence[Group]) -> str:
    """Return ``, in 2 groups of 3 inputs and one of 2``; nothing for a batch that runs at once."""
    first, *rest = groups
    if first.times == 1 and not rest:
        return ""
    size = first.trace.num_inputs
    parts = f"{first.times} group{'s' * (first.times > 1)} of {size} input{'s' * (size > 1)}"
    return f", in {parts}" + "".join(f" and one of {group.trace.num_inputs}" for group in rest)
