import functools
import math

import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest, parameterized
from hypothesis import strategies as st
from jax.test_util import check_grads

from mia_jax.attack import losses

ALL = (losses.least_squares, losses.infomax, losses.max_margin)
LOGITS = (0.3, -1.2, 2.0, 0.9)

# Most of the time here is compilation; this is LLVM's part, XLA's own passes still run.
jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


@functools.partial(jit, static_argnames="loss")
def evaluate(loss, logits, target):
    return loss(logits, target)


@functools.partial(jit, static_argnames="loss")
def gradient(loss, logits, target):
    return jax.grad(loss)(logits, target)


class LossesTest(parameterized.TestCase):
    # The confidences are 1/4 and 3/4, then 1/4 each, then 1 and 0.
    @parameterized.parameters(
        (losses.least_squares, (0, math.log(3)), 0, 0.75**2 + 0.75**2),
        (losses.least_squares, (0, math.log(3)), 1, 0.25**2 + 0.25**2),
        (losses.least_squares, (5, 5, 5, 5), 2, 0.75**2 + 3 * 0.25**2),
        (losses.least_squares, (1000, 0), 0, 0),
        (losses.least_squares, (1000, 0), 1, 2),
        (losses.infomax, (0, math.log(3)), 0, math.log(4)),
        (losses.infomax, (0, math.log(3)), 1, math.log(4 / 3)),
        (losses.infomax, (5, 5, 5, 5), 2, math.log(4)),
        (losses.infomax, (1000, 0), 0, 0),
        (losses.infomax, (1000, 0), 1, 1000),
        (losses.max_margin, (1, 5, 3), 1, 3 - 5),  # The target is the largest,
        (losses.max_margin, (1, 5, 3), 0, 5 - 1),  # the smallest,
        (losses.max_margin, (1, 5, 3), 2, 5 - 3),  # in between,
        (losses.max_margin, (5, 5, 3), 0, 0),  # or level with another.
        (losses.max_margin, (-7, -9), 0, -2),
        (losses.similarity, (1, 5, 3), 2, -3),
    )
    def test_golden(self, loss, logits, target, expected):
        found = evaluate(loss, np.array(logits, np.float32), target)
        self.assertEqual(found.shape, ())
        np.testing.assert_allclose(found, expected, 1e-6, 1e-12)

    @parameterized.parameters(*ALL, losses.similarity)
    def test_gradient(self, loss):
        with jax.enable_x64(True):
            targets, logits = jnp.arange(4), jnp.tile(jnp.array(LOGITS), (4, 1))
            every = jax.jit(lambda logits: jax.vmap(loss)(logits, targets))
            check_grads(every, (logits,), order=2, modes=["rev"])

    @parameterized.parameters((3, -3, 0), (5, -5, 0), (6, -5, 1), (np.inf, -5, 1))
    def test_a_margin_that_is_enough_ends_the_descent(self, enough, expected, slope):
        loss = functools.partial(losses.max_margin, enough=enough - 1e-3)
        value, slopes = jax.value_and_grad(loss)(jnp.array([7.0, 2, 1]), 0)
        np.testing.assert_allclose(value, expected, atol=2e-3)
        np.testing.assert_array_equal(slopes, np.array([-1, 1, 0]) * slope)

    def test_gradient_of_infomax_and_max_margin_survives_saturation(self):
        logits, target = np.array([1000, 0, -5], np.float32), 1
        np.testing.assert_array_equal(gradient(losses.least_squares, logits, target), 0)
        for loss in (losses.infomax, losses.max_margin):
            np.testing.assert_allclose(gradient(loss, logits, target), [1, -1, 0])

    @parameterized.parameters(*ALL)
    def test_vmapped_and_jitted_is_each_on_its_own(self, loss):
        logits = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
        targets = np.array([0, 3, 1, 1, 2])
        found = jit(jax.vmap(loss))(logits, targets)
        expected = [
            evaluate(loss, row, target) for row, target in zip(logits, targets, strict=True)
        ]
        np.testing.assert_allclose(found, expected, 1e-5)

    @hypothesis.given(
        st.lists(st.integers(-20, 20), min_size=4, max_size=4),
        st.integers(0, 3),
        st.integers(-50, 50),
    )
    @hypothesis.settings(deadline=None, max_examples=30)
    def test_only_differences_of_logits_count_and_the_sign_tells_who_is_first(
        self, logits, target, shift
    ):
        logits = np.array(logits, np.float32)
        for loss in ALL:
            np.testing.assert_allclose(
                evaluate(loss, logits + shift, target), evaluate(loss, logits, target), 1e-4, 1e-5
            )
        self.assertBetween(evaluate(losses.least_squares, logits, target), 0, 2)
        self.assertGreaterEqual(evaluate(losses.infomax, logits, target), -1e-6)
        self.assertEqual(
            evaluate(losses.max_margin, logits, target) < 0,
            (logits[target] > np.delete(logits, target)).all(),
        )


class TotalVariationTest(parameterized.TestCase):
    @parameterized.parameters(
        ([[0, 1], [2, 3]], 2 + 1),
        ([[0, 1, 0], [1, 0, 1]], 1 + 1),  # A chessboard.
        ([[0, 0, 1], [0, 0, 1]], 0 + 1 / 2),  # One edge out of two, across.
        ([[4, 4], [4, 4]], 0),
    )
    def test_golden(self, rows, expected):
        image = jnp.array(rows, jnp.float32)[..., None]
        np.testing.assert_allclose(losses.total_variation(image), expected)

    def test_agrees_with_numpy_in_color(self):
        image = np.random.default_rng(0).uniform(size=(5, 7, 3))
        down = np.abs(image[1:] - image[:-1]).mean()
        across = np.abs(image[:, 1:] - image[:, :-1]).mean()
        np.testing.assert_allclose(
            losses.total_variation(jnp.asarray(image)), down + across, rtol=1e-6
        )

    def test_gradient(self):
        with jax.enable_x64(True):
            image = jnp.asarray(np.random.default_rng(0).permutation(24).reshape(4, 3, 2) / 24)
            check_grads(jax.jit(losses.total_variation), (image,), order=1, modes=["rev"])


if __name__ == "__main__":
    absltest.main()
