"""Photographs brought into a recognizer's frame: five points of a face at places that it knows.

Recognizers are trained on chips, in which eyes, nose and mouth always lie at the same places. A
similarity transform (shift, turn, one scale) brings the points of a face nearest to them. In the
story this stands between the decoded photograph and its square, where `images.square` crops the
middle of photographs that are chips already.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import skimage.transform
from PIL import Image

from mia_jax.runtime.errors import UserError, shorten

PointsFn = Callable[[Image.Image], np.ndarray]
NONE = "none"  # In place of a name: the photographs are chips already.
_COUNT = 5
_ACCEPTED = 'an object such as {"size": [112, 112], "points": [[x, y], ... five of them]}'


@dataclasses.dataclass(frozen=True)
class Alignment:
    """Where a recognizer wants five points of a face to be.

    Attributes:
      size: Height and width of the chip, in pixels.
      points: Left eye, right eye, tip of the nose, left and right corner of the mouth, as they
        appear in the picture: x (rightwards) and y (downwards) in pixels of the chip. The middle of
        the first pixel is at (0, 0).

    Raises:
      UserError: If a value is out of range, naming it.
    """

    size: tuple[int, int]
    points: tuple[tuple[float, float], ...]

    def __post_init__(self) -> None:
        """Checks the values."""
        if len(self.size) != 2 or min(self.size) < 1:
            raise UserError(f"align: size={self.size} is no size in pixels: give height and width")
        if len(self.points) != _COUNT or any(len(point) != 2 for point in self.points):
            raise UserError(
                f"align: points={shorten(str(self.points))} are not five pairs of x and y: give "
                "left eye, right eye, nose, left and right corner of the mouth"
            )
        height, width = self.size
        for x, y in self.points:
            if not (-0.5 <= x <= width - 0.5 and -0.5 <= y <= height - 0.5):
                raise UserError(
                    f"align: the point ({x}, {y}) lies outside of the {height}x{width} chip: give "
                    "x and y in its pixels"
                )
        left, right, _, *mouth = self.points
        if not left[0] < right[0] or not max(left[1], right[1]) < min(y for _, y in mouth):
            raise UserError(
                "align: points are in another order than left eye, right eye, nose, left and right "
                "corner of the mouth, as they appear in the picture"
            )

    def points_at(self, side: int) -> np.ndarray:
        """Places the points in a square photograph in whose middle the chip lies.

        Args:
          side: Of the photograph, in pixels; the longer side of the chip fills it.

        Returns:
          `[5, 2]`, x and y in pixels of the photograph.
        """
        longer, (height, width) = max(self.size), self.size
        margin = np.array([longer - width, longer - height]) / 2
        return (np.array(self.points) + 0.5 + margin) * side / longer - 0.5


# The chips of ArcFace (Deng et al. 2019) and of most recognizers since, as in InsightFace's
# face_align.py.
ALIGNMENTS = {
    "arcface112": Alignment(
        (112, 112),
        (
            (38.2946, 51.6963),
            (73.5318, 51.5014),
            (56.0252, 71.7366),
            (41.5493, 92.3655),
            (70.7299, 92.2041),
        ),
    )
}


class Aligner(NamedTuple):
    """What finds faces and says where they go.

    Attributes:
      find: From a photograph of mode L, RGB or F to `[faces, 5, 2]`: the points of each face in the
        order of `Alignment.points`, in pixels of the photograph, the largest face first.
      alignment: Where the points go.
    """

    find: PointsFn
    alignment: Alignment


def parse(value: Any) -> Alignment | None:
    """Reads an alignment by its name, or as JSON holds it.

    Args:
      value: One of `ALIGNMENTS`, "none", or an object of size and points.

    Returns:
      The alignment; None for "none".

    Raises:
      UserError: If it is neither.
    """
    if value == NONE:
        return None
    if isinstance(value, str) and value in ALIGNMENTS:
        return ALIGNMENTS[value]
    if not isinstance(value, Mapping) or set(value) != {"size", "points"}:
        raise UserError(
            f"align={shorten(str(value))} is unknown: give {', '.join(ALIGNMENTS)}, {NONE}, or "
            f"{_ACCEPTED}"
        )
    try:
        height, width = value["size"]
        points = tuple((_number(x), _number(y)) for x, y in value["points"])
        whole = int(_number(height)), int(_number(width))
    except (TypeError, ValueError):
        raise UserError(
            f"align={shorten(str(dict(value)))} holds no size and points: give {_ACCEPTED}"
        ) from None
    if whole != (height, width):
        raise UserError(f"align: size={height},{width} is no size in whole pixels")
    return Alignment(whole, points)


def _number(value: Any) -> float:
    """Returns a finite number; JSON may hold anything."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(value)
    return float(value)


def name_of(alignment: Alignment) -> str:
    """Says what an alignment is called, or that it is the user's own."""
    names = [name for name, known in ALIGNMENTS.items() if known == alignment]
    return names[0] if names else "five points of your own"


def similarity(points: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Finds the shift, turn and scale that bring points nearest to others, in least squares.

    Args:
      points: `[n, 2]`, two or more that do not all fall together.
      others: `[n, 2]`, where they go.

    Returns:
      `[3, 3]`, of homogeneous coordinates.

    Source: S. Umeyama, "Least-squares estimation of transformation parameters between two point
      patterns", 1991.
    """
    return np.asarray(skimage.transform.estimate_transform("similarity", points, others).params)


def align(image: Image.Image, points: np.ndarray, alignment: Alignment, side: int) -> Image.Image:
    """Brings a face into a recognizer's frame.

    What lies outside of the photograph is black, as in the chips that recognizers are trained on.
    Where the face shrinks, the photograph is made smaller first, by a filter against aliasing.

    Args:
      image: The photograph, of mode L, RGB or F.
      points: `[5, 2]`, the face's points in the photograph.
      alignment: Where they go.
      side: Of the square that is made, in pixels.

    Returns:
      The square, of the same mode.
    """
    # Pillow counts from the corner of the first pixel, not from its middle.
    back = similarity(alignment.points_at(side) + 0.5, np.asarray(points) + 0.5)
    shrinking = float(np.hypot(back[0, 0], back[1, 0]))
    if shrinking > 1:
        size = [max(1, round(length / shrinking)) for length in image.size]
        back = np.diag([size[0] / image.width, size[1] / image.height, 1]) @ back
        image = image.resize((size[0], size[1]), Image.Resampling.BICUBIC)
    return image.transform(
        *((side, side), Image.Transform.AFFINE, tuple(back[:2].ravel())),
        resample=Image.Resampling.BICUBIC,
    )
