"""A model that may only be asked: calls are counted, capped, batched, paced, timed and repeated.

Nothing here knows what a model is made of: any Python callable, a remote one too, from images to
confidences. What it answers is looked at before anybody believes it.
"""

import dataclasses
import queue
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from mia_jax.runtime.errors import UserError, shorten

# Images [n, height, width, channels] float32 in [0, 1] -> confidences [n, classes].
Predict = Callable[[np.ndarray], np.ndarray]

# Rows of confidences that a service rounds do not sum to 1 exactly.
ROUNDING = 0.05


class Budget(NamedTuple):
    """How much a model may be asked, and how.

    Attributes:
      queries: How many images may be shown to it in all; one that is shown again counts again.
      batch: How many images a call shows at most.
      rate: How many images a second; None for as fast as it answers.
      retries: How often a call without a usable answer is repeated.
      wait: Seconds before the first repetition; twice as many before each further one.
      timeout: Seconds that a call may take; None waits forever. A call that takes longer is left
        alone, since Python cannot end it.
    """

    queries: int
    batch: int = 64
    rate: float | None = None
    retries: int = 0
    wait: float = 1.0
    timeout: float | None = None


class Unanswered(UserError):
    """A model that gave no usable answer, or may not be asked any more: one sentence."""


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
    _ready: float = dataclasses.field(default=0.0, repr=False)

    def __post_init__(self) -> None:
        """Check the budget."""
        _check_budget(self.budget)

    @property
    def left(self) -> int:
        """Returns how many images may still be shown."""
        return self.budget.queries - self.queries

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
        size = self.budget.batch
        parts = [self._ask(images[first : first + size]) for first in range(0, len(images), size)]
        return np.concatenate(parts)

    def _ask(self, images: np.ndarray) -> np.ndarray:
        """Shows one batch, as often as it takes."""
        images = np.ascontiguousarray(images, np.float32)
        wait = self.budget.wait
        failure: Exception | None = None
        for attempt in range(self.budget.retries + 1):
            if len(images) > self.left:
                reason = f", and the last answer was no use: {_describe(failure)}"
                raise Unanswered(
                    f"the budget of {self.budget.queries} queries leaves {self.left}, but "
                    f"{len(images)} images are to be shown{reason if failure else ''}"
                ) from failure
            if attempt:
                time.sleep(wait)
                wait *= 2
            self._pace(len(images))
            self.queries += len(images)
            try:
                answer = _call(self.predict, images, self.budget.timeout)
                confidences = _checked(answer, len(images), self.classes)
            except Exception as error:
                failure = error
            else:
                self.classes = confidences.shape[1]
                return confidences
        assert failure is not None
        times = f" {self.budget.retries + 1} times" if self.budget.retries else ""
        raise Unanswered(
            f"the model gave no usable answer{times} after {self.queries} queries: "
            f"{_describe(failure)}"
        ) from failure

    def _pace(self, images: int) -> None:
        """Waits until so many more images may be shown."""
        if self.budget.rate is None:
            return
        now = time.monotonic()
        if now < self._ready:
            time.sleep(self._ready - now)
        self._ready = max(now, self._ready) + images / self.budget.rate


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


def _check_budget(budget: Budget) -> None:
    """Refuses limits that mean nothing."""
    least = {"queries": 1, "batch": 1, "retries": 0, "wait": 0}
    for name, smallest in least.items():
        if not getattr(budget, name) >= smallest:
            raise UserError(f"{name}={getattr(budget, name)} must be at least {smallest}")
    for name in ("rate", "timeout"):
        value = getattr(budget, name)
        if value is not None and not value > 0:
            raise UserError(f"{name}={value} must be above 0, or None")


def _call(predict: Predict, images: np.ndarray, timeout: float | None) -> Any:
    """Calls the model, for so many seconds at most."""
    if timeout is None:
        return predict(images)
    answers: queue.SimpleQueue[tuple[Any, BaseException | None]] = queue.SimpleQueue()

    def answer() -> None:
        try:
            answers.put((predict(images), None))
        except BaseException as error:
            answers.put((None, error))

    # Not a pool: Python would wait at its end for a call that never returns.
    threading.Thread(target=answer, daemon=True).start()
    try:
        result, error = answers.get(timeout=timeout)
    except queue.Empty:
        raise UserError(f"it took longer than {timeout:g} seconds") from None
    if error is not None:
        raise error
    return result


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


def _describe(error: Exception | None) -> str:
    """Says in a line what went wrong."""
    if isinstance(error, UserError):
        return str(error)
    text = " ".join(str(error).split())
    return f"it raises {type(error).__name__}" + (f": {shorten(text)}" if text else "")
