"""Local components: a face as overlapping windows, each with principal components of its own.

A handful of strangers spans few whole faces, but many combinations of eyes, noses and mouths: each
window combines them by itself. The windows are blended by weights that sum to one everywhere. How
much they follow each other is one number, from eigenfaces at 0 to windows that ignore each other
at 1.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

from mia_jax.attack import seeds, spaces
from mia_jax.attack.generators.eigenfaces import Eigenfaces, decode, principal_components
from mia_jax.attack.spaces import Space
from mia_jax.runtime.errors import UserError


class Components(NamedTuple):
    """Local components of faces, as the whole images that they add to the mean face.

    Attributes:
      faces: The mean face and `[windows * components, height, width, channels]`: the images of
        coordinates that are independent and of unit variance.
      corners: `[windows, 2]`, the upper left corner of each window.
      windows: `[windows, components, size, size, channels]`: each window's principal components,
        scaled by their standard deviations, before they are blended.
      whiten: `[windows * components, windows * components]`, from the windows' own coefficients to
        the coordinates.
    """

    faces: Eigenfaces
    corners: jax.Array
    windows: jax.Array
    whiten: jax.Array


def space(
    auxiliary: np.ndarray,
    *,
    size: float = 0.375,
    windows: int = 6,
    components: int = 20,
    independence: float = 0.3,
    seed: seeds.SeedFn = seeds.mean_of_subset,
    spread: float = 0.0,
    prior: float = 1.0,
) -> Space:
    """Searches the coordinates of local components.

    Args:
      auxiliary: `[n, height, width, channels]` in [0, 1], unrelated faces.
      size: As in `fit`.
      windows: As in `fit`.
      components: As in `fit`.
      independence: As in `fit`.
      seed: The image whose projection a restart starts from; from `seeds`.
      spread: Standard deviation of Gaussian noise on the first coordinates.
      prior: Weight of half the squared coordinates: 1 weighs them as the logarithm of a standard
        normal density.

    Returns:
      A space whose points are `[windows**2 * components]` coordinates, without bounds.

    Raises:
      UserError: If an argument is out of range.
    """
    fitted = fit(auxiliary, size, windows, components, independence)
    return spaces.gaussian(
        Partial(encode, fitted),
        Partial(decode, fitted.faces),
        auxiliary,
        seed=seed,
        spread=spread,
        prior=prior,
    )


def fit(
    auxiliary: np.ndarray,
    size: float = 0.375,
    windows: int = 6,
    components: int = 20,
    independence: float = 0.3,
) -> Components:
    """Finds the principal components of each window, and how the windows go together.

    The covariance of all windows' coefficients is the faces' own, shrunk toward that of windows
    that ignore each other: `(1 - independence) * R + independence * I`. A few faces tell `R` badly;
    shrunk, it leaves combinations possible that none of them has.

    Args:
      auxiliary: `[n, height, width, channels]` in [0, 1].
      size: Side of a window, as a part of the image's shorter side, in (0, 1].
      windows: How many along each axis, evenly spaced.
      components: How many of each window, at most `2 * n - 1`.
      independence: In (0, 1].

    Returns:
      The components, the coordinate of largest variance first.

    Raises:
      UserError: If an argument is out of range, or the windows leave gaps between them.

    Source: modular eigenspaces, Pentland, Moghaddam and Starner 1994; the shrinkage is that of
      Ledoit and Wolf 2004.
    """
    auxiliary = np.asarray(auxiliary)
    count, height, width, channels = auxiliary.shape
    if not 0 < independence <= 1:
        raise UserError(f"independence={independence} must be above 0 and at most 1")
    if not 0 < components < 2 * count:
        raise UserError(
            f"components={components} of each window cannot come from {count} faces and their "
            f"mirror images: give 1 to {2 * count - 1}"
        )
    corners, side = _corners(height, width, size, windows)
    mean = auxiliary.mean(0, dtype=np.float64)
    mean = ((mean + mean[:, ::-1]) / 2).astype(np.float32)
    bases, coefficients = [], []
    for i, j in corners:  # One window at a time: all of them overlap, and outgrow the faces.
        here = slice(i, i + side), slice(j, j + side)
        both = (each[:, *here] for each in (auxiliary, auxiliary[:, :, ::-1]))
        cut = (np.concatenate([*both]) - mean[here]).reshape(2 * count, -1)
        bases.append(principal_components(cut, components))
        coefficients.append(_project(bases[-1], cut.T).T)
    # [faces, windows * components], each of unit variance.
    own = np.concatenate(coefficients, 1)
    correlations = own.T @ own / len(own)
    shrunk = (1 - independence) * correlations + independence * np.eye(len(correlations))
    variances, vectors = (array[..., ::-1] for array in np.linalg.eigh(shrunk))
    windowed = np.stack(bases).reshape(len(corners), components, side, side, channels)
    images = _blend(windowed, corners, mean.shape)
    mixed = (vectors * np.sqrt(variances)).T @ images.reshape(len(vectors), -1)
    return Components(
        Eigenfaces(
            jnp.asarray(mean, jnp.float32),
            jnp.asarray(mixed.reshape(-1, *mean.shape), jnp.float32),
        ),
        jnp.asarray(corners),
        jnp.asarray(windowed, jnp.float32),
        jnp.asarray((vectors / np.sqrt(variances)).T, jnp.float32),
    )


def encode(fitted: Components, image: jax.Array) -> jax.Array:
    """Projects each window of an image on its components, and whitens the coefficients.

    Args:
      fitted: From `fit`.
      image: `[height, width, channels]`.

    Returns:
      `[windows * components]` coordinates. `eigenfaces.decode` of them blends the windows'
      projections.
    """
    centered = image - fitted.faces.mean

    def project(corner: jax.Array, basis: jax.Array) -> jax.Array:
        window = jax.lax.dynamic_slice(centered, (*corner, 0), basis.shape[1:])
        return _project(basis.reshape(len(basis), -1), window.ravel())

    return fitted.whiten @ jax.vmap(project)(fitted.corners, fitted.windows).ravel()


def _project(basis: Any, values: Any) -> Any:
    """Returns the coefficients of values `[pixels, ...]` on orthogonal rows; NumPy or JAX."""
    variances = (basis**2).sum(1)
    # A component without variance has no say, and must not divide by zero.
    inverse = (variances > 1e-12) / (variances + (variances <= 1e-12))
    return (inverse * (basis @ values).T).T


def _corners(height: int, width: int, size: float, windows: int) -> tuple[np.ndarray, int]:
    """Spaces windows evenly: their corners `[windows**2, 2]`, and their side in pixels."""
    side = round(size * min(height, width))
    if not 1 <= side <= min(height, width) or windows < 1:
        raise UserError(
            f"size={size} and windows={windows} do not cut {height}x{width} pixels: give a size in "
            "(0, 1] and at least one window"
        )
    rows, columns = (
        np.round(np.linspace(0, length - side, windows)).astype(int) for length in (height, width)
    )
    gap = max(np.diff([*rows, height]).max(), np.diff([*columns, width]).max())
    if gap > side:
        raise UserError(
            f"windows={windows} of {side} pixels leave gaps in {height}x{width} pixels: give more, "
            f"or a larger size than {size}"
        )
    return np.stack([each.ravel() for each in np.meshgrid(rows, columns, indexing="ij")], 1), side


def _blend(bases: np.ndarray, corners: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Lays windows `[windows, components, side, side, channels]` into images, one each.

    A window's weight falls like a cosine bell to its edge; divided by the sum of all windows'
    weights there, they sum to one at every pixel.
    """
    count, components, side = bases.shape[:3]
    bell = np.sin(np.pi * (np.arange(side) + 0.5) / side) ** 2
    weight = np.outer(bell, bell)[..., None]
    total = np.zeros((*shape[:2], 1))
    images = np.zeros((count, components, *shape), np.float32)
    for image, basis, (row, column) in zip(images, bases, corners, strict=True):
        total[row : row + side, column : column + side] += weight
        image[:, row : row + side, column : column + side] = weight * basis
    return images / total.astype(np.float32)
