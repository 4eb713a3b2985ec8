"""Images from files, folders and arrays: each has the right luminance, or is refused by name."""

import io
import logging

import numpy as np
import pytest
import tifffile
import xarray as xr
from PIL import Image, ImageCms

from biomodel import Display, InputError, luminance
from studies.data import sources
from studies.data.image_files import read_image

GREY = np.arange(0, 240, 10, dtype=np.uint8).reshape(4, 6)
RGB = np.stack([GREY, GREY[::-1], 255 - GREY], axis=-1)
DEEP = GREY.astype(np.uint16) * 257


@pytest.fixture
def written(tmp_path):
    """A function that writes one image: with Pillow, or with tifffile for a name that ends in .tif."""

    def write(codes, name, **options):
        path = tmp_path / name
        if isinstance(codes, bytes):
            path.write_bytes(codes)
        elif name.endswith(".tif") and isinstance(codes, np.ndarray):
            tifffile.imwrite(path, codes, **options)
        else:
            image = codes if isinstance(codes, Image.Image) else Image.fromarray(codes)
            image.save(path, **options)
        return path

    return write


def exif(orientation):
    tags = Image.Exif()
    tags[274] = orientation
    return tags


def profile(swapped=False, grey=False):
    """The bytes of a colour profile: sRGB's; with red and green swapped; or of linear greys."""
    content = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    tags = {
        bytes(content[k : k + 4]): slice(k + 4, k + 12)
        for k in range(132, 132 + 12 * int.from_bytes(content[128:132], "big"), 12)
    }
    if swapped:
        red, green = bytes(content[tags[b"rXYZ"]]), bytes(content[tags[b"gXYZ"]])
        content[tags[b"rXYZ"]], content[tags[b"gXYZ"]] = green, red
    if grey:
        content[16:20] = b"GRAY"
        tag = int.from_bytes(content[tags[b"rTRC"]][:4], "big")
        content[tag : tag + 12] = b"curv" + bytes(8)
        place = tags[b"rTRC"].start - 4
        content[place : place + 4] = b"kTRC"
    return bytes(content)


@pytest.mark.parametrize(
    ("codes", "name", "options", "expected"),
    [
        (GREY, "x.png", {}, GREY / 255),
        (RGB, "x.png", {}, RGB / 255),
        (DEEP, "x.png", {}, GREY / 255),
        (GREY > 100, "x.png", {}, (GREY > 100) * 1.0),
        (GREY, "x.png", {"icc_profile": profile()}, GREY / 255),
        (RGB, "x.png", {"icc_profile": profile()}, RGB / 255),
        (Image.fromarray(RGB).convert("RGBA"), "x.png", {}, RGB / 255),
        (Image.fromarray(GREY).convert("LA"), "x.png", {}, GREY / 255),
        (Image.fromarray(GREY).convert("P"), "x.png", {}, np.repeat(GREY[..., None], 3, axis=-1) / 255),
        (Image.fromarray(GREY), "x.gif", {}, np.repeat(GREY[..., None], 3, axis=-1) / 255),
        (RGB, "x.bmp", {}, RGB / 255),
        (RGB, "x.webp", {"lossless": True}, RGB / 255),
        (GREY, "x.pgm", {}, GREY / 255),
        (GREY, "x.tif", {}, GREY / 255),
        (DEEP, "x.tif", {}, GREY / 255),
        (DEEP, "x.tif", {"byteorder": ">"}, GREY / 255),
        (GREY, "x.tif", {"photometric": "miniswhite"}, 1 - GREY / 255),
        (DEEP, "x.tif", {"photometric": "miniswhite"}, 1 - GREY / 255),
        ((GREY / 255).astype(np.float32), "x.tif", {}, (GREY / 255).astype(np.float32)),
        (RGB, "x.tif", {}, RGB / 255),
        (RGB.astype(np.uint16) * 257, "x.tif", {"photometric": "rgb"}, RGB / 255),
        (np.moveaxis(RGB, -1, 0), "x.tif", {"photometric": "rgb", "planarconfig": "separate"}, RGB / 255),
        (Image.new("LAB", (6, 4), (127, 128, 128)), "x.tiff", {}, np.full((4, 6, 3), 118 / 255)),
        (GREY, "jpeg.png", {"format": "JPEG", "quality": 100}, GREY / 255),
        (GREY, "grün blau (1).PNG", {}, GREY / 255),
    ],
)
def test_codes_of_files(written, codes, name, options, expected):
    found = read_image(written(codes, name, **options))
    assert found.shape == expected.shape
    assert np.allclose(found, expected, atol=1.01 / 255 if options.get("quality") or "LAB" in str(codes) else 1e-9)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["x.jpg", "x.png", "x.tiff", "deep.png"])
