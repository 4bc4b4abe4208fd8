"""Settings that the chip as it is does not look at are refused, and so are arrays beyond any chip."""

from pathlib import Path

import pytest

from accelsim.config.loader import load_hardware
from accelsim.errors import ConfigError

HWCONFIGS = Path(__file__).resolve().parents[3] / "hwconfigs"


@pytest.mark.parametrize(
    ("chip", "overrides", "said"),
    [
        ("hiddenite", ["pe_array.rows=8"], "has no effect on a spatial array"),
        ("edge", ["memory=ideal", "dram.data_rate_mtps=800"], "has no effect with ideal memory"),
        ("hiddenite", ["pe_array.unroll.K=65536", "pe_array.unroll.C=65536"], "at most 16777216 are modelled"),
    ],
)
def test_is_refused(chip: str, overrides: list[str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        load_hardware(HWCONFIGS / f"{chip}.yaml", overrides)


def test_what_has_an_effect_is_taken() -> None:
    assert (
        load_hardware(HWCONFIGS / "edge.yaml", ["pe_array.rows=8", "dram.data_rate_mtps=800"]).config.pe_array.rows == 8
    )
    assert load_hardware(HWCONFIGS / "edge.yaml", ["memory=ideal"]).config.memory == "ideal"
