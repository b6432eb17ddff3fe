"""Faces given some of their pixels, against the formulas of a Gaussian in another form."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl.testing import absltest

from mia_jax.attack import Attack, classification, invert, losses, make_cases
from mia_jax.attack.generators import completion, eigenfaces
from mia_jax.runtime.errors import UserError

FACES = np.random.default_rng(0).uniform(size=(8, 3, 4, 1)).astype(np.float32)
MASK = np.arange(12).reshape(3, 4, 1) % 3 > 0
DEVIATION = 0.1


class CompletionTest(absltest.TestCase):
    def setUp(self):
        super().setUp()
        self.basis = eigenfaces.fit(FACES, 5)
        self.fitted = completion.fit(self.basis, jnp.asarray(MASK), DEVIATION)

    def test_is_the_gaussian_given_the_known_pixels(self):
        """By the covariance of the pixels, instead of the precision of the coefficients."""
        rows = np.asarray(self.basis.components, np.float64).reshape(5, -1)
        seen = rows[:, MASK.ravel()]
        inverse = np.linalg.inv(seen.T @ seen + DEVIATION**2 * np.eye(seen.shape[1]))
        known = FACES[3] - np.asarray(self.basis.mean)
        point = completion.start(self.fitted, 0.0, jax.random.key(0), jnp.asarray(FACES[3]))
        expected = seen @ inverse @ known[MASK]
        np.testing.assert_allclose(point.expected, expected, atol=2e-3)
        np.testing.assert_array_equal(point.free, np.zeros(5))
        covariance = np.eye(5) - seen @ inverse @ seen.T
        root = np.asarray(self.fitted.root, np.float64)
        np.testing.assert_allclose(root.T @ root, covariance, atol=2e-3)

    def test_what_is_expected_stays_and_the_known_pixels_too(self):
        space = completion.space(self.fitted)
        known = jnp.asarray(FACES[3])
        cases = make_cases(jax.random.key(0), 1, jnp.arange(2), known, jnp.asarray(MASK))
        start = jax.vmap(lambda key: completion.start(self.fitted, 0.5, key, known))(cases.key)
        weights = jax.random.normal(jax.random.key(1), (12, 3))
        objective = classification(
            lambda params, images: images.reshape(len(images), -1) @ params, losses.infomax
        )
        attack = Attack(space, objective, optax.adam(0.1), 20)
        clones = invert(weights, cases._replace(start=start), attack)
        whole = np.broadcast_to(MASK, (2, *MASK.shape))
        np.testing.assert_array_equal(
            np.asarray(clones.images)[whole], np.stack([FACES[3], FACES[3]])[whole]
        )
        loss = clones.loss_trace
        np.testing.assert_array_less(loss[:, -1], loss[:, 0])

    def test_refuses(self):
        with self.assertRaisesRegex(UserError, "deviation=0"):
            completion.fit(self.basis, jnp.asarray(MASK), 0)
        with self.assertRaisesRegex(UserError, r"mask is of shape \(2, 4, 1\)"):
            completion.fit(self.basis, jnp.asarray(MASK[:2]))


if __name__ == "__main__":
    absltest.main()
