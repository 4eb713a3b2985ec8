"""The arms of the luminance study: the processing between the light and the classifier.

An arm turns luminance (n, H, W) in cd/m² into maps (n, C, h, w). Every arm's maps then get one fixed shift and scale per
channel, measured on clean training images, and go to the same classifier. Arms with light adaptation run in two states:
*settled*, adapted to the image under wandering gaze, and *sudden*, adapted to the uniform reference field.

`ARMS` has every arm, and docs/study.md describes each of them.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import torch
import xarray as xr
from scipy import ndimage
from torch import nn

from biomodel import Pathway, luminance
from biomodel.engine.cluster import Workers
from biomodel.engine.responses import in_rates
from biomodel.pathway import AdaptTo
from biomodel.utils.checks import one_of
from biomodel.utils.errors import InputError
from bridge import FrontEnd
from studies.common import plenoptic_models, retilenet
from studies.luminance import front_ends, hand_set, normalisation
from studies.luminance.augmentation import GLOBAL
from studies.luminance.lights import LIGHTS, PIXELS_PER_DEGREE, REFERENCE_FIELD

#: Adaptation states of an arm that adapts, and of one that does not.
ADAPTING, NOT_ADAPTING = ("settled", "sudden"), ("none",)

#: Degrees over which the gaze of the arm that fixates wanders (of the order of Cherici, Kuang, Poletti & Rucci 2012).
FIXATION = 0.1

#: Standard deviation of the Gaussian that pools neighbours, pixels: equivalent to 4π cells of equal weight.
_POOL = 1.0

#: Images per batch of a front end, and seed of shuffled kernels.
_BATCH, _SHUFFLE_SEED = 64, 0


@dataclass(frozen=True)
class Arm:
    """One arm.

    Attributes
    ----------
    maps : callable
        (luminance (n, H, W) in cd/m², adaptation state) to the classifier's, or `front`'s, input (n, C, h, w).
    name : str
        Its key in `ARMS`.
    adaptations : tuple of str
        States that it runs in.
    norm : str
        Of the classifier, a name in `classifiers.NORMS`.
    lights : tuple of str
        Lights in which training images are shown, besides the reference light.
    front : callable or None
        Adaptation state to a module that is trained with the classifier.
    costly : bool
        Whether its maps are kept on disk.
    twin : str
        Of an arm that simulates, the arm that was fitted to its responses. Simulated arms get fewer images and levels, and
        take over the twin's search.
    kept_as : str
        Arm whose maps before pooling are the same; itself by default.
    pool : float
        Standard deviation, pixels, of the Gaussian that pools neighbours of a map.
    """

    maps: Callable[[np.ndarray, str], np.ndarray]
    name: str = ""
    adaptations: tuple[str, ...] = NOT_ADAPTING
    norm: str = "none"
    lights: tuple[str, ...] = ()
    front: Callable[[str], nn.Module] | None = None
    costly: bool = False
    twin: str = ""
    kept_as: str = ""
    pool: float = 0.0

    @property
    def simulated(self) -> bool:
        """Whether it runs Brian2 for every image."""
        return bool(self.twin)

    def pooled(self, maps: np.ndarray) -> np.ndarray:
        """Pool each cell of maps (n, C, h, w) with its neighbours, where the arm does."""
        return ndimage.gaussian_filter(maps, self.pool, axes=(-2, -1), mode="nearest") if self.pool else maps


@dataclass(frozen=True)
class Models:
    """The models that arms are made of.

    Attributes
    ----------
    learned : FrontEnd, pathlib.Path or None
        For learned arms: a front end up to V1, or its file, which is read when an arm needs it.
    pathway : Pathway
        For simulated arms.
    workers : int or str
        Processes of a simulation, or the address of a dask scheduler.
    """

    learned: FrontEnd | Path | None
    pathway: Pathway
    workers: Workers = 1

    @cached_property
    def front_end(self) -> FrontEnd:
        """The front end of learned arms.

        Raises
        ------
        InputError
            Where there is none.
        """
        if self.learned is None:
            raise InputError("learned must be a front end or its file for learned arms, got None")
        return FrontEnd.load(self.learned) if isinstance(self.learned, Path) else self.learned


def _pixel_arm(
    norm: str = "none", lights: tuple[str, ...] = (), front: Callable[[str], nn.Module] | None = None
) -> Callable[[Models], Arm]:
    """An arm of sRGB codes."""
    return lambda models: Arm(
        lambda light, _: normalisation.codes(light)[:, None], norm=norm, lights=lights, front=front
    )


def _image_arm(function: Callable[[np.ndarray], np.ndarray], costly: bool = False) -> Callable[[Models], Arm]:
    """An arm that is a function of each image alone: luminance (n, H, W) to maps (n, H, W) or (n, C, H, W)."""

    def maps(light: np.ndarray, _: str) -> np.ndarray:
        result = function(light)
        return result[:, None] if result.ndim == 3 else result

    return lambda models: Arm(maps, costly=costly)


def _front_end_arm(
    output: str,
    change: Callable[[FrontEnd], FrontEnd] = lambda front_end: front_end,
    channels: slice = slice(None),
    adaptations: tuple[str, ...] = ADAPTING,
) -> Callable[[Models], Arm]:
    """An arm of the fitted front end up to a station, changed, or of some of its channels."""

    def make(models: Models) -> Arm:
        front_end = change(models.front_end.truncated(output))
        return Arm(
            lambda light, state: learned_rates(front_end, light, state)[:, channels], "", adaptations, costly=True
        )

    return make


def _trained_arm(front: Callable[[FrontEnd, str], nn.Module]) -> Callable[[Models], Arm]:
    """An arm of a front end that is trained with the classifier: it takes luminance."""
    return lambda models: Arm(
        lambda light, _: light[:, None], "", ADAPTING, front=lambda state: front(models.front_end, state)
    )


def _simulated_arm(station: str, spiking: bool = False, pool: float = 0.0) -> Callable[[Models], Arm]:
    """An arm of the simulated circuit up to a station."""

    def make(models: Models) -> Arm:
        simulate = partial(spike_rates if spiking else simulated_rates, models.pathway, station, workers=models.workers)
        kept_as = f"simulated_{station}_spiking" if spiking else f"simulated_{station}"
        twin = f"front_end_{station}"
        return Arm(simulate, "", ADAPTING, costly=True, twin=twin, kept_as=kept_as, pool=pool)

    return make


#: Every arm by name, in the order of the tables: a function of `Models` to the `Arm`. To add an arm, add a line here (a
#: function of an image goes into `normalisation` and uses `_image_arm`) and a row to the table in docs/study.md. The command
#: line, the study, the tables and the report find it here; `figures.COLOURS` gives it a colour. Names that begin with
#: front_end or simulated belong to the circuit and its twins; all others but `BOUNDS` count as baselines (`is_baseline`).
ARMS: dict[str, Callable[[Models], Arm]] = {
    "pixels": _pixel_arm(),
    "instance_norm": _pixel_arm(norm="instance"),
    "batch_norm": _pixel_arm(norm="batch"),
    "standardise": _image_arm(normalisation.standardise),
    "frame_mean": _image_arm(normalisation.frame_mean),
    "log_pixels": _image_arm(normalisation.log_pixels),
    "local_contrast_norm": _image_arm(normalisation.local_contrast_norm),
    "clahe": _image_arm(normalisation.clahe, costly=True),
    "augment_global": _pixel_arm(lights=GLOBAL),
    "augment_all": _pixel_arm(lights=tuple(LIGHTS)),
    "retilenet": _pixel_arm(front=lambda _: retilenet.module(1)),
    "hand_set": _image_arm(hand_set.hand_set),
    "global_weber": _image_arm(hand_set.global_weber),
    "gabor_block": _image_arm(hand_set.gabor_block, costly=True),
    "plenoptic_lgg": _image_arm(plenoptic_models.luminance_contrast_gain),
    "front_end_lgn": _front_end_arm("lgn"),
    "front_end_v1_input": _front_end_arm("v1_input"),
    "front_end_v1": _front_end_arm("v1"),
    "front_end_midget": _front_end_arm("lgn", channels=slice(0, 2)),
    "front_end_parasol": _front_end_arm("lgn", channels=slice(2, 4)),
    "front_end_fixating": _front_end_arm(
        "lgn", lambda front_end: front_end.replace(gaze_sd=FIXATION), adaptations=("settled",)
    ),
    "front_end_lgn_tuned": _trained_arm(front_ends.tuned),
    "front_end_shuffled": _front_end_arm("lgn", lambda front_end: front_ends.shuffle_kernels(front_end, _SHUFFLE_SEED)),
    "front_end_scratch": _trained_arm(front_ends.from_scratch),
    "simulated_lgn": _simulated_arm("lgn"),
    "simulated_v1_input": _simulated_arm("v1_input"),
    "simulated_v1": _simulated_arm("v1"),
    "simulated_lgn_spiking": _simulated_arm("lgn", spiking=True),
    "simulated_lgn_pooled": _simulated_arm("lgn", pool=_POOL),
    "simulated_lgn_spiking_pooled": _simulated_arm("lgn", spiking=True, pool=_POOL),
}

#: The arms of the default study, which is short.
_DEFAULT_BASELINES = ("pixels", "instance_norm", "standardise", "local_contrast_norm")
DEFAULT = (*_DEFAULT_BASELINES, "front_end_lgn", "front_end_v1", "simulated_lgn")

#: Arms that are trained in the lights of the test: upper bounds, not baselines.
BOUNDS = ("augment_global", "augment_all")


def is_baseline(name: str) -> bool:
    """Whether the circuit and its twins are compared with this arm."""
    return name not in BOUNDS and not name.startswith(("front_end", "simulated"))


def check_arms(names: tuple[str, ...]) -> None:
    """Check that arms are known and that their packages are installed.

    Raises
    ------
    InputError
    """
    for name in names:
        one_of(name, ARMS, "arms")
    if "plenoptic_lgg" in names:
        plenoptic_models.check_installed()


def make(name: str, models: Models) -> Arm:
    """Make an arm of `ARMS`; raises InputError as `check_arms`."""
    check_arms((name,))
    return replace(ARMS[name](models), name=name)


@torch.no_grad()
def learned_rates(front_end: FrontEnd, light: np.ndarray, state: str) -> np.ndarray:
    """Rates, Hz, of a front end's output in an adaptation state."""
    background = None if state == "settled" else REFERENCE_FIELD
    tensor = torch.from_numpy(light[:, None]).float()
    return torch.cat([front_end(batch, background) for batch in tensor.split(_BATCH)]).numpy()


