"""What the attack descends: pure functions of one image's logits and the targeted class.

`vmap` turns each into a function of a batch. Leads are in the unit of the logits, and a softmax has
a temperature: of `s * logits` every loss asks for something else, unless an objective standardizes
the logits first (`objectives.classification` with faces), as all recipes do but `paper` and
`mi_face`.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

LossFn = Callable[[jax.Array, jax.Array], jax.Array]


def least_squares(logits: jax.Array, target: jax.Array) -> jax.Array:
    """Computes the squared distance between the confidences and the one-hot vector.

    Its gradient vanishes where the confidences are saturated, at the start of an attack on many
    classes and at its end. It cannot hold against another scale of the logits: the softmax has a
    temperature.

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

    It cannot hold against another scale of the logits: the softmax has a temperature.

    Args:
      logits: `[classes]`.
      target: The targeted class, an integer scalar.

    Returns:
      A scalar, not negative.

    Source: "an Infomax measure", section 3, equations 3 to 6.
    """
    return -jax.nn.log_softmax(logits)[target]


def shortfall(logits: jax.Array, target: jax.Array) -> jax.Array:
    """Computes by how much the target's confidence falls short of 1.

    It cannot hold against another scale of the logits: the softmax has a temperature.

    Args:
      logits: `[classes]`.
      target: The targeted class, an integer scalar.

    Returns:
      A scalar in [0, 1].

    Source: the cost of MI-FACE, Fredrikson, Jha and Ristenpart 2015.
    """
    return 1 - jax.nn.softmax(logits)[target]


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
      enough: How far ahead the target's logit has to be, in the unit of the logits; not negative.

    Returns:
      A scalar, negative once the target comes first, and at least `-enough`.

    Source: the identity loss of Yuan et al. 2023, "Pseudo label-guided model inversion attack".
    """
    others = jnp.where(jnp.arange(logits.shape[0]) == target, -jnp.inf, logits)
    return jnp.maximum(jnp.max(others) - logits[target], -enough)


def top_margin(logits: jax.Array, target: jax.Array, count: int = 20) -> jax.Array:
    """Computes how far the target's logit lies under the mean of the largest others.

    Args:
      logits: `[classes]`, at least two.
      target: The targeted class, an integer scalar.
      count: How many others count; all where there are fewer. With 1 it is `max_margin`.

    Returns:
      A scalar without bounds.

    Source: Diff-MI, Li et al. 2024, "Model inversion attacks through target-specific conditional
    diffusion models": the mean of 20.
    """
    others = jnp.where(jnp.arange(logits.shape[0]) == target, -jnp.inf, logits)
    largest, _ = jax.lax.top_k(others, min(count, logits.shape[0] - 1))
    return jnp.mean(largest) - logits[target]


def logit(logits: jax.Array, target: jax.Array) -> jax.Array:
    """Computes the negative logit of the target, whatever those of the others are.

    Alone it has no floor: `objectives.with_features` keeps it near photographs. Of an embedder it
    is the scaled similarity to one template: all that an attacker has who stole a single one.

    Args:
      logits: `[classes]`.
      target: The targeted class, an integer scalar.

    Returns:
      A scalar without bounds.

    Source: LOMMA, Nguyen et al. 2023, "Re-thinking model inversion attacks against deep neural
    networks".
    """
    return -logits[target]


def poincare(logits: jax.Array, target: jax.Array) -> jax.Array:
    """Computes the hyperbolic distance between the scaled logits and the one-hot vector.

    It holds against another scale of the logits, and against a constant added to all of them only
    where they are standardized.

    Args:
      logits: `[classes]`, not all 0. They are divided by the sum of their absolute values.
      target: The targeted class, an integer scalar.

    Returns:
      A scalar, not negative. The one-hot vector lies 1e-4 inside of the unit ball, where the
      distance is finite.

    Source: PPA, Struppek et al. 2022, "Plug & play attacks", after the loss of the authors' code.
    """
    scaled = logits / jnp.sum(jnp.abs(logits))
    inside = 1e-4
    pole = (1 - inside) * jax.nn.one_hot(target, logits.shape[0])
    apart = jnp.sum((scaled - pole) ** 2)
    # The pole's part is 1 minus its square, which float32 would round.
    curvature = (1 - jnp.sum(scaled**2)) * inside * (2 - inside)
    return jnp.arccosh(1 + 2 * apart / curvature)


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
