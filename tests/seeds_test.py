import functools

import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest, parameterized

from mia_jax.attack import seeds

ALL = (functools.partial(seeds.mean_of_subset, count=4), seeds.noisy_mean, seeds.uniform_noise)


# Most of the time here is compilation; this is LLVM's part, XLA's own passes still run.
jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


@functools.partial(jit, static_argnames=("make", "restarts"))
def run(make, auxiliary, restarts):
    """Makes the seeds of some restarts, given by number."""
    keys = jax.vmap(lambda restart: jax.random.fold_in(jax.random.key(0), restart))
    return jax.vmap(make, (0, None))(keys(jnp.array(restarts)), auxiliary)


def weights(height, width, restarts, **count):
    """Returns how much each of `height * width` faces counts in the seeds, `[restarts, faces]`.

    Each face is black but for a pixel of its own, so that the mean shows its weight there.
    """
    faces = np.eye(height * width, dtype=np.float32).reshape(-1, height, width, 1)
    make = functools.partial(seeds.mean_of_subset, **count)
    return np.asarray(run(make, faces, tuple(range(restarts)))).reshape(restarts, -1)


def faces(count, *shape, seed=0):
    return np.random.default_rng(seed).uniform(size=(count, *shape)).astype(np.float32)


class MeanOfSubsetTest(parameterized.TestCase):
    @parameterized.parameters(1, 7, 19)
    def test_no_face_twice_where_there_are_enough(self, count):
        found = np.sort(weights(4, 5, restarts=6, count=count))
        np.testing.assert_allclose(found[:, -count:], 1 / count, rtol=1e-6)
        np.testing.assert_array_equal(found[:, :-count], 0)

    def test_256_faces_by_default(self):
        found = weights(20, 15, restarts=2)
        np.testing.assert_array_equal(np.count_nonzero(found, axis=1), 256)
        np.testing.assert_allclose(found.max(1), 1 / 256)

    @parameterized.parameters(20, 256)
    def test_as_many_as_there_are_with_repetition_where_there_are_not(self, count):
        found = weights(4, 5, restarts=6, count=count)
        np.testing.assert_allclose(found.sum(1), 1, rtol=1e-6)
        np.testing.assert_allclose(20 * found, np.round(20 * found), atol=1e-5)
        self.assertGreater(found.max(1).min(), 1.5 / 20)
        self.assertLen(np.unique(found, axis=0), 6)

    def test_every_face_has_its_turn_and_the_seed_is_their_weighted_mean(self):
        found = weights(3, 4, restarts=400, count=3)
        often = np.count_nonzero(found, axis=0) / 400  # 3 of 12, with a deviation of 0.022.
        np.testing.assert_allclose(often, 0.25, atol=4 * 0.022)
        auxiliary = faces(12, 3, 4, 2)
        make = functools.partial(seeds.mean_of_subset, count=3)
        np.testing.assert_allclose(
            run(make, auxiliary, tuple(range(400))),
            np.einsum("rn,nhwc->rhwc", found, auxiliary),
            rtol=1e-5,
        )


class AllSeedsTest(parameterized.TestCase):
    @parameterized.parameters(*ALL)
    def test_images_that_depend_on_their_restart_only(self, make):
        auxiliary = faces(9, 6, 4, 3)
        found = np.asarray(run(make, auxiliary, (0, 1, 2, 3)))
        self.assertEqual(found.shape, (4, 6, 4, 3))
        self.assertBetween(found.min(), 0, 1)
        self.assertBetween(found.max(), 0, 1)
        self.assertLen(np.unique(found.reshape(4, -1), axis=0), 4)
        np.testing.assert_allclose(run(make, auxiliary, (2, 0)), found[[2, 0]], rtol=1e-6)


class NoiseTest(parameterized.TestCase):
    def test_noisy_mean_is_the_mean_plus_noise(self):
        auxiliary = 0.4 + 0.2 * faces(9, 20, 20, 1)
        noise = run(seeds.noisy_mean, auxiliary, tuple(range(40))) - auxiliary.mean(0)
        self.assertBetween(noise.std(), 0.049, 0.051)
        self.assertBetween(noise.mean(), -0.002, 0.002)
        still = functools.partial(seeds.noisy_mean, deviation=0.0)
        np.testing.assert_allclose(
            run(still, auxiliary, (0, 1)), [auxiliary.mean(0)] * 2, rtol=1e-5
        )

    def test_noisy_mean_does_not_leave_the_gray_levels(self):
        noisy = functools.partial(seeds.noisy_mean, deviation=0.5)
        found = run(noisy, np.ones((3, 6, 4, 1), np.float32), (0, 1))
        self.assertEqual(found.max(), 1)
        self.assertBetween(found.min(), 0, 0.9)

    def test_uniform_noise_asks_for_no_face(self):
        black, white = (np.full((3, 20, 20, 1), gray, np.float32) for gray in (0, 1))
        found = run(seeds.uniform_noise, black, (0, 1, 2, 3))
        np.testing.assert_array_equal(found, run(seeds.uniform_noise, white, (0, 1, 2, 3)))
        quarters, _ = np.histogram(found, 4, (0, 1))
        np.testing.assert_allclose(quarters / found.size, 0.25, atol=0.05)


if __name__ == "__main__":
    absltest.main()
