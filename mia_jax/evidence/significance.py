"""Tests of significance: whether strangers see the person in clones, beyond all that nulls explain.

The unit is the person: restarts of one class resemble one another, so that a pattern which all of
them share brings them nearer to somebody by accident. Only the clones of a person taken together
are tested, never the restarts as if each were a witness. The nulls are the other people of the
gallery, without those whose faces the attacker had: clones are made of these. In the story this
stands between what the judges saw and the `verdict`.
"""

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from mia_jax.evidence.examination import Examined
from mia_jax.evidence.judges import Judge

LEVEL = 0.05  # Of all that is claimed of a run.
_DRAWS = 9999  # Ways to pair sets with people that are tried.
_AT_ONCE = 500  # Of these, how many at a time.
# By how many standard deviations a leak lifts the mean of all sets, or one set, where the test
# over all people looks hardest; and how much more weight the latter has. Chosen in a simulation.
_OF_ALL, _OF_ONE, _WEIGHT = 2.0, 3.0, 1.0
MOST = 30.0  # Deviations beyond which a set counts no more.
# How much of the scores' variance people's looks explain, in units of what is a person's own,
# shared out by the variance of each direction of looks. Chosen in a simulation.
_IN_COMMON = 16.0
_LITTLE = 1e-9  # Rounding errors.

Views = Sequence[Mapping[str, Examined]]


@dataclasses.dataclass(frozen=True)
class Corrected:
    """P-values that may be compared with a level without further thought.

    Attributes:
      people: By person.
      overall: Of the test over all people; None where there is none.
    """

    people: dict[str, float]
    overall: float | None


class Sets(NamedTuple):
    """What the judges say of each person's clones taken together.

    Attributes:
      people: Who may serve as a null: everybody whom all judges know, without the attacker's.
      aims: `[sets]`: at which of them each set is aimed.
      clones: `[judges, sets, people]`: scores of the clones, higher for more like.
      seeds: `[judges, sets, people]`: the same of the seeds.
      in_common: `[people, directions]` for each judge, of `looks_in_common`.
    """

    people: tuple[str, ...]
    aims: np.ndarray
    clones: np.ndarray
    seeds: np.ndarray
    in_common: tuple[np.ndarray, ...]


def least_p_value(sets: int, people: int) -> float:
    """Returns the least corrected p-value that a person can reach; above 5% nobody can.

    Args:
      sets: How many people are attacked.
      people: How many there are in the data set, without those whose faces the attacker has.

    Returns:
      The first of `corrected`, where the clones of this person are nearer than all nulls: with 20
      people or more it is at most 5%, however many are attacked. `power.expected` says how likely a
      leak is to get there.
    """
    return max(sets - 1, 1) / (1 + sets * (people - 1))


def corrected(people: Mapping[str, float], overall: float | None) -> Corrected:
    """Corrects p-values for one another, so that any false positive at all stays rare.

    A closed test. That nobody leaks is one hypothesis, and the test over all people is made for it:
    it decides alone, at the full level. Whoever is to be found must pass it too, and passes Holm's
    test among those who are left if one person does leak: of n people n - 1, twice, then n - 2, and
    so on. So the test over all costs the people no share of the level, and costs itself none.

    Args:
      people: P-values by person.
      overall: Of `overall_p_value`; None where there is none, and people are then corrected by
        Holm's method.

    Returns:
      The same corrected. If nobody leaks, the chance that any of them is at most 5% is at most 5%,
      whatever the tests have to do with each other; of those who leak not, with others who do, too.

    Source: R. Marcus, E. Peritz, K. R. Gabriel, "On closed testing procedures with special
      reference to ordered analysis of variance", Biometrika 63, 1976; J. Shaffer, "Modified
      sequentially rejective multiple test procedures", JASA 81, 1986, for the n - 1.
    """
    names = sorted(people, key=lambda name: people[name])
    count, least = len(names), 0.0 if overall is None else overall
    found: dict[str, float] = {}
    for place, name in enumerate(names):
        left = count - place
        if overall is not None:
            left = max(min(left, count - 1), 1)
        least = max(least, min(left * people[name], 1.0))
        found[name] = least
    return Corrected({name: found[name] for name in people}, overall)


