"""What the weight path does in each cycle of one tile, for `waveform.py`."""

import json
import os
from pathlib import Path

import cocotb
import numpy as np
import path_tiles
from cocotb.triggers import ReadOnly, RisingEdge
from cocotb_path import ROOT
from cocotb_path import Path as WeightPath

SIGNALS = {
    "seeds loaded": "path.generator.loads",
    "lanes step": "path.generator.take",
    "a word of the weights": "path.generator.lacks_weights",
    "chunk to the decoder": "path.chunk_valid",
    "stored bits taken": "path.take",
    "chunk to the weight buffer": "path.out_valid",
    "the tile's last": "path.out_last",
}


@cocotb.test()
async def one_tile(dut):
    """Note the signals of the first tile of a layer whose stored bits come at the simulator's own time."""
    wanted = json.loads(os.environ["ACCELSIM_RTL_TILE"])
    layers = path_tiles.scheduled_layers(ROOT, wanted["chip"], wanted["ticket"])
    layer = next(layer for layer in layers if layer.name == wanted["layer"])
    path = WeightPath(dut)
    await path.reset()
    await path.begin(layer, 0)
    first, end = wanted["cycles"]
    rows = {name: [] for name in SIGNALS}

    async def watch():
        # The path's time begins 8 cycles before its first tile may.
        for cycle in range(-8, end):
            await RisingEdge(dut.clk)
            await ReadOnly()
            for name, place in SIGNALS.items():
                signal = dut
                for part in place.split("."):
                    signal = getattr(signal, part)
                if cycle >= first:
                    rows[name].append(int(signal.value) if signal.value.is_resolvable else 0)

    task = cocotb.start_soon(watch())
    fetched = np.where(path_tiles.requests_of(layer) == 1, wanted["fetched"], end + 10)
    _, begun, ready = await path.run(layer, np.zeros_like(fetched), fetched, end + 500)
    await task
    rows["steps weights"] = [
        int(a and b) for a, b in zip(rows["lanes step"], rows.pop("a word of the weights"), strict=True)
    ]
    rows["steps freezing"] = [
        int(a and not b) for a, b in zip(rows.pop("lanes step"), rows["steps weights"], strict=True)
    ]
    document = {"rows": rows, "begun": int(begun[0]), "ready": int(ready[0])}
    Path(wanted["out"]).write_text(json.dumps(document), encoding="utf-8")
