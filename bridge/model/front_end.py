"""`FrontEnd`: the differentiable stations in series, from luminance to rates."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from biomodel import STATIONS, Display, LuminanceRangeWarning
from biomodel.adaptation import TRUNCATION, DriftAdapted, GazeAdapted
from biomodel.analysis.alignment import CHANNELS
from biomodel.analysis.equivalent_kernels import probe
from biomodel.parameters import VALID_LUMINANCE
from biomodel.pupil import watson_yellott
from biomodel.stimuli import CODE_TOLERANCE, SRGB_LUMINANCE, positive
from biomodel.utils.checks import one_of
from biomodel.utils.errors import InputError
from biomodel.utils.paths import local_path
from biomodel.utils.units import as_number
from bridge import io, onnx
from bridge.model.ablation import ablate, available, check_ablations
from bridge.model.convolution import gaussians, separable
from bridge.model.stages import LGN, STRIDE, V1, Bipolar, Cone, Ganglion, Horizontal, V1Input
from bridge.model.time import constant, window_mean
from bridge.model.values import RangeCheck, extremes

#: Standard deviation in degrees of the field of states that remember 1.5 s, by the default drift of the eye. States with shorter
#: memories have the same field here: on photographs, rates of the circuit's relay differ by less than 1 Hz.
GAZE_SD = DriftAdapted().sd(1.5)
#: Channels of the relay, and the stations that have one for each.
RELAY = ("midget_on", "midget_off", "parasol_on", "parasol_off")
_OF_RELAY = ("lgn", "v1_input")
#: Stations at which a front end can end.
OUTPUTS = ("lgn", "v1_input", "v1")
#: Area in mm² of the pupil through which luminance reaches the first station: an artificial pupil, 3.4 mm across.
PUPIL_AREA = 9.3
#: Least mean of a field, cd/m², for the area of the pupil. At 0 the area has an infinite slope; at this field, far below those
#: that cones see, it is within .4 % of its limit.
_DARKEST = 1e-6
#: Signals of the stations computed so far, by name; later stations read them.
Signals: TypeAlias = dict[str, Tensor]


class FrontEnd(nn.Module):
    """A differentiable retina and LGN; with ``output="v1_input"`` also the synapses of the LGN in V1, with ``"v1"`` all of V1.

    Parameters
    ----------
    pixels_per_degree : float
    channels : dict of str to list of str
        Labels of each station's channels, in order; those of "v1" are required for that output.
    output : {"lgn", "v1_input", "v1"}
        The last station.
    gaze_sd : float
        Standard deviation, degrees, of the blur of the default background: the field that slow states have under the eye's
        drift; 0 to infinity.
    metadata : dict, optional
        Data and scores of the fit; saved with the weights.
    orientations : sequence of float, optional
        Preferred orientation of each V1 cell type, degrees; 0 by default.
    parasol : sequence of bool, optional
        Which V1 cell types have parasol afferents; none by default.
    ablations : sequence of str
        Mechanisms to leave out, of `bridge.model.ablation.ABLATIONS`.
    spiking : bool
        Whether its V1 models spiking cells (`bridge.model.stages`).
    pupil : bool
        Whether luminance passes through the pupil of Watson & Yellott for the mean of the field adapted to
        (`biomodel.pupil`), relative to a fixed area of 9.3 mm²; otherwise that is the area in every field.

    Raises
    ------
    InputError
        For an unknown output or ablation, where the number of labels, orientations or classes is wrong, and for names of the
        circuit's channels in another order.

    Examples
    --------
    >>> import torch
    >>> from bridge import FrontEnd
    >>> front_end = FrontEnd(16.0, {"lgn": ["midget_on", "midget_off", "parasol_on", "parasol_off"]}, output="lgn")
    >>> front_end(torch.full((1, 1, 8, 8), 50.0)).shape
    torch.Size([1, 4, 8, 8])
    """

    def __init__(
        self,
        pixels_per_degree: float,
        channels: dict[str, list[str]],
        output: str = "v1",
        gaze_sd: float = GAZE_SD,
        metadata: dict[str, object] | None = None,
        orientations: Sequence[float] | None = None,
        parasol: Sequence[bool] | None = None,
        ablations: Sequence[str] = (),
        spiking: bool = False,
        pupil: bool = True,
    ) -> None:
        super().__init__()
        one_of(output, OUTPUTS, "output")
        self.pixels_per_degree = positive(pixels_per_degree, "pixels_per_degree", "px/deg")
        self.output = output
        self.gaze_sd = float(GazeAdapted(gaze_sd).sd)
        self.pupil = bool(pupil)
        self.station_channels = {name: list(labels) for name, labels in channels.items()}
        self.metadata = dict(metadata or {})
        check_ablations(ablations, self.stations)
        self.ablations = tuple(ablations)
        for name in (name for name in self.stations if name in _OF_RELAY):
            labels = self.station_channels.setdefault(name, list(RELAY))
            if len(labels) != len(RELAY):
                raise InputError(f"channels[{name!r}] must have {len(RELAY)} labels, got {labels}")
        for name, names in CHANNELS.items():
            labels = self.station_channels.get(name, list(names))
            if labels != list(names) and set(labels) == set(names):
                raise InputError(f"channels[{name!r}] must be in the order {', '.join(names)}, got {', '.join(labels)}")
        self.cone = Cone()
        self.horizontal = Horizontal(self.pixels_per_degree)
        self.bipolar = Bipolar(self.pixels_per_degree)
        self.ganglion = Ganglion(self.pixels_per_degree)
        self.lgn = LGN(self.pixels_per_degree)
        if "v1_input" in self.stations:
            self.v1_input = V1Input()
        if output == "v1":
            n_types = len(self.station_channels["v1"]) // 2
            angles = [0.0] * n_types if orientations is None else list(orientations)
            classes = [False] * n_types if parasol is None else list(parasol)
            for name, values in (("orientations", angles), ("parasol", classes)):
                if len(values) != n_types:
                    raise InputError(f"{name} must have {n_types} values, one per V1 cell type, got {len(values)}")
            self.v1 = V1(angles, self.pixels_per_degree, spiking=spiking)
            self.v1.set_relay_classes(classes)
        ablate(self, self.ablations)
        self._check = RangeCheck(0.0, torch.finfo(torch.float64).max)
        self._check_background = RangeCheck(0.0, torch.finfo(torch.float64).max)
        self._warned = False

    @property
    def stations(self) -> tuple[str, ...]:
        """The stations up to the output."""
        return STATIONS[: STATIONS.index(self.output) + 1]

    @property
    def channels(self) -> list[str]:
        """Labels of the output's channels, in order."""
        return self.station_channels[self.output]

    def forward(self, luminance: Tensor, background: Tensor | float | None = None) -> Tensor:
        """Rates of the output station.

        It computes in the type of the weights, also inside `torch.autocast`, because squares of rates exceed float16.

        Parameters
        ----------
        luminance : Tensor, (B, 1 or 3, H, W)
            cd/m², floating-point; three channels are light that sums to luminance.
        background : Tensor (B, 1, H, W), float or None
            The field adapted to, cd/m²: a number is a uniform field, None the image blurred by gaze.

        Returns
        -------
        Tensor, (B, K, h, w)
            Hz; with the shape, order and borders of the simulated station. On an accelerator after the first batch, and in
            compiled and exported modules, luminance that is negative, infinite or NaN gives NaN.

        Raises
        ------
        InputError
            For another shape or type, for luminance that is negative, infinite or NaN, and for weights in float16.

        Warns
        -----
        LuminanceRangeWarning
            Once, where luminance leaves the valid range of the model; on an accelerator only for the first batch.
        """
        with _full_precision(luminance):
            return self.response(self.output, self._signals(luminance, background))

    def responses(self, luminance: Tensor, background: Tensor | float | None = None) -> dict[str, Tensor]:
        """Responses of every station by name, each (B, channels, h, w) in its own unit."""
        with _full_precision(luminance):
            signals = self._signals(luminance, background)
            return {name: self.response(name, signals) for name in self.stations}

    def _signals(self, luminance: Tensor, background: Tensor | float | None) -> Signals:
        light = self._light(luminance)
        if isinstance(background, Tensor):
            if background.ndim not in (0, 4) or any(
                n not in (1, m) for n, m in zip(background.shape, light.shape, strict=False)
            ):
                raise InputError(
                    f"background must be a number or have shape {tuple(light.shape)}, got {tuple(background.shape)}"
                )
            background = self._check_background(background.to(light), lambda value: _refusal("background", value))
        return self.advance(self.stations, self.initial_signals(light, self.background(light, background)))

    def _light(self, luminance: Tensor) -> Tensor:
        """Luminance as one channel, (B, 1, H, W), in the type of the weights; checked."""
        if luminance.ndim != 4 or luminance.shape[1] not in (1, 3) or 0 in luminance.shape[2:]:
            raise InputError(f"luminance must have shape (B, 1 or 3, H, W), got {tuple(luminance.shape)}")
        if not luminance.is_floating_point():
            raise InputError(
                f"luminance must be a floating-point tensor in cd/m², got {luminance.dtype}: DisplayLayer converts codes"
            )
        dtype = self.cone.log_gain.dtype
        if dtype == torch.float16:
            raise InputError(
                "weights of a front end must be float32, float64 or bfloat16, got float16: use torch.autocast, "
                "inside which a front end computes in the type of its weights"
            )
        read = not self._warned and self._check.readable(luminance)
        checked = self._check(luminance.to(dtype), lambda value: _refusal("luminance", value))
        light = checked.sum(dim=1, keepdim=True)
        if read:
            self._warn(*extremes(light))
        return light

    def _warn(self, lowest: float, highest: float) -> None:
        low, high = VALID_LUMINANCE
        if lowest < low or highest > high:
            self._warned = True
            warnings.warn(
                f"luminances from {lowest:.3g} to {highest:.3g} cd/m² leave the valid range of the model, {low:g} to "
                f"{high:g} cd/m²; DisplayLayer converts images in [0, 1] to luminance",
                LuminanceRangeWarning,
                stacklevel=2,
            )

    def initial_signals(self, light: Tensor, background: Tensor) -> Signals:
        """Input of the first station, for luminance and the field adapted to, both (B, 1, H, W) in cd/m².

        Both pass through the pupil: they are (B, H, W), in cd/m² seen through 9.3 mm².
        """
        if self.pupil:
            share = self.pupil_area(background) / PUPIL_AREA
            light, background = light * share, background * share
        return {"luminance": light[:, 0], "background": background[:, 0]}

    @staticmethod
    def pupil_area(background: Tensor) -> Tensor:
        """Area of the pupil in mm², (B, 1, 1, 1), for the mean of the field adapted to, (B, 1, H, W) in cd/m²."""
        return watson_yellott(background.mean(dim=(-2, -1), keepdim=True).clamp(min=_DARKEST))

    def advance(self, stations: Sequence[str], signals: Signals) -> Signals:
        """`signals` with those of some more stations, consecutive ones."""
        for station in stations:
            signals = signals | self._signals_of(station, signals)
        return signals

    def _signals_of(self, station: str, signals: Signals) -> Signals:
        if station == "cone":
            cone = self.cone(signals["luminance"], signals["background"])
            rest = self.cone.steady_state(signals["background"])
            static_change, static_rest = self.cone.static_change(signals["luminance"])
            return {
                "cone": cone,
                "cone_rest": rest,
                "cone_change": cone - rest,
                "static_cone_change": static_change,
                "static_cone_rest": static_rest,
            }
        if station == "horizontal":
            change, rest = self.horizontal(signals["cone_change"]), self.horizontal.steady_state(signals["cone_rest"])
            return {
                "horizontal": rest + change,
                "horizontal_rest": rest,
                "horizontal_change": change,
                "static_horizontal_change": self.horizontal.steady_state(signals["static_cone_change"]),
                "static_horizontal_rest": self.horizontal.steady_state(signals["static_cone_rest"]),
            }
        if station == "bipolar":
            afferents = ("cone_change", "horizontal_change", "horizontal_rest")
            contrast, rms = self.bipolar.static_contrast(*(signals[f"static_{name}"] for name in afferents))
            even = _is_even(signals["background"])
            return {
                "bipolar": self.bipolar(*(signals[name] for name in afferents)),
                "contrast": contrast.masked_fill(even, 0.0),
                "rms": rms.masked_fill(even[:, None], 0.0),
            }
        if station == "ganglion":
            return {station: self.ganglion(signals["bipolar"], signals["contrast"])}
        if station == "lgn":
            return {station: self.lgn(signals["ganglion"])}
        if station == "v1_input":
            contrast = self.evoked_contrast(signals)
            return {station: self.v1_input(self.relay_rates(signals), self.resting_relay_rates(), contrast)}
        return {station: self.v1(signals["v1_input"])}

    def relay_rates(self, signals: Signals) -> Tensor:
        """Rates (Hz) of relay cells per interval, (interval, B, 4, H, W)."""
        return self.lgn.rates(signals["lgn"], self.ganglion.maintained)

    def evoked_contrast(self, signals: Signals) -> Tensor:
        """Contrast (mV) that the synapses of midget and of parasol relay cells are adapted to, (B, 2)."""
        return self.ganglion.evoked_rms(signals["rms"], signals["contrast"])

    def resting_relay_rates(self) -> Tensor:
        """Rates (Hz) of relay cells for a constant field, (4, 1, 1)."""
        return self.lgn.steady_state(self.ganglion.maintained)

    def response(self, station: str, signals: Signals) -> Tensor:
        """Response of a station, (B, channels, h, w): the mean over the window."""
        if station == "v1":
            return signals["v1"]
        if station == "v1_input":
            return self.resting_relay_rates() + window_mean(signals["v1_input"])
        if station == "lgn":
            return self.lgn.mean_rates(signals["lgn"], self.ganglion.maintained)
        if station == "ganglion":
            # The rate of a silent cell is a sum that rounding can leave below 0.
            return (self.ganglion.maintained + window_mean(signals["ganglion"])).clamp_min(0)
        mean = window_mean(signals[station])
        return mean if mean.ndim == 4 else mean[:, None]

    def background(self, light: Tensor, background: Tensor | float | None = None) -> Tensor:
        """The field adapted to, (B, 1, H, W): `light` blurred by gaze, or a uniform field."""
        if background is None:
            if math.isinf(self.gaze_sd):
                return light.mean(dim=(-2, -1), keepdim=True).expand_as(light)
            if self.gaze_sd == 0:
                return light
            sigma = self.gaze_sd * self.pixels_per_degree
            return separable(light, gaussians(constant((sigma,), light), int(TRUNCATION * sigma + 0.5))[0], "replicate")
        if isinstance(background, Tensor):
            return background.to(light).expand_as(light)
        level = background if isinstance(background, float) else as_number(background, "cd/m²", "background")
        if not 0 <= level < float("inf"):
            raise _refusal("background", level)
        return torch.full_like(light, level)

    def kernel(self, background: float = 100.0, contrast: float = 0.0, size: int = 41, seed: int = 0) -> Tensor:
        """Equivalent kernels: the Jacobian of the central unit of each channel with respect to luminance.

        The pupil has the area for the background, also where the image has contrast.

        Parameters
        ----------
        background : float
            Uniform field adapted to, cd/m².
        contrast : float
            RMS contrast of the image, binary noise with the background as its mean; 0 to 1.
        size : int
            Pixels along a side; 1 plus a multiple of 4, so that every station has a unit in the centre.
        seed : int
            Seed of the noise.

        Returns
        -------
        Tensor, (K, size, size)
            Hz per cd/m².
        """
        image = probe(background, contrast, size, seed)
        light = torch.tensor(image, dtype=next(self.parameters()).dtype, device=next(self.parameters()).device)
        light = light[None, None].requires_grad_()
        middle = (size // 2) // (STRIDE if self.output == "v1" else 1)
        with torch.enable_grad():
            out = self(light, background)
            rows = [
                torch.autograd.grad(out[0, k, middle, middle], light, retain_graph=True)[0][0, 0]
                for k in range(out.shape[1])
            ]
        return torch.stack(rows).detach()

    def config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        v1: dict[str, Any] = {}
        if self.output == "v1":
            v1 = {"orientations": self.v1.orientations, "parasol": self.v1.parasol, "spiking": self.v1.spiking}
        return {
            "pixels_per_degree": self.pixels_per_degree,
            "channels": self.station_channels,
            "output": self.output,
            "gaze_sd": self.gaze_sd,
            "metadata": self.metadata,
            "ablations": list(self.ablations),
            "pupil": self.pupil,
        } | v1

    def untrained(self, **changes: Any) -> FrontEnd:
        """A front end of the same configuration with some changes, and with initial weights; on the same device."""
        config = self.config() | changes
        stations = STATIONS[: STATIONS.index(config["output"]) + 1]
        config["ablations"] = [name for name in config["ablations"] if name in available(stations)]
        return FrontEnd(**config).to(self.cone.log_gain)

    def replace(self, **changes: Any) -> FrontEnd:
        """A copy with some changes to the configuration, and with these weights.

        Parameters
        ----------
        **changes
            Arguments of the constructor that keep the shape of the weights.

        Examples
        --------
        >>> import bridge
        >>> bridge.pretrained(output="lgn").replace(gaze_sd=0.1).gaze_sd
        0.1
        """
        other = self.untrained(**changes)
        other.load_state_dict({name: t for name, t in self.state_dict().items() if name in other.state_dict()})
        for name, parameter in other.named_parameters():
            parameter.requires_grad_(self.get_parameter(name).requires_grad)
        return other

    def truncated(self, output: str) -> FrontEnd:
        """This front end, or a copy that ends at an earlier station of `OUTPUTS`."""
        one_of(output, [name for name in OUTPUTS if name in self.stations], "output")
        return self if output == self.output else self.replace(output=output)

    def save(self, path: str | Path) -> None:
        """Write weights and metadata to a safetensors file, atomically."""
        config = {"without" if name == "ablations" else name: value for name, value in self.config().items()}
        io.write(local_path(path), dict(self.state_dict()), config)

    def to_onnx(self, path: str | Path, height: int, width: int) -> None:
        """Write an ONNX file for the default background, compared with onnxruntime; see `bridge.onnx.write_onnx`."""
        onnx.write_onnx(self, local_path(path), height, width)

    @staticmethod
    def load(path: str | Path) -> FrontEnd:
        """Read a front end that `save` wrote.

        Raises
        ------
        InputError
            For a file that cannot be read, is damaged, holds no front end, or has another version.
        """
        path = local_path(path)
        tensors, config = io.read(path)
        front_end = FrontEnd(ablations=config.pop("without"), **config)
        try:
            front_end.load_state_dict(tensors)
        except RuntimeError as error:
            reason = str(error).splitlines()[-1].strip()
            raise InputError(f"{path} must hold the weights of a front end: {reason}") from None
        return front_end


def _is_even(field: Tensor) -> Tensor:
    """Whether each field (B, H, W) is uniform, (B,)."""
    return field.amax(dim=(-2, -1)) == field.amin(dim=(-2, -1))


def _refusal(name: str, value: float) -> InputError:
    return InputError(f"{name} must be finite and at least 0 cd/m², got {value:g}")


def _full_precision(like: Tensor) -> AbstractContextManager[object]:
    """A context without autocast on the device of a tensor."""
    device = like.device.type
    if torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device):
        return torch.autocast(device, enabled=False)
    return nullcontext()


