"""Every constant of the pathway: read from TOML files, checked, with overrides and a digest.

``rate.toml`` has the parameters of every pathway, ``spiking.toml`` those that spiking fidelity adds, and ``presets.toml`` the
values that differ between presets. To add a parameter, add one table to one of these files. To add a preset, add its values
to ``presets.toml``.
"""

from __future__ import annotations

import functools
import hashlib
import json
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from importlib import resources
from math import inf, log, pi, sqrt
from typing import Any, Literal

from brian2 import Quantity

from biomodel.utils.checks import one_of
from biomodel.utils.errors import InputError
from biomodel.utils.units import UNITS, as_number


@dataclass(frozen=True)
class Parameter:
    """One biological constant: `value` in `unit`, its origin and source, and its accepted range.

    The origin is *published* (printed in the source), *derived* (computed from published values by the formula in the source)
    or *calibrated* (chosen so that the response to the stimulus named in the source has a published size). A `whole` parameter is
    a number of things, or a seed.
    """

    name: str
    value: float
    unit: str
    origin: Literal["published", "derived", "calibrated"]
    source: str
    low: float = 0.0
    high: float = inf
    whole: bool = False

    @property
    def quantity(self) -> Quantity | float:
        """The value as a Brian2 quantity (a plain number where the unit is dimensionless)."""
        return self.value * UNITS[self.unit]


#: Luminances (cd/m²) at which the phototransduction model was measured. The model has no rods, which see lower ones.
VALID_LUMINANCE = (1.0, 10_000.0)


@functools.cache
def _read(name: str) -> dict[str, Any]:
    return tomllib.loads((resources.files("biomodel.parameters") / f"{name}.toml").read_text("utf-8"))


