"""Photographs of faces that do not exist: the space of MobileStyleGAN's styles.

Draws of the mapping, taken back through its last leaky ReLU, are nearly normal; their whitened
principal components are the coordinates of the search (Wulff and Torralba 2020). On an accelerator
the whole generator runs. On a CPU it is cut after a layer, and a linear readout, fitted once to
whole images, makes a small image of that layer's features. Where the generator's faces are cropped,
and how bright and contrasted they are, is fitted to the auxiliary faces, and to nothing else.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

from mia_jax.attack.generators import framing, mobile_stylegan
from mia_jax.attack.generators.eigenfaces import principal_components
from mia_jax.attack.generators.mobile_stylegan import Network
from mia_jax.attack.generators.readout import Readout, gray, gray_readout, read
from mia_jax.attack.objectives import clip_pixels
from mia_jax.attack.spaces import Space, gaussian_penalty, identity
from mia_jax.runtime.errors import UserError

_DRAWS = 4096  # Of the mapping, for the principal components.
_FACES = 48  # Generated for the framing and the gray levels.


class Latents(NamedTuple):
    """A style is `leaky(mean + coordinates @ directions)`, of standard normal coordinates.

    Attributes:
      mean: `[512]`.
      directions: `[components, 512]`.
    """

    mean: jax.Array
    directions: jax.Array


def space(
    network: Network,
    latents: Latents,
    readout: Readout | None,
    auxiliary: np.ndarray,
    *,
    prior: float = 1.0,
    spread: float = 1.0,
) -> Space:
    """Searches the styles of the generator, in the framing and light of the auxiliary faces.

    Args:
      network: From `mobile_stylegan_files.load`.
      latents: From `fit_latents`.
      readout: From `readout.fit`, for a CPU; None for the whole generator.
      auxiliary: `[n, height, width, channels]` in [0, 1], unrelated faces, gray or RGB.
      prior: Weight of half the squared coordinates: 1 weighs them as the logarithm of a standard
        normal density.
      spread: Standard deviation of the first coordinates, 1 for draws of the generator; `starts`
        finds better ones.

    Returns:
      A space whose points are `[components + 2]`: the coordinates, then contrast and brightness.
    """
    channels, size = auxiliary.shape[-1], len(latents.directions)
    if channels == 1 and readout is not None:
        readout = gray_readout(readout)
    draws = jax.random.normal(jax.random.key(0), (_FACES, size))
    pictures = functools.partial(_picture, network, latents, readout, channels)
    framed = framing.fit(np.asarray(jax.jit(lambda x: jax.lax.map(pictures, x))(draws)), auxiliary)
    return Space(
        start=Partial(_start, size + 2, spread),
        decode=Partial(_decode, network, latents, readout, channels, framed),
        penalty=Partial(gaussian_penalty, prior),
        project=identity,
    )


def _start(size: int, spread: float, key: jax.Array) -> jax.Array:
    """Draws coordinates; the second half of the key is the space's own."""
    return spread * jax.random.normal(jax.random.split(key)[1], (size,))


def _picture(
    network: Network,
    latents: Latents,
    readout: Readout | None,
    channels: int,
    coordinates: jax.Array,
) -> jax.Array:
    """Makes the generator's whole picture of coordinates."""
    own = style(latents, coordinates)
    if readout is not None:
        return read(network, readout, own, channels)
    whole = mobile_stylegan.image(network, own)
    return whole if channels == 3 else gray(whole)


def _decode(
    network: Network,
    latents: Latents,
    readout: Readout | None,
    channels: int,
    framed: framing.Framing,
    point: jax.Array,
) -> jax.Array:
    """Makes a photograph in the framing and the light of the auxiliary faces."""
    whole = _picture(network, latents, readout, channels, point[:-2])
    return clip_pixels(framing.apply(framed, whole, point[-2], point[-1]))


def fit_latents(
    key: jax.Array, network: Network, components: int = 256, truncation: float = 0.8
) -> Latents:
    """Finds the principal components of the styles, before their last leaky ReLU.

    Args:
      key: A typed `jax.random.key`, consumed.
      network: From `mobile_stylegan_files.load`.
      components: How many to keep, at most 512.
      truncation: Factor of the deviations: below 1 the faces are more ordinary, and better.

    Returns:
      The latents.

    Raises:
      UserError: If there are not so many components.

    Source: Wulff and Torralba 2020, "Improving inversion and generation diversity in StyleGAN using
      a Gaussianized latent space", arXiv 2009.06529.
    """
    size = len(network.mapping[0].weight)
    if not 0 < components <= size:
        raise UserError(f"components={components} of {size} there are: give 1 to {size}")
    draws = jax.random.normal(key, (_DRAWS, size))
    styles = jax.jit(jax.vmap(mobile_stylegan.style, (None, 0)))(network, draws)
    normal = np.asarray(mobile_stylegan.inverse_leaky(styles), np.float64)
    directions = truncation * principal_components(normal - normal.mean(0), components)
    return Latents(jnp.asarray(normal.mean(0), jnp.float32), jnp.asarray(directions, jnp.float32))


def style(latents: Latents, coordinates: jax.Array) -> jax.Array:
    """Returns the style `[512]` of coordinates `[components]`."""
    return mobile_stylegan.leaky(latents.mean + coordinates @ latents.directions)
