"""One circuit, two fidelities: rates over trials of cells that fire, beside the rate form's, before the same photographs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from biomodel.circuit.specification import SPIKING
from biomodel.images import photographs
from biomodel.parameters import FIDELITIES, Parameters
from biomodel.pathway import Pathway
from biomodel.utils.errors import InputError

#: Patches of photographs, and repeats of each.
PATCHES, TRIALS = 200, 50

#: Patches whose counts are in memory at a time.
_TOGETHER = 20

#: Hz from which a cell's Fano factor is told.
_ENOUGH = 5.0


def compare(
    pathway: Pathway,
    patches: int = PATCHES,
    trials: int = TRIALS,
    workers: int = 1,
    seed: int = 0,
    store: str | Path | None = None,
) -> pd.DataFrame:
    """How cells that fire follow the rate form, channel by channel.

    Patches are 32 × 32 pixels, shown as `biomodel.images` does, settled, answers taken between 50 and 200 ms.

    Parameters
    ----------
    pathway : Pathway
        Of fidelity "spiking"; the rate form has the same parameters and lesions.
    patches, trials : int
    workers : int
    seed : int
        Of the patches and of the noise.
    store : str or pathlib.Path, optional
        A folder in which responses are kept as they come, so that the same call goes on after a stop.

    Returns
    -------
    pandas.DataFrame
        Columns station, channel; r, Pearson's correlation over patches and places; rate and spiking, mean rates in Hz; fano, the
        variance of counts over trials over their mean, median over cells of 5 Hz and more.

    Raises
    ------
    InputError
        For a pathway of rates, and as `Pathway.simulate`.
    """
    if pathway.fidelity != "spiking":
        raise InputError(f"fidelity = {pathway.fidelity!r} is not accepted: give a pathway of fidelity 'spiking'")
    shown = photographs(patches, seed=seed)
    shared = Parameters(pathway.preset).values_by_name()
    values = {name: value for name, value in pathway.parameters.values_by_name().items() if name in shared}
    rate_form = Pathway(pathway.preset, parameters=values, lesions=pathway.lesions)
    stores = [None if store is None else Path(store) / name for name in FIDELITIES]
    rates = rate_form.simulate(shown, workers=workers, store=stores[0])
    spikes = pathway.simulate(shown, trials=trials, workers=workers, seed=seed, store=stores[1])
    begin, end = spikes.attrs["window_s"]
    over_trials = []
    for first in range(0, patches, _TOGETHER):
        counts = spikes[list(SPIKING)].isel(image=slice(first, first + _TOGETHER)).load()
        over_trials.append((counts.mean("trial"), counts.var("trial", ddof=1)))
    mean, variance = (xr.concat(parts, "image") for parts in zip(*over_trials, strict=True))
    rows = []
    for station in SPIKING:
        expected, counted, varied = (one[station].values for one in (rates, mean, variance))
        told = counted / (end - begin)
        for k, channel in enumerate(rates[f"{station}_channel"].values.tolist()):
            r = float(np.corrcoef(told[:, k].ravel(), expected[:, k].ravel())[0, 1])
            lively = told[:, k] >= _ENOUGH
            fano = float(np.median(varied[:, k][lively] / counted[:, k][lively])) if lively.any() else np.nan
            rows.append((station, channel, r, float(expected[:, k].mean()), float(told[:, k].mean()), fano))
    return pd.DataFrame(rows, columns=["station", "channel", "r", "rate", "spiking", "fano"])
