import importlib.util
import io
import pathlib
import sys
import tarfile
import tempfile
import types
import unittest
from unittest import mock

import numpy as np
import tensorflow_datasets as tfds
from absl.testing import absltest, parameterized
from PIL import Image
from tensorflow_datasets.core import shuffle

from mia_jax import faces
from mia_jax.faces import vgg_face2
from mia_jax.runtime.errors import MissingError, UserError

WIDTH, HEIGHT = 100, 80
TRAIN = ("n000002/0001_01", "n000002/0002_01", "n000010/0001_02", "n000002/0003_01")
TEST = ("n000001/0001_01", "n000001/0002_01")
BOXES = {  # x, y, width, height
    "n000002/0001_01": (40, 20, 20, 40),
    "n000002/0002_01": (-10, -10, 60, 60),
    "n000010/0001_02": (90, 70, 40, 40),
    "n000002/0003_01": (0, 0, 100, 80),
    "n000001/0001_01": (30, 30, 20, 20),
    "n000001/0002_01": (50, 10, 20, 20),
}


def picture(name):
    """Brightness is a ramp along the width, green along the height; blue tells the pictures."""
    ramp = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    ramp[..., 0] = 2 * np.arange(WIDTH)
    ramp[..., 1] = 2 * np.arange(HEIGHT)[:, np.newaxis]
    ramp[..., 2] = 40 * list(BOXES).index(name)
    return ramp


def jpeg(pixels):
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=100, subsampling=0)
    return stream.getvalue()


def write_tar(path, members):
    """Writes members, (path, content) or TarInfo, into a compressed archive."""
    with tarfile.open(path, "w:gz") as tar:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                tar.addfile(member)
            else:
                information = tarfile.TarInfo(member[0])
                information.size = len(member[1])
                tar.addfile(information, io.BytesIO(member[1]))


def photographs(split, names):
    return [(f"{split}/{name}.jpg", jpeg(picture(name))) for name in names]


def table(names, boxes=None):
    boxes = BOXES if boxes is None else boxes
    rows = [f'"{name}",{",".join(map(str, boxes[name]))}' for name in names if name in boxes]
    return "\n".join(["NAME_ID,X,Y,W,H", *rows, ""]).encode()


