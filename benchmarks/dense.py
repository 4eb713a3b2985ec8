"""The same circuit wired the dense way: every spatial pool is a set of synapses that sum, over the kernel it stands for.

The horizontal layer's kernel is what its gap junctions amount to when settled, the inverse of the coupled layer; after
an onset the two differ, since a coupled layer spreads its signal in time as well as in space.
"""

from __future__ import annotations

import functools
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from brian2 import Network, NeuronGroup, Quantity, Synapses, TimedArray, linked_var, ms

from biomodel import lgn, retina, v1
from biomodel.circuit import Circuit, Specification, recorder, settled
from biomodel.compilation import compiled
from biomodel.station import State
from biomodel.units import cd_per_m2
from biomodel.wiring import Coupling, Grid, solve_coupled_layer

#: A sheet that reaches so many space constants is as good as endless.
_ENDLESS = 14

_HORIZONTAL = """
dpotential/dt = leak*(gain*drive - potential)/capacitance : volt
drive : amp
"""

#: Beside the bipolar cells' own equations.
_CENTRES = """
midget_centre : amp
diffuse_sum : amp
"""

_SIMPLE = """
excited = spontaneous + gain*(from_on + from_off - resting_drive) : Hz
dsimple/dt = (excited*int(excited > 0*Hz) - simple)/membrane_time : Hz
from_on : Hz
from_off : Hz
resting_drive : Hz (constant)
"""


def wire(specification: Specification, mass: float) -> Circuit:
    """The dense circuit; its stations and responses are called as those of `biomodel.circuit.assemble`.

    The horizontal layer's kernel is cut where it holds this share of its `mass`.
    """
    s, grid, p = specification, specification.grid, specification.parameters
    dt = s.dt * ms
    movie = TimedArray(np.zeros((s.frames, grid.cells)) * cd_per_m2, dt=s.frame_duration * ms, name="movie")
    cascades = retina.cascade(p, grid, dt, movie, s.movie_step * ms)
    cones = NeuronGroup(
        grid.cells,
        retina.CONE_EQUATIONS + retina.ADAPTING_CONE,
        method="exponential_euler",
        dt=dt,
        order=0,
        name="cone",
        namespace={
            **p.quantities("cone"),
            "feedback": p["horizontal.feedback"].quantity,
        },
    )
    for told in ("y5", "isomerisation"):
        setattr(cones, told, linked_var(cascades, told))
    horizontals = NeuronGroup(
        grid.cells,
        _HORIZONTAL,
        method="euler",
        dt=dt,
        order=2,
        name="horizontal",
        namespace=p.quantities("horizontal"),
    )
    cones.horizontal_potential = linked_var(horizontals, "potential")
    kernel = layer_kernel(grid, retina.horizontal_coupling(p, grid.pixels_per_degree, dt), mass)
    synapses = [_summing(cones, horizontals, "signal", "drive", "amp", kernel, grid.images, dt, 1)]

    def dense_layer(
        name: str,
        unit: str,
        layer: Coupling,
        time: Quantity,
        source: NeuronGroup,
        variable: str,
        grid: Grid,
        dt: Quantity,
        order: int,
    ) -> NeuronGroup:
        equations = f"dpooled/dt = (drive - pooled)/time : {unit}\ndrive : {unit}\n"
        group = NeuronGroup(
            grid.cells, equations, method="euler", dt=dt, order=order, name=name, namespace={"time": time}
        )
        kernel = layer_kernel(grid, layer, mass)
        synapses.append(_summing(source, group, variable, "drive", unit, kernel, grid.images, dt, order - 1))
        return group

    bipolars = NeuronGroup(
        grid.cells,
        retina.BIPOLAR_EQUATIONS + _CENTRES,
        method="exponential_euler",
        dt=dt,
        order=3,
        name="bipolar",
        namespace={
            **p.quantities("bipolar"),
            "horizontal_gain": p["horizontal.gain"].quantity,
            "surround_weight": p["amacrine.surround_weight"].quantity,
        },
    )
    bipolars.horizontal_potential = linked_var(horizontals, "potential")
    drive = retina.BIPOLAR_DRIVE.format(level="luminance_level", midget="midget_centre", diffuse="diffuse_sum")
    bipolars.run_regularly(drive, dt=dt, when="groups", order=2, name="bipolar_drive")
    for name, written in (("midget", "midget_centre"), ("diffuse", "diffuse_sum")):
        one_side = retina.bipolar_centres(p, grid.pixels_per_degree)[name]
        kernel = centre_kernel(grid, one_side)
        synapses.append(_summing(cones, bipolars, "signal", written, "amp", kernel, grid.images, dt, 1))
    slow_dt = retina.AMACRINE_CLOCK * dt
    wide = retina.wide_amacrine(p, grid, slow_dt, bipolars, dense_layer)
    contrast = retina.contrast_amacrine(p, grid, slow_dt, bipolars, dense_layer)
    ganglia = retina.ganglion(p, s.lesions, grid, dt, bipolars, contrast)
    relays = lgn.lgn(p, s.lesions, grid, dt, slow_dt, ganglia, dense_layer)
    stations = {
        "cascade": cascades,
        "cone": cones,
        "horizontal": horizontals,
        "bipolar": bipolars,
        "ganglion": ganglia,
    } | relays
    stations |= {"wide_amacrine": wide, "contrast_amacrine": contrast}
    if s.until == "v1":
        cortex, afferents = _v1(s, relays["lgn"])
        stations["v1"] = cortex
        synapses += afferents
    recorders = {name: recorder(s, name, stations[name]) for name in s.stations if name != "v1"}
    network = Network(*stations.values(), *synapses, *recorders.values())
    return Circuit(s, network, stations, recorders, movie)


