"""Where points are evaluated: in this process, in local processes, or on a Dask cluster. One seam, three ways.

An executor takes batches and yields each batch's results as they come, in any order; which worker does what never
shows in a result.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import multiprocessing
import os
import re
import shutil
import signal
import socket
import sys
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from types import ModuleType
from typing import Any, Protocol

from accelsim.dse.evaluate import Evaluated, evaluate_batch
from accelsim.dse.points import Job
from accelsim.errors import ConfigError, SimulationError

Batch = Sequence[Job]
_LOST_WORKERS = 5
_AT_HAND = 2
_CONNECT_S = 10
_RETRIES = 5
_ADDRESS = re.compile(r"(?:(?:tcp|tls)://)?([^/:\s]+|\[[0-9a-fA-F:.]+\]):(\d{1,5})")
# One thread a worker: the workers themselves fill the cores.
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_STOPS = (signal.SIGINT, signal.SIGTERM)


class Executor(Protocol):
    """A place where batches are evaluated."""

    @property
    def num_workers(self) -> int:
        """Workers at hand; decides how finely work is cut, never a result."""
        ...

    def run(self, batches: Sequence[Batch]) -> Iterator[list[Evaluated]]:
        """Evaluate all batches and yield each one's results as it is done.

        Raises
        ------
        AccelSimError
            Workers die again and again, or the cluster is gone.
        """
        ...

    def close(self) -> None:
        """Let the workers go."""
        ...


class SerialExecutor:
    """Evaluates in this process."""

    num_workers = 1

    def run(self, batches: Sequence[Batch]) -> Iterator[list[Evaluated]]:
        """See `Executor`."""
        for batch in batches:
            yield evaluate_batch(batch)

    def close(self) -> None:
        """See `Executor`."""


class _Worker:
    """A local process with the batches that are its own; it is replaced when it dies.

    Every worker goes through a part of the space of its own: neighbours share traces, tables and schedules, which a
    process keeps for itself, and workers that went through the same part together would each make all of them.
    """

    def __init__(self, batches: Sequence[Batch]) -> None:
        self.waiting = deque(batches)
        self.running: dict[Future[list[Evaluated]], Batch] = {}
        self._pool: ProcessPoolExecutor | None = None
        self._alive: tuple[Connection, Connection] | None = None

    def feed(self) -> None:
        """Keep one batch at work and one at hand."""
        while self.waiting and len(self.running) < _AT_HAND:
            with _main_out_of_sight(), _stops_held_back():
                future = self._open().submit(evaluate_batch, self.waiting[0])
            self.running[future] = self.waiting.popleft()

    def _open(self) -> ProcessPoolExecutor:
        if self._pool is None:
            context = multiprocessing.get_context("forkserver")
            context.set_forkserver_preload(["accelsim.dse.evaluate"])
            # Nothing is ever written: the worker's end of the pipe says when this process is gone, even killed.
            self._alive = context.Pipe(duplex=False)
            self._pool = ProcessPoolExecutor(
                1, mp_context=context, initializer=_begin_worker, initargs=(self._alive[0],)
            )
        return self._pool

    def take(self, future: Future[list[Evaluated]]) -> list[Evaluated]:
        """Return the results of a batch that is done; raise `BrokenProcessPool` if the process died."""
        results = future.result()
        del self.running[future]
        return results

    def revive(self) -> list[list[Evaluated]]:
        """Take back what a dead process had, and return what it had finished."""
        finished = [future.result() for future in self.running if _is_finished(future)]
        self.waiting.extendleft([batch for future, batch in self.running.items() if not _is_finished(future)][::-1])
        self.running = {}
        self.end()
        return finished

    def end(self) -> None:
        """Let the process go."""
        # It goes first, and is waited for: one that is just starting would not find what it shares.
        if self._alive is not None:
            for end in self._alive:
                end.close()
            self._alive = None
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None


class ProcessExecutor:
    """Evaluates in local processes; a killed one is replaced and its batch done again."""

    def __init__(self, num_workers: int) -> None:
        self.num_workers = num_workers
        self._workers = [_Worker(()) for _ in range(num_workers)]

    def run(self, batches: Sequence[Batch]) -> Iterator[list[Evaluated]]:
        """See `Executor`."""
        for name in _THREAD_VARIABLES:
            os.environ.setdefault(name, "1")
        length = -(-len(batches) // self.num_workers)
        for number, worker in enumerate(self._workers):
            worker.waiting, worker.running = deque(batches[number * length : (number + 1) * length]), {}
        lost = 0
        while any(worker.waiting or worker.running for worker in self._workers):
            self._share()
            for worker in self._workers:
                try:
                    worker.feed()
                except BrokenProcessPool:
                    lost = _count_lost(lost)
                    yield from worker.revive()
            done, _ = wait(
                [future for worker in self._workers for future in worker.running], return_when=FIRST_COMPLETED
            )
            for worker in self._workers:
                for future in [future for future in worker.running if future in done]:
                    try:
                        results = worker.take(future)
                    except BrokenProcessPool:
                        lost = _count_lost(lost)
                        yield from worker.revive()
                        break
                    yield results

    def _share(self) -> None:
        """Give a worker that has nothing left the last half of what the busiest has."""
        for worker in self._workers:
            if not worker.waiting and len(worker.running) < _AT_HAND:
                busiest = max(self._workers, key=lambda other: len(other.waiting))
                number = (len(busiest.waiting) + 1) // 2
                worker.waiting.extendleft(busiest.waiting.pop() for _ in range(number))

    def close(self) -> None:
        """See `Executor`."""
        for worker in self._workers:
            worker.end()


@contextlib.contextmanager
def _main_out_of_sight() -> Iterator[None]:
    """Keep a process that starts now from importing the script that was run.

    Workers need nothing of it, and a script that calls `sweep` without ``if __name__ == "__main__":`` would begin anew
    in each of them.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


