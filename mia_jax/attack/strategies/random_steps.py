"""Random steps along the axes of a space, eigenfaces where those are its axes; random draws."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.tree_util import Partial

from mia_jax.attack.strategies.strategy import Candidates, Strategy, Told

# The published rate falls to a fifth on the way; where it does was not to be seen.
FALLING = optax.piecewise_constant_schedule(1.0, {1000: 0.2})


class _Walk(NamedTuple):
    """The best point so far."""

    point: jax.Array
    loss: jax.Array
    round: jax.Array


def along_axes(batch: int = 64, rate: Callable[[jax.Array], jax.Array] = FALLING) -> Strategy:
    """Tries random steps along single axes, and keeps the best if it is better.

    Args:
      batch: Steps of a round.
      rate: From the number of the round, from 0, to the standard deviation of a step in the units
        of the point: for eigenfaces those of the face's coefficient.

    Returns:
      The strategy.

    Source: Razzhigaev et al. 2021, "Darker than black-box": a batch of 64 random eigenfaces, each
    added at a rate, the best one kept. From a description: the published rates, 0.005 and then
    0.001, are those of an embedding's distance and of other units, and their ratio is kept.
    """
    return Strategy(_init, Partial(_ask, batch, rate), _tell, _point)


def anywhere(batch: int = 64) -> Strategy:
    """Draws points again and again, and keeps the best: what a search has to beat.

    Args:
      batch: Draws of a round.

    Returns:
      The strategy, for spaces in which faces are standard normal.
    """
    return Strategy(_init, Partial(_draw, batch), _tell, _point)


def _init(key: jax.Array, start: jax.Array) -> _Walk:
    """Stands at the start, of which nothing is known."""
    del key
    return _Walk(start, jnp.array(jnp.inf), jnp.array(0))


def _ask(
    batch: int, rate: Callable[[jax.Array], jax.Array], key: jax.Array, state: _Walk
) -> tuple[Candidates, _Walk]:
    """Draws an axis and a length for each step."""
    axis_key, length_key = jax.random.split(key)
    axes = jax.random.randint(axis_key, (batch,), 0, len(state.point))
    lengths = rate(state.round) * jax.random.normal(length_key, (batch,))
    points = state.point + lengths[:, None] * jax.nn.one_hot(axes, len(state.point))
    return Candidates(points, jnp.ones(batch, bool)), state


def _draw(batch: int, key: jax.Array, state: _Walk) -> tuple[Candidates, _Walk]:
    """Draws standard normal points."""
    points = jax.random.normal(key, (batch, len(state.point)))
    return Candidates(points, jnp.ones(batch, bool)), state


def _tell(state: _Walk, told: Told) -> _Walk:
    """Goes where the loss is least, unless it was less before."""
    least = jnp.argmin(told.loss)
    better = told.loss[least] < state.loss
    return _Walk(
        jnp.where(better, told.points[least], state.point),
        jnp.minimum(told.loss[least], state.loss),
        state.round + 1,
    )


def _point(state: _Walk) -> jax.Array:
    """Returns the best point."""
    return state.point
