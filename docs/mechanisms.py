"""Draw docs/mechanisms.png: each mechanism, in the intact circuit and without it."""

import sys
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from biomodel import Pathway, Region
from biomodel.circuit.lesions import lesions_of
from biomodel.physiology import measures
from biomodel.physiology.column import Column
from biomodel.physiology.plots.style import BAND, MUTED, PUBLISHED, frame, save, set_log_axis
from biomodel.physiology.recording import CELLS, FRAME, FULL_CONTRAST, MEAN, STEADY, Electrode, rate_of
from biomodel.physiology.screens import Screen, flicker, frame_times
from biomodel.physiology.v1 import EXPERIMENTS
from biomodel.physiology.v1_gain import EXPERIMENTS as GAIN_EXPERIMENTS

#: Curves of the intact circuit and of that without a mechanism: they differ in hue, dashes and markers.
INTACT: dict[str, Any] = {"color": "#00798c", "linestyle": "-", "marker": "o", "markersize": 4, "linewidth": 1.4}
WITHOUT: dict[str, Any] = INTACT | {"color": "#d1495b", "linestyle": "--", "marker": "s", "markerfacecolor": "white"}
STYLES = (INTACT, WITHOUT)

#: The other one of two stimuli or classes of cells in a panel.
OTHER: dict[str, Any] = {"marker": "^", "linewidth": 0.8}

#: Spatial frequencies in c/deg, and diameters in radii of the midget's centre, about those of experiments 7 and 11.
FREQUENCIES, DIAMETERS = 0.1 * 2 ** (np.arange(14) / 2), np.geomspace(2, 62, 13)

#: Fields of Weber's law, cd/m².
FIELDS = 10 ** np.arange(0.5, 3.6, 0.5)

#: Seconds from the end of the adaptor to each test, of a test and of a frame.
DELAYS, TEST, TEST_FRAME = np.array([0.3, 1, 2, 3, 4, 6, 8]), 0.5, 0.01

#: Temporal frequency in Hz of the adaptor and the tests, and contrast of the tests.
TEST_FREQUENCY, TEST_CONTRAST = 10, 0.05

#: Factors by which an even field is stepped up, and seconds over which the highest rate is averaged (experiment 32).
STEPS, BIN = np.array([1.05, 1.1, 1.2, 1.5, 2, 3, 5, 10, 20, 30]), 0.01

#: Electrodes in the intact circuit and in that without a mechanism.
Pair = tuple[Electrode, Electrode]


@cache
def best_frequency(electrode: Electrode, cells: str) -> float:
    """Spatial frequency, c/deg, with the highest response of ganglion cells, in the build that other panels use too."""
    responses = electrode.grating_responses(cells, FREQUENCIES, 0.25)["ganglion"]
    return measures.peak(FREQUENCIES, responses.mean(axis=0))[0]


def draw_cone_adaptation(axes: Axes, electrodes: Pair) -> list[float]:
    """Experiment 1 on more fields: change of a midget's rate by a spot of 10 % over its centre."""

    def measure(electrode: Electrode) -> np.ndarray:
        images = FIELDS[:, None, None] * (1 + 0.1 * electrode.wide.disc(electrode.midget_centre))
        return rate_of(electrode.rate_changes(electrode.wide, images, FIELDS, pixels=0.5), "ganglion", "midget_on")

    ratios = draw_over_fields(axes, electrodes, measure, (30.0, 3000.0), (-1.05, -0.8))
    label(axes, "midget ON, spot of 10 % for 200 ms", "field (cd/m²)", "change of rate (Hz)")
    return ratios


def draw_luminance_gain(axes: Axes, electrodes: Pair) -> list[float]:
    """Experiment 28 on more fields: first harmonic of parasol cells to spots over their centre that flicker by 10 %."""

    def measure(electrode: Electrode) -> np.ndarray:
        spot, course = electrode.movie.disc(electrode.parasol_centre), np.sin(2 * np.pi * 2 * electrode.times)
        movies = [flicker(spot, level, 0.1, course) for level in FIELDS]
        return parasol_harmonics(electrode, movies, FIELDS, np.full(len(FIELDS), 2))

    area = electrodes[0].pupil_area
    ratios = draw_over_fields(axes, electrodes, measure, (100 / area, 2000 / area), (-1.1, -0.8))
    label(axes, "parasol, spot that flickers by 10 % at 2 Hz", "field (cd/m²)", "first harmonic (Hz)")
    return ratios


