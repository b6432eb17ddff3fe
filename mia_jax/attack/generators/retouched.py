"""Faces of one prior, retouched by another: a sum of two spaces.

A generator's faces are sharp, and its own: what it has no style for, no target can ask of it. A
blurred likeness on top, of eigenfaces and waves, leads it there, as long as there is little of it.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.tree_util import Partial

from mia_jax.attack.generators import eigenfaces
from mia_jax.attack.generators.eigenfaces import Eigenfaces
from mia_jax.attack.objectives import clip_pixels
from mia_jax.attack.spaces import Point, Space, gaussian_penalty


def space(faces: Space, retouch: Eigenfaces, prior: float = 1.0) -> Space:
    """Searches a face and what is added to it, together.

    Args:
      faces: Any space of images, such as `photorealistic.space`.
      retouch: Its components are added, each with the deviation that it is to have; its mean is
        not.
      prior: Weight of half the squared coefficients of these components.

    Returns:
      A space whose points are pairs: one of `faces`, and `[components]`, zero at the start.
    """
    return Space(
        start=Partial(_start, faces.start, len(retouch.components)),
        decode=Partial(_decode, faces.decode, retouch),
        penalty=Partial(_penalty, faces.penalty, prior),
        project=Partial(_project, faces.project),
    )


def _start(start: Callable[[jax.Array], Point], size: int, key: jax.Array) -> Point:
    """Starts from a face as it is."""
    return start(key), jnp.zeros(size)


def _decode(decode: Callable[[Point], jax.Array], retouch: Eigenfaces, point: Point) -> jax.Array:
    """Takes the face for the mean to which the components are added."""
    own, coefficients = point
    return clip_pixels(eigenfaces.decode(retouch._replace(mean=decode(own)), coefficients))


def _penalty(
    penalty: Callable[[Point, jax.Array], jax.Array], prior: float, point: Point, image: jax.Array
) -> jax.Array:
    """Asks of the face what its own space asks, and for little on top of it."""
    own, coefficients = point
    return penalty(own, image) + gaussian_penalty(prior, coefficients, image)


def _project(project: Callable[[Point], Point], point: Point) -> Point:
    """Leaves what is on top alone."""
    own, coefficients = point
    return project(own), coefficients
