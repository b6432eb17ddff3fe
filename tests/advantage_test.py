"""Tests of the advantage: by hand, computed a second way, and by counting what is covered."""

import itertools

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from mia_jax.evidence import advantage


def apart(only_with, only_without, alike=0):
    """Plays of different people: success in one world only, and in both."""
    inside = [True] * only_with + [False] * only_without + [True] * alike
    outside = [False] * only_with + [True] * only_without + [True] * alike
    return advantage.advantage(inside, outside, [f"{i}" for i in range(len(inside))])


def test_by_hand():
    inside = [True, True, True, False, True, False]
    outside = [False, True, False, True, False, False]
    found = advantage.advantage(inside, outside, list("abcdef"))
    assert found.value == pytest.approx(4 / 6 - 2 / 6)
    assert (found.only_with, found.only_without) == (3, 1)
    assert found.p_value == pytest.approx(2 * (4 + 1) / 16)  # 3 or 4 of 4 fair coins, or as few.
    assert found.interval[0] < found.value < found.interval[1]


def test_eleven_plays_against_one_are_no_chance():
    """It was: by an interval that did not look at pairs, from -3 points on."""
    found = apart(11, 1, 12)
    assert found.p_value == pytest.approx(0.0063, abs=1e-4)
    assert 0.05 < found.interval[0] < found.value < found.interval[1] < 0.75


def test_where_no_play_differs_the_worlds_may():
    found = apart(0, 0, 24)
    assert (found.value, found.p_value) == (0, 1)
    end = 1 - 0.025 ** (1 / 24)  # Clopper and Pearson's, of none of 24.
    assert found.interval == pytest.approx((-end, end))


def test_all_against_none_has_a_closed_form():
    end = 0.025 ** (1 / 12)
    assert apart(12, 0).interval == pytest.approx((end * (2 * end - 1), 1))
    assert apart(0, 12).interval == pytest.approx((-1, -end * (2 * end - 1)))


@pytest.mark.parametrize(("hits", "count"), [(0, 30), (30, 30), (7, 24), (1, 1), (0, 1)])
def test_clopper_pearson_is_scipys(hits, count):
    expected = scipy.stats.binomtest(hits, count).proportion_ci(0.95, method="exact")
    assert advantage.clopper_pearson(hits, count) == pytest.approx((expected.low, expected.high))


@pytest.mark.parametrize(("b", "c"), [(1, 0), (3, 0), (0, 3), (5, 2), (4, 4)])
def test_of_people_who_play_once_it_is_mcnemars_test(b, c):
    expected = scipy.stats.binomtest(b, b + c).pvalue
    assert apart(b, c, 3).p_value == pytest.approx(expected)


def test_a_person_with_many_plays_is_one_person():
    """Twenty plays of four people are sure of nothing, though twenty people's would be."""
    inside, outside = [True] * 20, [False] * 20
    people = np.repeat([*"abcd"], 5)
    found = advantage.advantage(inside, outside, people)
    assert found.p_value == pytest.approx(2 / 16)
    assert found.interval[0] < 0 < found.value == 1 == found.interval[1]
    assert advantage.advantage(inside, outside, range(20)).p_value < 1e-4


plays = st.lists(
    st.tuples(st.booleans(), st.booleans(), st.sampled_from("abcdefghij")), min_size=1, max_size=30
)


@given(plays)
@settings(deadline=None, max_examples=150)
def test_the_test_and_its_interval_never_contradict_each_other(drawn):
    inside, outside, people = zip(*drawn, strict=True)
    found = advantage.advantage(inside, outside, people)
    low, high = found.interval
    assert -1 <= low <= found.value + 1e-9 and found.value - 1e-9 <= high <= 1
    assert (low > 0 or high < 0) == (found.p_value <= 0.05)
    flipped = advantage.advantage(outside, inside, people)
    assert flipped.interval == pytest.approx((-high, -low))
    assert flipped.p_value == pytest.approx(found.p_value)


@given(plays)
@settings(deadline=None, max_examples=40)
def test_the_p_value_by_all_exchanges_of_worlds(drawn):
    sums = {}
    for inside, outside, person in drawn:
        sums[person] = sums.get(person, 0) + inside - outside
    values, total = [*sums.values()], sum(sums.values())
    exchanged = [np.dot(signs, values) for signs in itertools.product([1, -1], repeat=len(values))]
    tails = np.mean(np.array(exchanged) >= total), np.mean(np.array(exchanged) <= total)
    assert advantage.advantage(*zip(*drawn, strict=True)).p_value == pytest.approx(
        min(1, 2 * min(tails))
    )


@pytest.mark.parametrize("count", [3, 8, 20])
def test_the_interval_covers(count):
    """The chance of covering, by enumeration of all outcomes of people who play once."""
    outcomes = [(b, c) for b in range(count + 1) for c in range(count + 1 - b)]
    ends = np.array([apart(b, c, count - b - c).interval for b, c in outcomes])
    counts = [(b, c, count - b - c) for b, c in outcomes]
    for both in np.linspace(0.1, 1, 6):
        for share in np.linspace(0.5, 1, 6):
            rates = (both * share, both * (1 - share), 1 - both)
            chances = scipy.stats.multinomial.pmf(counts, count, rates)
            truth = rates[0] - rates[1]
            covered = (ends[:, 0] - 1e-9 <= truth) & (truth <= ends[:, 1] + 1e-9)
            assert chances @ covered >= 0.95 - 1e-9, rates


def test_people_with_several_plays_are_covered():
    """Their plays are alike: counted one by one, the interval would be too short."""
    rng, covered = np.random.default_rng(0), 0
    people = np.repeat(np.arange(8), 3)
    for _ in range(200):
        rates = rng.beta(0.3, 0.3, 8)[people]
        inside, outside = rng.random(24) < rates, rng.random(24) < 0.2
        low, high = advantage.advantage(inside, outside, people).interval
        covered += low <= 0.3 <= high
    assert covered >= 190
