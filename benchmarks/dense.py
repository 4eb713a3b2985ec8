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
from brian2 import Hz, Network, NeuronGroup, Quantity, Synapses, TimedArray, linked_var, ms
from scipy import sparse

from biomodel.circuit import lgn, retina, v1
from biomodel.circuit.assembly import Circuit
from biomodel.circuit.cell_types import Kind, kinds
from biomodel.circuit.coupled_layer import Coupling, MakeLayer, coupling, solve_coupled_layer, stability_limit
from biomodel.circuit.lattice import Grid, Term
from biomodel.circuit.recording import add_recorders
from biomodel.circuit.retina import GANGLION_CHANNELS
from biomodel.circuit.specification import V1_CLOCK, Specification
from biomodel.circuit.station import State
from biomodel.circuit.steady_state import steady_state
from biomodel.engine.cpp import compile_circuit
from biomodel.utils.units import cd_per_m2

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

#: Cells of V1, of all kinds and places.
_CELLS = """
dsimple/dt = (spontaneous + simple_target - simple)/membrane_time : Hz
dopposite/dt = (spontaneous + opposite_target - opposite)/membrane_time : Hz
dcomplex/dt = (spontaneous + complex_gain*(same_phase + opposite_phase - spontaneous) - complex)/membrane_time : Hz
dinhibitory/dt = (heard_opposite*int(heard_opposite > 0*Hz) - inhibitory)/inhibitory_time : Hz
dinhibitory_opposite/dt = (heard*int(heard > 0*Hz) - inhibitory_opposite)/inhibitory_time : Hz
simple_target : Hz
opposite_target : Hz
same_phase : Hz
opposite_phase : Hz
heard : Hz
heard_opposite : Hz
power : 1
power_opposite : 1
drive_rest : Hz (constant)
opposed_rest : Hz (constant)
column : integer (constant)
"""

_HEARD = """
drive_{channel} : Hz
opposed_{channel} : Hz
"""

_NORMALISED = """
normalisation_{relay} : 1 (linked)
listens_{relay} : 1 (constant)
"""

_SUPPRESSED = """
surround_{band} : Hz (linked)
share_{band} : 1 (constant)
"""

_SUMS = """
heard = {drive} - drive_rest
heard_opposite = {opposed} - opposed_rest
excited = heard - inhibition*inhibitory
power = (excited*int(excited > 0*Hz)/semisaturation)**exponent
excited_opposite = heard_opposite - inhibition*inhibitory_opposite
power_opposite = (excited_opposite*int(excited_opposite > 0*Hz)/semisaturation)**exponent
share = maximum_rate/(1 + normalisation_weight*({pool}))/(1 + ({surround})/surround_half)
simple_target = share*power
opposite_target = share*power_opposite
"""


def wire(specification: Specification, mass: float) -> Circuit:
    """The dense circuit, without lesions; its stations and responses are called as those of `biomodel.circuit.assemble`.

    The horizontal layer's kernel is cut where it holds this share of its `mass`.
    """
    s, grid, p = specification, specification.grid, specification.parameters
    dt = s.dt * ms
    movie = TimedArray(np.zeros((s.frames, grid.cells)) * cd_per_m2, dt=s.frame_duration * ms, name="movie")
    cascades = retina.cascade(p, grid, dt, movie, s.movie_step * ms, s.lead * ms)
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
    if s.output == "v1":
        groups, afferents = cortex(s, relays["lgn"], dense_layer)
        stations |= groups
        synapses += afferents
    recorders, outputs = add_recorders(s, stations)
    network = Network(*stations.values(), *synapses, *recorders.values())
    return Circuit(s, network, stations | recorders, outputs, movie)


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
    kernel: np.ndarray | sparse.sparray,
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
    (targets, sources), (post, pre, weight) = kernel.shape, sparse.find(kernel)
    image = np.arange(images)[:, None]
    synapses.connect(i=(pre + image * sources).ravel(), j=(post + image * targets).ravel())
    synapses.weight = np.tile(weight, images)
    return synapses


