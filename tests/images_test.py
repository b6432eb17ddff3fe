import io
import pathlib
import tempfile

import hypothesis
import numpy as np
from absl.testing import absltest, parameterized
from hypothesis import strategies as st
from pictures import encoded, random_pixels, save
from PIL import Image

from mia_jax import faces
from mia_jax.faces import images
from mia_jax.runtime.errors import UserError


class PixelsTest(parameterized.TestCase):
    """What a folder of one person with one photograph makes of it."""

    def setUp(self):
        super().setUp()
        self.directory = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))

    def load_one(self, name, content, **options):
        """Loads a folder of one person with one photograph."""
        path = self.directory / "someone" / name
        path.parent.mkdir(exist_ok=True)
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            save(path, content)
        return faces.load_folder(self.directory, min_images=1, **options).images[0]

    @parameterized.parameters((20, 12), (12, 20), (12, 12))
    def test_central_square_is_exact_without_resizing(self, height, width):
        pixels = random_pixels(height, width, 3)
        image = self.load_one("a.png", pixels, image_size=12)
        top, left = (height - 12) // 2, (width - 12) // 2
        np.testing.assert_allclose(image, pixels[top : top + 12, left : left + 12] / 255, atol=1e-6)

    def test_shrinking_averages_rather_than_aliases(self):
        stripes = np.tile(np.array([0, 255], np.uint8), (256, 128))
        image = self.load_one("a.png", stripes, image_size=64)
        np.testing.assert_allclose(image[8:-8, 8:-8], 0.5, atol=0.02)

    @hypothesis.settings(max_examples=25, deadline=None)
    @hypothesis.given(
        shade=st.integers(0, 255),
        height=st.integers(1, 40),
        width=st.integers(1, 40),
        image_size=st.integers(1, 20),
        color=st.booleans(),
    )
    def test_a_uniform_picture_stays_uniform(self, shade, height, width, image_size, color):
        pixels = np.full((height, width, 3) if color else (height, width), shade, np.uint8)
        image = self.load_one("a.png", pixels, image_size=image_size)
        self.assertEqual(image.shape, (image_size, image_size, 3 if color else 1))
        np.testing.assert_allclose(image, shade / 255, atol=1e-6)

    @hypothesis.settings(max_examples=25, deadline=None)
    @hypothesis.given(
        size=st.tuples(st.integers(1, 30), st.integers(1, 30)),
        depth=st.sampled_from((np.uint8, np.uint16)),
        seed=st.integers(0, 99),
        channels=st.sampled_from((1, 3)),
    )
    def test_images_are_in_the_unit_interval(self, size, depth, seed, channels):
        # Only extreme values, which is where an interpolation overshoots.
        bits = np.random.default_rng(seed).integers(0, 2, size).astype(depth)
        image = self.load_one("a.png", bits * np.iinfo(depth).max, image_size=16, channels=channels)
        self.assertEqual((image.shape, image.dtype), ((16, 16, channels), np.float32))
        self.assertBetween(image.min(), 0, 1)
        self.assertBetween(image.max(), 0, 1)

    @parameterized.parameters(range(1, 9))
    def test_exif_orientation(self, orientation):
        upright = np.zeros((16, 16), np.uint8)
        upright[:8, :8], upright[:8, 8:], upright[8:, :8] = 240, 160, 80
        # What a camera held differently stores, by the table of the EXIF standard.
        stored = {
            1: upright,
            2: upright[:, ::-1],
            3: upright[::-1, ::-1],
            4: upright[::-1],
            5: upright.T,
            6: np.rot90(upright, 1),
            7: upright[::-1, ::-1].T,
            8: np.rot90(upright, -1),
        }[orientation]
        exif = Image.Exif()
        exif[0x0112] = orientation
        content = encoded(np.ascontiguousarray(stored), exif=exif, quality=100)
        image = self.load_one("a.jpg", content, image_size=16)
        np.testing.assert_allclose(image[..., 0], upright / 255, atol=0.02)

    @parameterized.parameters("png", "tif", "pgm")
    def test_sixteen_bits(self, suffix):
        values = np.array([[0, 257], [30000, 65535]], np.uint16)
        if suffix == "pgm":
            content = b"P5 2 2 65535\n" + values.astype(">u2").tobytes()
        else:
            content = encoded(values, {"png": "PNG", "tif": "TIFF"}[suffix])
        image = self.load_one(f"a.{suffix}", content, image_size=2)
        np.testing.assert_allclose(image[..., 0], values / 65535, atol=1e-6)

    def test_big_endian_sixteen_bits(self):
        values = np.array([[0, 257], [30000, 65535]], np.uint16)
        big_endian = Image.frombytes("I;16B", (2, 2), values.astype(">u2").tobytes())
        image = self.load_one("a.tif", big_endian, image_size=2)
        np.testing.assert_allclose(image[..., 0], values / 65535, atol=1e-6)

    def test_floating_point(self):
        values = np.array([[0, 0.25], [0.5, 1]], np.float32)
        image = self.load_one("a.tif", values, image_size=2, channels=3)
        np.testing.assert_allclose(image, np.repeat(values[..., None], 3, -1), atol=1e-6)

    @parameterized.parameters(("P", 0), ("RGBA", 0), ("CMYK", 0.01), ("YCbCr", 0.03))
    def test_modes_of_color(self, mode, tolerance):
        pixels = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [9, 99, 199]]], np.uint8)
        image = Image.fromarray(pixels)
        image = image.quantize(4) if mode == "P" else image.convert(mode)
        name = "a.png" if mode in ("P", "RGBA") else "a.tif"
        loaded = self.load_one(name, image, image_size=2)
        np.testing.assert_allclose(loaded, pixels / 255, atol=tolerance + 1e-6)

    @parameterized.parameters("1", "L", "LA")
    def test_modes_of_gray(self, mode):
        pixels = np.array([[0, 255], [255, 0]], np.uint8)
        image = self.load_one("a.png", Image.fromarray(pixels).convert(mode), image_size=2)
        np.testing.assert_array_equal(image[..., 0], pixels / 255)

    def test_transparency_is_white(self):
        pixels = np.array([[[9, 9, 9, 0], [9, 9, 9, 255]]] * 2, np.uint8)
        image = self.load_one("a.png", pixels, image_size=2)
        np.testing.assert_allclose(image[:, 0], 1)
        np.testing.assert_allclose(image[:, 1], 9 / 255, atol=1e-6)


