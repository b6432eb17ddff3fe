"""Extraction first: a copy of a model that may only be asked, which `invert` then attacks.

The queries are asked once and serve every person. A linear softmax is solved for exactly; of any
other model, students learn what it answers.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox
import jax
import jax.numpy as jnp
import numpy as np
import optax

from mia_jax.attack.objectives import ApplyFn
from mia_jax.attack.oracle import Budget, Oracle, Predict
from mia_jax.attack.spaces import Space
from mia_jax.recognizer.views import STILL, ViewRange, random_view
from mia_jax.runtime.errors import UserError

# Confidences below this tell no more than that they are small: a service may round them to 0.
SMALLEST = 1e-12

# (logits [classes], confidences [classes]) -> scalar.
Lesson = Callable[[jax.Array, jax.Array], jax.Array]


class Answers(NamedTuple):
    """What a model answered, once for everything that is made of it.

    Attributes:
      images: `[n, height, width, channels]` float32 in [0, 1].
      confidences: `[n, classes]` float32.
      queries: How many images were shown, those of calls that failed included.
    """

    images: np.ndarray
    confidences: np.ndarray
    queries: int


class Copy(NamedTuple):
    """A copy of a model.

    Attributes:
      apply_fn: `(params, images [n, height, width, channels]) -> logits [n, classes]`.
      params: Its weights: `invert` takes both.
      queries: What it cost.
    """

    apply_fn: ApplyFn
    params: Any
    queries: int


class Agreement(NamedTuple):
    """How far a copy says what the model says.

    Attributes:
      first: Share of the images for which both have the same class first.
      distance: Mean total variation distance of their confidences, in [0, 1].
    """

    first: float
    distance: float


def ask(predict: Predict, images: np.ndarray, budget: Budget) -> Answers:
    """Asks a model about images.

    Args:
      predict: `images [n, height, width, channels] float32 in [0, 1] -> confidences [n, classes]`.
      images: `[n, height, width, channels]` in [0, 1].
      budget: How often it may be asked, and how.

    Returns:
      The answers.

    Raises:
      Unanswered: As `Oracle.ask`.
    """
    images = np.clip(np.asarray(images, np.float32), 0, 1)
    oracle = Oracle(predict, budget)
    confidences = oracle.ask(images)
    return Answers(images, confidences, oracle.queries)


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


def linear(params: Any, images: jax.Array) -> jax.Array:
    """Scores images by a linear function.

    Args:
      params: `{"weights": [height * width * channels, classes], "biases": [classes]}`.
      images: `[n, height, width, channels]`.

    Returns:
      Logits `[n, classes]`.
    """
    return images.reshape(len(images), -1) @ params["weights"] + params["biases"]


def solve_linear(predict: Predict, image_shape: tuple[int, ...], budget: Budget) -> Copy:
    """Solves for a linear softmax model from one query more than an image has numbers.

    Log-confidences are the logits up to a constant of the image, so each query gives an equation
    for each class. The images are mid-gray and mid-gray with one number of it changed: then the
    equations solve themselves.

    Args:
      predict: A softmax of a linear function of the image.
      image_shape: Height, width and channels.
      budget: Of `height * width * channels + 1` queries at least.

    Returns:
      The copy, whose weights are the model's up to the same constant for all classes.

    Raises:
      Unanswered: As `Oracle.ask`.
      UserError: If a confidence is 0 and hence was rounded.

    Source: Tramer et al. 2016, "Stealing machine learning models via prediction APIs", section 4.1:
    equation solving; these images are ours.
    """
    size = int(np.prod(image_shape))
    oracle, gray, step = Oracle(predict, budget), np.full(size, 0.5, np.float32), 0.5
    first = np.array(_centered_logarithms(oracle.ask(gray.reshape(1, *image_shape)))[0])
    weights = np.empty((size, len(first)), np.float32)
    for begin in range(0, size, budget.batch):
        rows = np.arange(begin, min(begin + budget.batch, size))
        images = np.tile(gray, (len(rows), 1))
        images[np.arange(len(rows)), rows] += step
        logits = _centered_logarithms(oracle.ask(images.reshape(-1, *image_shape)))
        weights[rows] = (logits - first) / step
    biases = first - gray @ weights
    params = {"weights": jnp.asarray(weights), "biases": jnp.asarray(biases)}
    return Copy(linear, params, oracle.queries)


def _centered_logarithms(confidences: np.ndarray) -> np.ndarray:
    """Returns logits whose softmax the confidences are, of mean zero over the classes."""
    if confidences.min() <= 0:
        raise UserError(
            "the model returns confidences of 0, which a softmax never is: they were rounded, and "
            "no linear model can be solved for; distill one"
        )
    logarithms = np.log(confidences.astype(np.float64))
    return logarithms - logarithms.mean(1, keepdims=True)


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
      answers: From `ask`.
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


def agreement(copy: Copy, answers: Answers) -> Agreement:
    """Compares a copy with the model, on images that the copy should not have learned from.

    Args:
      copy: From `solve_linear` or `distill`.
      answers: Of the model.

    Returns:
      How far they agree.
    """
    own = np.asarray(jax.nn.softmax(copy.apply_fn(copy.params, jnp.asarray(answers.images))))
    return Agreement(
        first=float(np.mean(own.argmax(1) == answers.confidences.argmax(1))),
        distance=float(np.mean(np.abs(own - answers.confidences).sum(1)) / 2),
    )
