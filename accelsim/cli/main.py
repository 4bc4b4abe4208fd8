"""The entry point: from the command line to an exit status.

Exit status 0; 2 for anything wrong with what the user gave, in one line on the error stream; 1 for a fault of the
program; 130 after Ctrl-C, 143 after SIGTERM; 141 when the reader of a pipe went away.
"""

from __future__ import annotations

import contextlib
import errno
import gc
import os
import re
import shlex
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence

import click

import accelsim
from accelsim.cli.common import Overview, Session, common_options
from accelsim.cli.environment import (
    COMPLETION_VARIABLE,
    figures_go_to_files,
    open_closed_streams,
    unusable_environment,
    unusable_words,
)
from accelsim.errors import AccelSimError, Interrupted

EXIT_FAULT = 1
EXIT_USER = 2
EXIT_INTERRUPTED = 130
EXIT_BROKEN_PIPE = 141
EXIT_TERMINATED = 143
_MAX_VALUE = 80
_SELDOM = (20_000, 20, 50)  # new objects before a search, and searches before one of older ones
# A quoted value of any content; apostrophes inside words quote nothing.
_LONG_VALUE = re.compile(rf"(?<!\w)'[^']{{{_MAX_VALUE},}}'(?!\w)")
_MAX_LINE = 1500
_NO_MEMORY = re.compile(
    r"cannot allocate memory|failed to map segment|can't start new thread|out of memory|unable to allocate",
    re.IGNORECASE,
)
_MORE_MEMORY = "allow more address space (ulimit -v), or run fewer workers"


@click.command(
    cls=Overview,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    no_args_is_help=False,
    invoke_without_command=True,
)
@click.version_option(accelsim.__version__, prog_name="accelsim", message="%(prog)s %(version)s")
@common_options
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Simulate accelerators that regenerate random weights on chip.

    What do strong lottery tickets buy in time, energy, memory traffic and area, for your network on your chip?
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line ``argv`` (default: the process's) and return its exit status; it never raises."""
    state = Session()
    open_closed_streams()
    figures_go_to_files()
    given = sys.argv[1:] if argv is None else argv
    if argv is None:
        # What a command loads lives until it ends: searching it for garbage as often as by default takes 4 % of a run.
        gc.set_threshold(*_SELDOM)
    problem = unusable_words(given) or unusable_environment()
    if problem:
        return _complain(problem, EXIT_USER)
    if os.environ.get(COMPLETION_VARIABLE):
        from accelsim.cli.completing import answer  # noqa: PLC0415  other calls do not wait for it

        sys.stdout.write(answer())
        return 0
    told: list[int] = []
    try:
        with _ending_on_sigterm(told):
            status = cli.main(args=list(given), prog_name="accelsim", standalone_mode=False, obj=state)
            sys.stdout.flush()
    except (BrokenPipeError, SystemExit):  # of a closed pipe click makes an exit, and of nothing else
        # The interpreter flushes standard output once more at exit: give it somewhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_BROKEN_PIPE
    except (Exception, KeyboardInterrupt) as error:
        if isinstance(error, KeyboardInterrupt | click.Abort):
            return _stopped(error, given, is_terminated=bool(told))
        return _explain(error, state)
    return status if isinstance(status, int) else 0


@contextlib.contextmanager
def _ending_on_sigterm(told: list[int]) -> Iterator[None]:
    """Let SIGTERM end a command as Ctrl-C does, so that files are put in order; ``told`` gets the signal's number.

    A host program that has its own handler, or calls from a thread, keeps what it has.
    """

    def end(number: int, _frame: object) -> None:
        told.append(number)
        raise KeyboardInterrupt

    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _stopped(error: BaseException, given: Sequence[str], *, is_terminated: bool) -> int:
    """Print that the command ends early, what it keeps, and the command that goes on from there."""
    word, status = ("terminated", EXIT_TERMINATED) if is_terminated else ("interrupted", EXIT_INTERRUPTED)
    kept = error if isinstance(error, Interrupted) else error.__cause__  # click makes an Abort of it
    if isinstance(kept, Interrupted):
        word = f"{word}; {kept}; the same command {kept.then}: accelsim {shlex.join(given)}"
    return _complain(word, status)


def _explain(error: BaseException, state: Session) -> int:
    """Print one line about ``error`` and return the exit status it leads to."""
    match error:
        case AccelSimError():
            return _complain(state.as_typed(str(error)), EXIT_USER)
        case click.UsageError():
            command = error.ctx.command_path if error.ctx else "accelsim"
            message = _lower(error.format_message())
            return _complain(f"{message}{' ' if message.endswith('?') else '; '}see {command} --help", EXIT_USER)
        case click.ClickException():
            return _complain(error.format_message(), error.exit_code)
        case _ if _is_short_of_memory(error):
            return _complain(f"not enough memory ({_first_line(error)}); {_MORE_MEMORY}", EXIT_USER)
        case OSError(errno=errno.ENAMETOOLONG):
            return _complain(f"{error.filename}: {error.strerror}; give a shorter one", EXIT_USER)
        case OSError(errno=errno.ENOSPC | errno.EDQUOT):
            return _complain(f"standard output: cannot be written ({error.strerror}); make room there", EXIT_USER)
        case _:
            return _fault(error, state)


def _is_short_of_memory(error: BaseException | None) -> bool:
    """Return whether the system refused memory or a thread, whatever a library made of it."""
    while error is not None:
        if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
            return True
        if isinstance(error, ImportError | RuntimeError | OSError) and _NO_MEMORY.search(str(error)):
            return True
        error = error.__cause__ or error.__context__
    return False


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def _fault(error: BaseException, state: Session) -> int:
    if state.verbosity > 0:
        traceback.print_exception(error)
    kind = type(error).__name__
    return _complain(f"internal fault ({kind}: {error}); please report it with the output of -v", EXIT_FAULT)


def _complain(message: str, status: int) -> int:
    line = _LONG_VALUE.sub(lambda found: f"{found[0][: _MAX_VALUE - 2]}...'", " ".join(message.split()))
    if len(line) > _MAX_LINE:  # a value of the user's may be of any length; where and what to do stand at the ends
        line = f"{line[: _MAX_LINE - 300]} ... {line[-300:]}"
    # Names in files can hold what would steer a terminal; it is shown, not sent.
    shown = "".join(char if char.isprintable() else ascii(char)[1:-1] for char in line)
    click.echo(f"accelsim: {shown}", err=True)
    return status


def _lower(message: str) -> str:
    return message[:1].lower() + message[1:].rstrip(".")


if __name__ == "__main__":
    sys.exit(main())
