"""Which pixels of a face an attacker knows who has seen the person with the middle of it hidden."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np


class Ellipse(NamedTuple):
    """A part of a face, in fractions of the image's height and width.

    Attributes:
      row: Of its center, from 0 at the top to 1.
      column: Of its center, from 0 at the left to 1.
      height: Half of its height.
      width: Half of its width.
    """

    row: float
    column: float
    height: float
    width: float


# Eyes with brows, nose and mouth of an upright face that fills the image.
PARTS = (
    Ellipse(0.40, 0.31, 0.11, 0.17),
    Ellipse(0.40, 0.69, 0.11, 0.17),
    Ellipse(0.57, 0.50, 0.15, 0.14),
    Ellipse(0.76, 0.50, 0.10, 0.22),
)

# dlib's 68 points: brow and eye on either side, nose, mouth.
_GROUPS = (
    (*range(17, 22), *range(36, 42)),
    (*range(22, 27), *range(42, 48)),
    tuple(range(27, 36)),
    tuple(range(48, 68)),
)


def outside(image_shape: Sequence[int], parts: Sequence[Ellipse] = PARTS) -> jax.Array:
    """Knows everything but some parts of a face.

    Args:
      image_shape: Height, width and maybe channels.
      parts: What is hidden.

    Returns:
      `[height, width, 1]` booleans, False in the parts: for `cases.make_cases(..., mask=...)`.
    """
    height, width = image_shape[:2]
    rows = (jnp.arange(height)[:, None] + 0.5) / height
    columns = (jnp.arange(width) + 0.5) / width
    hidden = jnp.zeros((height, width), bool)
    for part in parts:
        down, across = (rows - part.row) / part.height, (columns - part.column) / part.width
        hidden |= down**2 + across**2 <= 1
    return ~hidden[..., None]


def from_landmarks(
    landmarks: np.ndarray, image_shape: Sequence[int], margin: float = 1.3
) -> tuple[Ellipse, ...]:
    """Finds the parts of a face by its landmarks.

    Args:
      landmarks: `[68, 2]`, row and column in pixels, as from `generators.landmarks`.
      image_shape: Height, width and maybe channels.
      margin: How much larger each ellipse is than the points that it surrounds.

    Returns:
      Eyes with brows, nose and mouth: for `outside`.
    """
    size = np.array(image_shape[:2])
    parts = []
    for group in _GROUPS:
        points = (np.asarray(landmarks)[list(group)] + 0.5) / size
        low, high = points.min(0), points.max(0)
        parts.append(Ellipse(*((low + high) / 2).tolist(), *(margin * (high - low) / 2).tolist()))
    return tuple(parts)
