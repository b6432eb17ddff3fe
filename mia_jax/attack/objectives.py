"""What an attack descends: how an image looks to the model, as one number.

The second of the attack's parts, after the space that is searched: `inversion.invert` shows the
objective each restart's image and follows its gradient, whatever it is made of.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import equinox
import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

from mia_jax.attack.cases import Case
from mia_jax.attack.losses import LossFn
from mia_jax.recognizer.views import STILL, ViewRange, random_view

ApplyFn = Callable[[Any, jax.Array], jax.Array]

UNIT_FACES = 64  # Enough to know the spread of logits within a few percent.


def no_unit(params: Any) -> None:
    """Measures nothing: the objective takes what the model returns as it is."""
    del params


class Objective(NamedTuple):
    """What an attack descends.

    Attributes:
      look: `(params, unit, image [height, width, channels], case, key) -> the loss, and the model's
        confidences [classes] in the image`. Without a key the image is shown as it is, with no
        randomness.
      measure: `params -> unit`, asked once, before the first iteration: whatever `look` needs to
        know of the model besides an image. By default None.
      faces: `[n, height, width, channels]` in [0, 1]: what `measure` shows to the model, for a
        search that asks; None where it shows nothing.
    """

    look: Callable[..., tuple[jax.Array, jax.Array]]
    measure: Callable[[Any], Any] = no_unit
    faces: jax.Array | None = None


def clip_pixels(image: jax.Array) -> jax.Array:
    """Projects an image onto the image space X of equation 6, [0, 1] for each pixel."""
    return jnp.clip(image, 0, 1)


def classification(
    apply_fn: ApplyFn,
    loss: LossFn,
    views: ViewRange = STILL,
    views_per_iteration: int = 1,
    faces: jax.Array | None = None,
) -> Objective:
    """Asks for an image that a model takes for the target, in random views of it.

    Args:
      apply_fn: `(params, images [n, height, width, channels] in [0, 1]) -> logits [n, classes]`:
        any differentiable model.
      loss: `(logits [classes], target) -> scalar`.
      views: Limits of the random views; all zeros shows the image as it is.
      views_per_iteration: How many random views share an iteration, their losses averaged.
      faces: `[n, height, width, channels]` in [0, 1], n of 2 or more: unrelated faces. With them
        the loss takes standardized logits, centered and in units of their `spread` over `faces`: a
        model of logits `s * logits + c` is attacked as that of `logits`. Without them it takes the
        logits as they are.

    Returns:
      The objective. Where there is no such class, its loss and confidences are NaN, since a
      compiled program can raise nothing. The confidences are always those of the logits as they
      are.

    Source: equations 3 to 6.
    """
    # Without random views, several would be one and the same.
    count = views_per_iteration if views != STILL else 1
    look = Partial(_classify, apply_fn, loss, views, count)
    if faces is None:
        return Objective(look)
    return Objective(look, Partial(_spread_of, apply_fn, faces), faces)


def spread(logits: jax.Array) -> jax.Array:
    """Measures how much a model's logits vary from face to face: the unit of standardized logits.

    It grows with the logits and does not change when a constant is added to all of a face's, so
    that it means the same for classifiers, for the logarithms of probabilities and for cosines of
    any scale.

    Args:
      logits: `[n, classes]`, of n different faces.

    Returns:
      A scalar above 0: the standard deviation over the faces, root mean square over the classes, of
      logits from which each face's mean is taken; 1 where all faces have the same.
    """
    deviation = jnp.sqrt(jnp.mean(jnp.var(standardize(logits, 1), axis=0)))
    return jnp.where(deviation > 0, deviation, 1)


def standardize(logits: jax.Array, unit: jax.Array | float) -> jax.Array:
    """Centers logits, and measures them in a unit.

    Args:
      logits: `[..., classes]`.
      unit: From `spread`.

    Returns:
      `[..., classes]`, of mean 0: the same for logits `s * logits + c` whose unit is `s * unit`.
    """
    return (logits - jnp.mean(logits, axis=-1, keepdims=True)) / unit


def sample(auxiliary: jax.Array | np.ndarray) -> jax.Array:
    """Takes the faces by which `spread` is measured, from all parts of what there is.

    Args:
      auxiliary: `[n, height, width, channels]`.

    Returns:
      `[UNIT_FACES, height, width, channels]`, evenly spaced; all where there are fewer.
    """
    count = min(UNIT_FACES, len(auxiliary))
    return jnp.asarray(auxiliary[np.linspace(0, len(auxiliary) - 1, count).astype(int)])


def measured(objective: Objective, params: Any) -> Objective:
    """Measures now what every call of the attack would measure again.

    Args:
      objective: The objective.
      params: The weights that it will be given; of a model that may only be asked, what the model
        answered about `objective.faces`.

    Returns:
      The objective for these weights.
    """
    unit = equinox.filter_jit(objective.measure)(params)
    return objective._replace(measure=Partial(_known_unit, unit), faces=None)


def together(objectives: Sequence[Objective]) -> Objective:
    """Asks for an image that several models take for the target, such as a target and its students.

    Noise that fools one model rarely fools another; what they learned of the person they share.

    Args:
      objectives: One for each model.

    Returns:
      The mean of the objectives, in the same random views. Its `params` are a tuple, one entry for
      each of the objectives, and its confidences those of the first.

    Source: model augmentation in LOMMA, Nguyen et al. 2023, with three students of the target.
    """
    looks, measures = zip(*((each.look, each.measure) for each in objectives), strict=True)
    return Objective(Partial(_together, looks), Partial(_measure_each, measures))


def with_features(
    objective: Objective, features: ApplyFn, references: jax.Array, weight: float = 1.0
) -> Objective:
    """Asks besides for features like those of photographs.

    Args:
      objective: What is asked for anyway.
      features: `(params, images [n, height, width, channels]) -> features [n, size]`, such as
        `recognizer.features`; of the same params as the objective.
      references: `[classes, size]`: what each class's features should be like, from
        `likely_features`.
      weight: Of the mean squared difference. The image is shown as it is, in no random view.

    Returns:
      The objective with that added.

    Source: the feature regularization of LOMMA, Nguyen et al. 2023, weight 1, and of Diff-MI, Li et
    al. 2024, weight 1.
    """
    return objective._replace(
        look=Partial(_with_features, objective.look, features, references, weight)
    )


def likely_features(
    apply_fn: ApplyFn,
    features: ApplyFn,
    params: Any,
    auxiliary: jax.Array,
    count: int = 5,
    batch: int = 64,
) -> jax.Array:
    """Averages for each class the features of the auxiliary faces that a model likes best for it.

    Args:
      apply_fn: `(params, images [n, height, width, channels] in [0, 1]) -> logits [n, classes]`.
      features: `(params, images) -> features [n, size]`.
      params: Whatever both take first.
      auxiliary: `[n, height, width, channels]` in [0, 1].
      count: How many faces of the highest confidence; Diff-MI takes 30 of many thousands.
      batch: How many faces are shown at a time.

    Returns:
      `[classes, size]`.
    """
    look = equinox.filter_jit(
        lambda params, images: (
            jax.nn.log_softmax(apply_fn(params, images)),
            features(params, images),
        )
    )
    parts = [look(params, auxiliary[i : i + batch]) for i in range(0, len(auxiliary), batch)]
    confidences, seen = (jnp.concatenate(part) for part in zip(*parts, strict=True))
    _, likely = jax.lax.top_k(confidences.T, min(count, len(auxiliary)))
    return jnp.mean(seen[likely], 1)


def _spread_of(apply_fn: ApplyFn, faces: jax.Array, params: Any) -> jax.Array:
    """Shows the faces to a model."""
    return spread(apply_fn(params, faces))


def _known_unit(unit: Any, params: Any) -> Any:
    """Returns what was measured before."""
    del params
    return unit


def _measure_each(
    measures: tuple[Callable[[Any], Any], ...], params: Sequence[Any]
) -> tuple[Any, ...]:
    """Measures each model."""
    return tuple(measure(own) for measure, own in zip(measures, params, strict=True))


def _classify(
    apply_fn: ApplyFn,
    loss: LossFn,
    limits: ViewRange,
    count: int,
    params: Any,
    unit: jax.Array | None,
    image: jax.Array,
    case: Case,
    key: jax.Array | None,
) -> tuple[jax.Array, jax.Array]:
    """Returns the mean loss over the views and the mean confidences `[classes]`."""
    if key is None:
        views = clip_pixels(image)[None]
    else:
        keys = jax.random.split(key, count)
        views = jax.vmap(lambda one: random_view(one, image, limits))(keys)
    logits = apply_fn(params, views)
    told = logits if unit is None else standardize(logits, unit)
    losses = jax.vmap(loss, (0, None))(told, case.target)
    exists = (case.target >= 0) & (case.target < logits.shape[-1])
    confidences = jnp.mean(jax.nn.softmax(logits), 0)
    return jnp.where(exists, jnp.mean(losses), jnp.nan), jnp.where(exists, confidences, jnp.nan)


def _together(
    looks: tuple[Callable[..., tuple[jax.Array, jax.Array]], ...],
    params: Sequence[Any],
    units: Sequence[Any],
    image: jax.Array,
    case: Case,
    key: jax.Array | None,
) -> tuple[jax.Array, jax.Array]:
    """Returns the mean of the losses, and the first confidences."""
    seen = [
        look(own, unit, image, case, key)
        for look, own, unit in zip(looks, params, units, strict=True)
    ]
    return jnp.mean(jnp.stack([loss for loss, _ in seen])), seen[0][1]


def _with_features(
    look: Callable[..., tuple[jax.Array, jax.Array]],
    features: ApplyFn,
    references: jax.Array,
    weight: float,
    params: Any,
    unit: Any,
    image: jax.Array,
    case: Case,
    key: jax.Array | None,
) -> tuple[jax.Array, jax.Array]:
    """Adds the mean squared difference of the features."""
    loss, confidences = look(params, unit, image, case, key)
    difference = features(params, clip_pixels(image)[None])[0] - references[case.target]
    return loss + weight * jnp.mean(difference**2), confidences
