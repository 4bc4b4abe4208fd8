"""Energy of a memory by component: commands, data and time by power state, from the currents of a device table.

Per device and supply, as JEDEC defines the currents (V x mA x ns is pJ):

- ``act_pre``: V (IDD0 - IDD3N) tRAS for an activate, V (IDD0 - IDD2N) tRP for a precharge;
- ``rd``, ``wr``: V (IDD4 - IDD3N) for the time of a burst; ``ref``: V (IDD5 - IDD3N) tRFC;
- ``active``, ``precharged``, ``pd``, ``apd``, ``sr``: V IDD3N, IDD2N, IDD2P, IDD3P, IDD6 for the time in the state;
- the lines: ``dq`` data with half of the bits driven and a quarter rising, ``strobe``, ``ca`` commands, and ``ck``, the
  channel's clock pair, which stands still as `DramConfig.clock_stop` says.

Each is times a row of the tables that says how far measured parts and hot ones are from the data sheet. The controller
and its PHY are in none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from functools import lru_cache

from accelsim.config.dram import DramConfig
from accelsim.config.hardware import HardwareConfig
from accelsim.config.memory_device import DeviceTable, Supply, device_of
from accelsim.cost.terms import Price, Term, joined
from accelsim.sim.counters import Counters
from accelsim.timing.power_states import (
    STATES,
    DramActivity,
    DramStates,
    Policy,
    num_ranks,
    policy_of,
    refresh_ns,
    sleeping_state,
)

FACTORS = {
    "act_pre": "dram_activate_current", "rd": "dram_read_current", "wr": "dram_write_current",
    "ref": "dram_refresh_current", "active": "dram_standby_current", "precharged": "dram_standby_current",
    "pd": "dram_sleep_current", "apd": "dram_sleep_current", "sr": "dram_sleep_current", "dq": "dram_lines",
    "strobe": "dram_lines", "ca": "dram_lines", "ck": "dram_lines",
}  # fmt: skip
"""Component -> the row that its energy is proportional to."""
COMPONENTS = tuple(FACTORS)
BY_TRAFFIC = ("act_pre", "rd", "wr", "dq", "strobe", "ca")
"""Components that follow the bytes moved; the others follow time."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """Bits that crossed the data bus."""

    read_bits: float
    write_bits: float


def component_pj(dram: DramConfig, states: DramStates, traffic: Traffic) -> dict[str, float]:
    """Return the energy by component at the table's currents, in pJ of all devices and lines."""
    device = device_of(dram.standard)
    return _core_pj(dram, device, states, traffic) | _line_pj(dram, device, states, traffic)


def component_prices(dram: DramConfig, states: DramStates, traffic: Traffic) -> dict[str, Price]:
    """Return `component_pj` as products with their rows; a stated price of traffic has none."""
    energies = component_pj(dram, states, traffic)
    prices: dict[str, Price] = {
        name: (Term(energies[name], (FACTORS[name],)),) if energies[name] else () for name in COMPONENTS
    }
    stated = dram.traffic_pj_per_bit
    if stated is None:
        return prices
    moved = {"rd": traffic.read_bits * stated, "wr": traffic.write_bits * stated}
    return prices | dict.fromkeys(BY_TRAFFIC, ()) | {name: (Term(pj, ()),) for name, pj in moved.items() if pj}


def bit_prices(dram: DramConfig) -> dict[str, Price]:
    """Return what one more bit costs, by action: devices and lines, and standby with rows open for its time on the bus.

    With `idle_price_w` it is an estimate for where nothing is known of gaps.
    """
    ns_per_bit = 1 / (8 * dram.peak_bytes_per_ns)
    asleep = sleeping_state(dram)
    awake = joined([_state_price(dram, "active", ns_per_bit), _state_price(dram, asleep, -ns_per_bit)])
    return {action: joined([awake, price]) for action, price in traffic_prices(dram).items()}


