"""Descent along a gradient that is measured instead of derived."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.tree_util import Partial

from mia_jax.attack.strategies.strategy import Candidates, Strategy, Told


class _Descent(NamedTuple):
    """Where a restart stands."""

    point: jax.Array
    optimizer: optax.OptState


def central(optimizer: optax.GradientTransformation, step: float = 0.1) -> Strategy:
    """Descends the central differences of the loss along every axis.

    A round costs two queries for each number of a point: `leading` keeps them few. Confidences hold
    the differences of the logits exactly, log p_i - log p_j, so that nothing but the step's
    curvature separates a round from one of `invert` on the model itself.

    Args:
      optimizer: Any optax transformation that needs the gradient only, such as `optax.adam(0.1)`.
      step: How far from the point the loss is measured on either side, above 0.

    Returns:
      The strategy; a round has `2 * size` candidates, and there is nothing random in it.

    Source: central differences; for confidences instead of gradients see Tramer et al. 2016,
    section 4.1: log-odds of a softmax are the differences of its logits.
    """
    return Strategy(
        Partial(_init, optimizer), Partial(_ask, step), Partial(_tell, optimizer), _point
    )


def _init(optimizer: optax.GradientTransformation, key: jax.Array, start: jax.Array) -> _Descent:
    """Stands at the start."""
    del key
    return _Descent(start, optimizer.init(start))


def _ask(step: float, key: jax.Array, state: _Descent) -> tuple[Candidates, _Descent]:
    """Looks to both sides along every axis."""
    del key
    ways = step * jnp.eye(len(state.point))
    points = jnp.concatenate([state.point + ways, state.point - ways])
    return Candidates(points, jnp.ones(len(points), bool)), state


def _tell(optimizer: optax.GradientTransformation, state: _Descent, told: Told) -> _Descent:
    """Takes a step of the optimizer."""
    size = len(state.point)
    # The space may have moved a candidate, as pixels at the edge of [0, 1]: each quotient is that
    # of the points that were seen.
    apart = jnp.diagonal(told.points[:size] - told.points[size:])
    difference = told.loss[:size] - told.loss[size:]
    gradient = jnp.where(apart > 0, difference / jnp.where(apart > 0, apart, 1), 0)
    update, memory = optimizer.update(gradient, state.optimizer, state.point)
    return _Descent(optax.apply_updates(state.point, update), memory)


def _point(state: _Descent) -> jax.Array:
    """Returns where the descent is."""
    return state.point
