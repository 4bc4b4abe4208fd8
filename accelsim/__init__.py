"""accelsim: cycle-approximate simulation of accelerators that regenerate random weights on chip.

``accelsim.run``, ``accelsim.sweep`` and ``accelsim.explore`` do what the commands of these names do, and
``accelsim.trace_module`` turns a torch module into the layer trace that ``accelsim.run`` takes; they and what they need
are loaded when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from accelsim.api import explore, run, sweep, trace_module

__version__ = "0.1.0"
__all__ = ["__version__", "explore", "run", "sweep", "trace_module"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from accelsim import api  # noqa: PLC0415  `import accelsim` must stay cheap

        return getattr(api, name)
    raise AttributeError(f"module 'accelsim' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