@contextlib.contextmanager
def _stops_held_back() -> Iterator[None]:
    """Hold Ctrl-C and SIGTERM back until a process that starts now is known to its pool.

    A terminal sends Ctrl-C to every process. One that is still importing would end with a traceback, and so would one
    that its pool does not know yet, and so does not wait for. They inherit the mask.
    """
    resource_tracker.ensure_running()  # its start lifts the mask (Python 3.11 and 3.12)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _STOPS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _count_lost(lost: int) -> int:
    if lost >= _LOST_WORKERS:
        raise SimulationError(
            f"workers: {lost + 1} processes died; the machine may be out of memory: use fewer --workers"
        )
    return lost + 1


def _begin_worker(alive: Connection) -> None:
    """Leave Ctrl-C to the main process, and end when it is gone: one that was killed cannot say so."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOPS)
    threading.Thread(target=_end_with, args=(alive,), daemon=True).start()


def _end_with(alive: Connection) -> None:
    with contextlib.suppress(EOFError, OSError):
        alive.recv_bytes()
    os._exit(1)


def _is_finished(future: Future[list[Evaluated]]) -> bool:
    return future.done() and not future.cancelled() and future.exception() is None


class DaskExecutor:
    """Evaluates on a Dask cluster; what a lost worker had is done elsewhere.

    Raises
    ------
    ConfigError
        Dask is not installed, or there is no scheduler.
    """

    def __init__(self, address: str) -> None:
        self._client = _connect(address)
        self.num_workers = max(1, len(self._client.scheduler_info(n_workers=-1)["workers"]))

    def run(self, batches: Sequence[Batch]) -> Iterator[list[Evaluated]]:
        """See `Executor`."""
        distributed = importlib.import_module("distributed")

        futures = self._client.map(evaluate_batch, batches, pure=False, retries=_RETRIES)
        try:
            for future in distributed.as_completed(futures, loop=self._client.loop):
                yield future.result()
        except (distributed.CancelledError, OSError) as error:
            raise SimulationError(
                f"--scheduler: the connection to the scheduler was lost ({type(error).__name__}); "
                "what is done is stored: run the same command again"
            ) from None
        finally:
            with contextlib.suppress(Exception):  # the cluster may be gone
                self._client.cancel(futures)

    def close(self) -> None:
        """See `Executor`."""
        self._client.close()


def _connect(address: Any) -> Any:
    """Return a client of a scheduler's address, or of a cluster object."""
    try:
        client_class = importlib.import_module("distributed").Client
    except ImportError:
        raise ConfigError(
            "--scheduler: Dask is not installed; run pip install 'accelsim[dse]', or leave --scheduler out"
        ) from None
    # What is wrong is told in one line of ours; Dask would log a traceback beside it.
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    if isinstance(address, str):
        _check_address(address)
    try:
        return client_class(address, timeout=_CONNECT_S, set_as_default=False)
    except (OSError, ValueError, TypeError) as error:
        raise _no_scheduler(address, type(error).__name__) from None


