"""How a batch goes through the chip, in words."""

from __future__ import annotations

from collections.abc import Sequence

from accelsim.groups import Group


def groups_words(groups: Sequence[Group]) -> str:
    """Return ``, in 2 groups of 3 inputs and one of 2``, of each stretch of layers; nothing for a batch at once."""
    stretches: dict[str, list[Group]] = {}
    for group in groups:
        stretches.setdefault(group.trace.layers[-1].name, []).append(group)
    if len(stretches) == 1:
        return f", {_words(groups)}" if sum(group.times for group in groups) > 1 else ""
    *others, last = stretches.items()
    parts = [f"{_words(own)} up to {name}" for name, own in others]
    return f", {', '.join(parts)}, then {_words(last[1])}"


def _words(groups: Sequence[Group]) -> str:
    first, *rest = groups
    if first.times == 1 and not rest:
        return "at once"
    size = first.trace.num_inputs
    parts = f"in {first.times} group{'s' * (first.times > 1)} of {size} input{'s' * (size > 1)}"
    return parts + "".join(f" and one of {group.trace.num_inputs}" for group in rest)
