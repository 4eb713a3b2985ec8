"""The stations put together: `Pathway` is what a user simulates with."""

from __future__ import annotations

import numbers
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, TypeAlias, overload

import brian2
import numpy as np
import xarray as xr
from brian2 import Quantity

from biomodel import stimuli
from biomodel.adaptation import GAZE_SD, GazeAdapted, UniformField
from biomodel.circuit.assembly import assemble
from biomodel.circuit.cell_types import classical_centre
from biomodel.circuit.lattice import Grid, centre_weights
from biomodel.circuit.lesions import LESIONS
from biomodel.circuit.specification import SPIKING, STATIONS, Specification
from biomodel.circuit.station import State
from biomodel.circuit.steady_state import steady_state
from biomodel.engine import run
from biomodel.engine.presentations import Presentations
from biomodel.engine.responses import dataset, form, provenance
from biomodel.engine.spike_trains import SpikeTrains, table
from biomodel.engine.store import open_store
from biomodel.parameters import FIDELITIES, VALID_LUMINANCE, Parameters
from biomodel.stimuli import luminance_range
from biomodel.utils.errors import InputError
from biomodel.utils.run_folder import exclusive
from biomodel.utils.units import as_number

#: Milliseconds that spiking cells have before the image comes, to lose what they began with.
LEAD = 100.0

#: A luminance (one for all images, or one an image), or the name of a state.
AdaptTo: TypeAlias = str | float | Quantity | Sequence[float]


class LuminanceRangeWarning(UserWarning):
    """A stimulus leaves the luminances within which the phototransduction model is valid."""


