"""The space of the generator's styles, and the readout of its cut, on a tiny generator."""

import functools

import jax
import jax.numpy as jnp
import jax.test_util
import numpy as np
import pytest
import tiny_stylegan

from mia_jax.attack.generators import (
    mobile_stylegan,
    mobile_stylegan_files,
    photorealistic,
    readout,
)
from mia_jax.runtime.errors import UserError

COMPONENTS = tiny_stylegan.SIZE


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    directory = tmp_path_factory.mktemp("tiny")
    tiny_stylegan.write(directory)
    return mobile_stylegan_files.load(directory)


@pytest.fixture(scope="module")
def latents(network):
    return photorealistic.fit_latents(jax.random.key(0), network, COMPONENTS, 1.0)


@pytest.fixture(scope="module")
def fitted(network, latents):
    return fit(network, latents, cut=1, images=60)


def fit(network, latents, **options):
    def draw(key):
        return photorealistic.style(latents, jax.random.normal(key, (COMPONENTS,)))

    return readout.fit(jax.random.key(1), network, draw, **options)


def auxiliary(channels, height=12, width=10):
    return np.random.default_rng(0).uniform(size=(9, height, width, channels)).astype(np.float32)


def test_draws_of_the_mapping_have_standard_normal_moments_in_the_latents(network, latents):
    draws = jax.random.normal(jax.random.key(5), (2000, tiny_stylegan.SIZE))
    styles = jax.vmap(functools.partial(mobile_stylegan.style, network))(draws)
    normal = np.asarray(mobile_stylegan.inverse_leaky(styles)) - np.asarray(latents.mean)
    coordinates = np.linalg.solve(np.asarray(latents.directions).T, normal.T).T
    np.testing.assert_allclose(coordinates.mean(0), 0, atol=0.1)
    np.testing.assert_allclose(np.cov(coordinates.T), np.eye(COMPONENTS), atol=0.15)


def test_styles_rebuild_through_all_directions(network, latents):
    wanted = mobile_stylegan.style(network, jax.random.normal(jax.random.key(6), (COMPONENTS,)))
    normal = mobile_stylegan.inverse_leaky(wanted) - latents.mean
    coordinates = jnp.linalg.solve(latents.directions.T, normal)
    found = photorealistic.style(latents, coordinates)
    np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-4)


def test_truncation_scales_the_deviations(network, latents):
    half = photorealistic.fit_latents(jax.random.key(0), network, COMPONENTS, 0.5)
    np.testing.assert_allclose(half.mean, latents.mean)
    np.testing.assert_allclose(half.directions, latents.directions / 2, rtol=1e-5)


def test_the_readout_of_the_last_layer_is_exact(network, latents):
    """Without a penalty: for a style, a last layer's features to pixels is a linear map of them."""
    features_to_pixels = network._replace(
        to_image=mobile_stylegan.Affine(0 * network.to_image.weight, network.to_image.bias)
    )
    last = tiny_stylegan.LAYERS - 1
    found = fit(features_to_pixels, latents, cut=last, images=6, ridge=1e-8)
    style = latents.mean
    np.testing.assert_allclose(
        readout.read(features_to_pixels, found, style, 3),
        mobile_stylegan.image(features_to_pixels, style),
        atol=2e-3,
    )


@pytest.mark.parametrize("ridge", [0.01, 1.0])
def test_the_readout_is_the_ridge_regression_on_all_places(network, latents, ridge):
    found = fit(network, latents, cut=0, images=3, ridge=ridge)
    inputs, pixels = [], []
    for key in jax.random.split(jax.random.key(1), 3):
        draw = jax.random.normal(jax.random.fold_in(key, 0), (COMPONENTS,))
        style = photorealistic.style(latents, draw)
        features = np.pad(mobile_stylegan.features(network, style, 0), ((1, 1), (1, 1), (0, 0)))
        whole = np.asarray(mobile_stylegan.image(network, style))
        for row, column in np.ndindex(8, 8):
            inputs.append(features[row : row + 3, column : column + 3].ravel())
            pixels.append(whole[8 * row : 8 * row + 8, 8 * column : 8 * column + 8].ravel())
    inputs, pixels = np.array(inputs, np.float64), np.array(pixels, np.float64)
    centered = inputs - inputs.mean(0)
    weight = ridge * np.sum(inputs**2) / inputs.shape[1]
    gram = centered.T @ centered + weight * np.eye(inputs.shape[1])
    kernel = np.linalg.solve(gram, centered.T @ pixels)
    np.testing.assert_allclose(found.kernel.reshape(kernel.shape), kernel, atol=1e-4)
    bias = pixels.mean(0) - inputs.mean(0) @ kernel
    np.testing.assert_allclose(found.bias, bias, atol=1e-3)


def test_a_gray_readout_gives_the_luma_of_the_one_to_rgb(network, latents, fitted):
    style = latents.mean
    rgb = np.asarray(readout.read(network, fitted, style, 3))
    found = readout.read(network, readout.gray_readout(fitted), style, 1)
    np.testing.assert_allclose(found[..., 0], rgb @ [0.299, 0.587, 0.114], atol=1e-5)


@pytest.mark.parametrize("cut", [-1, 3])
def test_refuses_a_cut_that_is_no_layer(network, latents, cut):
    with pytest.raises(UserError, match=f"cut={cut} is not a layer .* 64 pixels from: give 0 to 2"):
        fit(network, latents, cut=cut)


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_space_has_the_auxiliary_faces_shape_and_levels(
    network, latents, fitted, channels, whole
):
    faces = 0.45 + 0.1 * auxiliary(channels)
    space = photorealistic.space(network, latents, None if whole else fitted, faces, prior=0.5)
    keys = jax.random.split(jax.random.key(8), 30)
    points = jax.vmap(space.start)(keys)
    assert points.shape == (30, COMPONENTS + 2)
    images = jax.jit(jax.vmap(space.decode))(points)
    assert images.shape == (30, *faces.shape[1:])
    np.testing.assert_allclose(np.mean(images), faces.mean(), atol=0.03)
    np.testing.assert_allclose(space.penalty(points[0], None), np.sum(points[0] ** 2) / 4, 1e-5)
    np.testing.assert_array_equal(space.project(points[0]), points[0])


def test_the_space_s_gradient_is_that_of_finite_differences(network, latents, fitted):
    space = photorealistic.space(network, latents, fitted, 0.45 + 0.1 * auxiliary(1))
    weights = np.random.default_rng(3).normal(size=(12, 10, 1))

    @jax.jit
    def total(point):
        return jnp.sum(weights * space.decode(point))

    point = 0.1 * space.start(jax.random.key(9))
    jax.test_util.check_grads(total, (point,), 1, ["rev"], 0.02, 0.02, 1e-3)


@pytest.mark.parametrize("count", [0, COMPONENTS + 1])
def test_refuses_a_number_of_components_that_a_style_does_not_have(network, count):
    with pytest.raises(UserError, match=f"components={count} .* 1 to {COMPONENTS}"):
        photorealistic.fit_latents(jax.random.key(0), network, count)
