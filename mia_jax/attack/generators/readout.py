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
    images: int = 200,
    positions: int = 256,
    ridge: float = 0.01,
) -> Readout:
    """Fits a readout to images of the whole generator.

    Takes some minutes on a CPU, nearly all of them for the images, so keep what it returns.

    Args:
      key: A typed `jax.random.key`, consumed.
      network: From `mobile_stylegan_files.load`.
      style: From a typed key to a style, such as a draw of the space that will be searched.
      cut: The last layer that is computed, from 0.
      images: How many to fit to.
      positions: How many places of each are used: all would take longer and bring little.
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
    count = min(positions, side * side)

    def look(key: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Returns chosen places' features, of three by three and a one, and their pixels."""
        own = style(jax.random.fold_in(key, 0))
        features = mobile_stylegan.features(network, own, cut)
        chosen = jax.random.permutation(jax.random.fold_in(key, 1), side * side)[:count]
        padded = jnp.pad(features, ((1, 1), (1, 1), (0, 0)))
        parts = [
            padded[i : i + side, j : j + side].reshape(side * side, -1)[chosen]
            for i, j in np.ndindex(3, 3)
        ]
        whole = mobile_stylegan.image(network, own)
        small = whole.reshape(shown, network.side // shown, shown, -1, 3).mean((1, 3))
        pixels = small.reshape(side, block, side, block, 3).swapaxes(1, 2)
        inputs = jnp.concatenate([*parts, jnp.ones((count, 1))], 1)
        return inputs, pixels.reshape(side * side, outputs)[chosen]

    @jax.jit
    def add(sums: tuple[jax.Array, jax.Array], key: jax.Array) -> tuple[jax.Array, jax.Array]:
        inputs, pixels = look(key)
        return sums[0] + inputs.T @ inputs, sums[1] + inputs.T @ pixels

    size = 9 * mobile_stylegan.width(network, cut) + 1
    sums = jnp.zeros((size, size)), jnp.zeros((size, outputs))
    for own in jax.random.split(key, images):
        sums = add(sums, own)
    gram, products = (np.asarray(each, np.float64) for each in sums)
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
    height, width, _ = x.shape
    taps = jnp.einsum("hwc,ijcf->hwijf", x, kernel)
    padded = jnp.pad(taps, ((1, 1), (1, 1), (0, 0), (0, 0), (0, 0)))
    shifts = (padded[i : i + height, j : j + width, i, j] for i, j in np.ndindex(3, 3))
    return functools.reduce(jnp.add, shifts)
