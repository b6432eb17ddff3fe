"""The strategies, filters and seeds that flags name: a dict of functions for each kind."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import numpy as np
import optax

from mia_jax.attack import image_filters
from mia_jax.attack.filters import Filter
from mia_jax.attack.generators import mixtures, vae
from mia_jax.attack.spaces import Space
from mia_jax.attack.strategies import (
    boundary,
    differences,
    evolution,
    gamin,
    mendelian,
    random_steps,
)
from mia_jax.attack.strategies.strategy import Strategy
from mia_jax.runtime.keys import key_for

# From an image's shape. For coordinates that are standard normal over faces, of which the leading
# ones are searched; `GAMIN` searches pixels.
GAMIN = "gamin"
STRATEGIES: Mapping[str, Callable[[tuple[int, ...]], Strategy]] = {
    "differences": lambda _: differences.central(optax.adam(0.2)),
    "cma_es": lambda _: evolution.cma_es(32, 0.5),
    "differential_evolution": lambda _: evolution.differential_evolution(32, 0.7, 0.6),
    "genetic": lambda _: evolution.genetic(32, 0.2),
    "mendelian": lambda _: mendelian.mendelian(16, 0.7),
    "random_steps": lambda _: random_steps.along_axes(
        64, optax.piecewise_constant_schedule(0.5, {50: 0.2})
    ),
    "boundary": lambda _: boundary.repulsion(),
    GAMIN: gamin.gamin,
}
FILTERS: Mapping[str, Callable[[], Filter]] = {
    "total_variation": image_filters.total_variation,
    "median": image_filters.median,
    "bilateral": image_filters.bilateral,
    "open_close": image_filters.open_close,
    "mean_of_morphology": image_filters.mean_of_morphology,
    "lateral_inhibition": image_filters.lateral_inhibition,
}


class Seeder(NamedTuple):
    """How a seed image is searched for.

    Attributes:
      space: From the auxiliary faces to where.
      strategy: How.
    """

    space: Callable[[np.ndarray], Space]
    strategy: Callable[[], Strategy]


def _generator(auxiliary: np.ndarray) -> Space:
    """Fits a small autoencoder: in place of the GAN, for which there are too few faces."""
    fitted = vae.fit(key_for(jax.random.key(0), "an autoencoder"), auxiliary, latents=32, steps=150)
    return vae.space(fitted, auxiliary, spread=1.0)


# Seeds of section 6, searched by confidences: a generator's draws (Khosravy et al. 2020 took a
# GAN's), and mixtures of faces by a genetic algorithm, by its Mendelian variant and for control.
SEEDERS: Mapping[str, Seeder] = {
    "generator": Seeder(_generator, lambda: random_steps.anywhere(32)),
    "genetic": Seeder(mixtures.space, lambda: evolution.genetic(32, 0.05)),
    "mendelian": Seeder(mixtures.space, lambda: mendelian.mendelian(16, 0.05, 0.0, 1.0)),
    "differential_evolution": Seeder(
        mixtures.space, lambda: evolution.differential_evolution(32, 0.05, 0.6)
    ),
}