class Pathway:
    """A retina, LGN and V1 of one preset, ready to be simulated.

    Parameters
    ----------
    preset : str
        One of `biomodel.PRESETS`.
    fidelity : {"rate", "spiking"}
        Whether ganglion cells and those behind them have rates, or fire.
    parameters : mapping of str to float or brian2.Quantity, optional
        New values by name; plain numbers are in the documented unit.
    lesions : iterable of str
        Mechanisms to take out, of `biomodel.LESIONS`; what each leaves is told in `biomodel.circuit.retina`.
    dt : float or brian2.Quantity
        Integration step in ms.
    target : {"cpp", "numpy"}, optional
        Brian2's code generation target; by default C++ where there is a compiler.

    Raises
    ------
    InputError
        For an unknown preset, fidelity, parameter, lesion or target, a wrong unit, a value out of range.
    """

    def __init__(
        self,
        preset: str = "macaque_parafovea",
        fidelity: str = "rate",
        parameters: Mapping[str, object] | None = None,
        lesions: Iterable[str] = (),
        dt: float | Quantity = 0.5,
        target: run.Target | None = None,
    ) -> None:
        self.fidelity = _one_of(fidelity, FIDELITIES, "fidelity")
        self._overrides = dict(parameters or {})
        self.parameters = Parameters(preset, self._overrides, fidelity)
        self.preset = preset
        names = (lesions,) if isinstance(lesions, str) else tuple(lesions)
        self.lesions = tuple(sorted({_one_of(name, LESIONS, "lesion") for name in names}))
        self.dt = stimuli.positive(dt, "dt", "ms")
        if target is not None:
            _one_of(target, ("cpp", "numpy"), "target")
        self.target = target
        self._warned = False
        self._left_behind: dict[tuple, tuple[State, np.ndarray]] = {}

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
        overrides = self._overrides
        if changes.get("fidelity") == "rate":
            overrides = {name: value for name, value in overrides.items() if name in Parameters(self.preset)}
        parameters = {**overrides, **(changes.get("parameters") or {})}
        return Pathway(**{**present, **changes, "parameters": parameters})

    def __repr__(self) -> str:
        lesioned = f", lesions={self.lesions}" if self.lesions else ""
        return f"Pathway({self.preset!r}, fidelity={self.fidelity!r}{lesioned})"

    def classical_centre(self, pixels_per_degree: float, output: str = "v1") -> int:
        """Width in pixels of the largest classical centre up to a station; smaller images are refused."""
        return classical_centre(self.parameters, _one_of(output, STATIONS, "station"), pixels_per_degree)

    def network(
        self, stimulus: xr.DataArray, adapt_to: AdaptTo = "gaze", *, output: str = "v1", gaze_sd: float = GAZE_SD
    ) -> brian2.Network:
        """The brian2.Network itself, settled, with the stimulus about to appear: running it shows the stimulus.

        Groups are called after the stations, so ``network["lgn"]`` is the relay. It stands on the current Brian2
        device, which has to be the runtime device. All images are in it; parameters and errors are `simulate`'s.
        """
        ppd = self._check(stimulus, output)
        presentations = Presentations(stimulus, self._adaptation(stimulus, ppd, adapt_to, gaze_sd))
        every = slice(None)
        spec = self._specification(stimulus, ppd, output, len(presentations), (0.0, 1.0), "nothing", 1000.0)
        circuit = assemble(spec)
        run.start(
            circuit, run.by_frame(presentations.movie(every)), steady_state(spec, presentations.background(every))
        )
        return circuit.network

    @overload
    def simulate(self, *given: Any, record: Literal["spikes"], **settings: Any) -> SpikeTrains: ...

    @overload
    def simulate(self, *given: Any, **settings: Any) -> xr.Dataset: ...

    def simulate(  # type: ignore[misc]  # the overloads tell what it returns, and leave what it takes to this one
        self,
        stimulus: xr.DataArray,
        adapt_to: AdaptTo = "gaze",
        duration: float | Quantity = 0.2,
        window: tuple[float | Quantity, float | Quantity] = (0.05, 0.2),
        seed: int = 0,
        *,
        output: str = "v1",
        record: Literal["mean", "trace", "spikes"] = "mean",
        trials: int = 1,
        gaze_sd: float = GAZE_SD,
        workers: int = 1,
        store: str | Path | None = None,
        resume: bool = True,
        chunk: int | None = None,
        v1_within: float | None = None,
        record_within: float | None = None,
        fires_within: float | None = None,
    ) -> xr.Dataset | SpikeTrains:
        """Responses to a stimulus, each image from an adapted state.

        The pathway is settled at an adaptation state, the image stands for `duration`, and a response is the mean over
        `window`.

        Parameters
        ----------
        stimulus : xarray.DataArray, (image, y, x), optionally with `colour` or `time`
            Luminance in cd/m², from `Display.show` or `biomodel.luminance`; `time` in seconds, evenly spaced. Colours
            are summed to luminance.
        adapt_to : "gaze", "previous", luminance in cd/m², or one luminance an image
            ``"gaze"``: the field that wandering gaze leaves at each cone. A luminance: an even field of that value,
            so that the image comes suddenly. ``"previous"``: images follow one another, each from what the last left;
            the first one from what the last call left, or if there was none with fields of this size, from "gaze".
        duration : float or brian2.Quantity
            Seconds that the image stands.
        window : pair of float or brian2.Quantity
            Seconds after onset between which rates are averaged.
        seed : int
            Of the noise; rate fidelity has none. The same seed brings the same spikes on one machine and target, whatever the
            number of workers.
        output : str
            The last station to simulate.
        record : {"mean", "trace", "spikes"}
            ``"trace"`` adds a dimension `time` instead of averaging; ``"spikes"`` returns every spike.
        trials : int
            Repeats of every image with other noise, at spiking fidelity.
        gaze_sd : float
            Standard deviation in degrees of the gaze's wandering.
        workers : int
            Processes to simulate with.
        store : str or pathlib.Path, optional
            A folder, in which the responses go to ``responses.zarr`` as they come. A simulation that was stopped, in
            whatever way, goes on with the same call, and comes to the same responses bit for bit. What is in memory at
            a time is a few chunks, however many images there are.
        resume : bool
            Whether to go on with what the store already holds; otherwise it must not be there yet.
        chunk : int, optional
            Images that a store keeps together, with all of their trials; by default as many as have 65,536 responses of a
            channel.
        v1_within : float, optional
            Degrees from the middle of the image, across and down, to which V1 stands; by default everywhere. Its layers
            end there, as they do at the border of an image.
        record_within : float, optional
            Degrees from the middle of the image, across and down, to which cells are recorded, as an electrode there
            would; by default everywhere. Traces of whole fields are large.
        fires_within : float, optional
            Degrees from the middle of the image, across and down, to which ganglion and relay cells stand that fire, up to
            "ganglion" or "lgn"; by default everywhere. The suppressive field ends there.

        Returns
        -------
        xarray.Dataset
            A variable a station: `cone` (pA) and `horizontal` (mV): (image, y, x); `bipolar` (mV), `ganglion` and `lgn`
            (Hz): (image, …_channel, y, x); `v1` (Hz): (image, v1_channel, v1_y, v1_x); and `background`, the
            field adapted to (cd/m²). From a store, values are read when they are used. At spiking fidelity, `ganglion`, `lgn`
            and `v1` are counts of spikes in the window, or in the step up to each time of a trace, and have a dimension
            `trial` after `image`.
        SpikeTrains
            For ``record="spikes"``.

        Raises
        ------
        InputError
            For a stimulus or a setting that is not accepted, by name; for a store made with other settings.
        RuntimeError
            Where the simulation fails, or the disk is full; what a store has by then stays.

        Warns
        -----
        LuminanceRangeWarning
            Once, where luminance leaves the model's valid range.
        """
        ppd = self._check(stimulus, output)
        seconds = stimuli.positive(_seconds(duration, "duration"), "duration", "s")
        if len(tuple(window)) != 2:
            raise InputError(f"window = {window!r} is not accepted: give its start and end in seconds")
        start, end = (_seconds(edge, "window") for edge in window)
        if not 0 <= start < end <= seconds:
            raise InputError(f"window = ({start:g}, {end:g}) s is not accepted: give 0 <= start < end <= {seconds:g}")
        for name, number in (("workers", workers), ("trials", trials), ("chunk", 1 if chunk is None else chunk)):
            if isinstance(number, bool) or not isinstance(number, int) or number < 1:
                raise InputError(f"{name} = {number!r} is not accepted: give a whole number from 1")
        if isinstance(seed, bool) or not isinstance(seed, numbers.Integral) or seed < 0:
            raise InputError(f"seed = {seed!r} is not accepted: give a whole number from 0")
        _one_of(record, ("mean", "trace", "spikes"), "record")
        if self.fidelity == "rate" and trials != 1:
            raise InputError(f"trials = {trials} is not accepted at rate fidelity, which has no noise: give 1")
        fires = self.fidelity == "spiking" and output in SPIKING
        if record == "spikes" and (not fires or store is not None):
            where = "with a store" if fires else f"at {self.fidelity} fidelity up to {output}"
            raise InputError(f"record = 'spikes' is not accepted {where}: give 'mean' or 'trace'")
        # What has no noise is the same in every trial.
        trials = trials if fires else 1
        in_sequence = isinstance(adapt_to, str) and adapt_to == "previous"
        if in_sequence and store is not None:
            raise InputError("store is not accepted with adapt_to = 'previous': each image depends on the one before")
        adaptation = self._adaptation(stimulus, ppd, "gaze" if in_sequence else adapt_to, gaze_sd)
        presentations = Presentations(stimulus, adaptation)
        batch = 1 if in_sequence else run.batch_images(stimulus.sizes["y"], stimulus.sizes["x"])
        spec = self._specification(stimulus, ppd, output, batch, (1000 * start, 1000 * end), record, 1000 * seconds)
        for station in spec.stations if record == "mean" else ():
            if not spec.samples(station):
                step = spec.recording_step(station) / 1000
                raise InputError(
                    f"window = ({start:g}, {end:g}) s is not accepted: {station} is sampled every {step:g} s, and never in it"
                )
        if v1_within is not None:
            spec = replace(spec, v1_within=stimuli.positive(v1_within, "v1_within", "deg"))
            if not all(places.size for places in spec.recorded_lattice("v1")):
                raise InputError(f"v1_within = {v1_within!r} is not accepted: no V1 column stands so near the middle")
        if fires_within is not None:
            if not fires or output == "v1":
                raise InputError(
                    f"fires_within = {fires_within!r} is not accepted up to {output} at {self.fidelity} fidelity: "
                    "give it where ganglion or relay cells fire, and no V1 stands behind them"
                )
            spec = replace(spec, fires_within=stimuli.positive(fires_within, "fires_within", "deg"))
            if not all(places.size for places in spec.lattice("ganglion")):
                raise InputError(f"fires_within = {fires_within!r} is not accepted: no cell stands so near the middle")
        if record_within is not None:
            spec = replace(spec, record_within=stimuli.positive(record_within, "record_within", "deg"))
            for station in spec.stations:
                if not all(places.size for places in spec.recorded_lattice(station)):
                    raise InputError(
                        f"record_within = {record_within!r} is not accepted: no cell of {station} stands so near the middle"
                    )
        if fires:
            most, together = run.batch_trials(len(presentations), spec.cells.grid.cells // batch, trials)
            batch = min(batch, most)
            spec = replace(
                spec,
                grid=replace(spec.grid, images=batch),
                trials=trials if in_sequence else together,
                lead=0.0 if in_sequence else LEAD,
            )
        target = self.target or run.available_target()
        attributes = {
            "adapt_to": adapt_to if isinstance(adapt_to, str) else "luminance",
            "gaze_spread_deg": float(gaze_sd),
            "seed": int(seed),
        } | self._notes(ppd)
        if in_sequence:
            return self._simulate_in_sequence(
                replace(spec, leaves_state=True), target, presentations, attributes, trials
            )

        if store is not None:
            chunk = min(chunk or run.chunk_images(spec, trials), len(presentations))
            # Worker processes may stand in another folder.
            return self._simulate_into(
                Path(store).absolute(), resume, chunk, spec, target, presentations, attributes, workers, trials
            )
        chunks = run.chunks(len(presentations), batch)
        recorded, background = _joined(
            list(run.run_settled(spec, target, presentations, chunks, _as_it_is, workers, trials, seed))
        )
        return self._labelled(spec, recorded, stimulus, background, attributes, trials)

    def _labelled(
        self,
        spec: Specification,
        recorded: Recorded,
        stimulus: xr.DataArray,
        background: np.ndarray,
        attributes: dict[str, object],
        trials: int,
    ) -> xr.Dataset | SpikeTrains:
        """What was recorded as a user is given it."""
        if spec.record != "spikes":
            return dataset(spec, recorded, stimulus, background, attributes, trials)
        spikes = table(spec, recorded, stimulus.y.values, stimulus.x.values)
        spikes.attrs = provenance(spec) | attributes | {"images": len(background), "trials": trials}
        return spikes

    def _simulate_into(
        self,
        folder: Path,
        resume: bool,
        chunk: int,
        spec: Specification,
        target: run.Target,
        presentations: Presentations,
        attributes: dict[str, object],
        workers: int,
        trials: int,
    ) -> xr.Dataset:
        """Responses kept in a folder chunk by chunk, those that it already holds left as they are."""
        stimulus = presentations.stimulus
        settings = run.settings(spec, target, presentations, chunk) | {
            "seed": attributes["seed"],
            "trials": trials,
        }
        seed = int(str(attributes["seed"]))
        with exclusive(folder):
            store = open_store(folder, form(spec, stimulus, attributes, trials), stimulus, chunk, settings, resume)
            # Where the responses stand is all that a worker has to know of the stimulus.
            places = xr.DataArray(0.0).expand_dims(y=stimulus.y, x=stimulus.x)

            def keep(chosen: slice, recorded: Recorded, background: np.ndarray) -> None:
                store.write(chosen, dataset(spec, recorded, places, background, attributes, trials))

            waiting = store.waiting()
            if waiting:
                for _ in run.run_settled(spec, target, presentations, waiting, keep, workers, trials, seed):
                    pass
        return store.read()

    def _simulate_in_sequence(
        self,
        spec: Specification,
        target: run.Target,
        presentations: Presentations,
        attributes: dict[str, object],
        trials: int,
    ) -> xr.Dataset | SpikeTrains:
        """Responses to images of which each starts from what the one before left."""
        movie = presentations.movie(slice(None))
        key, seed = (spec.grid, spec.output, trials), int(str(attributes["seed"]))
        first = presentations.background(slice(0, 1))
        state, last = self._left_behind.get(key, (None, first[0]))
        if state is None:
            state = steady_state(spec, first, seed)
        parts, state = run.run_in_sequence(spec, target, movie, state, seed)
        still = movie.mean(axis=1)
        self._left_behind[key] = (state, still[-1])
        background = np.concatenate([last[None], still[:-1]])
        recorded, background = _joined([(part, background[k : k + 1]) for k, part in enumerate(parts)])
        return self._labelled(spec, recorded, presentations.stimulus, background, attributes, trials)

    def _specification(
        self,
        stimulus: xr.DataArray,
        ppd: float,
        output: str,
        images: int,
        window: tuple[float, float],
        record: str,
        duration: float,
    ) -> Specification:
        frames, frame_duration = _frames(stimulus, duration)
        return Specification(
            self.preset,
            self.fidelity,
            tuple(self.parameters.values_by_name().items()),
            self.lesions,
            Grid(images, stimulus.sizes["y"], stimulus.sizes["x"], ppd),
            self.dt,
            output,
            duration,
            window,
            record,
            frames,
            frame_duration,
        )

    def _check(self, stimulus: xr.DataArray, output: str) -> float:
        """Refuse what cannot be shown; returns the resolution in pixels a degree."""
        _one_of(output, STATIONS, "station")
        if not isinstance(stimulus, xr.DataArray):
            raise InputError(f"a stimulus of type {type(stimulus).__name__} is not accepted: make it with Display.show")
        if not {"image", "y", "x"} <= set(stimulus.dims) <= {"image", "colour", "time", "y", "x"}:
            raise InputError(
                f"stimulus dimensions {stimulus.dims} are not accepted: give (image, y, x), with colour or time"
            )
        stimuli.check_luminance(stimulus)
        ppd = stimuli.pixels_per_degree(stimulus)
        smallest = self.classical_centre(ppd, output)
        height, width = stimulus.sizes["y"], stimulus.sizes["x"]
        if min(height, width) < smallest:
            raise InputError(
                f"images of {height}×{width} pixels are not accepted: the largest classical centre "
                f"is {smallest} pixels wide at {ppd:g} pixels a degree"
            )
        self._warn_of_range(*luminance_range(stimulus))
        return ppd

    def _adaptation(
        self, stimulus: xr.DataArray, ppd: float, adapt_to: AdaptTo, gaze_sd: float
    ) -> GazeAdapted | UniformField:
        """The state that each image's cones are adapted to."""
        if isinstance(adapt_to, str):
            _one_of(adapt_to, ("gaze",), "adapt_to", "'gaze', 'previous' or a luminance in cd/m²")
            if isinstance(gaze_sd, bool) or not isinstance(gaze_sd, (int, float)) or not gaze_sd >= 0:
                raise InputError(f"gaze_sd = {gaze_sd!r} is not accepted: give degrees, 0 to infinity")
            return GazeAdapted(float(gaze_sd), ppd)
        accepted = "give 'gaze', 'previous', a luminance of 0 cd/m² or more, or one for each image"
        if np.ndim(adapt_to) > 1:
            raise InputError(f"adapt_to with {np.ndim(adapt_to)} dimensions is not accepted: {accepted}")
        given = list(adapt_to) if isinstance(adapt_to, (Sequence, np.ndarray)) and np.ndim(adapt_to) else [adapt_to]
        levels = [as_number(v, "cd/m²", "adapt_to") for v in given]
        images = stimulus.sizes["image"]
        if len(levels) not in (1, images) or min(levels) < 0:
            raise InputError(f"adapt_to = {adapt_to!r} is not accepted for {images} images: {accepted}")
        self._warn_of_range(min(levels), max(levels))
        return UniformField(tuple(levels))

    def _warn_of_range(self, lowest: float, highest: float) -> None:
        low, high = VALID_LUMINANCE
        if not self._warned and (lowest < low or highest > high):
            self._warned = True
            warnings.warn(
                f"luminances from {lowest:.3g} to {highest:.3g} cd/m² leave the valid range of "
                f"{self.preset}, {low:g} to {high:g} cd/m²; the model has no rods and computes on",
                LuminanceRangeWarning,
                stacklevel=4,
            )

    def _notes(self, ppd: float) -> dict[str, str]:
        radius = self.parameters.value("bipolar.midget_centre_radius")
        if len(centre_weights(radius, ppd)) > 1:
            return {}
        return {"note": f"the midget centre's radius of {radius:g}° is under half a pixel: it is one pixel"}


def check_rates(subject: object, what: str) -> None:
    """Refuse a subject that fires, where rates are asked for; `what` asks.

    Raises
    ------
    InputError
    """
    if getattr(subject, "fidelity", "rate") == "spiking":
        raise InputError(f"fidelity = 'spiking' is not accepted: {what} takes rates, give a pathway of fidelity 'rate'")


Recorded: TypeAlias = dict[str, np.ndarray]


def _as_it_is(chosen: slice, recorded: Recorded, background: np.ndarray) -> tuple[Recorded, np.ndarray]:
    return recorded, background


def _joined(parts: list[tuple[Recorded, np.ndarray]]) -> tuple[Recorded, np.ndarray]:
    """Responses and backgrounds of consecutive images, put together."""
    recorded = {name: np.concatenate([part[name] for part, _ in parts]) for name in parts[0][0]}
    return recorded, np.concatenate([background for _, background in parts])


def _frames(stimulus: xr.DataArray, duration: float) -> tuple[int, float]:
    """How many frames a stimulus has, and how long each stands in ms; a still image stands all the `duration`."""
    if "time" not in stimulus.dims:
        return 1, duration
    steps = np.diff(stimulus.time.values) if "time" in stimulus.coords else np.array([])
    if steps.size == 0 or steps[0] <= 0 or not np.allclose(steps, steps[0], rtol=1e-6):
        raise InputError("a movie's frames are not evenly spaced: accepted is a coordinate time in seconds, growing")
    return len(steps) + 1, float(1000 * steps.mean())


def _seconds(value: float | Quantity, name: str) -> float:
    return as_number(value, "s", name)


def _one_of(value: str, accepted: Iterable[str], what: str, said: str | None = None) -> str:
    options = tuple(accepted)
    if value not in options:
        raise InputError(f"unknown {what} {value!r}: accepted are {said or ', '.join(options)}")
    return value
