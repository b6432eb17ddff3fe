"""Which of a person's clones an attacker would keep, who has no evaluator to ask."""

from typing import Any

import equinox
import jax
import jax.numpy as jnp
import numpy as np

from mia_jax.attack.objectives import ApplyFn
from mia_jax.attack.oracle import Predict
from mia_jax.recognizer.views import ViewRange, random_view
from mia_jax.runtime import workload

VIEWS = ViewRange(rotation=8, scale=0.08, shift=0.05, flip=0.5, brightness=0.05)
VIEW_COUNT = 16


def robust_scores(
    apply_fn: ApplyFn, params: Any, images: np.ndarray, target: int, key: jax.Array
) -> np.ndarray:
    """Averages the attacked model's confidence over random views of each clone.

    Noise that only fools the model rarely survives a small change of the view. The clone of the
    highest score is the attacker's pick.

    Args:
      apply_fn: `(params, images [n, height, width, channels] in [0, 1]) -> logits [n, classes]`.
      params: Whatever `apply_fn` takes first.
      images: `[n, height, width, channels]` in [0, 1].
      target: The class.
      key: A typed `jax.random.key`, consumed; all images are seen in the same views.

    Returns:
      `[n]` in [0, 1].
    """
    keys = jax.random.split(key, VIEW_COUNT)

    def see(images: np.ndarray) -> jax.Array:
        return _mean_confidence(apply_fn, params, jnp.asarray(images), jnp.asarray(target), keys)

    return workload.in_batches(see, images)


def asked_scores(
    predict: Predict, images: np.ndarray, target: int, key: jax.Array, views: int = VIEW_COUNT
) -> np.ndarray:
    """Does the same with a model that may only be asked.

    Args:
      predict: `images [n, height, width, channels] float32 in [0, 1] -> confidences [n, classes]`.
      images: `[n, height, width, channels]` in [0, 1].
      target: The class.
      key: A typed `jax.random.key`, consumed; all images are seen in the same views.
      views: How many views of each are shown; without any, the images themselves are.

    Returns:
      `[n]` in [0, 1].

    Raises:
      Unanswered: As `predict`.
    """
    shown = np.asarray(images, np.float32)
    if not views:
        return np.asarray(predict(shown))[:, target]
    keys = jax.random.split(key, VIEW_COUNT)[:views]
    seen = [predict(np.clip(np.asarray(_view(own, shown)), 0, 1))[:, target] for own in keys]
    return np.mean(seen, 0)


@jax.jit
def _view(key: jax.Array, images: jax.Array) -> jax.Array:
    """Returns the same view of each image."""
    return jax.vmap(lambda image: random_view(key, image, VIEWS))(images)


@equinox.filter_jit
def _mean_confidence(
    apply_fn: ApplyFn, params: Any, images: jax.Array, target: jax.Array, keys: jax.Array
) -> jax.Array:
    """Returns the mean confidence `[n]` over the views of all keys."""

    def see(key: jax.Array) -> jax.Array:
        views = jax.vmap(lambda image: random_view(key, image, VIEWS))(images)
        return jax.nn.softmax(apply_fn(params, views))[:, target]

    return jnp.mean(jax.lax.map(see, keys), 0)
