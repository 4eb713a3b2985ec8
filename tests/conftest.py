import os
import sys
from dataclasses import replace

# Workers of a parallel run share the cores: threads of torch's on top of them wait for each other.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import pytest
from xdist.scheduler import LoadScopeScheduling

from biomodel import Pathway, luminance
from biomodel.circuit.specification import EVERYWHERE
from biomodel.images import photographs
from biomodel.physiology.recording import TrialAveraged

#: Modules whose fixtures take long: all of their tests go to one worker.
ONE_WORKER = (
    "test_bridge.py",
    "test_physiology_gain.py",
    "test_physiology_v1.py",
    "test_cortical_counts.py",
    "test_pathway.py",
    "test_v1.py",
    "test_cluster.py",
    "test_spiking.py",
)


class Scheduler(LoadScopeScheduling):
    """Single tests, and modules with expensive fixtures as a whole, go to the next free worker; whole modules first."""

    def _split_scope(self, nodeid):
        module = nodeid.split("::")[0]
        return module if module.endswith(ONE_WORKER) else nodeid


def pytest_xdist_make_scheduler(config, log):
    return Scheduler(config, log)


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory):
    """One cache of compiled circuits for all workers of a run, empty at its start; the user's own is left alone."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        patch.delenv("PRECORTICAL_CACHE", raising=False)
        yield


@pytest.fixture(scope="session")
def patches():
    return photographs(26, seed=3)


@pytest.fixture(scope="session")
def few_kinds():
    """A pathway of which V1 is compiled in seconds."""
    return Pathway(parameters={"v1.kinds": 4})


@pytest.fixture(scope="session")
def responses(patches, few_kinds):
    return few_kinds.simulate(patches)


class RatesAsTrials(TrialAveraged):
    """The rate form, which has no noise, where trials are averaged."""

    def simulate(self, *args, trials=1, region=EVERYWHERE, **settings):
        return self.pathway.simulate(*args, region=replace(region, spiking=None), **settings)


@pytest.fixture(scope="session")
def as_trials():
    return RatesAsTrials


@pytest.fixture
def even():
    """Two even fields of 16×16 pixels, 50 and 400 cd/m²."""
    return luminance(np.full((2, 16, 16), 1.0) * np.array([50.0, 400.0])[:, None, None], 16)


@pytest.fixture
def command(monkeypatch, capsys):
    """Runs the command line, and returns its exit code, standard output and standard error."""

    from studies.cli import main

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["precortical", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main.main()
        streams = capsys.readouterr()
        return end.value.code or 0, streams.out, streams.err

    return run
