import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest, parameterized

from mia_jax.attack import starts
from mia_jax.attack.spaces import Space, identity, no_penalty
from mia_jax.runtime.errors import UserError


def space():
    """Points are the gray levels of two pixels side by side."""
    return Space(
        start=lambda key: {"pixels": jax.random.uniform(key, (2,))},
        decode=lambda point: point["pixels"].reshape(1, 2, 1),
        penalty=no_penalty,
        project=identity,
    )


def model(weights, images):
    return images.reshape(len(images), -1) @ weights


WEIGHTS = jnp.array([[3.0, 0.0, 1.0], [1.0, 2.0, 0.0]])


def draw(count, chunk=32):
    return starts.draw(WEIGHTS, model, space(), jax.random.key(0), count, chunk)


class StartsTest(parameterized.TestCase):
    def test_logits_are_the_mean_of_the_image_s_and_its_mirror_s(self):
        draws = draw(9)
        pixels = np.asarray(draws.points["pixels"])
        expected = (pixels @ WEIGHTS + pixels[:, ::-1] @ WEIGHTS) / 2
        np.testing.assert_allclose(draws.logits, expected, rtol=1e-5)

    @parameterized.parameters(1, 4, 100)
    def test_draws_do_not_depend_on_how_many_there_are_or_on_chunks(self, chunk):
        expected, found = draw(12), draw(7, chunk)
        np.testing.assert_allclose(found.points["pixels"], expected.points["pixels"][:7], rtol=1e-6)
        np.testing.assert_allclose(found.logits, expected.logits[:7], rtol=1e-5)

    @parameterized.parameters(0, 1, 2)
    def test_restarts_take_the_draws_in_the_order_of_the_target_s_lead(self, target):
        draws = draw(20)
        logits = np.asarray(draws.logits)
        leads = logits[:, target] - np.delete(logits, target, 1).max(1)
        order = np.argsort(-leads)
        found = starts.best(draws, target, jnp.array([0, 3, 19, 20]))
        expected = np.asarray(draws.points["pixels"])[order[[0, 3, 19, 0]]]
        np.testing.assert_array_equal(found["pixels"], expected)

    @parameterized.parameters((0, 1), (1, 0))
    def test_refuses_to_draw_nothing(self, count, chunk):
        with self.assertRaisesRegex(UserError, f"count={count} and chunk={chunk} must"):
            draw(count, chunk)


if __name__ == "__main__":
    absltest.main()