class VggFace2Test(parameterized.TestCase):
    def setUp(self):
        super().setUp()
        self.data_dir = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.manual = self.data_dir / "downloads" / "manual"

    def write(self, *, train=(), test=(), boxes=None):
        """Writes the three archives in the authors' layout, with additional members."""
        self.manual.mkdir(parents=True)
        write_tar(self.manual / "vggface2_train.tar.gz", photographs("train", TRAIN) + list(train))
        write_tar(self.manual / "vggface2_test.tar.gz", photographs("test", TEST) + list(test))
        write_tar(
            self.manual / "bb_landmark.tar.gz",
            [
                ("bb_landmark/loose_landmark_train.csv", b"NAME_ID,P1X\n"),
                ("bb_landmark/loose_bb_train.csv", table(TRAIN, boxes)),
                ("bb_landmark/loose_bb_test.csv", table(TEST, boxes)),
            ],
        )

    def prepare(self):
        builder = vgg_face2.VggFace2(data_dir=self.data_dir)
        with mock.patch("sys.stderr", io.StringIO()):  # progress bars
            builder.download_and_prepare(file_format="array_record")
        return builder

    def read(self, split):
        """Prepares and reads a split, in its order: {name: record}."""
        source = self.prepare().as_data_source(split)
        return {record["name"].decode(): record for record in source}

    def test_is_known_to_tensorflow_datasets(self):
        self.assertIs(tfds.builder_cls("vgg_face2"), vgg_face2.VggFace2)

    def test_records_of_both_splits(self):
        self.write()
        builder = self.prepare()
        for split, names in (("train", TRAIN), ("test", TEST)):
            records = list(builder.as_data_source(split))
            self.assertEqual([record["name"].decode() for record in records], list(names))
            for name, record in zip(names, records, strict=True):
                self.assertEqual(record["identity"].decode(), name[:7])
                self.assertEqual(record["image"].dtype, np.uint8)

    def test_runs_tell_who_is_in_which_record(self):
        self.write()
        self.prepare()
        runs = vgg_face2.VggFace2(data_dir=self.data_dir).info.metadata["runs"]  # read from disk
        self.assertEqual(
            runs,
            {
                "train": [["n000002", 2], ["n000010", 1], ["n000002", 1]],
                "test": [["n000001", 2]],
            },
        )

    @parameterized.parameters(
        # Left, top, right, bottom of the box, grown by 15% of its sides each way and clipped.
        ("n000002/0001_01", (37, 14, 63, 66)),
        ("n000002/0002_01", (0, 0, 59, 59)),
        ("n000010/0001_02", (84, 64, 100, 80)),
        ("n000002/0003_01", (0, 0, 100, 80)),
    )
    def test_crop(self, name, box):
        self.write()
        left, top, right, bottom = box
        image = self.read("train")[name]["image"].astype(int)
        expected = picture(name)[top:bottom, left:right].astype(int)
        self.assertEqual(image.shape, expected.shape)
        self.assertLess(np.abs(image - expected).mean(), 4)  # pixels are stored as JPEG

    @parameterized.parameters(None, (200, 200, 30, 30), (20, 20, 0, 10), (-50, 0, 50, 50))
    def test_photograph_without_usable_box_is_whole(self, *box):
        boxes = dict(BOXES)
        if box == (None,):
            del boxes["n000002/0001_01"]
        else:
            boxes["n000002/0001_01"] = box
        self.write(boxes=boxes)
        with self.assertLogs("absl", "WARNING") as logs:
            records = self.read("train")
        self.assertEqual(records["n000002/0001_01"]["image"].shape, (HEIGHT, WIDTH, 3))
        self.assertIn("1 of 4 photographs in vggface2_train.tar.gz have no box", logs.output[0])
        self.assertIn("n000002/0001_01", logs.output[0])

    def test_unreadable_photographs_are_left_out_and_logged(self):
        content = jpeg(picture(TRAIN[0]))
        self.write(
            train=[
                ("train/n000003/0001_01.jpg", content[: len(content) // 2]),
                ("train/n000003/0002_01.jpg", b""),
            ]
        )
        with self.assertLogs("absl", "WARNING") as logs:
            records = self.read("train")
        self.assertEqual(tuple(records), TRAIN)
        self.assertLen(logs.output, 1)
        self.assertIn("2 of 6 photographs in vggface2_train.tar.gz are not readable", *logs.output)
        self.assertIn("n000003/0001_01, n000003/0002_01", *logs.output)

    def test_unexpected_members_are_ignored(self):
        def special(name, kind, target=""):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, target
            return member

        content = jpeg(picture(TRAIN[0]))
        self.write(
            train=[
                ("../train/n000003/0001_01.jpg", content),
                ("/train/n000003/0001_01.jpg", content),
                ("train/../n000003/0001_01.jpg", content),
                ("train/n000003/../0001_01.jpg", content),
                ("train/n000003/0001_01.jpg.exe", content),
                ("test/n000003/0001_01.jpg", content),
                ("train/README", b"hello"),
                special("train/n000003", tarfile.DIRTYPE),
                special("train/n000003/0003_01.jpg", tarfile.SYMTYPE, "/etc/hostname"),
                special("train/n000003/0004_01.jpg", tarfile.LNKTYPE, "train/n000002/0001_01.jpg"),
                special("train/n000003/0005_01.jpg", tarfile.FIFOTYPE),
            ]
        )
        self.assertEqual(tuple(self.read("train")), TRAIN)
        self.assertEmpty(list(self.data_dir.rglob("*n000003*")))  # nothing was extracted

    def test_order_survives_sorting_on_disk(self):
        """Records beyond the memory buffer pass through a thousand files, by their keys."""
        names = [f"n{person:06}/{number:04}_01" for person in (9, 3, 7) for number in range(40)]
        self.manual.mkdir(parents=True)
        content = jpeg(np.zeros((9, 9, 3), np.uint8))
        for split in ("train", "test"):
            write_tar(
                self.manual / f"vggface2_{split}.tar.gz",
                [(f"{split}/{name}.jpg", content) for name in names],
            )
        boxes = dict.fromkeys(names, (2, 2, 5, 5))
        write_tar(
            self.manual / "bb_landmark.tar.gz",
            [
                (f"bb_landmark/loose_bb_{split}.csv", table(names, boxes))
                for split in ("train", "test")
            ],
        )
        gfile = types.SimpleNamespace(
            GFile=open,
            exists=lambda path: pathlib.Path(path).exists(),
            remove=lambda path: pathlib.Path(path).unlink(),
        )
        stand_in = types.SimpleNamespace(
            io=types.SimpleNamespace(gfile=gfile),
            errors=types.SimpleNamespace(ResourceExhaustedError=MemoryError),
        )
        with (
            mock.patch.object(shuffle, "MAX_MEM_BUFFER_SIZE", 1000),
            mock.patch.object(shuffle, "tf", stand_in),
            mock.patch.object(vgg_face2, "importlib"),  # as if TensorFlow were installed
        ):
            self.assertEqual(list(self.read("train")), names)

    def test_keys_spread_over_the_sorting_files(self):
        self.write()
        builder = vgg_face2.VggFace2(data_dir=self.data_dir)
        archives = (self.manual / "vggface2_train.tar.gz", self.manual / "bb_landmark.tar.gz")
        keys = [key for key, _ in builder._generate_examples("train", *archives)]
        step = keys[1] - keys[0]
        people, photographs_of_each = 8631, 364
        buckets = [
            shuffle.get_bucket_number(step * index, shuffle.BUCKETS_NUMBER)
            for index in range(0, people * photographs_of_each, 1000)
        ]
        self.assertGreater(len(set(buckets)), 700)
        self.assertLess(step * people * photographs_of_each, 2**shuffle.HKEY_SIZE)

    def test_large_archive_needs_tensorflow_at_once(self):
        self.write()
        with (
            mock.patch.object(shuffle, "MAX_MEM_BUFFER_SIZE", 1000),
            mock.patch.dict(sys.modules, tensorflow=None),
            self.assertRaisesRegex(MissingError, r"vgg_face2.*\.\[prepare\]"),
        ):
            faces.load_tfds("vgg_face2", data_dir=self.data_dir, download=True)

    @parameterized.parameters("vggface2_train.tar.gz", "vggface2_test.tar.gz", "bb_landmark.tar.gz")
    def test_missing_archive(self, name):
        self.write()
        (self.manual / name).unlink()
        with self.assertRaisesRegex(MissingError, f"needs {name}, fetched by hand, in .*manual"):
            self.prepare()

    def test_missing_manual_directory(self):
        with self.assertRaisesRegex(
            MissingError,
            "needs vggface2_train.tar.gz.* by hand: Manual dir.*does not exist or is empty$",
        ):
            self.prepare()

    @parameterized.product(name=("vggface2_train.tar.gz", "bb_landmark.tar.gz"), kept=(0.9, 0.2, 0))
    def test_incomplete_archive(self, name, kept):
        self.write()
        archive = self.manual / name
        content = archive.read_bytes()
        archive.write_bytes(content[: int(kept * len(content))])
        with self.assertRaisesRegex(UserError, f"{name} is damaged or incomplete"):
            self.prepare()

    def test_archive_that_is_none(self):
        self.write()
        (self.manual / "vggface2_test.tar.gz").write_bytes(b"<html>Not Found</html>")
        with self.assertRaisesRegex(UserError, "vggface2_test.tar.gz is damaged"):
            self.prepare()

    def test_archive_of_another_layout(self):
        self.write()
        members = [(f"faces/{path}", content) for path, content in photographs("train", TRAIN)]
        write_tar(self.manual / "vggface2_train.tar.gz", members)
        with self.assertRaisesRegex(UserError, "train.tar.gz has no readable photograph named"):
            self.prepare()

    @parameterized.parameters(
        ([], "lacks bb_landmark/loose_bb_train.csv"),
        ([("bb_landmark/loose_bb_train.csv", b"NAME_ID,X,Y,W,H\nrubbish\n")], "has no rows"),
    )
    def test_bad_boxes(self, members, message):
        self.write()
        write_tar(self.manual / "bb_landmark.tar.gz", members)
        with self.assertRaisesRegex(UserError, message):
            self.prepare()

    @parameterized.parameters(4 * 2**30, 0)
    def test_load_tfds_unites_the_splits(self, in_memory_limit):
        self.write()
        self.prepare()
        data = faces.load_tfds(
            "vgg_face2",
            data_dir=self.data_dir,
            image_size=16,
            min_images=1,
            in_memory_limit=in_memory_limit,
        )
        self.assertEqual(data.names, ("n000001", "n000002", "n000010"))
        np.testing.assert_array_equal(data.identities, [0, 0, 1, 1, 1, 2])
        self.assertEqual(data.images.shape, (6, 16, 16, 3))
        names = [*TEST, TRAIN[0], TRAIN[1], TRAIN[3], TRAIN[2]]
        blues = data.images[np.arange(6)][..., 2].mean((1, 2)) * 255
        np.testing.assert_allclose(blues, [picture(name)[0, 0, 2] for name in names], atol=6)

        data = faces.load_tfds("vgg_face2", data_dir=self.data_dir, image_size=16, min_images=3)
        self.assertEqual(data.names, ("n000002",))

    def test_load_tfds_prepares_what_it_may(self):
        self.write()
        with mock.patch("sys.stderr", io.StringIO()):
            data = faces.load_tfds(
                "vgg_face2", data_dir=self.data_dir, image_size=8, min_images=2, download=True
            )
        self.assertEqual(data.names, ("n000001", "n000002"))
        self.assertIn("VGGFace2", data.credit)

    @unittest.skipIf(
        importlib.util.find_spec("tensorflow") is None, "sorting on disk is done with TensorFlow"
    )
    def test_sorting_on_disk_with_tensorflow(self):
        self.write()
        with mock.patch.object(shuffle, "MAX_MEM_BUFFER_SIZE", 1000):
            self.assertEqual(tuple(self.read("train")), TRAIN)


if __name__ == "__main__":
    absltest.main()
