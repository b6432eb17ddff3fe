"""Tests convolution and pooling of any stride against plain formulations, forward and backward."""

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