def set_p_values(
    strangers: Sequence[Judge], views: Views, auxiliary: Collection[str] = ()
) -> dict[str, float]:
    """Tests whether each person's clones taken together are nearer to the person than to others.

    A permutation test: the statistic is how far the score of the person exceeds what other sets
    score for this person, and what people of like looks score (`standing_out`), in standard
    deviations over everybody in the null, mean over the judges.
    Under the null hypothesis it is exchangeable with the same figure for the people at whom a set
    was not aimed; those of all sets are its distribution.

    Args:
      strangers: The judges.
      views: What each of them saw, by attacked person.
      auxiliary: Whose faces the attacker has. Clones are mixtures of these, which come nearer to
        them, and vary more, than to anybody else: they are no null.

    Returns:
      One-sided p-values by person, not corrected; none is below 1 / (1 + sets x (people - 1)).
    """
    sets = of_strangers(strangers, views, auxiliary)
    stands_out = excess(sets)
    own = stands_out[np.arange(len(sets.aims)), sets.aims]
    found = p_values(own, null(stands_out, sets.aims))
    return dict(zip(views[0], found.tolist(), strict=True))


def overall_p_value(
    strangers: Sequence[Judge], views: Views, seed: int, auxiliary: Collection[str] = ()
) -> float | None:
    """Tests whether clones and people belong together, over all people at once.

    A permutation test: under the null hypothesis clones tell nothing of their aim, and any other
    people of the null belong to them as well. The statistic is the mean of two likelihood ratios
    of what `set_p_values` looks at: of a leak of everybody, and of a strong one of somebody.

    Args:
      strangers: The judges.
      views: What each of them saw, by attacked person.
      seed: Of the pairings that are tried.
      auxiliary: As in `set_p_values`.

    Returns:
      The one-sided p-value, at least 1 / 10,000; None without a judge, and for one person alone.
    """
    if not strangers or len(views[0]) < 2:
        return None
    sets = of_strangers(strangers, views, auxiliary)
    draws = pairings(len(sets.aims), len(sets.people), seed)
    return p_value_of_all(excess(sets), sets.aims, draws)


def of_strangers(strangers: Sequence[Judge], views: Views, auxiliary: Collection[str] = ()) -> Sets:
    """Collects the scores that are tested.

    Args:
      strangers: The judges, one at least.
      views: What each of them saw, by attacked person.
      auxiliary: Whose faces the attacker has; whoever is attacked stays.

    Returns:
      The scores.
    """
    names = list(views[0])
    known = set.intersection(*({*judge.people} for judge in strangers))
    known -= {*auxiliary} - {*names}
    people = tuple(name for name in strangers[0].people if name in known)

    def of(group: str) -> np.ndarray:
        return np.stack(
            [
                np.stack([getattr(seen, group).opinion.together for seen in view.values()])[
                    :, [judge.people.index(name) for name in people]
                ]
                for judge, view in zip(strangers, views, strict=True)
            ]
        )

    aims = np.array([people.index(name) for name in names])
    in_common = tuple(looks_in_common(_templates(judge, people)) for judge in strangers)
    return Sets(people, aims, of("clones"), of("seeds"), in_common)


def _templates(judge: Judge, people: Sequence[str]) -> np.ndarray:
    """Returns what a judge remembers of people; of one who does not say, nothing of any."""
    if judge.templates is None:
        return np.zeros((len(people), 1))
    return judge.templates[[judge.people.index(name) for name in people]]


