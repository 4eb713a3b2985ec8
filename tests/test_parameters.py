from math import log, pi, sqrt

import pytest

from biomodel.parameters import FIDELITIES, PRESETS, Parameters
from biomodel.utils.errors import InputError
from biomodel.utils.units import UNITS

#: Digests of the parameters on which the shipped front ends rest.
DIGESTS = {
    ("macaque_parafovea", "rate"): "12cede4210415e5ee25c8086fb19575ce93a71ec69da1d6450b541e9b4e0adcc",
    ("macaque_parafovea", "spiking"): "b005b2ca7f77032706edef83c5d66e8fd555692372fb5f35b3187b2ce553c90c",
    ("macaque_fovea", "rate"): "6d5d47e5d39058cef070f50a12861c269e2eb6cd2e7b368d46bf17513fb2c95c",
    ("macaque_fovea", "spiking"): "f15606bb7c39cd9f95bb38f3253d41408f7d8f8e46b792c6d0a97f0aebc0ad0d",
}


@pytest.mark.parametrize(("preset", "fidelity"), [(p, f) for p in PRESETS for f in FIDELITIES])
def test_parameters_are_those_of_the_shipped_front_ends(preset, fidelity):
    assert Parameters(preset, fidelity=fidelity).digest == DIGESTS[preset, fidelity]


@pytest.mark.parametrize("preset", PRESETS)
def test_every_entry_is_complete_and_in_its_range(preset):
    for name, parameter in Parameters(preset, fidelity="spiking").items():
        assert parameter.unit in UNITS and parameter.source, name
        assert parameter.origin in ("published", "derived", "calibrated"), name
        assert parameter.low <= parameter.value <= parameter.high, name


@pytest.mark.parametrize("preset", PRESETS)
def test_derived_values_follow_the_formulas_of_their_sources(preset):
    p = Parameters(preset).values_by_name()
    centre, parasol = p["bipolar.midget_centre_radius"], p["bipolar.diffuse_centre_radius"]
    loop_gain = 0.55 / (1 - 0.55)
    formulas = {
        "horizontal.capacitance": 20 * p["horizontal.leak"],
        "horizontal.coupling": p["horizontal.leak"] * (1 + loop_gain) * (3.35 * centre / p["horizontal.spacing"]) ** 2,
        "horizontal.feedback": loop_gain / p["horizontal.gain"],
        "amacrine.surround_space_constant": 2.4 * parasol,
        "amacrine.contrast_space_constant": 0.2 / sqrt(2),
        "v1.parasol_highest_frequency": sqrt(log(2)) / (pi * parasol),
    }
    assert {name: p[name] for name in formulas} == pytest.approx(formulas, rel=1e-12)


def test_an_override_changes_one_value_and_the_digest():
    usual, changed = Parameters("macaque_fovea"), Parameters("macaque_fovea", {"horizontal.coupling": 3})
    assert [name for name in usual if usual[name] != changed[name]] == ["horizontal.coupling"]
    assert changed.value("horizontal.coupling") == 3 and usual.digest != changed.digest


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"cone.speed": 1}, "parameters must be among .*, got 'cone.speed'"),
        ({"horizontal.coupling": -3}, "horizontal.coupling must be 0 to 10000 nS, got -3"),
    ],
)
def test_bad_overrides_are_refused(overrides, words):
    with pytest.raises(InputError, match=words):
        Parameters("macaque_fovea", overrides)
