import math
import os
import pathlib
import shutil
import stat
import tempfile
from typing import NamedTuple
from unittest import mock

import hypothesis
import jax
import numpy as np
from absl.testing import absltest, parameterized
from hypothesis import strategies as st

from mia_jax import storage

PLAIN = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_- "


class StorageTest(parameterized.TestCase):
    def setUp(self):
        super().setUp()
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.root = pathlib.Path(temporary.name)

    def names(self, directory=None):
        return sorted(path.name for path in (directory or self.root).iterdir())


class FileNameTest(parameterized.TestCase):
    @hypothesis.given(st.text(PLAIN, min_size=1))
    def test_plain_names_stay_as_they_are(self, name):
        self.assertEqual(storage.file_name(name), name)

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
    )
    def test_golden(self, name, expected):
        self.assertEqual(storage.file_name(name), expected)

    @hypothesis.given(st.text("./\\%2E5a~:*\0é", max_size=6) | st.text(max_size=20))
    @hypothesis.example(".")
    @hypothesis.example("..")
    def test_is_safe(self, name):
        found = storage.file_name(name)
        self.assertFalse(found.startswith("."))
        self.assertEmpty(set(found) & set('/\\\0:*?"<>|\n'))
        self.assertTrue(found.isascii())

    @hypothesis.given(
        *[st.lists(st.sampled_from([".", "/", "%", "2", "E", "F", "a"]), max_size=5)] * 2
    )
    @hypothesis.settings(max_examples=300)
    def test_different_names_have_different_files(self, one, other):
        one, other = "".join(one), "".join(other)
        self.assertEqual(storage.file_name(one) == storage.file_name(other), one == other)


class WorkDirectoryTest(StorageTest):
    def test_everything_lies_below_the_root(self):
        workdir = storage.WorkDirectory(self.root / "runs")
        paths = [
            workdir.protocol,
            workdir.recognizer("target"),
            workdir.recognizer("evaluator"),
            workdir.clones_of("../s1"),
            workdir.clones_of("s1"),
            workdir.evaluation,
            workdir.figures,
            workdir.report,
        ]
        self.assertLen(set(paths), len(paths))
        for path in paths:
            self.assertIn(self.root / "runs", path.resolve().parents)
        self.assertEqual(workdir.clones_of("../s1").parent, workdir.clones)

    def test_is_where_it_was_named_wherever_the_process_goes(self):
        workdir = storage.WorkDirectory("runs/orl")
        self.assertEqual(workdir.root, pathlib.Path.cwd() / "runs" / "orl")


class WritingTest(StorageTest):
    def test_makes_the_directories_and_a_file_that_others_may_read(self):
        path = self.root / "a" / "b" / "file"
        storage.write_bytes(path, b"new")
        self.assertEqual(path.read_bytes(), b"new")
        self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o644)
        self.assertEqual(self.names(path.parent), ["file"])

    @parameterized.named_parameters(
        ("bytes", lambda path: storage.write_bytes(path, b"new"), "fsync"),
        ("json", lambda path: storage.write_json(path, [1]), "fsync"),
        ("arrays", lambda path: storage.write_arrays(path, {"a": np.ones(3)}), "fsync"),
        ("table", lambda path: storage.write_table(path, [{"a": 1}]), "fsync"),
        ("renaming", lambda path: storage.write_bytes(path, b"new"), "replace"),
        ("renaming_arrays", lambda path: storage.write_arrays(path, {"a": 0}), "replace"),
    )
    def test_a_failing_write_leaves_the_old_file_and_nothing_else(self, write, fails):
        path = self.root / "file"
        for error in (OSError("No space left on device"), KeyboardInterrupt()):
            path.write_bytes(b"old")
            with mock.patch.object(os, fails, side_effect=error), self.assertRaises(type(error)):
                write(path)
            self.assertEqual(path.read_bytes(), b"old")
            self.assertEqual(self.names(), ["file"])
        write(path)
        self.assertNotEqual(path.read_bytes(), b"old")
        self.assertEqual(self.names(), ["file"])

    @parameterized.parameters((math.nan,), (math.inf,), ({1, 2},), (np.ones(2),))
    def test_what_json_cannot_hold_leaves_the_old_file(self, value):
        path = self.root / "a.json"
        storage.write_json(path, {"old": 1})
        with self.assertRaises((ValueError, TypeError)):
            storage.write_json(path, {"a": value})
        self.assertEqual(storage.read_json(path), {"old": 1})
        self.assertEqual(self.names(), ["a.json"])

    def test_check_writable(self):
        storage.check_writable(self.root / "new" / "one")
        self.assertEqual(self.names(self.root / "new" / "one"), [])
        (self.root / "file").touch()
        with self.assertRaises(OSError):
            storage.check_writable(self.root / "file" / "below")


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)


