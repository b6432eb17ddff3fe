"""Extraction first: a copy of a model that may only be asked, which `invert` then attacks.

The queries are asked once and serve every person. A linear softmax is solved for exactly, here; of
any other model, `students` learn what it answers.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mia_jax.attack.objectives import ApplyFn
from mia_jax.attack.oracle import Budget, Oracle, Predict
from mia_jax.runtime.errors import UserError


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

    def divide(self, last: int) -> tuple["Answers", "Answers"]:
        """Parts the last few from the others, which keep the account of the queries.

        Args:
          last: How many.

        Returns:
          The others, and the last.
        """
        kept = len(self.images) - last
        return (
            Answers(self.images[:kept], self.confidences[:kept], self.queries),
            Answers(self.images[kept:], self.confidences[kept:], 0),
        )


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
            "no linear model can be solved for; distill a student"
        )
    logarithms = np.log(confidences.astype(np.float64))
    return logarithms - logarithms.mean(1, keepdims=True)


def agreement(copy: Copy, answers: Answers) -> Agreement:
    """Compares a copy with the model, on images that the copy should not have learned from.

    Args:
      copy: From `solve_linear` or `students.distill`.
      answers: Of the model.

    Returns:
      How far they agree.
    """
    own = np.asarray(jax.nn.softmax(copy.apply_fn(copy.params, jnp.asarray(answers.images))))
    return Agreement(
        first=float(np.mean(own.argmax(1) == answers.confidences.argmax(1))),
        distance=float(np.mean(np.abs(own - answers.confidences).sum(1)) / 2),
    )