@lru_cache(maxsize=64)
def traffic_prices(dram: DramConfig) -> Mapping[str, Price]:
    """Return what one more bit costs in devices and lines, by action; commands and standby are in `state_prices`."""
    return {
        action: joined(component_prices(dram, NO_STATES, traffic)[name] for name in BY_TRAFFIC)
        for action, traffic in (("read_bits", Traffic(1, 0)), ("write_bits", Traffic(0, 1)))
    }


@lru_cache(maxsize=64)
def state_prices(dram: DramConfig) -> Mapping[str, Price]:
    """Return what each command costs, and a ns of one rank in each state: the fields of `DramStates`."""
    return {
        field.name: joined(component_prices(dram, replace(NO_STATES, **{field.name: 1.0}), Traffic(0, 0)).values())
        for field in fields(DramStates)
    }


def idle_price_w(dram: DramConfig) -> Price:
    """Return the power between requests: in power-down where the memory goes there, else with rows open; refreshes."""
    device = device_of(dram.standard)
    interval_ns, _ = refresh_ns(dram, device)
    ck_w = _line_pj(dram, device, _a_ns_of(dram, sleeping_state(dram)), Traffic(0, 0))["ck"] * 1e-3
    refresh_w = command_pj(device)[2] * num_devices(dram, device) / interval_ns * 1e-3
    return joined(
        [
            _state_price(dram, sleeping_state(dram), 1e-3),
            (Term(refresh_w, (FACTORS["ref"],)),),
            (Term(ck_w, (FACTORS["ck"],)),),
        ]
    )


def _state_price(dram: DramConfig, state: str, factor: float) -> Price:
    """Return the power of all devices in a state, in mW times ``factor``."""
    device = device_of(dram.standard)
    return (Term(device_mw(device, state) * num_devices(dram, device) * factor, (FACTORS[state],)),)


def _a_ns_of(dram: DramConfig, state: str) -> DramStates:
    """Return all ranks in one state for a nanosecond."""
    return replace(NO_STATES, **{state: float(num_ranks(dram))})


def num_devices(dram: DramConfig, device: DeviceTable) -> float:
    """Return how many devices all channels have."""
    per_channel = dram.bus_width_bits / device.organisation.device_width_bits
    return per_channel * dram.num_ranks * dram.num_channels


def price_figures(dram: DramConfig) -> dict[str, float]:
    """Return what commands cost on all devices of a rank, a bit, and all devices in each state."""
    device = device_of(dram.standard)
    ranks = num_ranks(dram)
    devices = num_devices(dram, device)
    activate, precharge, refresh, _ = command_pj(device)
    read, write = bit_pj(device)
    line = _line_pj(dram, device, NO_STATES, Traffic(1, 0))
    lines = line["dq"] + line["strobe"] + line["ca"]
    if (stated := dram.traffic_pj_per_bit) is not None:
        activate, precharge, read, write, lines = 0.0, 0.0, stated, stated, 0.0
    return {
        "activate_precharge_pj": (activate + precharge) * devices / ranks,
        "refresh_pj": refresh * devices / ranks,
        "read_pj_per_bit": read,
        "write_pj_per_bit": write,
        "lines_pj_per_bit": lines,
        **{f"{shown}_mw": device_mw(device, name) * devices for name, shown in _SHOWN.items()},
    }


_SHOWN = {
    "active": "standby_row_open", "precharged": "standby_all_closed", "apd": "power_down_row_open",
    "pd": "power_down_all_closed", "sr": "self_refresh",
}  # fmt: skip


def device_mw(device: DeviceTable, state: str) -> float:
    """Return the power of one device in a state, in mW."""
    return _milliwatts(device, _CURRENTS[state])


_CURRENTS: dict[str, Callable[[Supply], float]] = {
    "active": lambda supply: supply.idd3n_ma,
    "precharged": lambda supply: supply.idd2n_ma,
    "pd": lambda supply: supply.idd2p_ma,
    "apd": lambda supply: supply.idd3p_ma,
    "sr": lambda supply: supply.idd6_ma,
}


