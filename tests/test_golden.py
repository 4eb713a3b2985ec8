"""Numbers are those of the golden data (`golden/README.md`)."""

import shutil

import numpy as np
import pytest
from golden import cases, generate

from biomodel import LESIONS, PRESETS, STATIONS

#: Largest difference that is accepted, relative to a value: on the numpy target, on C++, and of a front end.
NUMPY, CPP, FRONT_END = 1e-12, 1e-9, 1e-6

#: The same relative to the largest value of an array. Some values are small differences of large ones (the bipolar cells'
#: about 0 mV), and keep fewer digits than these.
OF_LARGEST = 1e-12

#: Tables of the small studies that are compared exactly; they hold accuracies, which are shares of a few images. The others hold
#: scores of fits and sums of weights, which come of many steps in single precision.
EXACT = ("reproduction_results.csv", "luminance_results.csv", "luminance_summary.json")
SCORES = 1e-6


#: What to do for a new case, such as that of a new lesion.
NO_DATA = "no golden data of {}: compute it with `python -m tests.golden.generate responses --missing`"


def parametrized(quick):
    """Cases with readable names; those that aren't quick are marked."""
    return [
        pytest.param(case, id=case.name, marks=() if getattr(case, quick) else pytest.mark.all)
        for case in cases.CASES
        if quick == "quick" or case.fidelity == "rate"
    ]


@pytest.fixture(scope="module")
def light():
    return cases.read(cases.FOLDER / "stimuli.npz")


@pytest.fixture(scope="module")
def golden():
    return {preset: cases.read(cases.FOLDER / f"{preset}.npz") for preset in PRESETS}


@pytest.fixture(scope="module")
def front_ends():
    return cases.read(cases.FOLDER / "front_ends.npz")


def expected(golden, case):
    """The arrays of a case by name."""
    start = f"{case.name}/"
    found = {key.removeprefix(start): a for key, a in golden[case.preset].items() if key.startswith(start)}
    assert found, NO_DATA.format(case.name)
    return found


def compare(actual, wanted, relative):
    """Fail where an array is missing, of another shape, or of another value."""
    assert set(actual) == set(wanted)
    for name, values in wanted.items():
        found = actual[name]
        assert found.shape == values.shape, name
        if values.dtype.kind == "f" and values.size:
            largest = OF_LARGEST * np.abs(values).max()
            np.testing.assert_allclose(found, values, rtol=relative, atol=largest, err_msg=name)
        else:
            np.testing.assert_array_equal(found, values, err_msg=name)


def test_golden_data_are_whole(golden):
    """Every preset, fidelity, lesion and station, and the image beside the movie."""
    available = {key.split("/")[0] for preset in PRESETS for key in golden[preset]}
    names = {case.name for case in cases.CASES}
    assert not names - available, NO_DATA.format(", ".join(sorted(names - available)))
    for preset in PRESETS:
        for fidelity in ("rate", "spiking"):
            for what in ("image", "movie", *LESIONS):
                kept = {key.split("/")[1] for key in golden[preset] if key.startswith(f"{preset}-{fidelity}-{what}/")}
                assert kept == {"background", *STATIONS}
    # A file of a case that is gone would be compared with nothing.
    assert available == names


@pytest.mark.parametrize("fidelity", ["rate", "spiking"])
@pytest.mark.parametrize("preset", PRESETS)
def test_every_lesion_changes_golden_responses(preset, fidelity, golden):
    """Of cells that fire or have rates: contrast gain, in the fovea, of parasol cells that these kinds of V1 cells don't hear."""
    for lesion in LESIONS:
        name = f"{preset}-{fidelity}-{lesion}"
        assert f"{name}/v1" in golden[preset], NO_DATA.format(name)
        changed = [
            station
            for station in ("ganglion", "lgn", "v1_input", "v1")
            if not np.array_equal(
                *(golden[preset][f"{preset}-{fidelity}-{what}/{station}"] for what in ("image", lesion))
            )
        ]
        assert changed, lesion


def test_missing_cases_and_stations_are_computed_and_others_kept(tmp_path, monkeypatch, light):
    first, new = (cases.Case("macaque_fovea", "rate", what) for what in ("image", "a_new_lesion"))
    old = {f"{first.name}/{station}": np.arange(3.0) for station in ("lgn", "v1")}
    cases.write(tmp_path / "macaque_fovea.npz", old)
    monkeypatch.setattr(generate, "FOLDER", tmp_path)
    monkeypatch.setattr(generate, "CASES", (first, new))
    monkeypatch.setattr(generate, "simulate_case", lambda case, *_: dict.fromkeys(("lgn", "v1_input"), np.full(2, 7.0)))
    generate.responses(missing=True)
    found = cases.read(tmp_path / "macaque_fovea.npz")
    assert {name: values.tolist() for name, values in found.items()} == {
        **{name: values.tolist() for name, values in old.items()},
        f"{first.name}/v1_input": [7, 7],
        f"{new.name}/lgn": [7, 7],
        f"{new.name}/v1_input": [7, 7],
    }
    assert not (tmp_path / "stimuli.npz").exists()


@pytest.mark.parametrize("case", parametrized("quick"))
def test_responses_on_numpy(case, light, golden):
    """Rates, potentials and currents to 1e-12; spikes one by one."""
    compare(cases.simulate_case(case, light[case.stimulus], "numpy"), expected(golden, case), NUMPY)


@pytest.mark.skipif(shutil.which("c++") is None and shutil.which("g++") is None, reason="no C++ compiler")
@pytest.mark.parametrize("case", parametrized("quick_cpp"))
def test_rates_on_cpp(case, light, golden):
    compare(cases.simulate_case(case, light[case.stimulus], "cpp"), expected(golden, case), CPP)


@pytest.mark.parametrize("background", cases.BACKGROUNDS)
@pytest.mark.parametrize("output", cases.OUTPUTS)
@pytest.mark.parametrize(("preset", "fidelity"), cases.FRONT_ENDS)
def test_outputs_of_front_ends(preset, fidelity, output, background, light, front_ends):
    """Relative to the largest rate; computed in double precision, kept in single."""
    wanted = front_ends[cases.front_end_name(preset, fidelity, output, background)]
    found = cases.front_end_output(preset, fidelity, output, cases.BACKGROUNDS[background], light["image"])
    np.testing.assert_allclose(found, wanted, rtol=0, atol=FRONT_END * np.abs(wanted).max())


@pytest.mark.parametrize(
    "study",
    [pytest.param(name, marks=() if quick else pytest.mark.all) for name, (_, quick) in cases.STUDIES.items()],
)
def test_tables_of_a_small_study(study, tmp_path):
    found = cases.STUDIES[study][0](tmp_path)
    for file, text in found.items():
        wanted = cases.flat((cases.FOLDER / file).read_text(), file)
        actual = cases.flat(text, file)
        if file in EXACT:
            assert actual == wanted, file
        else:
            for place, value in wanted.items():
                about = value if isinstance(value, str) else pytest.approx(value, rel=SCORES, abs=SCORES, nan_ok=True)
                assert actual[place] == about, (file, place)
