"""How sure a cost is: every constant sampled in its range, bands, probabilities of comparisons, and what matters most.

Sampling. Each constant has its value as median and is log-uniform on either side: between low and value with
probability one half, between value and high with the other half. Rows with the same source text vary together: their
quantiles come from a Gaussian copula with correlation `SOURCE_CORRELATION` within a source and none between sources.
All formats of a report see the same draws, so what they share cancels in comparisons. A constant's draws depend on the
seed, its name and its source only, so a new row does not change those of the others.
"""

from __future__ import annotations

import itertools
import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from accelsim.config.hardware import HardwareConfig
from accelsim.cost.area import area_prices
from accelsim.cost.evaluate import energy_price_j
from accelsim.cost.report import ENERGY_UNITS
from accelsim.cost.tables import CostRow, CostTables
from accelsim.cost.terms import FloatArray, Price, constants_of, joined, resolve, resolve_draws
from accelsim.cost.traits import Pricer, run_traits
from accelsim.errors import ConfigError
from accelsim.sim.counters import Counters

SOURCE_CORRELATION = 0.8
MAX_DRAWS = 100_000


@dataclass(frozen=True, slots=True)
class Band:
    """A figure with its spread: at the tables' values, and the 5 %, 50 % and 95 % quantiles of the draws."""

    value: float
    p05: float
    p50: float
    p95: float


@dataclass(frozen=True, slots=True)
class FormatBands:
    """Bands of one storage format: total energy in J, energy per unit in J, total area in mm2."""

    storage: str
    energy_j: Band
    energy_j_by_unit: dict[str, Band]
    area_mm2: Band


@dataclass(frozen=True, slots=True)
class ComparisonBands:
    """How surely ``first`` needs less energy than ``second``.

    Attributes
    ----------
    probability
        Fraction of draws in which energy(first) < energy(second).
    ratio
        Band of energy(second) / energy(first).
    """

    first: str
    second: str
    probability: float
    ratio: Band


@dataclass(frozen=True, slots=True)
class TornadoBar:
    """The subject with one constant at the low and at the high end of its range, all others at their values."""

    constant: str
    source: str
    at_low: float
    at_high: float

    @property
    def swing(self) -> float:
        """Return the distance between the two ends."""
        return abs(self.at_high - self.at_low)


@dataclass(frozen=True, slots=True)
class Tornado:
    """Bars, widest first, of an energy in J (``subject`` a format) or of a ratio (``subject`` = "second / first")."""

    subject: str
    value: float
    bars: tuple[TornadoBar, ...]


@dataclass(frozen=True, slots=True)
class UncertaintyReport:
    """Everything that `uncertainty` finds; formats in the order given, each unordered pair compared once."""

    num_draws: int
    seed: int
    source_correlation: float
    formats: tuple[FormatBands, ...]
    comparisons: tuple[ComparisonBands, ...]
    tornados: tuple[Tornado, ...]


@dataclass(frozen=True, slots=True)
class _FormatPrices:
    storage: str
    by_unit: dict[str, Price]
    energy_j: Price
    area_mm2: Price


def uncertainty(
    counters_by_format: Mapping[str, Counters],
    hardware: HardwareConfig,
    tables: CostTables,
    num_draws: int = 1000,
    seed: int = 0,
) -> UncertaintyReport:
    """Return bands, comparison probabilities and tornados of runs on one chip.

    Parameters
    ----------
    counters_by_format
        Storage format -> counters of its run.
    num_draws
        Samples, 2 to 100,000.
    seed
        Not negative; equal seeds give equal reports.

    Raises
    ------
    ConfigError
        As `accelsim.cost.evaluate.evaluate`, or if ``num_draws`` or ``seed`` is out of range.
    """
    if not 2 <= num_draws <= MAX_DRAWS:
        raise ConfigError(f"num_draws: {num_draws} is not allowed; give 2 to {MAX_DRAWS}")
    if seed < 0:
        raise ConfigError(f"seed: {seed} is not >= 0; give a whole number from 0")
    prices = [_format_prices(name, counters, hardware, tables) for name, counters in counters_by_format.items()]
    used = constants_of(joined(itertools.chain.from_iterable((each.energy_j, each.area_mm2) for each in prices)))
    draws = sample([tables.row(name) for name in used], num_draws, seed)
    energy_j = {each.storage: resolve_draws(each.energy_j, draws, num_draws) for each in prices}
    formats = tuple(_format_bands(each, energy_j[each.storage], draws, tables, num_draws) for each in prices)
    pairs = list(itertools.combinations(prices, 2))
    return UncertaintyReport(
        num_draws=num_draws,
        seed=seed,
        source_correlation=SOURCE_CORRELATION,
        formats=formats,
        comparisons=tuple(_compare(first, second, energy_j, tables) for first, second in pairs),
        tornados=(
            *(_tornado(each.storage, (each.energy_j,), tables) for each in prices),
            *(
                _tornado(f"{second.storage} / {first.storage}", (second.energy_j, first.energy_j), tables)
                for first, second in pairs
            ),
        ),
    )