def draw_over_fields(
    axes: Axes,
    electrodes: Pair,
    measure: Callable[[Electrode], np.ndarray],
    ends: tuple[float, float],
    slopes: tuple[float, float],
) -> list[float]:
    """Draw each circuit's responses on `FIELDS`, and published slopes of the gain through the intact circuit's.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
    electrodes : pair of Electrode
    measure : callable
        Responses (field,) at an electrode.
    ends, slopes : pair of float
        As in `draw_slopes`.

    Returns
    -------
    list of float
        Response on the darkest field over that on the brightest, of each circuit.
    """
    ratios = []
    for electrode, style in zip(electrodes, STYLES, strict=True):
        response = measure(electrode)
        axes.plot(FIELDS, response, **style)
        ratios.append(response[0] / response[-1])
        if style is INTACT:
            draw_slopes(axes, response, ends, slopes)
    set_log_axis(axes, "x", [3, 10, 30, 100, 300, 1000, 3000])
    return ratios


def draw_horizontal_feedback(axes: Axes, electrodes: Pair) -> list[float]:
    """Experiment 7: change of a midget's rate by flashed gratings, against spatial frequency."""
    shares = []
    for electrode, style in zip(electrodes, STYLES, strict=True):
        response = electrode.grating_responses("midget", FREQUENCIES, 0.25)["ganglion"].mean(axis=0)
        axes.plot(FREQUENCIES, response, **style)
        best, height = measures.peak(FREQUENCIES, response)
        if style is INTACT:
            tenth, radius = best / 10, electrode.radius
            published = measures.DifferenceOfGaussians(1, radius, 0.55, 6.7 * radius)(FREQUENCIES)
            draw_published(axes, FREQUENCIES, published * height / published.max())
            draw_range(axes, tenth, 0.35 * height, 0.65 * height)
        shares.append(measures.interpolate_log(tenth, FREQUENCIES, response) / height)
    label(axes, "midget, flashed grating of contrast .25", "spatial frequency (c/deg)", "change of rate (Hz)")
    set_log_axis(axes, "x", [0.1, 0.3, 1, 3, 10])
    return shares


def draw_contrast_gain(axes: Axes, electrodes: Pair) -> list[float]:
    """Experiment 29 on more frequencies: first harmonic over contrast of parasol cells, drifting gratings."""
    frequencies, contrasts, kept = np.array([1, 2, 4, 8, 16, 30]), np.array([0.08, 0.64]), []
    best = best_frequency(electrodes[0], "parasol")
    shown = [(f, c) for c in contrasts for f in frequencies]
    for electrode, style in zip(electrodes, STYLES, strict=True):
        movies = [MEAN * (1 + c * electrode.movie.grating(best, 2 * np.pi * f * electrode.times)) for f, c in shown]
        response = parasol_harmonics(electrode, movies, MEAN, np.array([f for f, _ in shown]))
        low, high = response.reshape(2, -1) / contrasts[:, None]
        axes.plot(frequencies, low, **(style | OTHER))
        axes.plot(frequencies, high, **style)
        kept.append(high[0] / low[0])
        if style is INTACT:
            draw_published(axes, frequencies, low * published_loss(frequencies))
    label(axes, "parasol, drifting grating", "temporal frequency (Hz)", "first harmonic / contrast (Hz)")
    set_log_axis(axes, "x", frequencies.tolist())
    axes.set_ylim(10, None)
    set_log_axis(axes, "y", [10, 20, 50, 100, 200, 500, 1000])
    add_legend(axes, "contrast .08", "contrast .64", "lower center")
    return kept


def published_loss(frequency: np.ndarray) -> np.ndarray:
    """Gain at contrast .64 over that at .08 of the median high-pass filters of Benardete & Kaplan 1999, mean of ON and OFF."""
    losses = []
    for strength, longest, half in ((1.0, 0.0373, 0.051), (0.97, 0.0576, 0.039)):
        time = longest / (1 + np.array([0.08, 0.64]) / half)
        gain = np.abs(1 - strength / (1 + 2j * np.pi * frequency[:, None] * time))
        losses.append(gain[:, 1] / gain[:, 0])
    return np.mean(losses, axis=0)


def draw_contrast_adaptation(axes: Axes, electrodes: Pair) -> list[float]:
    """Experiment 30 with a shorter adaptor and one contrast of tests: first harmonic of parasol relay cells."""
    return draw_after_contrast(axes, electrodes, "lgn", "parasol", 8.0, (1 / 5, 1 / 1.25))


