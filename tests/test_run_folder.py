from pathlib import Path

import pytest

from biomodel import InputError
from biomodel.utils.run_folder import claim, exclusive, is_running


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
    with exclusive(tmp_path) as second:
        assert is_running(second) and not is_running(first)
