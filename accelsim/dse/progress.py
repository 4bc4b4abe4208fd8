"""Progress on the error stream: how many points, how fast, how long still, and the best so far."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import IO

from accelsim.dse.rows import MAXIMISED, Row, cost_of
from accelsim.report.text import significant

_TERMINAL_S = 0.2
_FILE_S = 10.0


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
    """

    def __init__(self, stream: IO[str] | None, metrics: Sequence[str], expected: int = 0) -> None:
        self._stream = stream
        self._expected = expected
        self._metrics = tuple(metrics)
        self._best: dict[str, float] = {}
        self._started = self._shown = time.monotonic()
        self._done = self._total = self._known = self._failed = 0

    def begin(self, total: int, known: int) -> None:
        """Begin a part of the run: ``total`` points, of which ``known`` are in the store."""
        self._total += total
        self._known += known

    def add(self, row: Row) -> None:
        """Count one evaluated point."""
        self._done += 1
        if row["status"] != "ok":
            self._failed += 1
        self._remember(row)
        now = time.monotonic()
        if self._stream is not None and now - self._shown >= (_TERMINAL_S if self._stream.isatty() else _FILE_S):
            self._shown = now
            self._write(self.line(now - self._started), final=False)

    def end(self) -> None:
        """Show the final line of the run."""
        self._expected = 0
        if self._stream is not None and self._total:
            self._write(self.line(time.monotonic() - self._started), final=True)

    def line(self, elapsed_s: float) -> str:
        """Return the line for people."""
        rate = self._done / elapsed_s if elapsed_s > 0 else 0.0
        total = max(self._total, self._expected)
        left = total - self._known - self._done
        parts = [f"{self._known + self._done}/{total} points", f"{significant(rate)}/s"]
        if self._known:
            parts.append(f"{self._known} known before")
        if left and rate:
            parts.append(f"{_duration(left / rate)} left")
        if self._failed:
            parts.append(f"{self._failed} failed")
        parts += [
            f"best {name} {significant_or_exponent(self._best[name])}" for name in self._metrics if name in self._best
        ]
        return ", ".join(parts)

    def _remember(self, row: Mapping[str, object]) -> None:
        for name in self._metrics:
            cost = cost_of(row, name)
            if cost is not None:
                sign = -1.0 if name in MAXIMISED else 1.0
                best = self._best.get(name)
                self._best[name] = sign * (cost if best is None else min(cost, sign * best))

    def _write(self, text: str, final: bool) -> None:
        if self._stream is None:
            return
        if self._stream.isatty():
            self._stream.write(f"\r\x1b[K{text}" + ("\n" if final else ""))
        else:
            self._stream.write(text + "\n")
        self._stream.flush()


def significant_or_exponent(value: float) -> str:
    """Return a figure with three digits, with an exponent where it is very small or large."""
    return significant(value) if value == 0 or 1e-3 <= abs(value) < 1e6 else f"{value:.3g}"


def _duration(seconds: float) -> str:
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    return f"{whole // 60} min {whole % 60} s" if whole < 3600 else f"{whole // 3600} h {whole % 3600 // 60} min"
