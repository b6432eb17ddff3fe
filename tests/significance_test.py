"""Tests of the tests: their levels, their power, and a second way to compute them."""

import itertools
import types

import numpy as np
import planted
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from mia_jax.evidence import significance, verdict


@pytest.mark.parametrize(
    ("sets", "people", "reached"),
    [(4, 30, True), (5, 21, True), (200, 21, True), (1, 19, False), (20, 19, False), (2, 11, True)],
)
def test_what_can_be_reached_at_best(sets, people, reached):
    assert (significance.least_p_value(sets, people) <= verdict.LEVEL) == reached
    # Clones that are far nearer to their person than to anybody get there.
    scores = np.random.default_rng(0).normal(size=(sets, people))
    if sets <= people:
        scores[range(sets), range(sets)] += 50
        found = set_tests(scores)
        best = significance.corrected(found, overall(scores)).people.values()
        assert min(best) == pytest.approx(max(significance.least_p_value(sets, people), 1e-4))


def nothing_in_common(people):
    return significance.looks_in_common(np.zeros((people, 1)))


def test_looks_in_common_are_an_inverse_covariance():
    templates = np.random.default_rng(0).normal(size=(9, 4))
    centered = templates - templates.mean(axis=0)
    covariance = np.eye(9) + 16 * centered @ centered.T / np.trace(centered @ centered.T)
    inverse, ones = np.linalg.inv(covariance), np.ones((9, 1))
    without_mean = inverse - inverse @ ones @ ones.T @ inverse / inverse.sum()
    basis = significance.looks_in_common(templates)
    assert np.eye(9) - basis @ basis.T == pytest.approx(without_mean)


@pytest.mark.parametrize("looks", [np.zeros((9, 1)), np.random.default_rng(1).normal(size=(9, 4))])
def test_standardized_by_loops(looks):
    """Each score against the prediction by generalized least squares from all the others."""
    rng = np.random.default_rng(0)
    clones, seeds = rng.normal(size=(2, 5, 9))
    aims = np.array([3, 0, 8, 4, 1])
    in_common = significance.looks_in_common(looks)
    found = significance.standardized(clones, seeds, aims, in_common)
    centered = looks - looks.mean(axis=0)
    trace = np.trace(centered @ centered.T)
    covariance = np.eye(9) + (16 * centered @ centered.T / trace if trace else 0)
    excess = np.zeros((5, 9))
    for i in range(5):
        for g in range(9):
            excess[i, g] = clones[i, g] - np.mean([clones[j, g] for j in range(5)])
    for i in range(5):
        for g in range(9):
            rest = [h for h in range(9) if h not in (g, aims[i])]
            inverse = np.linalg.inv(covariance[np.ix_(rest, rest)])
            known, ones = excess[i, rest], np.ones(len(rest))
            mean = ones @ inverse @ known / inverse.sum()
            weights = inverse @ covariance[rest, g]
            predicted = mean + weights @ (known - mean)
            variance = (known - mean) @ inverse @ (known - mean) / (len(rest) - 1)
            error = covariance[g, g] - weights @ covariance[rest, g]
            error += (1 - weights.sum()) ** 2 / inverse.sum()  # The mean is unknown as well.
            expected = (excess[i, g] - predicted) / np.sqrt(variance * error)
            assert found[i, g] == pytest.approx(expected)


def test_who_looks_alike_hides_nobody():
    """Clones that look like a group are near to all of it; a leak is what exceeds the group."""
    rng, hits = np.random.default_rng(8), {True: 0, False: 0}
    for _ in range(60):
        group = np.repeat(np.eye(4), 10, axis=0)
        looks = 3 * group + rng.normal(size=(40, 4)) / 9
        scores = rng.normal(size=(10, 4)) @ group.T * 3 + rng.normal(size=(10, 40))
        scores[0, 0] += 5
        for known in hits:
            in_common = significance.looks_in_common(looks * known)
            excess = significance.standardized(scores, scores, np.arange(10), in_common)
            null = significance.null(excess, np.arange(10))
            hits[known] += significance.p_values(excess[0, 0], null) < 0.005
    assert hits[True] > 50 > 25 > hits[False]