class DisplayLayer(nn.Module):
    """Images on a display as luminance, the layer form of `biomodel.Display.show`.

    Input: uint8 codes, or floating-point sRGB codes in [0, 1], (B, 1 or 3, H, W). Output: light in cd/m² of the same shape;
    three channels sum to luminance. Codes outside [0, 1] by less than half an 8-bit code, a rounding error, count as 0 or 1.
    Others raise `biomodel.InputError`; on an accelerator after the first batch, and in compiled and exported modules, they
    become NaN. An overshoot of resizing needs ``images.clamp(0, 1)``.

    Parameters
    ----------
    display : biomodel.Display

    Examples
    --------
    >>> import biomodel, bridge, torch
    >>> layer = bridge.DisplayLayer(biomodel.Display(peak=200, black=6))
    >>> layer(torch.tensor([0.0, 1.0]).view(1, 1, 1, 2)).flatten().tolist()
    [6.0, 200.0]
    """

    def __init__(self, display: Display) -> None:
        super().__init__()
        self.peak = float(display.peak)
        self.black = float(display.black)
        self._check = RangeCheck(-CODE_TOLERANCE, 1 + CODE_TOLERANCE)

    def forward(self, images: Tensor) -> Tensor:
        if images.ndim != 4 or images.shape[1] not in (1, 3):
            raise InputError(f"images must have shape (B, 1 or 3, H, W), got {tuple(images.shape)}")
        dtype = images.dtype
        if dtype == torch.uint8:
            dtype = torch.get_default_dtype()
            images = images.to(dtype) / 255
        elif not images.is_floating_point():
            raise InputError(f"images must be uint8 codes or floats in [0, 1], got {dtype}")
        with _full_precision(images):
            codes = images if dtype == torch.float64 else images.float()
            codes = self._check(codes, _code_refusal).clamp(0, 1)
            linear = torch.where(codes <= 0.04045, codes / 12.92, ((codes + 0.055) / 1.055) ** 2.4)
            light = self.black + (self.peak - self.black) * linear
            if light.shape[1] == 3:
                light = light * constant(SRGB_LUMINANCE, light)[:, None, None]
        return light.to(dtype)


def _code_refusal(value: float) -> InputError:
    return InputError(
        f"image values must be in [0, 1], got {value:g}: clamp an overshoot of resizing, and give 8-bit codes as uint8"
    )