def run_energy(counters: Counters, hardware: HardwareConfig) -> dict[str, DramLine]:
    """Return the memory's energy of a run by component; an ideal memory spends what its traffic does.

    A run whose gaps are not known counts as one without any.
    """
    dram = hardware.dram
    traffic = Traffic(_bits(counters, "read_bits"), _bits(counters, "write_bits"))
    states = NO_STATES
    if hardware.memory != "ideal":
        states = (counters.dram or _without_gaps(counters, hardware, traffic)).states(dram)
    bits = traffic.read_bits + traffic.write_bits
    counts = {
        "act_pre": states.num_activates, "rd": traffic.read_bits, "wr": traffic.write_bits,
        "ref": states.num_refreshes + states.num_bank_refreshes, "dq": bits, "strobe": bits, "ca": bits,
        "ck": states.time_ns, **{name: getattr(states, name) for name in STATES},
    }  # fmt: skip
    prices = component_prices(dram, states, traffic)
    return {name: DramLine(max(1, round(counts[name])), prices[name]) for name in COMPONENTS}


def policies(dram: DramConfig) -> dict[str, DramConfig]:
    """Return the memory with its own policy and with the usual others, by what is said of them; its own comes first."""
    usual = (Policy(None, "precharge", None), Policy(640.0, "precharge", None), Policy(640.0, "precharge", 20_000.0))
    found = {policy_words(policy_of(dram)) + " (this chip)": dram}
    for policy in usual:
        if policy_words(policy) != policy_words(policy_of(dram)):
            found[policy_words(policy)] = dram.model_copy(update=asdict(policy))
    return found


def policy_words(policy: Policy) -> str:
    """Return what a policy does, in words."""
    words = []
    if policy.power_down_after_ns is not None:
        kind = "active power-down" if policy.power_down_kind == "active" else "power-down"
        words.append(f"{kind} after {policy.power_down_after_ns:g} ns")
    if policy.self_refresh_after_ns is not None:
        words.append(f"self-refresh after {policy.self_refresh_after_ns / 1000:g} us")
    return " and ".join(words) or "never asleep"


def layer_shares(counters: Counters) -> tuple[tuple[float, float], ...]:
    """Return each layer's shares of the traffic and of the time, by which it is charged the memory's components.

    The mean power of a run's background is that of each of its layers: a request for a later one ends a gap.
    """
    bits = [sum(layer.actions.get("dram", {}).values()) for layer in counters.layers]
    cycles = [layer.latency_cycles for layer in counters.layers]
    return tuple(zip(_shares(bits if sum(bits) else cycles), _shares(cycles), strict=True))


@dataclass(frozen=True, slots=True)
class DramLine:
    """A component of a run: what is counted (commands, bits or ns), and the energy of all of it in pJ."""

    count: int
    energy_pj: Price


def _shares(amounts: list[int]) -> list[float]:
    total = sum(amounts)
    return [amount / total if total else 1 / len(amounts) for amount in amounts]


def _bits(counters: Counters, action: str) -> int:
    return sum(layer.actions.get("dram", {}).get(action, 0) for layer in counters.layers)


def _without_gaps(counters: Counters, hardware: HardwareConfig, traffic: Traffic) -> DramActivity:
    cycles = sum(layer.latency_cycles for layer in counters.layers)
    # Long transfers in order open each row once.
    row_bits = device_of(hardware.dram.standard).organisation.num_columns * hardware.dram.bus_width_bits
    openings = (traffic.read_bits + traffic.write_bits) / row_bits
    return DramActivity(cycles * 1000 / hardware.clock_mhz, (), openings, 1.0)


NO_STATES = DramStates(*(0.0,) * 11)


def _milliwatts(device: DeviceTable, current: Callable[[Supply], float]) -> float:
    return sum(supply.vdd_v * current(supply) for supply in device.power.supplies)


