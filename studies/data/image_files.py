"""Image files as sRGB codes.

Pillow decodes and converts: orientation (EXIF and TIFF), white-is-0, palettes, and colour profiles other than sRGB, whose
colours outside sRGB are clipped. Files with 16 bits per colour are read with 8, grey ones with all 16. What has no defined
luminance is refused: transparency, several images in a file, signed and 32-bit integers, CMYK without a profile.
"""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from biomodel.stimuli import CODE_TOLERANCE
from biomodel.utils.errors import InputError

#: What Pillow raises for damaged files, besides warnings.
_DAMAGED = (
    OSError,
    ValueError,
    SyntaxError,
    EOFError,
    TypeError,
    LookupError,
    ArithmeticError,
    AttributeError,
    NotImplementedError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
    ImageCms.PyCMSError,
)

#: Tags of TIFF, and their values for white-is-0 and signed integers.
_PHOTOMETRIC, _WHITE_IS_ZERO = 262, 0
_SAMPLE_FORMAT, _SIGNED = 339, 2

#: What TIFF files begin with: the order of bytes, and the version (42, or 43 for files over 4 GB).
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

#: The values whose luminance is defined.
_VALUES = "8 or 16 bits without sign, or 32-bit floats in [0, 1]"

#: The gamma of PNG files that is near enough to sRGB's.
_GAMMA, _GAMMA_TOLERANCE = 1 / 2.2, 0.02


def read_image(path: Path) -> np.ndarray:
    """Read the image of a file as sRGB codes in [0, 1].

    Returns
    -------
    numpy.ndarray, (H, W) or (H, W, 3)

    Raises
    ------
    InputError
        For a file that is damaged, or whose luminance is not defined, by name.
    """
    try:
        # From a name, Pillow maps uncompressed TIFF into memory and turns rows and columns of rotated ones twice.
        with path.open("rb") as file, Image.open(file) as image:
            codes = _codes(image)
            # Counted last, because Pillow then forgets the orientation of TIFF. The further images of MPO, which cameras write
            # as .jpg, are previews and gain maps.
            frames = getattr(image, "n_frames", 1)
            if frames > 1 and image.format != "MPO":
                raise InputError(f"must hold one image, got {frames}")
            return codes
    except InputError as error:
        raise InputError(f"{path} {error}") from None
    except UnidentifiedImageError:
        # Pillow does not say which values it cannot read.
        reason = f"it is damaged, or holds other values than {_VALUES}" if _is_tiff(path) else "its format is unknown"
        raise InputError(f"{path} cannot be read as an image ({reason})") from None
    except _DAMAGED as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise InputError(f"{path} cannot be read as an image ({reason})") from None


def _is_tiff(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) in _TIFF


def _codes(image: Image.Image) -> np.ndarray:
    tags = getattr(image, "tag_v2", {})
    if image.mode == "I" or _SIGNED in tags.get(_SAMPLE_FORMAT, ()):
        raise InputError(f"must hold {_VALUES}, because other integers have no white")
    image.load()
    inverted = image.mode.startswith("I;16") and tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO
    image = ImageOps.exif_transpose(image)
    profile = _profile(image)
    if image.mode == "F" or image.mode.startswith("I;16"):
        return _deep_codes(image, profile, inverted)
    if image.has_transparency_data and image.convert("RGBA").getchannel("A").getextrema() != (255, 255):
        raise InputError("must not be transparent")
    if image.mode == "CMYK" and profile is None:
        raise InputError("must have a colour profile, because it is CMYK: convert it to RGB")
    if image.mode == "LAB":
        profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))
    elif image.mode != "CMYK":
        image = image.convert("L" if image.mode in ("1", "L", "LA", "La") else "RGB")
    return np.asarray(image if profile is None else _to_srgb(image, profile)) / 255.0


def _deep_codes(image: Image.Image, profile: ImageCms.ImageCmsProfile | None, inverted: bool) -> np.ndarray:
    """Codes of a grey image of 16 bits or of floats."""
    if profile is not None:
        ramp = Image.fromarray(np.arange(256, dtype=np.uint8)[None])
        if _to_srgb(ramp, profile) is not ramp:
            raise InputError(f"must be sRGB, because it has over 8 bits, got {_name(profile)}: convert it")
    values = np.asarray(image)
    transparent = image.info.get("transparency")
    if isinstance(transparent, int) and (values == transparent).any():
        raise InputError("must not be transparent")
    if image.mode != "F":
        return (65535 - values if inverted else values) / 65535.0
    wrong = ~((values >= -CODE_TOLERANCE) & (values <= 1 + CODE_TOLERANCE))
    if wrong.any():
        raise InputError(f"must hold floats in [0, 1], got {values[wrong][0]:g}")
    return values.astype(float).clip(0, 1)


def _profile(image: Image.Image) -> ImageCms.ImageCmsProfile | None:
    """The colour profile of an image; None for sRGB codes."""
    content = image.info.get("icc_profile")
    if content:
        return ImageCms.ImageCmsProfile(io.BytesIO(content))
    gamma = image.info.get("gamma")
    if gamma is not None and "srgb" not in image.info and abs(gamma - _GAMMA) > _GAMMA_TOLERANCE:
        raise InputError(f"must have sRGB's gamma of {_GAMMA:.3f}, got {gamma:g}")
    return None


def _to_srgb(image: Image.Image, profile: ImageCms.ImageCmsProfile) -> Image.Image:
    """An image of a profile as grey or RGB; the same image where the profile is sRGB's, or that of sRGB's greys."""
    if image.mode == "L" and profile.profile.xcolor_space.strip() == "RGB":
        return _to_srgb(image.convert("RGB"), profile) if not _is_srgb(profile, "RGB") else image
    if image.mode in ("L", "RGB") and _is_srgb(profile, image.mode):
        return image
    converted = _transform(image, profile)
    return converted.getchannel("R") if image.mode == "L" else converted


def _is_srgb(profile: ImageCms.ImageCmsProfile, mode: str) -> bool:
    """Whether a profile changes no code of a sample by more than one."""
    levels = np.linspace(0, 255, 18).astype(np.uint8)
    grid = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(1, -1, 3) if mode == "RGB" else levels[None]
    found = np.asarray(_transform(Image.fromarray(grid), profile)).astype(int)
    return bool(np.abs(found - (grid if mode == "RGB" else grid[..., None])).max() <= 1)


def _transform(image: Image.Image, profile: ImageCms.ImageCmsProfile) -> Image.Image:
    converted = ImageCms.profileToProfile(
        image,
        profile,
        ImageCms.createProfile("sRGB"),
        renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
        outputMode="RGB",
    )
    if converted is None:
        raise InputError("must have a colour profile that can be applied")
    return converted


def _name(profile: ImageCms.ImageCmsProfile) -> str:
    return ImageCms.getProfileDescription(profile).strip() or "another profile"
