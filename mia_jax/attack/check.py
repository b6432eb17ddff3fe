"""Looks at the attacked model before any compute is spent on it.

What is certainly wrong is an error. What only looks wrong, such as logits that hardly differ, may
be a barely trained model as well, and is a warning.
"""

from typing import Any, NamedTuple

import equinox
import jax
import jax.numpy as jnp
import numpy as np
import scipy.special

from mia_jax.attack import objectives
from mia_jax.attack.losses import LossFn
from mia_jax.attack.objectives import ApplyFn
from mia_jax.recognizer import answers
from mia_jax.runtime.errors import UserError

_ROUNDING = 1e-3  # Of what resizing leaves beyond [0, 1].
_FLAT, _ONE_HOT = 0.05, 1e-3  # Of the highest confidence, above chance and below certainty.


class ModelCheck(NamedTuple):
    """What a few images showed of a model.

    Attributes:
      classes: Number of registered identities.
      returns: "logits" or "probabilities".
      largest_gradient: Largest absolute derivative of the loss with respect to a pixel; None where
        no loss was given.
      warnings: What looks wrong but may be right, a sentence each.
    """

    classes: int
    returns: str
    largest_gradient: float | None
    warnings: tuple[str, ...]


def check_model(
    apply_fn: ApplyFn,
    params: Any,
    images: jax.Array,
    target: int,
    loss: LossFn | None,
    *,
    loss_takes: str = "logits",
    standardized: bool = False,
) -> ModelCheck:
    """Checks on a few images that a model can be attacked with this loss.

    Args:
      apply_fn: `(params, images) -> logits [n, classes]`.
      params: Whatever `apply_fn` takes first: a pytree of arrays and of anything else, such as the
        functions that some libraries keep among the weights.
      images: `[n, height, width, channels]` in [0, 1], two or more that differ, such as seeds.
      target: The targeted class.
      loss: The loss that the attack will descend, with its margin if it has one; None for an attack
        that only asks the model, which needs no gradient: it is called as it is then, and may be
        any Python function.
      loss_takes: "logits" (as every loss of this package) or "probabilities".
      standardized: Whether the loss will be given standardized logits, as most recipes do.

    Returns:
      What was seen.

    Raises:
      UserError: If the output is not `[n, classes]`, not finite, not what the loss takes, the same
        for all images, or blind to the image; or if there is no such class.
    """
    count = images.shape[0]
    apply = apply_fn if loss is None else equinox.filter_jit(apply_fn)
    outputs = np.asarray(apply(params, images))
    if outputs.ndim != 2 or outputs.shape[0] != count or outputs.shape[1] < 2:
        raise UserError(
            f"the model returns {outputs.shape} for {count} images: "
            f"[{count}, classes] with at least 2 classes is needed"
        )
    classes = outputs.shape[1]
    if not 0 <= target < classes:
        raise UserError(f"target={target} is not one of the model's classes, 0 to {classes - 1}")
    if not np.isfinite(outputs).all():
        raise UserError(
            "the model returns values that are not finite for images in [0, 1]: check its weights"
        )
    found = answers.look(outputs)
    # What may be meant as the loss takes it is; of its oddity there is a warning.
    returns = loss_takes if loss_takes in found.fits else found.usual or answers.LOGITS
    if returns != loss_takes:
        raise UserError(
            f"the model returns {returns}, but the loss takes {loss_takes}: "
            + (
                "give the model without its softmax, or wrap it in from_confidences"
                if returns == answers.PROBABILITIES
                else "give the model with its softmax, or choose a loss of logits"
            )
        )
    warnings = [*answers.warning("the model", found, returns)]
    spread = np.std(outputs, 0).max()
    if returns == answers.LOGITS and 0 < spread < 0.03:
        brighter = np.std(np.asarray(apply(params, 255 * images)), 0).max()
        if 0.5 < brighter < 100:
            warnings.append(
                f"the model hardly tells images in [0, 1] apart (its logits vary by {spread:.2g}, "
                f"and by {brighter:.2g} when the images are in [0, 255]): if it takes images in "
                "[0, 255], wrap it so that it takes images in [0, 1]; or it is barely trained"
            )
    if not warnings:  # Of one cause one warning.
        confidences = (
            outputs if returns == answers.PROBABILITIES else scipy.special.softmax(outputs, 1)
        )
        warnings += _scale(confidences)
    if spread == 0:
        raise UserError(
            f"the model returns the same {returns} for {count} different images in [0, 1]: "
            "check its weights and the range of values that it takes"
        )

    if loss is None:
        return ModelCheck(classes, returns, None, tuple(warnings))

    unit = objectives.spread(jnp.asarray(outputs))

    def largest_gradient(function: LossFn) -> float:
        """Returns the largest absolute derivative of a function of the logits over all images."""

        def of_image(image: jax.Array, weights: Any) -> jax.Array:
            logits = apply_fn(weights, image[None])[0]
            told = objectives.standardize(logits, unit) if standardized else logits
            return function(told, jnp.asarray(target))

        gradients = equinox.filter_jit(equinox.filter_vmap(jax.grad(of_image), in_axes=(0, None)))
        return float(jnp.max(jnp.abs(gradients(images, params))))

    largest = largest_gradient(loss)
    if not np.isfinite(largest):
        raise UserError("the gradient of the loss with respect to the image is not finite")
    if largest == 0:
        # A loss with a margin is flat where the target leads by enough: that is no fault.
        if largest_gradient(lambda logits, label: logits[label]) == 0:
            raise UserError(
                "the gradient of the loss with respect to the image is zero everywhere: the model "
                "is not differentiable, as if its outputs were rounded (attack it by asking: "
                "scenario confidences), or its confidences are saturated (choose a loss of logits)"
            )
        warnings.append(
            f"the gradient of the loss is zero for all {count} images: the confidences are "
            "saturated (choose a loss of logits), or the target leads by the loss's margin already"
        )
    return ModelCheck(classes, returns, largest, tuple(warnings))


