"""Runs one circuit again and again: a C++ binary, or a Brian2 network on the numpy target."""

from __future__ import annotations

import functools
import logging
import os
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, TypeAlias

import brian2
import numpy as np
from brian2.codegen.runtime.numpy_rt import NumpyCodeObject

from biomodel.adaptation import Fields
from biomodel.circuit import steady_state as start
from biomodel.circuit.assembly import Circuit, assemble
from biomodel.circuit.specification import Specification
from biomodel.circuit.station import State
from biomodel.engine import cache, cpp, toolchain
from biomodel.engine.scratch import remove_scratch
from biomodel.utils.errors import InputError

logger = logging.getLogger("precortical")


class Executor(ABC):
    """A circuit that can be run with any stimulus of its size, from any state.

    Parameters
    ----------
    specification : Specification
    variables : dict
        The variables of recorders, as `run_variables` gives them.
    """

    def __init__(self, specification: Specification, variables: State) -> None:
        self.specification = specification
        self.variables = variables

    def steady_state(self, fields: Fields, seed: int) -> State:
        """The state after adaptation to static fields; `seed` is that of the noise to come."""
        return start.steady_state(self.specification, fields, seed)

    def run(self, movie: np.ndarray, state: State, seed: int | None = None) -> dict[str, np.ndarray]:
        """Run the circuit.

        Parameters
        ----------
        movie : numpy.ndarray, (image, frame, y, x)
            As many images as the specification's grid holds; cd/m².
        state : dict
            The state to start from.
        seed : int, optional
            Of the noise, if not that of the state.

        Returns
        -------
        dict of str to numpy.ndarray
            The circuit's outputs by name, flat, in SI units; with a specification that leaves its state also "end.…".

        Raises
        ------
        RuntimeError
            Where the simulation fails or its numbers become infinite.
        MachineError
            Where a file or a process of the machine fails.
        InputError
            Where Brian2's preferences would change the numbers.
        """
        noise = {} if seed is None else start.noise_seeds(self.specification, seed)
        out = self._run(by_frame(movie), state | noise)
        for name, values in out.items():
            if not np.isfinite(values).all():
                raise RuntimeError(f"the simulation diverged ({name} is not finite): choose a shorter dt")
        return out

    def is_present(self) -> bool:
        """Whether what it runs is still there."""
        return True

    @abstractmethod
    def _run(self, frames: np.ndarray, state: State) -> dict[str, np.ndarray]:
        """Outputs for a movie, (frame, cell) in cd/m², from a state."""


class CppExecutor(Executor):
    """A binary of the cache, compiled first where it is missing; each run is a process."""

    def __init__(self, specification: Specification, variables: State) -> None:
        super().__init__(specification, variables)
        self.folder = cache.build(specification)
        remove_scratch()

    def is_present(self) -> bool:
        return (self.folder / "main").is_file()

    def _run(self, frames: np.ndarray, state: State) -> dict[str, np.ndarray]:
        return cpp.run_binary(self.folder, {"movie": frames, **state, **self.variables})


class NumpyExecutor(Executor):
    """A network in this process. Brian2 is not made for threads: they run one after another."""

    def _run(self, frames: np.ndarray, state: State) -> dict[str, np.ndarray]:
        with one_thread():
            _check_brian2()
            try:
                return self._outputs(_network(self.specification), frames, state)
            except BaseException:
                # What it was doing is not known.
                _network.cache_clear()
                raise
            finally:
                # Otherwise Brian2 ignores the next Ctrl+C.
                brian2.Network._globally_running = False

    def _outputs(self, circuit: Circuit, frames: np.ndarray, state: State) -> dict[str, np.ndarray]:
        circuit.network.restore()
        set_state(circuit, frames, state | self.variables)
        for monitor in circuit.monitors:
            monitor.active = bool(self.variables["recording.trace"][0])
        circuit.network.run(float(self.variables["recording.duration"][0]) * brian2.second, namespace={})
        if brian2.Network._globally_stopped:
            raise KeyboardInterrupt
        out = {
            name: np.array(output.recorder.variables[output.variable].get_value()).ravel()
            for name, output in circuit.outputs.items()
        }
        for name in state if self.specification.leaves_state else ():
            group, variable = name.split(".")
            out[f"end.{name}"] = np.array(circuit.stations[group].variables[variable].get_value(), dtype=float)
        return out


class _Brian2Lock:
    """The lock of `one_thread`."""

    lock = threading.RLock()


@contextmanager
def one_thread() -> Iterator[None]:
    """Let one thread at a time use Brian2: networks, names and the device are global to a process."""
    with _Brian2Lock.lock:
        yield


def _after_fork() -> None:
    """Nobody can release the lock of a thread that is not in this process, nor finish its run."""
    _Brian2Lock.lock = threading.RLock()
    _network.cache_clear()


os.register_at_fork(after_in_child=_after_fork)

#: Preferences of Brian2 that change numbers.
_PREFERENCES = (
    "core.default_float_dtype",
    "core.default_integer_dtype",
    "core.network.default_schedule",
    "codegen.loop_invariant_optimisations",
    "legacy.refractory_timing",
)


def _check_brian2() -> None:
    """Check that Brian2's device and preferences are those that the numpy target needs."""
    if not isinstance(brian2.get_device(), brian2.devices.RuntimeDevice):
        raise RuntimeError("the numpy target needs Brian2's runtime device: call brian2.set_device('runtime') first")
    for name in _PREFERENCES:
        category, _, last = name.rpartition(".")
        default, value = brian2.prefs.pref_register[category][0][last].default, brian2.prefs[name]
        if value != default:
            shown, got = (getattr(choice, "__name__", choice) for choice in (default, value))
            raise InputError(
                f"Brian2's preference {name} must be {shown}, its default, for the numpy target, got {got}: set it back in "
                "the program, in brian_preferences, or in ~/.brian/user_preferences"
            )


@functools.lru_cache(maxsize=2)
def _network(specification: Specification) -> Circuit:
    circuit = assemble(specification)
    # Not through the preference codegen.target, which is the user's.
    for part in circuit.network:
        part.codeobj_class = NumpyCodeObject
    circuit.network.store()
    return circuit


#: Code generation targets.
Target: TypeAlias = Literal["cpp", "numpy"]

#: The executor of each code generation target.
EXECUTORS: dict[Target, type[Executor]] = {"cpp": CppExecutor, "numpy": NumpyExecutor}


@functools.cache
def available_target() -> Target:
    """C++ where there is a compiler; otherwise NumPy, with one warning."""
    if toolchain.compiler() is not None:
        return "cpp"
    command = " ".join(toolchain.compiler_command())
    logger.warning("no C++ compiler (%s, with make) was found: simulating on Brian2's slower numpy target", command)
    return "numpy"


def by_frame(movie: np.ndarray) -> np.ndarray:
    """A movie (image, frame, y, x) as a network takes it: (frame, cell)."""
    return np.ascontiguousarray(np.moveaxis(movie, 1, 0)).reshape(movie.shape[1], -1)


def set_state(circuit: Circuit, frames: np.ndarray, state: State) -> None:
    """Set the movie, (frame, cell) in cd/m², and the state of a circuit on the runtime device."""
    circuit.movie.values[:] = frames
    for name, values in state.items():
        group, variable = name.split(".")
        circuit.stations[group].variables[variable].set_value(values.ravel())
