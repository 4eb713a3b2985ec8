"""Examples for the report: equivalent kernels of circuit and twin, and their responses to one image in every light."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
import xarray as xr

from biomodel import Pathway, luminance
from biomodel.analysis.equivalent_kernels import equivalent_kernels
from biomodel.engine.cluster import Workers
from biomodel.utils.paths import replacing
from bridge import FrontEnd
from bridge.evaluate.kernels import compare_kernels, most_effective_noise
from studies.common.files import is_intact
from studies.luminance.lights import LIGHTS, PIXELS_PER_DEGREE, illuminate

#: Contrast of the noise about which each station's kernels are taken. V1's cells square their input: they need noise.
KERNEL_CONTRASTS = {"lgn": 0.0, "v1": 0.5}

#: Background of the kernels, cd/m², contrast of the noise that drives V1's cells, and pixels along a side.
_BACKGROUND, _NOISE_CONTRAST, _SIZE = 100.0, 0.5, 29


@dataclass(frozen=True)
class Examples:
    """Responses to one image under several lights, settled.

    Attributes
    ----------
    labels : list of str
        Lights, the reference light first.
    maps : dict of str to numpy.ndarray, (light, y, x)
        ``light``, cd/m²; ``cone``, pA; ``midget_on``, ``midget_off`` and ``v1`` (the most active cell at each place), Hz, of
        the circuit; and the last three of the twin, under ``fitted_`` and their name.
    """

    labels: list[str]
    maps: dict[str, np.ndarray]

    def save(self, path: Path) -> None:
        """Write them to an npz file, atomically."""
        with replacing(path) as scratch:
            np.savez_compressed(scratch, labels=np.array(self.labels), **self.maps)  # type: ignore[arg-type]

    @staticmethod
    def load(path: Path) -> Examples:
        """Read a file that `save` wrote."""
        with np.load(path, allow_pickle=False) as file:
            return Examples(file["labels"].tolist(), {name: file[name] for name in file.files if name != "labels"})


def record(pathway: Pathway, front_end: FrontEnd, image: np.ndarray, lights: tuple[str, ...]) -> Examples:
    """Record the responses of circuit and twin.

    Parameters
    ----------
    pathway : Pathway
        The circuit.
    front_end : FrontEnd
        Its twin, up to V1.
    image : numpy.ndarray, (1, H, W)
        Luminance under the reference light, cd/m².
    lights : tuple of str
        Each is shown at its last level, exposure also at .01.
    """
    scenes = {"reference": image[0]}
    if "exposure" in lights:
        scenes["exposure 0.01"] = illuminate(image, "exposure", 0.01)[0]
    for name in lights:
        level = LIGHTS[name].levels[-1]
        scenes[f"{name.replace('_', ' ')} {level:g}"] = illuminate(image, name, level)[0]
    light = np.stack(list(scenes.values()))
    responses = pathway.simulate(luminance(light, PIXELS_PER_DEGREE))
    with torch.no_grad():
        fitted = {
            name: rates.numpy() for name, rates in front_end.responses(torch.from_numpy(light[:, None]).float()).items()
        }
    maps = {
        "light": light,
        "cone": responses.cone.values,
        "midget_on": responses.lgn.sel(lgn_channel="midget_on").values,
        "fitted_midget_on": fitted["lgn"][:, 0],
        "midget_off": responses.lgn.sel(lgn_channel="midget_off").values,
        "fitted_midget_off": fitted["lgn"][:, 1],
        "v1": responses.v1.max("v1_channel").values,
        "fitted_v1": fitted["v1"].max(axis=1),
    }
    return Examples(list(scenes), maps)


#: By station, the circuit's kernels and the seed of the noise about which they were taken.
CircuitKernels: TypeAlias = dict[str, tuple[xr.Dataset, int]]


def simulate_kernels(pathway: Pathway, folder: Path, workers: Workers) -> CircuitKernels:
    """Simulate the circuit's kernels of the stations whose STATION.npz is missing in a folder."""
    missing = [station for station in KERNEL_CONTRASTS if not is_intact(folder / f"{station}.npz")]
    if not missing:
        return {}
    seed = most_effective_noise(pathway, PIXELS_PER_DEGREE, _BACKGROUND, _NOISE_CONTRAST, _SIZE)
    state = (_BACKGROUND, _SIZE, PIXELS_PER_DEGREE)
    return {
        station: (equivalent_kernels(pathway, *state, station, workers, KERNEL_CONTRASTS[station], seed), seed)
        for station in missing
    }


def record_kernels(pathway: Pathway, front_end: FrontEnd, circuit: CircuitKernels, folder: Path) -> None:
    """Write the equivalent kernels of the circuit and the front end to lgn.npz and v1.npz.

    Parameters
    ----------
    pathway : Pathway
    front_end : FrontEnd
        Fitted to the pathway.
    circuit : CircuitKernels
        The circuit's kernels by station.
    folder : pathlib.Path
        For the files.
    """
    for station, (kernels, seed) in circuit.items():
        state = (_BACKGROUND, KERNEL_CONTRASTS[station], _SIZE, seed)
        compare_kernels(pathway, front_end, station, *state, simulated=kernels).save(folder / f"{station}.npz")
