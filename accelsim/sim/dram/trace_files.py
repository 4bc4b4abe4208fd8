"""Files of memory requests: our own two forms, and those of DRAMsim3, Ramulator 2 and DRAMSys.

====================================  ===========================================================================
a line                                whose, and what it means
====================================  ===========================================================================
``0x40 R``                            ours (and Ramulator 1's): one burst, offered as soon as the controller accepts
``120.5 R 0x40 4096``                 ours: so many bytes, arriving after so many ns; a last line ``end 900`` gives
                                      the time up to which the memory is on
``0x40 READ 17``                      DRAMsim3: one burst, arriving in that cycle of the memory's clock
``LD 0x40``, ``ST 64``                Ramulator 2, load/store: one burst; without ``0x`` the address is decimal
``R 0,0,1,2,77,5``                    Ramulator 2, read/write: channel, rank (pseudo-channel), bank group, bank, row,
                                      and the burst of the row; five numbers where a memory has no bank groups
``17: read 0x40``, ``17: (128) ...``  DRAMSys ``.stl``: arriving in that cycle of the trace player's clock, of one
                                      burst or of the length in brackets; data behind the address are not used
====================================  ===========================================================================

The first line tells the form; all others must have it. Empty lines and what stands behind ``#`` or ``//`` are skipped.
Addresses are hexadecimal where nothing else is said.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from accelsim.errors import TraceError

MAX_TRACE_BYTES = 1 << 26
MAX_REQUEST_BYTES = 1 << 32
MAX_TIME_NS = 1e10  # ten seconds: some millions of refreshes
_MAX_CYCLE = 1 << 40
_LINE = re.compile(rb"[ \t]*(?:0[xX])?([0-9a-fA-F]{1,16})[ \t]+([RW])[ \t]*")
_FILE = re.compile(rb"(?:[ \t]*(?:(?:0[xX])?[0-9a-fA-F]{1,16}[ \t]+[RW][ \t]*)?(?:\r?\n|\Z))*+")
_END = re.compile(rb"end\s+(\d{1,12}(?:\.\d{1,12})?)")
_COMMENT = re.compile(rb"(?:^|(?<=\s))(?:#|//).*", re.DOTALL)
_PROCESSOR = re.compile(rb"\d{1,12}(?:\s+(?:[RW]\s+)?(?:0[xX])?[0-9a-fA-F]{1,16}){1,2}")

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class DramTrace:
    """Requests in order.

    Attributes
    ----------
    addresses
        Byte addresses, uint64; zeros where ``places`` are given.
    writes
        Whether each is a write.
    num_bytes
        Bytes of each, int64; None: one burst each.
    arrivals
        When each arrives, float64 and never decreasing, in ``unit``; None: as soon as the controller accepts.
    unit
        ``ns``, ``cycles`` of the memory's clock, or ``player`` cycles of a clock that the file does not state.
    end_ns
        Time up to which the memory is on at least.
    places
        int64 [n, 6]: channel, rank, bank group, bank, row and burst of the row, or [n, 5] without bank group; None
        where addresses are given.
    """

    addresses: NDArray[np.uint64]
    writes: NDArray[np.bool_]
    num_bytes: Ints | None = None
    arrivals: NDArray[np.float64] | None = None
    unit: Literal["ns", "cycles", "player"] = "ns"
    end_ns: float = 0.0
    places: Ints | None = None

    @property
    def is_timed_in_ns(self) -> bool:
        """Return whether the requests have sizes, addresses and times of arrival in ns."""
        return self.num_bytes is not None and self.arrivals is not None and self.unit == "ns" and self.places is None


@dataclass(frozen=True, slots=True)
class _Form:
    """One form of line: how it reads for people, its pattern, and the trace of its matches."""

    shown: str
    line: re.Pattern[bytes]
    build: Callable[[list[re.Match[bytes]]], DramTrace]


def _hex(text: bytes) -> int:
    return int(text, 16)


def _addresses(values: list[int]) -> NDArray[np.uint64]:
    return np.array([value & 0xFFFFFFFFFFFFFFFF for value in values], dtype=np.uint64)


def _plain(found: list[re.Match[bytes]]) -> DramTrace:
    return DramTrace(_addresses([_hex(line[1]) for line in found]), np.array([line[2] == b"W" for line in found]))


def _timed(found: list[re.Match[bytes]]) -> DramTrace:
    return DramTrace(
        _addresses([_hex(line[3]) for line in found]),
        np.array([line[2] == b"W" for line in found]),
        np.array([int(line[4]) for line in found], dtype=np.int64),
        np.array([float(line[1]) for line in found]),
    )


def _dramsim3(found: list[re.Match[bytes]]) -> DramTrace:
    return DramTrace(
        _addresses([_hex(line[1]) for line in found]),
        np.array([line[2].upper() in (b"WRITE", b"P_MEM_WR", b"BOFF") for line in found]),
        arrivals=np.array([float(line[3]) for line in found]),
        unit="cycles",
    )


def _load_store(found: list[re.Match[bytes]]) -> DramTrace:
    values = [_hex(line[2]) if line[2][:2] in (b"0x", b"0X") else int(line[2]) for line in found]
    return DramTrace(_addresses(values), np.array([line[1].upper() == b"ST" for line in found]))


def _vectors(found: list[re.Match[bytes]]) -> DramTrace:
    places = np.array([[int(number) for number in line[2].split(b",")] for line in found], dtype=np.int64)
    return DramTrace(
        np.zeros(len(found), dtype=np.uint64), np.array([line[1] == b"W" for line in found]), places=places
    )


def _dramsys(found: list[re.Match[bytes]]) -> DramTrace:
    sizes = [0 if line[2] is None else int(line[2]) for line in found]
    return DramTrace(
        _addresses([_hex(line[4]) for line in found]),
        np.array([line[3].lower() == b"write" for line in found]),
        np.array(sizes, dtype=np.int64) if any(sizes) else None,
        np.array([float(line[1]) for line in found]),
        "player",
    )


def _vector_line(length: int) -> re.Pattern[bytes]:
    return re.compile(rb"([RW])\s+(\d{1,12}(?:\s*,\s*\d{1,12}){%d})" % (length - 1))


_HEX = rb"((?:0[xX])?[0-9a-fA-F]{1,16})"
_TIMED_WORDS = {
    "ARRIVAL_NS": rb"(\d{1,12}(?:\.\d{1,12})?)",
    "R|W": rb"([RW])",
    "ADDRESS": _HEX,
    "BYTES": rb"(\d{1,10})",
}
_ALLOWED = {
    "ARRIVAL_NS": "a decimal number of ns, such as 120.5",
    "R|W": "R or W",
    "ADDRESS": "a hexadecimal number of at most 16 digits, such as 0x40",
    "BYTES": "a whole number of at most 10 digits, such as 64",
}
TIMED = _Form(" ".join(_TIMED_WORDS), re.compile(rb"\s+".join(_TIMED_WORDS.values())), _timed)
_FORMS = (
    _Form("ADDRESS R|W", re.compile(_HEX + rb"\s+([RW])"), _plain),
    TIMED,
    _Form(
        "ADDRESS READ|WRITE CYCLE",
        re.compile(_HEX + rb"\s+(READ|WRITE|read|write|P_MEM_RD|P_MEM_WR|P_FETCH|IFETCH|BOFF)\s+(\d{1,13})"),
        _dramsim3,
    ),
    _Form("LD|ST ADDRESS", re.compile(rb"(LD|ST)\s+(0[xX][0-9a-fA-F]{1,16}|\d{1,19})", re.IGNORECASE), _load_store),
    _Form("R|W CHANNEL,RANK,GROUP,BANK,ROW,COLUMN", _vector_line(6), _vectors),
    _Form("R|W CHANNEL,RANK,BANK,ROW,COLUMN", _vector_line(5), _vectors),
    _Form(
        "CYCLE: read|write ADDRESS",
        re.compile(
            rb"(\d{1,13})\s*:\s*(?:\((\d{1,10})\)\s*)?(read|write)\s+(0[xX][0-9a-fA-F]{1,16})(?:\s+(?:0[xX])?[0-9a-fA-F]+)?",
            re.IGNORECASE,
        ),
        _dramsys,
    ),
)


def read_trace(path: str | Path, *, only_timed: bool = False) -> DramTrace:
    """Read a file of requests in any of the forms of this module, or ``only_timed`` in our own with arrival times.

    Raises
    ------
    TraceError
        If the file cannot be read, is too large or empty, or has a line of another form.
    """
    path = Path(path)
    data = _read(path)
    if not only_timed and data and (found := _FILE.match(data)) is not None and found.end() == len(data):
        trace = _fast_plain(data)  # by far the largest files have this form
    else:
        trace = _by_lines(path, data, (TIMED,) if only_timed else _FORMS)
    if len(trace.writes) == 0:
        example = "0 R 0x40 64" if only_timed else "0x40 R"
        raise TraceError(f"{path}: holds no requests; write lines such as '{example}'")
    return _checked(path, trace)


def _read(path: Path) -> bytes:
    if path.suffix.lower() == ".rstl":
        raise TraceError(f"{path}: times between requests depend on the player; give absolute times (.stl)")
    try:
        if not path.is_file() and path.exists():
            raise TraceError(f"{path}: not a regular file; give a trace file")
        size = path.stat().st_size
        if size > MAX_TRACE_BYTES:
            raise TraceError(f"{path}: {size} bytes are more than {MAX_TRACE_BYTES}; split the trace")
        return path.read_bytes()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a path"
        raise TraceError(f"{path}: cannot be read ({reason}); give a trace file") from error


def _fast_plain(data: bytes) -> DramTrace:
    addresses = np.fromiter((int(line[1], 16) for line in _LINE.finditer(data)), dtype=np.uint64)
    return DramTrace(addresses, np.fromiter((line[2] == b"W" for line in _LINE.finditer(data)), dtype=np.bool_))


def _by_lines(path: Path, data: bytes, forms: tuple[_Form, ...]) -> DramTrace:
    found: list[re.Match[bytes]] = []
    form: _Form | None = None
    end_ns = 0.0
    ended = 0
    for number, raw in enumerate(data.removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1):
        line = (_COMMENT.sub(b"", raw) if b"#" in raw or b"//" in raw else raw).strip()
        if not line:
            continue
        if ended:
            raise TraceError(f"{path}:{number}: a request behind 'end' of line {ended}; 'end' is the last line")
        form = form or next((form for form in forms if form.line.fullmatch(line)), None)
        end = _END.fullmatch(line) if form is TIMED else None
        if end is not None:
            end_ns, ended = float(end[1]), number
            continue
        match = form.line.fullmatch(line) if form is not None else None
        if match is None:
            raise TraceError(f"{path}:{number}: {_unknown(line, form, forms)}")
        found.append(match)
    if form is None or not found:
        return DramTrace(np.zeros(0, dtype=np.uint64), np.zeros(0, dtype=np.bool_))
    return replace(form.build(found), end_ns=end_ns)


def _unknown(line: bytes, form: _Form | None, forms: tuple[_Form, ...]) -> str:
    shown = ascii(line[:40].decode("utf-8", "replace"))
    words = line.split()
    if (form is TIMED or forms == (TIMED,)) and len(words) == len(_TIMED_WORDS):
        named = zip(_TIMED_WORDS.items(), words, strict=True)
        name, word = next((name, word) for (name, allowed), word in named if not re.fullmatch(allowed, word))
        return f"{name} {ascii(word[:40].decode('utf-8', 'replace'))} in {shown} is not {_ALLOWED[name]}"
    if form is None and _END.fullmatch(line):
        return f"{shown} stands before any request; write lines '{TIMED.shown}' above it"
    if words[:1] == [b"end"] and (form is TIMED or forms == (TIMED,)):
        return f"{shown} is not 'end NS' behind all requests, NS a decimal number such as 1250.5"
    if form is not None:
        return f"{shown} is not '{form.shown}', as the lines before it are; correct it"
    if not line.isascii() or not shown.isprintable() or "\\x" in shown:
        return f"{shown} is no line of text; unpack the file, or save it as UTF-8 text"
    if _PROCESSOR.fullmatch(line):
        return (
            f"{shown} looks like a processor's trace (instructions between, address), whose times depend on core and "
            f"caches; log the requests that reach the memory, as lines '{forms[0].shown}'"
        )
    return f"{shown} is not a request; write lines {' or '.join(repr(form.shown) for form in forms)}"


def _checked(path: Path, trace: DramTrace) -> DramTrace:
    """Return the trace in the order of arrival; refuse sizes and times that no memory is asked for."""
    if trace.num_bytes is not None and not 0 <= int(trace.num_bytes.min()) <= int(trace.num_bytes.max()) <= (
        MAX_REQUEST_BYTES
    ):
        raise TraceError(f"{path}: a request of more than {MAX_REQUEST_BYTES} bytes; split it")
    if trace.num_bytes is not None and not trace.num_bytes.any():
        raise TraceError(f"{path}: no request moves a byte; give at least one with BYTES above 0")
    if trace.arrivals is None:
        return trace
    latest = max(float(trace.arrivals.max()), trace.end_ns)
    most = MAX_TIME_NS if trace.unit == "ns" else float(_MAX_CYCLE)
    if latest > most:
        raise TraceError(f"{path}: the time {latest:.12g} {trace.unit} is beyond {most:.12g}; split the trace")
    order = np.argsort(trace.arrivals, kind="stable")
    sizes = None if trace.num_bytes is None else trace.num_bytes[order]
    return replace(
        trace,
        addresses=trace.addresses[order],
        writes=trace.writes[order],
        num_bytes=sizes,
        arrivals=trace.arrivals[order],
    )
