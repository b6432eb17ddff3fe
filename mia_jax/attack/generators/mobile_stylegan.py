"""MobileStyleGAN, a photorealistic generator of faces, as functions of its weights and a style.

A style `[512]` steers every layer. A layer doubles the side by an inverse Haar transform, then
convolves twice, depthwise and pointwise; it multiplies its inputs by an affine function of the
style. The kernels are the same for all styles, so that a batch shares them. The weights come from
`mobile_stylegan_files`.

Source: Belousov 2021, "MobileStyleGAN: a lightweight convolutional neural network for
high-fidelity image synthesis", arXiv 2104.04767.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

_SIDE = 4  # Of the first features.
_SLOPE = 0.2  # Of every leaky ReLU, on the negative side.


class Affine(NamedTuple):
    """`x @ weight + bias`: weight `[inputs, outputs]`, bias `[outputs]`."""

    weight: jax.Array
    bias: jax.Array


class Block(NamedTuple):
    """A convolution that a style steers.

    Attributes:
      style: From a style to a factor for each input channel.
      depthwise: `[3, 3, channels]`, one kernel a channel.
      pointwise: `[channels, features]`.
      noise: `[side, side, 1]`, the same for all images.
      bias: `[features]`.
    """

    style: Affine
    depthwise: jax.Array
    pointwise: jax.Array
    noise: jax.Array
    bias: jax.Array


class Layer(NamedTuple):
    """Doubles the side: a factor for each channel, an inverse Haar transform, two convolutions."""

    up: Affine
    first: Block
    second: Block


class Network(NamedTuple):
    """All weights of the generator.

    Attributes:
      mapping: From a normal draw to a style.
      first: From a style to what is rectified to the first features, of side 4. Every image begins
        as the same constant, so that the convolution of it is a map of the style alone.
      layers: Those to sides 8, 16, and so on.
      to_image: A style's factors of the last features.
      image: From the last features to the Haar coefficients of the image.
    """

    mapping: tuple[Affine, ...]
    first: Affine
    layers: tuple[Layer, ...]
    to_image: Affine
    image: Affine

    @property
    def side(self) -> int:
        """Pixels of an image's side."""
        return 2 * _SIDE << len(self.layers)


def style(network: Network, draw: jax.Array) -> jax.Array:
    """Maps a standard normal draw to a style.

    Args:
      network: From `load`.
      draw: `[512]`.

    Returns:
      `[512]`.
    """
    x = draw / jnp.sqrt(jnp.mean(draw**2) + 1e-8)
    for affine in network.mapping:
        x = leaky(_apply(affine, x)) * 2**0.5
    return x


def features(network: Network, style: jax.Array, last: int) -> jax.Array:
    """Computes what a layer of the generator makes of a style.

    Args:
      network: From `load`.
      style: `[512]`, from `style`.
      last: The last layer to compute, from 0.

    Returns:
      `[side, side, channels]`, where the side is `8 << last`.
    """
    x = leaky(_apply(network.first, style)).reshape(_SIDE, _SIDE, -1)
    for layer in network.layers[: last + 1]:
        x = _double(layer, style, x)
    return x


def width(network: Network, last: int) -> int:
    """Returns the number of channels of a layer's features."""
    return network.layers[last].second.pointwise.shape[-1]


def image(network: Network, style: jax.Array) -> jax.Array:
    """Computes the whole image of a style.

    Args:
      network: From `load`.
      style: `[512]`, from `style`.

    Returns:
      `[1024, 1024, 3]`, black at 0 and white at 1; may leave [0, 1] a little.
    """
    last = len(network.layers) - 1
    return window(network, style, features(network, style, last), last, jnp.zeros(2, int))


