"""Where an attack searches: from points of a space to images, and what keeps them plausible.

The first of the attack's parts. The paper searches the pixels themselves (`pixels`); a generator
of faces is another space, one file each in `generators`.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

from mia_jax.attack import losses, seeds
from mia_jax.attack.objectives import clip_pixels

Point = Any  # A pytree of arrays.


class Space(NamedTuple):
    """A search space; a function that holds arrays is a `jax.tree_util.Partial` of them.

    Attributes:
      start: `key -> point`: a restart's first point.
      decode: `point -> image [height, width, channels]`, differentiable.
      penalty: `(point, image) -> scalar`, added to the objective.
      project: `point -> point`: the nearest one that is allowed, after each update. Each space
        brings its own: what is right for pixels is wrong for latents.
      aimed: `(key, target) -> point`: a restart's first point where the space knows something of
        the target, such as a template; None to take `start`, which knows nothing of anybody.
    """

    start: Callable[[jax.Array], Point]
    decode: Callable[[Point], jax.Array]
    penalty: Callable[[Point, jax.Array], jax.Array]
    project: Callable[[Point], Point]
    aimed: Callable[[jax.Array, jax.Array], Point] | None = None

    def first(self, key: jax.Array, target: jax.Array) -> Point:
        """Returns a restart's first point."""
        return self.start(key) if self.aimed is None else self.aimed(key, target)


def identity(point: Point) -> Point:
    """Returns the point: every point is an image, or every point is allowed."""
    return point


def no_penalty(point: Point, image: jax.Array) -> jax.Array:
    """Asks nothing of the image but what the objective asks."""
    del point, image
    return jnp.zeros(())


def start_image(seed: seeds.SeedFn, auxiliary: jax.Array, key: jax.Array) -> jax.Array:
    """Draws a restart's seed image, the same in every space.

    Args:
      seed: From `seeds`.
      auxiliary: `[n, height, width, channels]` in [0, 1].
      key: A typed `jax.random.key`, of which the first half is consumed: the second is the space's
        own, so that spaces are compared from the same seeds.

    Returns:
      `[height, width, channels]` in [0, 1].
    """
    return seed(jax.random.split(key)[0], auxiliary)


def pixels(auxiliary: jax.Array, seed: seeds.SeedFn = seeds.mean_of_subset) -> Space:
    """Searches the images themselves: the paper's space.

    Args:
      auxiliary: `[n, height, width, channels]` in [0, 1], unrelated faces.
      seed: Where a restart starts; from `seeds`.

    Returns:
      A space whose points are images, kept in [0, 1].

    Source: equations 6 to 8.
    """
    start = Partial(start_image, seed, auxiliary)
    return Space(start, identity, no_penalty, clip_pixels)


def gaussian(
    encode: Callable[[jax.Array], jax.Array],
    decode: Callable[[jax.Array], jax.Array],
    auxiliary: jax.Array | np.ndarray,
    *,
    seed: seeds.SeedFn,
    spread: float,
    prior: float,
) -> Space:
    """Searches coordinates that are standard normal over faces.

    Args:
      encode: From an image `[height, width, channels]` to its coordinates.
      decode: From coordinates to an image, which is kept in [0, 1]: outside the attack would find
        contrasts that no photograph has.
      auxiliary: `[n, height, width, channels]` in [0, 1], of which the seed is made.
      seed: The image from whose coordinates a restart starts; from `seeds`.
      spread: Standard deviation of Gaussian noise on the first coordinates.
      prior: Weight of half the squared coordinates: 1 weighs them as the logarithm of a standard
        normal density.

    Returns:
      A space whose points are the coordinates, without bounds.
    """
    return Space(
        start=Partial(_start_near, encode, seed, jnp.asarray(auxiliary), spread),
        decode=Partial(_decode_within, decode),
        penalty=Partial(gaussian_penalty, prior),
        project=identity,
    )


def gaussian_penalty(prior: float, point: jax.Array, image: jax.Array) -> jax.Array:
    """Weighs coordinates by a Gaussian density."""
    del image
    return prior / 2 * jnp.sum(point**2)


def _start_near(
    encode: Callable[[jax.Array], jax.Array],
    seed: seeds.SeedFn,
    auxiliary: jax.Array,
    spread: float,
    key: jax.Array,
) -> jax.Array:
    """Encodes a seed image, and adds noise to all coordinates."""
    point = encode(start_image(seed, auxiliary, key))
    return point + spread * jax.random.normal(jax.random.split(key)[1], point.shape)


def _decode_within(decode: Callable[[jax.Array], jax.Array], point: jax.Array) -> jax.Array:
    """Decodes within [0, 1]."""
    return clip_pixels(decode(point))


def with_penalty(space: Space, total_variation: float, l2: float) -> Space:
    """Asks for smooth images, or for images near mid-gray, besides what the space asks for.

    Args:
      space: Any space.
      total_variation: Weight of the image's total variation, not negative.
      l2: Weight of the image's mean squared distance from mid-gray, not negative.

    Returns:
      The same space, with the penalties added.
    """
    if not total_variation and not l2:
        return space
    return space._replace(penalty=Partial(_penalty, space.penalty, total_variation, l2))


def _penalty(
    own: Callable[[Point, jax.Array], jax.Array],
    total_variation: float,
    l2: float,
    point: Point,
    image: jax.Array,
) -> jax.Array:
    """Adds weighted penalties of the image to the space's own."""
    smooth = total_variation * losses.total_variation(image)
    return own(point, image) + smooth + l2 * jnp.mean((image - 0.5) ** 2)
