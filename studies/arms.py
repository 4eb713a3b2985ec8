"""The arms of the light study: what stands between the light and the classifier.

An arm turns luminance (n, H, W) in cd/m² into maps (n, C, h, w). Every arm's maps then get one fixed shift and scale a
channel, measured on clean training images, and go to the same classifier. Arms with light adaptation run in two states:
*settled*, adapted to the image under wandering gaze, and *sudden*, adapted to the even reference field.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage

from biomodel import Pathway, luminance
from bridge import FrontEnd
from studies.illumination import PIXELS_PER_DEGREE, REFERENCE_FIELD

#: Turns luminance and an adaptation state into maps.
Maps = Callable[[np.ndarray, str], np.ndarray]

#: Adaptation states of an arm that adapts.
ADAPTING = ("settled", "sudden")

#: Window of local contrast normalisation, pixels (its Gaussian's standard deviation).
LOCAL_WINDOW = 2.0


@dataclass(frozen=True)
class Arm:
    """One arm: its maps, the adaptation states it runs in, and whether its LeNet normalises instances.

    `simulated` arms run Brian2 for every image and meet fewer of them.
    """

    name: str
    maps: Maps
    adaptations: tuple[str, ...] = ("none",)
    instance_norm: bool = False
    simulated: bool = False


#: Every arm of the study, in the order of the tables.
ARMS = (
    "pixels",
    "instance_norm",
    "standardise",
    "local_contrast_norm",
    "front_end_lgn",
    "front_end_v1",
    "simulated_lgn",
)


def make(name: str, front_end: FrontEnd | None, pathway: Pathway, workers: int = 1) -> Arm:
    """One arm by name.

    Parameters
    ----------
    name : str
        One of `ARMS`.
    front_end : FrontEnd or None
        For the learned arms; ends at V1.
    pathway : Pathway
        For the simulated arm.
    workers : int
        Processes that simulate.

    Raises
    ------
    ValueError
        For an unknown name.
    """
    if name in ("pixels", "instance_norm"):
        return Arm(name, lambda light, _: light[:, None], instance_norm=name == "instance_norm")
    if name == "standardise":
        return Arm(name, lambda light, _: standardise(light)[:, None])
    if name == "local_contrast_norm":
        return Arm(name, lambda light, _: local_contrast_norm(light)[:, None])
    if name in ("front_end_lgn", "front_end_v1") and front_end is not None:
        return Arm(
            name, lambda light, state: learned(front_end, name.removeprefix("front_end_"), light, state), ADAPTING
        )
    if name == "simulated_lgn":
        return Arm(name, lambda light, state: simulated(pathway, light, state, workers), ADAPTING, simulated=True)
    raise ValueError(f"unknown arm {name!r}: accepted are {', '.join(ARMS)}")


def standardise(light: np.ndarray) -> np.ndarray:
    """Each image less its mean, over its standard deviation; an even image is zero."""
    deviation = light.std(axis=(1, 2), keepdims=True)
    return (light - light.mean(axis=(1, 2), keepdims=True)) / np.where(deviation > 0, deviation, 1.0)


def local_contrast_norm(light: np.ndarray) -> np.ndarray:
    """Each pixel less its local mean, over the local standard deviation or the image's mean one, whichever is larger.

    The window is a Gaussian of SD 2 px; the floor is that of Jarrett et al. 2009 (ICCV, §2.1).
    """

    def blur(x: np.ndarray) -> np.ndarray:
        return ndimage.gaussian_filter(x, LOCAL_WINDOW, axes=(1, 2), mode="nearest")

    centred = light - blur(light)
    deviation = np.sqrt(blur(centred**2))
    floor = deviation.mean(axis=(1, 2), keepdims=True)
    return centred / np.where(floor > 0, np.maximum(deviation, floor), 1.0)


@torch.no_grad()
def learned(front_end: FrontEnd, station: str, light: np.ndarray, state: str) -> np.ndarray:
    """Rates of one of the front end's stations."""
    background = None if state == "settled" else REFERENCE_FIELD
    tensor = torch.from_numpy(light[:, None]).float()
    return torch.cat([front_end.responses(part, background)[station] for part in tensor.split(64)]).numpy()


def simulated(pathway: Pathway, light: np.ndarray, state: str, workers: int) -> np.ndarray:
    """Rates of the simulated relay cells."""
    adapt_to = "gaze" if state == "settled" else REFERENCE_FIELD
    stimulus = luminance(light, PIXELS_PER_DEGREE)
    return pathway.simulate(stimulus, adapt_to=adapt_to, until="lgn", workers=workers).lgn.values
