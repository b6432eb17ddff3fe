"""Filters, against the same operations of SciPy and scikit-image."""

import jax
import jax.numpy as jnp
import numpy as np
import scipy.ndimage
import skimage.restoration
from absl.testing import absltest, parameterized

from mia_jax.attack import filters, image_filters
from mia_jax.attack.filters import Step

RANDOM = np.random.default_rng(0)
IMAGES = np.stack(
    [
        scipy.ndimage.gaussian_filter(RANDOM.uniform(size=(9, 12, 2)), (0.7, 0.7, 0)),
        RANDOM.uniform(size=(9, 12, 2)),
    ]
).astype(np.float32)
STEP = Step(jnp.array(3), 10)


def each_channel(function):
    return lambda image: np.stack([function(image[..., i]) for i in range(2)], -1)


def opened_and_closed(channel):
    opened = scipy.ndimage.grey_opening(channel, (3, 3), mode="nearest")
    return scipy.ndimage.grey_closing(opened, (3, 3), mode="nearest")


def closed_and_opened(channel):
    closed = scipy.ndimage.grey_closing(channel, (3, 3), mode="nearest")
    return scipy.ndimage.grey_opening(closed, (3, 3), mode="nearest")


def bands(channel):
    narrow, wide = (
        scipy.ndimage.gaussian_filter(channel, s, mode="nearest", radius=8) for s in (1, 2)
    )
    return np.clip(channel + 0.5 * (narrow - wide), 0, 1)


def bilateral_by_hand(image):
    result, (height, width, _) = np.zeros_like(image), image.shape
    for i in range(height):
        for j in range(width):
            total = 0
            for down in range(-2, 3):
                for across in range(-2, 3):
                    other = image[
                        np.clip(i + down, 0, height - 1), np.clip(j + across, 0, width - 1)
                    ]
                    weight = np.exp(-(down**2 + across**2) / (2 * 1.5**2))
                    weight *= np.exp(-np.sum((other - image[i, j]) ** 2) / (2 * 0.1**2))
                    result[i, j] += weight * other
                    total += weight
            result[i, j] /= total
    return result


class ImageFiltersTest(parameterized.TestCase):
    @parameterized.named_parameters(
        (
            "total_variation",
            image_filters.total_variation(0.1, 30),
            each_channel(
                lambda channel: skimage.restoration.denoise_tv_chambolle(
                    channel.astype(np.float64), 0.1, eps=0, max_num_iter=31
                )
            ),
        ),
        (
            "median",
            image_filters.median(),
            each_channel(lambda channel: scipy.ndimage.median_filter(channel, 3, mode="nearest")),
        ),
        ("bilateral", image_filters.bilateral(), bilateral_by_hand),
        ("open_close", image_filters.open_close(), each_channel(opened_and_closed)),
        (
            "mean_of_morphology",
            image_filters.mean_of_morphology(),
            each_channel(lambda c: (opened_and_closed(c) + closed_and_opened(c)) / 2),
        ),
        ("lateral_inhibition", image_filters.lateral_inhibition(), each_channel(bands)),
    )
    def test_agrees(self, filter_, expected):
        found = jax.jit(jax.vmap(lambda image: filter_(image, STEP)))(IMAGES)
        np.testing.assert_allclose(found, [expected(image) for image in IMAGES], atol=2e-5)
        flat = jnp.full((9, 12, 2), 0.3)
        np.testing.assert_allclose(filter_(flat, STEP), flat, atol=1e-6)

    def test_a_step_gets_mach_bands(self):
        step = jnp.where(jnp.arange(20) < 10, 0.3, 0.7)[None, :, None] * jnp.ones((5, 1, 1))
        found = np.asarray(image_filters.lateral_inhibition()(step, STEP))[2, :, 0]
        self.assertLess(found[9], 0.29)
        self.assertGreater(found[10], 0.71)
        np.testing.assert_allclose(found[[0, -1]], [0.3, 0.7], atol=1e-4)


class WhenTest(parameterized.TestCase):
    def test_when(self):
        more = lambda point, step: point + 1  # noqa: E731
        for filter_, expected in (
            (filters.none, [0] * 6),
            (filters.every(3, more), [0, 0, 1, 0, 0, 1]),
            (filters.at_end(more), [0, 0, 0, 0, 0, 1]),
            (filters.chain(more, filters.every(2, more)), [1, 2, 1, 2, 1, 2]),
        ):
            steps = jnp.arange(1, 7)
            found = jax.vmap(lambda n, f=filter_: f(jnp.zeros(()), Step(n, 6)))(steps)
            np.testing.assert_array_equal(found, expected)

    def test_chain_is_in_order(self):
        double = lambda point, step: 2 * point  # noqa: E731
        more = lambda point, step: point + 1  # noqa: E731
        self.assertEqual(filters.chain(more, double)(1, STEP), 4)
        self.assertEqual(filters.chain(double, more)(1, STEP), 3)


if __name__ == "__main__":
    absltest.main()
