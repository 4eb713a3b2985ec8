"""Tasks on the workers of a dask.distributed scheduler: checked before they start, few at a time, cancelled with the caller.

dask decides which worker runs a task, and runs the task again elsewhere where the worker is lost. A worker has to have the
versions of this process and to see its folder: all workers are checked before the first task, and each checks itself again
before every task, since workers may join later.
"""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
import logging
import pickle
import platform
import queue
import re
import sys
import threading
import time
import uuid
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import CancelledError
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from biomodel.engine.cache import simulation_digest
from biomodel.engine.toolchain import compiler
from biomodel.utils.checks import whole_number
from biomodel.utils.code import code_digest
from biomodel.utils.errors import InputError, MachineError
from biomodel.utils.run_folder import is_running

if TYPE_CHECKING:
    from distributed import Client, Future

logger = logging.getLogger("precortical")

#: Number of processes of this machine, or a cluster: the address of a dask scheduler, or a client of one.
Workers: TypeAlias = "int | str | Client"

#: Seconds for the connection to a scheduler; between looks at it; without a worker until a message.
_CONNECT, _LOOK, _PATIENCE = 10.0, 1.0, 5.0

#: Tasks at a time for each thread of the workers, so that a thread never waits for the next one's data.
_AHEAD = 2

#: Workers that a message names.
_NAMED = 4

#: The connections of this process, by address.
_clients: dict[str, Client] = {}
_connecting = threading.Lock()


def check_workers(workers: object, name: str = "workers") -> Workers:
    """A number of processes, the address of a scheduler or a client, or an InputError.

    Raises
    ------
    InputError
        For any other value, and for a cluster without the extra ``cluster``.
    """
    if isinstance(workers, str):
        if not re.fullmatch(r"(\w+://)?[^\s/]+:\d+|inproc://\S+", workers):
            raise InputError(
                f"{name} must be a positive integer or the address of a dask scheduler, as tcp://host:8786, "
                f"got {workers!r}"
            )
        if importlib.util.find_spec("distributed") is None:
            raise InputError(
                f"dask.distributed is not installed, which {name} {workers} needs: pip install 'precortical[cluster]'"
            )
        return workers
    distributed = sys.modules.get("distributed")
    if distributed is not None and isinstance(workers, distributed.Client):
        if workers.asynchronous:
            raise InputError(f"{name} must be a distributed.Client that is not asynchronous, got an asynchronous one")
        return workers
    return whole_number(workers, name, 1)


@functools.cache
def _versions(packages: tuple[str, ...], distributions: tuple[str, ...]) -> dict[str, str]:
    """Versions of all that decides results, in this process."""
    found = {"python": platform.python_version(), "simulation code": simulation_digest()}
    for name in ("precortical", "brian2", "numpy", "scipy", *distributions):
        # Of the code that runs, which may not be the one that is installed.
        found[name] = importlib.import_module("biomodel" if name == "precortical" else name).__version__
    for name in packages:
        (folder,) = importlib.import_module(name).__path__
        found[f"code of {name}"] = code_digest([Path(folder)])
    return found


@dataclass(frozen=True)
class Needs:
    """What a worker needs so that its results are those of the process that makes this object.

    Attributes
    ----------
    token : pathlib.Path, optional
        The token of the run (`biomodel.utils.run_folder.run_token`), which every worker has to see.
    compiler : bool
        Whether circuits are compiled.
    packages, distributions : tuple of str
        Packages whose code, and installed modules whose versions must be equal, too.
    """

    token: Path | None = None
    compiler: bool = False
    packages: tuple[str, ...] = ()
    distributions: tuple[str, ...] = ()
    versions: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "versions", _versions(self.packages, self.distributions))

    def unmet(self) -> str | None:
        """What this process lacks, with what it has instead; or None."""
        here = _versions(self.packages, self.distributions)
        differing = [name for name, version in self.versions.items() if here[name] != version]
        if differing:
            has = ", ".join(f"{name} {here[name]}, here {self.versions[name]}" for name in differing)
            return "have the versions of this process: {worker} has " + has
        if self.compiler and compiler() is None:
            return "have a C++ compiler (g++ and make): {worker} has none"
        if self.token is not None and not is_running(self.token):
            return f"see the folder {self.token.parent} under this path: {{worker}} does not"
        return None


