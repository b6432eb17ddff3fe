"""A linear generator of faces: whitened principal components of the auxiliary photographs.

Searching over its coefficients keeps the attack in the space of faces, where searching over pixels
finds noise that only the attacked network takes for a face.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.fft
from jax.tree_util import Partial

from mia_jax.attack import seeds, spaces
from mia_jax.attack.spaces import Space
from mia_jax.runtime.errors import UserError

_BLOCKS = 4  # Of the Krylov method.
_EXTRA = 16  # How much wider a block is than half of what is asked.


class Eigenfaces(NamedTuple):
    """A face is `mean + coefficients @ components`, with coefficients of unit variance.

    Attributes:
      mean: `[height, width, channels]`, the mean face.
      components: `[components, height, width, channels]`, each scaled by its standard deviation.
    """

    mean: jax.Array
    components: jax.Array


def space(
    auxiliary: np.ndarray,
    components: int,
    *,
    waves: int = 0,
    wave_deviation: float = 0.25,
    seed: seeds.SeedFn = seeds.mean_of_subset,
    spread: float = 0.0,
    prior: float = 1.0,
) -> Space:
    """Searches the coefficients of eigenfaces, completed by waves where asked.

    Args:
      auxiliary: `[n, height, width, channels]` in [0, 1], unrelated faces.
      components: How many eigenfaces; see `fit`.
      waves: How many frequencies of waves along each axis complete them; 0 for none.
      wave_deviation: Standard deviation of a pixel over random draws of the waves.
      seed: The image whose projection a restart starts from; from `seeds`.
      spread: Standard deviation of Gaussian noise on the first coefficients.
      prior: Weight of half the squared coefficients: 1 weighs them as the logarithm of a standard
        normal density.

    Returns:
      A space whose points are `[components + waves**2 - 1]` coefficients, without bounds.

    Raises:
      UserError: If there are too few faces, or pixels, for what is asked.
    """
    basis = orthogonal = fit(auxiliary, components)
    if waves:
        basis = with_waves(basis, waves, wave_deviation)
    return spaces.gaussian(
        Partial(_encode_first, orthogonal, len(basis.components)),
        Partial(decode, basis),
        auxiliary,
        seed=seed,
        spread=spread,
        prior=prior,
    )


def _encode_first(orthogonal: Eigenfaces, size: int, image: jax.Array) -> jax.Array:
    """Projects on the eigenfaces, which come first among so many coefficients."""
    point = encode(orthogonal, image)
    return jnp.pad(point, (0, size - len(point)))


def fit(auxiliary: np.ndarray, components: int) -> Eigenfaces:
    """Finds the principal components of faces and of their mirror images.

    A covariance that has both is that of the symmetric parts and that of the antisymmetric parts of
    the faces, and each of its directions is one or the other. So there are two problems, of half
    the pixels each, and no mirror image is made. Beside the faces this takes half their memory.

    Args:
      auxiliary: `[n, height, width, channels]` in [0, 1].
      components: How many to keep, at most `2 * n - 1`, and at most a pixel's number of them.

    Returns:
      The eigenfaces, the one of largest variance first.

    Raises:
      UserError: If there are too few faces, or numbers in one, for so many components.

    Source: Turk and Pentland 1991, "Eigenfaces for recognition"; the parts are those of Kirby and
      Sirovich 1990, who added the mirror images.
    """
    faces = np.asarray(auxiliary)
    count, height, width, channels = faces.shape
    most = min(2 * count - 1, height * width * channels)
    if not 0 < components <= most:
        raise UserError(
            f"components={components} eigenfaces cannot come from {count} faces of "
            f"{height}x{width} pixels and their mirror images: give 1 to {most}"
        )
    mean = faces.mean(0, dtype=np.float64)
    mean = (mean + mean[:, ::-1]) / 2
    found = [_part(faces, mean, components, sign) for sign in (1, -1)]
    parts = np.concatenate(found).reshape(-1, mean.size)
    order = np.argsort(-np.sum(parts**2, 1, dtype=np.float64), stable=True)[:components]
    scaled = _signed(parts[order])
    return Eigenfaces(
        jnp.asarray(mean, jnp.float32),
        jnp.asarray(scaled.reshape(components, *mean.shape), jnp.float32),
    )


def _part(faces: np.ndarray, mean: np.ndarray, components: int, sign: int) -> np.ndarray:
    """Returns the components of the symmetric (1) or the antisymmetric (-1) parts, as images."""
    count, height, width, channels = faces.shape
    half = (width + 1) // 2 if sign > 0 else width // 2
    left, right = faces[:, :, :half], faces[:, :, ::-1][:, :, :half]
    part = np.add(left, right) if sign > 0 else np.subtract(left, right)
    part -= (mean + sign * mean[:, ::-1])[:, :half]
    weights = np.full((half, 1), np.sqrt(0.5), part.dtype)  # Those of an orthonormal basis:
    weights[width // 2 :] = 0.5  # The middle column of an odd width is its own mirror image.
    part *= weights
    own = principal_components(part.reshape(count, -1), min(components, count, part[0].size))
    own = own.reshape(-1, height, half, channels) * weights
    whole = np.zeros((len(own), height, width, channels), own.dtype)
    whole[:, :, :half] += own
    whole[:, :, width - half :] += sign * own[:, :, ::-1]
    return whole


def principal_components(centered: np.ndarray, components: int) -> np.ndarray:
    """Finds the directions of largest variance.

    Many of all are found exactly, in float64. Few are found in float32 by a block Krylov method,
    which takes products with the values alone, and a fraction of their memory. Its first block is
    drawn from a fixed seed: the same values give the same directions. Of the two signs of a
    direction, its entry of largest magnitude is positive; the first one where several are as large.

    Args:
      centered: `[n, values]`, of mean zero.
      components: How many, at most n and at most the number of values.

    Returns:
      `[components, values]`, orthogonal, each scaled by its standard deviation, the one of largest
      variance first.

    Source: Musco and Musco 2015, "Randomized block Krylov methods for stronger and faster
      approximate singular value decomposition", algorithm 2, with blocks kept orthogonal.
    """
    block = components // 2 + _EXTRA
    if _BLOCKS * block > min(centered.shape) / 2:
        exact = np.asarray(centered, np.float64) / np.sqrt(len(centered))
        return _signed(_rotated(exact, components))
    values = np.asarray(centered, np.float32)
    start = np.random.default_rng(0).standard_normal((values.shape[1], block), np.float32)
    spans = [np.linalg.qr(values @ start).Q]
    while len(spans) < _BLOCKS:
        span = values @ np.linalg.qr((spans[-1].T @ values).T).Q
        for _ in range(2):  # Once leaves rounding along the former blocks.
            for former in spans:
                span -= former @ (former.T @ span)
            span = np.linalg.qr(span).Q
        spans.append(span)
    within = np.concatenate(spans, 1).T @ values
    return _signed(_rotated(within / np.float32(np.sqrt(len(values))), components))


def _rotated(values: np.ndarray, components: int) -> np.ndarray:
    """Rotates rows until they are orthogonal, and returns the longest, the longest one first."""
    # The smaller of the Gram matrix and the covariance has them both, and float64 keeps it exact.
    values = values.astype(np.float64, copy=False)
    if values.shape[0] <= values.shape[1]:
        _, vectors = np.linalg.eigh(values @ values.T)
        return vectors[:, ::-1][:, :components].T @ values
    variances, vectors = np.linalg.eigh(values.T @ values)
    scaled = vectors * np.sqrt(np.maximum(variances, 0))
    return scaled[:, ::-1][:, :components].T


def _signed(rows: np.ndarray) -> np.ndarray:
    """Lets the entry of largest magnitude of each row, the first of several, be positive."""
    places = np.argmax(np.abs(rows), 1)
    return rows * np.where(rows[np.arange(len(rows)), places] < 0, -1, 1)[:, None]


def with_waves(eigenfaces: Eigenfaces, frequencies: int, deviation: float) -> Eigenfaces:
    """Adds smooth waves to the eigenfaces, for features that none of the auxiliary people has.

    A handful of strangers spans no mustache or fringe that none of them wears. Cosine waves of low
    frequency do, and they stay smooth. As in photographs, the higher the frequency the weaker: the
    variance of a wave falls with its frequency.

    Args:
      eigenfaces: From `fit`.
      frequencies: How many frequencies along each axis; the flat one is left out.
      deviation: Standard deviation of a pixel over random draws of all waves, in gray levels.

    Returns:
      The eigenfaces, then `frequencies**2 - 1` waves, the same in all channels.

    Raises:
      UserError: If there are fewer pixels than waves.
    """
    height, width, channels = eigenfaces.mean.shape
    if not 1 < frequencies <= min(height, width):
        raise UserError(
            f"frequencies={frequencies} is not possible with {height}x{width} pixels: "
            f"give 2 to {min(height, width)}"
        )
    across = np.arange(frequencies)
    rows, columns = (grid.ravel()[1:] for grid in np.meshgrid(across, across, indexing="ij"))
    spectra = np.zeros((len(rows), height, width))
    weights = (rows**2 + columns**2) ** -0.25
    # An orthonormal wave has a mean square of 1 / (height * width).
    scale = deviation * np.sqrt(height * width / np.sum(weights**2))
    spectra[np.arange(len(rows)), rows, columns] = scale * weights
    waves = scipy.fft.idctn(spectra, axes=(1, 2), norm="ortho")[..., None].repeat(channels, -1)
    components = [eigenfaces.components, jnp.asarray(waves, jnp.float32)]
    return eigenfaces._replace(components=jnp.concatenate(components))


def decode(eigenfaces: Eigenfaces, coefficients: jax.Array) -> jax.Array:
    """Makes the face of one point of the search space.

    Args:
      eigenfaces: From `fit`.
      coefficients: `[components]`; a standard normal draw gives a plausible face.

    Returns:
      `[height, width, channels]`; may leave [0, 1] a little.
    """
    # As one matrix product: over three axes of pixels XLA's is several times slower on CPU.
    flat = eigenfaces.components.reshape(len(coefficients), -1)
    return eigenfaces.mean + (coefficients @ flat).reshape(eigenfaces.mean.shape)


def encode(eigenfaces: Eigenfaces, image: jax.Array) -> jax.Array:
    """Projects an image on the eigenfaces: the inverse of `decode` within their span.

    Args:
      eigenfaces: From `fit`, whose components are orthogonal; those of `with_waves` are not.
      image: `[height, width, channels]`.

    Returns:
      `[components]`.
    """
    components = eigenfaces.components.reshape(len(eigenfaces.components), -1)
    variances = jnp.sum(components**2, 1)
    # Not a matrix product: on CPU the rounding of one so long depends on the number of threads.
    products = jnp.sum(components * (image - eigenfaces.mean).ravel(), 1)
    # A component without variance has no say, and must not divide by zero.
    return jnp.where(variances > 0, products / jnp.where(variances > 0, variances, 1), 0)
