"""The retina and relay with dense synapses, as a Brian2 user would wire them first.

Each spatial pool is a group of summing synapses with the pool's kernel as weights. The kernel of a coupled layer is its
steady response to a point. The two circuits therefore agree at steady state; after an onset they differ, because a
coupled layer spreads a signal in time as well as in space. V1 is left out.
"""

from __future__ import annotations

import functools
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from brian2 import Network, NeuronGroup, Synapses, TimedArray, linked_var, ms

from biomodel.adaptation import Fields
from biomodel.circuit import lgn, retina
from biomodel.circuit.assembly import Circuit
from biomodel.circuit.coupled_layer import Coupling, Layer, solve_coupled_layer
from biomodel.circuit.lattice import Grid
from biomodel.circuit.recording import add_recorders
from biomodel.circuit.specification import Specification
from biomodel.circuit.station import State
from biomodel.circuit.steady_state import steady_state
from biomodel.engine.cpp import compile_circuit
from biomodel.utils.units import cd_per_m2

#: Radius, in space constants, of a sheet that is as good as infinite.
_SHEET_RADIUS = 14

_HORIZONTAL = """
dpotential/dt = leak*(gain*drive - potential)/capacitance : volt
drive : amp
"""

#: Added to the bipolar cells' own equations.
_CENTRES = """
midget_sum : amp
diffuse_on_sum : amp
diffuse_off_sum : amp
"""


def wire(specification: Specification, mass: float) -> Circuit:
    """The dense circuit up to the relay, without lesions; groups and responses have the names of `assemble`'s.

    Kernels of coupled layers are cut where they hold this share of their `mass`.
    """
    s, grid, p = specification, specification.grid, specification.parameters
    setting, dt = s.setting, s.dt * ms
    synapses: list[Synapses] = []

    def dense_layer(layer: Layer, source: NeuronGroup, variable: str, grid: Grid) -> NeuronGroup:
        group = NeuronGroup(
            grid.cells,
            f"dpooled/dt = (drive - pooled)/time : {layer.unit}\ndrive : {layer.unit}\n",
            method="euler",
            dt=layer.dt,
            order=layer.order,
            name=layer.name,
            namespace={"time": layer.time},
        )
        kernel = layer_kernel(grid, layer.coupling, mass)
        synapses.append(_summing_synapses(source, group, variable, "drive", layer.unit, kernel, layer.order - 1))
        return group

    movie = TimedArray(np.zeros((s.frames, grid.cells)) * cd_per_m2, dt=s.frame_duration * ms, name="movie")
    cascades = retina.cascade(setting, movie, s.movie_step * ms, s.lead * ms)
    cones = NeuronGroup(
        grid.cells,
        retina.CONE_EQUATIONS + retina.ADAPTING_CONE.format(shown=""),
        method="exponential_euler",
        dt=dt,
        order=0,
        name="cone",
        namespace={**p.quantities("cone"), "feedback": p["horizontal.feedback"].quantity},
    )
    for variable in ("y5", "isomerisation"):
        setattr(cones, variable, linked_var(cascades, variable))
    horizontals = NeuronGroup(
        grid.cells, _HORIZONTAL, method="euler", dt=dt, order=2, name="horizontal", namespace=p.quantities("horizontal")
    )
    cones.horizontal_potential = linked_var(horizontals, "potential")
    kernel = layer_kernel(grid, retina.horizontal_coupling(p, grid.pixels_per_degree, dt), mass)
    synapses.append(_summing_synapses(cones, horizontals, "signal", "drive", "amp", kernel, 1))
    bipolars = NeuronGroup(
        grid.cells,
        retina.BIPOLAR_EQUATIONS.format(shown="") + _CENTRES,
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
    centres = retina.bipolar_centres(p, grid.pixels_per_degree)
    drive = retina.BIPOLAR_DRIVE.format(level="luminance_level", **{name: f"{name}_sum" for name in centres})
    bipolars.run_regularly(drive, dt=dt, when="groups", order=2, name="bipolar_drive")
    for name, one_side in centres.items():
        kernel = centre_kernel(grid, one_side)
        synapses.append(_summing_synapses(cones, bipolars, "signal", f"{name}_sum", "amp", kernel, 1))
    wide = retina.wide_amacrine(setting, bipolars, dense_layer)
    contrast = retina.contrast_amacrine(setting, bipolars, dense_layer)
    remote = retina.remote_amacrine(setting, contrast)
    ganglia = retina.ganglion(setting, bipolars, contrast, remote)
    relays = lgn.lgn(setting, ganglia, dense_layer)
    groups = {
        group.name: group for group in (cascades, cones, horizontals, bipolars, wide, contrast, remote, ganglia)
    } | relays
    recorders, outputs = add_recorders(s, groups)
    network = Network(*groups.values(), *synapses, *recorders.values())
    return Circuit(s, network, groups | recorders, outputs, movie)


def layer_kernel(grid: Grid, layer: Coupling, mass: float) -> np.ndarray:
    """Weight of each source cell (column) in the steady state of each cell (row) of a coupled layer, for one image.

    The kernel is that of an infinite sheet, cut to the cells that hold this share of its `mass`, and mirrored at the edges.
    """
    reach = int(np.ceil(_SHEET_RADIUS * layer.space_constant))
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
    """Weight of each cone (column) in the separable centre of each bipolar cell (row), for one image."""
    one = replace(grid, images=1)
    kernel = np.zeros((one.cells, one.cells))
    reach = len(one_side) - 1
    for down in range(-reach, reach + 1):
        for right in range(-reach, reach + 1):
            kernel[np.arange(one.cells), one.neighbour(down, right)] += one_side[abs(down)] * one_side[abs(right)]
    return kernel


def _summing_synapses(
    source: NeuronGroup, target: NeuronGroup, read: str, written: str, unit: str, kernel: np.ndarray, order: int
) -> Synapses:
    """Synapses within each image that sum `read` of the source into `written` of the target, by `kernel` (target, source)."""
    synapses = Synapses(
        source,
        target,
        f"weight : 1 (constant)\n{written}_post = weight*{read}_pre : {unit} (summed)",
        dt=target.clock.dt,
        order=order,
        name=f"{source.name}_{written}_{target.name}",
    )
    (targets, sources), (post, pre) = kernel.shape, np.nonzero(kernel)
    images = len(source) // sources
    image = np.arange(images)[:, None]
    synapses.connect(i=(pre + image * sources).ravel(), j=(post + image * targets).ravel())
    synapses.weight = np.tile(kernel[post, pre], images)
    return synapses


def initial_state(specification: Specification, background: np.ndarray) -> State:
    """The steady state of the coupled circuit, without the variables that the dense one lacks."""
    state = steady_state(specification, Fields(background))
    lacking = [name for name in state if name.endswith("_row")] + ["horizontal.steady_potential"]
    return {name: values for name, values in state.items() if name not in lacking}


def build(specification: Specification, folder: Path, mass: float) -> None:
    """Compile the dense circuit into `folder`. A process can do this once."""
    grid = specification.grid
    states = initial_state(specification, np.ones((grid.images, grid.height, grid.width)))
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        compile_circuit(functools.partial(wire, mass=mass), specification, states, Path(scratch)).rename(folder)


if __name__ == "__main__":
    build(Specification.from_json(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3]))
