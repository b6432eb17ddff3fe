"""Tests of the advantage: by hand, computed a second way, and by counting what is covered."""

import itertools
import math

import numpy as np
import pytest
import scipy.stats

from mia_jax.evidence import advantage, statistics


def test_by_hand():
    inside = [True, True, True, False, True, False]
    outside = [False, True, False, True, False, False]
    found = advantage.advantage(inside, outside, list("abcabc"), [0, 0, 0, 1, 1, 1])
    assert found.value == pytest.approx(4 / 6 - 2 / 6)
    assert (found.only_with, found.only_without) == (3, 1)
    assert found.p_value == pytest.approx((4 + 1) / 16)  # 3 or 4 of 4 fair coins.
    assert found.exact[0] < found.value < found.exact[1]


def test_clopper_pearson_where_it_has_a_closed_form():
    low, high = advantage.clopper_pearson(0, 30)
    assert (low, high) == (0, pytest.approx(1 - 0.025 ** (1 / 30)))
    low, high = advantage.clopper_pearson(30, 30)
    assert (low, high) == (pytest.approx(0.025 ** (1 / 30)), 1)


def test_the_exact_interval_of_all_against_none_has_a_closed_form():
    low, high = advantage.exact_interval(12, 0, 12)
    end = (0.05 / 4) ** (1 / 12)  # Half the error for each rate, half of that at each side.
    assert low == pytest.approx(end - (1 - end))
    assert high == 1


@pytest.mark.parametrize("plays", [3, 8])
@pytest.mark.parametrize("alike", [False, True])
def test_the_exact_interval_covers_whatever_the_worlds_have_to_do_with_each_other(plays, alike):
    """The chance of covering, by enumeration of all outcomes, independent and as tied as can be."""
    rates = np.linspace(0, 1, 9)
    ends = {
        (i, o): advantage.exact_interval(i, o, plays)
        for i, o in itertools.product(range(plays + 1), repeat=2)
    }
    for inside, outside in itertools.product(rates, repeat=2):
        if alike:  # One draw decides both: success without implies success with, or the reverse.
            both = min(inside, outside)
            only = (inside - both, outside - both, 1 - max(inside, outside))
            chances = {
                (b + i, b + o): 0.0 for b, i, o in itertools.product(range(plays + 1), repeat=3)
            }
            for b, i, o in itertools.product(range(plays + 1), repeat=3):
                if b + i + o <= plays:
                    counts = (b, i, o, plays - b - i - o)
                    chances[b + i, b + o] += scipy.stats.multinomial.pmf(
                        counts, plays, (both, *only)
                    )
        else:
            count = np.arange(plays + 1)
            table = np.outer(
                scipy.stats.binom.pmf(count, plays, inside),
                scipy.stats.binom.pmf(count, plays, outside),
            )
            chances = dict(np.ndenumerate(table))
        covered = sum(
            chance
            for outcome, chance in chances.items()
            if outcome in ends
            and ends[outcome][0] - 1e-12 <= inside - outside <= ends[outcome][1] + 1e-12
        )
        assert covered >= 0.95 - 1e-9, (inside, outside)


@pytest.mark.parametrize(("b", "c"), [(0, 0), (3, 0), (0, 3), (5, 2), (4, 4)])
def test_the_sign_test_counts_coins(b, c):
    total = b + c
    expected = sum(math.comb(total, k) for k in range(b, total + 1)) / 2**total
    assert advantage.sign_test(b, c) == pytest.approx(expected)


def clustered(outcomes, people, seeds):
    return statistics.crossed_interval(outcomes, (people, seeds), 0)


def test_plays_that_are_alike_have_no_clustered_interval():
    assert clustered([1.0, 1.0], ["a", "b"], [0, 0]) is None


def test_copies_of_a_person_tell_nothing_new():
    """Each person plays with one seed, or with many whose outcome is the same: one width."""
    outcomes = [1.0, 0.0, 1.0, -1.0, 0.0, 1.0]
    people = list("abcdef")
    once = clustered(outcomes, people, [0] * 6)
    often = clustered(outcomes * 5, people * 5, np.repeat(np.arange(5), 6))
    assert often == pytest.approx(once, abs=1e-9)
    apart = clustered(outcomes * 5, [f"{i}" for i in range(30)], [0] * 30)
    assert np.diff(apart) < 0.7 * np.diff(once)


def test_one_seed_is_the_ordinary_bootstrap_over_people():
    rng = np.random.default_rng(3)
    outcomes = rng.integers(-1, 2, 40).astype(float)
    low, high = clustered(outcomes, [f"{i}" for i in range(40)], [7] * 40)
    reference = scipy.stats.bootstrap(
        [outcomes], np.mean, n_resamples=5000, method="percentile", rng=rng
    ).confidence_interval
    assert (low, high) == (
        pytest.approx(reference.low, abs=0.04),
        pytest.approx(reference.high, abs=0.04),
    )
    assert (low, high) == clustered(outcomes, [f"{i}" for i in range(40)], [7] * 40)


def test_seeds_that_disagree_widen_the_interval():
    outcomes = np.repeat([1.0, 0.0, 0.0], 10)
    people = [f"{i % 10}" for i in range(30)]
    by_seed = clustered(outcomes, people, np.repeat([0, 1, 2], 10))
    one = clustered(outcomes, [f"{i}" for i in range(30)], [0] * 30)
    assert np.diff(by_seed) > np.diff(one)
