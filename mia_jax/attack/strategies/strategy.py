"""What a strategy is: functions of one restart's own state, which the search maps over all."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.tree_util import Partial

State = Any  # A pytree of arrays.


class Candidates(NamedTuple):
    """Points that a restart would like to know more about.

    Attributes:
      points: `[count, size]`; the count is the same in every round.
      wanted: `[count]` booleans: those that the model is to see. A restart that wants none has
        finished.
    """

    points: jax.Array
    wanted: jax.Array


class Told(NamedTuple):
    """What is known of the candidates, as the space allows them.

    Attributes:
      points: `[count, size]`: the candidates, projected on the space.
      wanted: `[count]` booleans: those that the model saw. Of the others nothing else is known.
      loss: `[count]`: the attack's loss; infinite for those that were not wanted.
      leads: `[count]` booleans: whether the target comes first among the classes.
    """

    points: jax.Array
    wanted: jax.Array
    loss: jax.Array
    leads: jax.Array


class Strategy(NamedTuple):
    """How one restart searches; all is compiled, and mapped over the restarts.

    A point is a vector here, whatever arrays the space makes of it. A function that holds arrays is
    a `jax.tree_util.Partial` of them.

    Attributes:
      init: `(key, start [size]) -> state`.
      ask: `(key, state) -> (candidates, state)`: the points of one round.
      tell: `(state, told) -> state`.
      point: `state -> point [size]`: where the restart stands, its answer when no round follows.
    """

    init: Callable[[jax.Array, jax.Array], State]
    ask: Callable[[jax.Array, State], tuple[Candidates, State]]
    tell: Callable[[State, Told], State]
    point: Callable[[State], jax.Array]


def leading(strategy: Strategy, count: int) -> Strategy:
    """Searches the first numbers of a point only, and leaves the others as they start.

    The eigenfaces of largest variance come first: a search that pays for each number finds most of
    a face in a few.

    Args:
      strategy: Any.
      count: How many numbers; all of them where a point has no more.

    Returns:
      The same strategy over the first `count` numbers.
    """
    return Strategy(
        Partial(_init, strategy, count),
        Partial(_ask, strategy),
        Partial(_tell, strategy, count),
        Partial(_point, strategy),
    )


def _init(inner: Strategy, count: int, key: jax.Array, start: jax.Array) -> State:
    """Starts the inner search, and keeps the rest of the point."""
    return inner.init(key, start[:count]), start[count:]


def _ask(inner: Strategy, key: jax.Array, state: State) -> tuple[Candidates, State]:
    """Completes the inner candidates."""
    (points, wanted), searched = inner.ask(key, state[0])
    rest = jnp.broadcast_to(state[1], (len(points), len(state[1])))
    return Candidates(jnp.concatenate([points, rest], 1), wanted), (searched, state[1])


def _tell(inner: Strategy, count: int, state: State, told: Told) -> State:
    """Tells the inner search of its numbers."""
    return inner.tell(state[0], told._replace(points=told.points[:, :count])), state[1]


def _point(inner: Strategy, state: State) -> jax.Array:
    """Completes the inner point."""
    return jnp.concatenate([inner.point(state[0]), state[1]])
