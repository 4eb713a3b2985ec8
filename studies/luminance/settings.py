"""Settings of the luminance study."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from biomodel import Pathway
from biomodel.images import PHOTOGRAPHS
from biomodel.utils.checks import one_of, whole_number
from biomodel.utils.errors import InputError
from bridge.fit.stimuli import IMAGES
from studies.common.training import Budget
from studies.data import datasets
from studies.luminance import arms as arm_registry
from studies.luminance import lights as light_registry
from studies.luminance.arms import Arm
from studies.luminance.search import LEAST

#: V1 cell types in the studies, the first of the preset's: they compile and fit in a few minutes.
KINDS = 16


class Cell(NamedTuple):
    """One cell of the study's design: a classifier behind an arm in an adaptation state."""

    classifier: str
    arm: str
    state: str

    @property
    def name(self) -> str:
        """Name of its files."""
        return f"{self.classifier}-{self.arm}-{self.state}"


@dataclass(frozen=True)
class Settings:
    """Everything that determines a study's numbers, besides the code; written to config.json.

    Attributes
    ----------
    dataset : str
        A name in `datasets.DATASETS`.
    arms, resnet_arms : tuple of str
        Names in `arms.ARMS`: arms behind which LeNet, and the residual network, are trained.
    lights : tuple of str
        Names in `lights.LIGHTS`.
    seed : int
        The first seed.
    repeats, resnet_repeats : int
        Number of seeds of each classifier.
    train, test : int
        Number of images.
    simulated_train, simulated_test : int
        Number of images of simulated arms.
    images : int
        Presentations to which the front end is fitted.
    preset : str
        Of the pathway.
    kinds : int
        Number of V1 cell types.
    epochs : int
        Epochs of all training images; arms with fewer images take as many steps.
    search, lesions : bool
        Whether every arm's learning rate and scale are searched, and whether the circuit is lesioned.
    """

    dataset: str = "digits"
    arms: tuple[str, ...] = arm_registry.DEFAULT
    resnet_arms: tuple[str, ...] = ()
    lights: tuple[str, ...] = light_registry.DEFAULT
    seed: int = 0
    repeats: int = 3
    resnet_repeats: int = 3
    train: int = 1347
    test: int = 450
    simulated_train: int = 600
    simulated_test: int = 200
    images: int = IMAGES
    preset: str = "macaque_parafovea"
    kinds: int = KINDS
    epochs: int = 20
    search: bool = False
    lesions: bool = False

    @property
    def pathway(self) -> Pathway:
        """The simulated circuit, to which the front end is fitted."""
        return Pathway(self.preset, parameters={"v1.kinds": self.kinds})

    @property
    def has_circuit(self) -> bool:
        """Whether an arm or the lesions need the simulated circuit and the front end fitted to it."""
        return self.lesions or any(name.startswith(("front_end", "simulated")) for name in self.arms + self.resnet_arms)

    def check(self) -> None:
        """Check names and numbers.

        Raises
        ------
        InputError
        """
        if not self.arms:
            raise InputError(f"arms must have at least one of {', '.join(arm_registry.ARMS)}, got none")
        arm_registry.check_arms(self.arms + self.resnet_arms)
        one_of(self.dataset, datasets.DATASETS, "dataset")
        if not self.lights:
            raise InputError(f"lights must have at least one of {', '.join(light_registry.LIGHTS)}, got none")
        for name in self.lights:
            one_of(name, light_registry.LIGHTS, "lights")
        for argument in ("arms", "resnet_arms", "lights"):
            names = getattr(self, argument)
            if len(set(names)) < len(names):
                raise InputError(f"{argument} must be different, got {', '.join(names)}")
        sizes = ("repeats", "resnet_repeats", "epochs", "train", "test", "simulated_train", "simulated_test")
        least = dict.fromkeys(sizes, 1) | {"images": len(PHOTOGRAPHS), "seed": 0}
        if self.search:
            least["train"] = LEAST
        for name, smallest in least.items():
            reason = " for a search" if name == "train" and self.search else ""
            whole_number(getattr(self, name), f"{name}{reason}", smallest)
        whole_number(self.kinds, "kinds", 1)
        if "batch_norm" in self.resnet_arms:
            raise InputError("resnet_arms must not have batch_norm: the residual network has it behind every arm")

    def cells(self, made: Mapping[str, Arm]) -> list[Cell]:
        """List the cells of the study, in the order of its tables; `made` are its arms, or some of them, by name."""
        pairs = [("lenet", name) for name in self.arms] + [("resnet", name) for name in self.resnet_arms]
        return [
            Cell(classifier, name, state)
            for classifier, name in pairs
            if name in made
            for state in made[name].adaptations
        ]

    def seeds(self, classifier: str) -> tuple[int, ...]:
        """Seeds of a classifier's trainings."""
        return tuple(self.seed + k for k in range(self.resnet_repeats if classifier == "resnet" else self.repeats))

    def budget(self, images: datasets.Images) -> Budget:
        """Steps of `epochs` epochs of all training images, also for arms that get fewer images."""
        return Budget(self.epochs * -(-len(images.train) // Budget.batch))

    def images_for(self, arm: Arm, images: datasets.Images) -> datasets.Images:
        """The images that an arm gets."""
        return images.first(self.simulated_train, self.simulated_test) if arm.simulated else images
