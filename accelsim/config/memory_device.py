"""A memory device: organisation, timing, currents and interface from a table.

A table is one YAML file in ``memories/`` named after the standard. Timing values are given in cycles of the memory
clock or in nanoseconds (``rcd_read_ns: 18``); nanoseconds become cycles in `_to_cycles` and nowhere else.
"""

from __future__ import annotations

import math
from functools import cache, lru_cache
from importlib import resources
from typing import Any

from pydantic import Field, ValidationError
from ruamel.yaml import YAML

from accelsim.config.base import ConfigModel
from accelsim.errors import ConfigError

FAMILY_DEVICES = {
    "LPDDR": "LPDDR3-1866", "LPDDR3": "LPDDR3-1866", "LPDDR4": "LPDDR4-3200", "LPDDR5": "LPDDR5-6400",
    "DDR3": "DDR3-1600", "DDR4": "DDR4-2400", "DDR5": "DDR5-4800BN", "HBM": "HBM2", "HBM2": "HBM2", "HBM3": "HBM2",
}  # fmt: skip
"""The device whose currents stand for a standard without a table of its own. LPDDR, HBM and HBM3 have no source at all:
those of the next generation with one stand for them."""


class Organisation(ConfigModel):
    """What a channel is made of."""

    num_pseudo_channels: int = Field(1, ge=1, le=4)
    """Independent halves of a channel that share the command buses (HBM); they take the place of ranks."""
    num_bank_groups: int = Field(ge=1, le=16)
    """Bank groups of a rank."""
    num_banks_per_group: int = Field(ge=1, le=16)
    """Banks of a bank group."""
    num_rows: int = Field(ge=1, le=1 << 20)
    """Rows of a bank."""
    num_columns: int = Field(ge=1, le=1 << 16)
    """Columns of a row, each as wide as the data bus."""
    device_width_bits: int = Field(ge=4, le=1024)
    """Data bus of one device; a rank has as many as fill the channel's bus."""
    burst_length: int = Field(ge=1, le=64)
    """Transfers of one burst."""


class Timing(ConfigModel):
    """Timing in cycles of the memory clock, with the names of the JEDEC standards."""

    burst_cycles: int = Field(ge=1)
    """Data bus occupancy of a burst."""
    cl_cycles: int = Field(ge=0)
    """Read latency: command to first data."""
    cwl_cycles: int = Field(ge=0)
    """Write latency."""
    rcd_read_cycles: int = Field(ge=0)
    """Activate to read."""
    rcd_write_cycles: int = Field(ge=0)
    """Activate to write."""
    rp_cycles: int = Field(ge=0)
    """Precharge to activate."""
    rp_all_cycles: int = Field(ge=0)
    """Precharge of all banks to activate."""
    ras_cycles: int = Field(ge=0)
    """Activate to precharge."""
    rc_cycles: int = Field(ge=0)
    """Activate to activate of one bank."""
    ccd_s_cycles: int = Field(ge=0)
    """Read to read, other bank group."""
    ccd_l_cycles: int = Field(ge=0)
    """Read to read, same bank group."""
    ccd_write_s_cycles: int = Field(ge=0)
    """Write to write, other bank group."""
    ccd_write_l_cycles: int = Field(ge=0)
    """Write to write, same bank group."""
    rrd_s_cycles: int = Field(ge=0)
    """Activate to activate, other bank group."""
    rrd_l_cycles: int = Field(ge=0)
    """Activate to activate, same bank group."""
    faw_cycles: int = Field(ge=0)
    """Window that holds at most four activates of a rank."""
    wtr_s_cycles: int = Field(ge=0)
    """End of write data to read, other bank group."""
    wtr_l_cycles: int = Field(ge=0)
    """End of write data to read, same bank group."""
    wr_cycles: int = Field(ge=0)
    """End of write data to precharge."""
    rtp_cycles: int = Field(ge=0)
    """Read to precharge."""
    ppd_cycles: int = Field(0, ge=0)
    """Precharge to precharge of a rank."""
    rtw_bubble_cycles: int = Field(ge=0)
    """Idle bus between read data and write data."""
    rank_switch_cycles: int = Field(ge=0)
    """Idle bus between data of two ranks."""
    rfc_cycles: int = Field(ge=0)
    """Refresh of a rank."""
    rfc_bank_cycles: int = Field(0, ge=0)
    """Refresh of a bank; 0: the device has none."""
    refb_to_refb_cycles: int = Field(0, ge=0)
    """Bank refresh to the next one, other bank."""
    refb_to_act_cycles: int = Field(0, ge=0)
    """Bank refresh to activate, other bank."""
    refi_cycles: int = Field(ge=1)
    """Average interval of refreshes of a rank."""
    refi_bank_cycles: int = Field(0, ge=0)
    """Average interval of bank refreshes of a rank."""
    act_command_cycles: int = Field(1, ge=1, le=4)
    """Command bus cycles of an activate."""
    column_command_cycles: int = Field(1, ge=1, le=4)
    """Command bus cycles of a read or write."""
    split_activate_cycles: int = Field(0, ge=0)
    """Window for the second half of a split activate (LPDDR5); 0: activates are not split."""
    wck_postamble_cycles: int = Field(0, ge=0)
    """Cycles for which the data clock stays synchronised after a burst (LPDDR5)."""
    xp_cycles: int = Field(ge=0)
    """Exit from power-down to the next command."""
    cke_cycles: int = Field(ge=1)
    """Least stay in power-down."""
    sr_cycles: int = Field(ge=1)
    """Least stay in self-refresh."""
    xs_cycles: int = Field(ge=0)
    """Exit from self-refresh to the next command, a read included."""


