"""A round of a strategy, compiled and mapped over all restarts: vectors outside, points within."""

from typing import Any

import equinox
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from mia_jax.attack.cases import Case
from mia_jax.attack.spaces import Point, Space
from mia_jax.attack.strategies.strategy import Candidates, State, Strategy, Told


def point_of(space: Space, case: Case, vector: jax.Array) -> Point:
    """Makes of a vector what a space takes for a point: the inverse of `vector_of`.

    Args:
      space: The space.
      case: One restart.
      vector: `[size]`.

    Returns:
      The point, in whatever arrays the space's have.
    """
    drawn = case.start
    if drawn is None:
        drawn = equinox.filter_eval_shape(space.first, case.key, case.target)
    unravel = ravel_pytree(jax.tree.map(lambda array: jnp.zeros(array.shape, array.dtype), drawn))
    point: Any = unravel[1](vector)
    return point


def vector_of(point: Point) -> jax.Array:
    """Lists all numbers of a point.

    Args:
      point: A pytree of arrays.

    Returns:
      `[size]`.
    """
    return ravel_pytree(point)[0]


@equinox.filter_jit
def draw(cases: Case, space: Space, draws: int) -> jax.Array:
    """Draws the points from which each restart takes its start.

    Args:
      cases: `[restarts, ...]` each; a start of their own is the only draw.
      space: The space.
      draws: How many points each.

    Returns:
      `[restarts, draws, size]`.
    """

    def one(case: Case) -> jax.Array:
        if case.start is not None:
            return vector_of(space.project(case.start))[None]
        start_key, _ = jax.random.split(case.key)
        keys = start_key[None] if draws == 1 else jax.random.split(start_key, draws)
        return jax.vmap(lambda key: vector_of(space.project(space.first(key, case.target))))(keys)

    return jax.vmap(one)(cases)


@equinox.filter_jit
def begin(cases: Case, strategy: Strategy, starts: jax.Array) -> State:
    """Begins each restart's search.

    Args:
      cases: `[restarts, ...]` each.
      strategy: The strategy.
      starts: `[restarts, size]`.

    Returns:
      The strategy's states, `[restarts, ...]` each.
    """
    return jax.vmap(
        lambda case, start: _typed(strategy.init(jax.random.split(case.key)[1], start))
    )(cases, starts)


@equinox.filter_jit
def ask(
    cases: Case, space: Space, strategy: Strategy, states: State, number: jax.Array
) -> tuple[Candidates, State]:
    """Asks each restart for its candidates of a round.

    Args:
      cases: `[restarts, ...]` each.
      space: The space, on which the candidates are projected.
      strategy: The strategy.
      states: `[restarts, ...]` each.
      number: Of the round, from 0; an array, or each round would be compiled anew.

    Returns:
      The candidates and the states that are to be told, `[restarts, ...]` each.
    """

    def one(case: Case, state: State) -> tuple[Candidates, State]:
        key = jax.random.fold_in(jax.random.split(case.key)[1], number)
        candidates, state = strategy.ask(key, state)
        points = jax.vmap(lambda vector: _project(space, case, vector))(candidates.points)
        return candidates._replace(points=points), _typed(state)

    return jax.vmap(one)(cases, states)


@equinox.filter_jit
def tell(
    cases: Case,
    space: Space,
    strategy: Strategy,
    states: tuple[State, State],
    told: Told,
    active: jax.Array,
) -> tuple[State, jax.Array]:
    """Tells the restarts that are active what the model said.

    Args:
      cases: `[restarts, ...]` each.
      space: The space.
      strategy: The strategy.
      states: Those before the round, and those that asked.
      told: `[restarts, ...]` each.
      active: `[restarts]` booleans; the others keep the state from before the round.

    Returns:
      The states, and where all restarts stand, `[restarts, size]`.
    """

    def one(
        case: Case, states: tuple[State, State], told: Told, active: jax.Array
    ) -> tuple[State, jax.Array]:
        before, asking = states
        after = strategy.tell(asking, told)
        state = jax.tree.map(lambda new, old: jnp.where(active, new, old), after, before)
        state = _typed(state)
        return state, _project(space, case, strategy.point(state))

    return jax.vmap(one)(cases, states, told, active)


def _project(space: Space, case: Case, vector: jax.Array) -> jax.Array:
    """Returns the nearest vector that the space allows."""
    return vector_of(space.project(point_of(space, case, vector)))


def _typed(state: State) -> State:
    """Gives every array a type of its own: of a weak one, the next round would be compiled anew."""
    return jax.tree.map(lambda array: array.astype(array.dtype), state)
