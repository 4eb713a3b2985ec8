"""Published data sets: every defect of a file raises one line that names it."""

import gzip
import hashlib
import os
import struct
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import scipy.io

from studies.data import datasets, download
from studies.data.readers import content_digest, read_idx, read_matlab


def idx(values: np.ndarray, magic: int | None = None) -> bytes:
    number = {1: 0x0801, 3: 0x0803}[values.ndim] if magic is None else magic
    return struct.pack(f">{1 + values.ndim}I", number, *values.shape) + values.tobytes()


IMAGES = np.random.default_rng(0).integers(0, 256, (6, 28, 28), dtype=np.uint8)
LABELS = np.array([0, 1, 2, 3, 4, 9], np.uint8)


@pytest.fixture
def folder(tmp_path):
    """Four files in MNIST's format, with other images."""
    (tmp_path / "mnist").mkdir()
    for part in ("train", "t10k"):
        (tmp_path / "mnist" / f"{part}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(IMAGES)))
        (tmp_path / "mnist" / f"{part}-labels-idx1-ubyte").write_bytes(idx(LABELS))
    return tmp_path


def test_idx_is_read_compressed_or_not(folder):
    assert np.array_equal(read_idx(folder / "mnist" / "train-images-idx3-ubyte.gz", 3), IMAGES)
    assert np.array_equal(read_idx(folder / "mnist" / "train-labels-idx1-ubyte", 1), LABELS)
    (folder / "plain").write_bytes(idx(IMAGES))
    assert content_digest(folder / "plain") == content_digest(folder / "mnist" / "train-images-idx3-ubyte.gz")


@pytest.mark.parametrize(
    ("file", "whole", "words"),
    [
        ("train-images-idx3-ubyte.gz", gzip.compress(idx(IMAGES))[:-200], "train-images.*truncated"),
        ("train-images-idx3-ubyte.gz", gzip.compress(idx(IMAGES)[:-5]), "train-images.*truncated"),
        ("train-images-idx3-ubyte.gz", gzip.compress(idx(IMAGES) + b"x"), "train-images.*too long"),
        ("train-images-idx3-ubyte.gz", gzip.compress(b"abc"), "train-images.*truncated"),
        ("train-images-idx3-ubyte.gz", gzip.compress(idx(IMAGES, 0x0D03)), "begins with 0x00000803, got 0x00000d03"),
        ("train-images-idx3-ubyte.gz", gzip.compress(idx(LABELS)), "begins with 0x00000803, got 0x00000801"),
        ("train-images-idx3-ubyte.gz", b"<html>not here</html>", "train-images.*cannot be read"),
        ("train-images-idx3-ubyte.gz", gzip.compress(idx(IMAGES[:, :20])), "must have 28×28 pixels, got 20×28"),
        ("train-labels-idx1-ubyte", idx(LABELS[:4]), "6 images, .* 4 labels"),
        ("train-labels-idx1-ubyte", idx(LABELS + 1), "must be from 0 to 9, got 10"),
        ("train-labels-idx1-ubyte", idx(LABELS), "is not mnist's train-images"),
    ],
    # Gzip writes the time into its output, and workers of a parallel run must name tests alike.
    ids=lambda value: "" if isinstance(value, bytes) else None,
)
def test_bad_idx_files_are_refused(folder, file, whole, words):
    (folder / "mnist" / file).write_bytes(whole)
    with pytest.raises(ValueError, match=words) as error:
        datasets.load("mnist", folder)
    assert "\n" not in str(error.value)


def test_a_file_of_another_data_set_is_named(folder, monkeypatch):
    digest = hashlib.md5(idx(IMAGES)).hexdigest()
    monkeypatch.setitem(datasets._CONTENTS["fashion-mnist"], "train-images-idx3-ubyte", digest)
    with pytest.raises(ValueError, match="is not mnist's .*: it is fashion-mnist's"):
        datasets.load("mnist", folder)


def test_missing_files_are_named(folder, monkeypatch):
    (folder / "mnist" / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(ValueError, match="t10k-labels-idx1-ubyte.gz is missing"):
        datasets.load("mnist", folder)
    monkeypatch.setenv(datasets.DATA, str(folder))
    with pytest.raises(ValueError, match="precortical download svhn"):
        datasets.load("svhn")
    with pytest.raises(ValueError, match="must be one of digits.*'cifar'"):
        datasets.load("cifar")


def test_images_are_padded_and_shuffled(folder, monkeypatch):
    contents = {
        f"{part}-{kind}-ubyte": hashlib.md5(idx(values)).hexdigest()
        for part in ("train", "t10k")
        for kind, values in (("images-idx3", IMAGES), ("labels-idx1", LABELS))
    }
    monkeypatch.setitem(datasets._CONTENTS, "mnist", contents)
    data = datasets.load("mnist", folder)
    assert data.train.shape == (6, 32, 32) and data.classes == 10
    assert data.train[:, :2].max() == 0 and data.train.max() <= 1
    order = [LABELS.tolist().index(label) for label in data.train_labels]
    assert order != sorted(order)
    assert np.allclose(data.train[:, 2:-2, 2:-2], IMAGES[order] / 255)


@pytest.fixture
def numbers(tmp_path):
    (tmp_path / "svhn").mkdir()
    random = np.random.default_rng(1)
    for part, count in (("train", 5), ("test", 3)):
        images = random.integers(0, 256, (32, 32, 3, count), dtype=np.uint8)
        labels = np.arange(10, 10 - count, -1, dtype=np.uint8)[:, None]
        scipy.io.savemat(tmp_path / "svhn" / f"{part}_32x32.mat", {"X": images, "y": labels})
    return tmp_path


def test_house_numbers_become_grey_by_luminance(numbers):
    data = datasets.load("svhn", numbers)
    assert data.train.shape == (5, 32, 32) and data.test.shape == (3, 32, 32)
    assert sorted(data.train_labels.tolist()) == [0, 6, 7, 8, 9]
    whole, _ = read_matlab(numbers / "svhn" / "train_32x32.mat", 32)
    place = data.train_labels.tolist().index(0)
    codes = whole[0, 4, 7] / 255
    light = np.where(codes <= 0.04045, codes / 12.92, ((codes + 0.055) / 1.055) ** 2.4) @ [0.2126, 0.7152, 0.0722]
    expected = 12.92 * light if light <= 0.0031308 else 1.055 * light ** (1 / 2.4) - 0.055
    assert data.train[place, 4, 7] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("held", "words"),
    [
        ({"X": np.zeros((32, 32, 3, 4), np.uint8)}, "must have the variables X and y, got X"),
        ({"X": np.zeros((28, 28, 3, 4), np.uint8), "y": np.ones((4, 1))}, "must be uint8"),
        ({"X": np.zeros((32, 32, 3, 4)), "y": np.ones((4, 1))}, "got float64"),
        ({"X": np.zeros((32, 32, 3, 4), np.uint8), "y": np.ones((3, 1))}, "each of 4 images, got shape"),
        ({"X": np.zeros((32, 32, 3, 4), np.uint8), "y": np.full((4, 1), 11)}, "must be from 1 to 10, got 11"),
    ],
)
def test_bad_matlab_files_are_refused(numbers, held, words):
    scipy.io.savemat(numbers / "svhn" / "train_32x32.mat", held)
    with pytest.raises(ValueError, match=words):
        datasets.load("svhn", numbers)


def test_a_truncated_matlab_file_is_refused(numbers):
    path = numbers / "svhn" / "train_32x32.mat"
    for whole in (path.read_bytes()[:-500], b"nothing of the kind", b""):
        path.write_bytes(whole)
        with pytest.raises(ValueError, match="train_32x32.mat"):
            datasets.load("svhn", numbers)


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist", "svhn"])
@pytest.mark.skipif(datasets.DATA not in os.environ, reason="no folder of real data")
def test_real_files_are_read(name):
    data = datasets.load(name)
    assert data.classes == 10 and data.train.shape[1:] == (32, 32)
    assert data.train.min() >= 0 and data.train.max() <= 1


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


@pytest.fixture
def mirror(tmp_path):
    """A server of a folder, on this machine."""
    folder = tmp_path / "mirror"
    folder.mkdir()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield folder, f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()


def test_downloads_are_checked_and_complete_or_absent(mirror, tmp_path, monkeypatch):
    served, address = mirror
    files = {"a.bin": b"one", "b.bin": b"two"}
    published = {name: hashlib.md5(whole).hexdigest() for name, whole in files.items()}
    monkeypatch.setitem(download.PUBLISHED, "mnist", download.Published(address, published))
    monkeypatch.setattr(download, "_RETRIES", 0)
    target = tmp_path / "data"
    (served / "a.bin").write_bytes(b"one")
    with pytest.raises(RuntimeError, match=r"b\.bin cannot be downloaded"):
        download.download("mnist", target)
    assert [path.name for path in target.iterdir()] == ["a.bin"]
    (served / "b.bin").write_bytes(b"another")
    with pytest.raises(ValueError, match=r"b\.bin differs from the published file"):
        download.download("mnist", target)
    assert [path.name for path in target.iterdir()] == ["a.bin"]
    (served / "b.bin").write_bytes(b"two")
    (served / "a.bin").unlink()
    assert download.download("mnist", target) == target
    assert {path.name: path.read_bytes() for path in target.iterdir()} == files
    (target / "a.bin").write_bytes(b"mine")
    with pytest.raises(ValueError, match=r"a\.bin differs from the published file: remove it"):
        download.download("mnist", target)
    assert (target / "a.bin").read_bytes() == b"mine"


def test_bad_downloads_are_refused(tmp_path):
    with pytest.raises(ValueError, match="must be one of mnist.*'cifar'"):
        download.download("cifar", tmp_path)
    with pytest.raises(ValueError, match="cannot be written"):
        download.download("mnist", Path("/proc/nowhere"))
