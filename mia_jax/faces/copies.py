"""Copies of photographs: resized, recompressed, mirrored, brightened, cropped a little, or exact.

An attacker whose public faces hold the victims' own photographs proves nothing. Two photographs are
compared in the detail of a face alone: what a narrow blur keeps and a wide one removes, so that
neither light nor what all faces have in common counts. Photographs that are alike in rough detail
are laid over each other before they are compared in fine detail. In the story this stands behind
the sources, whose faces it looks through.

Why by hand: perceptual hashes (imagehash, 64 bits) hold too little. At the distance at which they
find 95% of ORL's photographs again at JPEG quality 30, 18 (pHash) and 45 (dHash) of the 400 are
taken for copies of another; no mirror image is found.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from mia_jax.faces.sources import Images

# The correlation of detail from which on two photographs are one. Copies of JPEG quality 30, of
# half the size, mirrored or brightened have 0.98 or more in the median of ORL and LFW at 64 pixels;
# different photographs of one person at most 0.953 in ORL, whose are very alike, of different
# people 0.79.
_SAME = 0.96
# The same once one is laid over the other, which helps different ones too: in ORL up to 0.980, and
# copies of which 2% or 5% of the sides are cut off have 0.998 and 0.99.
_SAME_LAID_OVER = 0.985
_SIDE, _FINE, _ROUGH = 32, 40, 16  # Of the pictures compared, once laid over, and to find who is.
_ALIKE = 0.8  # The correlation of rough ones from which on a pair is laid over each other.
_PAIRS = 64  # Of these the most alike, at most.
_NARROW, _WIDE, _WIDE_ROUGH = 0.5, 1.5, 2.0  # Deviations of the blurs, in pixels of the pictures.
_LEAST = 0.85  # Of a photograph's side, kept by a crop that is looked for.
_STEPS = ((_ROUGH, 0.04), (_ROUGH, 0.02), (_FINE, 0.01), (_FINE, 0.005), (_FINE, 0.0025))
_LARGEST = 100  # Larger pictures are halved first: no more of them is looked at.
_AT_ONCE = 512


class _Pictures(NamedTuple):
    """Gray pictures, and their detail.

    Attributes:
      first: The position of the first of them.
      fine: `[n, _SIDE ** 2]`.
      rough: `[n, _ROUGH ** 2]`.
    """

    first: int
    fine: np.ndarray
    rough: np.ndarray


def find(
    suspects: Images,
    photographs: Images,
    people: tuple[np.ndarray, np.ndarray] | None = None,
) -> np.ndarray:
    """Finds which of some images are copies of photographs, of 32 pixels or more.

    Args:
      suspects: `[n, height, width, channels]` in [0, 1].
      photographs: `[m, height, width, channels]`, of any size and number of channels.
      people: `[n]` and `[m]` integers, who is on each: nobody's are compared with each other. By
        default all are compared.

    Returns:
      int `[k, 2]`: for each copy its position among `suspects`, rising, and that of the photograph
      among `photographs`. Of those that are cropped too, the most alike at a rough look are found.
    """
    found: dict[int, tuple[float, int]] = {}
    alike: list[tuple[float, int, int, bool]] = []
    ways = [way for own in _looked_at(suspects) for way in ((False, own), (True, _mirrored(own)))]
    for theirs in _looked_at(photographs):
        for mirrored, own in ways:
            same = _of_one_person(own, theirs, people)
            for row, place, score in _nearest(own.fine, theirs.fine, same, _SAME):
                copy = score, theirs.first + place
                found[own.first + row] = max(found.get(own.first + row, copy), copy)
            alike += [
                (score, own.first + row, theirs.first + place, mirrored)
                for row, place, score in _nearest(own.rough, theirs.rough, same, _ALIKE)
            ]
    rest = sorted((each for each in alike if each[1] not in found), reverse=True)[:_PAIRS]
    for score, row, place in _cropped(suspects, photographs, rest):
        found.setdefault(row, (score, place))
    return np.array([(row, found[row][1]) for row in sorted(found)], int).reshape(-1, 2)


def _cropped(
    suspects: Images, photographs: Images, alike: Sequence[tuple[float, int, int, bool]]
) -> list[tuple[float, int, int]]:
    """Lists which of some pairs are copies once one is laid over the other, as `find` has them."""
    if not alike:
        return []
    rows, places = (np.array([each[number] for each in alike]) for number in (1, 2))
    mirrored = np.array([each[3] for each in alike])[:, None, None]
    own = _gray(suspects[rows])
    own = np.where(mirrored, own[:, :, ::-1], own)
    scores = _laid_over(own, _gray(photographs[places]))
    return [
        (float(score), int(row), int(place))
        for score, row, place in zip(scores, rows, places, strict=True)
        if score >= _SAME_LAID_OVER
    ]


def _looked_at(images: Images) -> Iterator[_Pictures]:
    """Reads images in blocks."""
    for first in range(0, len(images), _AT_ONCE):
        gray = _gray(images[first : first + _AT_ONCE])
        yield _Pictures(first, _detail(gray, _SIDE), _detail(gray, _ROUGH))


def _mirrored(own: _Pictures) -> _Pictures:
    """Returns what the mirror images' detail is: the mirror image of the detail."""
    fine, rough = (
        flat.reshape(len(flat), side, side)[:, :, ::-1].reshape(flat.shape)
        for flat, side in ((own.fine, _SIDE), (own.rough, _ROUGH))
    )
    return _Pictures(own.first, fine, rough)


