"""What may be done to a restart's point between two updates.

A filter is passed to the attack as a value; it knows how far the attack is. `image_filters` are for
points that are images; `every`, `at_end` and `chain` say when, and in which order.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from jax.tree_util import Partial


class Step(NamedTuple):
    """How far an attack is.

    Attributes:
      iteration: Updates that were taken, from 1; the last filtered update is `iterations`.
      iterations: The most updates that there will be.
    """

    iteration: jax.Array
    iterations: int


Filter = Callable[[Any, Step], Any]


def none(point: Any, step: Step) -> Any:
    """Leaves the point as it is.

    Args:
      point: Of the search space.
      step: How far the attack is.

    Returns:
      The point.
    """
    del step
    return point


def every(interval: int, inner: Filter) -> Filter:
    """Filters after each so many updates, and not in between.

    Args:
      interval: At least 1.
      inner: The filter.

    Returns:
      The filter.
    """
    return Partial(_every, interval, inner)


def at_end(inner: Filter) -> Filter:
    """Filters after the last of all updates only; never where a rule stops a restart before it.

    Args:
      inner: The filter.

    Returns:
      The filter.
    """
    return Partial(_at_end, inner)


def chain(*inner: Filter) -> Filter:
    """Filters by one after the other.

    Args:
      *inner: The filters, the first first.

    Returns:
      The filter.
    """
    return Partial(_chain, inner)


def _every(interval: int, inner: Filter, point: Any, step: Step) -> Any:
    """Filters if it is time."""
    return jax.lax.cond(
        step.iteration % interval == 0, lambda point: inner(point, step), lambda point: point, point
    )


def _at_end(inner: Filter, point: Any, step: Step) -> Any:
    """Filters the last iterate."""
    return _every(step.iterations, inner, point, step)


def _chain(inner: tuple[Filter, ...], point: Any, step: Step) -> Any:
    """Filters by one after the other."""
    for one in inner:
        point = one(point, step)
    return point