def _check_address(address: str) -> None:
    """Refuse what is no address, and see whether anybody listens there: Dask's client would wait for long."""
    match = _ADDRESS.fullmatch(address)
    if match is None or not 0 < int(match[2]) < 65536:
        raise ConfigError(f"--scheduler {address!r}: is no address of a scheduler; give its tcp://HOST:PORT")
    try:
        socket.create_connection((match[1].strip("[]"), int(match[2])), timeout=_CONNECT_S).close()
    except (OSError, UnicodeError) as error:
        raise _no_scheduler(address, type(error).__name__) from None


def _no_scheduler(address: Any, reason: str) -> ConfigError:
    return ConfigError(
        f"--scheduler {address}: no Dask scheduler answers there ({reason}); start one with "
        "`dask scheduler` and give its tcp://HOST:PORT"
    )


class SlurmExecutor(DaskExecutor):
    """Starts Dask workers as jobs of the Slurm cluster that ``~/.config/dask/jobqueue.yaml`` describes.

    Raises
    ------
    ConfigError
        dask-jobqueue is not installed, or its configuration is not usable.
    """

    def __init__(self, num_jobs: int) -> None:
        try:
            slurm_cluster = importlib.import_module("dask_jobqueue").SLURMCluster
        except ImportError:
            raise ConfigError(
                "--slurm: dask-jobqueue is not installed; run pip install dask-jobqueue, or use --scheduler"
            ) from None
        if shutil.which("sbatch") is None:  # Dask would wait for ever for jobs that nobody submitted
            raise ConfigError("--slurm: there is no sbatch here; start accelsim on a node that submits Slurm jobs")
        try:
            self._cluster = slurm_cluster()
            self._cluster.scale(jobs=num_jobs)
        except Exception as error:  # whatever the site's configuration leads to
            reason = " ".join(str(error).split())
            raise ConfigError(
                f"--slurm: no workers can be asked for ({reason}); describe a job in ~/.config/dask/jobqueue.yaml: "
                "jobqueue.slurm.cores, jobqueue.slurm.memory"
            ) from None
        super().__init__(self._cluster)
        self.num_workers = max(num_jobs, self.num_workers)

    def close(self) -> None:
        """See `Executor`."""
        super().close()
        self._cluster.close()


def open_executor(num_workers: int | None, scheduler: str | None, slurm_jobs: int | None) -> Executor:
    """Return the executor that the options ask for; by default local processes on all cores.

    Raises
    ------
    ConfigError
        More than one place is asked for, or the one asked for is not at hand.
    """
    asked = [
        name
        for name, value in (("--workers", num_workers), ("--scheduler", scheduler), ("--slurm", slurm_jobs))
        if value is not None
    ]
    if len(asked) > 1:
        raise ConfigError(f"{asked[0]} and {asked[1]}: both say where to evaluate; give one of them")
    if scheduler is not None:
        return DaskExecutor(scheduler)
    if slurm_jobs is not None:
        return SlurmExecutor(slurm_jobs)
    number = num_workers or len(os.sched_getaffinity(0))
    return SerialExecutor() if number == 1 else ProcessExecutor(number)
