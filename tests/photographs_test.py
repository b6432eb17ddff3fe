import jax
import numpy as np
from absl.testing import absltest, parameterized
from streamed import Streamed

from mia_jax.faces import Faces
from mia_jax.recognizer import photographs
from mia_jax.recognizer.photographs import Photographs
from mia_jax.runtime import sharding

SHAPE = (16, 16, 1)


def numbered(count):
    """Photographs that show their own number, and as labels the same."""
    images = np.zeros((count, *SHAPE), np.float32) + np.arange(count)[:, None, None, None]
    return Photographs(images, np.arange(count), np.arange(count, dtype=np.int32))


def batches(some, size, seed=0):
    return photographs.batches(some, size, seed, sharding.make_mesh()).read


class BatchesTest(parameterized.TestCase):
    @parameterized.parameters((12, 4), (7, 3), (5, 5), (3, 32))
    def test_every_epoch_shows_each_photograph_once(self, count, size):
        batch = batches(numbered(count), size)
        labels = [np.asarray(batch(step)[1]) for step in range(3 * count)]
        self.assertEqual({len(one) for one in labels}, {min(size, count)})
        epochs = np.concatenate(labels)[: 3 * count].reshape(3, count)
        for epoch in epochs:
            self.assertCountEqual(epoch, range(count))
        self.assertGreater(len({tuple(epoch) for epoch in epochs}), 1)

    def test_a_batch_depends_on_its_step_only(self):
        every = batches(numbered(10), 4, seed=3)
        labels = [np.asarray(every(step)[1]) for step in range(8)]
        resumed = batches(numbered(10), 4, seed=3)
        for step in (7, 2, 5):
            np.testing.assert_array_equal(resumed(step)[1], labels[step])
        other = batches(numbered(10), 4, seed=4)
        self.assertFalse(all((other(step)[1] == labels[step]).all() for step in range(8)))

    @parameterized.parameters(False, True)
    def test_images_go_with_their_labels_in_memory_and_streamed(self, streamed):
        images = numbered(9).images
        some = Photographs(
            Streamed(images) if streamed else images,
            np.array([8, 2, 5, 7, 1]),
            np.array([80, 20, 50, 70, 10], np.int32),
        )
        batch = batches(some, 2)
        seen = set()
        for step in range(5):
            images, labels = batch(step)
            self.assertEqual(images.shape, (2, *SHAPE))
            self.assertEqual(labels.dtype, np.int32)
            np.testing.assert_array_equal(10 * images[:, 0, 0, 0], labels)
            seen |= set(np.asarray(labels).tolist())
        self.assertEqual(seen, {80, 20, 50, 70, 10})

    def test_streamed_batches_are_those_in_memory(self):
        memory = numbered(9)
        streamed = memory._replace(images=Streamed(memory.images))
        for step in range(4):
            one, other = (batches(some, 4, seed=1)(step) for some in (memory, streamed))
            jax.tree.map(np.testing.assert_array_equal, one, other)

    @parameterized.parameters((84, 32, 3), (80, 32, 2), (64, 32, 2), (5, 32, 1), (33, 32, 1))
    def test_an_epoch_shows_about_each_photograph_once(self, count, size, expected):
        found = photographs.batches(numbered(count), size, seed=0, mesh=sharding.make_mesh())
        self.assertEqual(found.epoch, expected)


class PickTest(parameterized.TestCase):
    def test_photographs_of_each_person_with_the_place_as_label(self):
        identities = np.array([0, 1, 2, 0, 1, 2, 0, 1], np.int32)
        images = numbered(8).images
        loaded = Faces(images, identities, ("a", "b", "c"), "")
        split = {"a": (0, 2), "b": (1,), "c": (0, 1)}
        found = photographs.pick(loaded, ("c", "a"), split)
        np.testing.assert_array_equal(found.indices, [2, 5, 0, 6])
        np.testing.assert_array_equal(found.labels, [0, 0, 1, 1])
        self.assertEqual(found.labels.dtype, np.int32)
        self.assertIs(found.images, images)


if __name__ == "__main__":
    absltest.main()
