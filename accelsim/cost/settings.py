"""Settings of a chip that change what a run costs and not how long it takes: a saved run is costed again with them."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import ValidationError

from accelsim.config.explain import explain
from accelsim.config.hardware import HardwareConfig
from accelsim.config.memory_device import device_of
from accelsim.config.overrides import apply_overrides, parse_override, refuse_twice
from accelsim.errors import ConfigError
from accelsim.sim.counters import Counters
from accelsim.timing.power_states import num_wakes

POLICY = ("dram.power_down_after_ns", "dram.power_down_kind", "dram.self_refresh_after_ns")
_OPTIONS = {"node_nm": "--node", "voltage_v": "--voltage"}  # of `accelsim cost`
_CELLS = tuple(f"{name}.cells" for name in ("activation_buffer", "weight_buffer", "mask_buffer", "accumulator"))
COST_SETTINGS = (*POLICY, "dram.clock_stop", "dram.traffic_pj_per_bit", "clock_gating", "leakage_class", *_CELLS)


def with_settings(hardware: HardwareConfig, texts: Sequence[str]) -> HardwareConfig:
    """Return a chip with other settings, texts ``path=value`` of `COST_SETTINGS`.

    Raises
    ------
    ConfigError
        One is not of that form, changes the time of a run, or has no such value.
    """
    overrides = [parse_override(text, HardwareConfig) for text in texts]
    refuse_twice(overrides)
    for override in overrides:
        path = ".".join(str(part) for part in override.location)
        if path in _OPTIONS:
            raise ConfigError(f"{override.where}: {path} is an option of its own here; give {_OPTIONS[path]}")
        if path not in COST_SETTINGS:
            raise ConfigError(
                f"{override.where}: {path} is more than a setting of cost; run it again with it, or set one of "
                f"{', '.join(COST_SETTINGS)}"
            )
    try:
        return HardwareConfig.model_validate(apply_overrides(hardware.model_dump(), overrides, HardwareConfig))
    except ValidationError as error:
        raise ConfigError(f"--set: {explain(error.errors()[0], HardwareConfig)}") from error


def time_remark(counters: Counters, before: HardwareConfig, after: HardwareConfig) -> str | None:
    """Return by how much a run would take longer with another memory policy, at most; None where it would not change.

    Each request that finds the memory asleep waits for an exit, which the array need not notice.
    """
    if counters.dram is None or before.memory == "ideal":
        return None
    device = device_of(before.dram.standard)
    waits_ns = []
    for hardware in (before, after):
        from_power_down, from_self_refresh = num_wakes(counters.dram, hardware.dram)
        cycles = from_power_down * device.timing.xp_cycles + from_self_refresh * device.timing.xs_cycles
        waits_ns.append(cycles * device.tck_ns)
    change_ns = waits_ns[1] - waits_ns[0]
    if not change_ns:
        return None
    share = abs(change_ns) / counters.dram.time_ns
    word = "longer" if change_ns > 0 else "shorter"
    return (
        f"{counters.storage}: times are as simulated; with this memory policy the run would be {word} by at most "
        f"{abs(change_ns) / 1000:.3g} us ({share:.2%}), the exits from its sleep"
    )