def draw_synaptic_adaptation(axes: Axes, electrodes: Pair) -> list[float]:
    """The adaptor of experiment 31: first harmonic of the input that midget relay cells give to V1."""
    return draw_after_contrast(axes, electrodes, "v1_input", "midget", 30.0, (1 / 4, 1 / 2))


def draw_after_contrast(
    axes: Axes, electrodes: Pair, station: str, cells: str, adapting: float, kept_range: tuple[float, float]
) -> list[float]:
    """Draw responses to weak gratings at some seconds after a grating of full contrast, and after grey.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
    electrodes : pair of Electrode
    station, cells : str
        "lgn" or "v1_input", and the class of cells.
    adapting : float
        Duration of the adaptor, s.
    kept_range : pair of float
        Published range of the response after contrast over that after grey.

    Returns
    -------
    list of float
        Response after contrast over that after grey at the first delay, of each circuit.
    """
    screen = Screen(17, electrodes[0].movie.pixels_per_degree)
    shown = frame_times(adapting + DELAYS[-1] + TEST, TEST_FRAME)
    starts = adapting + DELAYS
    tests = TEST_CONTRAST * ((shown >= starts[:, None]) & (shown < starts[:, None] + TEST))
    courses = [np.where(shown < adapting, adaptor, test) for adaptor in (0, FULL_CONTRAST) for test in tests]
    grating = screen.grating(best_frequency(electrodes[0], cells), 2 * np.pi * TEST_FREQUENCY * shown)
    kept = []
    for electrode, style in zip(electrodes, STYLES, strict=True):
        movies = (flicker(grating, MEAN, 1.0, course) for course in courses)
        rates = electrode.movie_rates(movies, output=station, screen=screen, frame=TEST_FRAME)
        traces = np.stack([rate_of(rates, station, cell) for cell in CELLS[cells]])
        times, response = rates.time.values, []
        for k, start in enumerate(np.tile(starts, 2)):
            chosen = (times >= start) & (times < start + TEST)
            harmonic = measures.first_harmonic(traces[:, k, chosen], times[chosen], TEST_FREQUENCY)
            response.append(np.abs(harmonic).mean())
        grey, contrast = np.reshape(response, (2, -1))
        axes.plot(DELAYS, grey, **(style | OTHER))
        axes.plot(DELAYS, contrast, **style)
        kept.append(contrast[0] / grey[0])
        if style is INTACT:
            draw_range(axes, DELAYS[0], *(share * grey[0] for share in kept_range))
    name = {"lgn": "relay cells", "v1_input": "input of V1"}[station]
    label(
        axes, f"{cells} {name}, grating of contrast .05 at 10 Hz", "time after the adaptor (s)", "first harmonic (Hz)"
    )
    axes.set_xlim(0.22, 10.5)
    set_log_axis(axes, "x", [0.3, 1, 2, 4, 8])
    add_legend(axes, "after grey", f"after {adapting:g} s of full contrast", "lower right")
    return kept


def draw_remote_suppression(axes: Axes, electrodes: Pair) -> list[float]:
    """Experiment 33 with annuli of several inner diameters: parasol ganglion cells, relative to the grating alone."""
    first, times, suppression = electrodes[0], electrodes[0].times, []
    screen = Screen(2 * int(np.ceil(2 * first.movie.pixels_per_degree)) + 1, first.movie.pixels_per_degree)
    frequency, diameter = first.best_frequency("parasol"), first.best_diameter("parasol")
    centre = 0.4 * screen.disc(diameter) * screen.grating(frequency, 2 * np.pi * 4 * times)
    inner = np.geomspace(2 * diameter, 3.5, 6)
    annuli = [
        FULL_CONTRAST * (1 - screen.disc(one)) * screen.grating(frequency, 2 * np.pi * 6 * times) for one in inner
    ]
    movies = [MEAN * (1 + centre), *(MEAN * (1 + centre + one) for one in annuli)]
    for electrode, style in zip(electrodes, STYLES, strict=True):
        rates = electrode.movie_rates(movies, output="ganglion", screen=screen).sel(
            time=slice(STEADY - FRAME / 2, None)
        )
        traces = np.stack([rate_of(rates, "ganglion", cell) for cell in CELLS["parasol"]])
        response = np.abs(measures.first_harmonic(traces, rates.time.values, 4)).mean(axis=0)
        axes.plot(inner, response[1:] / response[0], **style)
        suppression.append(1 - response[1] / response[0])
        if style is INTACT:
            draw_range(axes, inner[0], 0.35, 0.65)
    label(
        axes,
        "parasol, grating of 4 Hz with an annulus of 6 Hz",
        "inner diameter (°)",
        "share of the response without it",
    )
    set_log_axis(axes, "x", [0.5, 1, 2, 4])
    return suppression