def sample(rows: Sequence[CostRow], num_draws: int, seed: int) -> dict[str, FloatArray]:
    """Return ``num_draws`` samples of every row, correlated within a source (see the module)."""
    common: dict[str, FloatArray] = {}
    draws: dict[str, FloatArray] = {}
    for row in rows:
        if row.source not in common:
            common[row.source] = _normal(seed, f"source {row.source}", num_draws)
        own = _normal(seed, f"row {row.name}", num_draws)
        # Roots, so that the mixture has a variance of 1 and any two rows of a source correlate as stated.
        mixed = math.sqrt(SOURCE_CORRELATION) * common[row.source] + math.sqrt(1 - SOURCE_CORRELATION) * own
        draws[row.name] = quantile(row, _normal_cdf(mixed))
    return draws


def quantile(row: CostRow, probability: FloatArray) -> FloatArray:
    """Return the values of ``row`` at ``probability``: low at 0, the value at 0.5, high at 1, log-uniform between."""
    if row.low == row.high:
        return np.full(probability.shape, row.value)
    low, value, high = math.log(row.low), math.log(row.value), math.log(row.high)
    below = low + (value - low) * 2 * probability
    above = value + (high - value) * (2 * probability - 1)
    return np.exp(np.where(probability < 0.5, below, above))


def _normal(seed: int, label: str, num_draws: int) -> FloatArray:
    # A stream for each name: a row more in a table leaves the draws of all others as they were.
    generator = np.random.Generator(np.random.Philox([seed, zlib.crc32(label.encode())]))
    return generator.standard_normal(num_draws)


def _normal_cdf(values: FloatArray) -> FloatArray:
    return np.array([0.5 * (1 + math.erf(value / math.sqrt(2))) for value in values])


def _format_prices(storage: str, counters: Counters, hardware: HardwareConfig, tables: CostTables) -> _FormatPrices:
    by_unit = energy_price_j(counters, hardware, tables)
    area = area_prices(Pricer(hardware, tables, run_traits(counters)))
    return _FormatPrices(storage, by_unit, joined(by_unit.values()), joined(area.values()))


def _band(value: float, draws: FloatArray) -> Band:
    p05, p50, p95 = (float(each) for each in np.quantile(draws, [0.05, 0.5, 0.95]))
    return Band(value=value, p05=p05, p50=p50, p95=p95)


def _format_bands(
    prices: _FormatPrices,
    energy_j: FloatArray,
    draws: Mapping[str, FloatArray],
    tables: CostTables,
    num_draws: int,
) -> FormatBands:
    return FormatBands(
        storage=prices.storage,
        energy_j=_band(resolve(prices.energy_j, tables.values), energy_j),
        energy_j_by_unit={
            unit: _band(
                resolve(prices.by_unit[unit], tables.values), resolve_draws(prices.by_unit[unit], draws, num_draws)
            )
            for unit in ENERGY_UNITS
        },
        area_mm2=_band(resolve(prices.area_mm2, tables.values), resolve_draws(prices.area_mm2, draws, num_draws)),
    )


def _compare(
    first: _FormatPrices, second: _FormatPrices, energy_j: Mapping[str, FloatArray], tables: CostTables
) -> ComparisonBands:
    ours, theirs = energy_j[first.storage], energy_j[second.storage]
    value = resolve(second.energy_j, tables.values) / resolve(first.energy_j, tables.values)
    return ComparisonBands(
        first=first.storage,
        second=second.storage,
        # Both formats see the same draws: what they share cancels in the comparison, as it would on one chip.
        probability=float(np.mean(ours < theirs)),
        ratio=_band(value, theirs / ours),
    )


def _tornado(subject: str, prices: tuple[Price, ...], tables: CostTables) -> Tornado:
    """Return the tornado of a price, or of the ratio of two."""

    def figure(values: Mapping[str, float]) -> float:
        top = resolve(prices[0], values)
        return top / resolve(prices[1], values) if len(prices) == 2 else top

    bars = []
    for name in constants_of(joined(prices)):
        row = tables.row(name)
        at_low, at_high = (figure({**tables.values, name: end}) for end in (row.low, row.high))
        bars.append(TornadoBar(constant=name, source=row.source, at_low=at_low, at_high=at_high))
    bars.sort(key=lambda bar: (-bar.swing, bar.constant))
    return Tornado(subject=subject, value=figure(tables.values), bars=tuple(bars))
