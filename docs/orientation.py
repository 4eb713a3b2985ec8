"""Draw docs/orientation.png: the orientation field of photographs in even and uneven light, and that of the derivative."""

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.colors import hsv_to_rgb
from scipy import ndimage

from biomodel import Display, Pathway, luminance, orientation_field
from biomodel.analysis.orientation import derivative_field
from biomodel.circuit.v1 import STRIDE
from biomodel.images import photographs
from studies.luminance.lights import LIGHTS, PIXELS_PER_DEGREE

#: Patches of photographs: pixels along a side, number, and indices of those that are drawn.
SIDE, PATCHES, SHOWN = 64, 26, (2, 4, 11)

#: Standard deviation of the derivative's Gaussian, degrees: about that of a V1 receptive field.
SCALE = 0.15

#: Standard deviation in degrees of the Gaussian for local contrast, and the least contrast of a place that is evaluated.
AROUND, COUNTED = 0.25, 0.1

LIT = {"even light": None, "10:1 gradient": "gradient", "10:1 shadow": "hard_shadow"}


def illuminate(patches: np.ndarray, light: str | None) -> np.ndarray:
    """Patches in a light of level 10; None is even light."""
    if light is None:
        return patches
    each = [LIGHTS[light].apply(patch, 10.0, np.random.default_rng([7, k])) for k, patch in enumerate(patches)]
    return np.stack(each)


def local_contrast(patches: np.ndarray) -> np.ndarray:
    """RMS contrast around every V1 column."""
    sigma = AROUND * PIXELS_PER_DEGREE
    mean = ndimage.gaussian_filter(patches, (0, sigma, sigma))
    square = ndimage.gaussian_filter(patches**2, (0, sigma, sigma))
    return (np.sqrt(np.maximum(square - mean**2, 0)) / mean)[:, ::STRIDE, ::STRIDE]


def angle_between(one: xr.Dataset, other: xr.Dataset) -> np.ndarray:
    """Angle between the orientations of two fields, degrees."""
    return np.abs((one.orientation.values - other.orientation.values + 90) % 180 - 90)


def as_colours(field: xr.Dataset, image: int) -> np.ndarray:
    """Show orientation as hue, and strength relative to the strongest places of the image as brightness."""
    strength = field.strength.values[image]
    strength = np.clip(strength / np.percentile(strength, 97), 0, 1)
    return hsv_to_rgb(
        np.stack([field.orientation.values[image] / 180, np.full_like(strength, 0.85), strength], axis=-1)
    )


def draw(
    light: dict[str, np.ndarray], fields: dict[str, xr.Dataset], slopes: dict[str, xr.Dataset], path: Path
) -> None:
    """Draw one photograph per row: in each light its luminance, V1's field and the derivative's.

    Parameters
    ----------
    light : dict of str to numpy.ndarray, (image, y, x)
        Luminance by name of the light.
    fields, slopes : dict of str to xarray.Dataset
        Fields of V1 and of the derivative.
    path : pathlib.Path
        The picture.
    """
    figure = plt.figure(figsize=(15, 1.72 * len(SHOWN) + 0.7))
    blocks = figure.add_gridspec(1, len(LIT), left=0.01, right=0.94, top=0.87, bottom=0.02, wspace=0.05)
    for block, name in zip(blocks, LIT, strict=True):
        axes = block.subgridspec(len(SHOWN), 3, wspace=0.04, hspace=0.04).subplots()
        for row, image in zip(axes, SHOWN, strict=True):
            row[0].imshow(np.log10(light[name][image]), cmap="gray")
            row[1].imshow(as_colours(fields[name], image))
            row[2].imshow(as_colours(slopes[name], image))
        for axis, title in zip(axes[0], ("log luminance", "V1's field", "derivative's field"), strict=True):
            axis.set_title(title, fontsize=10)
        for axis in axes.flat:
            axis.set(xticks=[], yticks=[])
        middle = block.get_position(figure)
        figure.text((middle.x0 + middle.x1) / 2, 0.945, name, ha="center", fontsize=14, weight="bold")
    wheel = figure.add_axes((0.945, 0.42, 0.052, 0.16), projection="polar")
    angle = np.linspace(0, np.pi, 90)
    wheel.pcolormesh(angle, [0.4, 1], np.linspace(0, 1, 89)[None], cmap="hsv", shading="flat")
    wheel.set(thetamin=0, thetamax=180, yticks=[], title="orientation")
    wheel.set_thetagrids([0, 90, 180], ["0°", "90°", ""], fontsize=9)
    wheel.title.set_fontsize(10)
    figure.savefig(path, dpi=100)


def main(path: Path) -> None:
    """Simulate, print how far the fields turn when the light becomes uneven, and draw."""
    patches = photographs(PATCHES, SIDE, Display(pixels_per_degree=PIXELS_PER_DEGREE), seed=11).values
    light = {name: illuminate(patches, kind) for name, kind in LIT.items()}
    scenes = {name: luminance(values, PIXELS_PER_DEGREE) for name, values in light.items()}
    pathway = Pathway()
    fields = {name: orientation_field(pathway.simulate(scene, workers=2)) for name, scene in scenes.items()}
    slopes = {
        name: derivative_field(scene, SCALE).isel(y=slice(None, None, STRIDE), x=slice(None, None, STRIDE))
        for name, scene in scenes.items()
    }
    counted = local_contrast(patches) > COUNTED
    for name in list(LIT)[1:]:
        for which, found in (("V1", fields), ("derivative", slopes)):
            change = angle_between(found[name], found["even light"])[counted]
            print(f"{name}, {which}: median {np.median(change):.1f}°, 90 % within {np.percentile(change, 90):.0f}°")
    difference = angle_between(fields["even light"], slopes["even light"])[counted]
    print(f"V1 against derivative, even light: median {np.median(difference):.1f}°")
    draw(light, fields, slopes, path)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_name("orientation.png"))
