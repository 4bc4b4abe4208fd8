from accelsim.mapping.program import INPUT, STORE, WEIGHT, DmaProgram
from accelsim.report.timeline import Slice
from accelsim.report.timeline_tiles import (
    LayerTiles,
    TileMap,
    bandwidth_windows,
    tiles_ahead,
    waiting_bytes,
    window_peaks,
)

PROGRAM = DmaProgram(
    kind=[WEIGHT, INPUT, STORE], event=[0, 0, 0], num_bytes=[640, 320, 160], offset=[0, 0, 0], step=[1, 4, 5]
)
LAYER = LayerTiles(loops=(("K", 2), ("C", 3)), weight_steps=[1, 4], output_steps=[2, 5], program=PROGRAM)
TILES = TileMap((LAYER,), clock_mhz=1000.0)
REQUESTS = [Slice(0, "0", 0, 0, 10), Slice(0, "1", 1, 10, 20), Slice(0, "4", 2, 300, 310)]
STEPS = [Slice(0, "", index, 50 * index, 50 * index + 40) for index in range(6)]


def test_a_slice_knows_its_place_in_the_loops():
    assert TILES.details("pe_array", 0, 5) == {"loops": "K1 C2"}
    assert TILES.details("weight_generator", 0, 1) == {"loops": "K1 C1"}
    assert TILES.details("vector_unit", 0, 0) == {"loops": "K0 C2"}
    assert TILES.details("dram", 0, 1) == {"loops": "K1 C1", "bytes": 320}


def test_bandwidth_adds_up_to_the_bytes_moved():
    windows = list(bandwidth_windows(TILES, REQUESTS, 400))
    # At 1 GHz a byte a cycle is a GB/s, and windows of 400 cycles in all are one cycle wide.
    assert sum(read for _, read, _ in windows) == 960
    assert sum(written for _, _, written in windows) == 160
    assert windows[0] == (0, 64.0, 0.0)


def test_bytes_wait_from_their_arrival_to_the_step_that_takes_them():
    weights, inputs = waiting_bytes(TILES, REQUESTS, STEPS)
    assert weights == [(10, 640), (50, -640)]
    assert inputs == [(20, 320), (200, -320)]


def test_a_weight_tile_is_ready_when_all_units_have_finished_it():
    decoder = [Slice(0, "", 0, 0, 30), Slice(0, "", 1, 30, 60)]
    generator = [Slice(0, "", 0, 0, 45), Slice(0, "", 1, 45, 90)]
    assert tiles_ahead(TILES, [decoder, generator], STEPS) == [(45, 1), (50, -1), (90, 1), (200, -1)]


def test_windows_show_peaks():
    changes = [(3, 5), (4, -5), (1000, 2)]
    peaks = dict(window_peaks(changes, 4000))
    assert len(peaks) == 401
    assert (peaks[0], peaks[10], peaks[990], peaks[1000], peaks[4000]) == (5, 0, 0, 2, 2)