def draw_depression(axes: Axes, electrodes: Pair) -> list[float]:
    """Input of V1 from parasol cells, against the contrast of drifting gratings of 4 Hz: first harmonic."""
    contrasts, responses = np.array([0.02, 0.05, 0.1, 0.2, 0.4, 0.8]), []
    best = best_frequency(electrodes[0], "parasol")
    for electrode, style in zip(electrodes, STYLES, strict=True):
        grating = electrode.movie.grating(best, 2 * np.pi * 4 * electrode.times)
        rates = electrode.movie_rates([MEAN * (1 + c * grating) for c in contrasts], output="v1_input")
        rates = rates.sel(time=slice(STEADY - FRAME / 2, None))
        traces = np.stack([rate_of(rates, "v1_input", cell) for cell in CELLS["parasol"]])
        response = np.abs(measures.first_harmonic(traces, rates.time.values, 4)).mean(axis=0)
        axes.plot(contrasts, response, **style)
        responses.append(response[-1])
    label(axes, "parasol input of V1, drifting grating of 4 Hz", "contrast", "first harmonic (Hz)")
    set_log_axis(axes, "x", [0.02, 0.05, 0.1, 0.2, 0.5])
    return responses


def draw_push_pull(axes: Axes, electrodes: Pair) -> list[float]:
    """Experiment 16: orientation tuning of simple cells."""
    return draw_experiment(axes, electrodes, 16, "circular_variance", "simple cells, flashed gratings")


def draw_normalisation(axes: Axes, electrodes: Pair) -> list[float]:
    """Experiment 39: response to a stationary grating, over time."""
    return draw_experiment(axes, electrodes, 39, "v1_onset_decay", "V1, stationary grating of contrast .8")


def draw_surround(axes: Axes, electrodes: Pair) -> list[float]:
    """Experiment 22: responses to patches of grating, by diameter, at the higher contrast."""
    found = draw_experiment(axes, electrodes, 22, "surround_suppression", "V1, patches of flashed grating", curve=1)
    set_log_axis(axes, "x", [0.25, 0.5, 1, 2, 4, 8])
    return found


def draw_experiment(axes: Axes, electrodes: Pair, number: int, key: str, stimulus: str, curve: int = 0) -> list[float]:
    """Draw one curve of an experiment in V1.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
    electrodes : pair of Electrode
    number, key : int, str
        The experiment, and the statistic to return.
    stimulus : str
        Written above the panel.
    curve : int
        Which of its curves.

    Returns
    -------
    list of float
        The statistic in each circuit.
    """
    values = []
    for electrode, style in zip(electrodes, STYLES, strict=True):
        found = (EXPERIMENTS | GAIN_EXPERIMENTS)[number](Column(electrode))
        drawn = found.curves[curve]
        axes.plot(drawn.x, drawn.y, **(style | ({"marker": ""} if len(drawn.x) > 40 else {})))
        values.append(found.values[key])
    label(axes, stimulus, found.x_label, found.y_label)
    return values


def draw_limit_to_rates(axes: Axes, electrodes: Pair) -> list[float]:
    """Rate against excitation in closed form, and highest rates after steps of an even field against the highest excitation."""
    parameters, excitation, highest = electrodes[0].subject.parameters, np.linspace(-60, 400, 300), []
    for cells, style in (("midget", OTHER), ("parasol", {})):
        maintained = parameters.value(f"ganglion.{cells}_on_maintained")
        recovery = parameters.value(f"ganglion.{cells}_recovery_time") / 1000
        spared = 1 - recovery * maintained
        free = np.maximum((maintained + excitation / spared) / spared, 0)
        axes.plot(excitation, free / (1 + recovery * free), **(INTACT | style | {"marker": ""}))
        axes.plot(excitation, np.maximum(maintained + excitation, 0), **(WITHOUT | style | {"marker": ""}))
        limited, unlimited = (highest_rates(electrode, f"{cells}_on") for electrode in electrodes)
        axes.plot(unlimited - maintained, limited, **(INTACT | style | {"linestyle": "", "markersize": 5}))
        highest = [limited[-1], unlimited[-1]]
    draw_range(axes, highest[1] - maintained, 100, 400)
    label(axes, "ON cells, steps of an even field", "excitation (Hz)", "rate (Hz)")
    add_legend(axes, "midget", "parasol", "upper left")
    return highest


