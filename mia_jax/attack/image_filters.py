"""Filters of points that are images: what the paper leaves for future work, section 6.

All can be compiled and mapped over restarts. Outside of an image its edge is repeated.
"""

import dm_pix
import jax
import jax.numpy as jnp
from jax.tree_util import Partial

from mia_jax.attack.filters import Filter, Step


def total_variation(weight: float = 0.05, steps: int = 20) -> Filter:
    """Smooths an image and keeps its edges.

    Args:
      weight: Of the isotropic total variation, against half the squared difference.
      steps: Of the dual descent; about 100 find the minimum.

    Returns:
      The filter of images `[height, width, channels]`, each channel on its own.

    Source: Chambolle 2004, "An algorithm for total variation minimization and applications".
    """
    return Partial(_total_variation, weight, steps)


def median(size: int = 3) -> Filter:
    """Takes the median of each pixel's neighborhood.

    Args:
      size: The neighborhood's side, odd.

    Returns:
      The filter of images `[height, width, channels]`.
    """
    return Partial(_median, size)


def bilateral(size: int = 5, distance: float = 1.5, difference: float = 0.1) -> Filter:
    """Averages each pixel with those around that are like it.

    Args:
      size: The neighborhood's side, odd.
      distance: Standard deviation of the weight over the distance, in pixels.
      difference: Standard deviation of the weight over the gray levels; colors differ by their
        Euclidean distance.

    Returns:
      The filter of images `[height, width, channels]`.

    Source: Tomasi and Manduchi 1998, "Bilateral filtering for gray and color images".
    """
    return Partial(_bilateral, size, distance, difference)


def open_close(size: int = 3) -> Filter:
    """Removes bright spots smaller than a square, then dark ones.

    Args:
      size: The square's side, odd.

    Returns:
      The filter of images `[height, width, channels]`: the opening, then the closing.

    Source: Serra 1982, "Image analysis and mathematical morphology".
    """
    return Partial(_open_close, size)


def mean_of_morphology(size: int = 3) -> Filter:
    """Averages the image opened and closed with the image closed and opened.

    A stand-in for the "mediated morphological filters" that the paper cites, whose definition was
    not to be found.

    Args:
      size: The square's side, odd.

    Returns:
      The filter of images `[height, width, channels]`.
    """
    return Partial(_mean_of_morphology, size)


def lateral_inhibition(amount: float = 0.5, center: float = 1.0, surround: float = 2.0) -> Filter:
    """Raises the contrast at edges, as neighboring cells of an eye inhibit each other.

    A stand-in for the "Chevreul-Mach adaptation" that the paper cites, whose definition was not to
    be found: the image plus a difference of Gaussians, which makes Mach's bands.

    Args:
      amount: Of the difference.
      center: Standard deviation of the narrower Gaussian, in pixels.
      surround: Standard deviation of the wider one.

    Returns:
      The filter of images `[height, width, channels]`; they are clipped to [0, 1].
    """
    return Partial(_lateral_inhibition, amount, center, surround)


def _neighborhoods(image: jax.Array, size: int) -> jax.Array:
    """Returns the image shifted to each place of a square, `[size**2, height, width, channels]`."""
    margin, (height, width, _) = size // 2, image.shape
    padded = jnp.pad(image, [(margin, margin), (margin, margin), (0, 0)], mode="edge")
    shifts = [(down, across) for down in range(size) for across in range(size)]
    return jnp.stack([padded[i : i + height, j : j + width] for i, j in shifts])


def _total_variation(weight: float, steps: int, image: jax.Array, step: Step) -> jax.Array:
    """Descends the dual: an image's divergence-free part has no variation to lose."""
    del step

    def smoothed(dual: jax.Array) -> jax.Array:
        down, across = jnp.pad(dual, [(0, 0), (1, 0), (1, 0), (0, 0)])
        return image + jnp.diff(down, axis=0)[:, 1:] + jnp.diff(across, axis=1)[1:]

    def descend(dual: jax.Array, _: None) -> tuple[jax.Array, None]:
        seen = smoothed(dual)
        down = jnp.pad(jnp.diff(seen, axis=0), [(0, 1), (0, 0), (0, 0)])
        across = jnp.pad(jnp.diff(seen, axis=1), [(0, 0), (0, 1), (0, 0)])
        slopes = jnp.stack([down, across])
        # A quarter: one over twice the number of axes.
        norm = 1 + jnp.linalg.norm(slopes, axis=0) / 4 / weight
        return (dual + slopes / 4) / norm, None

    dual, _ = jax.lax.scan(descend, jnp.zeros((2, *image.shape), image.dtype), None, steps)
    return smoothed(dual)


def _median(size: int, image: jax.Array, step: Step) -> jax.Array:
    """Sorts each neighborhood."""
    del step
    return jnp.median(_neighborhoods(image, size), 0)


def _bilateral(
    size: int, distance: float, difference: float, image: jax.Array, step: Step
) -> jax.Array:
    """Weighs each neighborhood."""
    del step
    around = _neighborhoods(image, size)
    places = jnp.arange(size) - size // 2
    near = (places[:, None] ** 2 + places**2).reshape(-1, 1, 1, 1) / distance**2
    like = jnp.sum((around - image) ** 2, -1, keepdims=True) / difference**2
    weights = jnp.exp(-(near + like) / 2)
    return jnp.sum(weights * around, 0) / jnp.sum(weights, 0)


def _erode(image: jax.Array, size: int) -> jax.Array:
    """Takes the least of each neighborhood."""
    return jnp.min(_neighborhoods(image, size), 0)


def _dilate(image: jax.Array, size: int) -> jax.Array:
    """Takes the largest of each neighborhood."""
    return jnp.max(_neighborhoods(image, size), 0)


def _open_close(size: int, image: jax.Array, step: Step) -> jax.Array:
    """Opens, then closes."""
    del step
    opened = _dilate(_erode(image, size), size)
    return _erode(_dilate(opened, size), size)


def _mean_of_morphology(size: int, image: jax.Array, step: Step) -> jax.Array:
    """Closing is opening of the negative."""
    return (_open_close(size, image, step) + 1 - _open_close(size, 1 - image, step)) / 2


def _lateral_inhibition(
    amount: float, center: float, surround: float, image: jax.Array, step: Step
) -> jax.Array:
    """Adds the difference of two blurred images."""
    del step
    margin = 8
    padded = jnp.pad(image, [(margin, margin), (margin, margin), (0, 0)], mode="edge")
    narrow, wide = (
        dm_pix.gaussian_blur(padded, deviation, 2 * margin + 1, padding="VALID")
        for deviation in (center, surround)
    )
    return jnp.clip(image + amount * (narrow - wide), 0, 1)
