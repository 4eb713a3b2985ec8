r"""The orientation field: at every point of V1, the orientation with the strongest response, and its strength.

The seed paper (arXiv 2202.07432) models V1 as points with angles. The angle at a point is the orientation across which the
precortical signal changes most, :math:`\Theta = \arg\max_\theta |-\sin\theta\, \partial_x + \cos\theta\, \partial_y|` with
y upwards; that is `derivative_field`, for any signal. `orientation_field` decodes the orientation from complex cells. Each
cell has a vote, a vector of twice an angle, that is weighted by its drive, the rate above rest with the power law inverted:

.. math:: \Theta = \tfrac{1}{2} \arg \sum_k v_k\, (r_k - s_0)_+^{1/\alpha} .

Preferred orientations are not distributed evenly, and cells differ in selectivity. The votes v are therefore the
least-squares estimate of :math:`e^{2 i \theta}` for gratings of every orientation θ and frequency (an optimal linear
estimator; Salinas & Abbott 1994). A cell type's drive by a grating is computed from its afferents and their centres,
relative to its largest drive. Cells with parasol input are included with a thirtieth to thirty times the drive of those
with midget input, since contrast decides which respond more.
"""

from __future__ import annotations

import functools
import json

import numpy as np
import xarray as xr
from scipy import ndimage

from biomodel.analysis.alignment import arrange, canonical
from biomodel.circuit.cell_types import CellType, cell_types
from biomodel.parameters import Parameters
from biomodel.stimuli import pixels_per_degree, positive
from biomodel.utils.errors import InputError

#: Orientations (degrees) and number of spatial frequencies of the gratings that votes are fitted to.
_ORIENTATIONS, _FREQUENCIES = np.arange(0.0, 180.0, 3.0), 16

#: Lowest spatial frequency, c/deg.
_LOWEST = 0.5

#: Drives of cells with parasol input relative to those with midget input.
_STREAMS = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)

#: Ridge penalty on the votes, relative to the mean square drive, so that no few cells dominate.
_REGULARISATION = 1.0

#: Concentration of the weights for the strength: half for cells that prefer an orientation 20° away.
_CONCENTRATION = np.log(2) / (1 - np.cos(np.deg2rad(40)))


def orientation_field(responses: xr.Dataset) -> xr.Dataset:
    """Decode the orientation at every point of V1, and its strength.

    Parameters
    ----------
    responses : xarray.Dataset
        From `Pathway.simulate`, with `v1` (image, v1_channel, v1_y, v1_x) in Hz, in any order; complex cells of all types
        are used.

    Returns
    -------
    xarray.Dataset
        `orientation` (degrees anticlockwise from horizontal, 0 to 180), and `strength`, the mean rate above rest of the
        cells that prefer about this orientation (Hz), both (image, v1_y, v1_x).

    Raises
    ------
    InputError
        For responses without V1, without some of its complex cells, with trials or times, or without the attributes of
        `Pathway.simulate`.

    Examples
    --------
    >>> import numpy as np
    >>> import biomodel
    >>> bars = 100 + 80 * np.sin(2 * np.pi * 2 * np.arange(24) / 16) * np.ones((1, 24, 1))  # vertical, 2 c/deg
    >>> pathway = biomodel.Pathway(parameters={"v1.kinds": 2}, target="numpy")
    >>> responses = pathway.simulate(biomodel.luminance(bars, pixels_per_degree=16))
    >>> field = biomodel.orientation_field(responses)
    >>> field.orientation.dims, field.orientation.shape
    (('image', 'v1_y', 'v1_x'), (1, 12, 12))
    """
    if not isinstance(responses, xr.Dataset):
        raise InputError(f"responses must be an xarray.Dataset, got {type(responses).__name__}")
    missing = [name for name in ("preset", "parameters", "pixels_per_degree") if name not in responses.attrs]
    if missing or "v1" not in responses or "v1_kind" not in responses.coords:
        raise InputError(
            f"responses must be those of Pathway.simulate with v1, got {', '.join(map(str, responses)) or 'none'}"
        )
    v1 = canonical(responses, names=("v1",)).v1
    if "trial" in v1.dims:
        raise InputError(f"responses of v1 must be rates in Hz: average over trials first, got {v1.dims}")
    values = tuple(json.loads(responses.attrs["parameters"]).items())
    preset, ppd = responses.attrs["preset"], float(responses.attrs["pixels_per_degree"])
    parameters = Parameters(preset, dict(values))
    complex_cells = v1.isel(v1_channel=np.flatnonzero(v1.v1_kind.values == "complex"))
    votes = _votes(preset, values, ppd)
    expected = [f"complex_{k}" for k in range(len(votes))]
    if complex_cells.v1_channel.values.tolist() != expected:
        raise InputError(
            f"v1_channel must have the complex cells of all types, {expected[0]} to {expected[-1]}, "
            f"got {complex_cells.sizes['v1_channel']} complex cells"
        )
    evoked = complex_cells.values - parameters.value("v1.spontaneous")
    drive = np.maximum(evoked, 0) ** (1 / parameters.value("v1.exponent"))
    vector = np.einsum("k,ikyx->iyx", votes, drive)
    orientation = np.rad2deg(np.angle(vector)) / 2 % 180
    away = np.deg2rad(2 * (orientation[:, None] - complex_cells.v1_orientation.values[:, None, None]))
    near = np.exp(_CONCENTRATION * (np.cos(away) - 1))
    dims = ("image", "v1_y", "v1_x")
    return xr.Dataset(
        {
            "orientation": (dims, orientation, {"units": "deg"}),
            "strength": (dims, (near * evoked).sum(axis=1) / near.sum(axis=1), {"units": "Hz"}),
        },
        {name: c for name, c in v1.coords.items() if "v1_channel" not in c.dims},
    )


