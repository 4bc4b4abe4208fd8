"""Every chip with every committed ticket and its rivals: each cycle has a cause, and next to none is `other`."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import accelsim
from accelsim.config.loader import load_hardware
from accelsim.costed import TICKET_RIVALS

ROOT = Path(__file__).resolve().parents[2]
PRESETS = sorted((ROOT / "hwconfigs").glob("*.yaml"))
TICKETS = sorted((ROOT / "workloads").glob("*.pt"))

pytestmark = pytest.mark.skipif(not os.environ.get("ACCELSIM_NIGHTLY"), reason="half an hour: make nightly")


@pytest.mark.parametrize("preset", PRESETS, ids=lambda path: path.stem)
def test_other_is_below_a_percent(preset: Path) -> None:
    chip = load_hardware(preset).config
    formats = [None] if chip.weight_generator is not None else []
    formats += [name for name in TICKET_RIVALS if name.startswith("dense") or chip.mask_decoder is not None]
    for ticket in TICKETS:
        for storage in formats:
            result = accelsim.run(preset, ticket, storage)
            for record in (result.totals, *result.layers):
                assert sum(dict(record.cycles_by_cause).values()) == record.latency_cycles
            assert result.totals.cycles_by_cause.other < 0.01 * result.totals.latency_cycles
