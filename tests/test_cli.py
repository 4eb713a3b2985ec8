"""The command line: its output, its files, and how it ends."""

import json
import subprocess
import sys

import numpy as np
import pytest
import skimage.io
import xarray as xr

from biomodel import Display, DriftAdapted, InputError, Pathway
from biomodel.adaptation import gaze_field
from biomodel.circuit.retina import memories
from bridge.fit.stimuli import IMAGES
from studies.cli import options
from studies.data import sources
from studies.luminance.settings import KINDS, Settings


def refuses(command, words, *arguments):
    """Whether a command ends with exit code 2 and one line that has these words."""
    code, _, error = command(*arguments)
    return code == 2 and words in error and error.startswith("error: ") and error.count("\n") == 1


def test_simulates_a_folder_an_array_and_a_data_set(tmp_path, command):
    images = np.random.default_rng(0).integers(0, 256, (3, 24, 24), np.uint8)
    (tmp_path / "folder").mkdir()
    for k, image in enumerate(images):
        skimage.io.imsave(tmp_path / "folder" / f"{k}.png", image, check_contrast=False)
    np.save(tmp_path / "images.npy", images)
    np.savez(tmp_path / "images.npz", images=images, others=np.zeros(2))
    found = []
    for name in ("folder", "images.npy", "images.npz"):
        out = tmp_path / f"out {name}"
        report = tmp_path / "report.json"
        code, _, error = command(
            "simulate", tmp_path / name, "--output", "cone", "--target", "numpy", "--out", out, "--json", report
        )
        assert code == 0, error
        assert json.loads(report.read_text())["images"] == 3
        found.append(xr.open_zarr(out / "responses.zarr", chunks=None, consolidated=False))
    assert list(found[0].file.values) == ["0.png", "1.png", "2.png"]
    for other in found[1:]:
        assert np.allclose(found[0].cone, other.cone, rtol=1e-12)
    for simulated in (9, 0):
        arguments = ("simulate", "digits", "--images", 9, "--output", "cone", "--out", tmp_path / "digits")
        code, output, _ = command(*arguments)
        assert code == 0 and f"9 images, {simulated} of them now" in output
    assert "macaque_parafovea rate up to cone" in command("info")[1]


@pytest.mark.parametrize("settings", [(), ("--gaze-sd", 0.25), ("--gaze-sd", "inf")])
def test_adapts_to_drift_or_one_blur(settings, tmp_path, command):
    """The drift by default: its field of the longest memory is the background; one blur with --gaze-sd."""
    codes = np.random.default_rng(0).integers(0, 256, (1, 12, 12), np.uint8)
    np.save(tmp_path / "images.npy", codes)
    always = ("--output", "cone", "--target", "numpy", "--out", tmp_path / "out")
    code, _, error = command("simulate", tmp_path / "images.npy", *always, *settings)
    assert code == 0, error
    found = xr.open_zarr(tmp_path / "out" / "responses.zarr", chunks=None, consolidated=False)
    longest = max(memories(Pathway().parameters).values())
    spread = float(settings[1]) if settings else DriftAdapted().sd(longest)
    assert found.attrs["adapt_to"] == "gaze" and found.attrs["gaze_spread_deg"] == spread
    assert found.attrs.get("drift_arcmin2_per_s") == (None if settings else DriftAdapted().diffusion)
    display = Display()
    expected = gaze_field(display.show(codes).values, spread, display.pixels_per_degree)
    np.testing.assert_allclose(found.background, expected, rtol=1e-6)


