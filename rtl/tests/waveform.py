"""Draw one tile as the simulator's timeline has it, above what the RTL does in the same cycles.

    python rtl/tests/waveform.py docs/figures/rtl_tile.svg
"""  # fmt: skip

import json
import sys
from pathlib import Path

import benches

from accelsim.config.loader import load_hardware
from accelsim.files import write_file
from accelsim.pipeline import simulate
from accelsim.trace import trace_workload

CHIP, TICKET, LAYER = "edge", "conv6_slt_f50", "convs.0"
BEFORE, BEHIND = 3, 3  # cycles that are drawn around the tile
LEFT, CELL, ROW = 190, 22, 26
ROWS = (
    "seeds loaded", "steps weights", "steps freezing", "chunk to the decoder", "stored bits taken",
    "chunk to the weight buffer", "the tile's last",
)  # fmt: skip


class _FirstTile:
    """Keeps what units did for the first weight tile of the network, as a timeline does."""

    def __init__(self):
        self.spans = {}

    def slice(self, unit, layer, label, index, start_cycle, end_cycle):
        if layer == 0 and index == 0:
            self.spans.setdefault(unit, (start_cycle, end_cycle))


def measured():
    """Return the simulator's spans of the tile, the first cycle drawn, and the rows of the RTL."""
    chip, trace = load_hardware(benches.RTL.parent / "hwconfigs" / f"{CHIP}.yaml"), f"workloads/{TICKET}.pt"
    probe = _FirstTile()
    simulate(chip, trace_workload(str(benches.RTL.parent / trace)), "slt", probe=probe)
    fetched, ready = probe.spans["dram"][1], probe.spans["pe_array"][0]
    first, end = fetched - BEFORE, ready + BEHIND
    out = benches.OUT / "tile.json"
    benches.OUT.mkdir(parents=True, exist_ok=True)
    wanted = {
        "chip": CHIP,
        "ticket": TICKET,
        "layer": LAYER,
        "cycles": [first, end],
        "fetched": fetched,
        "out": str(out),
    }
    benches.run("bench_path", "cocotb_waveform", environment={"ACCELSIM_RTL_TILE": json.dumps(wanted)}, prefer="icarus")
    found = json.loads(out.read_text(encoding="utf-8"))
    assert (found["begun"], found["ready"]) == (probe.spans["weight_generator"][0], ready), found
    return probe.spans, first, end, found["rows"]


def drawn(spans, first, end, rows):
    """Return the figure as SVG."""
    width, height = LEFT + CELL * (end - first) + 12, 62 + ROW * (4 + len(ROWS)) + 14
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif"',
        ' font-size="12">',
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
        f'<text x="8" y="18" font-weight="bold">{TICKET}, {LAYER}, first tile on {CHIP}: simulator, then RTL</text>',
    ]
    top = 48
    for cycle in range(first, end + 1):
        x = LEFT + CELL * (cycle - first)
        parts.append(f'<path d="M{x} {top - 8}V{height - 10}" stroke="#ddd"/>')
        if cycle % 2 == 0:
            parts.append(f'<text x="{x}" y="{top - 12}" text-anchor="middle" font-size="10">{cycle}</text>')
    names = {
        "dram": "dram: stored bits",
        "weight_generator": "weight_generator",
        "mask_decoder": "mask_decoder",
        "pe_array": "pe_array",
    }
    for number, (unit, label) in enumerate(names.items()):
        y = top + ROW * number
        begin, stop = (min(max(value, first), end) for value in spans[unit])
        parts.append(f'<text x="8" y="{y + 14}">{label}</text>')
        parts.append(
            f'<rect x="{LEFT + CELL * (begin - first)}" y="{y}" width="{CELL * (stop - begin)}" height="18"'
            ' fill="#5b8db8"/>'
        )
    for number, name in enumerate(ROWS):
        y = top + ROW * (len(names) + number) + 8
        parts.append(f'<text x="8" y="{y + 14}">{name}</text>')
        parts += _row(rows[name], y)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _row(values, y):
    """Return a row: a wave for a bit, numbers for more."""
    if max(values) > 1:
        return [
            f'<text x="{LEFT + CELL * (place + 0.5)}" y="{y + 14}" text-anchor="middle" font-size="10">{value}</text>'
            for place, value in enumerate(values) if value
        ]  # fmt: skip
    path = f"M{LEFT} {y + 18 - 16 * values[0]}"
    for value in values:
        path += f"V{y + 18 - 16 * value}h{CELL}"
    return [f'<path d="{path}" fill="none" stroke="#333" stroke-width="1.5"/>']


if __name__ == "__main__":
    if not benches.simulators():
        sys.exit(benches.REMEDY)
    write_file(Path(sys.argv[1]), drawn(*measured()).encode())
