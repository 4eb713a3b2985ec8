"""`FrontEnd`: the twins in a row, luminance in, rates out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from biomodel import Display
from biomodel.adaptation import GAZE_SD, TRUNCATION
from biomodel.analysis.equivalent_kernels import probe
from biomodel.stimuli import SRGB_LUMINANCE, positive
from biomodel.utils.errors import InputError
from bridge import io, onnx
from bridge.model.ablation import MECHANISMS, take_out
from bridge.model.convolution import gaussians, separable
from bridge.model.stages import LGN, STRIDE, V1, Bipolar, Cone, Ganglion, Horizontal, recorded

#: The stations that have a twin, in order.
STATIONS = ("cone", "horizontal", "bipolar", "ganglion", "lgn", "v1")

#: The relay's channels.
RELAY = ("midget_on", "midget_off", "parasol_on", "parasol_off")

#: Stations at which a front end can end.
OUTPUTS = ("lgn", "v1")

#: What the twins have said so far, by name: maps that later stations read.
State: TypeAlias = dict[str, Tensor]


class FrontEnd(nn.Module):
    """A differentiable retina, LGN and, with ``output="v1"``, V1.

    Parameters
    ----------
    pixels_per_degree : float
    channels : dict of str to list of str
        Labels of each station's channels, in order; those of "lgn", and of "v1" for that output, are needed.
    output : {"lgn", "v1"}
    gaze_sd : float
        Degrees over which gaze wanders: the blur of the default background; 0 to infinity.
    metadata : dict, optional
        What it was fitted on, and how well; saved beside the weights.
    orientations : sequence of float, optional
        Degrees that each kind of V1 cells prefers; by default all 0.
    parasol : sequence of bool, optional
        Which kinds hear parasol cells; by default none.
    without : sequence of str
        Mechanisms that it lacks, of `bridge.model.ablation`.
    spiking : bool
        Whether its V1 stands for cells that spike (`bridge.model.stages`); without V1 it is the same.

    Raises
    ------
    InputError
        For an unknown output or mechanism, for labels, orientations or classes that are not as many as there are cells.
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
        without: Sequence[str] = (),
        spiking: bool = False,
    ) -> None:
        super().__init__()
        if output not in OUTPUTS:
            raise InputError(f"unknown output {output!r}: accepted are {', '.join(OUTPUTS)}")
        self.pixels_per_degree = positive(pixels_per_degree, "pixels_per_degree", "1")
        self.output = output
        self.gaze_sd = float(gaze_sd)
        self.station_channels = {name: list(labels) for name, labels in channels.items()}
        self.metadata = dict(metadata or {})
        self.without = tuple(without)
        self.station_channels.setdefault("lgn", list(RELAY))
        if len(self.station_channels["lgn"]) != len(RELAY):
            raise InputError(f"lgn channels {self.station_channels['lgn']} are not accepted: give {len(RELAY)} labels")
        self.cone = Cone()
        self.horizontal = Horizontal(self.pixels_per_degree)
        self.bipolar = Bipolar(self.pixels_per_degree)
        self.ganglion = Ganglion(self.pixels_per_degree)
        self.lgn = LGN(self.pixels_per_degree)
        if output == "v1":
            kinds = len(self.station_channels["v1"]) // 2
            angles = [0.0] * kinds if orientations is None else list(orientations)
            classes = [False] * kinds if parasol is None else list(parasol)
            for what, given in (("orientations", angles), ("parasol", classes)):
                if len(given) != kinds:
                    raise InputError(f"{len(given)} {what} of {kinds} kinds are not accepted: give one each")
            self.v1 = V1(angles, self.pixels_per_degree, spiking=spiking)
            self.v1.hear(classes)
        take_out(self, self.stations, self.without)

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

        Parameters
        ----------
        luminance : Tensor, (B, 1 or 3, H, W)
            cd/m²; three channels are light that sums to luminance.
        background : Tensor (B, 1, H, W), float or None
            The field adapted to, cd/m²: None is the field that wandering gaze leaves, a number an even field.

        Returns
        -------
        Tensor, (B, K, h, w)
            Hz; in the shape, order and with the edges of the simulated station.

        Raises
        ------
        InputError
            For another shape, and for luminance that is negative, infinite or NaN.
        """
        return self.response(self.output, self._followed(luminance, background))

    def responses(self, luminance: Tensor, background: Tensor | float | None = None) -> dict[str, Tensor]:
        """The response of every station, by name, each (B, channels, h, w) in its own unit."""
        state = self._followed(luminance, background)
        return {name: self.response(name, state) for name in self.stations}

    def _followed(self, luminance: Tensor, background: Tensor | float | None) -> State:
        light = self._checked(luminance)
        state = self.presented(light, self.background(light, background))
        for station in self.stations:
            state = self.advance(station, state)
        return state

    @staticmethod
    def presented(light: Tensor, background: Tensor) -> State:
        """The state before the first station: luminance and the field adapted to, both (B, 1, H, W)."""
        return {"luminance": light[:, 0], "background": background[:, 0]}

    def advance(self, station: str, state: State) -> State:
        """`state` with what one more station says of it."""
        if station == "cone":
            cone, settled = self.cone(state["luminance"], state["background"]), self.cone.settled(state["background"])
            return state | {"cone": cone, "cone_settled": settled, "cone_change": cone - settled}
        if station == "horizontal":
            change, settled = self.horizontal(state["cone_change"]), self.horizontal.settled(state["cone_settled"])
            return state | {
                "horizontal": settled + change,
                "horizontal_settled": settled,
                "horizontal_change": change,
            }
        if station == "bipolar":
            told = self.bipolar(state["cone_change"], state["horizontal_change"], state["horizontal_settled"])
        elif station == "ganglion":
            told = self.ganglion(state["bipolar"])
        elif station == "lgn":
            told = self.lgn(state["ganglion"])
        else:
            told = self.v1(self.relay(state), self.lgn.settled(self.ganglion.maintained))
        return state | {station: told}

    def relay(self, state: State) -> Tensor:
        """Rates of relay cells part by part, (PARTS, B, 4, H, W)."""
        return self.lgn.rates(state["lgn"], self.ganglion.maintained)

    def response(self, station: str, state: State) -> Tensor:
        """What is recorded of a station, (B, channels, h, w): the mean over the window."""
        if station == "v1":
            return state["v1"]
        if station == "lgn":
            return self.lgn.recorded(state["lgn"], self.ganglion.maintained)
        if station == "ganglion":
            return self.ganglion.maintained + recorded(state["ganglion"])
        mean = recorded(state[station])
        return mean if mean.ndim == 4 else mean[:, None]

    def background(self, light: Tensor, background: Tensor | float | None = None) -> Tensor:
        """The field adapted to, (B, 1, H, W): `light` blurred by gaze, or an even field."""
        if background is None:
            if math.isinf(self.gaze_sd):
                return light.mean(dim=(-2, -1), keepdim=True).expand_as(light)
            if self.gaze_sd == 0:
                return light
            sigma = self.gaze_sd * self.pixels_per_degree
            width = torch.tensor([sigma], dtype=light.dtype, device=light.device)
            return separable(light, gaussians(width, int(TRUNCATION * sigma + 0.5))[0], "replicate")
        if isinstance(background, Tensor) and background.ndim == 4:
            return background.to(light).expand_as(light)
        level = float(background)
        if not 0 <= level < float("inf"):
            raise InputError(f"background = {level:g} cd/m² is not accepted: give a luminance of 0 or more, or None")
        return torch.full_like(light, level)

    def _checked(self, luminance: Tensor) -> Tensor:
        if luminance.ndim != 4 or luminance.shape[1] not in (1, 3):
            raise InputError(f"luminance of shape {tuple(luminance.shape)} is not accepted: give (B, 1 or 3, H, W)")
        if not torch.compiler.is_compiling() and not bool(((luminance >= 0) & luminance.isfinite()).all()):
            raise InputError("negative, infinite or NaN luminance is not accepted: luminance is finite and 0 or more")
        return luminance.sum(dim=1, keepdim=True)

    def kernel(self, background: float = 100.0, contrast: float = 0.0, size: int = 41, seed: int = 0) -> Tensor:
        """Equivalent kernels: how the central unit of each channel answers a little more light at each pixel.

        The Jacobian of the response at a state: adapted to an even `background`, looking at binary noise of that mean
        and of RMS contrast `contrast`.

        Parameters
        ----------
        background : float
            cd/m².
        contrast : float
            0 to 1.
        size : int
            Pixels along a side; one more than a multiple of 4, so that a unit of every station stands in the middle.
        seed : int
            Of the noise.

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

    def description(self) -> dict[str, Any]:
        """What a front end is made from, beside its weights: the constructor's arguments."""
        cortical: dict[str, Any] = {}
        if self.output == "v1":
            cortical = {"orientations": self.v1.orientations, "parasol": self.v1.parasol, "spiking": self.v1.spiking}
        return {
            "pixels_per_degree": self.pixels_per_degree,
            "channels": self.station_channels,
            "output": self.output,
            "gaze_sd": self.gaze_sd,
            "metadata": self.metadata,
            "without": [name for name in self.without if MECHANISMS[name].split(".")[0] in self.stations],
        } | cortical

    def altered(self, **changes: Any) -> FrontEnd:
        """A front end made from the same but for some changes; of the same type, on the same device, with weights of its own."""
        whole = self.description() | changes
        stations = STATIONS[: STATIONS.index(whole["output"]) + 1]
        whole["without"] = [name for name in whole["without"] if MECHANISMS[name].split(".")[0] in stations]
        return FrontEnd(**whole).to(self.cone.log_gain)

    def ending_at(self, output: str) -> FrontEnd:
        """This front end, or a copy that ends at an earlier station of `OUTPUTS`."""
        if output == self.output:
            return self
        if output not in self.stations:
            raise InputError(f"output = {output!r} is not accepted: this front end ends at {self.output}")
        other = self.altered(output=output)
        other.load_state_dict({name: t for name, t in self.state_dict().items() if name in other.state_dict()})
        for name, parameter in other.named_parameters():
            parameter.requires_grad_(self.get_parameter(name).requires_grad)
        return other

    def save(self, path: str | Path) -> None:
        """Write weights and metadata to a safetensors file, whole or not at all."""
        io.write(Path(path), dict(self.state_dict()), self.description())

    def to_onnx(self, path: str | Path, height: int, width: int) -> None:
        """Write an ONNX file, adapted to the field that gaze leaves, checked against onnxruntime; as `export.write_onnx`."""
        onnx.write_onnx(self, Path(path), height, width)

    @staticmethod
    def load(path: str | Path) -> FrontEnd:
        """Read a front end that `save` wrote.

        Raises
        ------
        InputError
            For a file that cannot be read, is damaged, no front end's, or of another version.
        """
        tensors, description = io.read(Path(path))
        front_end = FrontEnd(**description)
        try:
            front_end.load_state_dict(tensors)
        except RuntimeError as error:
            raise InputError(
                f"the weights in {path} do not fit a front end: {str(error).splitlines()[-1].strip()}"
            ) from None
        return front_end


class DisplayLayer(nn.Module):
    """Images in [0, 1], (B, 1 or 3, H, W), to luminance in cd/m², as `biomodel.Display.show` does.

    Parameters
    ----------
    display : biomodel.Display
    """

    def __init__(self, display: Display) -> None:
        super().__init__()
        self.peak = float(display.peak)
        self.black = float(display.black)

    def forward(self, images: Tensor) -> Tensor:
        linear = torch.where(images <= 0.04045, images / 12.92, ((images.clamp_min(0) + 0.055) / 1.055) ** 2.4)
        light = self.black + (self.peak - self.black) * linear
        if images.shape[1] == 3:
            light = light * torch.tensor(SRGB_LUMINANCE, dtype=light.dtype, device=light.device)[:, None, None]
        return light