class JsonTest(StorageTest):
    @hypothesis.given(JSON)
    @hypothesis.settings(max_examples=30, deadline=None)
    def test_round_trip(self, data):
        path = self.root / "a.json"
        storage.write_json(path, data)
        self.assertEqual(storage.read_json(path), data)

    def test_compares_line_by_line_and_reads_as_text(self):
        storage.write_json(self.root / "a.json", {"names": ["Zoë", "s2"]})
        lines = (self.root / "a.json").read_text(encoding="utf-8").splitlines()
        self.assertEqual(lines, ["{", ' "names": [', '  "Zoë",', '  "s2"', " ]", "}"])

    @parameterized.parameters(b"", b'{"a": 1', b"\xff\xfe\x00", b"a,b\n")
    def test_damaged(self, content):
        path = self.root / "a.json"
        path.write_bytes(content)
        with self.assertRaisesRegex(ValueError, r"a\.json is not readable JSON .* delete it"):
            storage.read_json(path)

    def test_missing(self):
        with self.assertRaisesRegex(FileNotFoundError, "none.json"):
            storage.read_json(self.root / "none.json")


class ArraysTest(StorageTest):
    def test_round_trip(self):
        arrays = {
            "images": np.random.default_rng(0).normal(size=(2, 3, 4, 1)).astype(np.float32),
            "rank": np.array([1, -1]),
            "empty": np.zeros((0, 5)),
            "names": np.array(["Zoë", "s2"]),
            "done": np.array(True),
        }
        path = self.root / "clones" / "s1.npz"
        storage.write_arrays(path, arrays)
        found = storage.read_arrays(path)
        self.assertEqual(list(found), list(arrays))
        for name, array in arrays.items():
            np.testing.assert_array_equal(found[name], array)
            self.assertEqual(found[name].dtype, array.dtype)
        self.assertEqual(list(storage.read_arrays(path, ["rank"])), ["rank"])
        self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o644)

    def test_takes_jax_arrays_and_plain_numbers(self):
        storage.write_arrays(self.root / "a.npz", {"a": jax.numpy.arange(3), "b": 1.5})
        found = storage.read_arrays(self.root / "a.npz")
        np.testing.assert_array_equal(found["a"], [0, 1, 2])
        self.assertEqual(found["b"], 1.5)

    def test_pickles_are_refused_unread(self):
        class Trap:
            def __reduce__(self):
                return os.mkdir, (str(trap),)

        trap = self.root / "sprung"
        path = self.root / "a.npz"
        np.savez(path, a=np.array([Trap()], dtype=object))
        with self.assertRaisesRegex(ValueError, r"a\.npz cannot be read .* delete it"):
            storage.read_arrays(path)
        self.assertFalse(trap.exists())

    @parameterized.parameters("empty", "cut", "flipped", "text", "npy", "directory")
    def test_damaged(self, how):
        path = self.root / "a.npz"
        storage.write_arrays(path, {"a": np.arange(1000)})
        content = path.read_bytes()
        middle = len(content) // 2
        if how == "directory":
            path.unlink()
            path.mkdir()
        elif how == "npy":
            with path.open("wb") as file:
                np.save(file, np.arange(3))
        else:
            path.write_bytes(
                {
                    "empty": b"",
                    "cut": content[:middle],
                    "flipped": content[:middle] + b"\xff\xff" + content[middle + 2 :],
                    "text": b"hello",
                }[how]
            )
        with self.assertRaisesRegex(ValueError, r"a\.npz cannot be read \(.*\): delete it"):
            storage.read_arrays(path, ["a"])

    def test_names_the_array_that_is_not_there(self):
        storage.write_arrays(self.root / "a.npz", {"a": np.ones(2)})
        with self.assertRaisesRegex(ValueError, "images"):
            storage.read_arrays(self.root / "a.npz", ["a", "images"])

    def test_missing(self):
        with self.assertRaisesRegex(FileNotFoundError, "none.npz"):
            storage.read_arrays(self.root / "none.npz")


class TableTest(StorageTest):
    @hypothesis.given(
        st.lists(st.fixed_dictionaries({"step": st.integers(0), "loss": st.floats()}), min_size=1)
    )
    @hypothesis.settings(max_examples=30, deadline=None)
    @hypothesis.example([{"step": 25, "loss": math.nan}, {"step": 50, "loss": -math.inf}])
    def test_round_trip(self, rows):
        path = self.root / "metrics.csv"
        storage.write_table(path, rows)
        found = storage.read_table(path)
        np.testing.assert_array_equal([row["loss"] for row in found], [row["loss"] for row in rows])
        self.assertEqual([row["step"] for row in found], [row["step"] for row in rows])
        self.assertEqual({type(row["step"]) for row in found}, {int})

    def test_is_a_csv_with_a_header(self):
        storage.write_table(self.root / "a.csv", [{"step": 1, "loss": 0.5}])
        self.assertEqual((self.root / "a.csv").read_text(), "step,loss\n1,0.5\n")

    def test_missing_has_no_rows(self):
        self.assertEqual(storage.read_table(self.root / "none.csv"), [])


