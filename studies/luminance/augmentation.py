"""Training images in other lights: the training data of arms that learn robustness instead of being built for it.

Every time an image is shown it is in a random light: with equal probabilities the reference light, or one of `lights`, at a
level uniform over the logarithm of the light's range of levels.
"""

from __future__ import annotations

import numpy as np

from studies.luminance.lights import LIGHTS

#: The lights in which `augment_global` is trained; `augment_all` is trained in every light.
GLOBAL = tuple(name for name, light in LIGHTS.items() if light.group == "global")


def illuminate_randomly(light: np.ndarray, lights: tuple[str, ...], random: np.random.Generator) -> np.ndarray:
    """Return scenes (n, H, W) of the reference light, each in a random light."""
    scenes = []
    for image in light:
        index = int(random.integers(len(lights) + 1))
        if index == len(lights):
            scenes.append(image)
            continue
        one = LIGHTS[lights[index]]
        level = float(np.exp(random.uniform(np.log(min(one.levels)), np.log(max(one.levels)))))
        scenes.append(one.apply(image, level, random))
    return np.stack(scenes)
