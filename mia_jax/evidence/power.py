"""What a run could have shown: the smallest leak that it finds, planted in its own features.

A run that finds nothing says little unless one knows what it would have found. Here clones without
a leak are moved towards a person's photographs, step by step, and tested as the run itself tests
(`significance`), with its own judges, gallery, nulls and number of sets. In the story this stands
beside the `verdict`.
"""

import bisect
from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np
import scipy.optimize
import scipy.stats

from mia_jax.evidence import scores, significance, statistics
from mia_jax.evidence.judges import Judge
from mia_jax.evidence.results import SmallestLeak

POWER = 0.8
REFERENCE = 0.9  # The set rank-1 of the leak by which a run is described before it begins.
_FRACTIONS = np.linspace(0, 1, 41)[1:]
_DRAWS = 40  # Clones without a leak that are moved, for each person.
_PAIRINGS = 499
_PEOPLE = 30  # Of more, these are looked at: each takes half a second in a gallery of thousands.
_TRIALS = 200
# Sets, and of the people five times as many, at most: with more sets Holm's factor and the nulls
# grow alike, and more people make hardly a difference.
_SIMULATED = 100
_SHARED = 0.5  # Of the variance of clones that know nothing of the person, what restarts share.


class SmallestLeaks(NamedTuple):
    """What a run could have shown.

    Attributes:
      people: By person; None where no leak would have been shown, however large.
      overall: The smallest leak of everybody at once that the test over all people would have
        shown; None as well for one person alone.
    """

    people: dict[str, SmallestLeak | None]
    overall: SmallestLeak | None


class _Run(NamedTuple):
    """What was tested: scores, how far sets stand out, and what that comes to."""

    sets: significance.Sets
    null: np.ndarray  # Sorted.
    p_values: np.ndarray
    draws: np.ndarray
    own: np.ndarray  # How far the sets stand out for their aims.
    drawn: np.ndarray  # How far they do for those drawn.
    evidence: np.ndarray  # What that comes to.


class _Planted(NamedTuple):
    """Clones of one person with a leak: `[draws, fractions]`, and judges first in `ranks`."""

    stands_out: np.ndarray
    ranks: np.ndarray


def smallest_leaks(
    strangers: Sequence[Judge],
    views: significance.Views,
    seed: int,
    auxiliary: Collection[str] = (),
) -> SmallestLeaks:
    """Finds the smallest leak of each person, and of all at once, that a run would have shown.

    Clones that know nothing of a person are those aimed at somebody else, of whom restarts are
    drawn with replacement; of one person alone, the own ones without what points from the seeds to
    the photographs. They are moved a fraction of the way to the mean of the person's photographs.
    The tests are those of the run, and everybody else's clones stay as they are.

    Args:
      strangers: The independent judges.
      views: What each of them saw, by attacked person.
      seed: Of the draws.
      auxiliary: Whose faces the attacker has, as in `significance.set_p_values`.

    Returns:
      The leaks that are found with a power of `POWER`, to a fortieth of the way; in simulated runs
      leaks of that size were found in 0.67 to 0.99 of the cases. Of more than 30
      people a sample is looked at, and the others get the median of what is found there. Where two
      or three are attacked, the leaks rest on one or two sets without a leak, and are as rough.
    """
    names = list(views[0]) if strangers else []
    if not names:
        return SmallestLeaks({}, None)
    rng = np.random.default_rng(seed)
    sets = significance.of_strangers(strangers, views, auxiliary)
    stands_out = significance.excess(sets)
    null, rows = significance.null(stands_out, sets.aims), np.arange(len(names))
    draws = significance.pairings(len(names), len(sets.people), seed, _PAIRINGS)
    drawn = stands_out[rows, draws]
    run = _Run(
        sets=sets,
        null=null,
        p_values=significance.p_values(stands_out[rows, sets.aims], null),
        draws=draws,
        own=stands_out[rows, sets.aims],
        drawn=drawn,
        evidence=significance.evidence(drawn),
    )
    sample = np.sort(rng.permutation(len(names))[:_PEOPLE]).tolist()
    planted = {place: _plant(strangers, views, run, place, rng) for place in sample}
    found = {
        names[place]: _smallest(_power_of_one(run, place, each.stands_out), each.ranks)
        for place, each in planted.items()
    }
    middle = _median([*found.values()])
    return SmallestLeaks(
        people={name: found.get(name, middle) for name in names},
        overall=_of_all(run, [*planted.values()], rng) if len(names) > 1 else None,
    )