def bit_pj(device: DeviceTable) -> tuple[float, float]:
    """Return what a bit read from and written to an open row costs in the devices."""
    power, made = device.power, device.organisation
    burst_ns = device.timing.burst_cycles * device.tck_ns
    bits = made.device_width_bits * made.burst_length
    # Data sheets state the current of a burst with standby in it, which `states` pays for: what is above it counts.
    read = _milliwatts(device, lambda supply: supply.idd4r_ma - supply.idd3n_ma) * burst_ns / bits
    write = _milliwatts(device, lambda supply: supply.idd4w_ma - supply.idd3n_ma) * burst_ns / bits
    return (
        read if power.read_pj_per_bit is None else power.read_pj_per_bit,
        write if power.write_pj_per_bit is None else power.write_pj_per_bit,
    )


def command_pj(device: DeviceTable) -> tuple[float, float, float, float]:
    """Return what an activate, a precharge, a refresh and a bank refresh cost in one device, above standby."""
    timing, tck = device.timing, device.tck_ns
    # IDD0 is the mean of activate and precharge in turn: above open standby while the row is open, then above closed.
    activate = _milliwatts(device, lambda supply: supply.idd0_ma - supply.idd3n_ma) * timing.ras_cycles * tck
    precharge = _milliwatts(device, lambda supply: supply.idd0_ma - supply.idd2n_ma) * timing.rp_cycles * tck
    if device.power.activate_pj is not None:
        activate, precharge = device.power.activate_pj, 0.0  # stated for the pair
    refresh = _milliwatts(device, lambda supply: supply.idd5_ma - supply.idd3n_ma) * timing.rfc_cycles * tck
    # Standards without a current for it refresh a bank with its share of a whole refresh.
    bank = _milliwatts(device, lambda supply: max(0.0, supply.idd5_bank_ma - supply.idd3n_ma))
    banks = device.organisation.num_bank_groups * device.organisation.num_banks_per_group
    return activate, precharge, refresh, bank * timing.rfc_bank_cycles * tck if bank else refresh / banks


def _core_pj(dram: DramConfig, device: DeviceTable, states: DramStates, traffic: Traffic) -> dict[str, float]:
    ranks = num_ranks(dram)
    of_a_rank = num_devices(dram, device) / ranks
    activate, precharge, refresh, bank_refresh = command_pj(device)
    read, write = bit_pj(device)
    return {
        "act_pre": (states.num_activates * activate + states.num_precharges * precharge) * of_a_rank,
        "rd": traffic.read_bits * read,
        "wr": traffic.write_bits * write,
        "ref": (states.num_refreshes * refresh + states.num_bank_refreshes * bank_refresh) * of_a_rank,
        **{name: getattr(states, name) * device_mw(device, name) * of_a_rank for name in _CURRENTS},
    }


def _line_pj(dram: DramConfig, device: DeviceTable, states: DramStates, traffic: Traffic) -> dict[str, float]:
    lines, made, tck = device.power.interface, device.organisation, device.tck_ns
    level_mw = lines.level_mw()
    burst_ns = device.timing.burst_cycles * tck
    bits = traffic.read_bits + traffic.write_bits
    # A pair has one line at the driven level, and each line rises once in two transfers.
    pair = level_mw * burst_ns + made.burst_length * lines.rise_pj
    strobed = traffic.read_bits * lines.read_strobe_pairs + traffic.write_bits * lines.write_strobe_pairs
    others = states.num_precharges + states.num_refreshes + states.num_bank_refreshes
    bursts = bits / (8 * dram.burst_bytes)
    levels = states.num_activates * lines.activate_levels + bursts * lines.column_levels + others * lines.other_levels
    stopped = {"never": 0.0, "power_down": states.pd + states.apd + states.sr, "self_refresh": states.sr}
    ranks = dram.num_ranks * made.num_pseudo_channels  # share the clock of their channel
    clocked_ns = (states.time_ns - stopped[dram.clock_stop]) / ranks
    return {
        # Of random data half the bits are at the driven level, and a quarter rise from the one before.
        "dq": bits * (0.5 * level_mw * burst_ns / made.burst_length + 0.25 * lines.rise_pj),
        "strobe": strobed / made.burst_length / lines.strobe_bits * pair,
        "ca": levels * (level_mw * tck + lines.rise_pj),
        "ck": clocked_ns * (level_mw + 2 * lines.rise_pj / tck),
    }
