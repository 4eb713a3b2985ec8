"""Published accuracies of arXiv 2202.07432, of one seed, over its small sweeps.

From the result tables in the authors' public repository (janko-petkovic/retilenet), rounded there to three places.
"""

from __future__ import annotations

from typing import NamedTuple


class Statistics(NamedTuple):
    """Mean and minimum accuracy over a sweep's levels."""

    mean: float
    minimum: float


#: By data set, arm and sweep: mean and minimum accuracy over the levels.
PUBLISHED: dict[str, dict[str, dict[str, Statistics]]] = {
    dataset: {
        arm: {"mu": Statistics(*numbers[:2]), "sigma": Statistics(*numbers[2:])} for arm, numbers in by_arm.items()
    }
    for dataset, by_arm in {
        "mnist": {
            "lenet": (0.245, 0.102, 0.829, 0.485),
            "retilenet": (0.447, 0.097, 0.970, 0.907),
            "bn_lenet": (0.267, 0.020, 0.835, 0.476),
            "in_lenet": (0.990, 0.990, 0.990, 0.990),
            "lenet_augmented": (0.986, 0.986, 0.985, 0.984),
            "bn_lenet_augmented": (0.978, 0.978, 0.971, 0.955),
            "retilenet_augmented": (0.988, 0.987, 0.989, 0.985),
        },
        "fashion-mnist": {
            "lenet": (0.333, 0.100, 0.704, 0.423),
            "retilenet": (0.823, 0.770, 0.854, 0.805),
            "bn_lenet": (0.507, 0.139, 0.860, 0.779),
            "in_lenet": (0.898, 0.898, 0.898, 0.898),
            "lenet_augmented": (0.877, 0.874, 0.876, 0.866),
            "bn_lenet_augmented": (0.872, 0.872, 0.845, 0.787),
            "retilenet_augmented": (0.866, 0.862, 0.866, 0.848),
        },
        "svhn": {
            "lenet": (0.571, 0.005, 0.833, 0.723),
            "retilenet": (0.845, 0.738, 0.871, 0.832),
            "bn_lenet": (0.816, 0.636, 0.856, 0.800),
            "in_lenet": (0.878, 0.878, 0.878, 0.878),
            "lenet_augmented": (0.852, 0.852, 0.851, 0.835),
            "bn_lenet_augmented": (0.802, 0.802, 0.652, 0.397),
            "retilenet_augmented": (0.883, 0.882, 0.884, 0.869),
        },
    }.items()
}

#: Accuracy on unaltered images, by data set and arm.
CLEAN = {
    "mnist": {"lenet": 0.991, "retilenet": 0.988, "bn_lenet": 0.992, "in_lenet": 0.990},
    "fashion-mnist": {"lenet": 0.886, "retilenet": 0.880, "bn_lenet": 0.910, "in_lenet": 0.898},
    "svhn": {"lenet": 0.868, "retilenet": 0.889, "bn_lenet": 0.889, "in_lenet": 0.878},
}

#: Largest rounding error of a published number: half of its last place.
ROUNDING = 0.0005

#: Numbers of training and test images of the published data sets; results of fewer images are not comparable.
SIZES = {"mnist": (60_000, 10_000), "fashion-mnist": (60_000, 10_000), "svhn": (73_257, 26_032)}
