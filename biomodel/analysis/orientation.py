r"""The orientation field: at every point of V1, the orientation whose cells answer most, and how strongly.

The seed paper models V1 as points and angles, the angle at a point being the one along which the precortical signal changes
most across, :math:`\Theta = \arg\max_\theta |-\sin\theta\, \partial_x + \cos\theta\, \partial_y|` with y upwards; that is
`derivative_field`, of any signal. `orientation_field` reads it from complex cells. Each votes for an orientation with its
drive, the rate beyond rest with the power law undone, and the votes are added up as vectors of twice the angle:

.. math:: \Theta = \tfrac{1}{2} \arg \sum_k v_k\, (r_k - s_0)_+^{1/\alpha} .

Cells don't prefer all orientations alike often, nor are all as selective. So the votes v are those that come nearest to
:math:`e^{2 i \theta}` for gratings of every orientation θ and frequency (an optimal linear estimator; Salinas & Abbott 1994). A
kind's drive by a grating is what its afferents, with their centres, make of it, over the most that any grating drives it;
parasol kinds count from a thirtieth to thirty times as much as midget kinds, since contrast decides which answers more.
"""

from __future__ import annotations

import functools
import json

import numpy as np
import xarray as xr
from scipy import ndimage

from biomodel.circuit.cell_types import Kind, kinds
from biomodel.parameters import Parameters
from biomodel.stimuli import pixels_per_degree, positive
from biomodel.utils.errors import InputError

#: Orientations (degrees) and number of spatial frequencies of the gratings for which votes are sought.
_ORIENTATIONS, _FREQUENCIES = np.arange(0.0, 180.0, 3.0), 16

#: The lowest frequency, c/deg.
_LOWEST = 0.5

#: What parasol kinds count, beside midget kinds.
_STREAMS = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)

#: How much votes are kept small, beside the mean square drive: then no few cells decide.
_REGULARISATION = 1.0

#: A cell counts half for the strength when it prefers an orientation 20° away.
_CONCENTRATION = np.log(2) / (1 - np.cos(np.deg2rad(40)))


def orientation_field(responses: xr.Dataset) -> xr.Dataset:
    """The orientation that V1 sees at every point, and how strongly.

    Parameters
    ----------
    responses : xarray.Dataset
        With `v1` (image, v1_channel, v1_y, v1_x) in Hz and the attributes that say how they were made, as
        `Pathway.simulate` returns it; complex cells are read.

    Returns
    -------
    xarray.Dataset
        `orientation` (degrees anticlockwise from horizontal, 0 to 180), and `strength`, the mean rate beyond rest of the
        cells that prefer about this orientation (Hz), (image, v1_y, v1_x).

    Raises
    ------
    InputError
        For responses without V1, or that don't say how they were made.
    """
    missing = [name for name in ("preset", "parameters", "pixels_per_degree") if name not in responses.attrs]
    if "v1" not in responses or "v1_kind" not in responses.coords or missing:
        raise InputError(
            f"responses of {', '.join(map(str, responses)) or 'nothing'} are not accepted: give those of Pathway.simulate with v1"
        )
    values = tuple(json.loads(responses.attrs["parameters"]).items())
    preset, ppd = responses.attrs["preset"], float(responses.attrs["pixels_per_degree"])
    parameters = Parameters(preset, dict(values))
    told = responses.v1.isel(v1_channel=np.flatnonzero(responses.v1_kind.values == "complex"))
    evoked = told.transpose("image", "v1_channel", "v1_y", "v1_x").values - parameters.value("v1.spontaneous")
    drive = np.maximum(evoked, 0) ** (1 / parameters.value("v1.exponent"))
    vector = np.einsum("k,ikyx->iyx", _votes(preset, values, ppd), drive)
    orientation = np.rad2deg(np.angle(vector)) / 2 % 180
    away = np.deg2rad(2 * (orientation[:, None] - told.v1_orientation.values[:, None, None]))
    near = np.exp(_CONCENTRATION * (np.cos(away) - 1))
    dims = ("image", "v1_y", "v1_x")
    return xr.Dataset(
        {
            "orientation": (dims, orientation, {"units": "deg"}),
            "strength": (dims, (near * evoked).sum(axis=1) / near.sum(axis=1), {"units": "Hz"}),
        },
        {"v1_y": responses.v1_y, "v1_x": responses.v1_x},
    )


