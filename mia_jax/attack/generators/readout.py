"""A cut through MobileStyleGAN, and small images that a linear map reads from its features.

After its third layer the generator has spent a fifteenth of its work, and what remains is mostly
detail finer than a recognizer sees. A ridge regression on whole images finds the map.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg

from mia_jax.attack.generators import mobile_stylegan
from mia_jax.attack.generators.mobile_stylegan import Network
from mia_jax.runtime.errors import UserError

_SIDE = 128  # Of the images that are read, or the generator's own if that is smaller.
_WINDOW = 16  # Places along each axis of each image that a readout is fitted to.
_MARGIN = 2  # Places around them that their pixels depend on.
_TOGETHER = 10  # Images whose products are summed at once.
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


class Readout(NamedTuple):
    """A linear map from features to pixels: three by three features to a block of pixels.

    Attributes:
      kernel: `[3, 3, features, block * block * channels]`.
      bias: `[block * block * channels]`.
    """

    kernel: jax.Array
    bias: jax.Array


def fit(
    key: jax.Array,
    network: Network,
    style: Callable[[jax.Array], jax.Array],
    *,
    cut: int = 2,
    images: int = 140,
    ridge: float = 0.003,
) -> Readout:
    """Fits a readout to images of the whole generator.

    Takes half a minute on two cores, so keep what it returns. Of each image only a window is
    computed, drawn at random: neighboring places tell much the same.

    Args:
      key: A typed `jax.random.key`, consumed.
      network: From `mobile_stylegan_files.load`.
      style: From a typed key to a style, such as a draw of the space that will be searched.
      cut: The last layer that is computed, from 0.
      images: How many to fit to.
      ridge: Weight of the squared kernel, in units of the features' mean square.

    Returns:
      The readout, to RGB images.

    Raises:
      UserError: If the cut does not leave a whole number of pixels for each feature.
    """
    shown = min(_SIDE, network.side)
    sides = [8 << number for number in range(len(network.layers)) if 8 << number <= shown]
    if not 0 <= cut < len(sides):
        raise UserError(
            f"cut={cut} is not a layer to read images of {shown} pixels from: give 0 to "
            f"{len(sides) - 1}"
        )
    side = sides[cut]
    block = shown // side
    outputs = block * block * 3
    own = min(_WINDOW, side)
    wide = min(_WINDOW + 2 * _MARGIN, side)
    size = 9 * mobile_stylegan.width(network, cut) + 1

    @jax.jit
    def look(key: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Returns a window's features, of three by three and a one, and their pixels."""
        drawn = style(jax.random.fold_in(key, 0))
        features = mobile_stylegan.features(network, drawn, cut)
        start = own * jax.random.randint(jax.random.fold_in(key, 1), (2,), 0, side // own)
        padded = jnp.pad(features, ((1, 1), (1, 1), (0, 0)))
        around = jax.lax.dynamic_slice(padded, (*start, 0), (own + 2, own + 2, features.shape[-1]))
        parts = [around[i : i + own, j : j + own] for i, j in np.ndindex(3, 3)]
        inputs = jnp.concatenate([*parts, jnp.ones((own, own, 1))], -1)
        corner = jnp.clip(start - _MARGIN, 0, side - wide)
        seen = jax.lax.dynamic_slice(features, (*corner, 0), (wide, wide, features.shape[-1]))
        whole = mobile_stylegan.window(network, drawn, seen, cut, corner)
        small = whole.reshape(wide * block, network.side // shown, wide * block, -1, 3).mean((1, 3))
        pixels = small.reshape(wide, block, wide, block, 3).swapaxes(1, 2)
        pixels = pixels.reshape(wide, wide, outputs)
        pixels = jax.lax.dynamic_slice(pixels, (*(start - corner), 0), (own, own, outputs))
        return inputs.reshape(-1, size), pixels.reshape(-1, outputs)

    gram, products = np.zeros((size, size)), np.zeros((size, outputs))
    keys = jax.random.split(key, images)
    for first in range(0, images, _TOGETHER):
        looks = [look(key) for key in keys[first : first + _TOGETHER]]
        inputs, pixels = (np.concatenate(each) for each in zip(*looks, strict=True))
        gram += inputs.T @ inputs  # NumPy's takes half the time of JAX's: it knows the symmetry.
        products += inputs.T @ pixels
    penalty = np.full(size, ridge * np.trace(gram[:-1, :-1]) / (size - 1))
    penalty[-1] = 0  # Not on the bias.
    found = scipy.linalg.solve(gram + np.diag(penalty), products, assume_a="pos")
    found = found.astype(np.float32)
    return Readout(jnp.asarray(found[:-1].reshape(3, 3, -1, outputs)), jnp.asarray(found[-1]))


def gray_readout(readout: Readout) -> Readout:
    """Turns a readout to RGB into one to gray, which is a third of the work.

    Args:
      readout: From `fit`.

    Returns:
      The readout to one channel.
    """
    kernel, bias = readout
    return Readout(
        gray(kernel.reshape(*kernel.shape[:3], -1, 3))[..., 0], bias.reshape(-1, 3) @ _LUMA
    )


def gray(image: jax.Array) -> jax.Array:
    """Returns the luma `[..., 1]` of RGB `[..., 3]`."""
    return image @ _LUMA[:, None]


def read(network: Network, readout: Readout, style: jax.Array, channels: int) -> jax.Array:
    """Computes the small image of a style.

    Args:
      network: From `mobile_stylegan_files.load`.
      readout: From `fit` or `gray_readout`.
      style: `[512]`.
      channels: 3 or 1, those of the readout.

    Returns:
      `[side, side, channels]`, black at 0 and white at 1; may leave [0, 1] a little.
    """
    block = round((readout.bias.size / channels) ** 0.5)
    side = min(_SIDE, network.side) // block
    features = mobile_stylegan.features(network, style, (side // 8).bit_length() - 1)
    pixels = _convolve(features, readout.kernel) + readout.bias
    blocks = pixels.reshape(side, side, block, block, channels).swapaxes(1, 2)
    return blocks.reshape(side * block, side * block, channels)


def _convolve(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Convolves `[height, width, channels]` by three by three, with zero padding.

    All taps as one matrix product, then a sum of what each gives its neighbors: from many channels
    to few features this takes two thirds of the time of XLA's own convolution on CPU.
    """
    height, width, channels = x.shape
    taps = x @ kernel.transpose(2, 0, 1, 3).reshape(channels, -1)
    padded = jnp.split(jnp.pad(taps, ((1, 1), (1, 1), (0, 0))), 9, -1)
    shifts = (
        tap[i : i + height, j : j + width]
        for tap, (i, j) in zip(padded, np.ndindex(3, 3), strict=True)
    )
    return functools.reduce(jnp.add, shifts)
