"""Tests convolution and pooling of any stride against plain formulations, forward and backward."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from mia_jax.recognizer.importers import windows


def values_and_gradients(function, *arrays):
    """Returns what a function gives, and the gradients of a random sum of that."""
    shape = jax.eval_shape(function, *arrays).shape
    weights = jax.random.normal(jax.random.key(9), shape)
    gradients = jax.grad(
        lambda *arrays: jnp.sum(weights * function(*arrays)), tuple(range(len(arrays)))
    )
    return jax.jit(lambda *arrays: (function(*arrays), *gradients(*arrays)))(*arrays)


def same(one, other, *arrays):
    for ours, theirs in zip(
        values_and_gradients(one, *arrays), values_and_gradients(other, *arrays), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("channels", [3, 17])
@pytest.mark.parametrize(
    ("sides", "kernel", "strides", "pads"),
    [
        ((8, 9), (3, 3), (2, 2), (1, 1, 1, 1)),
        ((9, 8), (3, 3), (2, 2), (0, 0, 1, 1)),
        ((11, 7), (7, 5), (2, 2), (3, 2, 3, 2)),
        ((10, 10), (3, 2), (3, 2), (0, 1, 2, 0)),
        ((9, 9), (2, 1), (3, 3), (0, 0, 0, 0)),
        ((7, 8), (5, 3), (1, 2), (2, 1, 2, 1)),
        ((7, 8), (3, 3), (1, 1), (1, 0, 0, 1)),
        ((6, 6), (1, 1), (2, 2), (0, 0, 0, 0)),
        ((6, 6), (1, 1), (2, 2), (1, 1, 1, 1)),
    ],
)
def test_a_convolution_is_that_of_xla(channels, sides, kernel, strides, pads):
    x = jax.random.normal(jax.random.key(0), (2, *sides, channels))
    taps = jax.random.normal(jax.random.key(1), (*kernel, channels, 4))
    attributes = {"strides": list(strides), "pads": list(pads)}
    around = [(pads[0], pads[2]), (pads[1], pads[3])]
    layout = ("NHWC", "HWIO", "NHWC")
    same(
        lambda x, k: windows.convolve(attributes, x, k),
        lambda x, k: lax.conv_general_dilated(x, k, strides, around, dimension_numbers=layout),
        *(x, taps),
    )


# Also a kernel that is larger than its stride, smaller, and as large as the picture.
DEPTHWISE = [
    ((8, 9), (3, 3), (1, 1), (1, 1), (1, 1, 1, 1)),
    ((8, 9), (3, 3), (2, 2), (1, 1), (1, 1, 1, 1)),
    ((9, 8), (3, 3), (2, 2), (1, 1), (0, 0, 1, 1)),
    ((7, 8), (5, 3), (1, 2), (1, 1), (2, 1, 2, 1)),
    ((9, 9), (2, 1), (3, 3), (1, 1), (0, 0, 0, 0)),
    ((9, 8), (3, 3), (1, 1), (2, 3), (2, 1, 0, 3)),
    ((9, 8), (3, 3), (2, 2), (2, 1), (2, 1, 0, 3)),
    ((10, 9), (9, 8), (1, 1), (1, 1), (4, 4, 4, 3)),
    ((7, 5), (7, 5), (1, 1), (1, 1), (0, 0, 0, 0)),
    ((7, 5), (7, 5), (1, 1), (1, 1), (3, 2, 3, 2)),
]


def grouped(sides, kernel, strides, dilations, pads, groups, inputs, features):
    """Returns our convolution, XLA's, pictures and a kernel."""
    x = jax.random.normal(jax.random.key(0), (2, *sides, groups * inputs))
    taps = jax.random.normal(jax.random.key(1), (*kernel, inputs, features))
    attributes = {"strides": list(strides), "pads": list(pads), "dilations": list(dilations)}
    attributes["group"] = groups

    def reference(x, taps):
        return lax.conv_general_dilated(
            *(x, taps, strides, [(pads[0], pads[2]), (pads[1], pads[3])]),
            rhs_dilation=dilations,
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            feature_group_count=groups,
        )

    return functools.partial(windows.convolve, attributes), reference, x, taps


@pytest.mark.parametrize("features", [6, 12])
@pytest.mark.parametrize("how", DEPTHWISE)
def test_a_depthwise_convolution_is_that_of_xla(how, features):
    same(*grouped(*how, 6, 1, features))


@pytest.mark.parametrize(("groups", "inputs", "features"), [(1, 1, 4), (1, 4, 4), (2, 3, 4)])
def test_a_convolution_of_the_whole_picture_is_that_of_xla(groups, inputs, features):
    same(*grouped((7, 5), (7, 5), (2, 1), (1, 1), (0, 0, 0, 0), groups, inputs, features))


