"""How much more often something succeeds in one world than in the other, and how sure that is.

A play is a person and a seed of training; in each play there is success or not in the world with
the person, and in the world without. In the story these are the statistics of `game`.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
import scipy.stats

from mia_jax.evidence import statistics
from mia_jax.evidence.results import Interval
from mia_jax.evidence.statistics import CONFIDENCE


@dataclasses.dataclass(frozen=True)
class Advantage:
    """The difference of two rates over the same plays: with the person minus without.

    Attributes:
      value: The difference, in [-1, 1].
      exact: A conservative 95% interval, `exact_interval`.
      clustered: A 95% interval over people and seeds, `statistics.crossed_interval`; None where all
        plays differ alike.
      only_with: In how many plays there is success with the person only.
      only_without: In how many without the person only.
      p_value: Of the one-sided sign test, `sign_test`.
    """

    value: float
    exact: Interval
    clustered: Interval | None
    only_with: int
    only_without: int
    p_value: float


def advantage(
    with_person: Sequence[bool],
    without: Sequence[bool],
    people: Sequence[str],
    seeds: Sequence[int],
) -> Advantage:
    """Compares the two worlds of each play.

    Args:
      with_person: `[plays]`: success in the world with the person.
      without: `[plays]`: success in the world without.
      people: `[plays]`: whom each is about.
      seeds: `[plays]`: the seed of its trainings.

    Returns:
      The advantage.
    """
    inside, outside = np.asarray(with_person, bool), np.asarray(without, bool)
    only_with, only_without = int(np.sum(inside & ~outside)), int(np.sum(~inside & outside))
    return Advantage(
        value=(only_with - only_without) / len(inside),
        exact=exact_interval(int(inside.sum()), int(outside.sum()), len(inside)),
        clustered=statistics.crossed_interval(inside.astype(float) - outside, (people, seeds), 0),
        only_with=only_with,
        only_without=only_without,
        p_value=sign_test(only_with, only_without),
    )


def clopper_pearson(hits: int, count: int, confidence: float = CONFIDENCE) -> Interval:
    """Computes the exact interval of a rate.

    Args:
      hits: How often there was success.
      count: Of how many, 1 or more.
      confidence: Of the interval.

    Returns:
      Its ends, in [0, 1].

    Source: C. J. Clopper and E. S. Pearson, "The use of confidence or fiducial limits illustrated
      in the case of the binomial", 1934.
    """
    interval = scipy.stats.binomtest(hits, count).proportion_ci(confidence, method="exact")
    return float(interval.low), float(interval.high)


def exact_interval(hits_with: int, hits_without: int, plays: int) -> Interval:
    """Bounds the difference of two rates, whatever they have to do with each other.

    Two Clopper-Pearson intervals at half the error each: both hold at once with the confidence of
    the whole (Bonferroni), and then so does the difference of their ends. The plays count as
    independent; how little they are is what `statistics.crossed_interval` is for.

    Args:
      hits_with: Successes in the world with the person.
      hits_without: Successes in the other.
      plays: Of how many in each, 1 or more.

    Returns:
      The ends, in [-1, 1].
    """
    half = 1 - (1 - CONFIDENCE) / 2
    low, high = clopper_pearson(hits_with, plays, half)
    other_low, other_high = clopper_pearson(hits_without, plays, half)
    return low - other_high, high - other_low


def sign_test(only_with: int, only_without: int) -> float:
    """Tests whether success is more frequent with the person: McNemar's test, exact, one-sided.

    Args:
      only_with: Plays with success in the world with the person only.
      only_without: Plays with success in the other only.

    Returns:
      The chance of as many of the former or more, if each of both kinds were a fair coin.
    """
    different = only_with + only_without
    return float(scipy.stats.binom.sf(only_with - 1, different, 0.5)) if different else 1.0
