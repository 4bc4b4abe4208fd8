"""The decoder that a rival of the ticket is given: as wide as it must be so that the chip does not wait for it.

A chip's description states the decoder that its own format needs. To run another format on that decoder is to compare
with a chip that nobody would build, so a format that regenerates no weights gets a wider one, with its area, leakage
and clock, unless the chip's is fixed (``mask_decoder.fits_rivals: false``) or the format's name ends in ``@chip``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from accelsim.config.hardware import HardwareConfig, MaskDecoderConfig
from accelsim.mapping.events import VARIABLE_LENGTH
from accelsim.mapping.network import rank_network
from accelsim.mapping.prices import EnergyPrices
from accelsim.storage.base import WeightPlan
from accelsim.storage.chip_decoder import is_as_stated
from accelsim.trace.batch import in_copies
from accelsim.trace.blocks import shortened
from accelsim.trace.model import LayerTrace

# Twice the width must save this share of the time; below it, what is left is the latency of a first symbol, which no
# width shortens.
_WORTH = 1e-3
_WIDEST = 1 << 16  # what a description may state


def with_fitting_decoder(
    chip: HardwareConfig,
    trace: LayerTrace,
    plans: Mapping[str, WeightPlan],
    storage: str,
    prices_of: Callable[[HardwareConfig], EnergyPrices],
) -> HardwareConfig:
    """Return the chip with the decoder that ``storage`` gets on it, a power of two times the stated width.

    The width doubles as long as that saves more than a thousandth of the closed form's latency, for one input.
    """
    decoder = chip.mask_decoder
    is_own = all(plan.decoder == "none" for plan in plans.values()) or any(plan.source for plan in plans.values())
    if decoder is None or not decoder.fits_rivals or is_as_stated(storage) or is_own:
        return chip
    # Blocks that come again say nothing new about the width.
    trace = shortened(in_copies(trace, 1) if trace.copies > 1 else trace, 2)
    plans = {layer.name: plans[layer.name] for layer in trace.layers if layer.name in plans}
    prices = prices_of(chip)

    def cycles(decoder: MaskDecoderConfig) -> float:
        built = chip.model_copy(update={"mask_decoder": decoder})
        return float(rank_network(trace, plans, built, prices)[1].latency.sum())

    is_coded = any(plan.decoder in VARIABLE_LENGTH for plan in plans.values())
    taken = cycles(decoder)
    while (wider := _doubled(decoder, is_coded)) is not None:
        less = cycles(wider)
        if less > (1 - _WORTH) * taken:
            break
        decoder, taken = wider, less
    return chip.model_copy(update={"mask_decoder": decoder})


def _doubled(decoder: MaskDecoderConfig, is_coded: bool) -> MaskDecoderConfig | None:
    """Return a decoder of twice the width; None beyond the widest.

    Codes of variable length are limited by their symbols, of which each gives at least one position; all others by
    their positions.
    """
    symbols, positions = decoder.symbols_per_cycle, decoder.positions_per_cycle
    if is_coded:
        symbols *= 2
        positions = max(positions, symbols)
    else:
        positions *= 2
    if max(symbols, positions) > _WIDEST:
        return None
    return decoder.model_copy(update={"symbols_per_cycle": symbols, "positions_per_cycle": positions})