def test_has_the_defaults_of_the_studies():
    assert options.KINDS == KINDS == Settings().kinds
    assert options.PRESENTATIONS == IMAGES == Settings().images


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere"], "'nowhere'"),
        (["digits", "--output", "it"], "'it'"),
        (
            ["digits", "--parameter", "cone.gain"],
            "--parameter must be name=value with a number as value, got 'cone.gain'",
        ),
        (["digits", "--parameter", "cone.gain=abc"], "got 'cone.gain=abc'"),
        (["digits", "--parameter", "cone.gain=nan"], "cone.gain"),
        (["digits", "--parameter", "cone.speed=1"], "cone.speed"),
        (["digits", "--adapt-to", "yesterday"], "yesterday"),
        (["digits", "--adapt-to", "drift"], "'drift'"),
        (["digits", "--adapt-to", "previous"], "--adapt-to must be gaze or a luminance in cd/m², got 'previous'"),
        (["digits", "--adapt-to", "nan"], "adapt_to"),
        (["digits", "--window", "0.2", "0.05"], "window"),
        (["digits", "--duration", "inf"], "duration"),
        (["digits", "--gaze-sd", "-1"], "gaze"),
        (["digits", "--pixels-per-degree", "0"], "pixels_per_degree"),
        (["digits", "--peak", "1"], "peak"),
        (["digits", "--seed", "-1"], "seed"),
        (["digits", "--preset", "cat"], "'cat'"),
        (["digits", "--fidelity", "cat"], "'cat'"),
        (["digits", "--lesion", "cat"], "'cat'"),
        (["digits", "--trials", "2"], "trials"),
        (["pyproject.toml"], "'pyproject.toml'"),
        (["tests"], "tests"),
        (["digits", "--in-luminance"], "luminance"),
    ],
)
def test_simulate_refuses_bad_input_in_one_line(arguments, words, tmp_path, command):
    assert refuses(command, words, "simulate", *arguments, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("flags", [[], ["--in-luminance"]])
@pytest.mark.parametrize(
    "array",
    [
        np.array(1.0),
        np.zeros((2, 24)),
        np.zeros((0, 24, 24)),
        np.zeros((2, 2, 2)),
        np.full((2, 24, 24), np.nan),
        np.full((2, 24, 24), 1j),
        np.full((2, 24, 24), "a"),
    ],
    ids=lambda array: f"{array.shape} {array.dtype}",
)
def test_simulate_refuses_bad_arrays_in_one_line(array, flags, tmp_path, command):
    np.save(tmp_path / "images.npy", array)
    assert refuses(command, "", "simulate", tmp_path / "images.npy", *flags, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_only_input_errors_become_one_line(monkeypatch, command):
    def fail(error):
        def read(*arguments, **settings):
            raise error

        monkeypatch.setattr(sources, "read", read)

    fail(InputError("images must be grey"))
    assert refuses(command, "error: images must be grey\n", "simulate", "digits")
    for error in (ValueError("operands could not be broadcast"), RuntimeError("no"), OSError("disk")):
        fail(error)
        with pytest.raises(type(error), match=str(error)):
            command("simulate", "digits")


def test_a_failure_of_the_program_has_a_traceback_and_exit_code_1():
    code = """
import sys
import numpy as np
import studies.data.sources
from studies.cli import main

studies.data.sources.read = lambda *arguments, **settings: np.zeros(2) + np.zeros(3)
sys.argv = ["precortical", "simulate", "digits"]
main.main()
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert "Traceback" in ended.stderr and "ValueError: operands could not be broadcast" in ended.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--arms", "pixels,eyes"], "'eyes'"),
        (["--lights", "moon"], "'moon'"),
        (["--dataset", "faces"], "'faces'"),
        (["--repeats", "0"], "repeats"),
        (["--search", "--train", "6"], "train"),
        (["--resnet-arms", "batch_norm"], "batch_norm"),
        (["--out", "/dev/null/x"], "cannot be written"),
        (["--dataset", "mnist", "--data", "/dev/null"], "/dev/null/mnist"),
    ],
)
def test_study_luminance_refuses_bad_input_in_one_line(tmp_path, arguments, words, command):
    out = [] if "--out" in arguments else ["--out", tmp_path / "out"]
    assert refuses(command, words, "study", "luminance", *out, *arguments)
    assert not (tmp_path / "out").exists()


def test_an_unknown_option_ends_with_2(tmp_path, command):
    code, _, error = command("study", "luminance", "--depth", 3, "--out", tmp_path / "out")
    assert code == 2 and "--depth" in error and not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--preset", "cat"], "'cat'"),
        (["--target", "cuda"], "target must be one of cpp, numpy, got 'cuda'"),
        (["--kinds", "513"], "v1.kinds"),
        (["--output", "cone"], "output"),
        (["--images", "1"], "images"),
        (["--pixels-per-degree", "-3"], "pixels_per_degree"),
        (["--trials", "3"], "trials"),
        (["--evidence", "--output", "lgn"], "--output"),
    ],
)
def test_fit_refuses_bad_input_in_one_line(tmp_path, arguments, words, command):
    assert refuses(command, words, "fit", *arguments, "--out", tmp_path / "out")


def test_physiology_of_a_reported_value_on_the_numpy_target(tmp_path, command, monkeypatch):
    targets = []
    simulate = Pathway.simulate
    monkeypatch.setattr(
        Pathway, "simulate", lambda self, *light, **how: targets.append(self.target) or simulate(self, *light, **how)
    )
    code, output, error = command("physiology", "--check", 3, "--target", "numpy", "--out", tmp_path)
    assert code == 0, error
    assert set(targets) == {"numpy"}
    assert "no scored experiment (" in output and "None" not in output and "reported" in output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--shadow", "--lesion", "contrast_gain"], "--shadow"),
        (["--shadow", "--fidelity", "spiking"], "--shadow"),
        (["--against-rates", "--check", "1"], "--check"),
        (["--against-rates"], "--fidelity"),
        (["--check", "99"], "99"),
        (["--target", "cuda"], "target must be one of cpp, numpy, got 'cuda'"),
        (["--draws", "0"], "--draws must be a positive integer, got 0"),
        (["--draws", "2", "--check", "19"], "19"),
        (["--draws", "2", "--shadow"], "--shadow"),
        (["--draws", "2", "--parameter", "v1.draw=3"], "v1.draw"),
        (["--draws", "2", "--parameter", "v1.kinds=0"], "v1.kinds"),
    ],
)
def test_physiology_refuses_bad_input_at_once_in_one_line(tmp_path, arguments, words, command):
    assert refuses(command, words, "physiology", *arguments, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["download", "faces"], "'faces'"),
        (["download", "mnist", "--out", "/dev/null"], "cannot be written"),
        (["study", "reproduction", "--budget", "big"], "'big'"),
        (["study", "reproduction", "--device", "abacus"], "'abacus'"),
        (["study", "reproduction", "--seeds", "0"], "seeds"),
        (["info", "--json", "/dev/null/info.json"], "cannot be written"),
    ],
)
def test_other_commands_refuse_bad_input_in_one_line(arguments, words, command):
    assert refuses(command, words, *arguments)
