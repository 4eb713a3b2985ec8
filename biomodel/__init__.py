"""A Brian2 model of the retina, LGN and V1: luminance in, responses out."""

import importlib
from types import ModuleType

__version__ = "0.1.0"

import biomodel.utils.brian2_import  # noqa: F401

# isort: split
# Before modules that import Brian2: it keeps what Brian2 replaces.
from biomodel.utils import excepthook

# isort: split
from biomodel.adaptation import DriftAdapted, GazeAdapted
from biomodel.analysis.orientation import orientation_field
from biomodel.circuit.lesions import LESIONS
from biomodel.circuit.specification import STATIONS, Region
from biomodel.engine.store import Store
from biomodel.parameters import PRESETS
from biomodel.pathway import LuminanceRangeWarning, Pathway
from biomodel.stimuli import Display, luminance
from biomodel.utils.errors import InputError, MachineError

__all__ = [
    "LESIONS",
    "PRESETS",
    "STATIONS",
    "Display",
    "DriftAdapted",
    "GazeAdapted",
    "InputError",
    "LuminanceRangeWarning",
    "MachineError",
    "Pathway",
    "Region",
    "Store",
    "luminance",
    "orientation_field",
    "physiology",
]

excepthook.install()


def __getattr__(name: str) -> ModuleType:
    """`biomodel.physiology`, imported when it is asked for: it brings plotting along."""
    if name == "physiology":
        return importlib.import_module("biomodel.physiology")
    raise AttributeError(f"module 'biomodel' has no attribute {name!r}")
