"""The data of a fit: checks of responses, recordings as tensors, and the choice of held-out images."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
import xarray as xr
from torch import Tensor, nn

from biomodel.analysis.alignment import CHANNELS, canonical, canonical_light
from biomodel.circuit.specification import NOISY
from biomodel.engine.responses import SINGLE, in_rates
from biomodel.stimuli import check_luminance, pixels_per_degree
from biomodel.utils.errors import InputError
from biomodel.utils.units import as_number
from bridge.evaluate.scores import BATCH, tensor
from bridge.fit.optimisers import Targets
from bridge.fit.stimuli import choose_validation
from bridge.model.front_end import OUTPUTS, STATIONS, FrontEnd
from bridge.model.stages import V1, V1Input

#: Stations up to the relay.
_TO_RELAY = STATIONS[: STATIONS.index("lgn") + 1]


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
        """From luminance and responses in canonical order, which are averaged over trials; `seed` chooses the validation set."""
        stations = [name for name in STATIONS if name in responses]
        means = responses.mean("trial") if "trial" in responses.dims else responses
        values = {name: means[name].values for name in stations}
        weights = {name: _weights(responses[name]) for name in stations if "trial" in responses[name].dims}
        targets = Targets(
            {name: tensor(v[:, None] if name in SINGLE else v) for name, v in values.items()},
            choose_validation(photograph_labels(light).tolist(), seed),
            {n: float(responses[n].attrs["counted_s"]) for n in stations if "counted_s" in responses[n].attrs},
            {name: one for name, one in weights.items() if one is not None},
        )
        return Recording(tensor(light.values[:, None]), tensor(responses.background.values[:, None]), targets)

    def subset(self, images: np.ndarray) -> Recording:
        """The recording of some images, by index."""
        responses = {name: values[images] for name, values in self.targets.responses.items()}
        weights = {name: values[images] for name, values in self.targets.weights.items()}
        is_validation = self.targets.is_validation[images]
        targets = replace(self.targets, responses=responses, is_validation=is_validation, weights=weights)
        return Recording(self.light[images], self.background[images], targets)


@dataclass(frozen=True)
class Relay:
    """Rates of the relay, which V1 is fitted behind.

    Attributes
    ----------
    rates : Tensor, (interval, image, 4, y, x)
        Rates (Hz) of the fitted relay.
    resting : Tensor, (4, 1, 1)
        Its rates (Hz) for a constant field.
    contrast : Tensor, (image, 2)
        Contrast (mV) that each class's synapses in V1 are adapted to.
    """

    rates: Tensor
    resting: Tensor
    contrast: Tensor

    @staticmethod
    @torch.no_grad()
    def of(front_end: FrontEnd, recording: Recording) -> Relay:
        """Rates of a front end's relay."""
        rates, contrasts = [], []
        for light, background in zip(recording.light.split(BATCH), recording.background.split(BATCH), strict=True):
            signals = front_end.advance(_TO_RELAY, front_end.initial_signals(light, background))
            rates.append(front_end.relay_rates(signals))
            contrasts.append(front_end.evoked_contrast(signals))
        return Relay(torch.cat(rates, dim=1), front_end.resting_relay_rates(), torch.cat(contrasts))

    def subset(self, images: Tensor | slice) -> Relay:
        """The input for some images, by index."""
        return Relay(self.rates[:, images], self.resting, self.contrast[images])


class Cortex(nn.Module):
    """V1 behind the synapses of the relay: what is fitted together where only V1's responses were recorded.

    Parameters
    ----------
    v1_input : V1Input
    v1 : V1
    """

    def __init__(self, v1_input: V1Input, v1: V1) -> None:
        super().__init__()
        self.v1_input, self.v1 = v1_input, v1

    def synaptic_input(self, relay: Relay) -> Tensor:
        """What synapses deliver, relative to its resting level, (interval, image, 4, y, x) in Hz."""
        return self.v1_input(relay.rates, relay.resting, relay.contrast)

    def forward(self, relay: Relay) -> Tensor:
        """Mean rates (Hz) of V1 over the window."""
        return self.v1(self.synaptic_input(relay))


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
    share = as_number(share, "1", "held_out")
    if not 0 < share < 1:
        raise InputError(f"held_out must be above 0 and below 1, got {share:g}")
    labels = photograph_labels(light)
    groups = np.unique(labels)
    count = min(max(1, round(share * len(groups))), len(groups) - 1)
    if count < 1:
        raise InputError(f"stimulus must have at least 2 photographs, to fit and to hold out, got {len(groups)}")
    return np.isin(labels, np.random.default_rng(seed).choice(groups, count, replace=False))