def excess(sets: Sets) -> np.ndarray:
    """Says how far each set stands out for each person, mean over the judges.

    Args:
      sets: The scores.

    Returns:
      `[sets, people]`: `standardized`; what is not a number speaks for nobody.
    """
    each = [
        standardized(clones, seeds, sets.aims, in_common)
        for clones, seeds, in_common in zip(sets.clones, sets.seeds, sets.in_common, strict=True)
    ]
    found: np.ndarray = np.mean(each, axis=0)
    own = np.arange(found.shape[1]) == sets.aims[:, None]
    return np.where(np.isnan(found), np.where(own, -np.inf, np.inf), found)


def looks_in_common(templates: np.ndarray) -> np.ndarray:
    """Says what people have in common, so that the scores of some predict those of the others.

    Clones that look like a man in glasses score high for all such men; what tells of one man is how
    far he exceeds the others. Scores are normal, with a variance of their own and a part that is
    linear in the features of the people: what most people vary by explains most.

    Args:
      templates: `[people, features]`: a judge's features of each; zeros where there are none.

    Returns:
      `[people, directions]`: B, so that I - B B' is the inverse covariance of their scores, in
      units of the variance, without their unknown mean.
    """
    count = len(templates)
    centered = templates - templates.mean(axis=0)
    directions, lengths, _ = np.linalg.svd(centered, full_matrices=False)
    explained = _IN_COMMON * lengths**2 / max(float(np.sum(lengths**2)), np.finfo(float).tiny)
    weights = np.sqrt(explained / (1 + explained))
    return np.column_stack([np.full(count, count**-0.5), weights * directions])


def standardized(
    clones: np.ndarray, seeds: np.ndarray, aims: np.ndarray, in_common: np.ndarray
) -> np.ndarray:
    """Takes out of scores what is due to a set of images, to a person, and to looks in common.

    Args:
      clones: `[sets, people]`: scores of sets of clones.
      seeds: `[sets, people]`: the same of the seeds, for where there are too few sets.
      aims: `[sets]`: at whom each set was aimed.
      in_common: `[people, directions]`, of `looks_in_common`.

    Returns:
      `[sets, people]`: each score less the mean of all sets for this person, or of the seeds where
      there are two sets or one; of that `standing_out` among all people at whom the set was not
      aimed.
    """
    excess = clones - (clones if len(clones) > 2 else seeds).mean(axis=0)
    found = standing_out(excess, in_common, aims)
    rows = np.arange(len(aims))
    found[rows, aims] = standing_out(excess, in_common)[rows, aims]
    return found


def standing_out(
    scores: np.ndarray, in_common: np.ndarray, left_out: np.ndarray | None = None
) -> np.ndarray:
    """Says how far each score exceeds what all other people's predict.

    Args:
      scores: `[sets, people]`.
      in_common: `[people, directions]`, of `looks_in_common`.
      left_out: `[sets]`: a person each whose score predicts nothing; None to use everybody's.

    Returns:
      `[sets, people]`: the distance from the prediction, in standard deviations of its error, which
      are estimated without this person as well.

    Source: C. Rasmussen, C. Williams, "Gaussian Processes for Machine Learning", 2006, equations
      5.10 to 5.12.
    """
    rest = scores - scores @ in_common @ in_common.T
    total = np.sum(scores * rest, axis=1, keepdims=True)
    precision = np.broadcast_to(1 - np.sum(in_common**2, axis=1), scores.shape)
    count = scores.shape[1] - 2
    if left_out is not None:  # As if with a mean of its own.
        rows = np.arange(len(scores))
        column = (np.arange(scores.shape[1]) == left_out[:, None]) - (
            in_common[left_out] @ in_common.T
        )
        own = column[rows, left_out][:, None]
        residual = rest[rows, left_out][:, None]
        column = column / np.sqrt(np.maximum(own, _LITTLE))
        residual = residual / np.sqrt(np.maximum(own, _LITTLE))
        rest = rest - column * residual
        total = total - residual**2
        precision = precision - column**2
        count -= 1
    squares = rest**2 / np.maximum(precision, _LITTLE)
    variance = (total - squares) / max(count, 1)
    counts = (precision > _LITTLE) & (variance > _LITTLE * np.mean(scores**2, axis=1)[:, None])
    found: np.ndarray = rest / np.sqrt(np.where(counts, precision * variance, 1))
    return np.where(counts | np.isnan(variance), found, 0)


