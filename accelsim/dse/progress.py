"""Progress on the error stream: how many points, how fast, how long still, and the best so far."""

from __future__ import annotations

import math
import shutil
import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import IO

from accelsim.dse.constraints import Constraint, holds
from accelsim.dse.rows import MAXIMISED, Row, cost_of
from accelsim.report.text import metric_text, significant

_TERMINAL_S = 0.2
_FILE_S = 10.0
_MARK_S = 0.5
_WINDOW_S = 30.0
_LEAST_MARKS = 8


class Progress:
    """Shows a line that is rewritten on a terminal, and a new line every ten seconds elsewhere.

    Parameters
    ----------
    stream
        Where; None shows nothing.
    metrics
        Whose best values are shown.
    expected
        Points of the whole run where it is known before they are.
    constraints
        Only what keeps them can be the best.
    adds_up
        A design has several points, so that no single point is the best: who evaluates designs calls `remember`.
    """

    def __init__(
        self,
        stream: IO[str] | None,
        metrics: Sequence[str],
        expected: int = 0,
        constraints: tuple[Constraint, ...] = (),
        adds_up: bool = False,
    ) -> None:
        self._stream = stream
        self._expected = expected
        self._metrics = tuple(metrics)
        self._constraints = constraints
        self._adds_up = adds_up
        self._best: dict[str, float] = {}
        self._shown = -math.inf
        self._marks: deque[tuple[float, int]] = deque()
        self._done = self._total = self._known = self._failed = 0

    def begin(self, total: int, known: Sequence[Row]) -> None:
        """Begin a part of the run: ``total`` points, of which ``known`` are in the store."""
        self._total += total
        self._known += len(known)
        for row in known:
            self._count(row)
        self._show(time.monotonic())

    def add(self, row: Row) -> None:
        """Count one evaluated point."""
        self._done += 1
        self._count(row)
        now = time.monotonic()
        if not self._marks or now - self._marks[-1][0] >= _MARK_S:
            self._marks.append((now, self._done))
            while now - self._marks[0][0] > _WINDOW_S and len(self._marks) > _LEAST_MARKS:
                self._marks.popleft()
        self._show(now)

    def remember(self, row: Mapping[str, object]) -> None:
        """Let the figures of a design that are no point's count for the best."""
        if not holds(self._constraints, row):
            return
        for name in self._metrics:
            cost = cost_of(row, name)
            if cost is not None:
                sign = -1.0 if name in MAXIMISED else 1.0
                best = self._best.get(name)
                self._best[name] = sign * (cost if best is None else min(cost, sign * best))

    def end(self) -> None:
        """Show the final line of the run."""
        self._expected = 0
        if self._stream is not None and self._total:
            self._write(self.line(time.monotonic()), final=True)

    def line(self, now_s: float) -> str:
        """Return the line for people; the rate is that of the last half minute."""
        total = max(self._total, self._expected)
        left = total - self._known - self._done
        parts = [f"{self._known + self._done}/{total} points"]
        rate = 0.0
        if self._marks and now_s > self._marks[0][0] and self._done > self._marks[0][1]:
            rate = (self._done - self._marks[0][1]) / (now_s - self._marks[0][0])
            parts.append(f"{significant(rate)}/s")
        if self._known:
            parts.append(f"{self._known} known before")
        if left and rate:
            parts.append(f"{_duration(left / rate)} left")
        if self._failed:
            parts.append(f"{self._failed} failed")
        parts += [f"best {name} {metric_text(name, self._best[name])}" for name in self._metrics if name in self._best]
        return ", ".join(parts)

    def _count(self, row: Row) -> None:
        if row["status"] != "ok":
            self._failed += 1
        elif not self._adds_up:
            self.remember(row)

    def _show(self, now: float) -> None:
        if self._stream is not None and now - self._shown >= (_TERMINAL_S if self._stream.isatty() else _FILE_S):
            self._shown = now
            self._write(self.line(now), final=False)

    def _write(self, text: str, final: bool) -> None:
        if self._stream is None:
            return
        if self._stream.isatty():
            # A line that wraps could not be rewritten.
            shown = text if final else text[: shutil.get_terminal_size().columns - 1]
            self._stream.write(f"\r\x1b[K{shown}" + ("\n" if final else ""))
        else:
            self._stream.write(text + "\n")
        self._stream.flush()


def _duration(seconds: float) -> str:
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    return f"{whole // 60} min {whole % 60} s" if whole < 3600 else f"{whole // 3600} h {whole % 3600 // 60} min"
