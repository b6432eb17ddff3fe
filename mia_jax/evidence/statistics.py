"""Ranks, curves and intervals: from what a judge says of single images to figures of a group.

All rates are means of one number for each image, so that one interval serves them all: rank-k is
the mean of "the rank is at most k", and the area under the CMC curve is the mean of the fraction of
ranks that are no better. In the story this stands between `scores`, which shows images to judges,
and `evaluation`, which compares the groups.
"""

import math
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


def measure(groups: Sequence[np.ndarray], rate: Sequence[bool]) -> list[Measure | None]:
    """Averages figures within people, then over the people, with 95% intervals.

    The unit is the person, since restarts of one attack resemble one another: with several people
    the interval says where the mean would lie for other people. For one person alone it is over
    images.

    Args:
      groups: `[n_i, figures]` for each person, one row for each image.
      rate: For each figure, whether it is 1 or 0 for an image, for yes and no.

    Returns:
      A measure for each figure, with the interval of `crossed_interval`. Where all units are alike
      a rate gets Wilson's interval, of as many; any other figure gets none. None where a value is
      not finite.
    """
    units = np.stack([group.mean(axis=0) for group in groups]) if len(groups) > 1 else groups[0]
    every = np.arange(len(units))
    measures: list[Measure | None] = []
    for values, is_rate in zip(units.T, rate, strict=True):
        if not np.isfinite(values).all():
            measures.append(None)
            continue
        mean, interval = float(values.mean()), crossed_interval(values, (every.tolist(),), is_rate)
        if interval is None and is_rate:
            interval = wilson_interval(mean, len(units))
        measures.append(Measure(mean, interval))
    return measures


def crossed_measure(
    values: Sequence[float], runs: Sequence[int], people: Sequence[str], rate: bool
) -> Measure | None:
    """Averages one figure of attacks, with a 95% interval over people and trainings.

    Args:
      values: `[attacks]`.
      runs: `[attacks]`: the training of each.
      people: `[attacks]`: the person of each.
      rate: Whether values are in [0, 1]: where all are the same, the interval is then Wilson's, of
        as many people as there are; any other figure gets none.

    Returns:
      The measure; None where a value is not finite. Of one training the interval is over people
      only: it says nothing of other trainings.
    """
    numbers = np.asarray(values, np.float64)
    if not np.isfinite(numbers).all():
        return None
    mean = float(numbers.mean())
    interval = crossed_interval(numbers, (people, runs), rate)
    if interval is None and rate:
        interval = wilson_interval(mean, len({*people}))
    return Measure(mean, interval)


def crossed_interval(
    values: Sequence[float] | np.ndarray,
    memberships: Sequence[Sequence[int] | Sequence[str]],
    rate: bool = False,
) -> Interval | None:
    """Bounds a mean over observations of which those that share a cluster are alike.

    Attacks on a person in several trainings share the person, those in one training share that. The
    variance of the mean is that between the clusters of each kind, less what both count. Clusters
    are few: the quantile is Student's, with Satterthwaite's degrees of freedom. A rate near 0 or 1
    has a skew distribution, and gets Wilson's interval of as many observations as would vary so if
    they were independent. In simulations 95% intervals of rates cover 0.89 to 0.93 with 5 people,
    and 0.92 to 0.96 with 14 or more, or with two trainings or three; other figures 0.85 to 0.95.
    Those of the percentile bootstrap, which resamples few clusters, covered 0.76 to 0.92.

    Args:
      values: `[n]`.
      memberships: For each kind of cluster `[n]`: the cluster of each value. Of a kind of which
        there is but one nothing is known, and the interval says nothing of others.
      rate: Whether values, and so the interval, are in [0, 1].

    Returns:
      The 95% interval of the mean; None where all values are the same, or no kind has two clusters.

    Source: A. C. Cameron, J. B. Gelbach, D. L. Miller, "Robust inference with multiway clustering",
      2011, for the variance; F. E. Satterthwaite, "An approximate distribution of estimates of
      variance components", 1946; C. Franco, R. Little, T. Louis, E. Slud, "Comparative study of
      confidence intervals for proportions in complex sample surveys", 2019, for the rates.
    """
    numbers = np.asarray(values, np.float64)
    count, mean = len(numbers), float(numbers.mean())
    apart = numbers - mean
    variances: list[float] = []
    freedoms: list[int] = []
    for clusters in memberships:
        member = np.unique(np.asarray(clusters), return_inverse=True)[1]
        sums = np.bincount(member, weights=apart)
        if len(sums) > 1:
            freedoms.append(len(sums) - 1)
            variances.append(float(len(sums) / freedoms[-1] * (sums @ sums) / count**2))
    if not variances or numbers.min() == numbers.max():
        return None
    # A cell is in a cluster of each kind, and was counted with every one of them.
    twice = (len(variances) - 1) * (apart @ apart) / (count * (count - 1))
    variance = max(*variances, float(sum(variances) - twice), np.finfo(float).tiny)
    parts = sum(v**2 / freedom for v, freedom in zip(variances, freedoms, strict=True))
    freedom = np.clip(variance**2 / max(parts, np.finfo(float).tiny), min(freedoms), sum(freedoms))
    return _student(mean, variance, freedom, rate)


