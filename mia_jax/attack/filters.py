"""What may be done to a restart's point between two updates.

A filter is passed to the attack as a value; it knows how far the attack is.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax


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
