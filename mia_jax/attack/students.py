"""Networks that learn what a model answers, to be attacked in its place or beside it."""

from collections.abc import Callable
from typing import Any

import equinox
import jax
import jax.numpy as jnp
import numpy as np
import optax

from mia_jax.attack.extraction import Answers, Copy
from mia_jax.attack.objectives import ApplyFn
from mia_jax.attack.spaces import Space
from mia_jax.recognizer.views import STILL, ViewRange, random_view

# Confidences below this tell no more than that they are small: a service may round them to 0.
SMALLEST = 1e-12

# (logits [classes], confidences [classes]) -> scalar.
Lesson = Callable[[jax.Array, jax.Array], jax.Array]


def draws(space: Space, key: jax.Array, count: int, deviation: float = 1.0) -> np.ndarray:
    """Draws images of a space whose points are standard normal over faces, to ask about.

    Args:
      space: Such as one of eigenfaces.
      key: A typed `jax.random.key`, consumed.
      count: How many.
      deviation: Standard deviation of every number of a point; above 1 for rarer faces.

    Returns:
      `[count, height, width, channels]` float32 in [0, 1].
    """
    shape = equinox.filter_eval_shape(space.start, key)

    @equinox.filter_jit
    def draw(space: Space, key: jax.Array) -> jax.Array:
        leaves, structure = jax.tree.flatten(shape)
        keys = jax.random.split(key, len(leaves))
        drawn = [
            deviation * jax.random.normal(own, leaf.shape, leaf.dtype)
            for own, leaf in zip(keys, leaves, strict=True)
        ]
        return jnp.clip(space.decode(space.project(jax.tree.unflatten(structure, drawn))), 0, 1)

    return np.stack([np.asarray(draw(space, own)) for own in jax.random.split(key, count)])


def of_confidences(logits: jax.Array, confidences: jax.Array) -> jax.Array:
    """Computes how far logits are from the logarithms of confidences, up to a constant.

    Args:
      logits: `[classes]`, the student's.
      confidences: `[classes]`, the model's.

    Returns:
      The mean squared difference, both centered over the classes.
    """
    difference = logits - jnp.log(jnp.maximum(confidences, SMALLEST))
    return jnp.var(difference)


def of_labels(logits: jax.Array, confidences: jax.Array) -> jax.Array:
    """Computes the cross-entropy of the class that comes first.

    Args:
      logits: `[classes]`, the student's.
      confidences: `[classes]`, the model's, of which only the largest is looked at.

    Returns:
      A scalar, not negative.
    """
    return -jax.nn.log_softmax(logits)[jnp.argmax(confidences)]


def distill(
    answers: Answers,
    init: Callable[[jax.Array], Any],
    apply_fn: ApplyFn,
    key: jax.Array,
    *,
    lesson: Lesson = of_confidences,
    views: ViewRange = STILL,
    steps: int = 2000,
    batch: int = 64,
    optimizer: optax.GradientTransformation | None = None,
) -> Copy:
    """Trains a student on what a model answered.

    Several students of other keys or architectures are made of the same answers: see
    `objectives.together`.

    Args:
      answers: From `extraction.ask`.
      init: `key -> params`: draws a student's weights.
      apply_fn: `(params, images [n, height, width, channels]) -> logits [n, classes]`.
      key: A typed `jax.random.key`, consumed.
      lesson: `of_confidences`, `of_labels`, or any other function of the same kind.
      views: Limits of random views of the images, which the answers are taken to hold for too:
        labels bear wider ones than confidences.
      steps: How many batches.
      batch: How many images each.
      optimizer: By default Adam, whose rate falls from 1e-3 to 0 along a cosine.

    Returns:
      The student, and the queries of the answers.

    Source: distillation, Hinton et al. 2015; from labels, LOKT, Nguyen et al. 2023, in small and
    without its generator.
    """
    optimizer = optimizer or optax.adam(optax.cosine_decay_schedule(1e-3, steps))
    init_key, key = jax.random.split(key)
    images, confidences = jnp.asarray(answers.images), jnp.asarray(answers.confidences)

    def loss(params: Any, images: jax.Array, confidences: jax.Array) -> jax.Array:
        return jnp.mean(jax.vmap(lesson)(apply_fn(params, images), confidences))

    @jax.jit
    def train(params: Any, images: jax.Array, confidences: jax.Array, key: jax.Array) -> Any:
        def step(carry: Any, number: jax.Array) -> tuple[Any, None]:
            params, memory = carry
            pick_key, view_key = jax.random.split(jax.random.fold_in(key, number))
            chosen = jax.random.randint(pick_key, (batch,), 0, len(images))
            keys = jax.random.split(view_key, batch)
            seen = jax.vmap(lambda own, image: random_view(own, image, views))(keys, images[chosen])
            slopes = jax.grad(loss)(params, seen, confidences[chosen])
            update, memory = optimizer.update(slopes, memory, params)
            return (optax.apply_updates(params, update), memory), None

        return jax.lax.scan(step, (params, optimizer.init(params)), jnp.arange(steps))[0][0]

    return Copy(apply_fn, train(init(init_key), images, confidences, key), answers.queries)
