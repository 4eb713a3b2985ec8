import errno
import fcntl
import os
from pathlib import Path

import pytest

from biomodel import InputError, MachineError
from biomodel.engine import cache
from biomodel.utils.paths import make_folder, write_text
from biomodel.utils.run_folder import claim, exclusive, is_running, run_token, working_for


def test_a_folder_belongs_to_the_settings_that_it_was_made_with(tmp_path):
    path = tmp_path / "run" / "config.json"
    claim(path, {"seed": 1, "arms": ("a", "b")})
    claim(path, {"seed": 1, "arms": ["a", "b"]})
    with pytest.raises(InputError, match="run was made with seed = 1, now 2: give the same settings"):
        claim(path, {"seed": 2, "arms": ["a", "b"]})
    with pytest.raises(InputError, match="budget = None, now 3"):
        claim(path, {"seed": 1, "arms": ["a", "b"], "budget": 3})
    claim(path, {"budget": 3}, extend=True)
    claim(path, {"seed": 1, "arms": ["a", "b"], "budget": 3})
    path.write_text("[1")
    with pytest.raises(InputError, match="must be a JSON file with the settings of a run"):
        claim(path, {"seed": 1})


def test_a_folder_that_cannot_be_written_is_an_input_error():
    with pytest.raises(InputError, match="cannot be written"):
        claim(Path("/dev/null/run/config.json"), {})


def test_a_run_has_a_token_as_long_as_it_lasts(tmp_path):
    with exclusive(tmp_path) as first:
        assert is_running(first)
        with pytest.raises(InputError, match="is being written by another process"), exclusive(tmp_path):
            pass
        assert is_running(first)
    assert not is_running(first) and not list(tmp_path.glob(".run-*"))
    # A run that was killed leaves its token; the next one removes it.
    first.touch()
    kept = first.with_name(f"{first.name}-arrays")
    kept.mkdir()
    (kept / "a.npy").touch()
    with exclusive(tmp_path) as second:
        assert is_running(second) and not is_running(first) and not kept.exists()


def test_nothing_is_written_for_a_run_that_has_ended(tmp_path):
    path = tmp_path / "cell.json"
    with run_token(tmp_path) as token, working_for(token):
        write_text(path, "1")
    with working_for(token), pytest.raises(MachineError, match=f"{tmp_path} is no longer that of this run"):
        write_text(path, "2")
    assert path.read_text() == "1" and list(tmp_path.iterdir()) == [path]
    # Of other threads, and later, it is not asked.
    write_text(path, "3")
    assert path.read_text() == "3"


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP])
def test_a_file_system_without_locks_is_refused(tmp_path, monkeypatch, number):
    """A file in place of a lock would be left by a killed process, and block the folder for ever."""

    def no_lock(file, operation):
        raise OSError(number, os.strerror(number))

    monkeypatch.setenv("PRECORTICAL_CACHE", str(tmp_path / "cache"))
    cache.cache_folder().mkdir(parents=True)
    (cache.cache_folder() / "a").mkdir()
    monkeypatch.setattr(fcntl, "flock", no_lock)
    for make, change in (
        (lambda: exclusive(tmp_path / "run"), "give a folder on another file system"),
        (lambda: cache.locked("a"), "set PRECORTICAL_CACHE"),
    ):
        with pytest.raises(MachineError, match=rf"has no locks \(flock: .*\): {change}") as error, make():
            pass
        assert "\n" not in str(error.value)
    assert cache.clear() == 0


def test_a_lock_that_was_left_by_another_host_blocks_nothing(tmp_path):
    (tmp_path / ".lock").write_text("123\nanother-host\n")
    with exclusive(tmp_path) as token:
        assert is_running(token)


def test_a_full_disk_is_no_fault_of_the_input(tmp_path, monkeypatch):
    def full(*arguments, **settings):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "touch", full)
    with pytest.raises(MachineError, match="No space left"), exclusive(tmp_path):
        pass
    monkeypatch.setattr(Path, "mkdir", full)
    for call in (lambda: claim(tmp_path / "run" / "config.json", {}), lambda: make_folder(tmp_path / "run")):
        with pytest.raises(MachineError, match="No space left"):
            call()
