"""The seed images from which the attack starts (section 4.4), one for each restart."""

import functools

import jax
import jax.numpy as jnp

SEED_IMAGES = 256


@functools.partial(jax.jit, static_argnames="count")
def mean_of_subset(keys: jax.Array, auxiliary: jax.Array, count: int = SEED_IMAGES) -> jax.Array:
    """Averages a random subset of unrelated faces, another one for each restart: the paper's seed.

    Where there are more than `count` faces the subset has no face twice. Where there are not, as
    many as there are are drawn with replacement, so that the restarts still differ.

    Args:
      keys: `[restarts]` typed keys, consumed.
      auxiliary: `[n, height, width, channels]` in [0, 1], faces that trained no recognizer.
      count: How many faces make one seed.

    Returns:
      `[restarts, height, width, channels]` in [0, 1].

    Source: "the seed image is made of average of 256 images", section 4.4.
    """
    n = auxiliary.shape[0]
    count = min(count, n)

    def weights(key: jax.Array) -> jax.Array:
        chosen = jax.random.choice(key, n, (count,), replace=count == n)
        return jnp.zeros(n).at[chosen].add(1 / count)

    # One matrix product; gathering the faces would copy them for each restart.
    means = jax.vmap(weights)(keys) @ auxiliary.reshape(n, -1)
    return means.reshape(-1, *auxiliary.shape[1:])


def noisy_mean(keys: jax.Array, auxiliary: jax.Array, deviation: float = 0.05) -> jax.Array:
    """Adds Gaussian noise to the one mean of all unrelated faces.

    Args:
      keys: `[restarts]` typed keys, consumed.
      auxiliary: `[n, height, width, channels]` in [0, 1].
      deviation: Standard deviation of the noise; the gray levels lie in [0, 1].

    Returns:
      `[restarts, height, width, channels]` in [0, 1].
    """
    mean = auxiliary.mean(0)
    noise = jax.vmap(lambda key: jax.random.normal(key, mean.shape))(keys)
    return jnp.clip(mean + deviation * noise, 0, 1)


def uniform_noise(keys: jax.Array, auxiliary: jax.Array) -> jax.Array:
    """Draws every pixel uniformly: a seed for an attacker without any face.

    Args:
      keys: `[restarts]` typed keys, consumed.
      auxiliary: `[n, height, width, channels]`; only its shape is used.

    Returns:
      `[restarts, height, width, channels]` in [0, 1].
    """
    return jax.vmap(lambda key: jax.random.uniform(key, auxiliary.shape[1:]))(keys)