class Supply(ConfigModel):
    """One supply of a device and the currents it delivers, with the names of the JEDEC standards."""

    vdd_v: float = Field(gt=0, le=3)
    """Voltage."""
    idd0_ma: float = Field(ge=0)
    """One bank activated and precharged every tRC."""
    idd2n_ma: float = Field(ge=0)
    """Standby, all banks closed."""
    idd3n_ma: float = Field(ge=0)
    """Standby, rows open."""
    idd4r_ma: float = Field(ge=0)
    """Reading without a gap."""
    idd4w_ma: float = Field(ge=0)
    """Writing without a gap."""
    idd5_ma: float = Field(ge=0)
    """Refreshing every tRFC."""
    idd2p_ma: float = Field(ge=0)
    """Power-down, all banks closed."""
    idd3p_ma: float = Field(ge=0)
    """Power-down, rows open."""
    idd6_ma: float = Field(ge=0)
    """Self-refresh."""
    idd5_bank_ma: float = Field(0.0, ge=0)
    """Refreshing a bank every tRFCpb; 0: not published."""


class Interface(ConfigModel):
    """Lines between controller and devices."""

    vddq_v: float = Field(gt=0, le=3)
    """Supply of the lines."""
    line_ohm: float | None = Field(gt=0, le=10000)
    """Driver and termination in series, through which a line of the driven level draws; null: unterminated."""
    rise_pj: float = Field(ge=0, le=100)
    """Charge of a line that goes up."""
    strobe_bits: int = Field(ge=1, le=1024)
    """Data lines for which a strobe pair is counted."""
    read_strobe_pairs: int = Field(1, ge=0, le=8)
    """Strobe and data clock pairs among them that toggle in a read."""
    write_strobe_pairs: int = Field(1, ge=0, le=8)
    """The same in a write."""
    activate_levels: float = Field(ge=0, le=100)
    """Lines of the channel's command bus at the driven level, times cycles, in an activate."""
    column_levels: float = Field(ge=0, le=100)
    """The same in a read or a write."""
    other_levels: float = Field(ge=0, le=100)
    """The same in a precharge or a refresh."""

    def level_mw(self) -> float:
        """Return what a line of the driven level draws."""
        return 0.0 if self.line_ohm is None else self.vddq_v**2 / self.line_ohm * 1000


class Power(ConfigModel):
    """Currents of one device; see `accelsim.cost.dram` for what is made of them."""

    source: str = Field(min_length=10)
    """Where the currents come from."""
    supplies: tuple[Supply, ...] = Field(min_length=1, strict=False)
    """The core supplies; the lines are in ``interface``."""
    activate_pj: float | None = Field(None, ge=0)
    """Activate and precharge in one device, where the currents do not give it."""
    read_pj_per_bit: float | None = Field(None, ge=0)
    """Reading from an open row, where the currents do not give it."""
    write_pj_per_bit: float | None = Field(None, ge=0)
    """Writing to an open row, where the currents do not give it."""
    interface: Interface
    """The lines."""
    interface_source: str = Field(min_length=10)
    """Where their figures come from."""


class DeviceTable(ConfigModel):
    """One memory standard, as in ``tables/<name>.yaml``."""

    name: str
    source: str = Field(min_length=10)
    """Where the figures come from."""
    tck_ns: float = Field(gt=0, le=100)
    """Period of the memory clock; the published figure, which may be rounded."""
    dual_command_bus: bool = False
    """Row and column commands have buses of their own (HBM)."""
    organisation: Organisation
    timing: Timing
    power: Power


def _to_cycles(section: dict[str, Any], tck_ns: float) -> dict[str, Any]:
    """Turn every ``x_ns`` of a timing section into ``x_cycles``, rounded up (a thousandth of a cycle is forgiven)."""
    return {
        (f"{key[:-3]}_cycles" if key.endswith("_ns") else key): (
            math.ceil(value / tck_ns - 1e-3) if key.endswith("_ns") else value
        )
        for key, value in section.items()
    }


@cache
def device_names() -> tuple[str, ...]:
    """Return the names of all standards with a timing table, sorted."""
    folder = resources.files("accelsim.config") / "memories"
    return tuple(sorted(entry.name[:-5] for entry in folder.iterdir() if entry.name.endswith(".yaml")))


@lru_cache(maxsize=32)
def load_device(standard: str) -> DeviceTable:
    """Return the timing table of a standard.

    Raises
    ------
    ConfigError
        If there is no such table, or it is not complete.
    """
    if standard not in device_names():
        known = ", ".join(device_names())
        raise ConfigError(f"dram.standard: {standard!r} has no timing table; allowed with model: timing are {known}")
    text = (resources.files("accelsim.config") / "memories" / f"{standard}.yaml").read_text(encoding="utf-8")
    return parse_device(text, standard)


def parse_device(text: str, name: str) -> DeviceTable:
    """Return the table in a YAML text; `name` is for messages."""
    data = YAML(typ="safe").load(text)
    try:
        data["timing"] = _to_cycles(data["timing"], data["tck_ns"])
        return DeviceTable.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"memory table {name}: {where}: {first['msg']}; give the figure and its source") from error
    except (KeyError, TypeError) as error:
        raise ConfigError(f"memory table {name}: {error} is missing; give organisation, timing and power") from error


@lru_cache(maxsize=32)
def device_of(standard: str) -> DeviceTable:
    """Return the table of a standard, or that of its family (see `FAMILY_DEVICES`)."""
    if standard in device_names():
        return load_device(standard)
    fitting = [family for family in FAMILY_DEVICES if standard.upper().startswith(family)]
    return load_device(FAMILY_DEVICES[max(fitting, key=len)])
