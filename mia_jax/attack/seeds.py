"""The seed image from which a restart starts (section 4.4)."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

SEED_IMAGES = 256

SeedFn = Callable[[jax.Array, jax.Array], jax.Array]


def mean_of_subset(key: jax.Array, auxiliary: jax.Array, count: int = SEED_IMAGES) -> jax.Array:
    """Averages a random subset of unrelated faces, another one for each restart: the paper's seed.

    Where there are more than `count` faces the subset has no face twice. Where there are not, as
    many as there are are drawn with replacement, so that the restarts still differ.

    Args:
      key: A typed `jax.random.key`, consumed.
      auxiliary: `[n, height, width, channels]` in [0, 1], faces that trained no recognizer.
      count: How many faces make one seed.

    Returns:
      `[height, width, channels]` in [0, 1].

    Source: "the seed image is made of average of 256 images", section 4.4.
    """
    n = auxiliary.shape[0]
    count = min(count, n)
    chosen = jax.random.choice(key, n, (count,), replace=count == n)
    weights = jnp.zeros(n).at[chosen].add(1 / count)
    # A matrix product: gathering the faces would copy them for each restart.
    return (weights @ auxiliary.reshape(n, -1)).reshape(auxiliary.shape[1:])


def noisy_mean(key: jax.Array, auxiliary: jax.Array, deviation: float = 0.05) -> jax.Array:
    """Adds Gaussian noise to the one mean of all unrelated faces.

    Args:
      key: A typed `jax.random.key`, consumed.
      auxiliary: `[n, height, width, channels]` in [0, 1].
      deviation: Standard deviation of the noise; the gray levels lie in [0, 1].

    Returns:
      `[height, width, channels]` in [0, 1].
    """
    mean = auxiliary.mean(0)
    return jnp.clip(mean + deviation * jax.random.normal(key, mean.shape), 0, 1)


def uniform_noise(key: jax.Array, auxiliary: jax.Array) -> jax.Array:
    """Draws every pixel uniformly: a seed for an attacker without any face.

    Args:
      key: A typed `jax.random.key`, consumed.
      auxiliary: `[n, height, width, channels]`; only its shape is used.

    Returns:
      `[height, width, channels]` in [0, 1].
    """
    return jax.random.uniform(key, auxiliary.shape[1:])


def black(key: jax.Array, auxiliary: jax.Array) -> jax.Array:
    """Leaves every pixel at 0, in every restart.

    Args:
      key: A typed `jax.random.key`; not looked at.
      auxiliary: `[n, height, width, channels]`; only its shape is used.

    Returns:
      `[height, width, channels]`, zeros.

    Source: where MI-FACE starts, Fredrikson, Jha and Ristenpart 2015.
    """
    del key
    return jnp.zeros(auxiliary.shape[1:], auxiliary.dtype)
