"""Tests of significance: whether strangers see the person in clones, beyond all that nulls explain.

The unit is the person: restarts of one class resemble one another, so that a pattern which all of
them share brings them nearer to somebody by accident. In the story this stands between what the
judges saw and the `verdict`.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import scipy.stats

from mia_jax.evidence.examination import Examined
from mia_jax.evidence.judges import Judge

_PAIRINGS = 9999  # Ways to pair clones with people that are tried, where there are more.

Views = Sequence[Mapping[str, Examined]]


def least_p_value(sets: int, people: int, restarts: int) -> float:
    """Returns the least corrected p-value that a person can reach; above 5% nobody can.

    Args:
      sets: How many people are attacked.
      people: How many there are in the data set.
      restarts: Clones of each.

    Returns:
      Holm's first, of the larger of what the two tests can give: with more than 20 people and more
      than 5 restarts of each it is below 5% (a hundred people attacked need 7).
    """
    of_sets = 1 / (1 + sets * (people - 1))
    return sets * max(of_sets, 1 / math.comb(2 * restarts, restarts))


def set_p_values(strangers: Sequence[Judge], views: Views) -> dict[str, float]:
    """Tests whether each person's clones taken together are nearer to the person than to others.

    A permutation test: the statistic is how far the score of the person exceeds what other sets
    score for this person, in standard deviations over everybody in the gallery, mean over the
    judges. Under the null hypothesis it is exchangeable with the same figure for the people at whom
    a set was not aimed; those of all sets are its distribution.

    Args:
      strangers: The judges.
      views: What each of them saw, by attacked person.

    Returns:
      One-sided p-values by person; none is below 1 / (1 + sets x (people - 1)).
    """
    names = list(views[0])
    people = _known_to_all(strangers)
    aims = np.array([people.index(name) for name in names])
    excess = np.mean(
        [
            standardized(*_set_scores(judge, view, people), aims)
            for judge, view in zip(strangers, views, strict=True)
        ],
        axis=0,
    )
    own = np.arange(len(people)) == aims[:, None]
    null = np.nan_to_num(excess[~own], nan=np.inf)  # What is not a number speaks for nobody.
    return {
        name: float((1 + np.sum(~(null < figure))) / (1 + len(null)))
        for name, figure in zip(names, excess[own], strict=True)
    }


def overall_p_value(strangers: Sequence[Judge], views: Views, seed: int) -> float | None:
    """Tests whether clones and people belong together, over all people at once.

    A permutation test: the statistic is the mean score of each person for the clones aimed at them,
    taken together. Under the null hypothesis clones tell nothing of their aim, and any other
    pairing of sets and people scores as high. What is due to a set alone or to a person alone is
    the same in every pairing, and cancels.

    Args:
      strangers: The judges; each judge's scores count in units of their standard deviation.
      views: What each of them saw, by attacked person.
      seed: Of the pairings that are tried.

    Returns:
      The one-sided p-value, at least 1 / 10,000, and at least 1 over the number of pairings; None
      without a judge, and for one person alone.
    """
    if not strangers or len(views[0]) < 2:
        return None
    names = list(views[0])
    tables = []
    for judge, view in zip(strangers, views, strict=True):
        scores, _ = _set_scores(judge, view, names)
        finite = np.where(np.isfinite(scores), scores, np.nanmin(scores, initial=0.0))
        tables.append(finite / (finite.std() or 1.0))
    table = np.mean(tables, axis=0)
    rows = np.arange(len(names))
    result = scipy.stats.permutation_test(
        (rows,),
        lambda aims, axis: table[rows, np.asarray(aims, int)].mean(axis=axis),
        permutation_type="pairings",
        alternative="greater",
        n_resamples=_PAIRINGS,
        vectorized=True,
        axis=-1,
        rng=np.random.default_rng(seed),
    )
    return float(result.pvalue)


def standardized(clones: np.ndarray, seeds: np.ndarray, aims: np.ndarray) -> np.ndarray:
    """Takes out of scores what is due to a set of images, and what is due to a person.

    Args:
      clones: `[sets, people]`: scores of sets of clones.
      seeds: `[sets, people]`: the same of the seeds, for where there are too few sets.
      aims: `[sets]`: at whom each set was aimed.

    Returns:
      `[sets, people]`: each score less the mean of the other sets' that were not aimed at this
      person; of that the distance from the mean over all other people at whom the set was not
      aimed, in their standard deviations.
    """
    sets, people = clones.shape
    aimed = np.arange(people) == aims[:, None]
    if sets > 2:
        counted = ~aimed
        total = np.sum(clones, axis=0, where=counted) - np.where(counted, clones, 0)
        less = total / (counted.sum(axis=0) - counted)
    else:
        less = seeds.mean(axis=0)
    excess = clones - less
    counted = ~aimed
    rest = np.where(counted, excess, 0)
    count = people - 1 - counted  # Everybody but the aim, and but the person in question.
    mean = (rest.sum(axis=1, keepdims=True) - rest) / count
    squares = (rest**2).sum(axis=1, keepdims=True) - rest**2
    variance = np.maximum(squares / count - mean**2, 0) * count / np.maximum(count - 1, 1)
    deviation = np.sqrt(variance)
    return np.where(deviation > 0, (excess - mean) / np.where(deviation > 0, deviation, 1), 0)


def clones_p_value(views: Sequence[Examined]) -> float:
    """Tests whether single clones rank the person better than those of others, and than seeds.

    Args:
      views: What each stranger saw of the person.

    Returns:
      The larger of the one-sided p-values of two Mann-Whitney tests; for one person attacked alone,
      that of the test against seeds.
    """

    def mean_rank(group: str) -> np.ndarray:
        return np.mean([getattr(view, group).opinion.rank for view in views], axis=0)

    groups = ["seeds"] if views[0].others is None else ["seeds", "others"]
    tests = [
        scipy.stats.mannwhitneyu(mean_rank("clones"), mean_rank(group), alternative="less")
        for group in groups
    ]
    return float(max(np.nan_to_num(test.pvalue, nan=1.0) for test in tests))


def _known_to_all(strangers: Sequence[Judge]) -> list[str]:
    """Returns the people in every judge's gallery, in the order of the first."""
    common = set.intersection(*(set(judge.people) for judge in strangers))
    return [name for name in strangers[0].people if name in common]


def _set_scores(
    judge: Judge, view: Mapping[str, Examined], people: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the scores of clones and of seeds taken together, `[sets, people]` each."""
    columns = [judge.people.index(name) for name in people]
    clones = np.stack([person.clones.opinion.together for person in view.values()])
    seeds = np.stack([person.seeds.opinion.together for person in view.values()])
    return clones[:, columns], seeds[:, columns]
