"""Runs one circuit again and again: a C++ binary, or a Brian2 network on the numpy target."""

from __future__ import annotations

import functools
import logging
from abc import ABC, abstractmethod
from typing import Literal, TypeAlias

import brian2
import numpy as np

from biomodel.circuit import steady_state as start
from biomodel.circuit.assembly import Circuit, assemble
from biomodel.circuit.specification import Specification
from biomodel.circuit.station import State
from biomodel.engine import cache, cpp

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

    def steady_state(self, background: np.ndarray, seed: int) -> State:
        """The state after adaptation to a static field, (image, y, x) in cd/m²; `seed` is that of the noise to come."""
        return start.steady_state(self.specification, background, seed)

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
        """
        noise = {} if seed is None else start.noise_seeds(self.specification, seed)
        out = self._run(by_frame(movie), state | noise)
        for name, values in out.items():
            if not np.isfinite(values).all():
                raise RuntimeError(f"the simulation diverged ({name} is not finite): choose a shorter dt")
        return out

    @abstractmethod
    def _run(self, frames: np.ndarray, state: State) -> dict[str, np.ndarray]:
        """Outputs for a movie, (frame, cell) in cd/m², from a state."""


class CppExecutor(Executor):
    """A binary of the cache, compiled first where it is missing; each run is a process."""

    def __init__(self, specification: Specification, variables: State) -> None:
        super().__init__(specification, variables)
        self.folder = cache.build(specification)
        cpp.remove_scratch()

    def _run(self, frames: np.ndarray, state: State) -> dict[str, np.ndarray]:
        return cpp.run_binary(self.folder, {"movie": frames, **state, **self.variables})


class NumpyExecutor(Executor):
    """A network in this process."""

    def _run(self, frames: np.ndarray, state: State) -> dict[str, np.ndarray]:
        if not isinstance(brian2.get_device(), brian2.devices.RuntimeDevice):
            raise RuntimeError(
                "the numpy target needs Brian2's runtime device: call brian2.set_device('runtime') first"
            )
        preferred = brian2.prefs.codegen.target
        brian2.prefs.codegen.target = "numpy"
        try:
            circuit = _network(self.specification)
            circuit.network.restore()
            set_state(circuit, frames, state | self.variables)
            for monitor in circuit.monitors:
                monitor.active = bool(self.variables["recording.trace"][0])
            circuit.network.run(float(self.variables["recording.duration"][0]) * brian2.second, namespace={})
        finally:
            brian2.prefs.codegen.target = preferred
        out = {
            name: np.array(output.recorder.variables[output.variable].get_value()).ravel()
            for name, output in circuit.outputs.items()
        }
        for name in state if self.specification.leaves_state else ():
            group, variable = name.split(".")
            out[f"end.{name}"] = np.array(circuit.stations[group].variables[variable].get_value(), dtype=float)
        return out


@functools.lru_cache(maxsize=2)
def _network(specification: Specification) -> Circuit:
    circuit = assemble(specification)
    circuit.network.store()
    return circuit


#: Code generation targets.
Target: TypeAlias = Literal["cpp", "numpy"]

#: The executor of each code generation target.
EXECUTORS: dict[Target, type[Executor]] = {"cpp": CppExecutor, "numpy": NumpyExecutor}


@functools.cache
def available_target() -> Target:
    """C++ where there is a compiler; otherwise NumPy, with one warning."""
    if cache.compiler() is not None:
        return "cpp"
    logger.warning("no C++ compiler (g++ and make) was found: simulating on Brian2's slower numpy target")
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