def highest_rates(electrode: Electrode, cell: str) -> np.ndarray:
    """Highest rate of a ganglion cell in bins of 10 ms after each step of an even field, Hz."""
    screen = electrode.wide
    images = MEAN * STEPS[:, None, None] * np.ones((screen.pixels, screen.pixels))
    settings: dict[str, Any] = {"output": "lgn", "record": "trace", "region": Region(screen.one_pixel)}
    rates = electrode.flash(screen, images, [MEAN] * len(images), **settings)
    samples = round(BIN / float(rates.time[1] - rates.time[0]))
    return rate_of(rates, "ganglion", cell).reshape(len(images), -1, samples).mean(axis=2).max(axis=1)


def draw_relay_suppression(axes: Axes, electrodes: Pair) -> list[float]:
    """Experiment 11: change of the rate of parasol relay cells by patches of grating, against their diameter."""
    diameters, suppression = electrodes[0].radius * DIAMETERS, []
    best = best_frequency(electrodes[0], "parasol")
    for electrode, style in zip(electrodes, STYLES, strict=True):
        response = electrode.grating_responses("parasol", best, 0.25, diameters=diameters)["lgn"].mean(axis=0)
        axes.plot(diameters, response, **style)
        suppression.append(measures.suppression_index(response))
        if style is INTACT:
            draw_range(axes, diameters[-1], 0.3 * response.max(), 0.65 * response.max())
    label(axes, "parasol relay cells, patch of grating, contrast .25", "diameter (°)", "change of rate (Hz)")
    set_log_axis(axes, "x", [0.1, 0.3, 1, 3])
    return suppression


def parasol_harmonics(
    electrode: Electrode, movies: Iterable[np.ndarray], levels: np.ndarray | float, frequencies: np.ndarray
) -> np.ndarray:
    """First harmonics (movie,) of parasol ganglion cells at each movie's frequency in Hz, means of ON and OFF, Hz."""
    rates = electrode.movie_rates(movies, levels, "ganglion").sel(time=slice(STEADY - FRAME / 2, None))
    traces = np.stack([rate_of(rates, "ganglion", cell) for cell in CELLS["parasol"]], axis=1)
    each = [measures.first_harmonic(pair, rates.time.values, f) for pair, f in zip(traces, frequencies, strict=True)]
    return np.abs(each).mean(axis=1)


def draw_slopes(axes: Axes, response: np.ndarray, ends: tuple[float, float], slopes: tuple[float, float]) -> None:
    """Draw the responses that published slopes of the gain to light allow, through the middle of a curve over `FIELDS`.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
    response : numpy.ndarray, (field,)
        The measured curve.
    ends : pair of float
        Lowest and highest field of the published range, cd/m².
    slopes : pair of float
        Of log gain on log field; the response is the gain times the field.
    """
    x = np.geomspace(*ends, 30)
    middle = np.sqrt(ends[0] * ends[1])
    height = measures.interpolate_log(middle, FIELDS, response)
    axes.fill_between(x, *(height * (x / middle) ** (1 + slope) for slope in slopes), color=BAND, linewidth=0, zorder=0)


def draw_range(axes: Axes, x: float, low: float, high: float) -> None:
    """Draw a published range at one place."""
    axes.plot([x, x], [low, high], color=BAND, linewidth=9, solid_capstyle="butt", zorder=0)


def draw_published(axes: Axes, x: np.ndarray, y: np.ndarray) -> None:
    """Draw a published curve."""
    axes.plot(x, y, ":", color=PUBLISHED, linewidth=1.6)


def label(axes: Axes, stimulus: str, x: str, y: str) -> None:
    """Write the stimulus above a panel and the names of its axes; the vertical one begins at 0."""
    axes.text(0, 1.03, stimulus, transform=axes.transAxes, fontsize=8.5, color=MUTED)
    axes.set_xlabel(x, fontsize=9.5, labelpad=2)
    axes.set_ylabel(y, fontsize=9.5, labelpad=2)
    axes.margins(y=0.1)
    axes.set_ylim(0, None)


def add_legend(axes: Axes, other: str, first: str, place: str) -> None:
    """Name the two markers of a panel."""
    plain: dict[str, Any] = {"color": MUTED, "linestyle": "", "markersize": 5}
    handles = [Line2D([], [], marker="^", label=other, **plain), Line2D([], [], marker="o", label=first, **plain)]
    axes.legend(handles=handles, fontsize=8.5, frameon=False, loc=place, handletextpad=0.2, borderaxespad=0.2)


