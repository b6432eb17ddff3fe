import hashlib
import json
import pathlib
import shutil
import tempfile
from typing import NamedTuple

import jax
import numpy as np
import tensorstore
from absl.testing import absltest, parameterized

from mia_jax.runtime import checkpoints
from mia_jax.runtime.errors import MissingError, UserError


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


class CheckpointTest(parameterized.TestCase):
    def setUp(self):
        super().setUp()
        self.root = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.directory = self.root / "checkpoint"

    def assert_trees_equal(self, found, expected):
        self.assertEqual(jax.tree.structure(found), jax.tree.structure(expected))
        for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
            np.testing.assert_array_equal(one, other)
            self.assertEqual(one.dtype, other.dtype)

    def test_round_trip_of_weights(self):
        checkpoints.save_checkpoint(self.directory, tree().params)
        self.assert_trees_equal(
            checkpoints.restore_checkpoint(self.directory, tree(0.0).params), tree().params
        )
        shapes = jax.eval_shape(lambda: tree().params)
        self.assert_trees_equal(
            checkpoints.restore_checkpoint(self.directory, shapes), tree().params
        )

    def test_round_trip_of_a_training_in_its_named_tuples(self):
        checkpoints.save_checkpoint(self.directory, tree())
        self.assert_trees_equal(checkpoints.restore_checkpoint(self.directory, tree(0.0)), tree())

    def test_replaces_what_was_there(self):
        checkpoints.save_checkpoint(self.directory, tree(5.0))
        checkpoints.save_checkpoint(self.directory, tree(6.0).params)
        found = checkpoints.restore_checkpoint(self.directory, tree().params)
        self.assert_trees_equal(found, tree(6.0).params)
        self.assertEqual([path.name for path in self.root.iterdir()], ["checkpoint"])

    def test_names_what_does_not_fit(self):
        checkpoints.save_checkpoint(self.directory, tree().params)
        with self.assertRaisesRegex(
            UserError,
            r"checkpoint does not fit the model: L7/bias has the shape \(4,\) there, and \(5,\) is",
        ):
            checkpoints.restore_checkpoint(self.directory, tree(classes=5).params)
        fewer = {"L6": tree().params["L6"]}
        with self.assertRaisesRegex(UserError, r"L7/bias has the shape \(4,\) there, and None"):
            checkpoints.restore_checkpoint(self.directory, fewer)
        more = tree().params | {"L8": {"bias": jax.numpy.ones(2)}}
        with self.assertRaisesRegex(UserError, r"L8/bias has the shape None there, and \(2,\)"):
            checkpoints.restore_checkpoint(self.directory, more)
        with self.assertRaisesRegex(UserError, "does not fit the model"):
            checkpoints.restore_checkpoint(self.directory, tree())

    def test_missing(self):
        with self.assertRaisesRegex(MissingError, "checkpoint holds no checkpoint"):
            checkpoints.restore_checkpoint(self.directory, tree())

    def test_damaged(self):
        self.directory.mkdir()
        (self.directory / "readme.txt").write_text("not one")
        with self.assertRaisesRegex(UserError, "is not a readable checkpoint: delete it"):
            checkpoints.restore_checkpoint(self.directory, tree())
        # Data that are gone, though what describes them is still there.
        checkpoints.save_checkpoint(self.directory, {"a": jax.numpy.arange(3000.0)})
        data = max(self.directory.rglob("*"), key=lambda path: path.stat().st_size)
        data.unlink()
        with self.assertRaisesRegex(UserError, "is not a readable checkpoint: delete it"):
            checkpoints.restore_checkpoint(self.directory, {"a": jax.numpy.zeros(3000)})

    def changed(self, **given):
        """A checkpoint of 64 numbers of which somebody changed what describes them."""
        checkpoints.save_checkpoint(self.directory, {"a": jax.numpy.arange(64.0)})
        store = tensorstore.KvStore.open({"driver": "ocdbt", "base": f"file://{self.directory}/"})
        about = json.loads(store.result().read("a/.zarray").result().value)
        store.result().write("a/.zarray", json.dumps({**about, **given})).result()

    def test_a_piece_that_unpacks_to_much_is_not_unpacked(self):
        self.changed(chunks=[2**28])
        with self.assertRaisesRegex(UserError, "packs a in pieces of 268435456 numbers"):
            checkpoints.restore_checkpoint(self.directory, {"a": jax.numpy.zeros(64)})

    def test_an_array_that_is_not_there_is_not_allocated(self):
        """What is missing of an array would be filled in; both sides are of the directory."""
        self.changed(shape=[2**31])
        like = {"a": jax.ShapeDtypeStruct((2**31,), jax.numpy.float32)}
        with self.assertRaisesRegex(UserError, "asks for an array of 2147483648 numbers"):
            checkpoints.restore_checkpoint(self.directory, like)

    def test_steps(self):
        home = self.root / "training"
        self.assertEqual(checkpoints.steps_of(home), [])
        for step in (25, 100, 1000):
            checkpoints.save_step(home, step, {"a": jax.numpy.full(2, step)})
            (last,) = checkpoints.steps_of(home)
            self.assertEqual(int(last.name), step)
            found = checkpoints.restore_checkpoint(last, {"a": jax.numpy.zeros(2, int)})
            np.testing.assert_array_equal(found["a"], [step, step])

    def test_steps_survive_an_interruption(self):
        home = self.root / "training"
        checkpoints.save_step(home, 5, {"a": jax.numpy.ones(2)})
        unfinished = home / "00000010.orbax-checkpoint-tmp"
        shutil.copytree(home / "00000005", unfinished)
        self.assertEqual(checkpoints.steps_of(home), [home / "00000005"])
        # Interrupted after the new one was whole, before the old one was gone.
        shutil.copytree(home / "00000005", home / "00000015")
        self.assertEqual(checkpoints.steps_of(home)[-1], home / "00000015")
        checkpoints.save_step(home, 20, {"a": jax.numpy.ones(2)})
        self.assertEqual([path.name for path in home.iterdir()], ["00000020"])

    def test_what_is_no_step_is_left_alone(self):
        home = self.root / "training"
        others = ["notes.txt", "12", "00000007", "0000000x", "backup", "00000005.orbax-x"]
        (home / "backup" / "00000001").mkdir(parents=True)
        (home / "0000000x").mkdir()
        (home / "00000005.orbax-x").mkdir()
        for name in ("notes.txt", "12", "00000007"):
            (home / name).write_text("mine")
        for step in (5, 100_000_000):
            checkpoints.save_step(home, step, {"a": jax.numpy.full(2, step)})
            self.assertEqual([int(path.name) for path in checkpoints.steps_of(home)], [step])
        self.assertCountEqual([path.name for path in home.iterdir()], [*others, "100000000"])