def simulated_rates(pathway: Pathway, station: str, light: np.ndarray, state: str, workers: Workers) -> np.ndarray:
    """Rates, Hz, of a station's cells in the simulated circuit.

    Parameters
    ----------
    pathway : Pathway
        The circuit.
    station : str
        Its last station.
    light : numpy.ndarray, (n, H, W)
        Luminance, cd/m².
    state : str
        ``settled`` or ``sudden``.
    workers : int or str
        Processes, or the address of a dask scheduler.

    Returns
    -------
    numpy.ndarray, (n, channels, h, w)
    """
    return _simulate(pathway, station, light, state, workers)[station].values


def spike_rates(pathway: Pathway, station: str, light: np.ndarray, state: str, workers: Workers) -> np.ndarray:
    """Rates, Hz, from the spikes of one trial of the same circuit; the noise depends on the light.

    Parameters, and the return value, are those of `simulated_rates`.
    """
    spiking = pathway.replace(fidelity="spiking")
    seed = zlib.crc32(np.ascontiguousarray(light).tobytes())
    responses = in_rates(_simulate(spiking, station, light, state, workers, seed))
    return responses[station].isel(trial=0).values


def _simulate(
    pathway: Pathway, station: str, light: np.ndarray, state: str, workers: Workers, seed: int = 0
) -> xr.Dataset:
    adapt_to: AdaptTo = "gaze" if state == "settled" else REFERENCE_FIELD
    stimulus = luminance(light, PIXELS_PER_DEGREE)
    return pathway.simulate(stimulus, adapt_to=adapt_to, output=station, workers=workers, seed=seed)
