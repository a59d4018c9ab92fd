import io

import numpy as np
import pytest

pytest.importorskip("PIL")

from PIL import Image, ImageOps

from skxsae.embedding import _images
from skxsae.embedding._entries import Unreadable
from skxsae.embedding._images import decode_image, probe_pictures, read_image


def noise(height=5, width=7, channels=3):
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (height, width, channels), dtype=np.uint8)


def pixels_of(entry):
    """RGB pixels that the encoder would see."""
    picture = decode_image(read_image(entry)[1])
    assert picture.mode == "RGB"
    return np.asarray(picture)


def saved(picture, path, **options):
    picture.save(path, **options)
    return path


@pytest.mark.parametrize("kind", [str, lambda path: path, np.str_])
def test_files_are_decoded(tmp_path, kind):
    path = saved(Image.fromarray(noise()), tmp_path / "a.png")
    np.testing.assert_array_equal(pixels_of(kind(path)), noise())


def test_a_jpeg_is_decoded_as_pillow_does(tmp_path):
    path = saved(Image.fromarray(noise(40, 30)), tmp_path / "a.jpg", quality=80)
    np.testing.assert_array_equal(pixels_of(path), np.asarray(Image.open(path)))


def test_names_of_files_do_not_matter_but_their_bytes_do(tmp_path):
    picture = Image.fromarray(noise())
    paths = [saved(picture, tmp_path / name) for name in ("a.png", "b.png", "c.bmp")]
    a, b, c = (read_image(path)[0] for path in paths)
    assert a == b != c


def test_images_and_arrays_of_equal_pixels_have_one_digest():
    digests = {
        read_image(entry)[0]
        for entry in (noise(), Image.fromarray(noise()), noise() / 255)
    }
    assert len(digests) == 1
    assert read_image(noise()[::-1])[0] not in digests
    assert read_image(noise(7, 5))[0] != read_image(noise(5, 7))[0]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_are_turned_upright(tmp_path, orientation):
    picture = Image.fromarray(noise())
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(picture, tmp_path / "a.png", exif=exif)
    # 6: the camera was turned, the first row of the file is the right edge
    if orientation == 6:
        np.testing.assert_array_equal(pixels_of(path), np.rot90(noise(), -1))
    expected = np.asarray(ImageOps.exif_transpose(Image.open(path)))
    np.testing.assert_array_equal(pixels_of(path), expected)
    assert np.array_equal(pixels_of(path), noise()) == (orientation == 1)


def over_white(rgba):
    alpha = rgba[..., 3:] / 255
    return rgba[..., :3] * alpha + 255 * (1 - alpha)


def test_transparent_pixels_are_put_on_white(tmp_path):
    rgba = noise(channels=4)
    rgba[0, :, 3], rgba[1, :, 3] = 0, 255
    path = saved(Image.fromarray(rgba), tmp_path / "a.png")
    for entry in (path, Image.open(path), rgba):
        np.testing.assert_allclose(pixels_of(entry), over_white(rgba), atol=1)
    assert (pixels_of(path)[0] == 255).all()
    np.testing.assert_array_equal(pixels_of(path)[1], rgba[1, :, :3])


def test_grey_with_alpha(tmp_path):
    la = Image.merge("LA", [Image.new("L", (4, 3), 100), Image.new("L", (4, 3), 0)])
    assert (pixels_of(saved(la, tmp_path / "a.png")) == 255).all()


@pytest.mark.parametrize("transparency", [1, b"\xff\x00"])
def test_palette_with_transparency(tmp_path, transparency):
    picture = Image.new("P", (2, 1))
    picture.putpalette([10, 20, 30, 200, 100, 50])
    picture.putpixel((1, 0), 1)
    path = saved(picture, tmp_path / "a.png", transparency=transparency)
    assert pixels_of(path).tolist() == [[[10, 20, 30], [255, 255, 255]]]


def test_one_colour_that_is_transparent(tmp_path):
    picture = Image.fromarray(np.array([[[1, 2, 3], [4, 5, 6]]], dtype=np.uint8))
    path = saved(picture, tmp_path / "a.png", transparency=(1, 2, 3))
    assert pixels_of(path).tolist() == [[[255, 255, 255], [4, 5, 6]]]


@pytest.mark.parametrize("mode", ["1", "L", "P", "CMYK", "YCbCr"])
def test_other_modes_are_converted(tmp_path, mode):
    picture = Image.fromarray(noise(16, 16)).convert(mode)
    path = saved(picture, tmp_path / "a.tiff")
    np.testing.assert_array_equal(pixels_of(path), np.asarray(picture.convert("RGB")))


def test_black_and_white():
    assert pixels_of(Image.new("1", (1, 1), 1)).tolist() == [[[255, 255, 255]]]


@pytest.mark.parametrize("suffix", ["png", "tiff"])
@pytest.mark.parametrize("dtype", ["<u2", ">u2"])
def test_grey_values_of_16_bits_are_scaled(tmp_path, suffix, dtype):
    values = np.array([[0, 257, 32768, 65535]], dtype=dtype)
    picture = Image.fromarray(values)
    assert picture.mode.startswith("I;16")
    if suffix == "png" and dtype == ">u2":
        path = picture
    else:
        path = saved(picture, tmp_path / f"a.{suffix}")
    assert pixels_of(path)[0, :, 0].tolist() == [0, 1, 128, 255]