def window(
    network: Network, style: jax.Array, features: jax.Array, last: int, corner: jax.Array
) -> jax.Array:
    """Computes the part of an image that a window of a layer's features becomes.

    What lies outside of the window counts as zero, as it does around the image. Inside of the image
    that is wrong, but spreads inward by less than two places of the features.

    Args:
      network: From `load`.
      style: `[512]`, from `style`.
      features: `[height, width, channels]`, cut from those of `features`.
      last: The layer that they are of.
      corner: `[2]` integers: the window's first row and column.

    Returns:
      `[factor * height, factor * width, 3]`, as in `image`.
    """
    x = features
    for number, layer in enumerate(network.layers[last + 1 :], 1):
        height, width = (length << number for length in features.shape[:2])
        cut = [
            block._replace(
                noise=jax.lax.dynamic_slice(
                    block.noise, (corner[0] << number, corner[1] << number, 0), (height, width, 1)
                )
            )
            for block in (layer.first, layer.second)
        ]
        x = _double(Layer(layer.up, *cut), style, x)
    coefficients = _apply(network.image, x * _apply(network.to_image, style))
    return (inverse_haar(coefficients) + 1) / 2


def leaky(x: jax.Array) -> jax.Array:
    """Applies the leaky ReLU of every layer."""
    return jnp.where(x > 0, x, _SLOPE * x)


def inverse_leaky(x: jax.Array) -> jax.Array:
    """Inverts `leaky`."""
    return jnp.where(x > 0, x, x / _SLOPE)


def inverse_haar(coefficients: jax.Array) -> jax.Array:
    """Inverts one level of the Haar transform.

    Args:
      coefficients: `[height, width, 4 * channels]`: the means of all channels, then for each
        channel its differences down, across and diagonally.

    Returns:
      `[2 * height, 2 * width, channels]`.
    """
    height, width, channels = coefficients.shape
    channels //= 4
    mean = coefficients[..., :channels] / 2
    details = coefficients[..., channels:].reshape(height, width, channels, 3) / 2
    down, across, diagonal = (details[..., place] for place in range(3))
    upper, lower = mean + down, mean - down
    left, right = across + diagonal, across - diagonal
    rows = [
        jnp.stack([upper + left, upper - left], 2),
        jnp.stack([lower + right, lower - right], 2),
    ]
    return jnp.stack(rows, 1).reshape(2 * height, 2 * width, channels)


def _apply(affine: Affine, x: jax.Array) -> jax.Array:
    """Applies an affine map to the last axis."""
    return x @ affine.weight + affine.bias


def _double(layer: Layer, style: jax.Array, x: jax.Array) -> jax.Array:
    """Computes a layer."""
    x = inverse_haar(x * _apply(layer.up, style))
    return _convolve(layer.second, style, _convolve(layer.first, style, x))


def _convolve(block: Block, style: jax.Array, x: jax.Array) -> jax.Array:
    """Convolves `[side, side, channels]` as the style says, adds noise and bias, rectifies."""
    x = (depthwise(x, block.depthwise) * _apply(block.style, style)) @ block.pointwise
    return leaky(x + block.noise + block.bias)


@jax.custom_vjp
def depthwise(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Convolves each channel with a kernel of its own, with zero padding.

    As nine shifted products, and its gradient with respect to `x` as another such convolution:
    XLA's grouped convolution is many times slower on CPU. The kernel is a constant: its gradient is
    zero.

    Args:
      x: `[height, width, channels]`.
      kernel: `[3, 3, channels]`.

    Returns:
      `[height, width, channels]`.
    """
    height, width, _ = x.shape
    padded = jnp.pad(x, ((1, 1), (1, 1), (0, 0)))
    total = jnp.zeros_like(x)
    for row, column in np.ndindex(3, 3):
        total += padded[row : row + height, column : column + width] * kernel[row, column]
    return total


def _depthwise_forward(x: jax.Array, kernel: jax.Array) -> tuple[jax.Array, jax.Array]:
    return depthwise(x, kernel), kernel


def _depthwise_backward(kernel: jax.Array, cotangent: jax.Array) -> tuple[jax.Array, jax.Array]:
    return depthwise(cotangent, kernel[::-1, ::-1]), jnp.zeros_like(kernel)


depthwise.defvjp(_depthwise_forward, _depthwise_backward)