def cortex(
    s: Specification, relay: NeuronGroup, make_layer: MakeLayer
) -> tuple[dict[str, NeuronGroup], list[Synapses]]:
    """V1's groups, and the synapses from relay cells to simple cells and partners and from simple to complex cells."""
    p, dt = s.parameters, s.clock("v1")
    thalamic = v1.thalamocortical(p, s.lesions, s.grid, dt, relay)
    populations = kinds(p, s.grid.pixels_per_degree)
    bands = {band: members for band, members in zip(v1.BANDS, v1.kinds_of_bands(populations), strict=True) if members}
    columns = v1.lattice_of(s.grid)
    relays = {relay: members for relay, members in v1.kinds_of_relays(populations).items() if members}
    cells, synapses = _cells(s, populations, list(relays), list(bands), thalamic)
    kernel = _complex_kernel(replace(columns, images=1), populations)
    for phase, written in (("simple", "same_phase"), ("opposite", "opposite_phase")):
        synapses.append(_summing(cells, cells, phase, written, "Hz", kernel, s.grid.images, dt, 10))
    told = _columns(s, columns, cells, len(populations), relays, bands)
    layers = _layers(s, columns, told, list(relays), list(bands), make_layer)
    place = np.arange(columns.cells).reshape(columns.images, 1, -1)
    cells.column = np.repeat(place, len(populations), axis=1).ravel()
    for name, layer in layers.items():
        setattr(cells, name, linked_var(layer, "pooled", index="column"))
    tuning = p.value("v1.surround_tuning")
    for relay, members in relays.items():
        listens = np.isin(np.arange(len(populations)), members).astype(float)
        setattr(cells, f"listens_{relay}", _of_kinds(listens, columns, populations))
    for band, members in bands.items():
        share = np.isin(np.arange(len(populations)), members) * tuning + (1 - tuning) / len(bands)
        setattr(cells, f"share_{band}", _of_kinds(share, columns, populations))
    return {"thalamocortical": thalamic, "v1_cells": cells, "v1": told} | layers, synapses


def _layers(
    s: Specification, columns: Grid, told: NeuronGroup, relays: list[str], bands: list[int], make_layer: MakeLayer
) -> dict[str, NeuronGroup]:
    """The layers that normalise and suppress."""
    p, dt = s.parameters, s.clock("v1")
    groups = {}
    for name, unit, drive, time in (
        *((f"normalisation_{relay}", "1", f"power_{relay}", "v1.inhibitory_time") for relay in relays),
        *((f"surround_{band}", "Hz", f"fired_{band}", "v1.surround_time") for band in bands),
    ):
        reach = p.value(f"v1.{name.split('_')[0]}_space_constant") * columns.pixels_per_degree
        layer = coupling(reach, stability_limit(p[time].quantity, dt, V1_CLOCK))
        groups[name] = make_layer(name, unit, layer, p[time].quantity, told, drive, columns, dt, 15)
    return groups


def _shape(columns: Grid, populations: list[Kind]) -> tuple[int, int, int]:
    """Images, kinds and places, in the order in which V1's cells are numbered."""
    return columns.images, len(populations), columns.height * columns.width


def _of_kinds(values: np.ndarray, columns: Grid, populations: list[Kind]) -> np.ndarray:
    """A value of each kind for all its cells."""
    return np.broadcast_to(values[None, :, None], _shape(columns, populations)).ravel()


def _cells(
    s: Specification, populations: list[Kind], relays: list[str], bands: list[int], thalamic: NeuronGroup
) -> tuple[NeuronGroup, list[Synapses]]:
    """V1's cells behind synapses from every relay cell that they pool."""
    p, dt = s.parameters, s.clock("v1")
    shape = _shape(v1.lattice_of(s.grid), populations)
    cells = NeuronGroup(
        int(np.prod(shape)),
        _CELLS
        + "".join(_HEARD.format(channel=channel) for channel in GANGLION_CHANNELS)
        + "".join(_NORMALISED.format(relay=relay) for relay in relays)
        + "".join(_SUPPRESSED.format(band=band) for band in bands),
        method="exponential_euler",
        dt=dt,
        order=12,
        name="v1_cells",
        namespace=p.quantities("v1"),
    )
    sums = {side: " + ".join(f"{side}_{channel}" for channel in GANGLION_CHANNELS) for side in ("drive", "opposed")}
    surround = " + ".join(f"share_{band}*surround_{band}" for band in bands)
    pool = " + ".join(f"listens_{relay}*normalisation_{relay}" for relay in relays)
    cells.run_regularly(
        _SUMS.format(pool=pool, surround=surround, **sums), dt=dt, when="groups", order=11, name="v1_sums"
    )
    rest = lgn.maintained(p)
    heard = [v1.heard(p, kind) for kind in populations]
    synapses = []
    for side, terms in zip(("drive", "opposed"), zip(*heard, strict=True), strict=True):
        resting = [sum(weight * rest[name.removeprefix("sent_")] for weight, name, _ in one) for one in terms]
        setattr(cells, f"{side}_rest", np.broadcast_to(np.array(resting)[None, :, None], shape).ravel() * Hz)
        for channel in GANGLION_CHANNELS:
            kernel = _afferent_kernel(replace(s.grid, images=1), list(terms), f"sent_{channel}")
            if kernel.nnz:
                sent, written = f"sent_{channel}", f"{side}_{channel}"
                synapses.append(_summing(thalamic, cells, sent, written, "Hz", kernel, s.grid.images, dt, 10))
    return cells, synapses


