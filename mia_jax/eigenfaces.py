"""A linear generator of faces: whitened principal components of the auxiliary photographs.

Searching over its coefficients keeps the attack in the space of faces, where searching over pixels
finds noise that only the attacked network takes for a face.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np


class Eigenfaces(NamedTuple):
    """A face is `mean + coefficients @ components`, with coefficients of unit variance.

    Attributes:
      mean: `[height, width, channels]`, the mean face.
      components: `[components, height, width, channels]`, each scaled by its standard deviation.
    """

    mean: jax.Array
    components: jax.Array


def fit(auxiliary: np.ndarray, components: int) -> Eigenfaces:
    """Finds the principal components of faces and of their mirror images.

    Args:
      auxiliary: `[n, height, width, channels]` in [0, 1].
      components: How many to keep, at most `2 * n - 1`.

    Returns:
      The eigenfaces, the one of largest variance first.

    Raises:
      ValueError: If there are too few faces for so many components.

    Source: Turk and Pentland 1991, "Eigenfaces for recognition".
    """
    auxiliary = np.asarray(auxiliary)
    faces = np.concatenate([auxiliary, auxiliary[:, :, ::-1]])
    if not 0 < components < len(faces):
        raise ValueError(
            f"components={components} eigenfaces cannot come from {len(auxiliary)} faces and their "
            f"mirror images: give 1 to {len(faces) - 1}"
        )
    mean = faces.mean(0)
    centered = (faces - mean).reshape(len(faces), -1)
    # The Gram matrix is far smaller than the covariance of the pixels, and float64 keeps it exact.
    centered = centered.astype(np.float64)
    variances, vectors = np.linalg.eigh(centered @ centered.T / len(faces))
    largest = np.argsort(variances)[::-1][:components]
    scaled = vectors[:, largest].T @ centered / np.sqrt(len(faces))
    return Eigenfaces(
        jnp.asarray(mean, jnp.float32),
        jnp.asarray(scaled.reshape(components, *mean.shape), jnp.float32),
    )


def decode(eigenfaces: Eigenfaces, coefficients: jax.Array) -> jax.Array:
    """Makes the face of one point of the search space.

    Args:
      eigenfaces: From `fit`.
      coefficients: `[components]`; a standard normal draw gives a plausible face.

    Returns:
      `[height, width, channels]`; may leave [0, 1] a little.
    """
    return eigenfaces.mean + jnp.tensordot(coefficients, eigenfaces.components, 1)


def encode(eigenfaces: Eigenfaces, image: jax.Array) -> jax.Array:
    """Projects an image on the eigenfaces: the inverse of `decode` within their span.

    Args:
      eigenfaces: From `fit`.
      image: `[height, width, channels]`.

    Returns:
      `[components]`.
    """
    components = eigenfaces.components
    variances = jnp.sum(components**2, (1, 2, 3))
    products = jnp.tensordot(components, image - eigenfaces.mean, 3)
    # A component without variance has no say, and must not divide by zero.
    return jnp.where(variances > 0, products / jnp.where(variances > 0, variances, 1), 0)
