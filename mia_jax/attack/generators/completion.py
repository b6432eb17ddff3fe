"""What the known part of a face says of the rest: eigenfaces, given some of the pixels.

For the white box of which a part of each image is known (`cases.known`). The strangers' eigenfaces
say which middles of faces go with which outlines; the attack starts from there and pays for going
elsewhere, so that what it adds is what the model knows.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.tree_util import Partial

from mia_jax.attack.generators import eigenfaces
from mia_jax.attack.generators.eigenfaces import Eigenfaces
from mia_jax.attack.spaces import Space, identity
from mia_jax.runtime.errors import UserError

DEVIATION = 0.0125  # Chosen on shadow recognizers of ORL, 1.6 at 128x128 pixels.


class Completion(NamedTuple):
    """The Gaussian of coefficients given the known pixels, whose spread is the same for all images.

    Attributes:
      eigenfaces: The eigenfaces.
      mask: `[height, width, channels]` booleans: what is known.
      gain: `[components, values]`: from the known pixels, less the mean face's, to the expected
        coefficients.
      root: `[components, components]`: a standard normal vector times it has the covariance of the
        coefficients around those.
    """

    eigenfaces: Eigenfaces
    mask: jax.Array
    gain: jax.Array
    root: jax.Array


class Point(NamedTuple):
    """A face.

    Attributes:
      free: `[components]`, standard normal over the faces that fit the known pixels.
      expected: `[components]`: the coefficients that these are around; the attack does not move it.
    """

    free: jax.Array
    expected: jax.Array


def fit(basis: Eigenfaces, mask: jax.Array, deviation: float | None = None) -> Completion:
    """Conditions eigenfaces on what a mask shows.

    Args:
      basis: From `eigenfaces.fit`, maybe `with_waves`: its coefficients are standard normal.
      mask: `[height, width, channels or 1]` booleans: what is known.
      deviation: Standard deviation of what the eigenfaces lack of a pixel, above 0; by default
        `DEVIATION` times the root of the number of pixels. What they lack hangs together over a
        part of the face, and many pixels of it say no more than one: so it is larger than what is
        lacking, and grows with the resolution.

    Returns:
      The completion.

    Raises:
      UserError: If the deviation is not above 0, or the mask is of another size.

    Source: conditioning of a Gaussian; probabilistic principal components, Tipping and Bishop 1999.
    """
    shape = basis.mean.shape
    if deviation is None:
        deviation = DEVIATION * (shape[0] * shape[1]) ** 0.5
    if not deviation > 0:
        raise UserError(f"deviation={deviation} must be above 0")
    if mask.shape not in (shape, (*shape[:2], 1)):
        raise UserError(f"mask is of shape {mask.shape}, but the faces of {shape}")
    whole = jnp.broadcast_to(mask, shape)
    seen = jnp.where(whole, basis.components, 0).reshape(len(basis.components), -1)
    precision = jnp.eye(len(seen)) + seen @ seen.T / deviation**2
    lower = jnp.linalg.cholesky(precision)
    gain = jax.scipy.linalg.cho_solve((lower, True), seen / deviation**2)
    root = jax.scipy.linalg.solve_triangular(lower, jnp.eye(len(seen)), lower=True)
    return Completion(basis, whole, gain, root)


def start(completion: Completion, spread: float, key: jax.Array, known: jax.Array) -> Point:
    """Draws a face that fits the known pixels: a case's start.

    Args:
      completion: From `fit`.
      spread: How far from the expected one; 1 draws from all that fit.
      key: A typed `jax.random.key`, consumed.
      known: `[height, width, channels]` in [0, 1].

    Returns:
      The point.
    """
    apart = jnp.where(completion.mask, known - completion.eigenfaces.mean, 0)
    free = spread * jax.random.normal(key, (len(completion.root),))
    return Point(free, completion.gain @ apart.ravel())


def space(completion: Completion, prior: float = 1.0) -> Space:
    """Searches the faces that fit the known pixels; `start` gives a case its own.

    Args:
      completion: From `fit`.
      prior: Weight of half the squared free coordinates.

    Returns:
      A space whose points are `Point`s; without known pixels it starts from the mean face.
    """
    return Space(
        start=Partial(_mean, completion),
        decode=Partial(_decode, completion),
        penalty=Partial(_penalty, prior),
        project=identity,
    )


def _mean(completion: Completion, key: jax.Array) -> Point:
    """Returns the mean face's point."""
    del key
    nothing = jnp.zeros(len(completion.root))
    return Point(nothing, nothing)


def _decode(completion: Completion, point: Point) -> jax.Array:
    """Makes the face within [0, 1]; nothing flows back to what is expected."""
    coefficients = jax.lax.stop_gradient(point.expected) + point.free @ completion.root
    return jnp.clip(eigenfaces.decode(completion.eigenfaces, coefficients), 0, 1)


def _penalty(prior: float, point: Point, image: jax.Array) -> jax.Array:
    """Weighs the free coordinates by a Gaussian density."""
    del image
    return prior / 2 * jnp.sum(point.free**2)