def pairs_interval(values: np.ndarray, first: np.ndarray, second: np.ndarray) -> Interval | None:
    """Bounds a rate over pairs of people, in each of which two people take part.

    Pairs that share a person are alike, whichever part the person takes. The mean over pairs is a
    U-statistic: its variance is four times that of a mean over people, of each person's own rate.

    Args:
      values: `[pairs]` in [0, 1].
      first: `[pairs]` integers from 0: one person of each pair.
      second: `[pairs]`: the other one.

    Returns:
      The 95% interval over people; None where all people have the same rate, or there are but two.

    Source: W. Hoeffding, "A class of statistics with asymptotically normal distribution", 1948.
    """
    both = np.concatenate([first, second])
    shown = np.bincount(both)
    people = int(np.sum(shown > 0))
    sums = np.bincount(both, weights=np.tile(np.asarray(values, np.float64), 2))
    rates = sums[shown > 0] / shown[shown > 0]
    if people < 3 or rates.min() == rates.max():
        return None
    variance = 4 * float(np.var(rates, ddof=1)) / people
    return _student(float(np.mean(values)), variance, people - 1, rate=True)


def _student(mean: float, variance: float, freedom: float, rate: bool) -> Interval:
    """Returns Student's interval; of a rate Wilson's, as wide as that variance says."""
    quantile = float(scipy.stats.t.ppf((1 + CONFIDENCE) / 2, freedom))
    if not rate:
        half = quantile * math.sqrt(variance)
        return mean - half, mean + half
    share = quantile**2 * variance / max(mean * (1 - mean), np.finfo(float).tiny)
    middle = (mean + share / 2) / (1 + share)
    half = math.sqrt(share * mean * (1 - mean) + share**2 / 4) / (1 + share)
    return max(middle - half, 0.0), min(middle + half, 1.0)


def crossed_median(
    values: Sequence[float], runs: Sequence[int], people: Sequence[str], seed: int
) -> Measure:
    """Takes the median of one figure of attacks, with a 95% interval over people and trainings.

    Args:
      values: `[attacks]`, finite.
      runs: `[attacks]`: the training of each.
      people: `[attacks]`: the person of each.
      seed: Of the resampling.

    Returns:
      The median; its interval is None where all values are the same.

    Source: A. Owen, "The pigeonhole bootstrap", Annals of Applied Statistics 1(2), 2007.
    """
    numbers = np.sort(np.asarray(values, np.float64))
    median = float(np.median(numbers))
    if numbers[0] == numbers[-1]:
        return Measure(median, None)
    weights = _crossed_weights((people, runs), len(numbers), seed)
    counted = weights[:, np.argsort(np.asarray(values), kind="stable")].cumsum(axis=1)
    half = counted[:, [-1]] / 2
    # Of an even number the mean of the two in the middle, as always.
    middle = numbers[(counted >= half).argmax(axis=1)] + numbers[(counted > half).argmax(axis=1)]
    return Measure(median, _ends(middle / 2))


def _crossed_weights(
    memberships: Sequence[Sequence[int] | Sequence[str]], count: int, seed: int
) -> np.ndarray:
    """Returns how often each value counts in each resample, `[resamples, count]`, none empty."""
    rng, weights = np.random.default_rng(seed), np.ones((RESAMPLES, count))
    for clusters in memberships:
        names, member = np.unique(np.asarray(clusters), return_inverse=True)
        drawn = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), RESAMPLES)
        weights *= drawn[:, member]
    return weights[weights.any(axis=1)]  # A person and a training that never met may be drawn.


def _ends(resampled: np.ndarray) -> Interval:
    """Returns the ends of a percentile interval."""
    tail = 100 * (1 - CONFIDENCE) / 2
    low, high = np.percentile(resampled, [tail, 100 - tail])
    return float(low), float(high)
