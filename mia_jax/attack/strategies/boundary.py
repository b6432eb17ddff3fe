"""Away from the boundary of the target's class: all that labels tell."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.tree_util import Partial

from mia_jax.attack.strategies.strategy import Candidates, Strategy, Told

DRAWING, PROBING, MOVING = 0, 1, 2


class Repulsion(NamedTuple):
    """The constants of boundary repulsion, as published, for about a hundred latents.

    Attributes:
      draws: Points a round, until one is taken for the target.
      probes: Points on the sphere.
      radius: Of the first sphere.
      growth: By how much the radius grows.
      inside: The share of probes that are the target, above which it grows.
      limit: The largest absolute value of a number of the point.
      patience: How many times a restart may move without growing its sphere, before it ends.
    """

    draws: int = 256
    probes: int = 32
    radius: float = 2.0
    growth: float = 1.3
    inside: float = 0.75
    limit: float = 1.5
    patience: int = 1000


class _State(NamedTuple):
    """One restart.

    Attributes:
      phase: What is asked next: draws, probes on the sphere, or whether a move stays in the class.
      point: Where it is.
      moved: Where it goes if that is the target.
      found: Whether any point was taken for the target yet.
      answer: Where the sphere last grew; before that, where the target was first found.
      radius: Of the sphere.
      stale: Moves since the sphere grew.
    """

    phase: jax.Array
    point: jax.Array
    moved: jax.Array
    found: jax.Array
    answer: jax.Array
    radius: jax.Array
    stale: jax.Array


def repulsion(constants: Repulsion = Repulsion()) -> Strategy:  # noqa: B008
    """Moves away from the points of a growing sphere that are no longer the target.

    A larger sphere within the class is deeper inside of it, where the target's own faces are. Each
    iteration takes two rounds: one shows the probes, the next the point to move to, a single query.

    Only `Told.leads` is used. Since labels give every point of the class the same loss, `search`
    returns the answer of the strategy, if the space's penalty is left out: with `prior=0`.

    Args:
      constants: Of the sphere and of its growth.

    Returns:
      The strategy, for spaces in which faces are standard normal.

    Source: BREP-MI, Kahla et al. 2022, "Label-only model inversion attacks via boundary repulsion",
    from a description of the authors' code. There, iterations that leave the class are not counted,
    and it may never end; here all are.
    """
    return Strategy(
        Partial(_init, constants), Partial(_ask, constants), Partial(_tell, constants), _answer
    )


def _init(constants: Repulsion, key: jax.Array, start: jax.Array) -> _State:
    """Tries the start first, as if it were a move."""
    del key
    radius = jnp.array(constants.radius, start.dtype)
    nothing = jnp.array(False)
    return _State(jnp.array(MOVING), start, start, nothing, start, radius, jnp.array(0))


def _ask(constants: Repulsion, key: jax.Array, state: _State) -> tuple[Candidates, _State]:
    """Asks what the phase needs."""
    count, size = max(constants.draws, constants.probes), len(state.point)
    normal = jax.random.normal(key, (count, size))
    draws = jnp.clip(normal, -constants.limit, constants.limit)
    sphere = state.radius * normal / jnp.linalg.norm(normal, axis=1, keepdims=True)
    probes, moved = state.point + sphere, jnp.broadcast_to(state.moved, (count, size))
    asked = jnp.array([constants.draws, constants.probes, 1])[state.phase]
    alive = state.stale < constants.patience
    points = jnp.stack([draws, probes, moved])[state.phase]
    return Candidates(points, alive & (jnp.arange(count) < asked)), state


def _tell(constants: Repulsion, state: _State, told: Told) -> _State:
    """Goes on to the next phase."""
    return jax.lax.switch(
        state.phase,
        [_drawn, Partial(_probed, constants), _tried],
        state,
        told,
    )


def _drawn(state: _State, told: Told) -> _State:
    """Takes the first draw that is the target."""
    leads = told.leads & told.wanted
    return _arrived(state, told.points[jnp.argmax(leads)], leads.any())


def _probed(constants: Repulsion, state: _State, told: Told) -> _State:
    """Grows the sphere, and finds where to go."""
    outside = told.wanted & ~told.leads
    ways = (told.points - state.point) / state.radius
    inside = 1 - jnp.sum(outside) / constants.probes
    grows = inside > constants.inside
    radius = jnp.where(grows, constants.growth * state.radius, state.radius)
    away = -jnp.sum(jnp.where(outside[:, None], ways, 0), 0) / constants.probes
    step = jnp.minimum(state.radius / 3, 3)
    return state._replace(
        phase=jnp.array(MOVING),
        moved=jnp.clip(state.point + step * away, -constants.limit, constants.limit),
        answer=jnp.where(grows, state.point, state.answer),
        radius=radius,
        stale=jnp.where(grows, 0, state.stale + 1),
    )


def _tried(state: _State, told: Told) -> _State:
    """Moves if that stays the target."""
    return _arrived(state, told.points[0], told.leads[0])


def _arrived(state: _State, point: jax.Array, leads: jax.Array) -> _State:
    """Goes to a point if that is the target, and probes; draws until there is one."""
    found = state.found | leads
    return state._replace(
        phase=jnp.where(found, PROBING, DRAWING),
        point=jnp.where(leads, point, state.point),
        answer=jnp.where(leads & ~state.found, point, state.answer),
        found=found,
    )


def _answer(state: _State) -> jax.Array:
    """Returns where the sphere last grew."""
    return state.answer