@functools.lru_cache(maxsize=8)
def _votes(preset: str, values: tuple[tuple[str, float], ...], pixels_per_degree: float) -> np.ndarray:
    """Compute the vote of each cell type's complex cell for twice the orientation, (type,), complex."""
    parameters = Parameters(preset, dict(values))
    cells = cell_types(parameters, pixels_per_degree)
    frequencies = np.geomspace(_LOWEST, 1.1 * parameters.value("v1.highest_frequency"), _FREQUENCIES)
    drives = np.stack([_drive(cell, frequencies, parameters, pixels_per_degree).ravel() for cell in cells])
    drives /= drives.max(axis=1, keepdims=True)
    parasol = np.array([cell.relay == "parasol" for cell in cells])[:, None]
    # Shares of rates become shares of drives.
    shares = np.array(_STREAMS) ** (1 / parameters.value("v1.exponent"))
    shown = np.concatenate([np.where(parasol, share, 1.0) * drives for share in shares], axis=1)
    shown /= np.linalg.norm(shown, axis=0)
    wanted = np.tile(np.repeat(np.exp(2j * np.deg2rad(_ORIENTATIONS)), len(frequencies)), len(shares))
    products = shown @ shown.T
    penalty = _REGULARISATION * np.trace(products) / len(cells) * np.eye(len(cells))
    return np.linalg.solve(products + penalty, shown @ wanted)


def _drive(cell: CellType, frequencies: np.ndarray, parameters: Parameters, pixels_per_degree: float) -> np.ndarray:
    """Compute the response of a cell type's afferents to gratings at their best phase, (orientation, frequency)."""
    afferents = cell.afferents
    weight = np.where(afferents.on, 1, -1) * afferents.weight
    angle = np.deg2rad(_ORIENTATIONS)[:, None]
    across = (afferents.right * np.sin(angle) + afferents.down * np.cos(angle)) / pixels_per_degree
    waves = np.exp(2j * np.pi * across[:, None, :] * frequencies[:, None])
    centre = parameters.value(f"bipolar.{'midget' if cell.relay == 'midget' else 'diffuse'}_centre_radius")
    return np.abs(waves @ weight) * np.exp(-((np.pi * centre * frequencies) ** 2))


def derivative_field(signal: xr.DataArray, scale: float) -> xr.Dataset:
    """Compute the orientation across which a signal changes most at every point, and the slope.

    The maximum of ``|-sin θ ∂x + cos θ ∂y|`` over θ, y upwards, is orthogonal to the gradient. Derivatives are those of a
    Gaussian filter.

    Parameters
    ----------
    signal : xarray.DataArray, (image, y, x)
        With coordinates in degrees, y downwards.
    scale : float
        Standard deviation of the Gaussian, degrees.

    Returns
    -------
    xarray.Dataset
        `orientation` (degrees anticlockwise from horizontal, 0 to 180) and `strength` (the signal's unit per degree),
        (image, y, x).

    Raises
    ------
    InputError
        If `scale` is not positive, and for other dimensions.
    """
    signal = arrange(signal, ("image", "y", "x"), "signal")
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
        signal.coords,
    )
