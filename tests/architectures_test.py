"""Tests of every network: its parts fit together, and training's short cuts change nothing."""

from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from drawn import weights
from jax.test_util import check_grads

from mia_jax.recognizer import resnet
from mia_jax.recognizer.architectures import ARCHITECTURES, RESNET
from mia_jax.runtime.errors import UserError

QUICK_TO_COMPILE = {"xla_backend_optimization_level": 0}
BOTH = pytest.mark.parametrize("model", ARCHITECTURES.values(), ids=ARCHITECTURES)


def pictures(count, *shape):
    return np.random.default_rng(1).random((count, *shape), np.float32)


def quick(function):
    return jax.jit(function, compiler_options=QUICK_TO_COMPILE)


@BOTH
def test_the_parts_are_the_whole(model):
    """`convolve` never reads what it is not given, as in training on several devices."""
    params, images = weights(model, 3, 17, 20, 1), pictures(4, 17, 20, 1)
    layers, units = model.dropped
    few = {layer: params[layer] for layer in params if layer not in model.dense}
    assert len(few) + len(model.dense) == len(params)

    @quick
    def everything(params, few, images):
        convolved = model.convolve(few, images)
        kept = model.classify(params, convolved, jnp.ones((layers, len(images), units)))
        return model.classify(params, convolved), kept, model.features(params, images)

    (logits, features), kept, seen = everything(params, few, images)
    assert (logits.shape, features.shape) == ((4, 3), (4, units))
    assert features.min() >= 0
    assert np.ptp(np.asarray(logits), axis=0).min() > 0
    for one, other in ((kept[0], logits), (kept[1], features), (seen, features)):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
    for one in (model.last_layer(params, features), quick(model.logits)(params, images)):
        np.testing.assert_allclose(one, logits, rtol=1e-4, atol=1e-5)


@BOTH
@pytest.mark.parametrize("shape", [(128, 128, 1), (64, 64, 3), (16, 16, 1), (33, 47, 3)])
def test_shapes(model, shape):
    def both():
        params = model.init(jax.random.key(0), 2041, shape)
        images = jnp.zeros((2, *shape))
        return model.logits(params, images), model.features(params, images)

    logits, features = jax.eval_shape(both)
    assert (logits.shape, features.shape) == ((2, 2041), (2, model.dropped[1]))


@BOTH
def test_small_images_are_refused(model):
    with pytest.raises(UserError, match=r"15x20 pixels are too small.*at least 16x16"):
        model.init(jax.random.key(0), 2, (15, 20, 1))


@BOTH
def test_dropped_units_are_not_seen(model):
    params = weights(model, 3, 16, 16, 1)
    layers, units = model.dropped
    convolved = quick(model.convolve)(params, pictures(2, 16, 16, 1))
    factors = np.ones((layers, 2, units), np.float32)
    factors[-1, :, ::2] = 0
    logits, features = model.classify(params, convolved, factors)
    assert not np.asarray(features)[:, ::2].any()
    np.testing.assert_array_equal(logits, model.last_layer(params, features))


def test_the_key_draws_the_weights():
    draw = quick(lambda key: RESNET.init(key, 2, (16, 16, 1))["blocks_3"]["Conv_0"]["kernel"])
    one, same, other = (draw(jax.random.key(seed)) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one, same)
    assert np.abs(one - other).min() > 0


def test_fresh_blocks_pass_on_what_they_get():
    """The last scale of a block is zero at first; so a fresh deep network is a shallow one."""
    block, x = resnet.Block(16), pictures(2, 6, 6, 16)
    params = block.init(jax.random.key(0), x)
    np.testing.assert_array_equal(block.apply(params, x), x)


def test_the_gradients_are_those_of_finite_differences():
    """In float64, where a difference says something; the weights' smooth and the image's."""
    images = pictures(2, 18, 17, 1)
    with jax.enable_x64(True):
        params, images = jax.tree.map(
            lambda leaf: jnp.asarray(leaf, jnp.float64), (weights(RESNET, 3, 18, 17, 1), images)
        )
        loss = jax.jit(lambda *both: jax.nn.log_softmax(RESNET.logits(*both))[:, 1].sum())
        check_grads(loss, (params, images), order=1, modes=["rev"], eps=1e-7, rtol=1e-4)


def test_every_backend_computes_the_same():
    params, images = weights(RESNET, 3, 17, 20, 3), pictures(2, 17, 20, 3)

    def gradient(params, images):
        loss = lambda *both: jax.nn.log_softmax(RESNET.logits(*both))[:, 1].sum()  # noqa: E731
        return RESNET.logits(params, images), jax.grad(loss, argnums=(0, 1))(params, images)

    found = quick(gradient)(params, images)
    with mock.patch.object(jax, "default_backend", return_value="gpu"):
        expected = quick(lambda *both: gradient(*both))(params, images)
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-4 * np.abs(other).max())


def test_an_image_is_seen_alike_whatever_is_beside_it():
    params, images = weights(RESNET, 3, 16, 16, 1), pictures(5, 16, 16, 1)
    logits = quick(RESNET.logits)
    for image, expected in zip(images, logits(params, images), strict=True):
        np.testing.assert_allclose(logits(params, image[None])[0], expected, rtol=1e-4, atol=1e-4)


def test_a_dim_image_is_seen_as_a_bright_one():
    """The first normalization takes out the exposure: the stem has no bias."""
    params, images = weights(RESNET, 3, 32, 32, 1), pictures(3, 32, 32, 1)
    logits = quick(RESNET.logits)
    bright, dim = (np.asarray(logits(params, factor * images)) for factor in (1, 0.3))
    np.testing.assert_allclose(dim, bright, rtol=0, atol=1e-3 * np.ptp(bright))
