"""Equivalent kernels of circuit and front end, compared in shape and gain."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr

from biomodel import Pathway, luminance
from biomodel.analysis.alignment import arrange, ordered_like
from biomodel.analysis.equivalent_kernels import equivalent_kernels, probe
from biomodel.engine.cluster import Workers
from biomodel.stimuli import positive
from biomodel.utils.paths import replacing
from biomodel.utils.units import as_number
from bridge.evaluate.scores import correlation
from bridge.model.front_end import FrontEnd

#: Kernels whose largest value is below this share of the station's largest belong to silent cells.
SILENT = 1e-3
#: Number of noise images among which `most_effective_noise` chooses.
_NOISES = 64


@dataclass(frozen=True)
class KernelPairs:
    """Kernels of every channel of a station at one state, (K, y, x) in Hz per cd/m².

    Attributes
    ----------
    station : str
    labels : tuple of str
    background, contrast : float
        cd/m², and RMS contrast of the noise about which they were taken.
    circuit, twin : numpy.ndarray, (K, y, x)
        Of the circuit and of the front end.
    """

    station: str
    labels: tuple[str, ...]
    background: float
    contrast: float
    circuit: np.ndarray
    twin: np.ndarray

    @property
    def firing(self) -> np.ndarray:
        """(K,): whether the circuit's cell is not silent."""
        largest = np.abs(self.circuit).max(axis=(1, 2))
        return largest > SILENT * largest.max()

    @property
    def correlation(self) -> np.ndarray:
        """(K,): correlation of the two kernels; NaN where either is constant."""
        return np.array([correlation(one, other) for one, other in zip(self.circuit, self.twin, strict=True)])

    @property
    def gain(self) -> np.ndarray:
        """(K,): least-squares factor from the circuit's kernel to the front end's; NaN where the former is 0."""
        squares = (self.circuit**2).sum(axis=(1, 2))
        products = (self.circuit * self.twin).sum(axis=(1, 2))
        return np.divide(products, squares, out=np.full(len(squares), np.nan), where=squares > 0)

    def save(self, path: Path) -> None:
        """Write a ``.npz`` file, atomically."""
        with replacing(path) as scratch:
            np.savez(
                scratch,
                station=self.station,
                labels=np.array(self.labels),
                state=np.array([self.background, self.contrast]),
                circuit=self.circuit,
                twin=self.twin,
            )

    @staticmethod
    def load(path: Path) -> KernelPairs:
        """Read a file that `save` wrote."""
        with np.load(path, allow_pickle=False) as file:
            labels, (background, contrast) = tuple(file["labels"].tolist()), file["state"].tolist()
            return KernelPairs(str(file["station"]), labels, background, contrast, file["circuit"], file["twin"])


def compare_kernels(
    pathway: Pathway,
    front_end: FrontEnd,
    station: str,
    background: float = 100.0,
    contrast: float = 0.0,
    size: int = 29,
    seed: int = 0,
    workers: Workers = 1,
    simulated: xr.Dataset | None = None,
) -> KernelPairs:
    """Equivalent kernels of circuit and front end at the same state.

    Parameters
    ----------
    pathway : biomodel.Pathway
    front_end : FrontEnd
    station : str
        An output of the front end.
    background, contrast, size, seed
        As in `FrontEnd.kernel`.
    workers : int, str or distributed.Client
        Processes that simulate.
    simulated : xarray.Dataset, optional
        Kernels of the circuit at this state, as `equivalent_kernels` returns them, in any order; by default they are simulated.

    Raises
    ------
    InputError
        For kernels of other channels or sizes than those of the front end.
    """
    background, contrast = positive(background, "background", "cd/m²"), as_number(contrast, "1", "contrast")
    if simulated is None:
        simulated = equivalent_kernels(
            pathway, background, size, front_end.pixels_per_degree, station, workers, contrast, seed
        )
    label, fitted = f"{station}_channel", front_end.truncated(station)
    kernels = arrange(simulated[station].sortby(["y", "x"]), (label, "y", "x"), f"kernels of {station}")
    twin = fitted.kernel(background, contrast, size, seed).numpy()
    kernels = ordered_like(kernels, xr.DataArray(twin, {label: fitted.channels}, kernels.dims), f"kernels of {station}")
    labels = [str(name).replace("_", " ") for name in kernels[label].values]
    if "v1_orientation" in kernels.coords and station == "v1":
        cells = zip(kernels.v1_kind.values, kernels.v1_orientation.values, strict=True)
        labels = [f"{kind} {angle:.0f}°" for kind, angle in cells]
    return KernelPairs(station, tuple(labels), background, contrast, kernels.values, twin)


def most_effective_noise(
    pathway: Pathway, pixels_per_degree: float, background: float = 100.0, contrast: float = 0.5, size: int = 29
) -> int:
    """Seed of the noise image, of 64, to which most types of V1 cells in the centre respond above their mean.

    Parameters
    ----------
    pathway : biomodel.Pathway
    pixels_per_degree : float
    background, contrast, size
        As in `FrontEnd.kernel`.
    """
    noises = np.stack([probe(background, contrast, size, seed) for seed in range(_NOISES)])
    rates = pathway.simulate(luminance(noises, pixels_per_degree), adapt_to=background).v1
    middle = rates.isel(v1_y=size // 4, v1_x=size // 4).transpose("image", "v1_channel").values
    return int((middle > middle.mean(axis=0)).sum(axis=1).argmax())
