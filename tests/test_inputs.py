"""Bad and odd inputs at every public entry point: the right result, or one line that names the value; nothing is left behind."""

import functools
from pathlib import Path

import brian2
import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import bridge
from biomodel import (
    Display,
    DriftAdapted,
    GazeAdapted,
    InputError,
    Pathway,
    Region,
    Store,
    luminance,
    orientation_field,
)
from biomodel import physiology as battery
from biomodel.engine.spike_trains import SpikeTrains
from biomodel.images import photographs
from biomodel.physiology import (
    Result,
    Results,
    TrialAveraged,
    distances_over_draws,
    draw_curves,
    draw_population,
    draw_rasters,
)
from biomodel.physiology.results import Curve, Measurement
from biomodel.utils.units import cd_per_m2
from bridge.fit.stimuli import identification_set
from studies.data import datasets, download, sources
from studies.identification.run import run as run_identification
from studies.identification.settings import Settings as Identification
from studies.luminance import lights
from studies.luminance.run import run as run_luminance
from studies.luminance.settings import Settings as LuminanceStudy
from studies.physiology.fidelities import compare_fidelities
from studies.physiology.shadow import measure_shadow
from studies.reproduction.run import run as run_reproduction
from studies.reproduction.settings import Settings as Reproduction

PATHWAY = Pathway(target="numpy")
SPIKING = Pathway(fidelity="spiking", target="numpy")
#: Luminances that every type of numbers can hold.
LIGHT = np.add.outer(np.array([40.0, 80.0]), np.arange(64.0).reshape(8, 8))
CODES = (LIGHT - 40) / 128
STIMULUS = luminance(LIGHT, 16)
BRIEF = {"adapt_to": 100.0, "duration": 0.02, "window": (0.0, 0.02), "output": "cone"}
CHANNELS = {"lgn": ["midget_on", "midget_off", "parasol_on", "parasol_off"]}
IMAGE = torch.full((1, 1, 8, 8), 50.0)
RECORDED = xr.Dataset(
    {
        "background": STIMULUS.drop_attrs(),
        "lgn": (("image", "lgn_channel", "y", "x"), np.random.default_rng(0).random((2, 4, 8, 8))),
    },
    {"lgn_channel": CHANNELS["lgn"], "y": STIMULUS.y, "x": STIMULUS.x},
    {"gaze_spread_deg": 0.5, "window_s": [0.05, 0.2]},
)


def simulate(stimulus=STIMULUS, pathway=PATHWAY, **changes):
    return pathway.simulate(stimulus, **{**BRIEF, **changes})


@functools.cache
def front_end():
    return bridge.FrontEnd(16.0, CHANNELS, "lgn")


