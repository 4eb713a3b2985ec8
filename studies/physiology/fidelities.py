"""Trial-averaged rates of the spiking pathway compared with the rates of the same circuit, for the same photographs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from biomodel import InputError, Pathway
from biomodel.circuit import v1
from biomodel.circuit.cell_types import cell_types
from biomodel.circuit.specification import NOISY
from biomodel.engine.cluster import Workers, check_workers
from biomodel.images import photographs
from biomodel.stimuli import pixels_per_degree
from biomodel.utils.checks import whole_number
from bridge.evaluate.scores import correlation

#: Patches of photographs, and trials of each.
PATCHES, TRIALS = 200, 50

#: Patches whose counts are in memory at a time.
_CHUNK = 20

#: Lowest rate in Hz of a cell whose Fano factor is reported.
_LOWEST_RATE = 5.0


def compare_fidelities(
    pathway: Pathway,
    patches: int = PATCHES,
    trials: int = TRIALS,
    workers: Workers = 1,
    seed: int = 0,
    store: str | Path | None = None,
) -> pd.DataFrame:
    """Compare spiking cells with the rate form, channel by channel.

    Patches of 32 × 32 pixels are shown as `biomodel.images` does, in the settled state; responses are means of
    0 to 200 ms.

    Parameters
    ----------
    pathway : Pathway
        Of fidelity "spiking". The rate form has the same parameters, lesions, time step and target.
    patches, trials : int
    workers : int, str or distributed.Client
    seed : int
        Of the patches and of the noise.
    store : str or pathlib.Path, optional
        Folder that keeps the responses: after an interruption the same call continues.

    Returns
    -------
    pandas.DataFrame
        Columns station, channel; r, Pearson's correlation over patches and positions; r_corrected, without the noise that is
        left in means over trials: r over the root of their reliability, the Spearman-Brown prediction from the correlation of
        odd with even trials (Spearman 1904, 1910), NaN where that is not positive; r_inside, the same over the cells of V1 whose
        afferents all lie inside the image (`afferents_inside`), NaN of other stations and where there are no such cells; rate
        and spiking, mean rates in Hz; fano, the variance over the mean of counts over trials, median over cells of 5 Hz and
        more, NaN of the input of V1, which has no counts.

    Raises
    ------
    InputError
        For a pathway of fidelity "rate", and as `Pathway.simulate`.
    """
    if pathway.fidelity != "spiking":
        raise InputError(f"fidelity must be 'spiking', got {pathway.fidelity!r}")
    patches, trials = whole_number(patches, "patches", 1), whole_number(trials, "trials", 2)
    workers, seed = check_workers(workers), whole_number(seed, "seed", 0)
    images = photographs(patches, seed=seed)
    stores = {name: None if store is None else Path(store) / name for name in ("rate", "spiking")}
    rates = pathway.replace(fidelity="rate").simulate(images, workers=workers, store=stores["rate"])
    spikes = pathway.simulate(images, trials=trials, workers=workers, seed=seed, store=stores["spiking"])
    start, end = spikes.attrs["window_s"]
    inside = afferents_inside(pathway, images)
    over_trials = []
    for first in range(0, patches, _CHUNK):
        counts = spikes[list(NOISY)].isel(image=slice(first, first + _CHUNK)).load()
        odd_and_even = [counts.isel(trial=slice(one, None, 2)).mean("trial") for one in (0, 1)]
        over_trials.append((counts.mean("trial"), counts.var("trial", ddof=1), *odd_and_even))
    mean, variance, odd, even = (xr.concat(parts, "image") for parts in zip(*over_trials, strict=True))
    rows = []
    for station in NOISY:
        is_count = spikes[station].units == "spikes"
        for channel in rates[f"{station}_channel"].values.tolist():
            rate, count, var, first_half, second_half = (
                one[station].sel({f"{station}_channel": channel}) for one in (rates, mean, variance, odd, even)
            )
            spiking = count.values / (end - start) if is_count else count.values
            active = is_count & (spiking >= _LOWEST_RATE)
            fano = float(np.median(var.values[active] / count.values[active])) if active.any() else np.nan
            values = (spiking, rate.values, first_half.values, second_half.values)
            corrected, within = _without_noise(*values), float("nan")
            if station == "v1" and inside[channel].any():
                within = _without_noise(*(one[:, inside[channel]] for one in values))
            means = (float(rate.values.mean()), float(spiking.mean()))
            rows.append((station, channel, correlation(spiking, rate.values), corrected, within, *means, fano))
    columns = ["station", "channel", "r", "r_corrected", "r_inside", "rate", "spiking", "fano"]
    return pd.DataFrame(rows, columns=columns)


def afferents_inside(pathway: Pathway, images: xr.DataArray) -> dict[str, np.ndarray]:
    """For each V1 channel, the cell columns whose afferents all lie inside the images.

    Edges of an image replicate. Near one, several afferents of a cell are one axon, with the noise of one.

    Parameters
    ----------
    pathway : Pathway
    images : xarray.DataArray, (image, y, x)

    Returns
    -------
    dict of str to numpy.ndarray of bool, (v1_y, v1_x)
    """
    height, width, ppd = images.sizes["y"], images.sizes["x"], pixels_per_degree(images)
    rows, columns = v1.lattice(height, ppd), v1.lattice(width, ppd)
    found = {}
    for k, cell in enumerate(cell_types(pathway.parameters, ppd)):
        offsets = [offset for terms in v1.afferent_terms(pathway.parameters, cell) for _, _, offset in terms]
        beside = [v1.STRIDE * offset for offset in v1.complex_pool_offsets(cell, ppd / v1.STRIDE)[1]]
        pooled = offsets + [(down + beside[0], right + beside[1]) for down, right in offsets]
        for name, reached in (("simple", offsets), ("complex", pooled)):
            down, right = np.transpose(reached)
            tall = (rows + down.min() >= 0) & (rows + down.max() < height)
            wide = (columns + right.min() >= 0) & (columns + right.max() < width)
            found[f"{name}_{k}"] = tall[:, None] & wide
    return found


def _without_noise(mean: np.ndarray, rate: np.ndarray, odd: np.ndarray, even: np.ndarray) -> float:
    """Correlation of means over trials with rates, without the noise that is left in the means."""
    return correlation(mean, rate) / np.sqrt(reliability(odd, even))


def reliability(odd: np.ndarray, even: np.ndarray) -> float:
    """Correlation that means over all trials would have with means over as many others, from the means over halves of them.

    NaN where halves are not positively correlated.
    """
    r = correlation(odd, even)
    return 2 * r / (1 + r) if r > 0 else float("nan")
