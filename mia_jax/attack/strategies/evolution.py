"""Evolution strategies of the library evosax, for the search.

evosax computes when it is imported: too early for a program that has not yet said on which devices,
and too late within a compilation. So it is imported when a strategy is made.
"""

import functools
import importlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.tree_util import Partial

from mia_jax.attack.strategies.strategy import Candidates, State, Strategy, Told
from mia_jax.runtime.errors import UserError

_MODULES = (
    "distribution_based.cma_es",
    "population_based.differential_evolution",
    "population_based.simple_ga",
)
_UNUSED = 0  # evosax passes a key to every algorithm's `tell`; these draw nothing there.

# (population, a point) -> an algorithm for points of its size, and its parameters.
Algorithm = Callable[[int, jax.Array], tuple[Any, State]]


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
    return _of_population(Partial(_differential, weight, crossover), population, deviation)


def genetic(population: int = 32, deviation: float = 0.1, crossover: float = 0.5) -> Strategy:
    """Crosses the better half of a population, and mutates the children.

    Args:
      population: Candidates of a round, at least 4; those of the first are drawn around the start.
      deviation: Standard deviation of the first draw and of a mutation, above 0.
      crossover: Probability with which a number comes from the second parent, in [0, 1].

    Returns:
      The strategy.

    Raises:
      UserError: If an argument is out of range.

    Source: Holland 1975, "Adaptation in natural and artificial systems", for real numbers.
    """
    _check(population, deviation)
    if not 0 <= crossover <= 1:
        raise UserError(f"crossover={crossover} must be in [0, 1]")
    return _of_population(Partial(_genetic, deviation, crossover), population, deviation)


@functools.cache
def _evosax(name: str) -> Any:
    """Imports a module of evosax."""
    return importlib.import_module(f"evosax.algorithms.{name}")


def _check(population: int, deviation: float) -> None:
    """Refuses what evosax would fail on, and imports it."""
    if population < 4:
        raise UserError(f"population={population} must be at least 4")
    if not deviation > 0:
        raise UserError(f"deviation={deviation} must be above 0")
    for name in _MODULES:
        _evosax(name)


def _cma(population: int, point: jax.Array) -> Any:
    """Sets CMA-ES up for points of a size."""
    return _evosax("distribution_based.cma_es").CMA_ES(population, point)


def _init_cma(population: int, deviation: float, key: jax.Array, start: jax.Array) -> State:
    """Centers the Gaussian at the start."""
    algorithm = _cma(population, start)
    params = algorithm.default_params.replace(std_init=jnp.asarray(deviation))
    return algorithm.init(key, start, params)


def _ask_cma(population: int, key: jax.Array, state: State) -> tuple[Candidates, State]:
    """Draws a population."""
    algorithm = _cma(population, state.mean)
    points, state = algorithm.ask(key, state, algorithm.default_params)
    return Candidates(points, jnp.ones(population, bool)), state


def _tell_cma(population: int, state: State, told: Told) -> State:
    """Adapts the Gaussian."""
    algorithm = _cma(population, state.mean)
    key = jax.random.key(_UNUSED)
    return algorithm.tell(key, told.points, told.loss, state, algorithm.default_params)[0]


def _mean(state: State) -> jax.Array:
    """Returns the center of the Gaussian."""
    return state.mean


def _differential(
    weight: float, crossover: float, population: int, point: jax.Array
) -> tuple[Any, State]:
    """Sets differential evolution up for points of a size."""
    module = _evosax("population_based.differential_evolution")
    algorithm = module.DifferentialEvolution(population, point)
    return algorithm, algorithm.default_params.replace(
        crossover_rate=crossover,
        differential_weight=weight,
        differential_weight_min=weight,
        differential_weight_max=weight,
    )


def _genetic(
    deviation: float, crossover: float, population: int, point: jax.Array
) -> tuple[Any, State]:
    """Sets the genetic algorithm up for points of a size."""
    module = _evosax("population_based.simple_ga")
    algorithm = module.SimpleGA(population, point, optax.constant_schedule(deviation))
    return algorithm, algorithm.default_params.replace(crossover_rate=crossover)


def _of_population(make: Algorithm, population: int, deviation: float) -> Strategy:
    """Makes a strategy of an algorithm of evosax that keeps a population."""
    return Strategy(
        Partial(_init_population, make, population, deviation),
        Partial(_ask_population, make, population),
        Partial(_tell_population, make, population),
        _best,
    )


def _init_population(
    make: Algorithm,
    population: int,
    deviation: float,
    key: jax.Array,
    start: jax.Array,
) -> State:
    """Draws the first population around the start, which is its first member."""
    around = deviation * jax.random.normal(key, (population, len(start)))
    algorithm, params = make(population, start)
    unknown = jnp.full(population, jnp.inf)
    return algorithm.init(key, start + around.at[0].set(0), unknown, params)


def _ask_population(
    make: Algorithm,
    population: int,
    key: jax.Array,
    state: State,
) -> tuple[Candidates, State]:
    """Returns the first population as it is, and then children of it."""
    algorithm, params = make(population, state.best_solution)
    children, state = algorithm.ask(key, state, params)
    points = jnp.where(state.generation_counter == 0, state.population, children)
    return Candidates(points, jnp.ones(population, bool)), state


def _tell_population(make: Algorithm, population: int, state: State, told: Told) -> State:
    """Lets the children compete."""
    algorithm, params = make(population, state.best_solution)
    return algorithm.tell(jax.random.key(_UNUSED), told.points, told.loss, state, params)[0]


def _best(state: State) -> jax.Array:
    """Returns the best point that was seen."""
    return state.best_solution