class Cluster:
    """The workers of a scheduler, connected and checked.

    Parameters
    ----------
    workers : str or distributed.Client
    needs : Needs

    Raises
    ------
    InputError
        Where no scheduler answers, and with the workers that lack something.
    """

    def __init__(self, workers: str | Client, needs: Needs) -> None:
        self._client = connect(workers) if isinstance(workers, str) else workers
        self._address = self._client.scheduler.address if self._client.scheduler else str(workers)
        self._needs = needs
        self._wait_for_workers()
        self._check()

    def map(
        self, function: Callable[..., Any], tasks: Iterable[tuple], ordered: bool = True
    ) -> Generator[Any, None, None]:
        """Results of a function of each tuple of arguments; tasks are read as the workers get free.

        Parameters
        ----------
        function : callable
            That can be pickled.
        tasks : iterable of tuple
            Arguments of each call.
        ordered : bool
            Whether results come in the order of the tasks, or as they are done.

        Raises
        ------
        InputError
            For a worker that joined later and lacks something.
        MachineError
            Where the connection to the scheduler is lost, or a task ended several workers.
        """
        done: queue.Queue[Future] = queue.Queue()
        number: dict[Future, int] = {}
        results: dict[int, Any] = {}
        source, yielded, exhausted = enumerate(tasks), 0, False
        try:
            while not exhausted or number or results:
                room = _AHEAD * max(1, self._threads()) - len(number) if not exhausted else 0
                for _ in range(room):
                    k, values = next(source, (None, ()))
                    if k is None:
                        exhausted = True
                        break
                    future = self._submit(function, values)
                    number[future] = k
                    future.add_done_callback(done.put)
                if number:
                    future = self._wait(done)
                    results[number.pop(future)] = self._result(future)
                while yielded in results if ordered else results:
                    yield results.pop(yielded if ordered else next(iter(results)))
                    yielded += 1
        finally:
            if number and self._client.status == "running":
                with suppress(OSError, CancelledError):
                    self._client.cancel(list(number), force=True)

    def _submit(self, function: Callable[..., Any], values: tuple) -> Future:
        import cloudpickle

        # As bytes that run the task when they are unpickled: the scheduler, which reads functions, needs no precortical.
        call = cloudpickle.dumps(_Call(self._needs, cloudpickle.dumps((function, values))))
        try:
            return self._client.submit(pickle.loads, call, key=f"precortical-{uuid.uuid4().hex}", pure=False)
        except (OSError, CancelledError) as error:
            raise self._lost() from error

    def _wait(self, done: queue.Queue[Future]) -> Future:
        """The next task that is done."""
        looked = time.monotonic()
        while True:
            try:
                return done.get(timeout=_LOOK)
            except queue.Empty:
                if self._client.status != "running":
                    raise self._lost() from None
                if time.monotonic() - looked > _PATIENCE:
                    self._wait_for_workers()
                    looked = time.monotonic()

    def _result(self, future: Future) -> Any:
        from distributed.scheduler import KilledWorker

        while True:
            if future.status == "cancelled":
                raise self._lost()
            try:
                return future.result(timeout=_PATIENCE)
            except KilledWorker as error:
                ended = error.allowed_failures + 1
                raise MachineError(
                    f"one task on {self._address} ended {ended} worker{'s' if ended > 1 else ''}, "
                    f"{error.last_worker.address} last: was the memory used up? Give workers more memory, or chunks fewer "
                    "images; with a store, the same call continues"
                ) from error
            except Exception as error:
                if future.status == "error":
                    # A worker that joined later and cannot even run the check has an error of its own.
                    if not isinstance(error, InputError | MachineError):
                        self._check()
                    raise
                if not isinstance(error, OSError | CancelledError):
                    raise
                if not isinstance(error, TimeoutError) or self._client.status != "running":
                    raise self._lost() from error
                # The worker with the result is lost: dask runs the task again.
                self._wait_for_workers()

    def _threads(self) -> int:
        """Number of threads of all workers."""
        try:
            return sum(self._client.nthreads().values())
        except (OSError, CancelledError) as error:
            raise self._lost() from error

    def _wait_for_workers(self) -> None:
        """Wait until there is a worker, with a message."""
        began, said = time.monotonic(), -float("inf")
        while self._threads() == 0:
            now = time.monotonic()
            if now - began > _PATIENCE and now - said > 12 * _PATIENCE:
                logger.warning("%s has no workers: waiting for workers", self._address)
                said = now
            time.sleep(_LOOK)

    def _check(self) -> None:
        """Refuse workers that lack something, by name."""
        try:
            found = self._client.run(self._needs.unmet, on_error="return")
            # A worker that does not answer since it is gone is no obstacle.
            present = self._client.nthreads()
        except (OSError, CancelledError) as error:
            raise self._lost() from error
        lacks = [_refusal(lack, worker) for worker, lack in found.items() if lack is not None and worker in present]
        if lacks:
            more = f" (and {len(lacks) - _NAMED} more workers)" if len(lacks) > _NAMED else ""
            raise InputError("; ".join(lacks[:_NAMED]) + more)

    def _lost(self) -> MachineError:
        return MachineError(
            f"the connection to the scheduler at {self._address} was lost: start a scheduler and workers; with a store, the "
            "same call continues"
        )


def _refusal(lack: object, worker: str) -> str:
    if isinstance(lack, Exception):
        # dask wraps errors that cannot be pickled.
        reason = str(lack) if type(lack) is Exception else repr(lack)
        return f"workers must be able to import precortical: {worker} raised {reason}"
    return "workers must " + str(lack).replace("{worker}", worker)


def connect(address: str, name: str = "workers") -> Client:
    """The connection of this process to a scheduler.

    Raises
    ------
    InputError
        Where no scheduler answers, and as for `check_workers`.
    """
    check_workers(address, name)
    from distributed import Client

    with _connecting:
        client = _clients.get(address)
        if client is None or client.status != "running":
            try:
                client = _clients[address] = Client(address, timeout=_CONNECT, set_as_default=False)
            except (OSError, ValueError) as error:
                reason = str(error).splitlines()[0]
                raise InputError(f"{name} must be the address of a dask scheduler, got {address} ({reason})") from None
        return client


@dataclass(frozen=True)
class _Call:
    """A task whose unpickling runs it."""

    needs: Needs
    call: bytes

    def __reduce__(self) -> tuple:
        return _run, (self.needs, self.call)


def _run(needs: Needs, call: bytes) -> Any:
    """Run a task, in a worker that meets the needs."""
    lack = needs.unmet()
    if lack is not None:
        from distributed import get_worker

        raise InputError(_refusal(lack, get_worker().address))
    function, values = pickle.loads(call)
    return function(*values)
