"""Loops that are compiled for many turns say what plain Python says."""

import numpy as np

from accelsim.timing import compiled, critical, openings


def test_compiled_loops_return_what_plain_ones_do(monkeypatch):
    draw = np.random.default_rng(1)
    first, pieces, bursts = draw.integers(0, 500, 300), draw.integers(1, 40, 300), draw.integers(1, 9, 300)
    epoch = np.sort(draw.integers(0, 5, 300))
    cause, time = np.arange(-1, 999), np.arange(1000)

    def both():
        rows = compiled.run_loop(openings._openings, 1, first, pieces, bursts, epoch, 8)
        return rows, list(compiled.run_loop(critical._back, 1, cause, time, 900, 5))

    plain = both()
    monkeypatch.setattr(compiled, "LOADED", 0)
    monkeypatch.setattr(compiled, "FEW", 0)
    assert both() == plain == (plain[0], list(range(900, 4, -1)))
    assert plain[0] == _row_by_row(first, pieces, bursts, epoch, 8)


def _row_by_row(first, pieces, bursts, epoch, num_sets):
    seen, opened = {}, 0
    for request, begin in enumerate(first.tolist()):
        for place in range(begin, begin + int(pieces[request])):
            opened += 0 if seen.get(place % num_sets) == (place, epoch[request]) else bursts[request]
            seen[place % num_sets] = place, epoch[request]
    return opened
