"""Trial-averaged rates of the spiking pathway compared with the rates of the same circuit, for the same photographs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from biomodel import InputError, Pathway
from biomodel.circuit.specification import NOISY
from biomodel.engine.cluster import Workers, check_workers
from biomodel.images import photographs
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
        odd with even trials (Spearman 1904, 1910), NaN where that is not positive; rate and spiking, mean rates in Hz; fano,
        the variance over the mean of counts over trials, median over cells of 5 Hz and more, NaN of the input of V1, which has
        no counts.

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
            r = correlation(spiking, rate.values)
            corrected = r / np.sqrt(reliability(first_half.values, second_half.values))
            rows.append((station, channel, r, corrected, float(rate.values.mean()), float(spiking.mean()), fano))
    return pd.DataFrame(rows, columns=["station", "channel", "r", "r_corrected", "rate", "spiking", "fano"])


def reliability(odd: np.ndarray, even: np.ndarray) -> float:
    """Correlation that means over all trials would have with means over as many others, from the means over halves of them.

    NaN where halves are not positively correlated.
    """
    r = correlation(odd, even)
    return 2 * r / (1 + r) if r > 0 else float("nan")
