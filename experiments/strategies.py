"""The strategies, masks and filters that flags name: a dict of functions for each kind."""

from collections.abc import Callable, Mapping

import optax

from mia_jax.attack import image_filters
from mia_jax.attack.filters import Filter
from mia_jax.attack.strategies import boundary, differences, evolution, mendelian, random_steps
from mia_jax.attack.strategies.strategy import Strategy

# For coordinates that are standard normal over faces, of which the leading ones are searched.
STRATEGIES: Mapping[str, Callable[[], Strategy]] = {
    "differences": lambda: differences.central(optax.adam(0.1)),
    "cma_es": lambda: evolution.cma_es(32, 0.5),
    "differential_evolution": lambda: evolution.differential_evolution(32, 0.7, 0.6),
    "genetic": lambda: evolution.genetic(32, 0.2),
    "mendelian": lambda: mendelian.mendelian(16, 0.7),
    "random_steps": lambda: random_steps.along_axes(
        64, optax.piecewise_constant_schedule(0.5, {50: 0.2})
    ),
    "boundary": lambda: boundary.repulsion(),
}
FILTERS: Mapping[str, Callable[[], Filter]] = {
    "total_variation": image_filters.total_variation,
    "median": image_filters.median,
    "bilateral": image_filters.bilateral,
    "open_close": image_filters.open_close,
    "mean_of_morphology": image_filters.mean_of_morphology,
    "lateral_inhibition": image_filters.lateral_inhibition,
}
