"""Training images in other lights: what an arm sees that learns to bear them instead of being built for them.

Every time an image is shown it stands in a light drawn anew: with equal chances the reference light, or one of `lights`, at a
level drawn evenly over the logarithm of the light's range of levels.
"""

from __future__ import annotations

import numpy as np

from studies.luminance.lights import LIGHTS

#: What `augment_global` is trained in; `augment_all` is trained in every light.
GLOBAL = tuple(name for name, light in LIGHTS.items() if light.group == "global")


def relit(light: np.ndarray, lights: tuple[str, ...], random: np.random.Generator) -> np.ndarray:
    """Scenes (n, H, W) under the reference light, each in a light of its own."""
    seen = []
    for image in light:
        which = int(random.integers(len(lights) + 1))
        if which == len(lights):
            seen.append(image)
            continue
        one = LIGHTS[lights[which]]
        level = float(np.exp(random.uniform(np.log(min(one.levels)), np.log(max(one.levels)))))
        seen.append(one.shine(image, level, random))
    return np.stack(seen)
