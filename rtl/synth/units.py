"""The units that are measured, each with its module, its parameters and what it does meanwhile."""

from __future__ import annotations

from functools import partial

from rtl.synth import stimuli
from rtl.synth.measure import Unit

# A decoder of which a row of the cost tables counts one symbol writes runs of up to 16 positions a cycle.
_RUN = 16
_PARALLEL = 64


def _pe(name: str, arithmetic: str, sum_bits: int, weights: str, gated: int = 0) -> Unit:
    kinds = {"ternary": 0, "int4": 1, "int8": 2, "int16": 2, "binary_xnor": 3}
    parameters = {"ARITHMETIC": kinds[arithmetic], "GATED": gated, "SUM_BITS": sum_bits}
    if arithmetic == "int16":
        parameters |= {"A_BITS": 16, "W_BITS": 16}
    return Unit(name, "pe", parameters, partial(stimuli.products, arithmetic, weights), "product")


UNITS = (
    Unit("add32", "add32", {}, partial(stimuli.random_inputs, (("a", 32), ("b", 32))), "addition"),
    Unit("xorshift32", "xorshift32", {"WORDS": 1}, partial(stimuli.generator, "xorshift32", 32), "word"),
    Unit("lfsr32", "lfsr32", {"WORDS": 1}, partial(stimuli.generator, "lfsr32", 32), "word"),
    Unit("lfsr16", "lfsr16", {"WORDS": 1}, partial(stimuli.generator, "lfsr16", 16), "word"),
    Unit("philox4x32", "philox4x32", {"ROUNDS_PER_STAGE": 1}, stimuli.philox, "word"),
    Unit("freeze", "freezing_map", {"BITS": 16, "FIELD_BITS": 16}, stimuli.freezing, "weight"),
    Unit("seed_hash", "seed_hash", {"BITS": 32}, stimuli.seeds, "seed"),
    Unit("jump", "jump", {"BITS": 32}, stimuli.jumps, "column"),
    Unit("raw_bits", "mask_raw", {"POSITIONS": _PARALLEL, "IN": _PARALLEL},
         partial(stimuli.stored_bits, "raw", "out_valid ? count : 0", _PARALLEL, 200), "mask bit"),
    Unit("rle_symbols", "mask_rle", {"POSITIONS": _RUN},
         partial(stimuli.stored_bits, "rle", "unit.run_valid && unit.run_ready", 32, 400), "symbol"),
    Unit("golomb_symbols", "mask_golomb", {"POSITIONS": _RUN},
         partial(stimuli.stored_bits, "golomb", "unit.run_valid && unit.run_ready", 32, 400), "symbol"),
    Unit("entropy_symbols", "mask_entropy", {},
         partial(stimuli.stored_bits, "entropy", "out_valid && out_ready", 32, 80), "mask bit"),
    Unit("csr_symbols", "weights_csr", {"POSITIONS": _RUN}, stimuli.sparse_rows, "weight"),
    Unit("bitmap_bits", "weights_bitmap", {"POSITIONS": _RUN}, stimuli.bitmap, "mask bit"),
    Unit("nm_symbols", "weights_nm", {"N": 2, "M": 4, "GROUPS": 4}, stimuli.pattern, "weight"),
    Unit("positions", "expander", {"POSITIONS": _PARALLEL}, partial(stimuli.expansion, _PARALLEL), "position"),
    _pe("pe_ternary", "ternary", 24, "kept"),
    _pe("pe_ternary_masked", "ternary", 24, "masked"),
    _pe("pe_ternary_ticket", "ternary", 24, "ticket"),
    _pe("pe_ternary_gated", "ternary", 24, "ticket", 1),
    _pe("pe_ternary_gated_masked", "ternary", 24, "masked", 1),
    _pe("pe_binary_xnor", "binary_xnor", 24, "kept"),
    _pe("pe_int4", "int4", 24, "kept"),
    _pe("pe_int8", "int8", 32, "kept"),
    _pe("pe_int8_gated", "int8", 32, "kept", 1),
    _pe("pe_int16", "int16", 32, "kept"),
    Unit("skip_window", "skip_window", {}, partial(stimuli.random_inputs, (("keep", 16),)), "window"),
    Unit("vector_lane", "vector_lane", {},
         partial(stimuli.random_inputs, (("a", 16), ("b", 16), ("offset", 32)), 200), "operation"),
)  # fmt: skip
