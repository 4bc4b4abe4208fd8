"""The whole comparison, reference by reference."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence

from accelsim.errors import ConfigError
from accelsim.names import suggest
from accelsim.validation import eyeriss, gemm, gemmini, tpu
from accelsim.validation.decoder_power import validate_decoder_power
from accelsim.validation.decoders import validate_decoders
from accelsim.validation.dram import validate_dram
from accelsim.validation.dram_energy import validate_dram_energy
from accelsim.validation.eyeriss import validate_eyeriss
from accelsim.validation.formulas import validate_effective_macs, validate_sram, validate_systolic
from accelsim.validation.gemm import validate_gemm_tilings, validate_stonne
from accelsim.validation.gemmini import CHOSEN, validate_chosen, validate_gemmini
from accelsim.validation.own_rows import Columns, read_rows
from accelsim.validation.reference import Table
from accelsim.validation.rows import ValidationRow
from accelsim.validation.silicon import validate_areas, validate_eie, validate_energy_7nm, validate_masked_pe
from accelsim.validation.sparse import validate_crossing, validate_eie_products
from accelsim.validation.tickets import validate_hiddenite, validate_model_sizes
from accelsim.validation.tpu import validate_tpu_v1, validate_tpu_v3

REFERENCES: dict[str, Callable[[], list[ValidationRow]]] = {
    "gemmini-rtl": validate_gemmini,
    CHOSEN: validate_chosen,
    "gemm-tilings-rtl": validate_gemm_tilings,
    "tpu-v3": validate_tpu_v3,
    "tpu-v1": validate_tpu_v1,
    "eyeriss-v1": validate_eyeriss,
    "stonne-sparse-gemm": validate_stonne,
    "eie-products": validate_eie_products,
    "systolic-formulas": validate_systolic,
    "dram-simulators": validate_dram,
    "dram-energy": validate_dram_energy,
    "real-masks": validate_effective_macs,
    "cacti-sram": validate_sram,
    "areas": validate_areas,
    "energy-7nm": validate_energy_7nm,
    "eie-pe": validate_eie,
    "masked-pe": validate_masked_pe,
    "sparse-crossing": validate_crossing,
    "frozen-sizes": validate_model_sizes,
    "hiddenite": validate_hiddenite,
    "decoders": validate_decoders,
    "decoder-power": validate_decoder_power,
}


def check_references(names: Sequence[str]) -> None:
    """Raise `ConfigError` for a name that is no reference."""
    for name in names:
        if name not in REFERENCES:
            raise ConfigError(
                f"--reference: {name!r} is unknown; {suggest(name, REFERENCES)}give one of {', '.join(REFERENCES)}"
            )


def validate(names: Sequence[str] = ()) -> list[ValidationRow]:
    """Return the rows of the references called ``names`` (all, if none is), in the order of `REFERENCES`.

    Raises
    ------
    ConfigError
        A name is unknown, or a preset is missing.
    """
    check_references(names)
    return [row for name, rows in REFERENCES.items() if not names or name in names for row in rows()]


OWN_ROWS: dict[str, tuple[Callable[[Table | None], list[ValidationRow]], Columns]] = {
    "eyeriss-v1": (validate_eyeriss, eyeriss.COLUMNS),
    "gemmini-rtl": (validate_gemmini, gemmini.COLUMNS),
    "gemm-tilings-rtl": (validate_gemm_tilings, gemm.COLUMNS),
    "tpu-v3": (validate_tpu_v3, tpu.COLUMNS),
}
"""References that take rows of the user: what compares them, and the columns that they need."""


def validate_rows(names: Sequence[str], path: str) -> list[ValidationRow]:
    """Return the rows of one reference with the measurements of the file ``path`` in place of the table's.

    Raises
    ------
    AccelSimError
        Not one reference is named, it takes no rows, or the file is not such a table; errors of a row name it.
    """
    check_references(names)
    if len(names) != 1 or names[0] not in OWN_ROWS:
        raise ConfigError(f"--rows: needs one --reference that takes rows; give one of {', '.join(OWN_ROWS)}")
    compared, columns = OWN_ROWS[names[0]]
    return compared(read_rows(columns, path))


def rows_text(rows: Iterable[ValidationRow]) -> str:
    """Return the rows as JSON: ``{"rows": [{reference, source, quantity, theirs, ours, relative_error, note}]}``."""
    records = [
        {
            "reference": row.reference,
            "source": row.source,
            "quantity": row.quantity,
            "theirs": row.theirs,
            "ours": row.ours,
            "relative_error": row.relative_error,
            "note": row.note,
        }
        for row in rows
    ]
    return json.dumps({"rows": records}, indent=1, allow_nan=False) + "\n"
