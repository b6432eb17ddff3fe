"""What the attack descends: pure functions of one image's logits and the targeted class.

`vmap` turns each into a function of a batch.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

LossFn = Callable[[jax.Array, jax.Array], jax.Array]


def least_squares(logits: jax.Array, target: jax.Array) -> jax.Array:
    """Computes the squared distance between the confidences and the one-hot vector.

    Its gradient vanishes where the confidences are saturated, at the start of an attack on many
    classes and at its end.

    Args:
      logits: `[classes]`.
      target: The targeted class, an integer scalar.

    Returns:
      A scalar in [0, 2].

    Source: "a least square measure of their difference", section 3, equations 3 to 6.
    """
    return jnp.sum((jax.nn.softmax(logits) - jax.nn.one_hot(target, logits.shape[0])) ** 2)


def infomax(logits: jax.Array, target: jax.Array) -> jax.Array:
    """Computes the cross-entropy of the confidences and the one-hot vector.

    Args:
      logits: `[classes]`.
      target: The targeted class, an integer scalar.

    Returns:
      A scalar, not negative.

    Source: "an Infomax measure", section 3, equations 3 to 6.
    """
    return -jax.nn.log_softmax(logits)[target]


def max_margin(
    logits: jax.Array, target: jax.Array, enough: float | jax.Array = jnp.inf
) -> jax.Array:
    """Computes how far the target's logit lies under the largest of the others.

    Unlike the other two it has no floor, unless one is given: its gradient does not vanish when the
    target is certain, and more and more of whatever tells the target from the others is asked for,
    more than a photograph has. With a floor, a penalty decides once the target is ahead enough.

    Args:
      logits: `[classes]`, at least two.
      target: The targeted class, an integer scalar.
      enough: How far ahead the target's logit has to be; not negative.

    Returns:
      A scalar, negative once the target comes first, and at least `-enough`.

    Source: the identity loss of Yuan et al. 2023, "Pseudo label-guided model inversion attack".
    """
    others = jnp.where(jnp.arange(logits.shape[0]) == target, -jnp.inf, logits)
    return jnp.maximum(jnp.max(others) - logits[target], -enough)


def similarity(logits: jax.Array, target: jax.Array) -> jax.Array:
    """Computes the negative logit of the target, whatever the others are.

    Of an embedder that is the scaled similarity to one template: all that an attacker has who stole
    a single one.

    Args:
      logits: `[classes]`.
      target: The targeted class, an integer scalar.

    Returns:
      A scalar.

    Source: A. Zhmoginov and M. Sandler, "Inverting face embeddings with convolutional neural
      networks", 2016, without their network.
    """
    return -logits[target]


def total_variation(image: jax.Array) -> jax.Array:
    """Computes the mean absolute difference of neighboring pixels, down and across.

    Args:
      image: `[height, width, channels]`.

    Returns:
      A scalar, 0 for a flat image.

    Source: the anisotropic form of Rudin, Osher and Fatemi 1992.
    """
    down, across = jnp.diff(image, axis=0), jnp.diff(image, axis=1)
    return jnp.mean(jnp.abs(down)) + jnp.mean(jnp.abs(across))