def _plant(
    strangers: Sequence[Judge],
    views: significance.Views,
    run: _Run,
    place: int,
    rng: np.random.Generator,
) -> _Planted:
    """Moves clones without a leak towards one person, and tests them as the person's own."""
    names = list(views[0])
    others = [each for each in range(len(names)) if each != place] or [place]
    bases = np.resize(rng.permutation(others), _DRAWS)
    restarts = len(views[0][names[place]].clones.opinion.vectors)
    picks = rng.integers(restarts, size=(_DRAWS, restarts))
    stands_out, ranks = [], []
    for number, (judge, view) in enumerate(zip(strangers, views, strict=True)):
        truth = view[names[place]].training.mean(axis=0)
        drawn = []
        for base, pick in zip(bases, picks, strict=True):
            vectors = view[names[base]].clones.opinion.vectors
            drawn.append(vectors[pick % len(vectors)].mean(axis=0))
        start = np.stack(drawn)
        if others == [place]:
            start = _without(start, view[names[place]].seeds.opinion.vectors.mean(axis=0), truth)
        steps = _FRACTIONS[:, None]
        moved = (1 - steps) * start[:, None] + steps * truth
        scored = scores.match(judge, moved.reshape(-1, moved.shape[-1]))
        rank = statistics.ranks(scored, judge.people.index(names[place]))
        ranks.append(rank.reshape(_DRAWS, len(_FRACTIONS)))
        columns = [judge.people.index(name) for name in run.sets.people]
        excess = scored[:, columns].reshape(_DRAWS, len(_FRACTIONS), -1)
        excess -= _due_to_people(run.sets, number, place, bases)[:, None]
        stands_out.append(
            _standing_out(
                excess, run.sets.in_common[number], run.sets.aims[place], run.sets.aims[bases]
            )
        )
    mean = np.mean(stands_out, axis=0)
    return _Planted(np.nan_to_num(mean, nan=-np.inf), np.stack(ranks))


def _due_to_people(
    sets: significance.Sets, judge: int, place: int, bases: np.ndarray
) -> np.ndarray:
    """Returns what people score for all sets but a person's own and those that are moved."""
    numbers = np.arange(len(sets.aims))
    counted = (numbers != place) & (numbers != bases[:, None])
    if not counted.any():
        return sets.seeds[judge].mean(axis=0, keepdims=True)
    found: np.ndarray = counted @ sets.clones[judge] / counted.sum(axis=1, keepdims=True)
    return found


