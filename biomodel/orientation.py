r"""The orientation field: at every point of V1, the orientation whose cells answer most, and how strongly.

The seed paper models V1 as points and angles, the angle at a point being the one along which the precortical signal changes
most across, :math:`\Theta = \arg\max_\theta (-\sin\theta\, \partial_x + \cos\theta\, \partial_y)`. Here it is read from
cells. What the cells of a point fire above rest is averaged over those that prefer nearly an orientation,

.. math:: R(\theta) = \sum_k K(\theta - \theta_k)\, r_k \Big/ \sum_k K(\theta - \theta_k), \quad
    K(\theta) = e^{\kappa (\cos 2\theta - 1)} ,

so that orientations of which a column has more cells don't win by number, and the field is where R is largest; its strength is
what R has there beyond its mean over all orientations (Hz). `derivative_field` is the paper's own, of any signal.
"""

from __future__ import annotations

import numpy as np
import xarray as xr
from scipy import ndimage

from biomodel.stimuli import pixels_per_degree, positive

#: Orientations that are compared, degrees.
_ORIENTATIONS = np.arange(0.0, 180.0, 1.0)

#: κ: cells count half when they prefer an orientation 20° away.
_CONCENTRATION = np.log(2) / (1 - np.cos(np.deg2rad(40)))


def orientation_field(responses: xr.Dataset) -> xr.Dataset:
    """The orientation that V1 sees at every point, and how strongly.

    Parameters
    ----------
    responses : xarray.Dataset
        With `v1` (image, v1_channel, v1_y, v1_x) in Hz, as `Pathway.simulate` returns it; complex cells are read.

    Returns
    -------
    xarray.Dataset
        `orientation` (degrees anticlockwise from horizontal, 0 to 180) and `strength` (Hz), (image, v1_y, v1_x).

    Raises
    ------
    ValueError
        For responses without V1, or whose channels don't say what they prefer.
    """
    if "v1" not in responses or "v1_orientation" not in responses.coords or "v1_kind" not in responses.coords:
        raise ValueError(
            f"responses of {', '.join(map(str, responses)) or 'nothing'} are not accepted: "
            "give those with v1, and the coordinates v1_kind and v1_orientation"
        )
    told = responses.v1.isel(v1_channel=np.flatnonzero(responses.v1_kind.values == "complex"))
    away = np.deg2rad(2 * (_ORIENTATIONS[:, None] - told.v1_orientation.values[None, :]))
    weight = np.exp(_CONCENTRATION * (np.cos(away) - 1))
    weight /= weight.sum(axis=1, keepdims=True)
    answers = np.einsum("ok,ikyx->ioyx", weight, told.transpose("image", "v1_channel", "v1_y", "v1_x").values)
    best = answers.argmax(axis=1)
    height = np.take_along_axis(answers, best[:, None], axis=1)[:, 0]
    before, after = (
        np.take_along_axis(answers, (best[:, None] + step) % len(_ORIENTATIONS), axis=1)[:, 0] for step in (-1, 1)
    )
    # The top of the parabola through the largest value and its neighbours.
    bend = 2 * height - before - after
    shift = np.where(bend > 0, (after - before) / (2 * np.where(bend > 0, bend, 1)), 0.0)
    step = _ORIENTATIONS[1] - _ORIENTATIONS[0]
    dims, places = ("image", "v1_y", "v1_x"), {"v1_y": responses.v1_y, "v1_x": responses.v1_x}
    return xr.Dataset(
        {
            "orientation": (dims, (_ORIENTATIONS[best] + step * shift) % 180, {"units": "deg"}),
            "strength": (dims, height - answers.mean(axis=1), {"units": "Hz"}),
        },
        places,
    )


def derivative_field(signal: xr.DataArray, scale: float) -> xr.Dataset:
    """The orientation across which a signal changes most at every point, and how steeply.

    The maximum of ``|-sin θ ∂x + cos θ ∂y|`` over θ stands across the signal's gradient; derivatives are those of a Gaussian.

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
    ValueError
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
