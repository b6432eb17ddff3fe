"""Calls of a model that may only be asked: in batches, at a pace, in time, and again if they fail.

Nothing here knows what a model is made of: any Python callable, a remote one too. Whoever counts
the images is an `Account`: a number in memory (`attack.oracle`), or a file (`runtime.ledger`).
"""

import contextlib
import dataclasses
import queue
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import numpy as np

from mia_jax.runtime.errors import UserError, shorten

TOO_LARGE = 413  # "Content Too Large": fewer pictures may pass.
# Of the answers of HTTP that say that the request is at fault, those that may pass another time.
_PASSING = (408, 425, 429)
_LONGEST_WAIT = 300.0  # Seconds that a server may ask to wait.


class Budget(NamedTuple):
    """How much a model may be asked, and how.

    Attributes:
      queries: How many images may be shown to it in all; one that is shown again counts again.
      batch: How many images a call shows at most. Where the model says that they are too many
        (HTTP 413), half as many are shown from then on.
      rate: How many images a second; None for as fast as it answers.
      retries: How often a call without a usable answer is repeated. What cannot pass another time,
        such as HTTP 401, is not repeated.
      wait: Seconds before the first repetition; twice as many before each further one, and more
        where the model says so (HTTP's Retry-After).
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


class Account(Protocol):
    """Who counts the images that a model is shown, and says how many more may be."""

    @property
    def left(self) -> int:
        """How many more images may be shown."""

    @property
    def spent(self) -> int:
        """How many were shown."""

    def refusal(self, images: int) -> str:
        """Says that so many may not be shown, in a sentence."""

    def take(self, images: int) -> None:
        """Counts images that are about to be shown."""

    def settle(self, images: np.ndarray, answers: np.ndarray | None) -> None:
        """Learns what came of the images that were taken last; None for no usable answer."""


@dataclasses.dataclass
class Caller:
    """Calls a model within limits.

    Attributes:
      answer: The model: from `images [n, height, width, channels] float32` to anything.
      budget: The limits; `queries` is left to the account.
      check: From what it answered and how many images it was shown to `[n, ...]`; raises where that
        is no use.
    """

    answer: Callable[[np.ndarray], Any]
    budget: Budget
    check: Callable[[Any, int], np.ndarray]
    _size: int = dataclasses.field(default=0, repr=False)
    _ready: float = dataclasses.field(default=0.0, repr=False)

    def __post_init__(self) -> None:
        """Check the limits."""
        check_limits(self.budget)
        self._size = self.budget.batch

    def ask(self, images: np.ndarray, account: Account) -> np.ndarray:
        """Shows images to the model, a batch at a time.

        Args:
          images: `[n, height, width, channels]`, one or more.
          account: Who counts them.

        Returns:
          What `check` returns, `[n, ...]`.

        Raises:
          Unanswered: If there is no usable answer, or the account is at its end.
        """
        parts: list[np.ndarray] = []
        first = 0
        while first < len(images):
            part = np.ascontiguousarray(images[first : first + self._size], np.float32)
            found = self._ask(part, account)
            if found is not None:
                parts.append(found)
                first += len(part)
        return np.concatenate(parts)

    def _ask(self, images: np.ndarray, account: Account) -> np.ndarray | None:
        """Shows one batch, as often as it takes; None where it was too large and now is not."""
        wait = self.budget.wait
        failure: Exception | None = None
        for attempt in range(self.budget.retries + 1):
            if len(images) > account.left:
                reason = f", and the last answer was no use: {describe(failure)}"
                raise Unanswered(
                    f"{account.refusal(len(images))}{reason if failure else ''}"
                ) from failure
            if attempt:
                time.sleep(max(wait, _asked_to_wait(failure)))
                wait *= 2
            self._pace(len(images))
            account.take(len(images))
            try:
                answers = self.check(_call(self.answer, images, self.budget.timeout), len(images))
            except BaseException as error:
                account.settle(images, None)
                if not isinstance(error, Exception):
                    raise
                failure = error
            else:
                account.settle(images, answers)
                return answers
            status = status_of(failure)
            if status == TOO_LARGE and len(images) > 1:
                self._size = (len(images) + 1) // 2
                return None
            if status is not None and 400 <= status < 500 and status not in _PASSING:
                break
        assert failure is not None
        times = f" {attempt + 1} times" if attempt else ""
        raise Unanswered(
            f"the model gave no usable answer{times} after {account.spent} queries: "
            f"{describe(failure)}"
        ) from failure

    def _pace(self, images: int) -> None:
        """Waits until so many more images may be shown."""
        if self.budget.rate is None:
            return
        now = time.monotonic()
        if now < self._ready:
            time.sleep(self._ready - now)
        self._ready = max(now, self._ready) + images / self.budget.rate


def check_limits(budget: Budget) -> None:
    """Refuses limits that mean nothing.

    Args:
      budget: The limits; how many queries is not looked at.

    Raises:
      UserError: If a limit is out of its range, naming it.
    """
    least = {"batch": 1, "retries": 0, "wait": 0}
    for name, smallest in least.items():
        if not getattr(budget, name) >= smallest:
            raise UserError(f"{name}={getattr(budget, name)} must be at least {smallest}")
    for name in ("rate", "timeout"):
        value = getattr(budget, name)
        if value is not None and not value > 0:
            raise UserError(f"{name}={value} must be above 0, or None")


def status_of(error: Exception | None) -> int | None:
    """Returns the status of HTTP that an error of a client has.

    Args:
      error: Of urllib (`code`), aiohttp (`status`), httpx or requests (`response.status_code`), or
        any other.

    Returns:
      The status; None of an error that has none.
    """
    response = getattr(error, "response", None)
    for holder, name in (
        (error, "code"),
        (error, "status"),
        (error, "status_code"),
        (response, "status_code"),
    ):
        value = getattr(holder, name, None)
        if isinstance(value, int) and 100 <= value < 600:
            return value
    return None


def describe(error: Exception | None) -> str:
    """Says in a line what went wrong.

    Args:
      error: What was raised.

    Returns:
      Its sentence, or its type and the beginning of what it says.
    """
    if isinstance(error, UserError):
        return str(error)
    text = " ".join(str(error).split())
    return f"it raises {type(error).__name__}" + (f": {shorten(text)}" if text else "")


def _asked_to_wait(error: Exception | None) -> float:
    """Returns the seconds that a server asks to wait; 0 where it says nothing, or a date."""
    headers = getattr(error, "headers", None) or getattr(
        getattr(error, "response", None), "headers", None
    )
    with contextlib.suppress(AttributeError, TypeError, ValueError):
        return min(max(float(headers.get("Retry-After")), 0.0), _LONGEST_WAIT)  # type: ignore[union-attr]
    return 0.0


def _call(answer: Callable[[np.ndarray], Any], images: np.ndarray, timeout: float | None) -> Any:
    """Calls the model, for so many seconds at most."""
    if timeout is None:
        return answer(images)
    answers: queue.SimpleQueue[tuple[Any, BaseException | None]] = queue.SimpleQueue()

    def run() -> None:
        try:
            answers.put((answer(images), None))
        except BaseException as error:
            answers.put((None, error))

    # Not a pool: Python would wait at its end for a call that never returns.
    threading.Thread(target=run, daemon=True).start()
    try:
        result, error = answers.get(timeout=timeout)
    except queue.Empty:
        raise UserError(f"it took longer than {timeout:g} seconds") from None
    if error is not None:
        raise error
    return result
