"""Cells of V1: what is drawn, who excites and who inhibits, what they prefer."""

import json

import brian2
import numpy as np
import pytest
import xarray as xr
from brian2 import ms
from scipy import ndimage

from biomodel import Display, Pathway, luminance, orientation_field
from biomodel.analysis.orientation import derivative_field
from biomodel.circuit import v1
from biomodel.circuit.cell_types import REACH, SIZES, cell_types, preferences, published, surround_diameter
from biomodel.circuit.specification import V1_CLOCK
from biomodel.images import photographs
from biomodel.parameters import Parameters
from biomodel.physiology.screens import Screen
from bridge import pretrained
from bridge.evaluate.as_subject import FrontEndSubject
from studies.luminance.lights import LIGHTS


def test_draw_is_seeded_and_a_subset_is_the_beginning():
    few, many = (preferences(n, 3, 1.0, 5.3, "parafoveal") for n in (8, 40))
    assert few == many[:8]
    assert few != preferences(8, 4, 1.0, 5.3, "parafoveal")
    for orientation, phase, frequency, across, along, _ in many:
        assert 0 <= orientation < 180 and 0 <= phase < 360
        assert 0.35 <= frequency <= 5.3 and REACH * max(across, along) <= 1.0


def test_surrounds_spread_as_published():
    """Shares of the three sizes are those of the diameters of Cavanaugh et al. (2002) that are larger than each cell's field."""
    drawn = [Parameters("macaque_parafovea", {"v1.draw": draw}) for draw in range(6)]
    diameters = [4 * drawn[0].value(f"v1.{size}_surround_space_constant") for size in SIZES]
    histogram = published()["surround_diameter"]
    edges, below = np.log2(histogram["bins"]), np.cumsum([0, *histogram["counts"]]) / np.sum(histogram["counts"])
    # Where the nearest of the three changes, on a logarithmic scale: a third of the published cells has each size.
    bounds = [edges[0], *(np.log2(diameters[1:]) + np.log2(diameters[:-1])) / 2, edges[-1]]
    assert np.diff(np.interp(bounds, edges, below)) == pytest.approx(1 / 3, abs=0.04)
    cells = [cell for parameters in drawn for cell in cell_types(parameters, 16.0)]
    fields = np.log2([2 * REACH * max(cell.across, cell.along) for cell in cells])
    larger = np.diff(np.interp(np.maximum.outer(fields, bounds), edges, below))
    expected = (larger / larger.sum(axis=1, keepdims=True)).mean(axis=0)
    found = [np.mean([cell.surround == size for cell in cells]) for size in SIZES]
    # Four standard errors.
    assert found == pytest.approx(expected, abs=4 * np.sqrt(0.25 / len(cells)))


@pytest.mark.parametrize("draw", range(3))
def test_a_surround_is_larger_than_the_field(draw):
    random = np.random.default_rng(draw)
    for cell in preferences(64, draw, 1.0, 5.3, "parafoveal"):
        assert 2 * REACH * max(cell.across, cell.along) < surround_diameter(cell, random) <= 16


def test_some_tens_of_relay_cells_converge_on_a_simple_cell():
    cells = cell_types(Parameters("macaque_parafovea"), 16.0)
    assert len(cells) == 64
    afferents = [len(cell.afferents.weight) for cell in cells]
    assert 20 <= np.median(afferents) <= 90
    for cell in cells:
        assert cell.afferents.weight.min() > 0 and cell.afferents.weight.sum() == pytest.approx(1)


@pytest.mark.parametrize("draw", range(5))
def test_complex_cells_pool_two_places_about_a_quarter_of_a_cycle_apart(draw):
    missed = []
    for cell in cell_types(Parameters("macaque_parafovea", {"v1.draw": draw}), 16.0):
        here, there = v1.complex_pool_offsets(cell, 8.0)
        angle = np.deg2rad(cell.orientation)
        cycles = cell.frequency * (there[1] * np.sin(angle) + there[0] * np.cos(angle)) / 8
        assert here == (0, 0) != there and abs(cycles) < 1
        # With cells of both phases at either place, three quarters do as well as one.
        missed.append(abs(cycles % 0.5 - 0.25))
    # Half a cycle a column, in some direction, leaves a few kinds with neither.
    assert np.median(missed) < 0.05 and np.mean(np.array(missed) < 0.125) > 0.9


