"""The data of a fit: checks of responses, recordings as tensors, and the choice of held-out images."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from biomodel.engine.responses import SINGLE
from biomodel.utils.errors import InputError
from bridge.evaluate.scores import BATCH, tensor
from bridge.fit.optimisers import Targets
from bridge.fit.stimuli import choose_validation
from bridge.model.front_end import OUTPUTS, STATIONS, FrontEnd
from bridge.model.stages import V1


@dataclass(frozen=True)
class Recording:
    """Images and responses to them, as tensors.

    Attributes
    ----------
    light, background : Tensor, (image, 1, H, W)
        cd/m².
    targets : Targets
        Responses, the validation set, and the durations over which spikes were counted.
    """

    light: Tensor
    background: Tensor
    targets: Targets

    @staticmethod
    def from_xarray(light: xr.DataArray, responses: xr.Dataset, seed: int) -> Recording:
        """From luminance (image, y, x) and responses without trials; `seed` chooses the validation set."""
        stations = [name for name in STATIONS if name in responses]
        values = {name: responses[name].values for name in stations}
        targets = Targets(
            {name: tensor(v[:, None] if name in SINGLE else v) for name, v in values.items()},
            choose_validation(photograph_labels(light).tolist(), seed),
            {n: float(responses[n].attrs["counted_s"]) for n in stations if "counted_s" in responses[n].attrs},
        )
        return Recording(tensor(light.values[:, None]), tensor(responses.background.values[:, None]), targets)

    def subset(self, images: np.ndarray) -> Recording:
        """The recording of some images, by index."""
        responses = {name: values[images] for name, values in self.targets.responses.items()}
        targets = replace(self.targets, responses=responses, is_validation=self.targets.is_validation[images])
        return Recording(self.light[images], self.background[images], targets)


@dataclass(frozen=True)
class Relay:
    """Input of V1.

    Attributes
    ----------
    rates : Tensor, (interval, image, 4, y, x)
        Rates (Hz) of the fitted relay.
    resting : Tensor, (4, 1, 1)
        Its rates (Hz) for a constant field.
    """

    rates: Tensor
    resting: Tensor

    @staticmethod
    @torch.no_grad()
    def of(front_end: FrontEnd, recording: Recording) -> Relay:
        """Rates of a front end's relay."""
        rates = []
        for light, background in zip(recording.light.split(BATCH), recording.background.split(BATCH), strict=True):
            signals = front_end.advance(STATIONS[: STATIONS.index("v1")], front_end.initial_signals(light, background))
            rates.append(front_end.relay_rates(signals))
        return Relay(torch.cat(rates, dim=1), front_end.resting_relay_rates())

    def subset(self, images: Tensor | slice) -> Relay:
        """The input for some images, by index."""
        return Relay(self.rates[:, images], self.resting)

    def synaptic_input(self, v1: V1) -> Tensor:
        """`V1.synaptic_input` of these rates."""
        return v1.synaptic_input(self.rates, self.resting)


def photograph_labels(light: xr.DataArray) -> np.ndarray:
    """The photograph that each image belongs to, (image,); without labels each image is its own."""
    return light.photograph.values if "photograph" in light.coords else np.arange(light.sizes["image"])


def choose_held_out(light: xr.DataArray, share: float, seed: int) -> np.ndarray:
    """Choose images to hold out, (image,) of bool: whole photographs where they are known.

    Raises
    ------
    InputError
        For a share outside 0 to 1, and for a single photograph.
    """
    if not 0 < share < 1:
        raise InputError(f"held_out must be above 0 and below 1, got {share}")
    labels = photograph_labels(light)
    groups = np.unique(labels)
    count = min(max(1, round(share * len(groups))), len(groups) - 1)
    if count < 1:
        raise InputError(f"stimulus must have at least 2 photographs, to fit and to hold out, got {len(groups)}")
    return np.isin(labels, np.random.default_rng(seed).choice(groups, count, replace=False))


def check_responses(responses: xr.Dataset, light: xr.DataArray) -> None:
    """Check that responses belong to a stimulus and can be fitted.

    Raises
    ------
    InputError
    """
    if "background" not in responses:
        raise InputError("responses must have a variable 'background', the field adapted to, (image, y, x) in cd/m²")
    if not any(name in responses for name in OUTPUTS):
        raise InputError(f"responses must have one of {', '.join(OUTPUTS)}, got {list(responses)}")
    if responses.sizes["image"] != light.sizes["image"]:
        raise InputError(
            f"responses must have as many images as stimulus, {light.sizes['image']}, got {responses.sizes['image']}"
        )
    if "v1" in responses:
        _check_v1_channels(responses)
    for name in (name for name in STATIONS if name in responses):
        values = responses[name]
        if not np.isfinite(values.values).all():
            raise InputError(f"responses of {name} must be finite, got NaN or infinity")
        label = f"{name}_channel"
        spread = values.std([d for d in values.dims if d != label])
        flat = np.atleast_1d(spread.values == 0)
        if flat.any():
            labels = [name] if name in SINGLE else responses[label].values[flat].tolist()
            raise InputError(f"channels of {name} must vary, got no variance in {', '.join(map(str, labels))}")


def _check_v1_channels(responses: xr.Dataset) -> None:
    """Check that V1's channels are simple cells of some types and complex cells of the same types."""
    if not {"v1_kind", "v1_orientation"} <= set(responses.coords):
        raise InputError(f"responses must have coordinates v1_kind and v1_orientation, got {list(responses.coords)}")
    cells, half = responses.v1_kind.values.tolist(), responses.sizes["v1_channel"] // 2
    first, second = np.split(responses.v1_orientation.values, [half])
    if cells != ["simple"] * half + ["complex"] * half or not np.array_equal(first, second):
        raise InputError("v1 channels must be simple cells of every type, then complex cells of the same types")
