"""Equivalent kernels of circuit and twin, compared in shape and gain."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from biomodel import Pathway, luminance
from biomodel.analysis.equivalent_kernels import equivalent_kernels, probe
from biomodel.utils.atomic import atomic_write
from bridge.model.front_end import FrontEnd

#: Kernels whose largest value is below this share of the station's largest belong to silent cells.
SILENT = 1e-3

#: Noises among which the one is sought before which most cells in the middle fire.
_NOISES = 64


@dataclass(frozen=True)
class KernelPairs:
    """Kernels of every channel of a station about one state, (K, y, x) in Hz per cd/m².

    Attributes
    ----------
    station : str
    labels : tuple of str
    background, contrast : float
        cd/m², and RMS contrast of the noise about which they were taken.
    circuit, twin : numpy.ndarray, (K, y, x)
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
        """(K,): of the twin's kernel with the circuit's; NaN where either is even."""
        pairs = zip(self.circuit, self.twin, strict=True)
        return np.array([_correlation(seen.ravel(), fitted.ravel()) for seen, fitted in pairs])

    @property
    def gain(self) -> np.ndarray:
        """(K,): by how much the circuit's kernel comes nearest to the twin's; NaN of cells that are silent altogether."""
        squares = (self.circuit**2).sum(axis=(1, 2))
        products = (self.circuit * self.twin).sum(axis=(1, 2))
        return np.divide(products, squares, out=np.full(len(squares), np.nan), where=squares > 0)

    def save(self, path: Path) -> None:
        """Write them, whole or not at all."""
        with atomic_write(path) as scratch:
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
        """Read what `save` wrote."""
        with np.load(path, allow_pickle=False) as kept:
            labels, (background, contrast) = tuple(kept["labels"].tolist()), kept["state"].tolist()
            return KernelPairs(str(kept["station"]), labels, background, contrast, kept["circuit"], kept["twin"])


def compare(
    pathway: Pathway,
    front_end: FrontEnd,
    station: str,
    background: float = 100.0,
    contrast: float = 0.0,
    size: int = 29,
    seed: int = 0,
    workers: int = 1,
) -> KernelPairs:
    """Kernels of circuit and twin about the same state; parameters as of `equivalent_kernels`."""
    simulated = equivalent_kernels(
        pathway, background, size, front_end.pixels_per_degree, station, workers, contrast, seed
    )
    labels = [str(label).replace("_", " ") for label in simulated[f"{station}_channel"].values]
    if "v1_orientation" in simulated.coords and station == "v1":
        told = zip(simulated.v1_kind.values, simulated.v1_orientation.values, strict=True)
        labels = [f"{kind} {angle:.0f}°" for kind, angle in told]
    twin = front_end.ending_at(station).kernel(background, contrast, size, seed).numpy()
    return KernelPairs(station, tuple(labels), background, contrast, simulated[station].values, twin)


def _correlation(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.corrcoef(one, other)[0, 1]) if one.std() > 0 and other.std() > 0 else float("nan")


def noise_to_which_most_answer(
    pathway: Pathway, pixels_per_degree: float, background: float = 100.0, contrast: float = 0.5, size: int = 29
) -> int:
    """The seed, of a few, of the noise before which most kinds' V1 cells in the middle fire."""
    noises = np.stack([probe(background, contrast, size, seed) for seed in range(_NOISES)])
    rates = pathway.simulate(luminance(noises, pixels_per_degree), adapt_to=background).v1
    middle = rates.values[:, :, size // 4, size // 4]
    return int((middle > middle.mean(axis=0)).sum(axis=1).argmax())