def _afferent_kernel(grid: Grid, terms: list[list[Term]], variable: str) -> sparse.sparray:
    """What the cells of each kind (row) take of a variable of each relay cell's synapses (column) of their image."""
    rows, columns = v1.lattice(grid.height, grid.pixels_per_degree), v1.lattice(grid.width, grid.pixels_per_degree)
    places = np.arange(len(rows) * len(columns))
    entries = [
        (kind * len(places) + places, grid.neighbour(*offset, rows, columns), weight)
        for kind, heard in enumerate(terms)
        for weight, name, offset in heard
        if name == variable
    ]
    return _sparse_kernel(entries, (len(terms) * len(places), grid.cells))


def _complex_kernel(columns: Grid, populations: list[Kind]) -> sparse.sparray:
    """What each complex cell (row) takes from each simple cell of either phase (column) of its image."""
    places = np.arange(columns.cells)
    entries = []
    for kind, cell in enumerate(populations):
        first, offsets = kind * columns.cells, v1.quarters(cell, columns.pixels_per_degree)
        entries += [(first + places, first + columns.neighbour(*offset), 0.5 / len(offsets)) for offset in offsets]
    return _sparse_kernel(entries, (len(populations) * columns.cells,) * 2)


def _sparse_kernel(entries: list[tuple[np.ndarray, np.ndarray, float]], shape: tuple[int, int]) -> sparse.sparray:
    """A kernel of rows and columns with the weight of each, those at one place summed."""
    kernel: sparse.sparray = sparse.csr_array(shape)
    for rows, columns, weight in entries:
        kernel = kernel + sparse.csr_array((np.full(len(rows), weight), (rows, columns)), shape=shape)
    return kernel


def _columns(
    s: Specification,
    columns: Grid,
    cells: NeuronGroup,
    count: int,
    relays: dict[str, list[int]],
    bands: dict[int, list[int]],
) -> NeuronGroup:
    """V1's cell columns: the rates of their cells, as the coupled circuit has them, and what they tell the layers."""
    rates = {f"{cell}_{k}": (cell, k) for cell in ("simple", "opposite", "complex") for k in range(count)}
    powers = {f"{power}_{k}": (power, k) for power in ("power", "power_opposite") for k in range(count)}
    group = NeuronGroup(
        columns.cells,
        "".join(f"power_{relay} : 1\n" for relay in relays)
        + "".join(f"fired_{band} : Hz\n" for band in bands)
        + "".join(f"{name} : Hz\ncell_{name} : Hz (linked)\n" for name in rates)
        + "".join(f"{name} : 1 (linked)\n" for name in powers)
        + "".join(f"cell_{k} : integer (constant)\n" for k in range(count)),
        dt=s.clock("v1"),
        name="v1",
        namespace=s.parameters.quantities("v1"),
    )
    numbers = np.arange(len(cells)).reshape(columns.images, count, -1)
    for k in range(count):
        setattr(group, f"cell_{k}", numbers[:, k].ravel())
    linked = {f"cell_{name}": cell for name, cell in rates.items()} | powers
    for name, (variable, k) in linked.items():
        setattr(group, name, linked_var(cells, variable, index=f"cell_{k}"))
    told = [f"{name} = cell_{name}" for name in rates]
    for relay, members in relays.items():
        heard = " + ".join(f"power_{k} + power_opposite_{k}" for k in members)
        told.append(f"power_{relay} = ({heard})/{len(members)}")
    for band, members in bands.items():
        fired = " + ".join(f"cell_{cell}_{k}" for k in members for cell in ("simple", "opposite"))
        told.append(f"fired_{band} = ({fired})/{len(members)} - 2*spontaneous")
    group.run_regularly("\n".join(told), dt=s.clock("v1"), when="groups", order=13, name="v1_telling")
    return group


def start(specification: Specification, background: np.ndarray) -> State:
    """The state that the dense circuit starts from: the coupled one's, as far as it has the same variables."""
    state = steady_state(specification, background)
    dropped = ("cone.midget_row", "cone.diffuse_row", "horizontal.settled")
    kept = {name: values for name, values in state.items() if name not in dropped and not name.startswith("v1.")}
    if specification.output == "v1":
        count = round(specification.parameters.value("v1.kinds"))
        for cell in ("simple", "opposite", "complex", "inhibitory", "inhibitory_opposite"):
            kept[f"v1_cells.{cell}"] = np.stack([state[f"v1.{cell}_{k}"] for k in range(count)], 1)
    return kept


def build(specification: Specification, folder: Path, mass: float) -> None:
    """Compile the dense circuit into `folder`, in this process, which can do it once."""
    grid = specification.grid
    states = start(specification, np.ones((grid.images, grid.height, grid.width)))
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        compile_circuit(functools.partial(wire, mass=mass), specification, states, Path(scratch)).rename(folder)


if __name__ == "__main__":
    build(Specification.from_json(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3]))
