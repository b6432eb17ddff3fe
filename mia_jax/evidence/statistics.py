"""Ranks, curves and intervals: from what a judge says of single images to figures of a group.

All rates are means of one number for each image, so that one bootstrap serves them all: rank-k is
the mean of "the rank is at most k", and the area under the CMC curve is the mean of the fraction of
ranks that are no better. In the story this stands between `scores`, which shows images to judges,
and `evaluation`, which compares the groups.
"""

from collections.abc import Sequence

import numpy as np
import scipy.special
import scipy.stats

from mia_jax.evidence.results import Interval, Measure

CONFIDENCE = 0.95
RESAMPLES = 2000


def ranks(scores: np.ndarray, person: int) -> np.ndarray:
    """Ranks one person among all; equal scores count against the person, and so does NaN.

    Args:
      scores: `[n, people]`, higher for more like.
      person: The column.

    Returns:
      `[n]` integers; 1 is the best.
    """
    behind = scores < scores[:, [person]]  # A comparison with NaN is false, on either side.
    return np.sum(~behind, axis=1)


def confidences(logits: np.ndarray) -> np.ndarray:
    """Computes a recognizer's confidences, the softmax of its logits.

    Args:
      logits: `[n, classes]`.

    Returns:
      `[n, classes]` in [0, 1]; all 0 for an image with a logit that is not a number.
    """
    with np.errstate(invalid="ignore"):  # Infinity minus infinity.
        return np.nan_to_num(scipy.special.softmax(logits, axis=-1), nan=0.0)


def cumulative_match(rank: np.ndarray, people: int) -> np.ndarray:
    """Computes the cumulative match characteristic.

    Args:
      rank: `[n]` integers from 1.
      people: How many there are to choose among.

    Returns:
      `[people]`: at k - 1, the fraction of images whose rank is at most k.

    Source: section 5 and Fig. 11.
    """
    return np.mean(rank[:, None] <= np.arange(1, people + 1), axis=0)


def wilson_interval(fraction: float, count: float) -> Interval:
    """Computes the Wilson score interval of a fraction.

    Args:
      fraction: In [0, 1].
      count: Of how many, 1 or more; rounded.

    Returns:
      Its lower and upper end, in [0, 1].
    """
    number = round(count)
    hits = round(fraction * number)
    interval = scipy.stats.binomtest(hits, number).proportion_ci(CONFIDENCE, method="wilson")
    return float(interval.low), float(interval.high)


def holm(p_values: Sequence[float]) -> np.ndarray:
    """Corrects p-values for their number, so that any false positive at all stays rare.

    Args:
      p_values: `[tests]`.

    Returns:
      `[tests]`, in the same order, to be compared with the level of the whole family.

    Source: S. Holm, "A simple sequentially rejective multiple test procedure", 1979.
    """
    values = np.asarray(p_values, np.float64)
    order = np.argsort(values)
    rising = np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1))
    corrected = np.empty_like(values)
    corrected[order] = np.minimum(rising, 1)
    return corrected


def measure(groups: Sequence[np.ndarray], rate: Sequence[bool], seed: int) -> list[Measure | None]:
    """Averages figures within groups of images, then over the groups, with 95% intervals.

    The intervals are the bootstrap's, which resamples within each group only. Where all images of
    each group are alike it has nothing to say, and would answer with an interval of no width: a
    rate then gets Wilson's interval, of as many images as determine the mean of the groups' means;
    any other figure gets none.

    Args:
      groups: `[n_i, figures]` each, one row for each image.
      rate: For each figure, whether it is 1 or 0 for an image, for yes and no.
      seed: Of the resampling.

    Returns:
      A measure for each figure; None where a value is not finite.
    """
    means = np.mean([group.mean(axis=0) for group in groups], axis=0)
    low, high = _bootstrap(groups, seed)
    # The variance of the mean of means is that of a mean over this many images.
    count = len(groups) ** 2 / sum(1 / len(group) for group in groups)
    measures: list[Measure | None] = []
    for mean, start, end, is_rate in zip(means, low, high, rate, strict=True):
        interval: Interval | None = (float(start), float(end))
        if start == end:
            interval = wilson_interval(mean, count) if is_rate else None
        measures.append(Measure(float(mean), interval) if np.isfinite(mean) else None)
    return measures


def _bootstrap(groups: Sequence[np.ndarray], seed: int) -> np.ndarray:
    """Returns the ends of the percentile intervals of the mean of means, `[2, figures]`."""

    def mean_of_means(*samples: np.ndarray, axis: int) -> np.ndarray:
        return np.mean([np.mean(sample, axis=axis) for sample in samples], axis=0)

    # Two equal images instead of one: scipy wants two, and resampling them changes nothing.
    samples = [np.repeat(group, 2, axis=0) if len(group) == 1 else group for group in groups]
    finite = np.all([np.isfinite(sample).all(axis=0) for sample in samples], axis=0)
    varying = finite & np.any([sample.min(0) < sample.max(0) for sample in samples], axis=0)
    ends = np.zeros((2, len(varying)))
    if varying.any():
        result = scipy.stats.bootstrap(
            [sample[:, varying] for sample in samples],
            mean_of_means,
            axis=0,
            vectorized=True,
            n_resamples=RESAMPLES,
            batch=100,
            confidence_level=CONFIDENCE,
            method="percentile",
            rng=np.random.default_rng(seed),
        )
        ends[:, varying] = result.confidence_interval
    return ends
