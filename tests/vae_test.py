"""A generator trained on spots of light that lie here or there."""

import functools

import jax
import jax.numpy as jnp
import jax.test_util
import numpy as np
import pytest

from mia_jax.attack import seeds
from mia_jax.attack.generators import vae
from mia_jax.runtime.errors import UserError

LATENTS = 4


def faces(count=40, channels=1, height=12, width=10):
    random = np.random.default_rng(0)
    middles = random.uniform(3, 7, (count, 2))
    places = np.stack(np.indices((height, width)), -1)
    distances = np.sum((places - middles[:, None, None]) ** 2, -1)
    spots = 0.2 + 0.6 * np.exp(-distances / 8)
    return spots[..., None].repeat(channels, -1).astype(np.float32)


@functools.cache
def fit(steps=300):
    return vae.fit(jax.random.key(0), faces(), latents=LATENTS, steps=steps, rate=3e-3)


decode = jax.jit(jax.vmap(vae.decode, (None, 0)))  # Op by op they would take far longer.
encode = jax.jit(jax.vmap(vae.encode, (None, 0)))


def rebuild(fitted, images):
    return decode(fitted, encode(fitted, images))


def test_training_learns_what_makes_faces_differ():
    images = faces()
    before, after = (
        np.mean((rebuild(fitted, images) - images) ** 2) for fitted in (fit(steps=50), fit())
    )
    assert after < 0.35 * images.var(0).mean()
    assert after < 0.7 * before


def test_draws_are_like_faces_and_differ():
    points = jax.random.normal(jax.random.key(1), (40, LATENTS))
    drawn = np.asarray(decode(fit(), points))
    images = faces()
    np.testing.assert_allclose(drawn.mean(), images.mean(), atol=0.05)
    nearest = [np.min(np.mean((images - one) ** 2, (1, 2, 3))) for one in drawn]
    assert np.median(nearest) < 0.5 * images.var(0).mean()
    assert 0.3 < drawn.var(0).mean() / images.var(0).mean() < 1.5


def test_latents_of_the_faces_are_white():
    """As far as they are known: the rest of the unit variance is each latent's own uncertainty."""
    fitted, images = fit(), faces()
    everyone = jnp.concatenate([images, images[:, :, ::-1]])
    points = np.asarray(encode(fitted, everyone))
    np.testing.assert_allclose(points.mean(0), 0, atol=1e-3)
    known = np.linalg.eigvalsh(np.cov(points.T, ddof=0))
    assert (known < 1 + 1e-3).all()
    assert known.max() > 0.5


def test_the_same_key_gives_the_same_generator():
    one, other, another = (
        vae.fit(jax.random.key(seed), faces(), latents=LATENTS, steps=50) for seed in (5, 5, 6)
    )
    points = np.ones((40, LATENTS), np.float32)
    np.testing.assert_array_equal(decode(one, points), decode(other, points))
    assert np.abs(decode(one, points) - decode(another, points)).max() > 1e-6


@pytest.mark.parametrize(("channels", "height", "width"), [(1, 70, 66), (3, 20, 33)])
def test_images_are_of_the_faces_shape(channels, height, width):
    images = faces(3, channels, height, width)
    fitted = vae.fit(jax.random.key(0), images, latents=LATENTS, steps=1, batch_size=2)
    assert encode(fitted, images).shape == (3, LATENTS)
    assert rebuild(fitted, images).shape == images.shape


def test_gradient_is_that_of_finite_differences():
    weights = np.random.default_rng(1).normal(size=(12, 10, 1))

    @jax.jit
    def total(point):
        return jnp.sum(weights * vae.decode(fit(), point))

    fit()
    point = np.random.default_rng(2).normal(size=LATENTS).astype(np.float32)
    jax.test_util.check_grads(total, (point,), 1, ["rev"], 0.02, 0.02, 1e-3)


def test_the_space_starts_from_the_seed_image_and_stays_in_range():
    fitted, images = fit(), faces()
    mean = functools.partial(seeds.noisy_mean, deviation=0.0)
    still, spread = (vae.space(fitted, images, seed=mean, spread=s, prior=0.5) for s in (0, 2.0))
    point = jax.jit(still.start)(jax.random.key(0))
    np.testing.assert_allclose(point, encode(fitted, images.mean(0)[None])[0], atol=1e-4)
    points = jax.jit(jax.vmap(spread.start))(jax.random.split(jax.random.key(1), 200))
    assert 1.8 < np.std(points - point) < 2.2
    np.testing.assert_allclose(still.penalty(points[0], None), np.sum(points[0] ** 2) / 4, 1e-5)
    far = np.asarray(jax.jit(still.decode)(1000 * points[0]))
    assert far.min() >= 0
    assert far.max() <= 1
    np.testing.assert_array_equal(still.project(points[0]), points[0])


@pytest.mark.parametrize(
    ("count", "options"), [(1, {}), (4, {"latents": 0}), (4, {"steps": 0}), (4, {"batch_size": 0})]
)
def test_refuses_what_trains_nothing(count, options):
    with pytest.raises(UserError, match=f"{count} faces, latents=.* train no generator"):
        vae.fit(jax.random.key(0), faces(count), **options)