def _scale(confidences: np.ndarray) -> list[str]:
    """Says where confidences `[n, classes]` are flat or one-hot, so that their scale decides."""
    highest = np.median(confidences.max(1))
    chance = 1 / confidences.shape[1]
    if highest < chance + _FLAT * (1 - chance):
        found = "flat"
    elif highest > 1 - _ONE_HOT:
        found = "one-hot"
    else:
        return []
    return [
        f"the model's confidences of {len(confidences)} unrelated faces are {found} (the highest "
        f"is {highest:.2g} in the median, chance is {chance:.2g}): a loss of confidences (infomax, "
        "least_squares, shortfall) then depends on the scale of the logits, and so do the "
        "confidences of clones; check the temperature, or give a loss of standardized logits"
    ]


def check_faces(faces: jax.Array | np.ndarray) -> None:
    """Refuses an array that is no batch of faces as an attack takes them.

    Args:
      faces: `[n, height, width, channels]` floating-point numbers in [0, 1], 1 or 3 channels.

    Raises:
      UserError: If it is of another type, layout or range, or not finite.
    """
    if isinstance(faces, jax.core.Tracer):
        return
    array = np.asarray(faces)
    if not np.issubdtype(array.dtype, np.floating):
        raise UserError(
            f"the faces are {array.dtype}: give float32 in [0, 1], such as images / 255 of 8 bits"
        )
    if array.ndim != 4 or array.shape[-1] not in (1, 3) or not array.size:
        first = array.ndim == 4 and array.shape[1] in (1, 3)
        raise UserError(
            f"the faces have the shape {array.shape}: give [n, height, width, channels], of 1 or "
            f"3 channels{', which come last: faces.transpose(0, 2, 3, 1)' if first else ''}"
        )
    least, most = float(array.min()), float(array.max())
    if not -_ROUNDING <= least <= most <= 1 + _ROUNDING:
        raise UserError(
            f"the faces have values from {least:.3g} to {most:.3g}: give numbers in [0, 1]"
        )


def from_confidences(apply_fn: ApplyFn) -> ApplyFn:
    """Turns a model that returns probabilities into one that returns logits.

    Args:
      apply_fn: `(params, images) -> probabilities [n, classes]`.

    Returns:
      `(params, images) -> logits [n, classes]` whose softmax are those probabilities.
    """

    def logits(params: Any, images: jax.Array) -> jax.Array:
        tiny = jnp.finfo(jnp.float32).tiny
        return jnp.log(jnp.maximum(apply_fn(params, images), tiny))

    return logits