@pytest.mark.parametrize("constant", [0.0, 1.0, -1e6])
def test_scores_that_are_all_the_same_stand_out_nowhere(constant):
    scores, aims = np.full((3, 8), constant), np.arange(3)
    looks = np.random.default_rng(0).normal(size=(8, 3))
    for basis in (nothing_in_common(8), significance.looks_in_common(looks)):
        assert not significance.standardized(scores, scores, aims, basis).any()


def test_chance_levels_of_the_test_of_sets_are_kept():
    """P-values of sets that know nothing of their aim are uniform or larger."""
    rng = np.random.default_rng(0)
    p_values = []
    for _ in range(300):
        clones = rng.normal(size=(4, 25)) + 2 * rng.normal(size=25) + rng.normal(size=(4, 1))
        aims = rng.permutation(25)[:4]
        excess = significance.standardized(clones, clones, aims, nothing_in_common(25))
        own = np.arange(25) == aims[:, None]
        null = significance.null(excess, aims)
        p_values += significance.p_values(excess[range(4), aims], null).tolist()
        counted = [(1 + np.sum(excess[~own] >= x)) / (1 + np.sum(~own)) for x in excess[own]]
        order = [counted[place] for place in np.argsort(np.argsort(aims))]
        assert sorted(p_values[-4:]) == pytest.approx(sorted(order))
    assert scipy.stats.kstest(p_values, "uniform").pvalue > 0.01
    assert np.mean(np.array(p_values) <= 0.05) < 0.07


def seen(together):
    """Only the scores of a set of images."""
    return types.SimpleNamespace(opinion=types.SimpleNamespace(together=together))


def judge_of(people):
    names = tuple(f"p{i}" for i in range(people))
    return planted.stranger()._replace(people=names, templates=None)


def views(scores):
    """What a judge saw who scores the sets of the first people of the gallery so."""
    null = seen(np.zeros(scores.shape[1]))
    return [
        {
            f"p{i}": types.SimpleNamespace(clones=seen(row), seeds=null)
            for i, row in enumerate(scores)
        }
    ]


def overall(scores, seed=0, auxiliary=()):
    judge = judge_of(scores.shape[1])
    return significance.overall_p_value([judge], views(scores), seed, auxiliary)


def set_tests(scores, auxiliary=()):
    judge = judge_of(scores.shape[1])
    return significance.set_p_values([judge], views(scores), auxiliary)


def test_the_overall_p_value_by_all_pairings():
    scores = np.random.default_rng(1).normal(size=(3, 9)) + np.eye(3, 9)
    excess = significance.standardized(scores, scores, np.arange(3), nothing_in_common(9))

    def weight(aims):
        z = excess[range(3), aims]
        of_all = np.exp(2 * z.sum() / np.sqrt(3) - 2)
        return of_all + np.mean(np.exp(3 * z - 4.5))

    weights = [weight(aims) for aims in itertools.permutations(range(9), 3)]
    expected = np.mean(np.array(weights) >= weight(range(3)) * (1 - 1e-9))
    assert overall(scores) == pytest.approx(expected, abs=4 * np.sqrt(expected / 1e4))


def test_the_overall_test_sees_a_weak_likeness_of_many_people():
    scores = np.random.default_rng(2).normal(size=(14, 40))
    scores[range(14), range(14)] += 1.0
    assert overall(scores) < 0.01


def test_the_overall_test_sees_a_strong_likeness_of_one():
    """By the mean of all scores one of 14 would drown."""
    for seed in range(10):
        scores = np.random.default_rng(seed).normal(size=(14, 40))
        scores[3, 3] += 6.0
        assert overall(scores) < 0.05


