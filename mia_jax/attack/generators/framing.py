"""The crop and the light of the auxiliary faces, for a generator that was trained on others.

A recognizer knows faces in one framing and one range of gray levels. Both are fitted to the
auxiliary faces, and to nothing of the people under attack.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

_SIZES = np.linspace(0.4, 1.0, 25)  # Sides of a crop, as parts of the generator's image.
_PLACES = 25  # Of a crop along each axis.
_SEARCHED = 32  # Pixels of the longer side of the mean faces that are compared.


class Framing(NamedTuple):
    """A linear crop, then an affine map of gray levels that differs from face to face.

    Attributes:
      rows: `[height, side]`: each row of the crop as a mean of rows.
      columns: `[side, width]`: the same for columns.
      center: Mean of the cropped faces' pixels.
      contrast: Mean logarithm of the factor that gives them the auxiliary faces' deviations.
      contrast_deviation: Standard deviation of that logarithm over the auxiliary faces.
      brightness: Mean of the auxiliary faces' means.
      brightness_deviation: Standard deviation of them.
    """

    rows: jax.Array
    columns: jax.Array
    center: jax.Array
    contrast: jax.Array
    contrast_deviation: jax.Array
    brightness: jax.Array
    brightness_deviation: jax.Array


def fit(faces: np.ndarray, auxiliary: np.ndarray) -> Framing:
    """Finds the crop of a generator's mean face that correlates best with the auxiliary mean face.

    Args:
      faces: `[n, side, side, channels]`, draws of the generator.
      auxiliary: `[m, height, width, channels]` in [0, 1], unrelated faces.

    Returns:
      The framing.
    """
    faces, auxiliary = np.asarray(faces, np.float64), np.asarray(auxiliary, np.float64)
    height, width = auxiliary.shape[1:3]
    rows, columns = (
        resampling(faces.shape[1], start, size, count)
        for (start, size), count in zip(
            search(faces.mean(0), auxiliary.mean(0)), (height, width), strict=True
        )
    )
    columns = columns.T
    cropped = np.einsum("hr,nrcx,cw->nhwx", rows, faces, columns, optimize=True)
    own, theirs = _log_deviations(cropped), _log_deviations(auxiliary)
    means = auxiliary.mean((1, 2, 3))
    numbers = (cropped.mean(), theirs.mean() - own.mean(), theirs.std(), means.mean(), means.std())
    return Framing(*(jnp.asarray(each, jnp.float32) for each in (rows, columns, *numbers)))


def apply(
    framing: Framing, picture: jax.Array, contrast: jax.Array, brightness: jax.Array
) -> jax.Array:
    """Crops a picture and gives it a light.

    Args:
      framing: From `fit`.
      picture: `[side, side, channels]`.
      contrast: A scalar, in standard deviations of the auxiliary faces' contrasts.
      brightness: The same for their brightness.

    Returns:
      `[height, width, channels]`; may leave [0, 1].
    """
    cropped = jnp.einsum("hr,rcx,cw->hwx", framing.rows, picture, framing.columns)
    factor = jnp.exp(framing.contrast + framing.contrast_deviation * contrast)
    middle = framing.brightness + framing.brightness_deviation * brightness
    return middle + factor * (cropped - framing.center)


def search(face: np.ndarray, wanted: np.ndarray) -> tuple[tuple[float, float], ...]:
    """Finds the crop of one face that looks most like another.

    Args:
      face: `[side, side, channels]`, the generator's mean face.
      wanted: `[height, width, channels]`, the auxiliary faces'.

    Returns:
      The first row and the number of rows of the crop whose gray levels correlate best, then the
      same for columns, in pixels of the generator and not always whole.
    """
    lengths = np.array(wanted.shape[:2])
    small = np.maximum(1, np.round(_SEARCHED * lengths / lengths.max()).astype(int))
    down, across = (resampling(n, 0, n, count) for n, count in zip(lengths, small, strict=True))
    goal = _standardized(down @ wanted.mean(-1) @ across.T)
    side, gray = len(face), face.mean(-1)
    best = -np.inf
    found: tuple[tuple[float, float], ...] = ()
    for size in _SIZES:
        spans = size * side * lengths / lengths.max()
        places = [np.linspace(0, side - span, _PLACES) for span in spans]
        rows, columns = (
            np.stack([resampling(side, start, span, count) for start in starts])
            for span, starts, count in zip(spans, places, small, strict=True)
        )
        crops = np.einsum("thc,lwc->tlhw", rows @ gray, columns, optimize=True)
        scores = np.einsum("tlhw,hw->tl", _standardized(crops), goal)
        if scores.max() > best:
            best = scores.max()
            chosen = np.unravel_index(scores.argmax(), scores.shape)
            starts = [float(own[place]) for own, place in zip(places, chosen, strict=True)]
            found = tuple(zip(starts, map(float, spans), strict=True))
    return found


def resampling(length: int, start: float, size: float, count: int) -> np.ndarray:
    """Resamples part of an axis, with a triangular filter that avoids aliasing.

    Args:
      length: Pixels of the axis.
      start: Where the part begins, in pixels.
      size: How long it is.
      count: Pixels to make of it.

    Returns:
      `[count, length]`, whose rows sum to one.
    """
    step = size / count
    centers = start + (np.arange(count)[:, None] + 0.5) * step
    distances = np.abs(np.arange(length) + 0.5 - centers) / max(1, step)
    weights = np.maximum(0, 1 - distances)
    return weights / weights.sum(1, keepdims=True)


def _standardized(images: np.ndarray) -> np.ndarray:
    """Gives `[..., height, width]` mean zero and norm one; flat ones stay zero."""
    centered = images - images.mean((-2, -1), keepdims=True)
    norms = np.linalg.norm(centered, axis=(-2, -1), keepdims=True)
    return centered / np.maximum(norms, 1e-9)


def _log_deviations(images: np.ndarray) -> np.ndarray:
    """Returns the logarithms of the deviations of each image's pixels; flat ones count as tiny."""
    return np.log(np.maximum(images.std((1, 2, 3)), 1e-3))