class DigestTest(parameterized.TestCase):
    def test_is_that_of_what_was_stored(self):
        directory = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory())) / "checkpoint"
        checkpoints.save_checkpoint(directory, tree())
        found = checkpoints.restore_checkpoint(directory, tree(0.0))
        self.assertEqual(checkpoints.digest(found), checkpoints.digest(tree()))
        self.assertRegex(checkpoints.digest(found), "^[0-9a-f]{64}$")

    def test_a_named_tuple_is_the_dictionary_that_it_is_stored_as(self):
        self.assertEqual(checkpoints.digest(tree()), checkpoints.digest(tree()._asdict()))

    @parameterized.named_parameters(
        ("a_bit", {"a": np.float32([1, 2.0000002]), "b": np.int32(3)}),
        ("a_sign", {"a": np.float32([1, -2]), "b": np.int32(3)}),
        ("a_shape", {"a": np.float32([[1, 2]]), "b": np.int32(3)}),
        ("a_type", {"a": np.float64([1, 2]), "b": np.int32(3)}),
        ("a_name", {"a": np.float32([1, 2]), "c": np.int32(3)}),
        ("a_leaf", {"a": np.float32([1, 2])}),
        ("an_order", {"a": np.float32([2, 1]), "b": np.int32(3)}),
    )
    def test_tells_apart(self, other):
        one = {"b": np.int32(3), "a": np.float32([1, 2])}
        self.assertNotEqual(checkpoints.digest(other), checkpoints.digest(one))
        self.assertEqual(
            checkpoints.digest(jax.tree.map(jax.numpy.asarray, one)), checkpoints.digest(one)
        )

    def test_layout_does_not_matter(self):
        array = np.arange(6.0).reshape(2, 3)
        self.assertEqual(
            checkpoints.digest({"a": np.asfortranarray(array)}), checkpoints.digest({"a": array})
        )

    def test_golden(self):
        """Clones name the digest of their recognizer: it must not change with the version."""
        text = b"a\0<i4\0(2,)\0" + np.int32([1, 2]).tobytes()
        self.assertEqual(
            checkpoints.digest({"a": np.int32([1, 2])}), hashlib.sha256(text).hexdigest()
        )


if __name__ == "__main__":
    absltest.main()