@pytest.mark.parametrize("how", DEPTHWISE[:2])
def test_a_depthwise_convolution_under_scan_and_vmap(how):
    """As the attack uses them: descents on the pictures, several side by side."""
    ours, reference, x, taps = grouped(*how, 6, 1, 6)

    def descend(convolve):
        def step(image, _):
            return image - 0.01 * jax.grad(lambda y: jnp.sum(convolve(y[None], taps) ** 2))(
                image
            ), 0

        return jax.vmap(lambda image: lax.scan(step, image, length=3)[0])

    found, expected = jax.jit(lambda x: (descend(ours)(x), descend(reference)(x)))(x)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("how", DEPTHWISE[:2])
def test_a_second_derivative_of_a_depthwise_convolution(how):
    ours, reference, x, taps = grouped(*how, 6, 1, 6)

    def product(convolve):
        gradient = jax.grad(lambda x, taps: jnp.sum(convolve(x, taps) ** 3), (0, 1))
        return jax.grad(lambda x, taps: sum(map(jnp.vdot, gradient(x, taps), (x, taps))), (0, 1))

    found, expected = jax.jit(lambda *a: (product(ours)(*a), product(reference)(*a)))(x, taps)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-1), found, expected
    )


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="others have convolutions of their own")
@pytest.mark.parametrize("how", [*DEPTHWISE[:6], DEPTHWISE[8]])
def test_a_depthwise_convolution_is_written_as_products(how):
    """XLA's in groups is slow on a CPU, and so is a gradient that pads each product for itself."""
    ours, _, x, taps = grouped(*how, 6, 1, 6)
    cotangents = jnp.ones(jax.eval_shape(ours, x, taps).shape)
    gradient = jax.jit(lambda x, taps, y: jax.vjp(lambda x: ours(x, taps), x)[1](y))
    for program in (jax.jit(ours).lower(x, taps), gradient.lower(x, taps, cotangents)):
        text = program.as_text()
        assert "stablehlo.convolution" not in text
        assert text.count("stablehlo.pad") <= np.prod(how[2])


def test_a_kernel_of_many_taps_is_not_written_out():
    """A file may ask for any kernel: a million products would take hours to compile."""
    ours, _, x, taps = grouped((64, 64), (9, 9), (1, 1), (1, 1), (4, 4, 4, 4), 6, 1, 6)
    assert jax.jit(ours).lower(x, taps).as_text().count("stablehlo.slice") == 0


@pytest.mark.parametrize(
    ("sides", "window", "strides", "dilations", "pads"),
    [
        ((8, 8), (2, 2), (2, 2), (1, 1), (0, 0, 0, 0)),
        ((9, 8), (3, 3), (2, 2), (1, 1), (1, 1, 1, 1)),
        ((9, 8), (3, 2), (1, 3), (1, 1), (0, 1, 1, 0)),
        ((11, 12), (3, 3), (2, 1), (2, 3), (1, 0, 0, 1)),
        ((5, 5), (5, 5), (1, 1), (1, 1), (0, 0, 0, 0)),
    ],
)
def test_a_maximum_is_that_of_all_places(sides, window, strides, dilations, pads):
    x = jax.random.permutation(jax.random.key(0), jnp.arange(6.0 * np.prod(sides)))
    x = x.reshape(2, *sides, 3)  # All values differ.
    attributes = {
        "kernel_shape": list(window),
        "strides": list(strides),
        "dilations": list(dilations),
        "pads": list(pads),
    }

    def of_all_places(x):
        """Has no gradient of a dilated window in XLA."""
        around = ((0, 0), (pads[0], pads[2]), (pads[1], pads[3]), (0, 0))
        x = jnp.pad(x, around, constant_values=-jnp.inf)
        places = itertools.product(
            *(range(0, size * d, d) for size, d in zip(window, dilations, strict=True))
        )
        counts = [
            (side - d * (size - 1) - 1) // s + 1
            for side, d, size, s in zip(x.shape[1:], dilations, window, strides, strict=False)
        ]
        return jnp.max(
            jnp.stack(
                [
                    x[:, i:, j:][:, :: strides[0], :: strides[1]][:, : counts[0], : counts[1]]
                    for i, j in places
                ]
            ),
            axis=0,
        )

    same(lambda x: windows.max_pool(attributes, x), of_all_places, x)


def test_a_maximum_rounds_up_where_it_is_told_to():
    x = jnp.arange(16.0).reshape(1, 4, 4, 1)
    attributes = {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1}
    np.testing.assert_array_equal(windows.max_pool(attributes, x)[0, :, :, 0], [[10, 11], [14, 15]])
