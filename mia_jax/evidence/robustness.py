"""Disturbances: what happens to any photograph, and hides nobody.

A likeness survives blur, compression or another crop; what only fools a recognizer often does not.
In the story this stands beside `scores`: the same judges look at the same clones once more.
"""

import io
from collections.abc import Callable, Mapping

import numpy as np
import skimage.filters
import skimage.transform
from PIL import Image

from mia_jax.faces import images

SAMPLE = 10  # Clones of a person that are disturbed.
_QUALITY = 30  # Of JPEG, from 1 to 95.
_KEPT = 0.9  # Of each side, in a crop.


def blur(image: np.ndarray) -> np.ndarray:
    """Blurs by a Gaussian of 1/64 of the side, 2 pixels of 128."""
    return skimage.filters.gaussian(image, image.shape[0] / 64, mode="nearest", channel_axis=-1)


def jpeg(image: np.ndarray) -> np.ndarray:
    """Compresses as JPEG of quality 30 and reads it again."""
    file = io.BytesIO()
    images.picture(image).save(file, "JPEG", quality=_QUALITY)
    return np.asarray(Image.open(file), np.float32).reshape(image.shape) / 255


def half_size(image: np.ndarray) -> np.ndarray:
    """Shrinks to half the side, 64 pixels of 128, and enlarges again."""
    height, width, channels = image.shape
    small = skimage.transform.resize(image, (height // 2, width // 2, channels), anti_aliasing=True)
    return skimage.transform.resize(small, image.shape)


def shift(image: np.ndarray) -> np.ndarray:
    """Moves by 1/32 of the side down and to the right, 4 pixels of 128; the edge is repeated."""
    steps = max(image.shape[0] // 32, 1)
    padded = np.pad(image, ((steps, 0), (steps, 0), (0, 0)), mode="edge")
    return padded[: image.shape[0], : image.shape[1]]


def crop(image: np.ndarray) -> np.ndarray:
    """Keeps the middle nine tenths of each side, at the former size."""
    margins = [round((1 - _KEPT) / 2 * side) for side in image.shape[:2]]
    rows, columns = (slice(m, s - m) for m, s in zip(margins, image.shape[:2], strict=True))
    return skimage.transform.resize(image[rows, columns], image.shape)


DISTURBANCES: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    "none": lambda image: image,
    "blur": blur,
    "JPEG": jpeg,
    "half size": half_size,
    "shift": shift,
    "crop": crop,
}


def disturb(images: np.ndarray, kind: str) -> np.ndarray:
    """Disturbs images.

    Args:
      images: `[n, height, width, channels]` in [0, 1].
      kind: One of `DISTURBANCES`.

    Returns:
      `[n, height, width, channels]` float32 in [0, 1].
    """
    changed = np.stack([DISTURBANCES[kind](np.asarray(image)) for image in images])
    return np.clip(changed, 0, 1).astype(np.float32)
