import pathlib
import tempfile

import hypothesis
from absl.testing import absltest, parameterized
from hypothesis import strategies as st

from mia_jax.runtime.errors import UserError
from mia_jax.runtime.workdir import WorkDirectory, file_name

PLAIN = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_- "


class FileNameTest(parameterized.TestCase):
    @hypothesis.given(st.text(PLAIN, min_size=1, max_size=100))
    def test_plain_names_stay_as_they_are(self, name):
        self.assertEqual(file_name(name), name)

    @parameterized.parameters(
        ("George W. Bush", "George W. Bush"),
        ("s01", "s01"),
        (".", "%2E"),
        ("..", "%2E%2E"),
        ("../etc/passwd", "%2E%2E%2Fetc%2Fpasswd"),
        (".hidden.npz", "%2Ehidden%2Enpz"),
        ("a/b\\c", "a%2Fb%5Cc"),
        ("100%", "100%25"),
        ("Zoë", "Zo%C3%AB"),
        ("a\0b\n", "a%00b%0A"),
        ("x" * 200, "x" * 200),
        (
            "x" * 201,
            "x" * 167 + "^84a0678c90937f5dcf9994d5866668da",  # As sha256sum says.
        ),
    )
    def test_golden(self, name, expected):
        self.assertEqual(file_name(name), expected)

    @hypothesis.given(st.text("./\\%2E5a~:*\0é", max_size=6) | st.text(max_size=20))
    @hypothesis.example(".")
    @hypothesis.example("..")
    @hypothesis.example("王" * 30)
    def test_is_safe(self, name):
        found = file_name(name)
        self.assertFalse(found.startswith("."))
        self.assertEmpty(set(found) & set('/\\\0:*?"<>|\n'))
        self.assertTrue(found.isascii())

    @hypothesis.given(
        *[st.lists(st.sampled_from([".", "/", "%", "2", "E", "F", "a"]), max_size=5)] * 2
    )
    @hypothesis.settings(max_examples=300)
    def test_different_names_have_different_files(self, one, other):
        one, other = "".join(one), "".join(other)
        self.assertEqual(file_name(one) == file_name(other), one == other)

    @parameterized.parameters("王", "é", "x", ".", "\0")
    def test_long_names_fit_with_what_is_added(self, character):
        """A file name may have 255 bytes."""
        names = [character * count for count in (30, 90, 250, 251, 4000)]
        found = [file_name(name) for name in names]
        self.assertLen(set(found), len(found))
        for name in found:
            self.assertLessEqual(len(name) + len("-1000000-1000049.npz"), 255)
            self.assertNotRegex(name, "%[0-9A-F]?[^0-9A-F]")
        # What was made of a long name is itself a name, of another person.
        self.assertNotEqual(file_name(found[-1]), found[-1])


class WorkDirectoryTest(parameterized.TestCase):
    def test_everything_lies_below_the_root(self):
        root = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        home = WorkDirectory(root / "runs")
        paths = [
            home.protocol,
            home.recognizer("target"),
            home.recognizer("evaluator"),
            home.recognizer("../judge"),
            home.clones_of("../s1"),
            home.clones_of("s1"),
            home.part_of("../s1", 0, 49),
            home.manifest,
            home.seconds,
            home.evaluation,
            home.figures,
            home.report,
        ]
        self.assertLen(set(paths), len(paths))
        for path in paths:
            self.assertIn(root / "runs", path.resolve().parents)
        self.assertEqual(home.clones_of("../s1").parent, home.clones)
        self.assertEqual(home.part_of("s1", 0, 49).parent, home.parts)

    def test_is_where_it_was_named_wherever_the_process_goes(self):
        self.assertEqual(WorkDirectory("runs/orl").root, pathlib.Path.cwd() / "runs" / "orl")

    @parameterized.parameters("clones", "figures")
    def test_a_recognizer_is_in_nothing_elses_place(self, name):
        with self.assertRaisesRegex(UserError, f"a recognizer cannot be called '{name}'"):
            WorkDirectory("runs/orl").recognizer(name)

    def test_the_longest_name_can_be_written(self):
        home = WorkDirectory(self.enterContext(tempfile.TemporaryDirectory()))
        path = home.part_of("王" * 1000, 1_000_000, 1_000_049)
        path.parent.mkdir(parents=True)
        path.touch()
        self.assertTrue(path.exists())


if __name__ == "__main__":
    absltest.main()