class ReadImageTest(parameterized.TestCase):
    @parameterized.parameters(b"", b"not a photograph")
    def test_what_is_no_image(self, content):
        with self.assertRaisesRegex(UserError, "the file is not a readable image"):
            images.read_image(io.BytesIO(content))

    @parameterized.parameters("EPS", "PDF", "ICO", "PCX", "SGI", "TGA", "JPEG2000")
    def test_a_format_that_is_none_of_photographs_is_not_opened(self, kind):
        data = io.BytesIO()
        Image.new("RGB", (16, 16)).save(data, kind)
        data.seek(0)
        with self.assertRaisesRegex(UserError, "not a readable image"):
            images.read_image(data)

    @parameterized.parameters(*images.FORMATS)
    def test_formats_of_photographs_are_opened(self, kind):
        data = io.BytesIO()
        Image.new("RGB", (16, 16), "red").save(data, kind)
        data.seek(0)
        self.assertEqual(images.read_image(data).size, (16, 16))

    @parameterized.parameters(
        (0, None, "image_size=0 is no size"),
        (10**6, 1, "a side has at most 4096"),
        (16, 2, r"channels=2 .* 1 \(gray\), 3 \(RGB\)"),
    )
    def test_formats(self, image_size, channels, words):
        images.check_format(16, 3)
        with self.assertRaisesRegex(UserError, words):
            images.check_format(image_size, channels)


class PictureTest(parameterized.TestCase):
    @parameterized.parameters(1, 3)
    def test_the_way_back_from_pixels_keeps_every_level(self, channels):
        levels = np.arange(24 * channels, dtype=np.uint8).reshape(4, 6, channels)
        back = images.picture(levels / np.float32(255))
        self.assertEqual(back.mode, "L" if channels == 1 else "RGB")
        np.testing.assert_array_equal(np.asarray(back).reshape(levels.shape), levels)

    def test_what_is_out_of_range_is_clipped_and_no_number_is_black(self):
        shown = images.picture(np.array([[[-1.0], [2.0], [np.nan]]]))
        np.testing.assert_array_equal(np.asarray(shown), [[0, 255, 0]])


if __name__ == "__main__":
    absltest.main()
