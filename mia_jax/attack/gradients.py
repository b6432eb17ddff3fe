"""How the gradient of a restart's loss is found.

A gradient function is passed to the attack as a value: the exact one, an average over noisy points,
or any other of the same signature. Where the model has no gradient there is `black_box`.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.tree_util import Partial

from mia_jax.runtime.errors import UserError

# (point, key) -> the loss, and the model's confidences [classes].
PointLoss = Callable[[Any, jax.Array], tuple[jax.Array, jax.Array]]
GradientFn = Callable[[PointLoss, Any, jax.Array], tuple[tuple[jax.Array, jax.Array], Any]]


def exact(loss: PointLoss, point: Any, key: jax.Array) -> tuple[tuple[jax.Array, jax.Array], Any]:
    """Differentiates the loss at one point: the paper's gradient.

    Args:
      loss: `(point, key) -> (loss, confidences [classes])`.
      point: Where; a pytree of arrays.
      key: A typed `jax.random.key`, consumed by the loss.

    Returns:
      What the loss returned, and its gradient, shaped as the point.

    Source: equation 7.
    """
    return jax.value_and_grad(loss, has_aux=True)(point, key)


def averaged(count: int, deviation: float, gradient: GradientFn = exact) -> GradientFn:
    """Averages the gradient over noisy copies of the point.

    The gradient of a recognizer that was trained without noise is mostly a texture that only the
    recognizer sees; what the gradients around a point have in common is rather of the face.

    The noise is in the *point*: over pixels that is an image's, as published. Over a generator's
    latents it moves the whole face; for noise in the image there, show random views with `noise`,
    whose gradients an objective averages.

    Args:
      count: How many copies, at least 1; each costs a gradient.
      deviation: Standard deviation of the Gaussian noise on every number of the point.
      gradient: What is averaged.

    Returns:
      A gradient function. The loss that it tells is the mean over the copies.

    Raises:
      UserError: If there is no copy.

    Source: the perturbation-averaged alignment (PAA) of AlignMI, Peng et al. 2025: 50 copies, and a
    deviation of 0.06 of the range of the pixels.
    """
    if count < 1:
        raise UserError(f"count={count} must be at least 1")
    return Partial(_averaged, count, deviation, gradient)


def _averaged(
    count: int,
    deviation: float,
    gradient: GradientFn,
    loss: PointLoss,
    point: Any,
    key: jax.Array,
) -> tuple[tuple[jax.Array, jax.Array], Any]:
    """Returns the means over the copies."""

    def of_copy(key: jax.Array) -> tuple[tuple[jax.Array, jax.Array], Any]:
        noise_key, loss_key = jax.random.split(key)
        leaves, structure = jax.tree.flatten(point)
        keys = jax.random.split(noise_key, len(leaves))
        noisy = [
            leaf + deviation * jax.random.normal(own, leaf.shape, leaf.dtype)
            for own, leaf in zip(keys, leaves, strict=True)
        ]
        return gradient(loss, jax.tree.unflatten(structure, noisy), loss_key)

    copies = jax.vmap(of_copy)(jax.random.split(key, count))
    return jax.tree.map(lambda array: jnp.mean(array, 0), copies)