def test_the_overall_test_keeps_its_level_whatever_sets_and_people_have_in_common():
    rng = np.random.default_rng(3)
    p_values = [
        overall(rng.normal(size=(6, 9)) + 3 * rng.normal(size=9) + 3 * rng.normal(size=(6, 1)))
        for _ in range(150)
    ]
    assert np.mean(np.array(p_values) <= 0.05) < 0.1
    assert scipy.stats.kstest(p_values, "uniform").pvalue > 0.01


def test_the_overall_test_asks_for_a_stranger_and_two_people():
    assert significance.overall_p_value([], [], 0) is None
    assert overall(np.zeros((1, 9))) is None
    assert overall(np.full((3, 9), np.nan)) == 1
    assert set(set_tests(np.full((3, 9), np.nan)).values()) == {1}


def test_the_attackers_people_are_no_null():
    """Clones are mixtures of the attacker's people, whose columns vary: they would hide a leak."""
    rng = np.random.default_rng(4)
    scores = rng.normal(size=(5, 50))
    scores[:, 25:] *= 6  # These.
    scores[0, 0] += 5
    auxiliary = [f"p{i}" for i in range(25, 50)]
    without = set_tests(scores[:, :25])
    assert set_tests(scores, auxiliary) == pytest.approx(without)
    assert without["p0"] < 0.01 < 5 * without["p0"] < set_tests(scores)["p0"]
    assert overall(scores, auxiliary=auxiliary) == overall(scores[:, :25]) < 0.05
    assert overall(scores) > 0.1


def test_whoever_is_attacked_stays():
    scores = np.random.default_rng(5).normal(size=(3, 30))
    assert set_tests(scores, ["p0", "nobody"]) == set_tests(scores)


@pytest.mark.parametrize("people", [1, 2, 3])
def test_few_people_are_no_evidence(people):
    scores = 10 * np.eye(1, people)
    auxiliary = [f"p{i}" for i in range(people, 9)]
    assert set_tests(np.pad(scores, ((0, 0), (0, 9 - people))), auxiliary)["p0"] > 0.05


p_values = st.floats(0.0001, 1)


@given(st.lists(p_values, min_size=2, max_size=6), p_values)
@settings(deadline=None, max_examples=80)
def test_corrected_p_values_are_those_of_the_closed_test(values, of_all):
    everybody = range(len(values))
    subsets = [each for size in range(1, 7) for each in itertools.combinations(everybody, size)]

    def of(subset):
        if len(subset) == len(values):
            return of_all
        return min(1, len(subset) * min(values[i] for i in subset))

    found = significance.corrected({str(i): value for i, value in enumerate(values)}, of_all)
    assert found.overall == of_all
    for i in everybody:
        expected = max(of(subset) for subset in subsets if i in subset)
        assert found.people[str(i)] == pytest.approx(expected)


def test_without_a_test_over_all_people_are_corrected_by_holms_method():
    found = significance.corrected({"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005}, None)
    assert found.people == pytest.approx({"a": 0.03, "b": 0.06, "c": 0.06, "d": 0.02})
    assert list(found.people) == [*"abcd"]
    assert found.overall is None


def test_any_positive_at_all_is_as_rare_as_promised():
    """By two uncorrected tests, people and all at once, 6 to 9% of the nulls were positive."""
    rng, positive, uncorrected, trials = np.random.default_rng(6), 0, 0, 600
    draws = significance.pairings(8, 24, 0, draws=199)
    for _ in range(trials):
        scores = rng.normal(size=(8, 24)) + rng.normal(size=24)
        aims = np.arange(8)
        excess = significance.standardized(scores, scores, aims, nothing_in_common(24))
        found = significance.p_values(excess[aims, aims], significance.null(excess, aims))
        people = dict(zip("abcdefgh", found, strict=True))
        found = significance.corrected(people, significance.p_value_of_all(excess, aims, draws))
        positive += min(found.overall, *found.people.values()) <= 0.05
        sums = excess[range(8), draws].sum(axis=1)
        of_means = np.mean(sums >= excess[aims, aims].sum())
        uncorrected += min(8 * min(people.values()), of_means) <= 0.05
    assert positive / trials < 0.05 + 0.02  # Two standard errors.
    assert uncorrected > positive