def validate_data(light: xr.DataArray, responses: xr.Dataset) -> tuple[xr.DataArray, xr.Dataset]:
    """Check a user's stimulus and responses, and put them in the order of `Pathway.simulate`; counts become rates.

    Returns
    -------
    light : xarray.DataArray, (image, y, x)
    responses : xarray.Dataset

    Raises
    ------
    InputError
        For a stimulus and responses that do not belong together, or cannot be fitted.
    """
    light = canonical_light(light)
    check_luminance(light)
    pixels_per_degree(light)
    responses = in_rates(canonical(responses, light))
    check_responses(responses, light)
    return light, responses


def check_responses(responses: xr.Dataset, light: xr.DataArray) -> None:
    """Check that responses, in canonical order and in rates, can be fitted.

    Raises
    ------
    InputError
    """
    if "background" not in responses:
        raise InputError("responses must have a variable 'background', the field adapted to, (image, y, x) in cd/m²")
    if not any(name in responses for name in OUTPUTS):
        raise InputError(
            f"responses must have one of {', '.join(OUTPUTS)}, got {', '.join(map(str, responses)) or 'none'}"
        )
    if responses.sizes["image"] != light.sizes["image"]:
        raise InputError(
            f"responses must have as many images as stimulus, {light.sizes['image']}, got {responses.sizes['image']}"
        )
    background = responses.background.values
    if not (np.isfinite(background) & (background >= 0)).all():
        wrong = background[~(np.isfinite(background) & (background >= 0))][0]
        raise InputError(f"background must be finite and not negative, got {wrong} cd/m²")
    for name in (name for name in CHANNELS if name in responses):
        found = [str(one) for one in responses[f"{name}_channel"].values]
        if found != list(CHANNELS[name]):
            raise InputError(f"{name}_channel must be {', '.join(CHANNELS[name])}, got {', '.join(found) or 'none'}")
    if "v1" in responses:
        _check_v1_channels(responses)
    for name in (name for name in STATIONS if name in responses):
        _check_values(responses[name])


def _check_values(values: xr.DataArray) -> None:
    """Check that the responses of a station are finite, with at least one repeat at every place, and rates not negative."""
    name, found = values.name, values.values
    if "trial" in values.dims:
        missing = np.isnan(found).all(axis=values.dims.index("trial"))
        if missing.any():
            raise InputError(
                f"responses of {name} must have at least one repeat that is not NaN at every place, "
                f"got none of image {np.argwhere(missing)[0, 0]}"
            )
        found = found[~np.isnan(found)]
    if not np.isfinite(found).all():
        raise InputError(f"responses of {name} must be finite, got NaN or infinity")
    if name in NOISY and found.min() < 0:
        raise InputError(f"responses of {name} must be rates or counts of 0 or more, got {found.min():g}")


def check_variation(responses: xr.Dataset) -> None:
    """Check that the channels that are fitted vary over images or places.

    Raises
    ------
    InputError
    """
    for name in (name for name in STATIONS if name in responses):
        values, label = responses[name], f"{name}_channel"
        if "trial" in values.dims:
            values = values.mean("trial")
        others = [d for d in values.dims if d != label]
        flat = np.atleast_1d((values.max(others) == values.min(others)).values)
        if flat.any():
            labels = [name] if name in SINGLE else responses[label].values[flat].tolist()
            raise InputError(f"channels of {name} must vary, got no variance in {', '.join(map(str, labels))}")


def _weights(values: xr.DataArray) -> Tensor | None:
    """Number of repeats of each image, (image,), relative to their mean; None where all are the same."""
    repeats = values.notnull().sum("trial").mean([d for d in values.dims if d not in ("image", "trial")]).values
    return None if np.ptp(repeats) == 0 else tensor(repeats / repeats.mean())


def _check_v1_channels(responses: xr.Dataset) -> None:
    """Check that V1's channels are simple cells of some types and complex cells of the same types."""
    if not {"v1_kind", "v1_orientation"} <= set(responses.coords):
        raise InputError(f"responses must have coordinates v1_kind and v1_orientation, got {list(responses.coords)}")
    cells, half = responses.v1_kind.values.tolist(), responses.sizes["v1_channel"] // 2
    first, second = np.split(responses.v1_orientation.values, [half])
    if not half or cells != ["simple"] * half + ["complex"] * half or not np.array_equal(first, second):
        raise InputError("v1 channels must be simple cells of every type, then complex cells of the same types")
    simple, complex_ = np.split(responses.v1_channel.values.astype(str), [half])
    numbered = [name.removeprefix("simple_") for name in simple] == [name.removeprefix("complex_") for name in complex_]
    if not numbered and len(np.unique(first)) < half:
        raise InputError(
            "v1_channel must name cell types, simple_K and complex_K, where some have the same orientation, "
            f"got {str(simple[0])!r} and {str(complex_[0])!r}"
        )