def _entries(stations: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The tables of a file by parameter, "station.name"."""
    return {f"{station}.{name}": dict(entry) for station, names in stations.items() for name, entry in names.items()}


#: Names of the presets.
PRESETS: tuple[str, ...] = tuple(_read("presets"))

#: Cells from the ganglion cells on respond by a rate or by spikes.
FIDELITIES = ("rate", "spiking")


def _derived(p: Mapping[str, float]) -> dict[str, float]:
    """Values that follow from a preset's other values, by name.

    Surrounds arise in coupled layers. Such a layer of space constant λ has a kernel with the second moment of a Gaussian of
    σ = √2 λ, whose radius at 1/e is √2 σ = 2 λ. Feedback of loop gain k divides a layer's λ by √(1 + k).

    Overrides by the user do not change derived values.
    """
    midget, parasol = p["bipolar.midget_centre_radius"], p["bipolar.diffuse_centre_radius"]
    # Croner & Kaplan 1995: a P cell's surround has 6.7 times the centre's radius, and .55 of its integrated weight.
    surround_weight = 0.55
    loop_gain = surround_weight / (1 - surround_weight)
    surround_space_constant = 6.7 * midget / 2
    coupled_cells = surround_space_constant * sqrt(1 + loop_gain) / p["horizontal.spacing"]
    return {
        "horizontal.capacitance": 20 * p["horizontal.leak"],
        "horizontal.coupling": p["horizontal.leak"] * coupled_cells**2,
        "horizontal.feedback": loop_gain / p["horizontal.gain"],
        "amacrine.surround_space_constant": 4.8 * parasol / 2,
        "amacrine.contrast_space_constant": 0.2 / sqrt(2),
        # The frequency at which a Gaussian centre of this radius at 1/e passes half of the contrast.
        "v1.parasol_highest_frequency": sqrt(log(2)) / (pi * parasol),
    }


@functools.cache
def _defaults(preset: str, fidelity: str) -> dict[str, Parameter]:
    """Every parameter of a preset by name."""
    entries = _entries(_read("rate"))
    for name, entry in _entries({k: v for k, v in _read("presets")[preset].items() if k != "eccentricity"}).items():
        entries[name] |= entry
    for name, value in _derived({name: entry["value"] for name, entry in entries.items() if "value" in entry}).items():
        entries[name]["value"] = value
    if fidelity == "spiking":
        entries |= _entries(_read("spiking"))
    return {name: Parameter(name, **entry) for name, entry in entries.items()}


class Parameters(Mapping[str, Parameter]):
    """A preset's parameters by name, with overrides: immutable, with a digest.

    Parameters
    ----------
    preset : str
        One of `PRESETS`.
    overrides : mapping of str to float or brian2.Quantity, optional
        New values; plain numbers are in the documented unit.
    fidelity : str
        One of `FIDELITIES`; "spiking" adds parameters.

    Raises
    ------
    InputError
        For an unknown preset, fidelity or name, a quantity of the wrong unit, a value outside the accepted range.

    Examples
    --------
    >>> from brian2 import nS
    >>> from biomodel.parameters import Parameters
    >>> parameters = Parameters("macaque_parafovea", {"horizontal.coupling": 3 * nS})
    >>> parameters.value("horizontal.coupling"), parameters["horizontal.coupling"].unit
    (3.0, 'nS')
    """

    def __init__(self, preset: str, overrides: Mapping[str, object] | None = None, fidelity: str = "rate") -> None:
        self.preset = one_of(preset, PRESETS, "preset")
        self.fidelity = one_of(fidelity, FIDELITIES, "fidelity")
        self._all = dict(_defaults(preset, fidelity))
        for name, value in (overrides or {}).items():
            if name not in self._all:
                raise InputError(f"parameters must be among {', '.join(self._all)}, got {name!r}")
            default = self._all[name]
            number = as_number(value, default.unit, name)
            if not default.low <= number <= default.high:
                unit = "" if default.unit == "1" else f" {default.unit}"
                raise InputError(f"{name} must be {default.low:g} to {default.high:g}{unit}, got {number:g}")
            if default.whole and not number.is_integer():
                raise InputError(f"{name} must be a whole number, got {number:g}")
            self._all[name] = replace(default, value=number)

    def __getitem__(self, name: str) -> Parameter:
        return self._all[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all)

    def __len__(self) -> int:
        return len(self._all)

    def value(self, name: str) -> float:
        """The plain number of one parameter, in its documented unit."""
        return self._all[name].value

    def quantities(self, station: str) -> dict[str, Quantity | float]:
        """One station's parameters as Brian2 quantities, by name without the station: a namespace."""
        prefix = station + "."
        return {n.removeprefix(prefix): p.quantity for n, p in self._all.items() if n.startswith(prefix)}

    def values_by_name(self) -> dict[str, float]:
        """Every plain number by name, in the documented units."""
        return {name: p.value for name, p in self._all.items()}

    @property
    def eccentricity(self) -> str:
        """Part of the visual field: "foveal" or "parafoveal"."""
        return _read("presets")[self.preset]["eccentricity"]

    @property
    def digest(self) -> str:
        """SHA-256 of names, values and units: equal for equal physiology."""
        listing = json.dumps({n: [float(p.value), p.unit] for n, p in self._all.items()}, sort_keys=True)
        return hashlib.sha256(listing.encode()).hexdigest()

    def __repr__(self) -> str:
        lines = [f"{p.name:32} {p.value:>10.5g} {p.unit:6} {p.origin:10} {p.source}" for p in self._all.values()]
        return f"{self.preset}\n" + "\n".join(lines)


def table(fidelity: str = "rate") -> str:
    """A Markdown table of every parameter: value, unit, origin and source.

    A parameter whose value differs between presets has a row for each. With fidelity "spiking", the table has only the
    parameters that spiking adds.
    """
    rows = ["| parameter | value | unit | origin | source |", "|---|---|---|---|---|"]
    first, *others = (Parameters(preset, fidelity=fidelity) for preset in PRESETS)
    shared = set(Parameters(first.preset)) if fidelity == "spiking" else set()
    for name in first:
        if name in shared:
            continue
        listed = {f"`{name}`": first[name]}
        for other in others:
            if (other[name].value, other[name].source) != (first[name].value, first[name].source):
                listed[f"… in {other.preset}"] = other[name]
        rows += [f"| {label} | {p.value:.4g} | {p.unit} | {p.origin} | {p.source} |" for label, p in listed.items()]
    return "\n".join(rows) + "\n"
