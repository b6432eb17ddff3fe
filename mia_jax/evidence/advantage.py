"""How much more often something succeeds in one world than in the other, and how sure that is.

A play is a person and a seed of training; in each play there is success or not in the world with
the person, and in the world without. Both see the same person, and so they are compared play by
play; whoever plays with several seeds is one person still. In the story these are the statistics
of `game`.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
import scipy.optimize
import scipy.stats

from mia_jax.evidence.results import Interval
from mia_jax.evidence.statistics import CONFIDENCE

_TAIL = (1 - CONFIDENCE) / 2


@dataclasses.dataclass(frozen=True)
class Advantage:
    """The difference of two rates over the same plays: with the person minus without.

    Attributes:
      value: The difference, in [-1, 1].
      interval: Its 95% interval over people; 0 is outside if and only if `p_value` is at most 5%.
      only_with: In how many plays there is success with the person only.
      only_without: In how many without the person only.
      p_value: Of the two-sided sign test over people.
    """

    value: float
    interval: Interval
    only_with: int
    only_without: int
    p_value: float


def advantage(
    with_person: Sequence[bool], without: Sequence[bool], people: Sequence[str]
) -> Advantage:
    """Compares the two worlds of each play.

    Under the null hypothesis a person's worlds could change their names, in all plays of this
    person at once: the sum of the differences over all plays has the distribution of sums whose
    parts change signs by fair coins, one for each person. Where everybody plays once, that is
    McNemar's test, exact.

    The interval has two parts. Coins that are not fair, of all probabilities that the sum does not
    refute, bound which way the worlds differ; Clopper and Pearson's interval bounds how often they
    differ. The difference is the product of both.

    Args:
      with_person: `[plays]`: success in the world with the person.
      without: `[plays]`: success in the world without.
      people: `[plays]`: whom each is about.

    Returns:
      The advantage.

    Source: Q. McNemar, "Note on the sampling error of the difference between correlated proportions
      or percentages", 1947; R. A. Fisher, "The design of experiments", 1935, section 21.
    """
    inside, outside = np.asarray(with_person, bool), np.asarray(without, bool)
    numbers = np.unique(np.asarray(people), return_inverse=True)[1]
    sums = np.bincount(numbers, weights=inside.astype(int) - outside).round().astype(int)
    sizes, total, plays = np.abs(sums[sums != 0]), int(sums.sum()), len(inside)
    seldom, often = clopper_pearson(sizes.sum() * len(sums) / plays, len(sums))
    low, high = (2 * end - 1 for end in _coins(sizes, total))
    return Advantage(
        value=total / plays,
        interval=(low * (seldom if low > 0 else often), high * (often if high > 0 else seldom)),
        only_with=int(np.sum(inside & ~outside)),
        only_without=int(np.sum(~inside & outside)),
        p_value=min(1.0, 2 * min(_at_least(sizes, each, 0.5) for each in (total, -total))),
    )


def clopper_pearson(hits: float, count: int) -> Interval:
    """Computes the exact 95% interval of a rate.

    Args:
      hits: How often there was success; of people with several plays a fraction each.
      count: Of how many, 1 or more.

    Returns:
      Its ends, in [0, 1].

    Source: C. J. Clopper and E. S. Pearson, "The use of confidence or fiducial limits illustrated
      in the case of the binomial", 1934.
    """
    missed = max(count - hits, 0.0)
    low = scipy.stats.beta.ppf(_TAIL, hits, missed + 1) if hits > 0 else 0.0
    high = scipy.stats.beta.isf(_TAIL, hits + 1, missed) if missed > 0 else 1.0
    return float(low), float(high)


def _coins(sizes: np.ndarray, total: int) -> Interval:
    """Returns the least and the most that coins may favor the person and give such a sum."""

    def end(total: int) -> float:
        if total == -sizes.sum():
            return 0.0  # Every coin gives as much or more.
        excess = lambda coin: _at_least(sizes, total, coin) - _TAIL  # noqa: E731
        return float(scipy.optimize.brentq(excess, 0, 1, xtol=1e-12))

    return end(total), 1 - end(-total)


def _at_least(sizes: np.ndarray, total: int, coin: float) -> float:
    """Returns the chance that the sum of the sizes, each with a sign by a coin, is as large."""
    chances = np.ones(1)  # Of each sum, two apart, from the least.
    for size in sizes:
        step = np.zeros(size + 1)
        step[[0, -1]] = 1 - coin, coin
        chances = np.convolve(chances, step)
    return float(min(1.0, chances[(total + int(sizes.sum())) // 2 :].sum()))