def layer_kernel(grid: Grid, layer: Coupling, mass: float) -> np.ndarray:
    """What a cell (row) of a coupled layer takes from each cell above it (column) of its image when settled, cut.

    The kernel is that of an endless sheet, cut to the cells that hold this share of its `mass`, and mirrored at the edges.
    """
    reach = int(np.ceil(_ENDLESS * layer.space_constant))
    impulse = np.zeros((1, 2 * reach + 1, 2 * reach + 1))
    impulse[0, reach, reach] = 1.0
    sheet = solve_coupled_layer(layer, 1.0, impulse)[0]
    ordered = np.sort(sheet.ravel())[::-1]
    smallest = ordered[np.argmax(np.cumsum(ordered) >= mass * sheet.sum())]
    weights = np.where(sheet >= smallest, sheet, 0.0) / sheet[sheet >= smallest].sum()
    one = replace(grid, images=1)
    kernel = np.zeros((one.cells, one.cells))
    for down, right in np.argwhere(weights > 0) - reach:
        kernel[np.arange(one.cells), one.mirrored(down, right)] += weights[down + reach, right + reach]
    return kernel


def centre_kernel(grid: Grid, one_side: np.ndarray) -> np.ndarray:
    """What a bipolar cell (row) takes from each cone (column) of its image, through a separable centre."""
    one = replace(grid, images=1)
    kernel = np.zeros((one.cells, one.cells))
    reach = len(one_side) - 1
    for down in range(-reach, reach + 1):
        for right in range(-reach, reach + 1):
            kernel[np.arange(one.cells), one.neighbour(down, right)] += one_side[abs(down)] * one_side[abs(right)]
    return kernel


def _summing(
    source: NeuronGroup,
    target: NeuronGroup,
    read: str,
    written: str,
    unit: str,
    kernel: np.ndarray,
    images: int,
    dt: Quantity,
    order: int,
) -> Synapses:
    """Synapses within each image that sum `read` of the source into `written` of the target, by `kernel` (target, source)."""
    synapses = Synapses(
        source,
        target,
        f"weight : 1 (constant)\n{written}_post = weight*{read}_pre : {unit} (summed)",
        dt=dt,
        order=order,
        name=f"{source.name}_{written}_{target.name}",
    )
    post, pre = np.nonzero(kernel)
    image = np.arange(images)[:, None]
    synapses.connect(i=(pre + image * kernel.shape[1]).ravel(), j=(post + image * kernel.shape[0]).ravel())
    synapses.weight = np.tile(kernel[post, pre], images)
    return synapses


def _v1(s: Specification, relay: NeuronGroup) -> tuple[NeuronGroup, list[Synapses]]:
    """Simple cells, numbered image, kind, row, column, behind synapses from every relay cell that they pool."""
    p, grid = s.parameters, replace(s.grid, images=1)
    cells = v1.population(p, grid.pixels_per_degree)
    places = len(grid.neighbour(0, 0, v1.STRIDE))
    group = NeuronGroup(
        s.grid.images * len(cells) * places,
        _SIMPLE,
        method="exponential_euler",
        dt=s.clock("v1"),
        order=7,
        name="v1",
        namespace=p.quantities("v1"),
    )
    synapses = []
    for channel, on in (("midget_on", True), ("midget_off", False)):
        kernel = np.zeros((len(cells) * places, grid.cells))
        for kind, cell in enumerate(cells):
            a = cell.afferents
            for down, right, weight in zip(a.down[a.on == on], a.right[a.on == on], a.weight[a.on == on], strict=True):
                rows = kind * places + np.arange(places)
                kernel[rows, grid.neighbour(int(down), int(right), v1.STRIDE)] += weight
        written = f"from_{channel.removeprefix('midget_')}"
        synapses.append(_summing(relay, group, channel, written, "Hz", kernel, s.grid.images, s.clock("v1"), 6))
    return group, synapses


def start(specification: Specification, background: np.ndarray) -> State:
    """The state that the dense circuit starts from: the coupled one's, as far as it has the same variables."""
    state = settled(specification, background)
    dropped = ("cone.midget_row", "cone.diffuse_row", "horizontal.settled")
    kept = {name: values for name, values in state.items() if name not in dropped and not name.startswith("v1.")}
    if specification.until == "v1":
        cells = v1.population(specification.parameters, specification.grid.pixels_per_degree)
        shape = (len(background), len(cells), *state[f"v1.{v1.variable(0)}"].shape[1:])
        resting = [v1.resting_drive(cell, specification.parameters) for cell in cells]
        kept["v1.simple"] = np.full(shape, specification.parameters.value("v1.spontaneous"))
        kept["v1.resting_drive"] = np.ascontiguousarray(np.broadcast_to(np.array(resting)[None, :, None, None], shape))
    return kept


def build(specification: Specification, folder: Path, mass: float) -> None:
    """Compile the dense circuit into `folder`, in this process, which can do it once."""
    grid = specification.grid
    states = start(specification, np.ones((grid.images, grid.height, grid.width)))
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        compiled(functools.partial(wire, mass=mass), specification, states, Path(scratch)).rename(folder)


if __name__ == "__main__":
    build(Specification.from_json(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3]))
