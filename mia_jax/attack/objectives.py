"""What an attack descends: how an image looks to the model, as one number.

The second of the attack's parts, after the space that is searched: `inversion.invert` shows the
objective each restart's image and follows its gradient, whatever it is made of.
"""

from collections.abc import Callable, Sequence
from typing import Any

import equinox
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


def together(objectives: Sequence[Objective]) -> Objective:
    """Asks for an image that several models take for the target, such as a target and its students.

    Noise that fools one model rarely fools another; what they learned of the person they share.

    Args:
      objectives: One for each model.

    Returns:
      The mean of the objectives, in the same random views. Its `params` are a tuple, one entry for
      each of the objectives, and its confidences those of the first.

    Source: model augmentation in LOMMA, Nguyen et al. 2023, with three students of the target.
    """
    return Partial(_together, tuple(objectives))


def with_features(
    objective: Objective, features: ApplyFn, references: jax.Array, weight: float = 1.0
) -> Objective:
    """Asks besides for features like those of photographs.

    Args:
      objective: What is asked for anyway.
      features: `(params, images [n, height, width, channels]) -> features [n, size]`, such as
        `recognizer.features`; of the same params as the objective.
      references: `[classes, size]`: what each class's features should be like, from
        `likely_features`.
      weight: Of the mean squared difference. The image is shown as it is, in no random view.

    Returns:
      The objective with that added.

    Source: the feature regularization of LOMMA, Nguyen et al. 2023, weight 1, and of Diff-MI, Li et
    al. 2024, weight 1.
    """
    return Partial(_with_features, objective, features, references, weight)


def likely_features(
    apply_fn: ApplyFn,
    features: ApplyFn,
    params: Any,
    auxiliary: jax.Array,
    count: int = 5,
    batch: int = 64,
) -> jax.Array:
    """Averages for each class the features of the auxiliary faces that a model likes best for it.

    Args:
      apply_fn: `(params, images [n, height, width, channels] in [0, 1]) -> logits [n, classes]`.
      features: `(params, images) -> features [n, size]`.
      params: Whatever both take first.
      auxiliary: `[n, height, width, channels]` in [0, 1].
      count: How many faces of the highest confidence; Diff-MI takes 30 of many thousands.
      batch: How many faces are shown at a time.

    Returns:
      `[classes, size]`.
    """
    look = equinox.filter_jit(
        lambda params, images: (
            jax.nn.log_softmax(apply_fn(params, images)),
            features(params, images),
        )
    )
    parts = [look(params, auxiliary[i : i + batch]) for i in range(0, len(auxiliary), batch)]
    confidences, seen = (jnp.concatenate(part) for part in zip(*parts, strict=True))
    _, likely = jax.lax.top_k(confidences.T, min(count, len(auxiliary)))
    return jnp.mean(seen[likely], 1)


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


def _together(
    objectives: tuple[Objective, ...],
    params: Any,
    image: jax.Array,
    case: Case,
    key: jax.Array | None,
) -> tuple[jax.Array, jax.Array]:
    """Returns the mean of the losses, and the first confidences."""
    seen = [
        objective(own, image, case, key) for objective, own in zip(objectives, params, strict=True)
    ]
    return jnp.mean(jnp.stack([loss for loss, _ in seen])), seen[0][1]


def _with_features(
    objective: Objective,
    features: ApplyFn,
    references: jax.Array,
    weight: float,
    params: Any,
    image: jax.Array,
    case: Case,
    key: jax.Array | None,
) -> tuple[jax.Array, jax.Array]:
    """Adds the mean squared difference of the features."""
    loss, confidences = objective(params, image, case, key)
    difference = features(params, clip_pixels(image)[None])[0] - references[case.target]
    return loss + weight * jnp.mean(difference**2), confidences
