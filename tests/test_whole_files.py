import errno
import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

import bridge
from biomodel import InputError, MachineError, Store
from biomodel.utils.atomic import atomic_write
from biomodel.utils.paths import local_path, replacing, write_text
from studies.cli import options
from studies.cli.main import app

RELAY = ["midget_on", "midget_off", "parasol_on", "parasol_off"]


@pytest.fixture
def front_end():
    return bridge.FrontEnd(8.0, {"lgn": RELAY}, "lgn")


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


@pytest.mark.parametrize(
    ("error", "kind", "reason"),
    [
        (OSError("10 requested and 2 written"), MachineError, r"\(10 requested and 2 written: is the disk full\?\)"),
        *(
            (OSError(number, os.strerror(number)), MachineError, rf"\({os.strerror(number)}\): free space there")
            for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.ESTALE)
        ),
        *(
            (OSError(number, os.strerror(number)), InputError, rf"\({os.strerror(number)}\): give a path in a writable")
            for number in (errno.EACCES, errno.EPERM, errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EROFS)
        ),
    ],
)
def test_an_error_of_the_disk_is_one_line_with_its_reason(tmp_path, error, kind, reason):
    """A path at fault is bad input; a disk that is full or fails is the machine's, wherever it shows."""
    path = tmp_path / "table.csv"
    path.write_text("before")
    with pytest.raises(kind, match=f"table.csv cannot be written {reason}"), replacing(path) as scratch:
        scratch.write_text("hal")
        raise error
    assert path.read_text() == "before" and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    "write",
    [
        lambda front_end, path: front_end.save(path),
        lambda front_end, path: front_end.to_onnx(path, 8, 8),
        lambda front_end, path: write_text(path, "text"),
        lambda front_end, path: options.write_json({}, path),
    ],
)
def test_what_cannot_be_written_is_refused_by_name(tmp_path, front_end, write):
    for path in (tmp_path / "none" / "file", Path("/dev/null/file")):
        with pytest.raises(InputError, match=str(path)) as caught:
            write(front_end, path)
        assert "None" not in str(caught.value) and "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_full_disk_leaves_the_old_weights(tmp_path, front_end, monkeypatch):
    front_end.save(tmp_path / "x.safetensors")
    before = (tmp_path / "x.safetensors").read_bytes()

    def fill(path, content):
        with path.open("wb") as file:
            file.write(content[:100])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", fill)
    with pytest.raises(MachineError, match=r"x.safetensors cannot be written \(No space left on device\)"):
        front_end.save(tmp_path / "x.safetensors")
    assert (tmp_path / "x.safetensors").read_bytes() == before and len(list(tmp_path.iterdir())) == 1


def test_the_home_folder_is_expanded(tmp_path, front_end, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    front_end.save("~/x.safetensors")
    assert bridge.FrontEnd.load("~/x.safetensors").channels == RELAY
    assert Store("~/runs").path == tmp_path / "runs"
    result = CliRunner().invoke(app, ["info", "--json", "~/info.json"])
    assert result.exit_code == 0 and "cores" in json.loads((tmp_path / "info.json").read_text())


@pytest.mark.parametrize("address", ["https://example.org/x", "s3://bucket/x", "file:///tmp/x", "gs:/bucket/x"])
def test_addresses_are_not_paths(front_end, address):
    for use in (local_path, front_end.save, bridge.FrontEnd.load, lambda path: Store(path).path):
        with pytest.raises(InputError, match="must be a path on this machine, got the address"):
            use(address)
    result = CliRunner().invoke(app, ["info", "--json", address])
    assert isinstance(result.exception, InputError)


def test_a_colon_alone_is_no_address():
    assert local_path("a:b/c") == Path("a:b/c") and local_path("C:/x") == Path("C:/x")
    with pytest.raises(InputError, match="store must be a path, got 3"):
        local_path(3, "store")
