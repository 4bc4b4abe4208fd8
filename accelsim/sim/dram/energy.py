"""Energy of a memory by cause, a pure function of command counts and the device's currents.

JEDEC's definitions, as Micron's power notes (TN-40-07) use them, per device of a rank:

- activate/precharge: V (IDD0 tRC - IDD3N tRAS - IDD2N tRP), what a row cycle draws above standby;
- read and write: V (IDD4 - IDD3N) t_burst; refresh: V (IDD5 - IDD3N) tRFC;
- background: V IDD3N while a row of the rank is open, V IDD2N while none is.

V x mA x ns is pJ. The data bus is priced per bit, from the table.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

from accelsim.sim.dram import state as s
from accelsim.sim.dram.build import Memory


@dataclass(frozen=True, slots=True)
class DramEnergy:
    """Energy by cause in picojoules; `total` is their sum."""

    activate_precharge: float
    read: float
    write: float
    io: float
    refresh: float
    background_active: float
    background_idle: float

    @property
    def total(self) -> float:
        """Return the sum over causes."""
        return float(sum(asdict(self).values()))


@dataclass(frozen=True, slots=True)
class DevicePrices:
    """Energies of one command in one device, and standby powers, in pJ and mW."""

    activate_pj: float
    read_pj: float
    write_pj: float
    refresh_pj: float
    refresh_bank_pj: float
    active_mw: float
    idle_mw: float


def device_prices(memory: Memory) -> DevicePrices:
    """Return what one device of the memory takes for each command, and its standby powers."""
    table, t = memory.table, memory.table.timing
    tck, power = table.tck_ns, table.power
    bits = table.organisation.device_width_bits * table.organisation.burst_length
    banks = table.organisation.num_bank_groups * table.organisation.num_banks_per_group
    activate = read = write = refresh = refresh_bank = active = idle = 0.0
    for supply in power.supplies:
        v, above = supply.vdd_v, supply.idd3n_ma
        cycle = supply.idd0_ma * t.rc_cycles - above * t.ras_cycles - supply.idd2n_ma * t.rp_cycles
        activate += v * cycle * tck
        read += v * (supply.idd4r_ma - above) * t.burst_cycles * tck
        write += v * (supply.idd4w_ma - above) * t.burst_cycles * tck
        refresh += v * (supply.idd5_ma - above) * t.rfc_cycles * tck
        refresh_bank += v * max(0.0, supply.idd5_bank_ma - above) * t.rfc_bank_cycles * tck
        active += v * supply.idd3n_ma
        idle += v * supply.idd2n_ma
    return DevicePrices(
        activate_pj=activate if power.activate_pj is None else power.activate_pj,
        read_pj=read if power.read_pj_per_bit is None else power.read_pj_per_bit * bits,
        write_pj=write if power.write_pj_per_bit is None else power.write_pj_per_bit * bits,
        refresh_pj=refresh,
        refresh_bank_pj=refresh_bank if refresh_bank > 0 else refresh / banks,
        active_mw=active,
        idle_mw=idle,
    )


def dram_energy(memory: Memory, counts: s.IntArray, num_cycles: int) -> DramEnergy:
    """Return the energy of all channels over `num_cycles` memory cycles.

    Parameters
    ----------
    memory
        The configured memory.
    counts
        Sums over channels of the kernel's state rows; its ``N_*`` entries are used, ``N_ACTIVE_CYCLES`` complete to
        the end.
    num_cycles
        Length of the run.
    """
    organisation = memory.table.organisation
    devices = memory.config.bus_width_bits / organisation.num_pseudo_channels / organisation.device_width_bits
    price = device_prices(memory)
    tck = memory.table.tck_ns
    bits_per_burst = memory.config.burst_bytes * 8
    rank_cycles = num_cycles * memory.num_ranks * memory.config.num_channels
    active = int(counts[s.N_ACTIVE_CYCLES])
    bursts = int(counts[s.N_RD] + counts[s.N_WR])
    return DramEnergy(
        activate_precharge=float(counts[s.N_ACT] * price.activate_pj * devices),
        read=float(counts[s.N_RD] * price.read_pj * devices),
        write=float(counts[s.N_WR] * price.write_pj * devices),
        io=float(bursts * bits_per_burst * memory.table.power.io_pj_per_bit),
        refresh=float((counts[s.N_REF] * price.refresh_pj + counts[s.N_REFB] * price.refresh_bank_pj) * devices),
        background_active=float(price.active_mw * active * tck * devices),
        background_idle=float(price.idle_mw * (rank_cycles - active) * tck * devices),
    )
