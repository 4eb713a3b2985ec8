"""`Pathway`: the circuit that a user simulates."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, overload

import brian2
import numpy as np
import xarray as xr
from brian2 import Quantity

from biomodel.circuit.assembly import assemble
from biomodel.circuit.cell_types import classical_centre
from biomodel.circuit.lesions import LESIONS
from biomodel.circuit.specification import EVERYWHERE, STATIONS, Region
from biomodel.circuit.station import State
from biomodel.circuit.steady_state import steady_state
from biomodel.engine import run
from biomodel.engine.cluster import Workers, check_workers
from biomodel.engine.executors import available_target, by_frame, one_thread, set_state
from biomodel.engine.plan import AdaptTo, Network, Plan, Request, Target, make_plan
from biomodel.engine.spike_trains import SpikeTrains
from biomodel.engine.store import Store
from biomodel.parameters import FIDELITIES, VALID_LUMINANCE, Parameters
from biomodel.stimuli import positive
from biomodel.utils.checks import one_of
from biomodel.utils.errors import InputError

#: So that two threads do not give the same warning.
_warning = threading.Lock()


class LuminanceRangeWarning(UserWarning):
    """A stimulus has luminances outside the valid range of the phototransduction model.

    Examples
    --------
    >>> import warnings
    >>> import biomodel
    >>> warnings.simplefilter("ignore", biomodel.LuminanceRangeWarning)
    """


class Pathway:
    """A retina, LGN and V1 of one preset, ready to be simulated.

    Parameters
    ----------
    preset : str
        One of `biomodel.PRESETS`.
    fidelity : {"rate", "spiking"}
        Whether ganglion, relay and V1 cells have firing rates or spikes.
    parameters : mapping of str to float or brian2.Quantity, optional
        New values by name; plain numbers are in the documented unit.
    lesions : iterable of str
        Mechanisms to remove, from `biomodel.LESIONS`; `biomodel.circuit.lesions` has what takes their place.
    dt : float or brian2.Quantity
        Integration step in ms.
    target : {"cpp", "numpy"}, optional
        Brian2's code generation target; by default C++ where there is a compiler.

    Raises
    ------
    InputError
        For an unknown preset, fidelity, parameter, lesion or target, a wrong unit, a value out of range.

    Examples
    --------
    >>> import numpy as np
    >>> import biomodel
    >>> stimulus = biomodel.Display().show(np.full((2, 24, 24), 0.5))
    >>> pathway = biomodel.Pathway(lesions=["horizontal_feedback"], target="numpy")
    >>> responses = pathway.simulate(stimulus, output="bipolar")
    >>> responses.bipolar.dims, responses.bipolar.units
    (('image', 'bipolar_channel', 'y', 'x'), 'mV')
    """

    def __init__(
        self,
        preset: str = "macaque_parafovea",
        fidelity: str = "rate",
        parameters: Mapping[str, object] | None = None,
        lesions: Iterable[str] = (),
        dt: float | Quantity = 0.5,
        target: Target | None = None,
    ) -> None:
        if not isinstance(parameters, Mapping | None):
            raise InputError(f"parameters must be a mapping of names to values, got {parameters!r}")
        if not isinstance(lesions, Iterable):
            raise InputError(f"lesions must be names of lesions, got {lesions!r}")
        self.fidelity = one_of(fidelity, FIDELITIES, "fidelity")
        self._overrides = dict(parameters or {})
        self.parameters = Parameters(preset, self._overrides, fidelity)
        self.preset = preset
        names = (lesions,) if isinstance(lesions, str) else tuple(lesions)
        self.lesions = tuple(sorted({one_of(name, LESIONS, "lesion") for name in names}))
        self.dt = positive(dt, "dt", "ms")
        if target is not None:
            one_of(target, ("cpp", "numpy"), "target")
        self.target = target
        self._warned = False
        self._left_behind: dict[tuple, tuple[State, np.ndarray]] = {}
        self._turn = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_turn"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _turn=threading.Lock())

    def replace(self, **changes: Any) -> Pathway:
        """A copy with some settings changed.

        Parameters
        ----------
        **changes
            `preset`, `fidelity`, `parameters`, `lesions`, `dt`, `target`, as for `Pathway`. Parameters are added to the
            present ones; those that exist at spiking fidelity only are dropped with ``fidelity="rate"``.

        Returns
        -------
        Pathway

        Raises
        ------
        InputError
            For a name that is not a setting, and as for `Pathway`.

        Examples
        --------
        >>> import biomodel
        >>> pathway = biomodel.Pathway(parameters={"v1.kinds": 2}, dt=0.25, lesions=["push_pull"])
        >>> intact = pathway.replace(lesions=())
        >>> intact.dt, intact.lesions, intact.parameters.value("v1.kinds")
        (0.25, (), 2.0)
        """
        present: dict[str, Any] = {
            "preset": self.preset,
            "fidelity": self.fidelity,
            "lesions": self.lesions,
            "dt": self.dt,
            "target": self.target,
        }
        unknown = [name for name in changes if name not in (*present, "parameters")]
        if unknown:
            raise InputError(f"changes must be among {', '.join((*present, 'parameters'))}, got {unknown[0]!r}")
        if not isinstance(changes.get("parameters"), Mapping | None):
            raise InputError(f"parameters must be a mapping of names to values, got {changes['parameters']!r}")
        overrides = self._overrides
        if one_of(changes.get("fidelity", self.fidelity), FIDELITIES, "fidelity") == "rate":
            overrides = {name: value for name, value in overrides.items() if name in Parameters(self.preset)}
        parameters = {**overrides, **(changes.get("parameters") or {})}
        return Pathway(**{**present, **changes, "parameters": parameters})

    def __repr__(self) -> str:
        lesioned = f", lesions={self.lesions}" if self.lesions else ""
        return f"Pathway({self.preset!r}, fidelity={self.fidelity!r}{lesioned})"

    def classical_centre(self, pixels_per_degree: float, output: str = "v1") -> int:
        """Width in pixels of the largest classical centre up to a station; smaller images are refused."""
        ppd = positive(pixels_per_degree, "pixels_per_degree", "px/deg")
        return classical_centre(self.parameters, one_of(output, STATIONS, "output"), ppd)

    def network(self, stimulus: xr.DataArray, adapt_to: AdaptTo = "gaze", *, output: str = "v1") -> brian2.Network:
        """The brian2.Network itself, in its steady state, about to show the stimulus: running it shows the stimulus.

        Groups are named after the stations, so ``network["lgn"]`` is the relay. All images are in it.

        Parameters
        ----------
        stimulus, adapt_to, output
            As for `simulate`.

        Returns
        -------
        brian2.Network
            On the current Brian2 device, which has to be the runtime device, with Brian2's preferences as they are.

        Raises
        ------
        InputError
            As for `simulate`.
        """
        plan = self._plan(stimulus, Request(adapt_to=adapt_to, output=output, record="trace"), all_images=True)
        shown, fields = plan.presentations.read(slice(None))
        with one_thread():
            circuit = assemble(plan.specification, recording=False)
            set_state(circuit, by_frame(shown), steady_state(plan.specification, fields))
        return circuit.network

    @overload
    def simulate(
        self,
        stimulus: xr.DataArray,
        adapt_to: AdaptTo = "gaze",
        duration: float | Quantity | None = None,
        window: tuple[float | Quantity, float | Quantity] | None = None,
        seed: int = 0,
        *,
        output: str = "v1",
        record: Literal["mean", "trace"] = "mean",
        trials: int = 1,
        region: Region = EVERYWHERE,
        workers: Workers = 1,
        store: str | Path | Store | None = None,
        resume: bool = True,
    ) -> xr.Dataset: ...

    @overload
    def simulate(
        self,
        stimulus: xr.DataArray,
        adapt_to: AdaptTo = "gaze",
        duration: float | Quantity | None = None,
        window: tuple[float | Quantity, float | Quantity] | None = None,
        seed: int = 0,
        *,
        output: str = "v1",
        record: Literal["spikes"],
        trials: int = 1,
        region: Region = EVERYWHERE,
        workers: Workers = 1,
        store: str | Path | Store | None = None,
        resume: bool = True,
    ) -> SpikeTrains: ...

    def simulate(
        self,
        stimulus: xr.DataArray,
        adapt_to: AdaptTo = "gaze",
        duration: float | Quantity | None = None,
        window: tuple[float | Quantity, float | Quantity] | None = None,
        seed: int = 0,
        *,
        output: str = "v1",
        record: Literal["mean", "trace", "spikes"] = "mean",
        trials: int = 1,
        region: Region = EVERYWHERE,
        workers: Workers = 1,
        store: str | Path | Store | None = None,
        resume: bool = True,
    ) -> xr.Dataset | SpikeTrains:
        """Responses to a stimulus, each image from an adapted state.

        The pathway starts in the steady state of an adaptation state, the image or movie is shown for `duration`, and a
        response is the mean over `window`. The pupil keeps the area that it has for the mean of the scene adapted to
        (`biomodel.pupil`); with the parameter ``cone.pupil_reflex`` at 0 its area is always ``cone.pupil_area``.

        Parameters
        ----------
        stimulus : xarray.DataArray, (image, y, x), optionally with `colour` or `time`
            Luminance in cd/m², from `Display.show` or `biomodel.luminance`. `time` has the evenly spaced onsets of frames in
            seconds (or `timedelta64`); only intervals count, the first frame is shown at onset. Frames last `dt` or longer.
            Where they do not last whole steps, each begins with the next step. Colours are summed to luminance.
        adapt_to : "gaze", GazeAdapted, DriftAdapted, "previous", luminance in cd/m², or one luminance for each image
            ``"gaze"``: each state that adapts sees the image blurred by the eye's drift within its own memory, as
            `DriftAdapted`, which sets another drift; the `background` of the result is the field of the longest memory. Of a
            movie it is the first frame: the state never depends on later frames. A `GazeAdapted`: one blur for all states.
            A luminance: a uniform field, so that the image appears suddenly.
            ``"previous"``: images follow one another, each from the state that the last one left; the first one from the state
            that the last call with the same output, trials, region and image size left; without one, from "gaze". The pupil keeps
            the area of the state that is carried over, that for the first image of the sequence.
        duration : float or brian2.Quantity, optional
            Seconds for which the image is shown; by default .2 for images, and the whole movie for movies. A shorter
            duration ends a movie early; after the end of a movie its last frame stays.
        window : pair of float or brian2.Quantity, optional
            Seconds after onset between which rates are averaged; by default from 0 to the end of the presentation, and for
            images to .2 at the latest.
        seed : int
            Seed of the noise; rate fidelity has none. The same seed gives the same spikes on one machine and target,
            with any number of workers.
        output : {"cone", "horizontal", "bipolar", "ganglion", "lgn", "v1_input", "v1"}
            The last station to simulate.
        record : {"mean", "trace", "spikes"}
            ``"trace"`` adds a dimension `time` instead of averaging; ``"spikes"`` returns every spike.
        trials : int
            Number of trials per image, each with its own noise, at spiking fidelity.
        region : Region
            Where cells are simulated and recorded; by default everywhere.
        workers : int, str or distributed.Client
            Number of processes, or a cluster (docs/cluster.md): the address of a dask scheduler, as ``"tcp://host:8786"``, or
            a client of one. A store is then on a file system that all machines share; without one, responses come back over
            the network. With ``adapt_to="previous"`` one process simulates.
        store : str, pathlib.Path or Store, optional
            A folder in which responses are written to ``responses.zarr`` during the simulation. A simulation that was stopped
            continues with the same call, and returns the same responses bit for bit. Only a few chunks of images are in
            memory at a time.
        resume : bool
            Whether to continue a store that is there already; otherwise that is an error.

        Returns
        -------
        xarray.Dataset
            One variable per station: `cone` (pA) and `horizontal` (mV): (image, y, x); `bipolar` (mV), `ganglion`, `lgn` and
            `v1_input` (Hz): (image, …_channel, y, x); `v1` (Hz): (image, v1_channel, v1_y, v1_x); and `background`, the
            field adapted to (cd/m²), in a sequence what was shown last. `v1_input` is what relay cells' axons deliver to V1:
            the rate at which spikes would deliver as much through a synapse at rest (`biomodel.circuit.v1_input`).
            Coordinates of the stimulus along `image` are kept. From a store, values are read when they are used. At spiking
            fidelity, `ganglion`, `lgn` and `v1` are spike counts in the window, or in the step up to each time of a trace;
            they and `v1_input`, which stays a rate, have a dimension `trial` after `image`.
        SpikeTrains
            For ``record="spikes"``.

        Raises
        ------
        InputError
            For a stimulus or an argument that cannot be used, by name; for a store made with other settings.
        RuntimeError
            Where the simulation fails, or the compiler, the disk, memory or a cluster; what a store holds by then stays.

        Warns
        -----
        LuminanceRangeWarning
            Once, where luminance leaves the model's valid range.

        Examples
        --------
        >>> import biomodel
        >>> stimulus = biomodel.Display().show([[[0.2] * 8] * 8])
        >>> pathway = biomodel.Pathway(target="numpy")
        >>> responses = pathway.simulate(stimulus, output="cone")
        """
        in_memory = (isinstance(record, str) and record == "spikes") or (
            isinstance(adapt_to, str) and adapt_to == "previous"
        )
        if store is not None and in_memory:
            raise InputError(f"store must be None with record='spikes' and with adapt_to='previous', got {store!r}")
        folder = store if isinstance(store, Store) else Store(store) if store is not None else None
        workers = check_workers(workers)
        request = Request(adapt_to, duration, window, seed, output, record, trials, region, folder)
        plan = self._plan(stimulus, request)
        if plan.in_sequence:
            region = plan.specification.region
            key = (plan.specification.grid, output, plan.trials, region.v1, region.spiking)
            # A sequence starts where another one has ended, also where threads share a pathway.
            with self._turn:
                responses, self._left_behind[key] = run.simulate_in_sequence(plan, self._left_behind.get(key))
            return responses
        if folder is not None:
            return run.simulate_into(plan, folder.path, resume, workers)
        return run.simulate(plan, workers)

    def _plan(self, stimulus: xr.DataArray, request: Request, all_images: bool = False) -> Plan:
        """The plan of a simulation; warns of luminances outside the valid range."""
        target = self.target or available_target()
        plan = make_plan(Network(self.parameters, self.lesions, self.dt, target), stimulus, request, all_images)
        (lowest, highest), (low, high) = plan.luminances, VALID_LUMINANCE
        outside = lowest < low or highest > high
        with _warning:
            first, self._warned = outside and not self._warned, self._warned or outside
        if first:
            warnings.warn(
                f"luminances from {lowest:.3g} to {highest:.3g} cd/m² leave the valid range of "
                f"{self.preset}, {low:g} to {high:g} cd/m²; the model has no rods and its responses there are extrapolated",
                LuminanceRangeWarning,
                stacklevel=3,
            )
        return plan


def check_rates(subject: object, what: str) -> None:
    """Raise InputError for a subject with spiking cells; `what` is the measurement that needs rates.

    Raises
    ------
    InputError
    """
    if getattr(subject, "fidelity", "rate") == "spiking":
        raise InputError(f"fidelity must be 'rate' for {what}, got 'spiking'")