PRESYNAPTIC = {
    "v1_input": [f"sent_{cell}_{sign}" for cell in ("midget", "parasol") for sign in ("on", "off")],
    "v1": [
        f"{cell}_{k}"
        for cell in ("simple", "opposite", "complex", "inhibitory", "inhibitory_opposite")
        for k in range(3)
    ],
    "normalisation_midget": ["pooled"],
    "normalisation_parasol": ["pooled"],
    # Of the surrounds those with the sizes and bands of the kinds of the test.
    **{f"{size}_surround_{band}": ["pooled"] for size in ("near", "middle") for band in (45, 135)},
}


@pytest.fixture(scope="module")
def one_tick():
    """The rates of V1 one tick of its clock after a grating has come and reversed, some population's rate having been raised."""
    pathway = Pathway(target="numpy", parameters={"v1.kinds": 3})
    screen = Screen(33, 16.0)
    # The contrast is reversed after 50 ms: inhibitory cells still fire where their targets are excited by now.
    image = 100 * (1 + 0.9 * np.array([[1], [-1]])[:, None] * screen.grating(2.0, np.array([0.3])))
    preferred = brian2.prefs.codegen.target
    network = pathway.network(luminance(image[None], 16.0, 0.05), adapt_to=100.0)
    brian2.prefs.codegen.target = "numpy"
    network.run(90 * ms, namespace={})
    network.store("now")

    def tick(group=None, variable=None):
        network.restore("now")
        if group is not None:
            state = getattr(network[group], variable)
            setattr(network[group], variable, state[:] * 1.05)
        network.run(V1_CLOCK * pathway.dt * ms, namespace={})
        return {name: np.array(getattr(network["v1"], name)) for name in PRESYNAPTIC["v1"]}

    yield tick
    brian2.prefs.codegen.target = preferred


@pytest.mark.parametrize(
    ("group", "variable"), [(group, variable) for group, names in PRESYNAPTIC.items() for variable in names]
)
def test_no_cell_both_excites_and_inhibits(one_tick, group, variable):
    """Dale's law: raise one population's rates, or what relay cells' synapses send, for a tick: all it reaches moves one way."""
    before, after = one_tick(), one_tick(group, variable)
    name = {"v1_input": "relay", "v1": variable}.get(group, group)
    kind = next(part for part in name.split("_") if part in v1.SIGNS)
    moved = np.concatenate([(after[n] - before[n]) for n in before if (group, n) != ("v1", variable)])
    assert (v1.SIGNS[kind] * moved >= -1e-12).all()
    if kind != "complex":
        assert np.abs(moved).max() > 1e-9


@pytest.mark.parametrize("size", ["near", "middle"])
def test_a_surround_suppresses_the_types_of_its_size_only(one_tick, size):
    before, after = one_tick(), one_tick(f"{size}_surround_45", "pooled")
    cells = cell_types(Parameters("macaque_parafovea", {"v1.kinds": 3}), 16.0)
    changed = {k for k in range(3) for n in (f"simple_{k}", f"opposite_{k}") if not np.array_equal(before[n], after[n])}
    assert changed == {k for k, cell in enumerate(cells) if cell.surround == size}


SIDE = 48


class FittedPathway(FrontEndSubject):
    """The fitted front end, its responses labelled as those of the pathway are."""

    def simulate(self, *args, workers=1, **settings):
        labels = v1.coordinates(self.parameters, 16.0)
        values = json.dumps(self.parameters.values_by_name())
        attributes = {"preset": "macaque_parafovea", "parameters": values, "pixels_per_degree": 16.0}
        return super().simulate(*args, **settings).assign_coords(labels).assign_attrs(attributes)


