"""A model from elsewhere: a function of weights and pictures, whatever wrote it down."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from mia_jax.recognizer.architectures import ApplyFn
from mia_jax.runtime import bounds
from mia_jax.runtime.errors import UserError


class Imported(NamedTuple):
    """A model from elsewhere.

    Attributes:
      apply_fn: From weights and pictures `[n, height, width, channels]`, as the model takes them,
        to `[n, outputs]`: logits, probabilities or features, as the model gives them.
      params: The weights, a pytree of arrays.
      image_shape: Height, width and channels of the pictures; None for what the model leaves open.
      answer: Of a model that may only be asked, what it answers: the same as `apply_fn`, of NumPy,
        without JAX around it; else None.
    """

    apply_fn: ApplyFn
    params: Any
    image_shape: tuple[int | None, int | None, int | None]
    answer: Callable[[np.ndarray], np.ndarray] | None = None


def channels_first(where: str, shape: Sequence[int | None]) -> bool:
    """Tells in which order a model takes pictures, by the side that is 1 or 3.

    Args:
      where: Of whom this is said, in an error.
      shape: Of a batch of pictures; None for sides that are left open.

    Returns:
      Whether the channels come second, as where nothing is known, or last.

    Raises:
      UserError: If these are no pictures.
    """
    if len(shape) == 4 and shape[1] in (1, 3):
        return True
    if len(shape) == 4 and shape[3] in (1, 3):
        return False
    if len(shape) == 4 and shape[1] is None:
        return True
    raise UserError(
        f"{where} takes arrays of shape {spell(shape)}: pictures are needed, "
        "[n, 1 or 3, height, width] or [n, height, width, 1 or 3]"
    )


def spell(shape: Sequence[int | None]) -> str:
    """Writes a shape, with a question mark for each side that is left open."""
    return f"[{', '.join('?' if side is None else str(side) for side in shape)}]"


def image_shape(
    where: str, shape: Sequence[int | None]
) -> tuple[int | None, int | None, int | None]:
    """Tells the shape of a model's pictures, whatever their order.

    Args:
      where: Of whom this is said, in an error.
      shape: Of a batch of pictures; None for sides that are left open.

    Returns:
      Height, width and channels.

    Raises:
      UserError: If these are no pictures, or too large.
    """
    first = channels_first(where, shape)
    _, a, b, c = shape
    found = (b, c, a) if first else (a, b, c)
    bounds.check_sides(where, [side for side in found if side is not None])
    return found


def check_batch(where: str, count: int | None) -> None:
    """Refuses a model for batches of a certain size, other than 1.

    Args:
      where: Of whom this is said.
      count: The size; None for any.

    Raises:
      UserError: If the model takes several pictures at a time, and no other number.
    """
    if count not in (None, 1):
        raise UserError(
            f"{where} takes {count} pictures at a time and no other number: export it with a "
            "dynamic batch, or for one picture"
        )


def vectors(where: str, outputs: Any) -> Any:
    """Checks that a model gives a vector for each picture, and drops sides of length 1 after it.

    Args:
      where: Of whom this is said.
      outputs: What the model returned.

    Returns:
      `[n, outputs]`.

    Raises:
      UserError: If it returned anything else, as an object detector does.
    """
    shape = tuple(outputs.shape)
    if len(shape) < 2 or any(side != 1 for side in shape[2:]):
        raise UserError(
            f"{where} returns {spell(shape)} where a recognizer returns [n, classes] or "
            "[n, features]: is it a detector, or one that keeps positions?"
        )
    return outputs.reshape(shape[:2])
