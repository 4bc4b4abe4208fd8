"""Scaling between technology nodes and supply voltages.

Energy and the area of memories follow A. Stillmaker and B. Baas, "Scaling equations for the accurate prediction
of CMOS device performance from 180 nm to 7 nm", Integration 58 (2017) 74-81, doi 10.1016/j.vlsi.2017.02.002: a quantity
X at (node a, voltage Va) is X f(b, Vb) / f(a, Va) at (b, Vb), where f is a polynomial in V per node. Nodes between the
published ones are interpolated: log f linear in log node, at the same voltage. Standard cells take the area that
libraries draw them with. DRAM is never scaled: a part has the energy of its standard, not of the chip beside it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Literal

from accelsim.errors import ConfigError

Process = Literal["hp", "lp"]

# Stillmaker & Baas 2017, energy: factor = e2 V^2 + e1 V + e0. Rows (e2, e1, e0); 65 nm and above have one process only.
_COMMON: dict[float, tuple[float, float, float]] = {
    180.0: (0.0, 24.64, -17.98),
    130.0: (7.171, -6.709, 2.904),
    90.0: (4.762, -4.781, 2.092),
    65.0: (3.755, -4.398, 1.975),
}
_COEFFICIENTS: dict[Process, dict[float, tuple[float, float, float]]] = {
    "hp": _COMMON
    | {
        45.0: (1.018, -0.3107, 0.1539),
        32.0: (0.8367, -0.4341, 0.1701),
        20.0: (0.373, -0.1582, 0.04104),
        16.0: (0.2958, -0.1241, 0.03024),
        14.0: (0.2363, -0.09675, 0.02239),
        10.0: (0.2068, -0.09311, 0.02375),
        7.0: (0.1776, -0.09097, 0.02447),
    },
    "lp": _COMMON
    | {
        45.0: (1.103, -0.362, 0.2767),
        32.0: (0.9559, -0.7823, 0.471),
        20.0: (0.2632, -0.14, 0.06841),
        16.0: (0.2139, -0.1187, 0.05639),
        14.0: (0.1556, -0.06472, 0.03066),
        10.0: (0.1261, -0.0518, 0.02769),
        7.0: (0.09365, -0.03409, 0.02043),
    },
}

# Stillmaker & Baas 2017, area table, row "from 45": multiply an area at 45 nm by the factor.
_AREA_FROM_45 = {
    180.0: 19.0, 130.0: 6.4, 90.0: 2.8, 65.0: 1.5, 45.0: 1.0, 32.0: 0.46, 20.0: 0.21, 16.0: 0.19, 14.0: 0.17, 10.0: 0.1,
    7.0: 0.059,
}  # fmt: skip

# Smallest two-input NAND of a library of each node, in um2: what a gate equivalent takes. A library is drawn, and cells
# have not shrunk as the equations' transistors: at 65 and 28 nm they are one and a half to two times as large.
# 130 nm and 7 nm: sky130_fd_sc_hd and ASAP7, as synthesised with (rtl/synth). The others are recalled, not read again:
# 180, 90, 65 nm: TSMC, nine or ten tracks (5.04 x 1.98, 2.52 x 1.12 and 1.8 x 0.8 um); 28 nm: ST FD-SOI, twelve tracks
# (TSMC's nine tracks 0.504); 22 nm: GF 22FDX, eight tracks; 12 nm: GF 12LP, as papers on the PULP chips state them.
_NAND2_UM2 = {180.0: 9.98, 130.0: 3.754, 90.0: 2.822, 65.0: 1.44, 28.0: 0.49, 22.0: 0.199, 12.0: 0.121, 7.0: 0.05832}

# Nominal supplies of the predictive technology model cards behind those fits (ptm.asu.edu, high performance).
_NOMINAL_VOLTAGE_V = {
    180.0: 1.8, 130.0: 1.3, 90.0: 1.2, 65.0: 1.1, 45.0: 1.0, 32.0: 0.9, 20.0: 0.9, 16.0: 0.85, 14.0: 0.8, 10.0: 0.75,
    7.0: 0.7,
}  # fmt: skip

# The fits are of 0.5 V up to a little above the nominal supply; beyond, a polynomial says nothing of a chip.
_SUPPLY_SPAN = (0.5, 1.3)
_ROUNDING = 1e-9

PUBLISHED_NODES_NM = tuple(sorted(_AREA_FROM_45))
LIBRARY_NODES_NM = (7.0, 130.0)  # of the open cell libraries that rows of gates lie between (rtl/synth/library.py)


@lru_cache(maxsize=256)
def nominal_voltage_v(node_nm: float) -> float:
    """Return the nominal core supply of a node, in volts (interpolated linearly in log node)."""
    return _interpolate(node_nm, lambda node: _NOMINAL_VOLTAGE_V[node])


def check_supply(node_nm: float, voltage_v: float) -> None:
    """Raise `ConfigError` for a supply that no chip of the node runs at: below half or above 1.3 times the nominal."""
    nominal = nominal_voltage_v(node_nm)
    if not _SUPPLY_SPAN[0] - _ROUNDING <= voltage_v / nominal <= _SUPPLY_SPAN[1] + _ROUNDING:
        low, high = (part * nominal for part in _SUPPLY_SPAN)
        raise ConfigError(
            f"voltage_v: {voltage_v:g} V is no supply of {node_nm:g} nm, whose nominal one is {nominal:.3g} V; "
            f"give {low:.3g} to {high:.3g} V, or null"
        )


@lru_cache(maxsize=256)
def energy_factor(node_nm: float, voltage_v: float, process: Process = "hp") -> float:
    """Return the relative energy of a switching event (Stillmaker & Baas 2017, energy fit).

    Raises
    ------
    ConfigError
        If the node is outside 7 to 180 nm, or the fit does not rise with voltage there (voltage too low for it).
    """
    return _interpolate_log(node_nm, lambda node: _energy_polynomial(node, voltage_v, process))


@lru_cache(maxsize=256)
def area_factor(node_nm: float) -> float:
    """Return an area relative to 45 nm (Stillmaker & Baas 2017, area table); errors as `energy_factor`."""
    return _interpolate_log(node_nm, lambda node: _AREA_FROM_45[node])


def scale_energy(from_nm: float, from_v: float, to_nm: float, to_v: float, process: Process = "hp") -> float:
    """Return what an energy at (``from_nm``, ``from_v``) is multiplied by to hold at (``to_nm``, ``to_v``)."""
    return energy_factor(to_nm, to_v, process) / energy_factor(from_nm, from_v, process)


def scale_area(from_nm: float, to_nm: float) -> float:
    """Return what an area at ``from_nm`` is multiplied by to hold at ``to_nm``."""
    return area_factor(to_nm) / area_factor(from_nm)


@lru_cache(maxsize=256)
def gate_um2(node_nm: float) -> float:
    """Return the area of a gate equivalent in um2; errors as `energy_factor`."""
    return _interpolate_log(node_nm, lambda node: _NAND2_UM2[node], tuple(sorted(_NAND2_UM2)))


def scale_cells(from_nm: float, to_nm: float) -> float:
    """Return what an area of standard cells at ``from_nm`` is multiplied by to hold at ``to_nm``."""
    return gate_um2(to_nm) / gate_um2(from_nm)


def between_libraries(from_nm: float, to_nm: float, exponent: float) -> float:
    """Return what a value between two cell libraries is multiplied by beside the equations, which are of transistors.

    At the nodes of the two libraries it is then their own figure. ``exponent`` is the logarithm of the ratio of their
    figures, brought to one node by the equations, over that of their nodes. Beyond them the nearest one's stays.
    """
    first, last = LIBRARY_NODES_NM
    return math.pow(min(max(to_nm, first), last) / min(max(from_nm, first), last), exponent)


def scale_wire_energy(from_v: float, to_v: float) -> float:
    """Return what a wire's energy per bit and mm is multiplied by: V^2 only.

    The capacitance per mm hardly changes with the node (Keckler et al., IEEE Micro 31(5) 2011, table 1).
    """
    return (to_v / from_v) ** 2


def scale_leakage(from_nm: float, from_v: float, to_nm: float, to_v: float) -> float:
    """Return what a leakage power per gate is multiplied by: as switching energy.

    Stillmaker and Baas give no leakage; scaling it like energy is the convention of Accelergy's component library. It
    is the weakest of the scalings here, and the range of the leakage rows says so.
    """
    return scale_energy(from_nm, from_v, to_nm, to_v)


def _energy_polynomial(node_nm: float, voltage_v: float, process: Process) -> float:
    square, linear, constant = _COEFFICIENTS[process][node_nm]
    factor = (square * voltage_v + linear) * voltage_v + constant
    if factor <= 0 or 2 * square * voltage_v + linear <= 0:
        raise ConfigError(_bad_voltage(node_nm, voltage_v))
    return factor


def _bad_voltage(node_nm: float, voltage_v: float) -> str:
    return (
        f"voltage_v: {voltage_v:g} V is outside the fit of {node_nm:g} nm (Stillmaker & Baas 2017); "
        f"give about {0.7 * _NOMINAL_VOLTAGE_V[node_nm]:.2g} to {1.1 * _NOMINAL_VOLTAGE_V[node_nm]:.2g} V, or null"
    )


@lru_cache(maxsize=64)
def _neighbours(node_nm: float, nodes: tuple[float, ...]) -> tuple[float, float, float]:
    """Return the published nodes below and above ``node_nm`` and the position between them, in log node."""
    if not PUBLISHED_NODES_NM[0] <= node_nm <= PUBLISHED_NODES_NM[-1]:
        raise ConfigError(
            f"node_nm: {node_nm:g} is outside the published scaling data; give {PUBLISHED_NODES_NM[0]:g} to "
            f"{PUBLISHED_NODES_NM[-1]:g} nm"
        )
    below = max(node for node in nodes if node <= node_nm)
    above = min(node for node in nodes if node >= node_nm)
    position = 0.0 if below == above else math.log(node_nm / below) / math.log(above / below)
    return below, above, position


def _interpolate(
    node_nm: float, value_at: Callable[[float], float], nodes: tuple[float, ...] = PUBLISHED_NODES_NM
) -> float:
    below, above, position = _neighbours(node_nm, nodes)
    return value_at(below) * (1 - position) + value_at(above) * position if position else value_at(below)


def _interpolate_log(
    node_nm: float, value_at: Callable[[float], float], nodes: tuple[float, ...] = PUBLISHED_NODES_NM
) -> float:
    return math.exp(_interpolate(node_nm, lambda node: math.log(value_at(node)), nodes))
