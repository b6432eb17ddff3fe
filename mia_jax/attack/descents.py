"""How an attack descends, in whatever space: what all recipes take, and their defaults."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, TypedDict

import jax
import numpy as np
import optax

from mia_jax.attack import losses, spaces
from mia_jax.attack.check import check_faces
from mia_jax.attack.inversion import Attack, StoppingRule
from mia_jax.attack.objectives import ApplyFn, Objective, classification, sample
from mia_jax.recognizer.views import ViewRange
from mia_jax.runtime.errors import UserError, list_some

JITTER = ViewRange(rotation=3, scale=0.03, shift=0.02)

Optimizer = Callable[[Any], optax.GradientTransformation]


class Descent(TypedDict, total=False):
    """How an attack descends, in whatever space.

    Attributes:
      loss: What is descended; from `losses`.
      standardized: Whether the loss takes standardized logits, in units of their spread over the
        auxiliary faces, so that leads and priors mean the same for every model. Without it the
        loss takes logits as the model returns them.
      optimizer: From the rate to an optax transformation.
      rate: Alpha in equation 7, above 0.
      falling_rate: Whether the rate falls to zero, as half a cosine wave.
      iterations: Number of updates.
      draws: From how many points that the space draws a restart takes the one of least loss.
      views_per_iteration: Random views of the image in each iteration, rotated, scaled and shifted
        a little; 0 shows it as it is.
      mirror: Probability that a view is a mirror image, in [0, 1].
      noise: Largest standard deviation of Gaussian noise on the pixels of a view.
      total_variation: Weight of the image's total variation.
      l2: Weight of the image's mean squared distance from mid-gray.
      stop_score: Confidence of the target at which a restart ends early.
      stop_patience: Iterations without a lower loss after which a restart ends early.
    """

    loss: losses.LossFn
    standardized: bool
    optimizer: Optimizer
    rate: float
    falling_rate: bool
    iterations: int
    draws: int
    views_per_iteration: int
    mirror: float
    noise: float
    total_variation: float
    l2: float
    stop_score: float | None
    stop_patience: int | None


def lead_of(enough: float) -> losses.LossFn:
    """Makes the max-margin loss that is content with a lead of the target's logit.

    Args:
      enough: The lead; of standardized logits in spreads, see `objectives.spread`.

    Returns:
      The loss.
    """
    return functools.partial(losses.max_margin, enough=enough)


PAPER: Descent = {
    "loss": losses.infomax,
    "standardized": False,
    "optimizer": optax.sgd,
    "rate": 0.1,
    "falling_rate": False,
    "iterations": 100,
    "draws": 1,
    "views_per_iteration": 0,
    "mirror": 0.0,
    "noise": 0.0,
    "total_variation": 0.0,
    "l2": 0.0,
    "stop_score": None,
    "stop_patience": None,
}
FEW_FACES: Descent = PAPER | {  # Tuned on ORL.
    "loss": lead_of(3.6),
    "standardized": True,
    "optimizer": optax.adam,
    "rate": 0.1,
    "iterations": 60,
    "views_per_iteration": 1,
}
MANY_FACES: Descent = FEW_FACES | {  # Tuned on shadow recognizers, on LFW: docs/calibrate.md.
    "loss": lead_of(12.0),
    "falling_rate": True,
    "views_per_iteration": 2,
    "mirror": 0.5,
}
GENERATED: Descent = FEW_FACES | {  # Where every draw is a face.
    "loss": lead_of(4.0),
    "iterations": 40,
    "draws": 600,
    "views_per_iteration": 2,
    "mirror": 0.5,
}
RETOUCHED: Descent = GENERATED | {  # Tuned on shadow recognizers, on LFW.
    "loss": lead_of(12.0),
    "falling_rate": True,
    "draws": 100,
}


def checked(auxiliary: jax.Array | np.ndarray, descent: Descent) -> Descent:
    """Refuses faces and arguments that no recipe takes, before it fits its space.

    Args:
      auxiliary: `[n, height, width, channels]` in [0, 1], unrelated faces.
      descent: With all of its keys, such as `PAPER | {"rate": 1.0}`.

    Returns:
      The descent.

    Raises:
      UserError: If a value is out of range, or a key is unknown.
    """
    check_faces(auxiliary)
    unknown = sorted({*descent} - {*Descent.__annotations__})
    if unknown:
        raise UserError(
            f"{list_some(unknown)} is no argument of a recipe: give some of "
            f"{', '.join(sorted(Descent.__annotations__))}"
        )
    rate, mirror, noise = descent["rate"], descent["mirror"], descent["noise"]
    if not rate > 0:
        raise UserError(f"rate={rate} does not descend: give a rate above 0")
    if not 0 <= mirror <= 1 or not noise >= 0:
        raise UserError(f"mirror={mirror} must be in [0, 1] and noise={noise} at least 0")
    return descent


FROM_TEMPLATES: Descent = MANY_FACES | {"rate": 0.03, "iterations": 1}


def attack(
    apply_fn: ApplyFn, auxiliary: jax.Array | np.ndarray, space: spaces.Space, descent: Descent
) -> Attack:
    """Puts a space and a complete descent together.

    Args:
      apply_fn: `(params, images [n, height, width, channels] in [0, 1]) -> logits [n, classes]`.
      auxiliary: `[n, height, width, channels]` in [0, 1], unrelated faces: by some of them
        standardized logits are measured.
      space: Where to search.
      descent: From `checked`.

    Returns:
      The attack.
    """
    score, patience = descent["stop_score"], descent["stop_patience"]
    return Attack(
        space=spaces.with_penalty(space, descent["total_variation"], descent["l2"]),
        objective=_objective(apply_fn, auxiliary, descent),
        optimizer=_optimizer(descent),
        iterations=descent["iterations"],
        draws=descent["draws"],
        stop=None if score is None and patience is None else StoppingRule(score, patience),
    )


def _objective(apply_fn: ApplyFn, auxiliary: jax.Array | np.ndarray, descent: Descent) -> Objective:
    """Shows the image in so many random views, or as it is."""
    faces = sample(auxiliary) if descent["standardized"] else None
    views = descent["views_per_iteration"]
    if not views:
        return classification(apply_fn, descent["loss"], faces=faces)
    limits = dataclasses.replace(JITTER, flip=descent["mirror"], noise=descent["noise"])
    return classification(apply_fn, descent["loss"], limits, views, faces)


def _optimizer(descent: Descent) -> optax.GradientTransformation:
    """Sets the optimizer's rate."""
    rate = descent["rate"]
    if descent["falling_rate"]:
        return descent["optimizer"](optax.cosine_decay_schedule(rate, descent["iterations"]))
    return descent["optimizer"](rate)
