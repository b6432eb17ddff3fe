"""The verdict for each person: recognizable to strangers, named by relatives only, or nothing.

The end of the evidence. A person is recognizable if the judges that share nothing with the target
rank the person better for the clones than all nulls explain, in two ways that both have to hold:

- The clones taken together come nearer to their person than sets of clones come to anybody at whom
  they were not aimed (`set_p_values`). Every set is one observation, since the restarts of one
  class resemble one another: a pattern that all of them share brings them nearer to somebody, by
  accident.
- One by one they rank the person better than seeds and than clones aimed at others do
  (`clones_p_value`).

The larger p-value counts, corrected for the number of people by Holm's method.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import scipy.stats

from mia_jax.evidence import results, statistics
from mia_jax.evidence.examination import Examined
from mia_jax.evidence.judges import Judge
from mia_jax.evidence.results import Judgement, Measure, PersonFigures, Verdict

LEVEL = 0.05


def verdicts(
    judges: Sequence[Judge],
    seen: Mapping[str, Mapping[str, Examined]],
    judgements: Mapping[str, Judgement],
) -> dict[str, Verdict]:
    """Says for each person what the evidence comes to.

    Args:
      judges: All judges.
      seen: For each judge's name and attacked person, what the judge saw.
      judgements: What each judge says, by name.

    Returns:
      The verdicts, by person.
    """
    strangers = [judge for judge in judges if judge.stranger]
    tested = _tests(strangers, [seen[judge.name] for judge in strangers]) if strangers else {}

    def verdict(name: str) -> Verdict:
        named_by = tuple(
            judge.name
            for judge in judges
            if not judge.stranger
            and stands_out(judgements[judge.name].people[name], judgements[judge.name].chance.rank1)
        )
        p_value, of_set, of_clones = tested.get(name, (None, None, None))
        level = results.NAMED if named_by else results.NO_EVIDENCE
        if p_value is not None and p_value <= LEVEL:
            level = results.RECOGNIZABLE
        return Verdict(level, p_value, of_set, of_clones, named_by)

    return {name: verdict(name) for name in seen[judges[0].name]}


def _tests(
    strangers: Sequence[Judge], views: Sequence[Mapping[str, Examined]]
) -> dict[str, tuple[float, float, float]]:
    """Returns the corrected p-value, and those of the sets and of the clones, by person."""
    of_sets = set_p_values(strangers, views)
    of_clones = {name: clones_p_value([view[name] for view in views]) for name in of_sets}
    corrected = statistics.holm([max(of_sets[name], of_clones[name]) for name in of_sets])
    return {
        name: (float(p_value), of_sets[name], of_clones[name])
        for name, p_value in zip(of_sets, corrected, strict=True)
    }


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


def set_p_values(
    strangers: Sequence[Judge], views: Sequence[Mapping[str, Examined]]
) -> dict[str, float]:
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
    common = set.intersection(*(set(judge.people) for judge in strangers))
    people = [name for name in strangers[0].people if name in common]
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


def stands_out(figures: PersonFigures, chance: float) -> bool:
    """Tells whether a person's clones are named right more often than all else explains.

    The whole interval of the rank-1 rate has to lie above chance, above the intervals of the seeds
    and of the clones aimed at others, and above the rate of the mean face, which is one image and
    no sample: where that is named as the person, nothing can be said.

    Args:
      figures: The person's.
      chance: The rank-1 rate of guessing.

    Returns:
      Whether they do; False also where an interval is missing.
    """
    controls = figures.controls
    bars = [chance, _ends(controls.seeds.rank1)[1], controls.mean_face.rank1.value]
    if controls.others:
        bars.append(_ends(controls.others.rank1)[1])
    return _ends(figures.clones.rank1)[0] > max(bars)


def _ends(measure: Measure) -> tuple[float, float]:
    """Returns the ends of a rate's interval; of all that is possible where there is none."""
    return measure.interval or (0.0, 1.0)


def _set_scores(
    judge: Judge, view: Mapping[str, Examined], people: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the scores of clones and of seeds taken together, `[sets, people]` each."""
    columns = [judge.people.index(name) for name in people]
    clones = np.stack([person.clones.opinion.together for person in view.values()])
    seeds = np.stack([person.seeds.opinion.together for person in view.values()])
    return clones[:, columns], seeds[:, columns]