def null(stands_out: np.ndarray, aims: np.ndarray) -> np.ndarray:
    """Collects how far sets stand out for people at whom they were not aimed.

    Args:
      stands_out: `[sets, people]`, of `excess`.
      aims: `[sets]`.

    Returns:
      `[sets * (people - 1)]`, sorted.
    """
    own = np.arange(stands_out.shape[1]) == aims[:, None]
    return np.sort(stands_out[~own])


def p_values(stands_out: np.ndarray, nulls: np.ndarray) -> np.ndarray:
    """Compares how far sets stand out with all that they do for people at whom they were not aimed.

    Args:
      stands_out: `[...]`.
      nulls: `[n]`, of `null`.

    Returns:
      `[...]`: one-sided p-values.
    """
    as_far = len(nulls) - np.searchsorted(nulls, stands_out, side="left")
    found: np.ndarray = (1 + as_far) / (1 + len(nulls))
    return found


def pairings(sets: int, people: int, seed: int, draws: int = _DRAWS) -> np.ndarray:
    """Draws other people for all sets at once, no two of them the same.

    Args:
      sets: How many people are attacked.
      people: How many there are in the null.
      seed: Of the draws.
      draws: How many.

    Returns:
      `[draws, sets]`: numbers of people.
    """
    rng = np.random.default_rng(seed)
    kind = np.uint16 if people <= 1 << 16 else np.uint32
    found = np.empty((draws, sets), kind)
    for first in range(0, draws, _AT_ONCE):
        rows = found[first : first + _AT_ONCE]
        rows[:] = rng.random((len(rows), people)).argsort(axis=1)[:, :sets]
    return found


def p_value_of_all(stands_out: np.ndarray, aims: np.ndarray, draws: np.ndarray) -> float:
    """Compares how far all sets stand out for their aims with what they do for other people.

    Args:
      stands_out: `[sets, people]`, of `excess`.
      aims: `[sets]`.
      draws: `[draws, sets]`, of `pairings`.

    Returns:
      The one-sided p-value.
    """
    rows = np.arange(len(aims))
    own = evidence(stands_out[rows, aims])
    # In parts: gathered at once, of thousands of sets, this would not fit in memory.
    parts = np.split(draws, range(_AT_ONCE, len(draws), _AT_ONCE))
    as_far = sum(int(np.sum(evidence(stands_out[rows, part]) >= own - _LITTLE)) for part in parts)
    return (1 + as_far) / (1 + len(draws))


def evidence(stands_out: np.ndarray) -> np.ndarray:
    """Weighs how far sets stand out, as the test over all people does.

    Args:
      stands_out: `[..., sets]`: each for one person.

    Returns:
      `[...]`: the logarithm of the mean of two likelihood ratios of normal deviates, of a leak that
      lifts all by the same, and of one that lifts one of them.
    """
    bounded = np.clip(stands_out, -MOST, MOST)
    return combined(bounded.sum(axis=-1), of_one(bounded).sum(axis=-1), bounded.shape[-1])


def of_one(stands_out: np.ndarray) -> np.ndarray:
    """Returns the likelihood ratio of each, for a strong leak of this one against none."""
    return np.exp(_OF_ONE * np.clip(stands_out, -MOST, MOST) - _OF_ONE**2 / 2)


def combined(total: np.ndarray, ratios: np.ndarray, sets: int) -> np.ndarray:
    """Puts both likelihood ratios together.

    Args:
      total: `[...]`: the sum of the deviates.
      ratios: `[...]`: the sum of `of_one`.
      sets: Of how many.

    Returns:
      `[...]`: the logarithm of their weighted sum.
    """
    of_all = _OF_ALL * total / np.sqrt(sets) - _OF_ALL**2 / 2
    found: np.ndarray = np.logaddexp(of_all, np.log(_WEIGHT * ratios / sets))
    return found