def test_integers_and_floats_are_scaled():
    integers = Image.fromarray(np.array([[0, 65535]], dtype=np.int32))
    floats = Image.fromarray(np.array([[0, 1]], dtype=np.float32))
    assert (integers.mode, floats.mode) == ("I", "F")
    for picture in (integers, floats):
        assert pixels_of(picture)[0, :, 0].tolist() == [0, 255]


@pytest.mark.parametrize("suffix", ["gif", "webp", "png"])
def test_first_frame_of_an_animation(tmp_path, suffix):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "lime", "blue")]
    path = tmp_path / f"a.{suffix}"
    options = {"lossless": True} if suffix == "webp" else {}
    frames[0].save(path, save_all=True, append_images=frames[1:], **options)
    with Image.open(path) as picture:
        assert picture.n_frames == 3
    assert pixels_of(path)[0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_floats_are_rounded_to_the_nearest_byte(dtype):
    array = (noise() / 255).astype(dtype)
    np.testing.assert_array_equal(pixels_of(array), noise())


def test_grey_arrays_and_views():
    grey = noise()[:, :, 0]
    for array in (grey, np.asfortranarray(grey), grey[::-1][::-1]):
        np.testing.assert_array_equal(pixels_of(array), np.stack([grey] * 3, axis=2))


def test_a_given_image_is_left_as_it_was():
    exif = Image.Exif()
    exif[0x0112] = 6
    file = io.BytesIO()
    Image.fromarray(noise(channels=4)).save(file, "PNG", exif=exif)
    picture = Image.open(file)
    before = np.asarray(picture).copy()
    assert pixels_of(picture).shape == (7, 5, 3)
    np.testing.assert_array_equal(np.asarray(picture), before)
    assert picture.getexif()[0x0112] == 6


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (np.zeros(3, np.uint8), "uint8 of shape"),
        (np.zeros((3, 3, 2), np.uint8), "needs uint8, or floats in"),
        (np.zeros((3, 8, 8), np.uint8), "height, width, 3 or 4"),
        (np.zeros((0, 8), np.uint8), "uint8 of shape"),
        (np.zeros((8, 8), np.int64), "int64 of shape"),
        (np.zeros((8, 8), bool), "bool of shape"),
        (np.full((8, 8), 1.5), "not between 0 and 1"),
        (np.full((8, 8), -0.1), "not between 0 and 1"),
        (np.full((8, 8), np.nan), "not between 0 and 1"),
        (None, "neither a path"),
        (np.nan, "neither a path"),
        ([1, 2], "neither a path"),
        (Image.fromarray(np.array([[70000]], dtype=np.int32)), "between 0 and 65535"),
    ],
)
def test_wrong_entries_are_unreadable(array, reason):
    with pytest.raises(Unreadable, match=reason):
        read_image(array)


def bad_files(folder):
    """A file for each way to be unreadable, with a word of the reason."""
    jpeg = io.BytesIO()
    Image.fromarray(noise(64, 64)).save(jpeg, "JPEG")
    content = jpeg.getvalue()
    files = {
        "empty": (b"", "not a picture"),
        "text": (b"hello " * 100, "not a picture"),
        "truncated": (content[: len(content) // 2], "truncated"),
        "headless": (content[200:], "not a picture"),
    }
    for name, (data, reason) in files.items():
        (folder / name).write_bytes(data)
        yield folder / name, reason
    png = io.BytesIO()
    Image.fromarray(noise(64, 64)).save(png, "PNG")
    broken = bytearray(png.getvalue())
    broken[2000:2100] = b"\0" * 100
    (folder / "broken").write_bytes(broken)
    yield folder / "broken", "."
    yield folder / "missing", "No such file"
    yield folder, "directory"
    yield "a\0b", "null"


def test_bad_files_are_unreadable(tmp_path):
    for path, reason in bad_files(tmp_path):
        with pytest.raises(Unreadable, match=reason):
            pixels_of(path)


def test_a_closed_image_is_unreadable(tmp_path):
    path = saved(Image.fromarray(noise()), tmp_path / "a.png")
    picture = Image.open(path)
    picture.close()
    with pytest.raises(Unreadable):
        read_image(picture)


def test_a_decompression_bomb_is_unreadable(tmp_path, monkeypatch):
    path = saved(Image.new("RGB", (100, 100)), tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(Unreadable, match=r"exceeds limit .* pixels"):
        pixels_of(path)


def test_without_pillow_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "PIL.Image", None)
    with pytest.raises(ImportError, match=r"skxsae\[clip\]"):
        _images.pillow()


def test_probes_tell_crops_and_sizes_apart():
    sizes = {picture.size for picture in probe_pictures()}
    assert any(width > height for width, height in sizes)
    assert any(width < height for width, height in sizes)
    for picture in probe_pictures():
        pixels = np.asarray(picture)
        assert not np.array_equal(pixels, pixels[::-1])
        assert not np.array_equal(pixels, pixels[:, ::-1])
