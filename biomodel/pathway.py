"""The stations put together: `Pathway` is what a user simulates with."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, TypeAlias

import brian2
import numpy as np
import xarray as xr
from brian2 import Quantity

from biomodel import simulation, stimuli
from biomodel.adaptation import GAZE_SPREAD, gaze_field
from biomodel.circuit import LESIONS, STATIONS, Specification, assemble, classical_centre, settled
from biomodel.parameters import VALID_LUMINANCE, Parameters
from biomodel.responses import dataset
from biomodel.station import State
from biomodel.units import as_number
from biomodel.wiring import Grid, centre_weights

#: Fidelities that can be simulated.
FIDELITIES = ("rate",)

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
    fidelity : str
        ``"rate"``.
    parameters : mapping of str to float or brian2.Quantity, optional
        New values by name; plain numbers are in the documented unit.
    lesions : iterable of str
        Mechanisms to take out, of `biomodel.LESIONS`; what each leaves is told in `biomodel.retina`.
    dt : float or brian2.Quantity
        Integration step in ms.
    target : {"cpp", "numpy"}, optional
        Brian2's code generation target; by default C++ where there is a compiler.

    Raises
    ------
    ValueError
        For an unknown preset, fidelity, parameter, lesion or target, a wrong unit, a value out of range.
    """

    def __init__(
        self,
        preset: str = "macaque_parafovea",
        fidelity: str = "rate",
        parameters: Mapping[str, object] | None = None,
        lesions: Iterable[str] = (),
        dt: float | Quantity = 0.5,
        target: simulation.Target | None = None,
    ) -> None:
        self.parameters = Parameters(preset, parameters)
        self.preset = preset
        self.fidelity = _one_of(fidelity, FIDELITIES, "fidelity")
        names = (lesions,) if isinstance(lesions, str) else tuple(lesions)
        self.lesions = tuple(sorted({_one_of(name, LESIONS, "lesion") for name in names}))
        self.dt = stimuli.positive(dt, "dt", "ms")
        if target is not None:
            _one_of(target, ("cpp", "numpy"), "target")
        self.target = target
        self._warned = False
        self._left_behind: dict[tuple, tuple[State, np.ndarray]] = {}

    def __repr__(self) -> str:
        lesioned = f", lesions={self.lesions}" if self.lesions else ""
        return f"Pathway({self.preset!r}, fidelity={self.fidelity!r}{lesioned})"

    def classical_centre(self, pixels_per_degree: float, until: str = "v1") -> int:
        """Width in pixels of the largest classical centre up to a station; smaller images are refused."""
        return classical_centre(self.parameters, _one_of(until, STATIONS, "station"), pixels_per_degree)

    def network(
        self, stimulus: xr.DataArray, adapt_to: AdaptTo = "gaze", *, until: str = "v1", gaze_spread: float = GAZE_SPREAD
    ) -> brian2.Network:
        """The brian2.Network itself, settled, with the stimulus about to appear: running it shows the stimulus.

        Groups are called after the stations, so ``network["lgn"]`` is the relay. It stands on the current Brian2
        device, which has to be the runtime device. All images are in it; parameters and errors are `simulate`'s.
        """
        light, ppd = self._checked(stimulus, until)
        background = self._background(light, ppd, adapt_to, gaze_spread)
        movie, frame = _movie(light, None)
        spec = self._specification(
            light, ppd, until, len(light), 1000.0 if frame is None else frame, (0.0, 1.0), "nothing"
        )
        circuit = assemble(spec)
        by_frame = np.ascontiguousarray(np.moveaxis(movie, 1, 0)).reshape(movie.shape[1], -1)
        simulation.start(circuit, by_frame, settled(spec, background))
        return circuit.network

    def simulate(
        self,
        stimulus: xr.DataArray,
        adapt_to: AdaptTo = "gaze",
        duration: float | Quantity = 0.2,
        window: tuple[float | Quantity, float | Quantity] = (0.05, 0.2),
        seed: int = 0,
        *,
        until: str = "v1",
        record: Literal["mean", "trace"] = "mean",
        gaze_spread: float = GAZE_SPREAD,
        workers: int = 1,
    ) -> xr.Dataset:
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
            Of the noise; rate fidelity has none.
        until : str
            The last station to simulate.
        record : {"mean", "trace"}
            ``"trace"`` adds a dimension `time` instead of averaging.
        gaze_spread : float
            Standard deviation in degrees of the gaze's wandering.
        workers : int
            Processes to simulate chunks of images with.

        Returns
        -------
        xarray.Dataset
            A variable a station: `cone` (pA) and `horizontal` (mV): (image, y, x); `bipolar` (mV), `ganglion` and `lgn`
            (Hz): (image, …_channel, y, x); `v1` (Hz): (image, v1_channel, v1_y, v1_x); and `background`, the
            field adapted to (cd/m²).

        Raises
        ------
        ValueError
            For a stimulus or a setting that is not accepted, by name.

        Warns
        -----
        LuminanceRangeWarning
            Once, where luminance leaves the model's valid range.
        """
        light, ppd = self._checked(stimulus, until)
        seconds = stimuli.positive(_seconds(duration, "duration"), "duration", "s")
        if len(tuple(window)) != 2:
            raise ValueError(f"window = {window!r} is not accepted: give its start and end in seconds")
        start, end = (_seconds(edge, "window") for edge in window)
        if not 0 <= start < end <= seconds:
            raise ValueError(f"window = ({start:g}, {end:g}) s is not accepted: give 0 <= start < end <= {seconds:g}")
        if isinstance(workers, bool) or not isinstance(workers, int) or workers < 1:
            raise ValueError(f"workers = {workers!r} is not accepted: give a whole number from 1")
        _one_of(record, ("mean", "trace"), "record")
        movie, frame = _movie(light, stimulus.time.values if "time" in stimulus.dims else None)
        in_sequence = isinstance(adapt_to, str) and adapt_to == "previous"
        chunk = 1 if in_sequence else simulation.chunk_images(*light.shape[-2:])
        spec = self._specification(
            light, ppd, until, chunk, frame or 1000 * seconds, (1000 * start, 1000 * end), record, 1000 * seconds
        )
        target = self.target or simulation.available_target()
        if in_sequence:
            key = (light.shape[-2:], until)
            still = light.mean(axis=1) if light.ndim == 4 else light
            field = self._background(still[:1], ppd, "gaze", gaze_spread)
            state, last = self._left_behind.get(key, (None, field[0]))
            if state is None:
                state = settled(spec, field)
            parts, state = simulation.run_in_sequence(spec, target, movie, state)
            self._left_behind[key] = (state, still[-1])
            background = np.concatenate([last[None], still[:-1]])
        else:
            background = self._background(light, ppd, adapt_to, gaze_spread)
            parts = list(simulation.run_settled(spec, target, movie, background, workers))
        recorded = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        described = adapt_to if isinstance(adapt_to, str) else "luminance"
        attributes = {"adapt_to": described, "gaze_spread_deg": float(gaze_spread), "seed": int(seed)} | self._notes(
            ppd
        )
        return dataset(spec, recorded, stimulus, background, attributes)

    def _specification(
        self,
        light: np.ndarray,
        ppd: float,
        until: str,
        images: int,
        frame: float,
        window: tuple[float, float],
        record: str,
        duration: float = 1000.0,
    ) -> Specification:
        return Specification(
            self.preset,
            self.fidelity,
            tuple(self.parameters.values_by_name().items()),
            self.lesions,
            Grid(images, light.shape[-2], light.shape[-1], ppd),
            self.dt,
            until,
            duration,
            window,
            record,
            light.shape[1] if light.ndim == 4 else 1,
            frame,
        )

    def _checked(self, stimulus: xr.DataArray, until: str) -> tuple[np.ndarray, float]:
        """The stimulus as (image, y, x) or (image, time, y, x), and its resolution."""
        _one_of(until, STATIONS, "station")
        if not isinstance(stimulus, xr.DataArray):
            raise ValueError(f"a stimulus of type {type(stimulus).__name__} is not accepted: make it with Display.show")
        if not {"image", "y", "x"} <= set(stimulus.dims) <= {"image", "colour", "time", "y", "x"}:
            raise ValueError(
                f"stimulus dimensions {stimulus.dims} are not accepted: give (image, y, x), with colour or time"
            )
        stimuli.check_luminance(stimulus)
        if "colour" in stimulus.dims:
            stimulus = stimulus.sum("colour")
        ppd = stimuli.pixels_per_degree(stimulus)
        time = ("time",) if "time" in stimulus.dims else ()
        light = stimulus.transpose("image", *time, "y", "x").values.astype(float)
        smallest = self.classical_centre(ppd, until)
        if min(light.shape[-2:]) < smallest:
            raise ValueError(
                f"images of {light.shape[-2]}×{light.shape[-1]} pixels are not accepted: the largest classical centre "
                f"is {smallest} pixels wide at {ppd:g} pixels a degree"
            )
        self._warn_of_range(light)
        return light, ppd

    def _background(self, light: np.ndarray, ppd: float, adapt_to: AdaptTo, gaze_spread: float) -> np.ndarray:
        """The field, (image, y, x), that each image's cones are adapted to."""
        still = light.mean(axis=1) if light.ndim == 4 else light
        if isinstance(adapt_to, str):
            _one_of(adapt_to, ("gaze",), "adapt_to", "'gaze', 'previous' or a luminance in cd/m²")
            if isinstance(gaze_spread, bool) or not isinstance(gaze_spread, (int, float)) or not gaze_spread >= 0:
                raise ValueError(f"gaze_spread = {gaze_spread!r} is not accepted: give degrees, 0 to infinity")
            return gaze_field(still, float(gaze_spread), ppd)
        accepted = "give 'gaze', 'previous', a luminance of 0 cd/m² or more, or one for each image"
        if np.ndim(adapt_to) > 1:
            raise ValueError(f"adapt_to with {np.ndim(adapt_to)} dimensions is not accepted: {accepted}")
        given = list(adapt_to) if isinstance(adapt_to, (Sequence, np.ndarray)) and np.ndim(adapt_to) else [adapt_to]
        levels = [as_number(v, "cd/m²", "adapt_to") for v in given]
        if len(levels) not in (1, len(still)) or min(levels) < 0:
            raise ValueError(f"adapt_to = {adapt_to!r} is not accepted for {len(still)} images: {accepted}")
        even = np.broadcast_to(np.array(levels), len(still))[:, None, None]
        background = np.ascontiguousarray(np.broadcast_to(even, still.shape))
        self._warn_of_range(background)
        return background

    def _warn_of_range(self, light: np.ndarray) -> None:
        low, high = VALID_LUMINANCE
        if not self._warned and (light.min() < low or light.max() > high):
            self._warned = True
            warnings.warn(
                f"luminances from {light.min():.3g} to {light.max():.3g} cd/m² leave the valid range of "
                f"{self.preset}, {low:g} to {high:g} cd/m²; the model has no rods and computes on",
                LuminanceRangeWarning,
                stacklevel=4,
            )

    def _notes(self, ppd: float) -> dict[str, str]:
        radius = self.parameters.value("bipolar.centre_radius")
        if len(centre_weights(radius, ppd)) > 1:
            return {}
        return {"note": f"the midget centre's radius of {radius:g}° is under half a pixel: it is one pixel"}


def _movie(light: np.ndarray, time: np.ndarray | None) -> tuple[np.ndarray, float | None]:
    """The stimulus as (image, frame, y, x), and how long a frame stands in ms (None: for ever)."""
    if light.ndim == 3:
        return light[:, None], None
    steps = np.diff(time) if time is not None and len(time) > 1 else np.array([])
    if steps.size == 0 or steps[0] <= 0 or not np.allclose(steps, steps[0], rtol=1e-6):
        raise ValueError("a movie's frames are not evenly spaced: accepted is a coordinate time in seconds, growing")
    return light, float(1000 * steps.mean())


def _seconds(value: float | Quantity, name: str) -> float:
    return as_number(value, "s", name)


def _one_of(value: str, accepted: Iterable[str], what: str, said: str | None = None) -> str:
    options = tuple(accepted)
    if value not in options:
        raise ValueError(f"unknown {what} {value!r}: accepted are {said or ', '.join(options)}")
    return value
