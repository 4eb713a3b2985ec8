import pytest

from biomodel.utils.atomic import atomic_write


def test_a_file_that_could_not_be_finished_leaves_what_was_there(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("before")
    with pytest.raises(KeyboardInterrupt), atomic_write(path) as scratch:
        scratch.write_text("hal")
        raise KeyboardInterrupt
    assert path.read_text() == "before"
    with atomic_write(path) as scratch:
        assert scratch.suffix == ".csv" and scratch.parent == tmp_path
        scratch.write_text("after")
        assert path.read_text() == "before"
    assert path.read_text() == "after" and list(tmp_path.iterdir()) == [path]
