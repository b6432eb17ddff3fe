"""A genetic algorithm after Mendel: plants with two strands, and a heredity that remembers."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.tree_util import Partial

from mia_jax.attack.strategies.strategy import Candidates, Strategy, Told
from mia_jax.runtime.errors import UserError

BITS = 20  # Of a number: steps of a millionth of its range.

_FIRST, _CROSS, _TURN, _MUTATE, _INHERIT = range(5)


class _Garden(NamedTuple):
    """Plants, `[population, ...]` each; codes are `[population, size]` of `BITS` bits.

    Attributes:
      phase: What is asked next.
      plants: The strands.
      loss: Theirs.
      pool: The second strands, with which others are crossed.
      pool_loss: Theirs; infinite before they are known.
      heredity: The best strands that each plant has seen.
      heredity_loss: Theirs.
      offspring: What the last crossing left of each plant.
      asked: `[2 * population, size]`: the codes of the candidates of this round.
    """

    phase: jax.Array
    plants: jax.Array
    loss: jax.Array
    pool: jax.Array
    pool_loss: jax.Array
    heredity: jax.Array
    heredity_loss: jax.Array
    offspring: jax.Array
    asked: jax.Array


def mendelian(
    population: int = 16, deviation: float = 1.0, low: float = -3.0, high: float = 3.0
) -> Strategy:
    """Crosses two species of binary strings, which remember their best and fall back on it.

    An epoch takes four rounds: plants are crossed with the second strands of the other species, in
    two queries each; the children's bits are turned around in places; the heredity mutates; and
    plants take back most bits of a better heredity.

    Args:
      population: Plants of both species, even, at least 4.
      deviation: Standard deviation around the start of the first plants, above 0.
      low: The least number of a point.
      high: The largest.

    Returns:
      The strategy; a round has `2 * population` candidates, of which some are wanted.

    Raises:
      UserError: If an argument is out of range.

    Source: METO, Mendelian evolutionary theory optimization, 2020, from a description of the
    authors' code. In place of its up to four mutations in a row there is one, and its rate does not
    fall; where the heredity is no better nothing is copied.
    """
    if population < 4 or population % 2:
        raise UserError(f"population={population} must be even and at least 4")
    if not deviation > 0 or not high > low:
        raise UserError(f"deviation={deviation} must be above 0, and high={high} above low={low}")
    return Strategy(
        Partial(_init, population, deviation, low, high),
        Partial(_ask, low, high),
        _tell,
        Partial(_best, low, high),
    )


def _decode(low: float, high: float, codes: jax.Array) -> jax.Array:
    """Makes numbers of codes."""
    return low + (high - low) * codes.astype(jnp.float32) / (2**BITS - 1)


def _init(
    population: int, deviation: float, low: float, high: float, key: jax.Array, start: jax.Array
) -> _Garden:
    """Sows plants around the start, which is the first."""
    around = deviation * jax.random.normal(key, (population, len(start)))
    points = jnp.clip(start + around.at[0].set(0), low, high)
    plants = jnp.round((points - low) / (high - low) * (2**BITS - 1)).astype(jnp.uint32)
    unknown = jnp.full(population, jnp.inf)
    return _Garden(
        phase=jnp.array(_FIRST),
        plants=plants,
        loss=unknown,
        pool=_reverse(plants),
        pool_loss=unknown,
        heredity=plants,
        heredity_loss=unknown,
        offspring=plants,
        asked=jnp.concatenate([plants, plants]),
    )


def _ask(low: float, high: float, key: jax.Array, state: _Garden) -> tuple[Candidates, _Garden]:
    """Makes the candidates of a phase."""
    codes, wanted = jax.lax.switch(
        state.phase, [_sow, _cross, _turn, _mutate, _inherit], key, state
    )
    return Candidates(_decode(low, high, codes), wanted), state._replace(asked=codes)


def _one_each(codes: jax.Array, wanted: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Asks for a single candidate of each plant."""
    return jnp.concatenate([codes, codes]), jnp.concatenate([wanted, jnp.zeros_like(wanted)])


def _sow(key: jax.Array, state: _Garden) -> tuple[jax.Array, jax.Array]:
    """Asks for the first plants."""
    del key
    return _one_each(state.plants, jnp.ones(len(state.plants), bool))


def _cross(key: jax.Array, state: _Garden) -> tuple[jax.Array, jax.Array]:
    """Exchanges random numbers of the better plants with the second strands of their partners."""
    share_key, mask_key = jax.random.split(key)
    half = len(state.plants) // 2
    partners = jnp.roll(state.pool, half, 0)
    mask = _some_numbers(mask_key, state.plants.shape)
    children = [jnp.where(mask, partners, state.plants), jnp.where(mask, state.plants, partners)]
    chosen = _better(share_key, state.loss.reshape(2, half), 0.3).ravel()
    return jnp.concatenate(children), jnp.concatenate([chosen, chosen])


