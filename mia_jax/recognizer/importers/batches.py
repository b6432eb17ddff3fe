"""Whether what a model answers for a picture depends on the pictures beside it."""

from typing import Any

import equinox
import jax
import jax.numpy as jnp
import numpy as np

from mia_jax.recognizer.importers import model
from mia_jax.recognizer.importers.model import Imported
from mia_jax.runtime import bounds
from mia_jax.runtime.errors import UserError

_CLOSE = 1e-3  # Of the largest number in an answer: more than rounding makes of it.
_QUICK = {"xla_backend_optimization_level": 0}  # Compiled once, for two pictures.
_USUAL = (112, 112, 3)  # Of face recognizers' pictures: height, width and channels.


def separate(
    imported: Imported,
    where: str,
    image_shape: tuple[int | None, int | None, int | None],
    bounded: bool = False,
) -> Imported:
    """Compares the answer of two pictures with that of each alone, and shows one at a time if not.

    Graphs whose last step is a reshape to one row, or that normalize over all that they are shown,
    take a batch and answer something that belongs to no picture of it.

    Args:
      imported: The model; one that may only be asked is returned as it is.
      where: What to call it in an error.
      image_shape: Height, width and channels, where the model leaves them open; where these are
        open too, pictures of the commonest size are shown, if the model takes them.
      bounded: Whether what it needs on its way is bounded, before it is compiled.

    Returns:
      The model, or one that is shown one picture at a time.

    Raises:
      UserError: If it fails, or its answers depend on the batch even so.
    """
    sides = [a or b for a, b in zip(imported.image_shape, image_shape, strict=True)]
    shape = [side or usual for side, usual in zip(sides, _USUAL, strict=True)]
    if imported.answer is not None:
        return imported
    pictures = np.random.default_rng(0).random((2, *shape), np.float32)
    try:
        alone = _answers(imported, pictures, bounded, together=False)
    except bounds.TooLargeError as error:
        raise UserError(f"{where}: {error}") from None
    except Exception:  # Whatever a model raises that takes pictures of another size.
        if None in sides[:2]:
            return imported
        raise
    if len(alone) == 2 and _same(imported, pictures, bounded, alone):
        return imported

    def one_at_a_time(params: Any, images: jax.Array) -> jax.Array:
        return jax.vmap(lambda image: imported.apply_fn(params, image[None])[0])(images)

    apart = imported._replace(apply_fn=one_at_a_time)
    if len(alone) != 2 or not _same(apart, pictures, bounded, alone):
        raise UserError(
            f"{where} answers for a picture what depends on the pictures beside it: export it for "
            f"one picture, [1, ...] (it returns {model.spell(alone.shape)} for two, one by one)"
        )
    return apart


def _same(imported: Imported, pictures: np.ndarray, bounded: bool, alone: np.ndarray) -> bool:
    """Tells whether two pictures together get the answers that each gets alone."""
    try:
        together = _answers(imported, pictures, bounded, together=True)
    except Exception:  # Whatever a model raises that takes one picture, and does not say so.
        return False
    if together.shape != alone.shape:
        return False
    largest = np.abs(alone[np.isfinite(alone)]).max(initial=0)
    return np.allclose(together, alone, rtol=0, atol=_CLOSE * largest, equal_nan=True)


def _answers(
    imported: Imported, pictures: np.ndarray, bounded: bool, *, together: bool
) -> np.ndarray:
    """Shows pictures to a model, side by side or one after the other."""
    arrays, rest = equinox.partition(imported.params, _is_array)

    def answer(weights: Any, images: jax.Array) -> jax.Array:
        return imported.apply_fn(equinox.combine(weights, rest), images)

    shown = [pictures] if together else [each[None] for each in pictures]
    traced = jax.jit(answer).trace(arrays, shown[0])
    if bounded:
        bounds.check_traced(traced.jaxpr, len(shown[0]))
    compiled = traced.lower().compile(compiler_options=_QUICK)
    few = [compiled(arrays, jnp.asarray(each)) for each in shown]
    if together:
        return np.asarray(few[0], np.float32)
    return np.concatenate([np.atleast_1d(np.asarray(each, np.float32)) for each in few])


def _is_array(leaf: Any) -> bool:
    """Tells weights from what else a library keeps among them."""
    return isinstance(leaf, jax.Array | np.ndarray)