def test_orientation(written, orientation, name):
    upright = DEEP if name == "deep.png" else GREY
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.T,
        6: np.rot90(upright),
        7: np.rot90(upright, 2).T,
        8: np.rot90(upright, -1),
    }[orientation]
    options = {"quality": 100} if name == "x.jpg" else {}
    found = read_image(written(np.ascontiguousarray(stored), name, exif=exif(orientation), **options))
    assert found.shape == GREY.shape and np.allclose(found, GREY / 255, atol=2.1 / 255 if options else 1e-9)


def test_colour_profiles_are_applied(written):
    red = np.zeros((4, 6, 3), np.uint8)
    red[..., 0] = 255
    found = read_image(written(red, "x.png", icc_profile=profile(swapped=True)))
    assert np.allclose(found, [0, 1, 0], atol=2 / 255)
    linear = read_image(written(GREY, "grey.png", icc_profile=profile(grey=True)))
    expected = np.where(GREY / 255 <= 0.0031308, 12.92 * GREY / 255, 1.055 * (GREY / 255) ** (1 / 2.4) - 0.055)
    assert linear.shape == GREY.shape and np.allclose(linear, expected, atol=1.5 / 255)


@pytest.mark.parametrize(
    ("codes", "name", "options", "message"),
    [
        (GREY.astype(np.int32), "x.tif", {}, "must hold 8 or 16 bits without sign"),
        (GREY.astype(np.uint32), "x.tif", {}, "must hold 8 or 16 bits without sign"),
        (GREY.astype(np.int16), "x.tif", {}, "must hold 8 or 16 bits without sign"),
        (GREY.astype(np.int8), "x.tif", {}, "must hold 8 or 16 bits without sign"),
        (GREY.astype(np.float32), "x.tif", {}, "must hold floats in .0, 1., got 10"),
        ((GREY * np.nan).astype(np.float32), "x.tif", {}, "must hold floats in .0, 1., got nan"),
        *(
            (
                (GREY / 255).astype(kind),
                "x.tif",
                options,
                "or holds other values than 8 or 16 bits .*, or 32-bit floats",
            )
            for kind in (float, np.float16, np.int64, complex)
            for options in ({}, {"byteorder": ">"}, {"bigtiff": True})
        ),
        (np.stack([GREY] * 3), "x.tif", {"photometric": "minisblack"}, "must hold one image, got 3"),
        (np.stack([GREY] * 5), "x.tif", {"photometric": "minisblack"}, "must hold one image, got 5"),
        (np.stack([GREY] * 4, -1), "x.tif", {"photometric": "separated"}, "because it is CMYK"),
        (Image.fromarray(RGB).convert("CMYK"), "x.jpg", {}, "because it is CMYK"),
        (Image.fromarray(np.dstack([RGB, GREY])), "x.png", {}, "must not be transparent"),
        (Image.fromarray(GREY), "x.png", {"transparency": 30}, "must not be transparent"),
        (Image.fromarray(DEEP), "x.png", {"transparency": int(DEEP[0, 3])}, "must not be transparent"),
        (Image.fromarray(GREY).convert("P"), "x.png", {"transparency": 30}, "must not be transparent"),
        (
            Image.fromarray(GREY),
            "x.gif",
            {"save_all": True, "append_images": [Image.fromarray(255 - GREY)]},
            "must hold one image, got 2",
        ),
        (
            Image.fromarray(GREY),
            "x.png",
            {"save_all": True, "append_images": [Image.fromarray(255 - GREY)]},
            "must hold one image, got 2",
        ),
        (DEEP, "x.png", {"icc_profile": profile(grey=True)}, "must be sRGB, because it has over 8 bits"),
        (RGB, "x.png", {"icc_profile": b"not a profile"}, "cannot be read as an image"),
        (b"", "x.png", {}, "cannot be read as an image"),
        (b"<html>404</html>", "x.jpg", {}, "cannot be read as an image"),
    ],
)
def test_files_without_a_defined_luminance_are_refused(written, codes, name, options, message):
    path = written(codes, name, **options)
    with pytest.raises(InputError, match=f"{name}.*{message}") as caught:
        read_image(path)
    assert "\n" not in str(caught.value)


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's, of damaged tags
@pytest.mark.parametrize("name", ["x.png", "x.jpg", "x.tif", "x.bmp", "x.webp", "x.gif", "deep.png"])
def test_damaged_files_are_refused_or_read(written, name):
    whole = written(DEEP if name == "deep.png" else RGB, name).read_bytes()
    random = np.random.default_rng(0)
    for cut in sorted({1, 7, *random.integers(8, len(whole), 6)}):
        with pytest.raises(InputError, match=f"{name} .*cannot be read as an image") if cut < 8 else _one_line():
            read_image(written(whole[:cut], name))
    for _ in range(15):
        content = bytearray(whole)
        for place in random.integers(0, len(whole), 3):
            content[place] = random.integers(256)
        with _one_line():
            read_image(written(bytes(content), name))


class _one_line:
    """Allow success and an InputError of one line."""

    def __enter__(self):
        return self

    def __exit__(self, kind, error, _):
        return kind is not None and issubclass(kind, InputError) and "\n" not in str(error)


