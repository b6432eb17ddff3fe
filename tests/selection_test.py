import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest, parameterized

from mia_jax.attack import selection
from mia_jax.recognizer.views import random_view

SHAPE = (8, 8, 1)
WEIGHTS = np.random.default_rng(0).normal(size=(64, 3)).astype(np.float32)


def linear(params, images):
    return images.reshape(len(images), -1) @ params


def images(count):
    return np.random.default_rng(1).uniform(size=(count, *SHAPE)).astype(np.float32)


class RobustScoresTest(parameterized.TestCase):
    @parameterized.parameters(1, 3, 130)
    def test_is_the_mean_confidence_over_the_same_views(self, count):
        key = jax.random.key(4)
        found = selection.robust_scores(linear, WEIGHTS, images(count), 2, key)
        self.assertEqual(found.shape, (count,))
        view = jax.jit(
            jax.vmap(lambda one, image: random_view(one, image, selection.VIEWS), (0, None))
        )
        for row in {0, count - 1}:
            views = view(jax.random.split(key, selection.VIEW_COUNT), images(count)[row])
            expected = jax.nn.softmax(linear(WEIGHTS, views))[:, 2].mean()
            np.testing.assert_allclose(found[row], expected, rtol=1e-4)

    @parameterized.parameters(([4], {4}), ([120, 7], {64, 32, 16, 8, 4, 2, 1}))
    def test_shows_the_clones_and_no_more_in_few_sizes(self, counts, sizes):
        traced, shown = [], []

        def apply_fn(params, images):
            traced.append(len(images))
            jax.debug.callback(lambda: shown.append(len(images)))
            return linear(params, images)

        for target in (0, 1, 2):
            for count in counts:
                key = jax.random.key(target)
                selection.robust_scores(apply_fn, WEIGHTS, images(count), target, key)
        jax.effects_barrier()
        self.assertCountEqual(traced, sizes)  # Compiled once for all people.
        self.assertEqual(sum(shown), 3 * selection.VIEW_COUNT * sum(counts))

    def test_what_survives_a_view_scores_above_what_does_not(self):
        """One pixel makes the model certain; a bright half does so as well, and survives views."""
        weights = np.zeros((64, 2), np.float32)
        weights[:, 1] = 1.0
        lone = np.zeros((2, *SHAPE), np.float32)
        lone[0, 0, 0] = 1.0
        lone[1, :, :4] = 1.0
        apply_fn = lambda params, images: 30 * (linear(params, images) - 0.5)  # noqa: E731
        certain = jax.nn.softmax(apply_fn(weights, jnp.asarray(lone)))[:, 1]
        np.testing.assert_array_less(0.99, certain)
        found = selection.robust_scores(apply_fn, weights, lone, 1, jax.random.key(0))
        self.assertLess(found[0], 0.9)
        self.assertGreater(found[1], 0.99)


if __name__ == "__main__":
    absltest.main()
