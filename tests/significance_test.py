"""Tests of the tests: their levels, their power, and a second way to compute them."""

import itertools

import numpy as np
import planted
import pytest
import scipy.stats

from mia_jax.evidence import significance, verdict


@pytest.mark.parametrize(
    ("sets", "people", "restarts", "reached"),
    [(4, 30, 20, True), (5, 21, 6, True), (5, 20, 6, False), (5, 40, 4, False), (1, 20, 6, True)],
)
def test_what_can_be_reached_at_best(sets, people, restarts, reached):
    assert (significance.least_p_value(sets, people, restarts) <= verdict.LEVEL) == reached


def test_standardized_by_loops():
    rng = np.random.default_rng(0)
    clones, seeds = rng.normal(size=(2, 5, 9))
    aims = np.array([3, 0, 8, 4, 1])
    found = significance.standardized(clones, seeds, aims)
    excess = np.zeros((5, 9))
    for i in range(5):
        for g in range(9):
            others = [clones[j, g] for j in range(5) if j != i and aims[j] != g]
            excess[i, g] = clones[i, g] - np.mean(others)
    for i in range(5):
        for g in range(9):
            rest = [excess[i, h] for h in range(9) if h not in (g, aims[i])]
            expected = (excess[i, g] - np.mean(rest)) / np.std(rest, ddof=1)
            assert found[i, g] == pytest.approx(expected)


def test_chance_levels_of_the_test_of_sets_are_kept():
    """P-values of sets that know nothing of their aim are uniform or larger."""
    rng = np.random.default_rng(0)
    p_values = []
    for _ in range(300):
        clones = rng.normal(size=(4, 25)) + 2 * rng.normal(size=25) + rng.normal(size=(4, 1))
        aims = rng.permutation(25)[:4]
        excess = significance.standardized(clones, clones, aims)
        own = np.arange(25) == aims[:, None]
        p_values += [(1 + np.sum(excess[~own] >= x)) / (1 + np.sum(~own)) for x in excess[own]]
    assert scipy.stats.kstest(p_values, "uniform").pvalue > 0.01
    assert np.mean(np.array(p_values) <= 0.05) < 0.07


class Set:
    """Only the scores of a set of clones."""

    def __init__(self, together):
        self.clones = self.seeds = self
        self.opinion, self.together = self, together


def views(scores):
    """What a judge saw who scores the sets of the first people of the gallery so."""
    return [{planted.NAMES[i]: Set(row) for i, row in enumerate(scores)}]


def overall(scores, seed=0):
    judge = planted.stranger()._replace(people=planted.NAMES[: scores.shape[1]])
    return significance.overall_p_value([judge], views(scores), seed)


def test_the_overall_p_value_by_all_pairings():
    scores = np.random.default_rng(1).normal(size=(4, 9)) + np.eye(4, 9)
    own = scores[range(4), range(4)].sum()
    pairings = itertools.permutations(range(4))
    as_good = sum(scores[range(4), aims].sum() >= own - 1e-9 for aims in pairings)
    assert overall(scores) == pytest.approx(as_good / 24)


def test_the_overall_test_sees_a_weak_likeness_of_many_people():
    scores = np.random.default_rng(2).normal(size=(14, 40))
    scores[range(14), range(14)] += 1.0
    assert overall(scores) < 0.01


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