def test_a_truncated_photograph_is_refused(written):
    whole = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)).save(whole, "JPEG")
    with pytest.raises(InputError, match=r"x.jpg cannot be read as an image .*truncated"):
        read_image(written(whole.getvalue()[:2000], "x.jpg"))


def test_other_entries_of_a_folder_are_skipped(written, tmp_path, caplog):
    written(GREY, "b.png")
    (tmp_path / "a.png").symlink_to(written(RGB, "c.jpg", quality=95))
    for name in (".DS_Store", "._b.png", ".hidden.png", "Thumbs.db", "desktop.ini", "labels.csv"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "deeper.png").mkdir()
    with caplog.at_level(logging.WARNING, "precortical"):
        found = sources.read(str(tmp_path))
    assert found.coordinates["file"].tolist() == ["a.png", "b.png", "c.jpg"]
    assert found.images.shape == (3, 4, 6, 3)
    assert caplog.messages == [f"{tmp_path}: skipped what is not an image file: deeper.png, labels.csv"]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            "https://example.org/x.png",
            "source must be a path on this machine, got the address 'https://example.org/x.png'",
        ),
        ("s3:/bucket/images", "got the address"),
        ("~nobody-has-this-name/x", "must have a home folder"),
        ("none", "got 'none', which does not exist"),
        ("none.npy", "got 'none.npy', which does not exist"),
        ("single.png", "source must be a folder of images.*got 'single.png'$"),
        ("empty", "empty must have image files"),
        ("classes", "classes must have image files .*, got cats, dogs"),
        ("broken", "broken/x.png cannot be read"),
        ("sizes", "one size, got 6×4 pixels in sizes/b.png and 4×6 in a.png"),
        ("name", "must be printable"),
        ("mnist", "mnist is a data set and a folder of images: write ./mnist"),
        ("colour.npy", r"colour.npy must have the shape .*got \(40, 60, 3\), which is one colour image"),
        ("alpha.npz", r"alpha.npz must have the shape .*got \(40, 60, 4\), which is one colour image"),
    ],
)
def test_other_sources_are_refused(tmp_path, monkeypatch, source, message):
    monkeypatch.chdir(tmp_path)
    for name in ("empty", "classes/cats", "classes/dogs", "broken", "sizes", "name", "mnist"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("single.png", "sizes/a.png", "name/\udcff.png", "mnist/a.png"):
        Image.fromarray(GREY).save(tmp_path / name, "PNG")
    Image.fromarray(GREY.T.copy()).save(tmp_path / "sizes/b.png")
    (tmp_path / "broken/x.png").symlink_to("nowhere.png")
    np.save(tmp_path / "colour.npy", np.zeros((40, 60, 3)))
    np.savez(tmp_path / "alpha.npz", np.zeros((40, 60, 4), np.uint8))
    with pytest.raises(InputError, match=message):
        sources.read(source)


def test_a_folder_named_like_a_data_set(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "digits").mkdir()
    assert len(sources.read("digits", 2).images) == 2
    Image.fromarray(GREY).save(tmp_path / "digits/a.png")
    assert sources.read("./digits").coordinates["file"].tolist() == ["a.png"]


def test_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    np.save(tmp_path / "x.NPY.npy", GREY[None])
    (tmp_path / "x.NPY.npy").rename(tmp_path / "x.NPY")
    assert np.array_equal(sources.read("~/x.NPY").images[0], GREY)


@pytest.mark.parametrize("shape", [(40, 60, 3), (8, 8, 3), (5, 5, 4)])
def test_one_colour_image_is_not_a_set_of_images(shape):
    with pytest.raises(InputError, match="which is one colour image: give images.None."):
        Display().show(np.zeros(shape))


@pytest.mark.parametrize(
    ("shape", "frame_duration"),
    [((32, 32, 3), None), ((5, 5, 4), None), ((2, 32, 32, 3), 0.1), ((9, 5, 6, 4), 0.1)],
)
def test_colours_are_not_luminance(shape, frame_duration):
    with pytest.raises(InputError, match="whose last axis is colours: show colours with Display.show, or name the dim"):
        luminance(np.ones(shape), 16, frame_duration)
    dims = ("image", "y", "x") if frame_duration is None else ("image", "time", "y", "x")
    assert luminance(xr.DataArray(np.ones(shape), dims=dims), 16, frame_duration).shape == shape


@pytest.mark.parametrize("shape", [(1, 8, 3), (4, 8, 4), (8, 4, 3), (8, 8, 5), (8, 8, 3, 3)])
def test_narrow_images_are_shown(shape):
    assert Display().show(np.zeros(shape)).sizes["image"] == shape[0]


def test_narrow_images_with_named_dimensions_are_shown():
    assert Display().show(xr.DataArray(np.zeros((8, 9, 3)), dims=("image", "y", "x"))).shape == (8, 9, 3)
