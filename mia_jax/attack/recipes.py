"""Whole attacks, ready to run: the paper's, and the combination that works best.

A recipe is a function of the model and of the attacker's auxiliary faces. It returns an `Attack`,
which is a value: any part of it can be replaced.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax

from mia_jax.attack import losses, seeds, spaces
from mia_jax.attack.generators import eigenfaces
from mia_jax.attack.inversion import Attack, StoppingRule
from mia_jax.attack.objectives import ApplyFn, Objective, classification
from mia_jax.recognizer.views import STILL, ViewRange
from mia_jax.runtime.errors import UserError

JITTER = ViewRange(rotation=3, scale=0.03, shift=0.02)
LEAD_OF_18: losses.LossFn = functools.partial(losses.max_margin, enough=18.0)

Optimizer = Callable[[float], optax.GradientTransformation]
Faces = jax.Array | np.ndarray


def paper(
    apply_fn: ApplyFn,
    auxiliary: Faces,
    *,
    loss: losses.LossFn = losses.infomax,
    optimizer: Optimizer = optax.sgd,
    rate: float = 10.0,
    iterations: int = 100,
    seed_image: seeds.SeedFn = seeds.mean_of_subset,
    total_variation: float = 0.0,
    l2: float = 0.0,
    views_per_iteration: int = 0,
    stop_score: float | None = None,
    stop_patience: int | None = None,
) -> Attack:
    """Descends over the pixels at a fixed rate, from the mean of 256 unrelated faces.

    Args:
      apply_fn: `(params, images [n, height, width, channels] in [0, 1]) -> logits [n, classes]`.
      auxiliary: `[n, height, width, channels]` in [0, 1], unrelated faces.
      loss: What is descended; from `losses`.
      optimizer: From the rate to an optax transformation.
      rate: Alpha in equation 7, above 0.
      iterations: Number of updates.
      seed_image: Where a restart starts; from `seeds`.
      total_variation: Weight of the image's total variation.
      l2: Weight of the image's mean squared distance from mid-gray.
      views_per_iteration: Random views of the image in each iteration, rotated, scaled and shifted
        a little; 0 shows it as it is.
      stop_score: Confidence of the target at which a restart ends early.
      stop_patience: Iterations without a lower loss after which a restart ends early.

    Returns:
      The attack.

    Raises:
      UserError: If an argument is out of range.

    Source: section 3, equations 6 to 10, and section 4.4.
    """
    space = spaces.pixels(jnp.asarray(auxiliary), seed_image)
    return Attack(
        space=spaces.with_penalty(space, total_variation, l2),
        objective=_objective(apply_fn, loss, views_per_iteration),
        optimizer=_optimizer(optimizer, rate),
        iterations=iterations,
        stop=_stop(stop_score, stop_patience),
    )


def best(
    apply_fn: ApplyFn,
    auxiliary: Faces,
    *,
    components: int = 60,
    waves: int = 24,
    wave_deviation: float = 0.25,
    spread: float = 0.5,
    prior: float = 1.0,
    loss: losses.LossFn = LEAD_OF_18,
    optimizer: Optimizer = optax.adam,
    rate: float = 0.1,
    iterations: int = 60,
    seed_image: seeds.SeedFn = seeds.mean_of_subset,
    total_variation: float = 0.0,
    l2: float = 0.0,
    views_per_iteration: int = 1,
    stop_score: float | None = None,
    stop_patience: int | None = None,
) -> Attack:
    """Descends over eigenfaces and waves with Adam: the combination that works best on ORL.

    The loss decides whether a clone is recognized and the prior whether it looks like a face. The
    margin ends the descent at a lead of the target's logit somewhat above that of photographs:
    beyond it faces are only exaggerated. The waves are for what none of the strangers has.

    Args:
      apply_fn: `(params, images [n, height, width, channels] in [0, 1]) -> logits [n, classes]`.
      auxiliary: `[n, height, width, channels]` in [0, 1], unrelated faces: at least
        `components / 2 + 1` of them.
      components: How many eigenfaces.
      waves: How many frequencies of waves along each axis complete them; 0 for none.
      wave_deviation: Standard deviation of a pixel over random draws of the waves.
      spread: Standard deviation of Gaussian noise on the first coefficients.
      prior: Weight of half the squared coefficients.
      loss: As in `paper`; by default the max-margin up to a lead of 18.
      optimizer: As in `paper`.
      rate: The optimizer's.
      iterations: As in `paper`.
      seed_image: As in `paper`; a restart starts from its projection.
      total_variation: As in `paper`.
      l2: As in `paper`.
      views_per_iteration: As in `paper`.
      stop_score: As in `paper`.
      stop_patience: As in `paper`.

    Returns:
      The attack.

    Raises:
      UserError: If an argument is out of range, or there are too few faces.
    """
    space = eigenfaces.space(
        np.asarray(auxiliary),
        components,
        waves=waves,
        wave_deviation=wave_deviation,
        seed=seed_image,
        spread=spread,
        prior=prior,
    )
    return Attack(
        space=spaces.with_penalty(space, total_variation, l2),
        objective=_objective(apply_fn, loss, views_per_iteration),
        optimizer=_optimizer(optimizer, rate),
        iterations=iterations,
        stop=_stop(stop_score, stop_patience),
    )


def _objective(apply_fn: ApplyFn, loss: losses.LossFn, views: int) -> Objective:
    """Shows the image in so many random views, or as it is."""
    if views:
        return classification(apply_fn, loss, JITTER, views)
    return classification(apply_fn, loss, STILL)


def _optimizer(optimizer: Optimizer, rate: float) -> optax.GradientTransformation:
    """Sets the optimizer's rate."""
    if not rate > 0:
        raise UserError(f"rate={rate} does not descend: give a rate above 0")
    return optimizer(rate)


def _stop(score: float | None, patience: int | None) -> StoppingRule | None:
    """Makes a rule of whichever limits there are."""
    return None if score is None and patience is None else StoppingRule(score, patience)