def make(**changes):
    return bridge.FrontEnd(**{"pixels_per_degree": 16.0, "channels": CHANNELS, "output": "lgn", **changes})


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """The working folder and an empty cache, both below a temporary folder."""
    for name in ("work", "home", "cache"):
        (tmp_path / name).mkdir()
    (tmp_path / "work" / "file").write_text("not a folder")
    (tmp_path / "work" / "full").mkdir()
    (tmp_path / "work" / "full" / "other.txt").write_text("something else")
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("PRECORTICAL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path


def listing(folder):
    return {path: path.stat().st_size for path in sorted(folder.rglob("*"))}


def refused(folder, words, call):
    """Whether a call raises an InputError of one line that has these words, and leaves files as they are."""
    before = listing(folder)
    with pytest.raises(InputError) as error:
        call()
    message = str(error.value)
    assert "\n" not in message and len(message) < 5_000, message
    assert all(word in message for word in ([words] if isinstance(words, str) else words)), message
    assert listing(folder) == before
    return True


def table(*rows):
    """Rows of (name, call, …) as parameters of a test, by their names."""
    names = [str(row[0]) for row in rows]
    assert len(set(names)) == len(names), [name for name in names if names.count(name) > 1]
    return [pytest.param(*row[1:], id=row[0]) for row in rows]


def every(rows, values):
    """Rows of (name, words, call, values that it accepts) with the bad values of each, by name."""
    return table(
        *(
            (name, words, call, {kind: value for kind, value in values.items() if kind not in accepts})
            for name, words, call, accepts in rows
        )
    )


def not_refused(folder, words, call, values):
    """The values that a call does not refuse as `refused` says, with the reason. A test for each would take twice as long."""
    found = {}
    for kind, value in values.items():
        try:
            refused(folder, words, functools.partial(call, value))
        except (Exception, pytest.fail.Exception) as error:
            found[kind] = repr(error)
    return found


NOT_NUMBERS = {
    "None": None,
    "text": "5",
    "bytes": b"5",
    "mapping": {"a": 1.0},
    "object": object(),
    "type": float,
    "complex": 1j,
    "bool": True,
    "NumPy bool": np.True_,
    "list": [1.0, 2.0],
    "ragged": [[1.0], [1.0, 2.0]],
    "array": np.ones((3, 3)),
    "empty": np.array([]),
    "table": pd.DataFrame({"a": [1.0, 2.0]}),
    "nan": np.nan,
    "inf": np.inf,
    "-1e308": -1e308,
    "10**400": 10**400,
    "date": np.datetime64("2020-01-01"),
    "timedelta": np.timedelta64(1, "s"),
    "volt": 3 * brian2.volt,
    "masked": np.ma.masked,
    "set": {1.0},
}
#: Values that `None` and a few types mean something for.
DEFAULT, ARRAYS = ("None",), ("list", "array", "ragged", "empty", "table", "masked", "set")

NUMBERS = [
    ("luminance: pixels_per_degree", "pixels_per_degree", lambda v: luminance(LIGHT, v), ()),
    ("luminance: frame_duration", "frame_duration", lambda v: luminance(LIGHT[:, None].repeat(2, 1), 16, v), DEFAULT),
    ("Display: peak", "peak", lambda v: Display(peak=v), ()),
    ("Display: black", "black", lambda v: Display(black=v), ()),
    ("Display: pixels_per_degree", "pixels_per_degree", lambda v: Display(pixels_per_degree=v), ()),
    ("Pathway: dt", "dt", lambda v: Pathway(dt=v), ()),
    ("Pathway: parameter", "cone.gain", lambda v: Pathway(parameters={"cone.gain": v}), ()),
    ("replace: dt", "dt", lambda v: PATHWAY.replace(dt=v), ()),
    ("classical_centre", "pixels_per_degree", lambda v: PATHWAY.classical_centre(v), ()),
    ("GazeAdapted: sd", "sd", lambda v: GazeAdapted(v), ("inf",)),
    ("DriftAdapted: diffusion", "diffusion", lambda v: DriftAdapted(v), ()),
    ("simulate: duration", "duration", lambda v: simulate(duration=v), DEFAULT),
    ("simulate: start of window", "window", lambda v: simulate(window=(v, 0.02)), ()),
    ("simulate: end of window", "window", lambda v: simulate(window=(0.0, v)), ()),
    ("simulate: adapt_to", "adapt_to", lambda v: simulate(adapt_to=v), ("list",)),
    ("network: adapt_to", "adapt_to", lambda v: PATHWAY.network(STIMULUS, v, output="cone"), ("list",)),
    ("simulate: region.record", "region.record", lambda v: simulate(region=Region(record=v)), DEFAULT),
    ("simulate: region.v1", "region.v1", lambda v: simulate(region=Region(v1=v)), DEFAULT),
    (
        "simulate: region.spiking",
        "region.spiking",
        lambda v: simulate(pathway=SPIKING, region=Region(spiking=v), output="lgn"),
        DEFAULT,
    ),
    ("FrontEnd: pixels_per_degree", "pixels_per_degree", lambda v: make(pixels_per_degree=v), ()),
    ("FrontEnd: gaze_sd", "sd", lambda v: make(gaze_sd=v), ("inf",)),
    ("FrontEnd.replace: gaze_sd", "sd", lambda v: front_end().replace(gaze_sd=v), ("inf",)),
    ("FrontEnd: background", "background", lambda v: front_end()(IMAGE, v), DEFAULT),
    ("FrontEnd.responses: background", "background", lambda v: front_end().responses(IMAGE, v), DEFAULT),
    ("FrontEnd.kernel: background", "background", lambda v: front_end().kernel(v, size=5), ()),
    ("FrontEnd.kernel: contrast", "contrast", lambda v: front_end().kernel(contrast=v, size=5), ()),
    ("fit_responses: held_out", "held_out", lambda v: bridge.fit_responses(RECORDED, STIMULUS, held_out=v), ()),
    (
        "fit_pathway: held_out",
        "held_out",
        lambda v: bridge.fit_pathway(PATHWAY, STIMULUS, output="lgn", held_out=v),
        (),
    ),
    ("identification_set: ppd", "pixels_per_degree", lambda v: identification_set(pixels_per_degree=v), ()),
    ("measure_shadow: lights", "light", lambda v: measure_shadow(PATHWAY, lights=[v]), ()),
    ("illuminate: level", "level", lambda v: lights.illuminate(LIGHT, "exposure", v), ()),
]


@pytest.mark.parametrize(("words", "call", "values"), every(NUMBERS, NOT_NUMBERS))
def test_what_is_no_number_is_refused(words, call, values, folder):
    assert not_refused(folder, words, call, values) == {}


NOT_INTEGERS = {
    name: NOT_NUMBERS[name]
    for name in (
        "None",
        "text",
        "bytes",
        "mapping",
        "object",
        "complex",
        "bool",
        "list",
        "ragged",
        "array",
        "table",
        "nan",
    )
} | {
    "-1": -1,
    "1.5": 1.5,
    "2.0": 2.0,
    "float64": np.float64(2),
    "-10**30": -(10**30),
    "timedelta": np.timedelta64(1, "s"),
}

INTEGERS = [
    ("simulate: seed", "seed", lambda v: simulate(seed=v), ()),
    ("simulate: trials", "trials", lambda v: simulate(trials=v), ()),
    ("simulate spikes: trials", "trials", lambda v: simulate(pathway=SPIKING, trials=v, output="lgn"), ()),
    ("simulate: workers", "workers", lambda v: simulate(workers=v), ()),
    ("Store: chunk", "chunk", lambda v: Store("out", v), DEFAULT),
    ("photographs: count", "count", lambda v: photographs(v), ()),
    ("photographs: size", "size", lambda v: photographs(1, v), ()),
    ("photographs: seed", "seed", lambda v: photographs(1, seed=v), ()),
    ("FrontEnd.kernel: size", "size", lambda v: front_end().kernel(size=v), ()),
    ("FrontEnd.kernel: seed", "seed", lambda v: front_end().kernel(contrast=0.1, size=5, seed=v), ()),
    ("to_onnx: height", "height", lambda v: front_end().to_onnx("out.onnx", v, 8), ()),
    ("to_onnx: width", "width", lambda v: front_end().to_onnx("out.onnx", 8, v), ()),
    ("fit_pathway: seed", "seed", lambda v: bridge.fit_pathway(PATHWAY, STIMULUS, output="lgn", seed=v), ()),
    ("fit_pathway: trials", "trials", lambda v: bridge.fit_pathway(PATHWAY, STIMULUS, output="lgn", trials=v), DEFAULT),
    ("fit_pathway: workers", "workers", lambda v: bridge.fit_pathway(PATHWAY, STIMULUS, output="lgn", workers=v), ()),
    ("fit_responses: seed", "seed", lambda v: bridge.fit_responses(RECORDED, STIMULUS, seed=v), ()),
    ("identification_set: images", "images", lambda v: identification_set(v), ()),
    ("identification_set: pixels", "pixels", lambda v: identification_set(13, v), DEFAULT),
    ("identification_set: seed", "seed", lambda v: identification_set(13, 8, seed=v), ()),
    ("physiology.run: ids", "experiment", lambda v: battery.run(PATHWAY, v), ("None", "list", "array")),
    ("physiology.run: workers", "workers", lambda v: battery.run(PATHWAY, 3, workers=v), ()),
    ("physiology.run: seed", "seed", lambda v: battery.run(PATHWAY, 3, seed=v), ()),
    ("TrialAveraged: v1_trials", "v1_trials", lambda v: TrialAveraged(SPIKING, v1_trials=v), ()),
    ("TrialAveraged: relay_trials", "relay_trials", lambda v: TrialAveraged(SPIKING, relay_trials=v), ()),
    ("TrialAveraged: seed", "seed", lambda v: TrialAveraged(SPIKING, seed=v), ()),
    ("distances_over_draws: draws", "draw", lambda v: distances_over_draws(lambda draw: PATHWAY, v, 16), ()),
    ("distances_over_draws: a draw", "draw", lambda v: distances_over_draws(lambda draw: PATHWAY, [v], 16), ()),
    ("distances_over_draws: workers", "workers", lambda v: distances_over_draws(draw_of, (0,), 16, v, "out"), ()),
    ("draw_rasters: workers", "workers", lambda v: draw_rasters(SPIKING, "out.png", v), ()),
    ("draw_rasters: seed", "seed", lambda v: draw_rasters(SPIKING, "out.png", 1, v), ()),
    ("compare_fidelities: patches", "patches", lambda v: compare_fidelities(SPIKING, patches=v), ()),
    ("compare_fidelities: trials", "trials", lambda v: compare_fidelities(SPIKING, trials=v), ()),
    ("compare_fidelities: workers", "workers", lambda v: compare_fidelities(SPIKING, workers=v), ()),
    ("compare_fidelities: seed", "seed", lambda v: compare_fidelities(SPIKING, seed=v), ()),
    ("measure_shadow: workers", "workers", lambda v: measure_shadow(PATHWAY, workers=v), ()),
    ("luminance study: repeats", "repeats", lambda v: run_luminance(LuminanceStudy(repeats=v), Path("out")), ()),
    ("luminance study: seed", "seed", lambda v: run_luminance(LuminanceStudy(seed=v), Path("out")), ()),
    ("luminance study: train", "train", lambda v: run_luminance(LuminanceStudy(train=v), Path("out")), ()),
    (
        "luminance study: kinds",
        "kinds",
        lambda v: run_luminance(LuminanceStudy(kinds=v), Path("out")),
        (),
    ),
    ("luminance study: images", "images", lambda v: run_luminance(LuminanceStudy(images=v), Path("out")), ()),
    ("luminance study: workers", "workers", lambda v: run_luminance(LuminanceStudy(), Path("out"), v), ()),
    ("reproduction: seeds", "seeds", lambda v: run_reproduction(Reproduction(seeds=v), Path("out")), ()),
    ("reproduction: seed", "seed", lambda v: run_reproduction(Reproduction(seed=v), Path("out")), ()),
    ("reproduction: workers", "workers", lambda v: run_reproduction(Reproduction(), Path("out"), v), ()),
    ("identification: images", "images", lambda v: run_identification(Identification(PATHWAY, v), Path("out")), ()),
    ("identification: seed", "seed", lambda v: run_identification(Identification(PATHWAY, 13, v), Path("out")), ()),
    (
        "identification: workers",
        "workers",
        lambda v: run_identification(Identification(PATHWAY, 13), Path("out"), v),
        (),
    ),
]


def draw_of(draw):
    return Pathway(parameters={"v1.draw": draw}, target="numpy")


@pytest.mark.parametrize(("words", "call", "values"), every(INTEGERS, NOT_INTEGERS))
def test_what_is_no_whole_number_is_refused(words, call, values, folder):
    assert not_refused(folder, words, call, values) == {}


NOT_NAMES = {
    "None": None,
    "number": 1,
    "bytes": b"rate",
    "mapping": {},
    "object": object(),
    "list": [],
    "set": set(),
    "array": np.array(["rate", "cone"]),
    "empty": "",
    "unknown": "cat",
    "capital": "Lgn",
    "space": " lgn",
    "two lines": "lgn\nv1",
}

NAMES = [
    ("Pathway: preset", "preset", lambda v: Pathway(v), ()),
    ("Pathway: fidelity", "fidelity", lambda v: Pathway(fidelity=v), ()),
    ("Pathway: lesions", "lesion", lambda v: Pathway(lesions=[v]), ()),
    ("Pathway: target", "target", lambda v: Pathway(target=v), DEFAULT),
    ("Pathway: parameter", "parameter", lambda v: Pathway(parameters={v: 1.0}), ("mapping", "list", "set", "array")),
    ("replace: preset", "preset", lambda v: PATHWAY.replace(preset=v), ()),
    ("replace: fidelity", "fidelity", lambda v: PATHWAY.replace(fidelity=v), ()),
    ("classical_centre: output", "output", lambda v: PATHWAY.classical_centre(16, v), ()),
    ("simulate: output", "output", lambda v: simulate(output=v), ()),
    ("simulate: record", "record", lambda v: simulate(record=v), ()),
    ("simulate: adapt_to", "adapt_to", lambda v: simulate(adapt_to=v), ("number",)),
    ("network: output", "output", lambda v: PATHWAY.network(STIMULUS, output=v), ()),
    ("photographs: names", "names", lambda v: photographs(1, names=[v]), ("unknown",)),
    ("FrontEnd: output", "output", lambda v: make(output=v), ()),
    ("FrontEnd: ablations", "ablations", lambda v: make(ablations=[v]), ()),
    ("truncated", "output", lambda v: front_end().truncated(v), ()),
    ("pretrained: preset", "preset", lambda v: bridge.pretrained(v), ()),
    ("pretrained: fidelity", "fidelity", lambda v: bridge.pretrained(fidelity=v), ()),
    ("pretrained: output", "output", lambda v: bridge.pretrained(output=v), ()),
    ("fit_pathway: output", "output", lambda v: bridge.fit_pathway(PATHWAY, STIMULUS, output=v), ()),
    ("fit_pathway: ablations", "ablations", lambda v: bridge.fit_pathway(PATHWAY, STIMULUS, ablations=[v]), ()),
    ("fit_responses: ablations", "ablations", lambda v: bridge.fit_responses(RECORDED, STIMULUS, ablations=[v]), ()),
    ("measure_shadow: lesions", "lesion", lambda v: measure_shadow(PATHWAY, [v]), ()),
    ("load: name", "dataset", lambda v: datasets.load(v), ()),
    ("download: name", "dataset", lambda v: download.download(v), ()),
    ("illuminate: light", "light", lambda v: lights.illuminate(LIGHT, v, 1.0), ()),
    ("luminance study: dataset", "dataset", lambda v: run_luminance(LuminanceStudy(dataset=v), Path("out")), ()),
    ("luminance study: arms", "arms", lambda v: run_luminance(LuminanceStudy(arms=(v,)), Path("out")), ()),
    ("luminance study: lights", "lights", lambda v: run_luminance(LuminanceStudy(lights=(v,)), Path("out")), ()),
    ("luminance study: preset", "preset", lambda v: run_luminance(LuminanceStudy(preset=v), Path("out")), ()),
    ("reproduction: datasets", "dataset", lambda v: run_reproduction(Reproduction(datasets=(v,)), Path("out")), ()),
    ("reproduction: arms", "arms", lambda v: run_reproduction(Reproduction(arms=(v,)), Path("out")), ()),
    ("reproduction: budget", "budget", lambda v: run_reproduction(Reproduction(budget=v), Path("out")), ()),
    ("reproduction: device", "device", lambda v: run_reproduction(Reproduction(device=v), Path("out")), ()),
]


@pytest.mark.parametrize(("words", "call", "values"), every(NAMES, NOT_NAMES))
def test_what_is_no_known_name_is_refused(words, call, values, folder):
    assert not_refused(folder, words, call, values) == {}


#: Paths that cannot be written, with the words of the refusal. The folder has `file`, which is none, and `full`.
NOT_WRITABLE = {
    "None": (None, "path"),
    "number": (1, "path"),
    "bytes": (b"out", "path"),
    "empty": ("", "empty"),
    "null": ("a\0b", "a\\x00b"),
    "address": ("https://example.org/out", "https://example.org/out"),
    "below a file": ("file/out", "file"),
    "too long": ("x" * 300, "x" * 300),
    "home of nobody": ("~nobody-of-this-name/out", "~nobody-of-this-name/out"),
}
#: For a file only.
NO_FILE = {"folder": ("full", "full"), "no parent": ("nowhere/out", "nowhere")}

FILES = [
    ("FrontEnd.save", lambda path: front_end().save(path)),
    ("FrontEnd.to_onnx", lambda path: front_end().to_onnx(path, 8, 8)),
    ("FitReport.save", lambda path: REPORT.save(path)),
    ("draw_curves", lambda path: draw_curves(MEASURED, path)),
]
FOLDERS = [
    ("simulate: store", lambda path: simulate(store=Store(path)), ()),
    ("simulate: store as text", lambda path: simulate(store=path), DEFAULT),
    ("fit_pathway: store", lambda path: bridge.fit_pathway(PATHWAY, SMALL, output="lgn", store=path), DEFAULT),
    ("distances_over_draws: store", lambda path: distances_over_draws(draw_of, (0,), 16, store=path), DEFAULT),
]
SMALL = luminance(np.tile(LIGHT, (1, 1, 1)), 16)
REPORT = bridge.FitReport("rate", pd.DataFrame(columns=["station", "set", "r2", "feve", "correlation"]), (), 1.0)
CURVE = Curve("midget_on", np.array([1, 4, 16]), np.array([5.0, 9.0, 6.0]))
ROW = Result("midget_peak_tf", 8, "temporal tuning", "peak", "Hz", 7.97, 7, 16, True, False, "Derrington 1984")
MEASURED = Results([ROW], {8: Measurement({}, (CURVE,), "frequency (Hz)", "rate (Hz)", "x")}, {8: 1.0})


@pytest.mark.parametrize(
    ("words", "call"),
    table(
        *(
            (f"{name}={kind}", words, functools.partial(call, path))
            for name, call in FILES
            for kind, (path, words) in (NOT_WRITABLE | NO_FILE).items()
        ),
        *(
            (f"{name}={kind}", words, functools.partial(call, path))
            for name, call, accepts in FOLDERS
            for kind, (path, words) in NOT_WRITABLE.items()
            if kind not in accepts
        ),
    ),
)
def test_paths_that_cannot_be_written_are_refused(words, call, folder):
    assert refused(folder, [] if words == "path" else [words], call)


@pytest.mark.parametrize(
    ("words", "path"), table(*((kind, words, path) for kind, (path, words) in (NOT_WRITABLE | NO_FILE).items()))
)
def test_paths_that_hold_no_front_end_are_refused(words, path, folder):
    assert refused(folder, [] if words == "path" else [words], lambda: bridge.FrontEnd.load(path))


@pytest.mark.parametrize("name", ["with space", "Käse 木", "~/weights", "'quoted'", "-dash", "a%s{}"])
def test_names_of_files_may_be_any(name, folder):
    path = f"{name}.safetensors"
    front_end().save(path)
    again = bridge.FrontEnd.load(Path(path))
    assert torch.equal(again(IMAGE, 50.0), front_end()(IMAGE, 50.0))
    if name == "Käse 木":
        assert simulate(store=Store(name)).load().identical(simulate())


#: The same luminances in other forms.
FORMS = {
    "list": LIGHT.tolist(),
    "tuple": tuple(map(tuple, (tuple(map(tuple, image)) for image in LIGHT))),
    "list of arrays": list(LIGHT),
    "uint8": LIGHT.astype(np.uint8),
    "int64": LIGHT.astype(np.int64),
    "uint64": LIGHT.astype(np.uint64),
    "float16": LIGHT.astype(np.float16),
    "float32": LIGHT.astype(np.float32),
    "longdouble": LIGHT.astype(np.longdouble),
    "big-endian": LIGHT.astype(">f8"),
    "big-endian int16": LIGHT.astype(">i2"),
    "Fortran": np.asfortranarray(LIGHT),
    "strided": np.repeat(LIGHT, 2, axis=-1)[..., ::2],
    "reversed": np.ascontiguousarray(LIGHT[:, ::-1])[:, ::-1],
    "read-only": np.broadcast_to(LIGHT, LIGHT.shape),
    "unmasked": np.ma.array(LIGHT),
    "DataArray": xr.DataArray(LIGHT, dims=("image", "y", "x")),
    "dask": xr.DataArray(LIGHT, dims=("image", "y", "x")).chunk({"image": 1}),
    "tensor": torch.from_numpy(LIGHT),
    "float32 tensor": torch.from_numpy(LIGHT).float(),
    "quantity": LIGHT * cd_per_m2,
}


@pytest.mark.parametrize("form", table(*FORMS.items()))
def test_forms_of_an_array_are_one_stimulus(form):
    if form is FORMS["dask"]:
        pytest.importorskip("dask")
    assert luminance(form, 16).identical(STIMULUS)


@pytest.mark.parametrize(
    "form", table(*((k, v) for k, v in FORMS.items() if k not in ("quantity",) and "int" not in k))
)
def test_forms_of_an_image_are_one_image(form):
    codes = np.asarray(form, dtype=float)
    shown = Display().show(((codes - 40) / 128).astype(getattr(np.asarray(form), "dtype", float)))
    assert np.allclose(shown, Display().show(CODES), rtol=2e-3)


@pytest.mark.parametrize(
    ("number", "call"),
    table(
        *(
            (f"{name} as {kind}", number, call)
            for name, call in (
                ("ppd", lambda v: luminance(LIGHT, v).x.values.tolist()),
                ("peak", lambda v: Display(peak=v)),
                ("dt", lambda v: Pathway(dt=v).dt),
                ("parameter", lambda v: Pathway(parameters={"v1.kinds": v}).parameters.value("v1.kinds")),
                ("classical centre", lambda v: PATHWAY.classical_centre(v)),
                ("FrontEnd", lambda v: make(pixels_per_degree=v).pixels_per_degree),
                ("illuminate", lambda v: lights.conditions_of(("exposure",)) and float(Display(peak=v).peak)),
            )
            for kind, number in {
                "int": 16,
                "float": 16.0,
                **{kind: np.dtype(kind).type(16) for kind in ("u1", "i2", "u8", "f2", "f4", "longdouble")},
                **{f"0-d {kind}": np.array(16, kind) for kind in ("u1", ">i4", "i8", "f2", ">f4", ">f8", "longdouble")},
            }.items()
        )
    ),
)
def test_numbers_of_every_type_are_one_number(number, call):
    assert call(number) == call(16)


@pytest.mark.parametrize(
    ("words", "call"),
    table(
        *(
            (f"{name}: {kind}", words, functools.partial(call, values))
            for name, call in (("luminance", lambda v: luminance(v, 16)), ("show", Display().show))
            for kind, values, words in (
                ("None", None, ""),
                ("number", 5.0, ""),
                ("text", "images", ""),
                ("bytes", b"images", ""),
                ("mapping", {"a": LIGHT}, ""),
                ("generator", (image for image in LIGHT), ""),
                ("ragged", [[[1.0, 2.0], [1.0]]], ""),
                ("texts", LIGHT.astype(str), ""),
                ("objects", LIGHT.astype(object), ""),
                ("complex", LIGHT + 1j, ""),
                ("dates", LIGHT.astype("M8[s]"), ""),
                ("records", np.zeros((1, 8, 8), [("a", float)]), ""),
                ("one image", LIGHT[0], ""),
                ("four dimensions", LIGHT[None], ""),
                ("none", LIGHT[:0], ""),
                ("no rows", LIGHT[:, :0], ""),
                ("nan", np.where(LIGHT > 100, np.nan, LIGHT / 255), "nan"),
                ("inf", np.where(LIGHT > 100, np.inf, LIGHT / 255), "inf"),
                ("negative", -LIGHT, "-"),
                ("negative zeros and ones", -np.ones((1, 8, 8)), "-1"),
                ("masked", np.ma.masked_greater(LIGHT / 255, 0.3), ""),
                ("table", pd.DataFrame(LIGHT[0]), ""),
                ("series", pd.Series(LIGHT[0, 0]), ""),
                ("other dimensions", xr.DataArray(LIGHT, dims=("a", "b", "c")), ""),
                ("volts", LIGHT * brian2.volt, ""),
                ("differentiated tensor", torch.ones(1, 8, 8, requires_grad=True) + 1, ""),
                ("sparse tensor", torch.ones(1, 8, 8).to_sparse(), ""),
            )
        )
    ),
)
def test_what_is_no_image_is_refused(words, call, folder):
    assert refused(folder, [words], call)


OTHERS = table(
    ("parameters: text", "parameters", lambda: Pathway(parameters="cone.gain=1")),
    ("parameters: list", "parameters", lambda: Pathway(parameters=[("cone.gain", 1)])),
    ("parameters: other unit", "cone", lambda: Pathway(parameters={"cone.gain": 3 * brian2.volt})),
    ("parameters: out of range", "v1.kinds", lambda: Pathway(parameters={"v1.kinds": 0})),
    ("lesions: number", "lesions", lambda: Pathway(lesions=1)),
    ("lesions: None", "lesions", lambda: Pathway(lesions=None)),
    ("replace: unknown", "'speed'", lambda: PATHWAY.replace(speed=1)),
    ("replace: parameters", "parameters", lambda: PATHWAY.replace(parameters="cone.gain")),
    ("stimulus: array", "stimulus", lambda: simulate(LIGHT)),
    ("stimulus: None", "stimulus", lambda: simulate(None)),
    ("stimulus: dataset", "stimulus", lambda: simulate(STIMULUS.to_dataset())),
    ("stimulus: no images", "stimulus", lambda: simulate(STIMULUS[:0])),
    ("stimulus: one image", "dimensions", lambda: simulate(STIMULUS[0])),
    ("stimulus: no coordinates", "coordinate", lambda: simulate(STIMULUS.drop_vars("x"))),
    ("stimulus: texts", "x", lambda: simulate(STIMULUS.assign_coords(x=list("abcdefgh")))),
    ("stimulus: places of NaN", "x", lambda: simulate(STIMULUS.assign_coords(x=[np.nan] * 8))),
    ("stimulus: one place", "x", lambda: simulate(STIMULUS.assign_coords(x=[0.0] * 8))),
    ("stimulus: oblong pixels", "square", lambda: simulate(STIMULUS.assign_coords(x=STIMULUS.x * 2))),
    ("stimulus: texts as values", "luminance", lambda: simulate(STIMULUS.astype(str))),
    ("stimulus: too small", "images", lambda: simulate(STIMULUS[:, :2, :2], output="lgn")),
    ("window: text", "window", lambda: simulate(window="0 1")),
    ("window: three", "window", lambda: simulate(window=(0, 0.1, 0.2))),
    ("window: set", "window", lambda: simulate(window={0.0, 0.02})),
    ("window: reversed", "window", lambda: simulate(window=(0.02, 0.0))),
    ("window: beyond", "window", lambda: simulate(window=(0.0, 1.0))),
    ("adapt_to: three for two", "adapt_to", lambda: simulate(adapt_to=[1.0, 2.0, 3.0])),
    ("adapt_to: none", "adapt_to", lambda: simulate(adapt_to=[])),
    ("adapt_to: negative", "adapt_to", lambda: simulate(adapt_to=-1.0)),
    ("adapt_to: texts", "adapt_to", lambda: simulate(adapt_to=["a", "b"])),
    ("region: number", "region", lambda: simulate(region=0.5)),
    ("region: mapping", "region", lambda: simulate(region={"record": 1})),
    ("region: nothing in it", "region.record", lambda: simulate(region=Region(record=1e-6))),
    ("region: spiking", "region.spiking", lambda: simulate(region=Region(spiking=1.0))),
    ("duration: zero", "duration", lambda: simulate(duration=0)),
    ("duration: volt", "duration", lambda: simulate(duration=1 * brian2.volt)),
    ("record: spikes of rates", "record", lambda: simulate(record="spikes")),
    ("trials: of rates", "trials", lambda: simulate(trials=2)),
    ("store: with spikes", "store", lambda: simulate(pathway=SPIKING, record="spikes", output="lgn", store="out")),
    ("store: with a sequence", "store", lambda: simulate(adapt_to="previous", store="out")),
    ("Display: black over peak", "black", lambda: Display(peak=5, black=6)),
    ("Display: codes of 16 bits", "uint8", lambda: Display().show(LIGHT.astype(np.uint16))),
    ("Display: codes as floats", "[0, 1]", lambda: Display().show(LIGHT)),
    ("orientation_field: nothing", "responses", lambda: orientation_field(xr.Dataset())),
    ("orientation_field: no V1", "responses", lambda: orientation_field(RECORDED)),
    ("photographs: no names", "names", lambda: photographs(1, names=[])),
    ("FrontEnd: five channels", "channels", lambda: make(channels={"lgn": list("abcde")})),
    ("FrontEnd: orientations", "orientations", lambda: make(channels={"v1": ["a", "b"]}, output="v1", orientations=[])),
    ("FrontEnd: three dimensions", "luminance", lambda: front_end()(IMAGE[0])),
    ("FrontEnd: two colours", "luminance", lambda: front_end()(IMAGE.expand(1, 2, 8, 8))),
    ("FrontEnd: integers", "luminance", lambda: front_end()(IMAGE.int())),
    ("FrontEnd: nan", "luminance", lambda: front_end()(IMAGE * np.nan)),
    ("FrontEnd: negative", "luminance", lambda: front_end()(-IMAGE)),
    ("FrontEnd: field of another size", "background", lambda: front_end()(IMAGE, IMAGE[..., :4])),
    ("FrontEnd: field in three dimensions", "background", lambda: front_end()(IMAGE, IMAGE[0])),
    ("DisplayLayer: codes over 1", "[0, 1]", lambda: bridge.DisplayLayer(Display())(IMAGE)),
    ("DisplayLayer: two colours", "images", lambda: bridge.DisplayLayer(Display())(IMAGE.expand(1, 2, 8, 8))),
    ("kernel: even size", "size", lambda: front_end().kernel(size=8)),
    ("kernel: contrast", "contrast", lambda: front_end().kernel(contrast=1.5, size=5)),
    (
        "fit_responses: no background",
        "background",
        lambda: bridge.fit_responses(RECORDED.drop_vars("background"), STIMULUS),
    ),
    ("fit_responses: no station", "lgn", lambda: bridge.fit_responses(RECORDED.drop_vars("lgn"), STIMULUS)),
    ("fit_responses: other images", "images", lambda: bridge.fit_responses(RECORDED, STIMULUS[:1])),
    (
        "fit_responses: one photograph",
        "photographs",
        lambda: bridge.fit_responses(RECORDED, STIMULUS.assign_coords(photograph=("image", ["a", "a"]))),
    ),
    (
        "fit_responses: nan",
        "finite",
        lambda: bridge.fit_responses(RECORDED.assign(lgn=RECORDED.lgn * np.nan), STIMULUS),
    ),
    ("fit_responses: flat", "vary", lambda: bridge.fit_responses(RECORDED.assign(lgn=RECORDED.lgn * 0), STIMULUS)),
    ("fit_responses: half held out", "held_out", lambda: bridge.fit_responses(RECORDED, STIMULUS, held_out=1)),
    ("fit_pathway: one image", "photographs", lambda: bridge.fit_pathway(PATHWAY, STIMULUS[:1], output="lgn")),
    (
        "fit_pathway: ablations of text",
        "ablations",
        lambda: bridge.fit_pathway(PATHWAY, STIMULUS, ablations="push_pull"),
    ),
    ("run: experiment 99", "99", lambda: battery.run(PATHWAY, 99)),
    ("run: spikes", "13", lambda: battery.run(PATHWAY, 13)),
    ("run: none", "ids", lambda: battery.run(PATHWAY, [])),
    ("draws: twice", "draws", lambda: distances_over_draws(draw_of, (0, 0), 16)),
    ("draws: none", "draws", lambda: distances_over_draws(draw_of, (), 16)),
    ("population: nothing", "results", lambda: draw_population(Results([], {}, {}), "out.png")),
    ("curves: nothing", "results", lambda: draw_curves(Results([], {}, {}), "out.png")),
    ("rasters: rates", "fidelity", lambda: draw_rasters(PATHWAY, "out.png")),
    ("fidelities: rates", "fidelity", lambda: compare_fidelities(PATHWAY)),
    ("shadow: spikes", "fidelity", lambda: measure_shadow(SPIKING)),
    ("shadow: lesioned", "lesion", lambda: measure_shadow(Pathway(lesions=["contrast_gain"], target="numpy"))),
    ("shadow: no lights", "lights", lambda: measure_shadow(PATHWAY, lights=[])),
    ("shadow: near distances", "distances", lambda: measure_shadow(PATHWAY, distances=[0.0])),
    ("level of light", "level", lambda: lights.illuminate(LIGHT, "exposure", 0.123)),
    ("study: no arms", "arms", lambda: run_luminance(LuminanceStudy(arms=()), Path("out"))),
    (
        "study: the same arm twice",
        "different",
        lambda: run_luminance(LuminanceStudy(arms=("pixels", "pixels")), Path("out")),
    ),
    ("study: folder", "file", lambda: run_luminance(LuminanceStudy(arms=("pixels",)), Path("file"))),
    ("reproduction: folder", "file", lambda: run_reproduction(Reproduction(), Path("file"))),
    ("reproduction: no arms", "arms", lambda: run_reproduction(Reproduction(arms=()), Path("out"))),
    ("identification: folder", "file", lambda: run_identification(Identification(PATHWAY, 13), Path("file"))),
    ("download: folder", "file", lambda: download.download("mnist", Path("file"))),
    ("source: nothing", "nowhere", lambda: sources.read("nowhere")),
    ("source: not an array", "file", lambda: sources.read("file")),
    ("source: no images", "full", lambda: sources.read("full")),
    ("data set: folder", "mnist", lambda: datasets.load("mnist", Path("full"))),
)


@pytest.mark.filterwarnings("ignore::biomodel.LuminanceRangeWarning")
@pytest.mark.parametrize(("words", "call"), OTHERS)
def test_other_bad_input_is_refused(words, call, folder):
    assert refused(folder, [words], call)


COMMANDS = {
    "simulate": "simulate digits",
    "fit": "fit",
    "physiology": "physiology",
    "luminance": "study luminance",
    "reproduction": "study reproduction",
}
OPTIONS = table(
    *(
        (f"{name} {option}", words, f"{line} --out out".split() + option.split(" "))
        for names, options in {
            "simulate fit physiology luminance reproduction": (
                ("--out file", "file"),
                ("--out file/out", "file"),
                ("--seed -1", "seed"),
                ("--seed x", "seed"),
                ("--seed 1.5", "seed"),
                ("--json full", "full"),
                ("--json nowhere/a.json", "nowhere"),
                ("--workers 0", "workers"),
                ("--workers many", "workers"),
                ("--unknown 1", "--unknown"),
            ),
            "simulate physiology": (
                ("--parameter cone.gain", "cone.gain"),
                ("--parameter =1", "parameter"),
                ("--parameter ", "parameter"),
                ("--parameter cone.gain=", "cone.gain="),
                ("--parameter cone.gain=1=2", "cone.gain=1=2"),
                ("--parameter cone.gian=1", "cone.gian"),
                ("--parameter cone.gain=inf", "cone.gain"),
                ("--parameter cone.gain=0.1 --parameter cone.gain=0.2", "cone.gain twice"),
                ("--lesion ", "lesion"),
            ),
            "simulate fit physiology": (
                ("--preset ", "preset"),
                ("--fidelity Rate", "Rate"),
                ("--target ", "target"),
                ("--target NumPy", "NumPy"),
            ),
            "simulate": (
                ("--output ", "output"),
                ("--adapt-to ", "adapt_to"),
                ("--adapt-to inf", "adapt_to"),
                ("--adapt-to drift", "drift"),
                ("--peak nan", "peak"),
                ("--black -1", "black"),
                ("--window 0 0", "window"),
                ("--duration 0", "duration"),
                ("--gaze-sd nan", "gaze"),
                ("--pixels-per-degree 1e400", "pixels_per_degree"),
                ("--images -1", "images"),
                ("--chunk -1", "chunk"),
                ("--trials 0", "trials"),
                ("--window 0", "window"),
            ),
            "fit": (
                ("--images 0", "images"),
                ("--kinds 0", "kinds"),
                ("--output ", "output"),
                ("--pixels-per-degree nan", "pixels"),
            ),
            "physiology": (("--check 0", "0"), ("--check -1", "-1"), ("--check x", "--check"), ("--draws 0", "draws")),
            "luminance": (
                ("--dataset ", "dataset"),
                ("--arms ,pixel", "pixel"),
                ("--lights exposures", "exposures"),
                ("--arms pixels,pixels", "different"),
                ("--train 0", "train"),
                ("--test -1", "test"),
                ("--epochs 0", "epochs"),
                ("--kinds 0", "kinds"),
                ("--data file --dataset mnist", "file"),
                ("--repeats x", "repeats"),
            ),
            "reproduction": (
                ("--dataset ,", "datasets"),
                ("--arms cat", "cat"),
                ("--budget ", "budget"),
                ("--device ", "device"),
                ("--seeds 0", "seeds"),
                ("--data file --dataset mnist", "file"),
            ),
        }.items()
        for name, line in COMMANDS.items()
        if name in names.split()
        for option, words in options
    ),
    ("no source", "source", ["simulate"]),
    ("no command", "cat", ["cat"]),
    ("source: empty", "source", ["simulate", "", "--out", "out"]),
    ("source: address", "https", ["simulate", "https://example.org/a.npy", "--out", "out"]),
    ("source: file", "file", ["simulate", "file", "--out", "out"]),
    ("download: empty", "dataset", ["download", ""]),
    ("download: file", "file", ["download", "mnist", "--out", "file"]),
    ("info: json", "full", ["info", "--json", "full"]),
)


@pytest.mark.parametrize(("words", "arguments"), OPTIONS)
def test_commands_refuse_bad_options(words, arguments, folder, command):
    before = listing(folder)
    code, _, error = command(*arguments)
    last = error.rstrip("\n").splitlines()[-1] if error else ""
    assert code == 2 and words in error and "Traceback" not in error, error
    assert last.startswith(("error: ", "Error: ")), error
    assert listing(folder) == before


ODD = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.binary(max_size=5)
    | st.complex_numbers(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
    max_leaves=5,
)


@pytest.mark.parametrize(
    "call",
    table(
        ("luminance", lambda v: luminance(v, 16)),
        ("pixels_per_degree", lambda v: luminance(LIGHT, v)),
        ("peak", lambda v: Display(peak=v)),
        ("show", Display().show),
        ("preset", Pathway),
        ("parameters", lambda v: Pathway(parameters=v)),
        ("a parameter", lambda v: Pathway(parameters={"cone.gain": v})),
        ("lesions", lambda v: Pathway(lesions=v)),
        ("gaze", GazeAdapted),
        ("drift", DriftAdapted),
        ("saccades", lambda v: DriftAdapted(saccades=v)),
        ("chunk", lambda v: Store("out", v)),
        ("gaze_sd", lambda v: make(gaze_sd=v)),
        ("ablations", lambda v: make(ablations=v)),
        ("background", lambda v: front_end()(IMAGE, v)),
    ),
)
@settings(
    max_examples=30,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(value=ODD)
@pytest.mark.filterwarnings("ignore::biomodel.LuminanceRangeWarning")
def test_any_value_is_used_or_refused_in_one_line(call, value):
    try:
        call(value)
    except InputError as error:
        assert "\n" not in str(error)


def test_spike_trains_without_spikes_are_a_block():
    pytest.importorskip("neo")
    nothing = SpikeTrains(columns=["station", "image", "trial", "channel", "y", "x", "time"])
    nothing.attrs = {"images": 2, "trials": 3, "duration_s": 0.02}
    assert [len(segment.spiketrains) for segment in nothing.to_neo().segments] == [0] * 6


def test_a_folder_with_other_settings_is_refused_and_kept(folder):
    simulate(store="out")
    assert refused(folder, ["seed", "= 0", "now 1"], lambda: simulate(store="out", seed=1))
    assert refused(folder, "exists", lambda: simulate(store="out", resume=False))
    assert simulate(store="out").load().identical(simulate())
