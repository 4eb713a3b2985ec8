"""`precortical simulate`."""

import time
from pathlib import Path
from typing import Annotated

from typer import Argument, Option, echo

from biomodel.utils.errors import InputError
from studies.cli import options


def simulate(
    source: Annotated[str, Argument(help="Folder of images, .npy or .npz file, or name of a data set.")],
    *,
    out: options.Out = Path("out/simulate"),
    seed: options.Seed = 0,
    json_file: options.Json = None,
    preset: options.Preset = "macaque_parafovea",
    parameters: options.Parameters,
    lesions: options.Lesions,
    target: options.Target = None,
    fidelity: options.Fidelity = "rate",
    trials: Annotated[int, Option(help="Trials per image, at spiking fidelity.", min=1)] = 1,
    output: Annotated[
        str, Option(help="Last station: cone, horizontal, bipolar, ganglion, lgn, v1_input or v1.")
    ] = "v1",
    peak: Annotated[float, Option(help="Luminance of white, cd/m².")] = 200.0,
    black: Annotated[float, Option(help="Luminance of black, cd/m².")] = 6.0,
    pixels_per_degree: Annotated[float, Option(help="Pixels per degree of visual angle.")] = 16.0,
    in_luminance: Annotated[bool, Option(help="The array holds luminance in cd/m², not sRGB codes.")] = False,
    adapt_to: Annotated[
        str,
        Option(
            help="gaze: the image itself, blurred by the eye's drift, for each adapting state by how long it remembers; or a "
            "luminance, cd/m²."
        ),
    ] = "gaze",
    gaze_sd: Annotated[
        float | None,
        Option(help="Instead of the drift, one blur for all adapting states: standard deviation, degrees."),
    ] = None,
    duration: Annotated[float, Option(help="Presentation time of each image, s.")] = 0.2,
    window: Annotated[tuple[float, float], Option(help="Window of averaging, s after onset.")] = (0.0, 0.2),
    images: Annotated[int, Option(help="Number of images, the first ones; 0 for all.", min=0)] = 0,
    chunk: Annotated[int, Option(help="Images per stored chunk; 0 for a size that suits.", min=0)] = 0,
    workers: options.Workers = None,
    cluster: options.Cluster = None,
    resume: Annotated[bool, Option(help="Continue with the responses in --out, or refuse to.")] = True,
) -> None:
    """Simulate responses to images, and store them in responses.zarr in the output folder.

    The same command continues a stopped simulation. The studies use --parameter v1.kinds=16.
    """
    from biomodel import Display, DriftAdapted, GazeAdapted, Pathway, Store, luminance
    from biomodel.engine.store import n_done
    from studies.data import sources

    changes, processes = options.parse_parameters(parameters), options.choose_workers(workers, cluster)
    pathway = Pathway(preset, fidelity=fidelity, parameters=changes, lesions=lesions, target=target)
    found = sources.read(source, images or None, array_only=in_luminance)
    display = Display(peak, black, pixels_per_degree)
    stimulus = luminance(found.images, pixels_per_degree) if in_luminance else display.show(found.images)
    stimulus = stimulus.assign_coords({name: ("image", values) for name, values in found.coordinates.items()})
    if adapt_to == "previous":
        raise InputError("--adapt-to must be gaze or a luminance in cd/m², got 'previous'")
    settled = DriftAdapted() if gaze_sd is None else GazeAdapted(gaze_sd)
    before, start = n_done(out), time.perf_counter()
    responses = pathway.simulate(
        stimulus,
        adapt_to=settled if adapt_to == "gaze" else _number_or_name(adapt_to),
        duration=duration,
        window=window,
        seed=seed,
        trials=trials,
        output=output,
        workers=processes,
        store=Store(out, chunk or None),
        resume=resume,
    )
    seconds = time.perf_counter() - start
    total = responses.sizes["image"]
    simulated = total - before
    summary = {
        "responses": str(out / "responses.zarr"),
        "images": total,
        "simulated": simulated,
        "seconds": seconds,
        "images_per_second": simulated / seconds,
        "workers": processes,
    }
    options.write_json(summary, json_file)
    echo(f"{summary['responses']}: {total} images, {simulated} of them now, {simulated / seconds:.3g} images/s")


def _number_or_name(text: str) -> str | float:
    try:
        return float(text)
    except ValueError:
        return text