@functools.lru_cache(maxsize=8)
def _votes(preset: str, values: tuple[tuple[str, float], ...], pixels_per_degree: float) -> np.ndarray:
    """What each kind's complex cell says for twice an orientation, (kind,), complex."""
    parameters = Parameters(preset, dict(values))
    cells = kinds(parameters, pixels_per_degree)
    frequencies = np.geomspace(_LOWEST, 1.1 * parameters.value("v1.highest_frequency"), _FREQUENCIES)
    drives = np.stack([_drive(cell, frequencies, parameters, pixels_per_degree).ravel() for cell in cells])
    drives /= drives.max(axis=1, keepdims=True)
    parasol = np.array([cell.relay == "parasol" for cell in cells])[:, None]
    # The power law is undone before votes are cast.
    shares = np.array(_STREAMS) ** (1 / parameters.value("v1.exponent"))
    shown = np.concatenate([np.where(parasol, share, 1.0) * drives for share in shares], axis=1)
    shown /= np.linalg.norm(shown, axis=0)
    wanted = np.tile(np.repeat(np.exp(2j * np.deg2rad(_ORIENTATIONS)), len(frequencies)), len(shares))
    products = shown @ shown.T
    kept_small = _REGULARISATION * np.trace(products) / len(cells) * np.eye(len(cells))
    return np.linalg.solve(products + kept_small, shown @ wanted)


def _drive(cell: Kind, frequencies: np.ndarray, parameters: Parameters, pixels_per_degree: float) -> np.ndarray:
    """What a kind's afferents make of gratings at their best phase, (orientation, frequency)."""
    afferents = cell.afferents
    weight = np.where(afferents.on, 1, -1) * afferents.weight
    angle = np.deg2rad(_ORIENTATIONS)[:, None]
    across = (afferents.right * np.sin(angle) + afferents.down * np.cos(angle)) / pixels_per_degree
    waves = np.exp(2j * np.pi * across[:, None, :] * frequencies[:, None])
    centre = parameters.value(f"bipolar.{'midget' if cell.relay == 'midget' else 'diffuse'}_centre_radius")
    return np.abs(waves @ weight) * np.exp(-((np.pi * centre * frequencies) ** 2))


def derivative_field(signal: xr.DataArray, scale: float) -> xr.Dataset:
    """The orientation across which a signal changes most at every point, and how steeply.

    The maximum of ``|-sin θ ∂x + cos θ ∂y|`` over θ, y upwards, stands across the gradient; derivatives are a Gaussian's.

    Parameters
    ----------
    signal : xarray.DataArray, (image, y, x)
        With coordinates in degrees, y downwards.
    scale : float
        Standard deviation of the Gaussian, degrees.

    Returns
    -------
    xarray.Dataset
        `orientation` (degrees anticlockwise from horizontal, 0 to 180) and `strength` (the signal's unit a degree),
        (image, y, x).

    Raises
    ------
    InputError
        For a scale that is not above 0.
    """
    ppd = pixels_per_degree(signal)
    sigma = positive(scale, "scale", "deg") * ppd
    down, right = (
        ndimage.gaussian_filter(signal.values, (0, sigma, sigma), order=(0, *order), mode="nearest") * ppd
        for order in ((1, 0), (0, 1))
    )
    dims = ("image", "y", "x")
    return xr.Dataset(
        {
            "orientation": (dims, np.rad2deg(np.arctan2(right, down)) % 180, {"units": "deg"}),
            "strength": (dims, np.hypot(right, down)),
        },
        {"y": signal.y, "x": signal.x},
    )
