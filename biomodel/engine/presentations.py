"""Images of a stimulus with the field that each image is adapted to, read in pieces."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import xarray as xr

from biomodel.adaptation import GazeAdapted, UniformField
from biomodel.stimuli import blocks, movie


@dataclass(frozen=True)
class Presentations:
    """Images of a stimulus, each to be shown from its adapted state."""

    stimulus: xr.DataArray
    adaptation: GazeAdapted | UniformField

    def __len__(self) -> int:
        return self.stimulus.sizes["image"]

    def movie(self, chosen: slice) -> np.ndarray:
        """Luminance of the chosen images, (image, frame, y, x) in cd/m²; colours are summed to luminance."""
        return movie(self.stimulus.isel(image=chosen))

    def background(self, chosen: slice) -> np.ndarray:
        """The field, (image, y, x) in cd/m², that the cones of the chosen images are adapted to."""
        return self.read(chosen)[1]

    def read(self, chosen: slice) -> tuple[np.ndarray, np.ndarray]:
        """`movie` and `background` of the chosen images, read once."""
        shown = self.movie(chosen)
        return shown, self.adaptation.field(shown.mean(axis=1), chosen)

    def digest(self) -> str:
        """A short text that is the same for the same luminances at the same places and times."""
        told = hashlib.sha256()
        for axis in ("y", "x", "time"):
            if axis in self.stimulus.dims:
                told.update(np.ascontiguousarray(self.stimulus[axis].values, dtype=float).tobytes())
        for block in blocks(self.stimulus):
            told.update(np.ascontiguousarray(movie(block)).tobytes())
        return told.hexdigest()[:16]

    def labels_digest(self) -> str:
        """A short text that is the same for the same coordinates along `image`."""
        told = hashlib.sha256()
        for name, labels in sorted(self.stimulus.coords.items(), key=lambda item: str(item[0])):
            if labels.dims == ("image",):
                told.update(repr((str(name), labels.values.tolist())).encode())
        return told.hexdigest()[:16]
