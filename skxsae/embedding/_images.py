"""Pictures of any kind as RGB, and what they are known by."""

import io
import os
from pathlib import Path

import numpy as np

from skxsae.embedding._entries import Unreadable, digest, reading


def read_image(entry):
    """Digest of a picture, and its file as bytes or itself in RGB."""
    if isinstance(entry, str | os.PathLike):
        with reading():
            content = Path(entry).read_bytes()
        return digest(b"file", content), content
    with reading():
        picture = _to_rgb(_as_picture(entry))
    size = np.array(picture.size, dtype="<i8").tobytes()
    return digest(b"rgb", size, picture.tobytes()), picture


def decode_image(content):
    """RGB picture from what `read_image` gave."""
    if not isinstance(content, bytes):
        return content
    PIL = pillow()
    with reading():
        try:
            picture = PIL.Image.open(io.BytesIO(content))
        except PIL.UnidentifiedImageError as error:
            raise Unreadable("not a picture, or damaged") from error
        with picture:
            if picture.format == "EPS":
                raise Unreadable("PostScript, a program that is not run: convert it")
            return _to_rgb(picture)


def pillow():
    """The package PIL, or an error that names the extra to install."""
    try:
        import PIL.Image
        import PIL.ImageOps
    except ImportError as error:
        raise ImportError(
            "OpenCLIPImageEncoder requires Pillow: pip install 'skxsae[clip]'."
        ) from error
    return PIL


def probe_pictures():
    """Fixed pictures, wide, tall and large, by which a preprocessing is known."""
    return [_pattern(*size) for size in ((64, 40), (40, 64), (640, 512))]


def _pattern(width, height):
    """A picture without symmetries."""
    columns, rows = np.arange(width), np.arange(height)[:, None]
    channels = (columns * 7 + rows, columns * rows, columns * 3 + rows * 5)
    pixels = np.stack([channel % 256 for channel in channels], axis=2)
    return pillow().Image.fromarray(pixels.astype(np.uint8))


def _as_picture(entry):
    """A PIL image from one or from an array."""
    Image = pillow().Image
    if isinstance(entry, Image.Image):
        return entry
    if isinstance(entry, np.ndarray):
        return Image.fromarray(_as_bytes(entry))
    raise Unreadable("neither a path, nor a PIL image, nor an array")


def _as_bytes(array):
    """An array of pixels as contiguous uint8."""
    is_picture = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))
    is_float = np.issubdtype(array.dtype, np.floating)
    if not is_picture or not array.size or not (is_float or array.dtype == np.uint8):
        raise Unreadable(
            f"{array.dtype} of shape {array.shape}: needs uint8, or floats in [0, 1], "
            "of shape (height, width) or (height, width, 3 or 4)"
        )
    return _scale(array, 1) if is_float else np.ascontiguousarray(array)


def _scale(values, highest):
    """Values between 0 and the highest as uint8."""
    with np.errstate(invalid="ignore"):  # of a signalling NaN
        values = np.asarray(values, dtype=np.float64)
    if not (values.min() >= 0 and values.max() <= highest):
        raise Unreadable(f"values that are not between 0 and {highest}")
    return np.rint(values * (255 / highest)).astype(np.uint8)


def _to_rgb(picture):
    """Upright RGB picture of the frame that is shown, on white where transparent."""
    PIL = pillow()
    picture = PIL.ImageOps.exif_transpose(picture)
    # PIL would cut off what is above 255; 16-bit files of some formats come as "I"
    if picture.mode == "I" or picture.mode.startswith("I;16"):
        picture = PIL.Image.fromarray(_scale(picture, 65535))
    elif picture.mode == "F":
        picture = PIL.Image.fromarray(_scale(picture, 1))
    if picture.has_transparency_data:
        canvas = PIL.Image.new("RGBA", picture.size, "white")
        canvas.alpha_composite(picture.convert("RGBA"))
        picture = canvas
    return picture.convert("RGB")