class Panel(NamedTuple):
    """A panel: its title, the lesion (None: recovery times are 0), its statistic, and the function that measures and draws."""

    title: str
    lesion: str | None
    statistic: str
    draw: Callable[[Axes, Pair], list[float]]


PANELS = (
    Panel("cone adaptation", "cone_adaptation", "response at 3 over that at 3,000 cd/m²", draw_cone_adaptation),
    Panel("luminance gain", "luminance_gain", "response at 3 over that at 3,000 cd/m²", draw_luminance_gain),
    Panel(
        "horizontal feedback",
        "horizontal_feedback",
        "response at a tenth of the best frequency over that at the best",
        draw_horizontal_feedback,
    ),
    Panel("contrast gain control", "contrast_gain", "gain at .64 over that at .08, at 1 Hz", draw_contrast_gain),
    Panel(
        "contrast adaptation",
        "contrast_adaptation",
        ".3 s after the adaptor, response after contrast over that after grey",
        draw_contrast_adaptation,
    ),
    Panel("limit to rates", None, "highest rate after a thirtyfold step, parasol ON, Hz", draw_limit_to_rates),
    Panel("remote suppression", "remote_suppression", "suppression by the annulus of exp. 33", draw_remote_suppression),
    Panel(
        "suppressive field of the relay", "lgn_suppression", "suppression by the largest patch", draw_relay_suppression
    ),
    Panel(
        "depression of V1's synapses",
        "thalamocortical_depression",
        "first harmonic at contrast .8, Hz",
        draw_depression,
    ),
    Panel(
        "contrast adaptation of V1's synapses",
        "thalamocortical_adaptation",
        ".3 s after the adaptor, response after contrast over that after grey",
        draw_synaptic_adaptation,
    ),
    Panel("push-pull", "push_pull", "circular variance, median", draw_push_pull),
    Panel("normalisation", "normalisation", "time constant of the decay, ms", draw_normalisation),
    Panel("surround suppression", "surround_suppression", "suppression index at contrast .98, median", draw_surround),
)

#: Cell types of V1 in the panels of its mechanisms.
KINDS = {"v1.kinds": 16}


def without(lesion: str | None) -> Electrode:
    """An electrode in the circuit without a mechanism."""
    if lesion is None:
        return Electrode(Pathway(parameters={f"ganglion.{cells}_recovery_time": 0.0 for cells in CELLS}), workers=2)
    return Electrode(Pathway(lesions=[lesion], parameters=parameters_of(lesion)), workers=2)


def parameters_of(lesion: str | None) -> dict[str, float]:
    """Parameters that differ from the preset: fewer cell types for mechanisms of V1."""
    return KINDS if lesion in lesions_of("v1") else {}


def main(path: Path) -> None:
    """Simulate each circuit, print the statistic of each panel, and draw."""
    intact, with_v1 = Electrode(Pathway(), workers=2), Electrode(Pathway(parameters=KINDS), workers=2)
    figure, grid = plt.subplots(4, 4, figsize=(16, 15))
    for number, (panel, axes) in enumerate(zip(PANELS, grid.flat, strict=False), 1):
        whole = with_v1 if parameters_of(panel.lesion) else intact
        found = panel.draw(axes, (whole, without(panel.lesion)))
        print(f"{panel.title}: {panel.statistic}: {found[0]:.3g}, without {found[1]:.3g}", flush=True)
        axes.set_title(f"{number}  {panel.title}", fontsize=12, loc="left", pad=20)
        frame(axes, 8.5)
    handles = [
        Line2D([], [], label="intact circuit", **INTACT),
        Line2D([], [], label="without the mechanism", **WITHOUT),
        Patch(color=BAND, label="published range"),
        Line2D([], [], linestyle=":", linewidth=1.6, color=PUBLISHED, label="published curve"),
    ]
    for axes in grid.flat[len(PANELS) :]:
        axes.axis("off")
    grid.flat[len(PANELS)].legend(
        handles=handles, fontsize=12, frameon=False, loc="center", handlelength=3, labelspacing=1
    )
    figure.subplots_adjust(left=0.04, right=0.99, top=0.96, bottom=0.04, wspace=0.27, hspace=0.42)
    save(figure, path)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_name("mechanisms.png"))
