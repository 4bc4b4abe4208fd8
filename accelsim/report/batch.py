"""How a batch goes through the chip, in words."""

from __future__ import annotations

from collections.abc import Sequence

from accelsim.groups import Group


def groups_words(groups: Sequence[Group]) -> str:
    """Return ``, batch 64: 8 groups of 8 inputs``; nothing for one input at a time, the batch alone for one group."""
    batch = sum(group.times * group.trace.num_inputs for group in groups)
    if batch == 1:
        return ""
    first, *rest = groups
    if first.times == 1 and not rest:
        return f", batch {batch:,}"
    size = first.trace.num_inputs
    parts = f"{first.times} group{'s' * (first.times > 1)} of {size} input{'s' * (size > 1)}"
    return f", batch {batch:,}: {parts}" + "".join(f" and one of {group.trace.num_inputs}" for group in rest)
