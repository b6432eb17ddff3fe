"""What an attack descends: how an image looks to the model, as one number.

The second of the attack's parts, after the space that is searched: `inversion.invert` shows the
objective each restart's image and follows its gradient, whatever it is made of.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.tree_util import Partial

from mia_jax.attack.cases import Case
from mia_jax.attack.losses import LossFn
from mia_jax.recognizer.views import STILL, ViewRange, random_view

ApplyFn = Callable[[Any, jax.Array], jax.Array]

# (params, image [height, width, channels], case, key) -> the loss, and the model's confidences
# [classes] in the image. Without a key the image is shown as it is, with no randomness.
Objective = Callable[[Any, jax.Array, Case, jax.Array | None], tuple[jax.Array, jax.Array]]


def clip_pixels(image: jax.Array) -> jax.Array:
    """Projects an image onto the image space X of equation 6, [0, 1] for each pixel."""
    return jnp.clip(image, 0, 1)


def classification(
    apply_fn: ApplyFn, loss: LossFn, views: ViewRange = STILL, views_per_iteration: int = 1
) -> Objective:
    """Asks for an image that a model takes for the target, in random views of it.

    Args:
      apply_fn: `(params, images [n, height, width, channels] in [0, 1]) -> logits [n, classes]`:
        any differentiable model.
      loss: `(logits [classes], target) -> scalar`.
      views: Limits of the random views; all zeros shows the image as it is.
      views_per_iteration: How many random views share an iteration, their losses averaged.

    Returns:
      The objective. Where there is no such class, its loss and confidences are NaN, since a
      compiled program can raise nothing.

    Source: equations 3 to 6.
    """
    # Without random views, several would be one and the same.
    count = views_per_iteration if views != STILL else 1
    return Partial(_classify, apply_fn, loss, views, count)


def _classify(
    apply_fn: ApplyFn,
    loss: LossFn,
    limits: ViewRange,
    count: int,
    params: Any,
    image: jax.Array,
    case: Case,
    key: jax.Array | None,
) -> tuple[jax.Array, jax.Array]:
    """Returns the mean loss over the views and the mean confidences `[classes]`."""
    if key is None:
        views = clip_pixels(image)[None]
    else:
        keys = jax.random.split(key, count)
        views = jax.vmap(lambda one: random_view(one, image, limits))(keys)
    logits = apply_fn(params, views)
    losses = jax.vmap(loss, (0, None))(logits, case.target)
    exists = (case.target >= 0) & (case.target < logits.shape[-1])
    confidences = jnp.mean(jax.nn.softmax(logits), 0)
    return jnp.where(exists, jnp.mean(losses), jnp.nan), jnp.where(exists, confidences, jnp.nan)