@pytest.fixture(scope="module", params=["fitted", pytest.param("simulated", marks=[pytest.mark.all, pytest.mark.slow])])
def shown(request):
    """V1's responses to bars and gratings of known orientation, and to photographs under three lights."""
    pathway = Pathway() if request.param == "simulated" else FittedPathway(pretrained())
    random = np.random.default_rng(17)
    ys, xs = (np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2) / 16
    figures = []
    for contrast in (0.05, 0.1, 0.25, 0.5, 0.98):
        for form in ("grating", "bar") * 12:
            orientation, sign = random.uniform(0, 180), random.choice([-1, 1])
            across = xs * np.sin(np.deg2rad(orientation)) + ys * np.cos(np.deg2rad(orientation))
            if form == "grating":
                wave = np.cos(2 * np.pi * 2 ** random.uniform(0, 2) * across + random.uniform(0, 2 * np.pi))
            else:
                wave = sign * (np.abs(across) < random.uniform(0.15, 0.4) / 2)
            figures.append((contrast, form, orientation, 100 * (1 + contrast * wave)))
    patches = photographs(13, SIDE, Display(pixels_per_degree=16), seed=12).values
    lights = [
        patches,
        *(
            np.stack([LIGHTS[name].apply(p, 10.0, np.random.default_rng([7, k])) for k, p in enumerate(patches)])
            for name in ("gradient", "hard_shadow")
        ),
    ]
    flashed = pathway.simulate(luminance([f[-1] for f in figures], 16), adapt_to=100.0, workers=2)
    lit = [pathway.simulate(luminance(light, 16), workers=2) for light in lights]
    return figures, orientation_field(flashed), patches, [orientation_field(each) for each in lit]


def turned(one, other):
    """Degrees between orientations."""
    return np.abs((one - other + 90) % 180 - 90)


@pytest.mark.parametrize("contrast", [0.05, 0.1, 0.25, 0.5, 0.98])
@pytest.mark.parametrize("form", ["grating", "bar"])
def test_orientation_field_of_bars_and_gratings(shown, contrast, form):
    """Median within 5° of the true angle; of a bar, where it stands."""
    figures, field, _, _ = shown
    wrong = []
    for image, (c, f, orientation, _) in zip(field.orientation.values, figures, strict=True):
        if (c, f) != (contrast, form):
            continue
        y, x = field.v1_y.values[:, None], field.v1_x.values[None, :]
        across = x * np.sin(np.deg2rad(orientation)) + y * np.cos(np.deg2rad(orientation))
        # A border replicates its pixels, which are not the figure's.
        seen = (np.abs(y) < 1) & (np.abs(x) < 1) & ((np.abs(across) < 0.2) | (f == "grating"))
        wrong.append(turned(image, orientation)[seen])
    assert np.median(np.concatenate(wrong)) < 5


@pytest.mark.parametrize("light", [1, 2], ids=["gradient", "shadow"])
def test_orientation_field_of_photographs_keeps_when_the_light_is_uneven(shown, light):
    """Under a 10:1 gradient or shadow the field turns by less than 10° (median) where contrast is above 10 %."""
    _, _, patches, fields = shown
    mean = ndimage.gaussian_filter(patches, (0, 4, 4))
    contrast = np.sqrt(np.maximum(ndimage.gaussian_filter(patches**2, (0, 4, 4)) - mean**2, 0)) / mean
    seen = contrast[:, :: v1.STRIDE, :: v1.STRIDE] > 0.1
    change = turned(fields[light].orientation.values, fields[0].orientation.values)[seen]
    assert np.median(change) < 10


def test_derivative_field_of_a_ramp_stands_across_it():
    ys, xs = np.mgrid[:24, :24] / 16
    for orientation in (0.0, 30.0, 100.0):
        angle = np.deg2rad(orientation)
        # Light grows to the right-hand side of someone who looks along the orientation.
        ramp = luminance([50 + 10 * (xs * np.sin(angle) + ys * np.cos(angle))], 16)
        field = derivative_field(ramp, 0.1)
        assert np.allclose(field.orientation[0, 8:16, 8:16], orientation, atol=1e-6)
        assert np.allclose(field.strength[0, 8:16, 8:16], 10, rtol=2e-3)


def test_orientation_field_needs_v1():
    with pytest.raises(ValueError, match="v1"):
        orientation_field(xr.Dataset({"lgn": ("image", [1.0])}))
