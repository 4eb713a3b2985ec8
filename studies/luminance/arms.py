"""The arms of the light study: what stands between the light and the classifier.

An arm turns luminance (n, H, W) in cd/m² into maps (n, C, h, w). Every arm's maps then get one fixed shift and scale a
channel, measured on clean training images, and go to the same classifier. Arms with light adaptation run in two states:
*settled*, adapted to the image under wandering gaze, and *sudden*, adapted to the even reference field.

| arm | what it is |
|---|---|
| pixels | sRGB codes |
| instance_norm, batch_norm | the same; the classifier normalises its maps |
| standardise, frame_mean, log_pixels, local_contrast_norm, clahe | `normalisation`, image by image |
| augment_global, augment_all | sRGB codes; training images stand in the lights of the test, `augmentation`: bounds, not rivals |
| retilenet | the module of the seed paper, trained with the classifier |
| hand_set, global_weber, gabor_block | filters set by hand, `hand_set` |
| plenoptic_lgg | luminance and contrast gain control fitted to human judgements, as plenoptic has it |
| front_end_lgn, front_end_v1 | the front end fitted to the simulated circuit |
| front_end_midget, front_end_parasol | its relay cells of one class alone: which of them carries what is recognised |
| front_end_fixating | the same as front_end_lgn, adapted to what gaze of .1° leaves, as in fixation, in the place of .5° |
| front_end_lgn_tuned, front_end_scratch | the same, trained on with the classifier, and its architecture trained from scratch |
| front_end_shuffled | the same as front_end_lgn, its kernels' taps shuffled |
| simulated_lgn, simulated_v1 | the circuit itself, in Brian2 |
| simulated_lgn_spiking | its relay cells that fire, each image shown once: spikes counted in the window |
| simulated_lgn_pooled, simulated_lgn_spiking_pooled | the same two, of some 13 neighbours together |
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import xarray as xr
from scipy import ndimage
from torch import nn

from biomodel import Pathway, luminance
from biomodel.engine.responses import in_rates
from biomodel.pathway import AdaptTo
from biomodel.utils.errors import InputError
from bridge import FrontEnd
from studies.common import plenoptic_models, retilenet
from studies.luminance import hand_set, normalisation
from studies.luminance.augmentation import GLOBAL
from studies.luminance.lights import LIGHTS, PIXELS_PER_DEGREE, REFERENCE_FIELD
from studies.luminance.shuffled import shuffled
from studies.luminance.trained import from_scratch, tuned

#: Turns luminance and an adaptation state into maps.
Maps = Callable[[np.ndarray, str], np.ndarray]

#: Adaptation states of an arm that adapts.
ADAPTING = ("settled", "sudden")

#: Every arm of the study, in the order of the tables.
ARMS = (
    "pixels",
    "instance_norm",
    "batch_norm",
    "standardise",
    "frame_mean",
    "log_pixels",
    "local_contrast_norm",
    "clahe",
    "augment_global",
    "augment_all",
    "retilenet",
    "hand_set",
    "global_weber",
    "gabor_block",
    "plenoptic_lgg",
    "front_end_lgn",
    "front_end_v1",
    "front_end_midget",
    "front_end_parasol",
    "front_end_fixating",
    "front_end_lgn_tuned",
    "front_end_shuffled",
    "front_end_scratch",
    "simulated_lgn",
    "simulated_v1",
    "simulated_lgn_spiking",
    "simulated_lgn_pooled",
    "simulated_lgn_spiking_pooled",
)

#: The arms of the default study, which is to be short.
DEFAULT = (
    "pixels",
    "instance_norm",
    "standardise",
    "local_contrast_norm",
    "front_end_lgn",
    "front_end_v1",
    "simulated_lgn",
)

#: Which of the relay's channels the arms of one class of cells are given.
_CLASSES = {"front_end_midget": slice(0, 2), "front_end_parasol": slice(2, 4)}

#: Degrees over which the gaze of the arm that fixates wanders (of the order of Cherici, Kuang, Poletti & Rucci 2012).
FIXATION = 0.1

#: Standard deviation of the Gaussian that pools neighbours, pixels: as good as 4π cells of equal weight.
_POOL = 1.0

#: Images that a front end answers at a time, and seed of what is shuffled.
_TOGETHER, _SHUFFLED = 64, 0


@dataclass(frozen=True)
class Arm:
    """One arm.

    Attributes
    ----------
    maps : callable
        What is given to the classifier, or to `front`.
    adaptations : tuple of str
        The states that it runs in.
    norm : str
        The classifier's, of `classifiers.NORMS`.
    lights : tuple of str
        What training images are shown in beside the reference light.
    front : callable or None
        Makes, of an adaptation state, a module that is trained with the classifier.
    costly : bool
        Whether its maps are kept on disk.
    simulated : bool
        Whether it runs Brian2 for every image, and so meets fewer of them.
    kept_as : str
        The arm whose maps are its own before they are pooled; by default itself.
    pool : float
        Standard deviation, pixels, of the Gaussian by which neighbours of a map are pooled.
    """

    name: str
    maps: Maps
    adaptations: tuple[str, ...] = ("none",)
    norm: str = "none"
    lights: tuple[str, ...] = ()
    front: Callable[[str], nn.Module] | None = None
    costly: bool = False
    simulated: bool = False
    kept_as: str = ""
    pool: float = 0.0

    def pooled(self, maps: np.ndarray) -> np.ndarray:
        """Maps (n, C, h, w), each cell the weighted mean of its neighbours where the arm pools them."""
        return ndimage.gaussian_filter(maps, self.pool, axes=(-2, -1), mode="nearest") if self.pool else maps


#: Arms that are functions of an image alone.
_FIXED: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "standardise": normalisation.standardise,
    "frame_mean": normalisation.frame_mean,
    "log_pixels": normalisation.log_pixels,
    "local_contrast_norm": normalisation.local_contrast_norm,
    "clahe": normalisation.clahe,
    "hand_set": hand_set.hand_set,
    "global_weber": hand_set.global_weber,
    "gabor_block": hand_set.gabor_block,
}


#: Of these, the ones whose maps are kept on disk.
_COSTLY = ("clahe", "gabor_block")

#: Arms that have been trained in the lights of the test: what could be had at best, and no rivals.
BOUNDS = ("augment_global", "augment_all")


def is_rival(name: str) -> bool:
    """Whether an arm is one that the circuit and what was fitted to it are compared with."""
    return name not in BOUNDS and not name.startswith(("front_end", "simulated"))


def check_arms(names: tuple[str, ...]) -> None:
    """Refuse arms that are not known, or that need what is not installed.

    Raises
    ------
    InputError
    """
    for name in names:
        if name not in ARMS:
            raise InputError(f"unknown arm {name!r}: accepted are {', '.join(ARMS)}")
    if "plenoptic_lgg" in names:
        plenoptic_models.check_installed()


def make(name: str, front_end: FrontEnd, pathway: Pathway, workers: int = 1) -> Arm:
    """One arm by name.

    Parameters
    ----------
    name : str
        One of `ARMS`.
    front_end : FrontEnd
        For the learned arms; ends at V1.
    pathway : Pathway
        For the simulated arms.
    workers : int
        Processes that simulate.

    Raises
    ------
    InputError
        As `check_arms`.
    """
    check_arms((name,))

    def pixels(light: np.ndarray, _: str) -> np.ndarray:
        return normalisation.codes(light)[:, None]

    def luminance_itself(light: np.ndarray, _: str) -> np.ndarray:
        return light[:, None]

    if name in ("instance_norm", "batch_norm"):
        return Arm(name, pixels, norm=name.removesuffix("_norm"))
    if name in ("augment_global", "augment_all"):
        return Arm(name, pixels, lights=GLOBAL if name == "augment_global" else tuple(LIGHTS))
    if name == "retilenet":
        return Arm(name, pixels, front=lambda _: retilenet.module(1))
    if name == "plenoptic_lgg":
        return Arm(name, lambda light, _: plenoptic_models.luminance_contrast_gain(light))
    if name == "front_end_lgn_tuned":
        return Arm(name, luminance_itself, ADAPTING, front=lambda state: tuned(front_end, state))
    if name == "front_end_scratch":
        return Arm(name, luminance_itself, ADAPTING, front=lambda state: from_scratch(front_end, state))
    if name == "front_end_fixating":
        held = altered_gaze(front_end.truncated("lgn"), FIXATION)
        return Arm(name, lambda light, state: learned(held, light, state), ADAPTING[:1], costly=True)
    if name.startswith("front_end_"):
        station = "v1" if name == "front_end_v1" else "lgn"
        fixed = front_end.truncated(station)
        if name == "front_end_shuffled":
            fixed = shuffled(fixed, _SHUFFLED)
        channels = _CLASSES.get(name, slice(None))
        return Arm(name, lambda light, state: learned(fixed, light, state)[:, channels], ADAPTING, costly=True)
    if name.startswith("simulated_"):
        alone = name.removesuffix("_pooled")
        station = alone.removeprefix("simulated_").removesuffix("_spiking")
        answer = fired if alone.endswith("_spiking") else simulated
        return Arm(
            name,
            lambda light, state: answer(pathway, station, light, state, workers),
            ADAPTING,
            costly=True,
            simulated=True,
            kept_as=alone,
            pool=0.0 if name == alone else _POOL,
        )
    if name == "pixels":
        return Arm(name, pixels)
    fixed_maps = _FIXED[name]
    return Arm(name, lambda light, _: _channels(fixed_maps(light)), costly=name in _COSTLY)


def _channels(maps: np.ndarray) -> np.ndarray:
    """Maps (n, C, h, w), of one channel where there is no axis for it."""
    return maps[:, None] if maps.ndim == 3 else maps


def altered_gaze(front_end: FrontEnd, gaze_sd: float) -> FrontEnd:
    """The same front end, settled before the field that gaze of another spread, in degrees, leaves."""
    other = front_end.untrained(gaze_sd=gaze_sd)
    other.load_state_dict(front_end.state_dict())
    return other


@torch.no_grad()
def learned(front_end: FrontEnd, light: np.ndarray, state: str) -> np.ndarray:
    """Rates of the front end's output."""
    background = None if state == "settled" else REFERENCE_FIELD
    tensor = torch.from_numpy(light[:, None]).float()
    return torch.cat([front_end(part, background) for part in tensor.split(_TOGETHER)]).numpy()


def simulated(pathway: Pathway, station: str, light: np.ndarray, state: str, workers: int) -> np.ndarray:
    """Rates of the simulated cells of a station."""
    return _answered(pathway, station, light, state, workers)[station].values


def fired(pathway: Pathway, station: str, light: np.ndarray, state: str, workers: int) -> np.ndarray:
    """Rates, Hz, that a single trial's spikes of the same pathway's cells come to; the noise is another for other light."""
    spiking = Pathway(
        pathway.preset,
        fidelity="spiking",
        parameters=pathway.parameters.values_by_name(),
        lesions=pathway.lesions,
    )
    seed = zlib.crc32(np.ascontiguousarray(light).tobytes())
    return in_rates(_answered(spiking, station, light, state, workers, seed))[station].isel(trial=0).values


def _answered(pathway: Pathway, station: str, light: np.ndarray, state: str, workers: int, seed: int = 0) -> xr.Dataset:
    adapt_to: AdaptTo = "gaze" if state == "settled" else REFERENCE_FIELD
    stimulus = luminance(light, PIXELS_PER_DEGREE)
    return pathway.simulate(stimulus, adapt_to=adapt_to, output=station, workers=workers, seed=seed)
