"""How the gradient of a restart's loss is found.

A gradient function is passed to the attack as a value: the exact one below, or any other of the
same signature, such as an average over noisy copies or central differences of a model that has no
gradient.
"""

from collections.abc import Callable
from typing import Any

import jax

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
