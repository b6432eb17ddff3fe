"""Mixtures of the auxiliary faces themselves: a small space, for the choice of a seed.

Any search of it is a search for a seed image: by a genetic algorithm or its Mendelian variant, as
the paper's section 6 wants, with differential evolution for control (`strategies`).
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.tree_util import Partial

from mia_jax.attack import spaces
from mia_jax.attack.spaces import Space


def space(auxiliary: jax.Array | np.ndarray, count: int = 8) -> Space:
    """Searches the weights of a mixture.

    Args:
      auxiliary: `[n, height, width, channels]` in [0, 1], unrelated faces.
      count: A restart starts from the mean of so many of them, drawn with replacement.

    Returns:
      A space whose points are `[n]` weights, not negative and of sum 1.
    """
    faces = jnp.asarray(auxiliary)
    return Space(
        start=Partial(_start, len(faces), count),
        decode=Partial(_mix, faces),
        penalty=spaces.no_penalty,
        project=_to_simplex,
    )


def _start(faces: int, count: int, key: jax.Array) -> jax.Array:
    """Gives each of the faces that are drawn its share."""
    chosen = jax.random.randint(key, (count,), 0, faces)
    return jnp.zeros(faces).at[chosen].add(1 / count)


def _mix(faces: jax.Array, weights: jax.Array) -> jax.Array:
    """Averages faces `[n, height, width, channels]` by their weights."""
    return (weights @ faces.reshape(len(faces), -1)).reshape(faces.shape[1:])


def _to_simplex(weights: jax.Array) -> jax.Array:
    """Finds the nearest weights that are not negative and sum to 1."""
    nearest: jax.Array = optax.projections.projection_simplex(weights)
    return nearest