def _turn(key: jax.Array, state: _Garden) -> tuple[jax.Array, jax.Array]:
    """Turns the bits of the offspring around, in some places of some numbers."""
    number_key, bit_key, rate_key = jax.random.split(key, 3)
    places = _some_bits(bit_key, state.plants.shape, jax.random.uniform(rate_key))
    places = jnp.where(_some_numbers(number_key, state.plants.shape), places, 0)
    turned = (state.offspring & ~places) | (_reverse(state.offspring) & places)
    return _one_each(turned, jnp.ones(len(turned), bool))


def _mutate(key: jax.Array, state: _Garden) -> tuple[jax.Array, jax.Array]:
    """Changes a few bits of the better heredities."""
    share_key, number_key, bit_key, rate_key, tau_key = jax.random.split(key, 5)
    size = state.plants.shape[1]
    tau = 1 / size + jax.random.uniform(tau_key, maxval=0.25)
    numbers = jax.random.uniform(number_key, state.plants.shape) < tau
    rate = jax.random.uniform(rate_key, minval=1 / BITS, maxval=0.12)
    flips = jnp.where(numbers, _some_bits(bit_key, state.plants.shape, rate), 0)
    return _one_each(state.heredity ^ flips, _better(share_key, state.heredity_loss[None], 0.5)[0])


def _inherit(key: jax.Array, state: _Garden) -> tuple[jax.Array, jax.Array]:
    """Copies most bits of a heredity that is better than its plant."""
    rate_key, bit_key = jax.random.split(key)
    rate = jax.random.uniform(rate_key, minval=0.94, maxval=0.99)
    copied = _some_bits(bit_key, state.plants.shape, rate)
    second = (state.heredity & copied) | (state.plants & ~copied)
    # One at least: a restart that wants nothing has finished.
    return _one_each(second, (state.heredity_loss < state.loss).at[0].set(True))


def _tell(state: _Garden, told: Told) -> _Garden:
    """Keeps what is better, each where the phase asked for it."""
    count = len(state.plants)
    second = told.loss[count:] < told.loss[:count]
    loss = jnp.minimum(told.loss[:count], told.loss[count:])
    codes = jnp.where(second[:, None], state.asked[count:], state.asked[:count])
    seen = jnp.isfinite(loss)

    def keep(mine: jax.Array, old: jax.Array, allowed: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Replaces codes and their loss by those that are no worse."""
        better = seen & allowed & (loss <= old)
        return jnp.where(better[:, None], codes, mine), jnp.where(better, loss, old)

    phase = state.phase
    plants, own = keep(
        state.plants, state.loss, (phase == _FIRST) | (phase == _CROSS) | (phase == _INHERIT)
    )
    heredity, heredity_loss = keep(state.heredity, state.heredity_loss, jnp.array(True))
    pool, pool_loss = keep(state.pool, state.pool_loss, phase == _TURN)
    crossed = (phase == _CROSS) & seen
    return _Garden(
        phase=jnp.where(phase == _INHERIT, _CROSS, phase + 1),
        plants=plants,
        loss=own,
        # The next epoch crosses other pairs.
        pool=jnp.where(phase == _INHERIT, jnp.roll(pool, 1, 0), pool),
        pool_loss=jnp.where(phase == _INHERIT, jnp.roll(pool_loss, 1), pool_loss),
        heredity=heredity,
        heredity_loss=heredity_loss,
        offspring=jnp.where(crossed[:, None], codes, plants),
        asked=state.asked,
    )


def _best(low: float, high: float, state: _Garden) -> jax.Array:
    """Returns the best point that was seen."""
    return _decode(low, high, state.heredity[jnp.argmin(state.heredity_loss)])


def _better(key: jax.Array, loss: jax.Array, least: float) -> jax.Array:
    """Marks a random share, at least so much, of the best in each row."""
    share = jnp.maximum(least, jax.random.uniform(key))
    # Counted, since sorts take seconds to compile. Equals share a rank.
    ranks = jnp.sum(loss[:, None] < loss[:, :, None], 2)
    return ranks < jnp.ceil(share * loss.shape[1])


def _some_numbers(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Marks a random share of the numbers of each plant."""
    share_key, key = jax.random.split(key)
    return jax.random.uniform(key, shape) < jax.random.uniform(share_key, (shape[0], 1))


def _some_bits(key: jax.Array, shape: tuple[int, ...], rate: jax.Array) -> jax.Array:
    """Draws codes whose bits are each 1 with a probability."""
    bits = jax.random.uniform(key, (BITS, *shape)) < rate
    weights = (jnp.uint32(1) << jnp.arange(BITS, dtype=jnp.uint32)).reshape(BITS, 1, 1)
    return jnp.sum(jnp.where(bits, weights, 0), 0, dtype=jnp.uint32)


def _reverse(codes: jax.Array) -> jax.Array:
    """Turns the bits of codes around, the first for the last."""
    places = jnp.arange(BITS, dtype=jnp.uint32)
    bits = (codes[..., None] >> places) & 1
    return jnp.sum(bits << places[::-1], -1, dtype=jnp.uint32)
