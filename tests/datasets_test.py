import dataclasses
import importlib.util
import io
import os
import pathlib
import sys
import tarfile
import tempfile
import types
import unittest
from unittest import mock

import numpy as np
from absl.testing import absltest, parameterized
from PIL import Image

from mia_jax import faces
from mia_jax.runtime.errors import MissingError, UserError


def encoded(pixels):
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=95)
    return stream.getvalue()


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
                content = encoded(pixels)
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

    # The builder's module: another test may have made Python forget it, and it registers once.
    lfw_dataset_builder = tfds.builder_cls("lfw")._split_generators.__globals__
    gfile = types.SimpleNamespace(GFile=open, listdir=os.listdir, isdir=os.path.isdir)
    stand_in = types.SimpleNamespace(
        io=types.SimpleNamespace(gfile=gfile), compat=types.SimpleNamespace(as_text=str)
    )
    write_lfw(data_dir)
    with (
        published_archive(),
        mock.patch.dict(lfw_dataset_builder, tf=stand_in),
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
        with self.assertRaisesRegex(UserError, "nobody in lfw has 4 .*--min_images=4.* most are 3"):
            self.load(min_images=4)

    def test_loading_is_deterministic(self):
        first, second = (dataclasses.astuple(self.load()) for _ in range(2))
        for one, other in zip(first, second, strict=True):
            np.testing.assert_array_equal(one, other)


class PreparationTest(parameterized.TestCase):
    def setUp(self):
        super().setUp()
        self.directory = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))

    def test_unknown_name(self):
        with self.assertRaisesRegex(UserError, "'mnist' is no dataset .* lfw or vgg_face2"):
            faces.load_tfds("mnist")

    @parameterized.parameters("lfw", "vgg_face2")
    def test_unprepared_dataset_is_an_error_and_not_a_download(self, name):
        with (
            mock.patch("socket.socket", side_effect=AssertionError("used the network")),
            self.assertRaisesRegex(MissingError, f"{name} is not prepared in .*download=True"),
        ):
            faces.load_tfds(name, data_dir=self.directory)

    def test_missing_tensorflow(self):
        with (
            mock.patch.dict(sys.modules, tensorflow=None),
            self.assertRaisesRegex(MissingError, r"TensorFlow.*\.\[prepare\]"),
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
            self.assertRaisesRegex(MissingError, "lfw failed: the host is unreachable"),
        ):
            faces.load_tfds("lfw", data_dir=self.directory, download=True)

    def test_other_file_format(self):
        prepare_lfw(self.directory)
        (information,) = self.directory.glob("lfw/*/dataset_info.json")
        information.write_text(information.read_text().replace("array_record", "tfrecord"))
        with self.assertRaisesRegex(MissingError, "prepared as tfrecord"):
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