class Training(NamedTuple):
    step: jax.Array
    params: dict
    optimizer: tuple


def tree(fill=1.0, classes=4):
    params = {
        "L6": {"kernel": jax.numpy.full((3, 2), fill), "bias": jax.numpy.arange(2.0)},
        "L7": {"kernel": jax.numpy.full((2, classes), -fill), "bias": jax.numpy.ones(classes)},
    }
    return Training(jax.numpy.int32(3), params, ((params, jax.numpy.int32(7)), None))


class CheckpointTest(StorageTest):
    def setUp(self):
        super().setUp()
        self.directory = self.root / "checkpoint"

    def assert_trees_equal(self, found, expected):
        self.assertEqual(jax.tree.structure(found), jax.tree.structure(expected))
        for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
            np.testing.assert_array_equal(one, other)
            self.assertEqual(one.dtype, other.dtype)

    def test_round_trip_of_weights(self):
        storage.save_checkpoint(self.directory, tree().params)
        self.assert_trees_equal(
            storage.restore_checkpoint(self.directory, tree(0.0).params), tree().params
        )
        shapes = jax.eval_shape(lambda: tree().params)
        self.assert_trees_equal(storage.restore_checkpoint(self.directory, shapes), tree().params)

    def test_round_trip_of_a_training_in_its_named_tuples(self):
        storage.save_checkpoint(self.directory, tree())
        self.assert_trees_equal(storage.restore_checkpoint(self.directory, tree(0.0)), tree())

    def test_replaces_what_was_there(self):
        storage.save_checkpoint(self.directory, tree(5.0))
        storage.save_checkpoint(self.directory, tree(6.0).params)
        found = storage.restore_checkpoint(self.directory, tree().params)
        self.assert_trees_equal(found, tree(6.0).params)
        self.assertEqual(self.names(), ["checkpoint"])

    def test_names_what_does_not_fit(self):
        storage.save_checkpoint(self.directory, tree().params)
        with self.assertRaisesRegex(
            ValueError,
            r"checkpoint does not fit the model: L7/bias has the shape \(4,\) there, and \(5,\) is",
        ):
            storage.restore_checkpoint(self.directory, tree(classes=5).params)
        fewer = {"L6": tree().params["L6"]}
        with self.assertRaisesRegex(ValueError, r"L7/bias has the shape \(4,\) there, and None"):
            storage.restore_checkpoint(self.directory, fewer)
        more = tree().params | {"L8": {"bias": jax.numpy.ones(2)}}
        with self.assertRaisesRegex(ValueError, r"L8/bias has the shape None there, and \(2,\)"):
            storage.restore_checkpoint(self.directory, more)
        with self.assertRaisesRegex(ValueError, "does not fit the model"):
            storage.restore_checkpoint(self.directory, tree())

    def test_missing(self):
        with self.assertRaisesRegex(FileNotFoundError, "checkpoint holds no checkpoint"):
            storage.restore_checkpoint(self.directory, tree())

    def test_damaged(self):
        self.directory.mkdir()
        (self.directory / "readme.txt").write_text("not one")
        with self.assertRaisesRegex(ValueError, "is not a readable checkpoint: delete it"):
            storage.restore_checkpoint(self.directory, tree())
        # Data that are gone, though what describes them is still there.
        storage.save_checkpoint(self.directory, {"a": jax.numpy.arange(3000.0)})
        data = max(self.directory.rglob("*"), key=lambda path: path.stat().st_size)
        data.unlink()
        with self.assertRaisesRegex(ValueError, "is not a readable checkpoint: delete it"):
            storage.restore_checkpoint(self.directory, {"a": jax.numpy.zeros(3000)})

    def test_steps(self):
        home = self.root / "training"
        self.assertEqual(storage.steps_of(home), [])
        for step in (25, 100, 1000):
            storage.save_step(home, step, {"a": jax.numpy.full(2, step)})
            (last,) = storage.steps_of(home)
            self.assertEqual(int(last.name), step)
            found = storage.restore_checkpoint(last, {"a": jax.numpy.zeros(2, int)})
            np.testing.assert_array_equal(found["a"], [step, step])

    def test_steps_survive_an_interruption(self):
        home = self.root / "training"
        storage.save_step(home, 5, {"a": jax.numpy.ones(2)})
        unfinished = home / "00000010.orbax-checkpoint-tmp"
        shutil.copytree(home / "00000005", unfinished)
        self.assertEqual(storage.steps_of(home), [home / "00000005"])
        # Interrupted after the new one was whole, before the old one was gone.
        shutil.copytree(home / "00000005", home / "00000015")
        self.assertEqual(storage.steps_of(home)[-1], home / "00000015")
        storage.save_step(home, 20, {"a": jax.numpy.ones(2)})
        self.assertEqual(self.names(home), ["00000020"])


if __name__ == "__main__":
    absltest.main()
