"""The bench on which broken input is tried: one call of the program, and what it must not do.

A call may end with status 0 and a valid result, or with status 2 and one line. It may not raise, take more than five
seconds of processor time (compilation of cold code apart) or 1 GiB of memory, warn, write outside its output folder, or
start or load anything.
"""

import contextlib
import io
import json
import os
import resource
import shutil
import signal
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Event

import pytest

from accelsim.cli.main import main
from accelsim.results.schema import check_result
from accelsim.results.store import read_counters, read_summary

MAX_CPU_S = 5.0
COLD_CPU_S = 60.0
MAX_WAIT_S = 60.0  # a call that waits for ever takes no processor time
MAX_BYTES = 1 << 30
LATE = -1
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
PATH_EVENTS = frozenset({"os.mkdir", "os.remove", "os.rename", "os.link", "os.symlink", "os.rmdir", "os.truncate"})
FORBIDDEN = frozenset(
    {"os.system", "os.exec", "os.posix_spawn", "os.fork", "subprocess.Popen", "pickle.find_class", "socket.connect"}
)


# numba keeps what it compiled as pickles beside the source, which are no input.
COMPILED = (
    "numba.", "copyreg", "builtins", "accelsim.sim.dram", "accelsim.timing.walk", "accelsim.validation.verify_walk",
)  # fmt: skip


class HangError(BaseException):
    """A call took longer than it may; no handler of the program catches it."""


@dataclass(frozen=True)
class Ended:
    """How a call ended, and what it did that it may not do."""

    status: int
    out: str
    err: str
    offences: tuple[str, ...]


class Watch:
    """Notes what the interpreter is asked to do while a call runs; Python cannot remove such a hook, so it stays."""

    def __init__(self) -> None:
        self.allowed: Path | None = None
        self.also: Path | None = None
        self.offences: list[str] = []
        sys.addaudithook(self._hook)

    def _hook(self, event: str, args: tuple[object, ...]) -> None:
        if self.allowed is None:
            return
        if event == "open":
            path, flags = args[0], args[2]
            if isinstance(flags, int) and flags & WRITES:
                self._check(event, path)
        elif event in PATH_EVENTS:
            self._check(event, args[0])
        elif event in FORBIDDEN and not str(args[0]).startswith(COMPILED):
            self.offences.append(f"{event} {args[0]!r}")

    def _check(self, event: str, path: object) -> None:
        if isinstance(path, (str, bytes)) and self.allowed is not None:
            full = os.path.abspath(os.fsdecode(path))
            inside = any(
                os.path.commonpath([full, place]) == str(place) for place in (self.allowed, self.also) if place
            )
            if not inside and full != os.devnull and "__pycache__" not in full:
                self.offences.append(f"{event} {full}")


@dataclass(frozen=True)
class Bench:
    """Calls the program in an empty folder; what it writes belongs in ``out`` below that."""

    folder: Path
    watch: Watch

    @property
    def out(self) -> Path:
        return self.folder / "out"

    def call(self, argv: Sequence[str], max_cpu_s: float = MAX_CPU_S, also: Path | None = None) -> Ended:
        """Call the program; ``also`` is a folder that it may write besides ``out``."""
        shutil.rmtree(self.out, ignore_errors=True)
        self.out.mkdir()
        stdout, stderr = io.StringIO(), io.StringIO()
        late = Ended(LATE, "", "", (f"took more than {max_cpu_s:g} s of processor time, or waited for ever",))
        self.watch.allowed, self.watch.also, self.watch.offences = self.out, also, []
        try:
            with (
                limits(max_cpu_s) as alarm,
                warnings.catch_warnings(record=True) as warned,
                contextlib.redirect_stdout(stdout),
                contextlib.redirect_stderr(stderr),
            ):
                warnings.simplefilter("always")
                for quiet in (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning):
                    warnings.simplefilter("ignore", quiet)
                status = main(list(argv))
        except HangError:
            return late
        finally:
            self.watch.allowed = None
        if alarm.is_set():  # within a compiler's callback, which swallows it, and leaves its work undone
            return late
        offences = [*self.watch.offences, *(f"warned: {warning.message}" for warning in warned)]
        return Ended(status, stdout.getvalue(), stderr.getvalue(), tuple(offences))

    def judge(self, argv: Sequence[str], also: Path | None = None) -> int:
        """Call the program, assert that it ended as it may, and return its exit status; see `call`.

        A call that is late is made once more with all the time it wants, and then judged: what is compiled or loaded
        for the first time is not the call's own work.
        """
        ended = self.call(argv, also=also)
        if ended.status == LATE:
            self.call(argv, max_cpu_s=COLD_CPU_S, also=also)
            ended = self.call(argv, also=also)
        assert ended.offences == (), (ended, argv)
        assert ended.status in (0, 2), (ended, argv)
        if ended.status == 2:
            lines = ended.err.splitlines()
            told = [line for line in lines if line.startswith("accelsim: ")]
            assert lines and told == lines[-1:], (ended.err, argv)
            assert ended.err.rstrip("\n").isprintable() and len(ended.err) < 2000, (ended.err, argv)
            assert ";" in ended.err, f"no remedy: {ended.err}"
            # What verify found to be wrong is a report, and a status.
            assert ended.out == "" or argv[0] == "verify", (ended.out[:200], argv)
            left = [path for path in self.out.rglob("*") if path.is_file() and path.suffix not in (".sqlite",)]
            assert left == [], (left, argv)
        else:
            self._valid(ended, argv)
        return ended.status

    def _valid(self, ended: Ended, argv: Sequence[str]) -> None:
        assert "Traceback" not in ended.err
        if argv[0] in ("run", "cost") and "--json" in argv:
            result = check_result(ended.out)
            assert result.totals.latency_cycles >= 0
        elif "--json" in argv:
            json.loads(ended.out, parse_constant=_no_constant)
        if argv[0] == "run" and "--out" in argv:
            folder = argv[argv.index("--out") + 1]
            read_summary(folder)
            read_counters(folder)


def _no_constant(name: str) -> float:
    raise AssertionError(f"{name} in the output")


@contextlib.contextmanager
def limits(max_cpu_s: float) -> Iterator[Event]:
    """Bound processor time and, where the system tells how much is in use (Linux), memory.

    What is yielded is set once the time is over.
    """
    is_over = Event()

    def late(*_: object) -> None:
        is_over.set()
        raise HangError

    statm = Path("/proc/self/statm")
    before = resource.getrlimit(resource.RLIMIT_AS)
    if statm.exists():
        used = int(statm.read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + MAX_BYTES, before[1]))
    handler = signal.signal(signal.SIGPROF, late)
    alarm = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_PROF, max_cpu_s)
    signal.setitimer(signal.ITIMER_REAL, max(MAX_WAIT_S, 10 * max_cpu_s))
    try:
        yield is_over
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, alarm)
        signal.signal(signal.SIGPROF, handler)
        resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.fixture(scope="session")
def watch() -> Watch:
    return Watch()


@pytest.fixture(scope="module")
def bench(watch: Watch, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    before = Path.cwd()
    folder = tmp_path_factory.mktemp("fuzz")
    os.chdir(folder)
    yield Bench(folder, watch)
    os.chdir(before)


Judge = Callable[[Sequence[str]], int]