def _without(vectors: np.ndarray, origin: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Takes out of vectors what points from the origin to the truth."""
    direction = truth - origin
    length = np.linalg.norm(direction) or 1.0
    found: np.ndarray = vectors - np.outer((vectors - origin) @ direction, direction) / length**2
    return found


def _standing_out(
    excess: np.ndarray, in_common: np.ndarray, aim: int, aims: np.ndarray
) -> np.ndarray:
    """Returns how far the aim stands out of all but itself and those aimed at before, `aims`."""
    draws, fractions, people = excess.shape
    before = None if (aims == aim).all() else np.repeat(aims, fractions)
    found = significance.standing_out(excess.reshape(-1, people), in_common, before)[:, aim]
    return found.reshape(draws, fractions)


def _power_of_one(run: _Run, place: int, stands_out: np.ndarray) -> np.ndarray:
    """Returns how often the person is found, by fraction."""
    enough = _level(np.delete(run.p_values, place))
    found = significance.p_values(stands_out, run.null) <= enough
    if len(run.p_values) > 1:
        found &= _of_all_with(run, place, stands_out) <= significance.LEVEL
    power: np.ndarray = found.mean(axis=0)
    return power


def _level(others: np.ndarray) -> float:
    """Returns the p-value that is enough for a person, where the others have these.

    The step of `significance.corrected` that is reached when everybody who comes first is found.
    """
    count = len(others) + 1
    for place, p_value in enumerate([*np.sort(others), np.inf]):
        left = max(min(count - place, count - 1), 1)
        if left * p_value > significance.LEVEL:
            break
    return significance.LEVEL / left


def _of_all_with(run: _Run, place: int, stands_out: np.ndarray) -> np.ndarray:
    """Returns the p-values of the test over all people, where this person has a leak."""
    count = len(run.sets.aims)

    def bounded(values: np.ndarray) -> np.ndarray:
        return np.clip(values, -significance.MOST, significance.MOST)

    def but_one(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        others = bounded(np.delete(values, place, axis=-1))
        return others.sum(axis=-1), significance.of_one(others).sum(axis=-1)

    def with_leak(total: np.ndarray, ratios: np.ndarray) -> np.ndarray:
        leak = bounded(stands_out)[..., None]
        return significance.combined(total + leak, ratios + significance.of_one(leak), count)

    weights = with_leak(*but_one(run.own))[..., 0]
    hit = run.draws[:, place] == run.sets.aims[place]  # These draw the leak itself.
    misses = np.sort(run.evidence[~hit])
    as_far = len(misses) - np.searchsorted(misses, weights - 1e-9, side="left")
    as_far += np.sum(with_leak(*but_one(run.drawn[hit])) >= weights[..., None] - 1e-9, axis=-1)
    found: np.ndarray = (1 + as_far) / (1 + len(run.draws))
    return found


def _of_all(
    run: _Run, planted: Sequence[_Planted], rng: np.random.Generator
) -> SmallestLeak | None:
    """Finds the smallest leak of everybody that the test over all people shows."""
    hit = run.draws == run.sets.aims
    pool = np.concatenate([each.stands_out for each in planted])
    allowed = int(significance.LEVEL * (1 + len(run.draws)) + 1e-9) - 1

    def power(step: int) -> float:
        leaks = rng.choice(pool[:, step], size=run.draws.shape)
        null = np.sort(significance.evidence(np.where(hit, leaks, run.drawn)))
        return float(np.mean(significance.evidence(leaks) > null[-1 - allowed]))

    first = bisect.bisect_left(range(len(_FRACTIONS)), POWER, key=power)
    powers = POWER * (np.arange(len(_FRACTIONS)) >= first)
    return _smallest(powers, np.concatenate([each.ranks for each in planted], axis=1))


def _smallest(power: np.ndarray, ranks: np.ndarray) -> SmallestLeak | None:
    """Describes the fraction from which on power is enough."""
    short = np.flatnonzero(power < POWER)
    step = 0 if not len(short) else int(short[-1]) + 1
    if step == len(power):
        return None
    rank = ranks[..., step]
    return SmallestLeak(float(_FRACTIONS[step]), float(np.mean(rank == 1)), float(np.median(rank)))


def _median(found: Sequence[SmallestLeak | None]) -> SmallestLeak | None:
    """Returns the leak in the middle; those that would not be shown are larger than all."""
    ordered = sorted(found, key=lambda each: np.inf if each is None else each.fraction)
    return ordered[len(ordered) // 2]


def expected(
    sets: int, people: int, restarts: int, rank1: float = REFERENCE, seed: int = 0
) -> float:
    """Says before a run how likely it is to find somebody who leaks, by a simulation.

    One person leaks, so that independent judges would put this person first for the clones taken
    together with the given probability, had they endless restarts. Scores are normal; of what
    they vary by without a leak, restarts share a half.

    Args:
      sets: How many people are attacked.
      people: How many there are in the data set, without those whose faces the attacker has.
      restarts: Clones of each.
      rank1: The probability, in (0, 1).
      seed: Of the simulation.

    Returns:
      The probability that the person is found, to about 0.03.
    """
    rng = np.random.default_rng(seed)
    sets, people = min(sets, _SIMULATED), min(people, 5 * _SIMULATED)
    aims = np.arange(sets)
    shift, spread = _shift(rank1, people), np.sqrt(_SHARED + (1 - _SHARED) / restarts)
    draws = significance.pairings(sets, people, seed, _PAIRINGS)
    in_common = significance.looks_in_common(np.zeros((people, 1)))
    hits = 0
    for _ in range(_TRIALS):
        clones = spread * rng.normal(size=(sets, people))
        clones[0, 0] += np.sqrt(_SHARED) * shift
        found = significance.standardized(clones, np.zeros_like(clones), aims, in_common)
        p_values = significance.p_values(found[aims, aims], significance.null(found, aims))
        of_all = significance.p_value_of_all(found, aims, draws) if sets > 1 else None
        numbered = {str(place): float(p_value) for place, p_value in enumerate(p_values)}
        hits += significance.corrected(numbered, of_all).people["0"] <= significance.LEVEL
    return hits / _TRIALS


def _shift(rank1: float, people: int) -> float:
    """Returns by how many deviations a normal score is ahead that is the first so often."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(101)

    def first(shift: float) -> float:
        ahead = scipy.stats.norm.cdf(nodes + shift) ** (people - 1)
        return float(weights @ ahead / weights.sum()) - rank1

    return float(scipy.optimize.brentq(first, -20, 20))
