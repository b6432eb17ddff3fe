"""What the target and the judges see in images: arrays with a number for each image.

In the story this is where images end and numbers begin. Images are shown in batches,
and only what is kept of each image stays, so that memory does not grow with the number of restarts
beyond a few numbers each, and images may be mapped from a file.
"""

from collections.abc import Iterator
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
import scipy.spatial.distance
import skimage.metrics

from mia_jax.evidence import statistics
from mia_jax.evidence.judges import ImageFn, Judge

KEPT = 200  # Images of a group whose features are kept, at most.
_BATCH = 100


class Appearance(NamedTuple):
    """What can be said of images without a judge, `[n]` each.

    Attributes:
      target_score: The target's confidence that this is the person, in [0, 1].
      psnr: To the person's training photograph of least squared difference, in dB.
      ssim: To the same photograph, in [-1, 1].
    """

    target_score: np.ndarray
    psnr: np.ndarray
    ssim: np.ndarray


class Opinion(NamedTuple):
    """What a judge says of images, `[n]` each.

    Attributes:
      rank: The person's rank among all whom the judge knows, from 1, the best.
      score: The judge's score of the person: of a recognizer, the confidence.
      feature_distance: The mean Euclidean distance to the person's training photographs in the
        judge's features.
      found: Whether the judge finds a face; None for a judge who does not say.
      together: `[people]`: the judge's scores of all images taken together, by the mean of their
        features.
      set_rank: The person's rank by those.
      vectors: `[min(n, KEPT), features]`: the judge's features of evenly spaced images.
    """

    rank: np.ndarray
    score: np.ndarray
    feature_distance: np.ndarray
    found: np.ndarray | None
    together: np.ndarray
    set_rank: int
    vectors: np.ndarray


def appearance(
    images: np.ndarray, target: ImageFn, target_class: int, photographs: np.ndarray
) -> Appearance:
    """Looks at images as the target does, and pixel by pixel.

    Args:
      images: `[n, height, width, channels]` in [0, 1].
      target: The target's logits `[n, classes]` of such images.
      target_class: The person's class in it.
      photographs: `[m, height, width, channels]` in [0, 1]: the person's training photographs.

    Returns:
      What there is to see.
    """
    confidence = np.zeros(len(images))
    for part, logits in _in_batches(target, images):
        confidence[part] = statistics.confidences(logits)[:, target_class]
    return Appearance(confidence, *likeness(images, photographs))


def features(judge: Judge, images: np.ndarray) -> np.ndarray:
    """Computes a judge's features of a few images, such as a person's photographs.

    Args:
      judge: Who looks.
      images: `[n, height, width, channels]` in [0, 1].

    Returns:
      `[n, features]`.
    """
    return np.concatenate([part for _, part in _in_batches(judge.features, images)])


def match(judge: Judge, vectors: np.ndarray) -> np.ndarray:
    """Scores features.

    Args:
      judge: Who scores.
      vectors: `[n, features]`, or `[features]`.

    Returns:
      `[n, people]`, or `[people]`, in double precision: confidences near 1 differ in their last
      digits.
    """
    scored = np.asarray(judge.match(np.atleast_2d(vectors)), np.float64)
    return scored if vectors.ndim == 2 else scored[0]


def opinion(judge: Judge, images: np.ndarray, name: str, real: np.ndarray) -> Opinion:
    """Asks a judge how much images look like a person.

    Args:
      judge: Who is asked.
      images: `[n, height, width, channels]` in [0, 1].
      name: The person, whom the judge knows.
      real: `[m, features]`: the judge's features of the person's training photographs.

    Returns:
      The judge's opinion.
    """
    place, count = judge.people.index(name), len(images)
    rank, score, distance = np.zeros(count, int), np.zeros(count), np.zeros(count)
    total = np.zeros(real.shape[1])
    kept, sample = [], np.linspace(0, count - 1, min(count, KEPT)).astype(int)
    for part, vectors in _in_batches(judge.features, images):
        scored = match(judge, vectors)
        rank[part] = statistics.ranks(scored, place)
        score[part] = judge.confidence(scored)[:, place]
        distance[part] = scipy.spatial.distance.cdist(vectors, real).mean(axis=1)
        total += vectors.sum(axis=0)
        kept.append(vectors[sample[(part.start <= sample) & (sample < part.stop)] - part.start])
    found = None
    if judge.detect is not None:
        found = np.concatenate([part for _, part in _in_batches(judge.detect, images)])
    together = match(judge, total / count)
    set_rank = int(statistics.ranks(together[None], place)[0])
    return Opinion(rank, score, distance, found, together, set_rank, np.concatenate(kept))


def likeness(images: np.ndarray, photographs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compares images with the nearest of some photographs, pixel by pixel.

    Args:
      images: `[n, height, width, channels]` in [0, 1].
      photographs: `[m, height, width, channels]` in [0, 1]; the nearest is the one of least mean
        squared difference.

    Returns:
      The peak signal-to-noise ratio in dB and the structural similarity in [-1, 1], `[n]` each.
    """
    psnr, ssim = np.zeros(len(images)), np.zeros(len(images))
    window = min(7, *(side - 1 + side % 2 for side in images.shape[1:3]))
    for i, image in enumerate(images):
        nearest = photographs[nearest_photograph(image, photographs)]
        error = max(skimage.metrics.mean_squared_error(nearest, image), 1e-10)  # Finite: 100 dB.
        psnr[i] = -10 * np.log10(error)
        ssim[i] = skimage.metrics.structural_similarity(
            nearest, image, win_size=window, channel_axis=-1, data_range=1.0
        )
    return psnr, ssim


def nearest_photograph(image: np.ndarray, photographs: np.ndarray) -> int:
    """Finds the photograph of least mean squared difference.

    Args:
      image: `[height, width, channels]`.
      photographs: `[m, height, width, channels]`.

    Returns:
      Its number.
    """
    return int(np.argmin(np.mean((photographs - image) ** 2, axis=(1, 2, 3))))


def _in_batches(function: ImageFn, images: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """Applies a function to batches, so that memory is bounded.

    Yields each batch's place among the images, and what the function makes of it.
    """
    for first in range(0, len(images), _BATCH):
        part = slice(first, min(first + _BATCH, len(images)))
        yield part, np.asarray(function(jnp.asarray(images[part])))
