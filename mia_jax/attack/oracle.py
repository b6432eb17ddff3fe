"""A model that may only be asked for confidences: calls are counted, capped and looked at.

How it is called is `runtime.asking`'s. What it answers is looked at before anybody believes it.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from mia_jax.recognizer.answers import ROUNDING
from mia_jax.runtime.asking import Budget, Caller, Unanswered
from mia_jax.runtime.errors import UserError

# Images [n, height, width, channels] float32 in [0, 1] -> confidences [n, classes].
Predict = Callable[[np.ndarray], np.ndarray]

__all__ = ["ROUNDING", "Budget", "Oracle", "Predict", "Unanswered", "from_labels"]


@dataclasses.dataclass
class Oracle:
    """A model, what may be asked of it, and what was: the one thing here that remembers.

    Several stages of an attack share a budget when they ask the same oracle.

    Attributes:
      predict: `images [n, height, width, channels] float32 in [0, 1] -> confidences [n, classes]`.
      budget: How much it may be asked.
      queries: Images that were shown to it, those of calls that failed included.
      classes: How many classes it has; None before its first answer.
    """

    predict: Predict
    budget: Budget
    queries: int = 0
    classes: int | None = None

    def __post_init__(self) -> None:
        """Check the budget."""
        if not self.budget.queries >= 1:
            raise UserError(f"queries={self.budget.queries} must be at least 1")
        self._caller = Caller(self.predict, self.budget, self._checked)

    @property
    def left(self) -> int:
        """Returns how many images may still be shown."""
        return self.budget.queries - self.queries

    @property
    def spent(self) -> int:
        """Returns how many images were shown."""
        return self.queries

    def refusal(self, images: int) -> str:
        """Says that so many images may not be shown."""
        return (
            f"the budget of {self.budget.queries} queries leaves {self.left}, but "
            f"{images} images are to be shown"
        )

    def take(self, images: int) -> None:
        """Counts images that are about to be shown."""
        self.queries += images

    def settle(self, images: np.ndarray, answers: np.ndarray | None) -> None:
        """Learns how many classes there are."""
        del images
        if answers is not None:
            self.classes = answers.shape[1]

    def ask(self, images: np.ndarray) -> np.ndarray:
        """Shows images to the model, a batch at a time.

        Args:
          images: `[n, height, width, channels]` in [0, 1].

        Returns:
          The confidences `[n, classes]` float32, rows of probabilities.

        Raises:
          Unanswered: If the model raises, takes too long, or answers anything but `[n, classes]`
            probabilities, each time that it was asked; or if the budget does not suffice.
        """
        return self._caller.ask(images, self)

    def _checked(self, answer: Any, count: int) -> np.ndarray:
        """Returns an answer as `[count, classes]` float32, or says what is wrong with it."""
        return _checked(answer, count, self.classes)


def from_labels(predict: Callable[[np.ndarray], np.ndarray], classes: int) -> Predict:
    """Makes confidences of a model that only says which class comes first.

    Args:
      predict: `images [n, height, width, channels] float32 in [0, 1] -> labels [n]`, integers.
      classes: How many classes the model has.

    Returns:
      The same with confidences `[n, classes]`: 1 for the class, 0 for the others.
    """

    def confidences(images: np.ndarray) -> np.ndarray:
        labels = np.asarray(predict(images))
        if labels.shape != (len(images),) or not np.issubdtype(labels.dtype, np.integer):
            raise UserError(
                f"it returns {labels.dtype} of shape {labels.shape} for {len(images)} images: "
                f"[{len(images)}] integers are needed"
            )
        wrong = labels[(labels < 0) | (labels >= classes)]
        if len(wrong):
            raise UserError(f"it returns the label {wrong[0]}, but there are {classes} classes")
        return np.eye(classes, dtype=np.float32)[labels]

    return confidences


def _checked(answer: Any, count: int, classes: int | None) -> np.ndarray:
    """Returns an answer as `[count, classes]` float32, or says what is wrong with it."""
    try:
        confidences = np.asarray(answer, np.float32)
    except (TypeError, ValueError):
        raise UserError(f"it returns {type(answer).__name__}, not an array of numbers") from None
    expected = f"[{count}, {classes or 'classes'}]"
    shape_fits = confidences.ndim == 2 and len(confidences) == count and confidences.shape[1] > 1
    if not shape_fits or (classes is not None and confidences.shape[1] != classes):
        raise UserError(f"it returns {confidences.shape} for {count} images: {expected} is needed")
    if not np.isfinite(confidences).all():
        raise UserError("it returns confidences that are NaN or infinite")
    if confidences.min() < 0:
        raise UserError(
            f"it returns confidences as low as {confidences.min():.3g}, and no probability is "
            "below 0: give the model with its softmax"
        )
    sums = confidences.sum(1)
    furthest = sums[np.argmax(np.abs(sums - 1))]
    if abs(furthest - 1) > ROUNDING:
        raise UserError(
            f"it returns confidences that sum to {furthest:.3g} instead of 1: give the model with "
            "its softmax, and divide what it rounds by its sum"
        )
    return confidences
