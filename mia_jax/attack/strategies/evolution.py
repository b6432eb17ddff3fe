"""Evolution strategies of the library evosax, for the search."""

import jax
import jax.numpy as jnp
from evosax.algorithms.distribution_based.cma_es import CMA_ES
from evosax.algorithms.population_based.differential_evolution import DifferentialEvolution
from jax.tree_util import Partial

from mia_jax.attack.strategies.strategy import Candidates, State, Strategy, Told
from mia_jax.runtime.errors import UserError

_UNUSED = 0  # evosax passes a key to every algorithm's `tell`; these two draw nothing there.


def cma_es(population: int = 32, deviation: float = 1.0) -> Strategy:
    """Adapts the covariance of a Gaussian to the better half of what is drawn from it.

    Args:
      population: Candidates of a round, at least 4.
      deviation: Standard deviation of the first round around the start, above 0.

    Returns:
      The strategy. Its state holds the square of a point's size: use `leading` for large spaces.

    Raises:
      UserError: If an argument is out of range.

    Source: Hansen 2016, "The CMA evolution strategy: a tutorial", arXiv 1604.00772.
    """
    _check(population, deviation)
    return Strategy(
        Partial(_init_cma, population, deviation),
        Partial(_ask_cma, population),
        Partial(_tell_cma, population),
        _mean,
    )


def differential_evolution(
    population: int = 32, deviation: float = 1.0, weight: float = 0.8, crossover: float = 0.9
) -> Strategy:
    """Moves the best of a population by differences of others, and keeps what is no worse.

    Args:
      population: Candidates of a round, at least 4; those of the first are drawn around the start.
      deviation: Standard deviation of that draw, above 0.
      weight: Of a difference, in (0, 2].
      crossover: Share of a point's numbers that change, in [0, 1].

    Returns:
      The strategy.

    Raises:
      UserError: If an argument is out of range.

    Source: Storn and Price 1997, "Differential evolution". An attack on faces: Ye et al. 2023
    (C2FMI), whose variant adds four differences and a step toward the best.
    """
    _check(population, deviation)
    if not 0 < weight <= 2 or not 0 <= crossover <= 1:
        raise UserError(f"weight={weight} must be in (0, 2], and crossover={crossover} in [0, 1]")
    return Strategy(
        Partial(_init_differential, population, deviation),
        Partial(_ask_differential, population, weight, crossover),
        Partial(_tell_differential, population, weight, crossover),
        _best,
    )


def _check(population: int, deviation: float) -> None:
    """Refuses what evosax would fail on."""
    if population < 4:
        raise UserError(f"population={population} must be at least 4")
    if not deviation > 0:
        raise UserError(f"deviation={deviation} must be above 0")


def _init_cma(population: int, deviation: float, key: jax.Array, start: jax.Array) -> State:
    """Centers the Gaussian at the start."""
    algorithm = CMA_ES(population, start)
    params = algorithm.default_params.replace(std_init=jnp.asarray(deviation))
    return algorithm.init(key, start, params)


def _ask_cma(population: int, key: jax.Array, state: State) -> tuple[Candidates, State]:
    """Draws a population."""
    algorithm = CMA_ES(population, state.mean)
    points, state = algorithm.ask(key, state, algorithm.default_params)
    return Candidates(points, jnp.ones(population, bool)), state


def _tell_cma(population: int, state: State, told: Told) -> State:
    """Adapts the Gaussian."""
    algorithm = CMA_ES(population, state.mean)
    key = jax.random.key(_UNUSED)
    return algorithm.tell(key, told.points, told.loss, state, algorithm.default_params)[0]


def _mean(state: State) -> jax.Array:
    """Returns the center of the Gaussian."""
    return state.mean


def _evolution(
    population: int, weight: float, crossover: float, point: jax.Array
) -> tuple[DifferentialEvolution, State]:
    """Sets the algorithm up for points of a size."""
    algorithm = DifferentialEvolution(population, point)
    params = algorithm.default_params.replace(
        crossover_rate=crossover,
        differential_weight=weight,
        differential_weight_min=weight,
        differential_weight_max=weight,
    )
    return algorithm, params


def _init_differential(
    population: int, deviation: float, key: jax.Array, start: jax.Array
) -> State:
    """Draws the first population around the start, which is its first member."""
    around = deviation * jax.random.normal(key, (population, len(start)))
    points = start + around.at[0].set(0)
    algorithm = DifferentialEvolution(population, start)
    unknown = jnp.full(population, jnp.inf)
    return algorithm.init(key, points, unknown, algorithm.default_params)


def _ask_differential(
    population: int, weight: float, crossover: float, key: jax.Array, state: State
) -> tuple[Candidates, State]:
    """Returns the first population as it is, and then children of it."""
    algorithm, params = _evolution(population, weight, crossover, state.best_solution)
    children, _ = algorithm.ask(key, state, params)
    points = jnp.where(state.generation_counter == 0, state.population, children)
    return Candidates(points, jnp.ones(population, bool)), state


def _tell_differential(
    population: int, weight: float, crossover: float, state: State, told: Told
) -> State:
    """Lets children replace their parents."""
    algorithm, params = _evolution(population, weight, crossover, state.best_solution)
    key = jax.random.key(_UNUSED)
    return algorithm.tell(key, told.points, told.loss, state, params)[0]


def _best(state: State) -> jax.Array:
    """Returns the best member."""
    return state.best_solution