def _of_one_person(
    own: _Pictures, theirs: _Pictures, people: tuple[np.ndarray, np.ndarray] | None
) -> np.ndarray | bool:
    """Tells which pairs are not compared."""
    if people is None:
        return False
    rows, columns = (
        numbers[each.first : each.first + len(each.fine)]
        for numbers, each in zip(people, (own, theirs), strict=True)
    )
    return rows[:, None] == columns


def _nearest(
    own: np.ndarray, theirs: np.ndarray, left_out: np.ndarray | bool, least: float
) -> list[tuple[int, int, float]]:
    """Lists the rows whose highest correlation is enough: the row, its column and how much."""
    scores = np.where(left_out, -1, own @ theirs.T)
    best = scores.argmax(axis=1)
    highest = scores[np.arange(len(scores)), best]
    rows = np.flatnonzero(highest >= least)
    return [(int(row), int(best[row]), float(highest[row])) for row in rows]


def _gray(images: np.ndarray) -> np.ndarray:
    """Averages the channels, and pixels of large images: `[n, height, width]`."""
    gray = np.asarray(images, np.float32).mean(axis=-1)
    while min(gray.shape[1:]) > _LARGEST:
        count, height, width = gray.shape
        even = gray[:, : height // 2 * 2, : width // 2 * 2]
        gray = even.reshape(count, height // 2, 2, width // 2, 2).mean(axis=(2, 4))
    return gray


def _detail(images: np.ndarray, side: int, crop: np.ndarray | None = None) -> np.ndarray:
    """Returns the detail of gray images at a size, `[n, side * side]` of mean 0 and length 1.

    `crop` is `[n, 3]`: the part of the sides that is kept, and how far right and down its middle is
    of the image's, in sides; None for all of them.
    """
    crop = np.array([[1.0, 0.0, 0.0]]) if crop is None else crop
    wide = _WIDE_ROUGH if side == _ROUGH else _WIDE
    blurred = []
    for width in (_NARROW, wide):
        down = _blur(images.shape[1], side, crop[:, 0], crop[:, 2], width)
        across = _blur(images.shape[2], side, crop[:, 0], crop[:, 1], width)
        blurred.append(down @ images @ across.swapaxes(1, 2))
    flat = (blurred[0] - blurred[1]).reshape(len(images), -1)
    flat = flat - flat.mean(axis=1, keepdims=True)
    return flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-6)


def _blur(length: int, side: int, kept: np.ndarray, shift: np.ndarray, width: float) -> np.ndarray:
    """Returns the weights `[n, side, length]` that crop, resize and blur along one axis."""
    step = (kept * length / side)[:, None, None]
    middle = (length * (0.5 + shift))[:, None, None]
    centers = middle + (np.arange(side)[:, None] + 0.5 - side / 2) * step
    weights = np.exp(-0.5 * ((np.arange(length) + 0.5 - centers) / (width * step)) ** 2) + 1e-30
    return (weights / weights.sum(axis=2, keepdims=True)).astype(np.float32)


def _laid_over(images: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Returns the correlations of fine detail `[n]` of gray pairs, laid over each other.

    The search goes along one number after the other in ever smaller steps, from the whole image;
    either of the two may be a part of the other.
    """
    best = np.full(len(images), -1.0)
    for part, whole in ((images, others), (others, images)):
        crop = np.tile([1.0, 0.0, 0.0], (len(images), 1))
        for side, step in _STEPS:
            seen = _detail(part, side)
            scores = (seen * _detail(whole, side, crop)).sum(axis=1)
            for number in (0, 1, 2):
                for sign in (-1, 1):
                    moved = crop.copy()
                    moved[:, number] += sign * step
                    moved[:, 0] = moved[:, 0].clip(_LEAST, 1)
                    found = (seen * _detail(whole, side, moved)).sum(axis=1)
                    crop = np.where((found > scores)[:, None], moved, crop)
                    scores = np.maximum(scores, found)
        best = np.maximum(best, scores)
    return best
