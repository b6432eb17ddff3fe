"""Tests of ranks, curves and intervals."""

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mia_jax.evidence import statistics
from mia_jax.evidence.results import Measure

score_matrices = hnp.arrays(
    np.float32,
    st.tuples(st.integers(1, 6), st.integers(2, 8)),
    elements=st.integers(-3, 3).map(float),
)
NAN = np.nan


@given(score_matrices, st.data())
@settings(deadline=None, max_examples=60)
def test_rank_is_the_place_in_a_sorted_list_with_ties_last(scores, data):
    person = data.draw(st.integers(0, scores.shape[1] - 1))
    for row, rank in zip(scores, statistics.ranks(scores, person), strict=True):
        better_first = sorted(row, reverse=True)
        assert better_first[rank - 1] == row[person]
        assert rank == len(row) or better_first[rank] < row[person]


@pytest.mark.parametrize(
    ("scores", "rank"),
    [
        ([NAN, 1.0, 2.0], 3),  # It was 1: every comparison with NaN is false.
        ([NAN, NAN, NAN], 3),
        ([2.0, NAN, 1.0], 2),  # Who is not scored may be ahead.
        ([2.0, NAN, NAN], 3),
        ([-np.inf, 0.0, NAN], 3),
        ([np.inf, 0.0, 1.0], 1),
    ],
)
def test_what_is_not_a_number_counts_against_the_person(scores, rank):
    assert statistics.ranks(np.array([scores]), 0) == [rank]


@given(score_matrices, st.data())
@settings(deadline=None, max_examples=60)
def test_a_score_that_turns_nan_never_improves_the_rank(scores, data):
    person, broken = (data.draw(st.integers(0, scores.shape[1] - 1)) for _ in range(2))
    before = statistics.ranks(scores, person)
    scores[:, broken] = NAN
    assert (statistics.ranks(scores, person) >= before).all()


def test_confidences_are_the_softmax_and_none_of_what_is_not_a_number():
    logits = np.log(np.array([[0.7, 0.2, 0.1], [0.1, 0.1, 0.8]], np.float32)) + 5
    np.testing.assert_allclose(statistics.confidences(logits)[:, 2], [0.1, 0.8], rtol=1e-5)
    for value in (NAN, np.inf):
        logits[0, 1] = value
        np.testing.assert_array_equal(statistics.confidences(logits)[0], 0)
        assert statistics.confidences(logits)[1].sum() == pytest.approx(1)


@given(st.lists(st.integers(1, 9), min_size=1, max_size=20))
def test_cumulative_match_rises_to_one_and_its_area_is_the_mean_of_its_values(ranks):
    ranks = np.array(ranks)
    curve = statistics.cumulative_match(ranks, 9)
    assert (np.diff(curve) >= 0).all()
    assert curve[-1] == 1
    assert curve[0] == pytest.approx(np.mean(ranks == 1))
    assert curve.mean() == pytest.approx(np.mean((9 + 1 - ranks) / 9))


@pytest.mark.parametrize(
    ("fraction", "count", "expected"),
    # Golden numbers from the closed form with z = 1.959964.
    [
        (1.0, 42, (0.9162, 1.0)),
        (1.0, 15, (0.7961, 1.0)),
        (0.5, 10, (0.2366, 0.7634)),
        (0.0, 10, (0.0, 0.2775)),
        (1.0, 1, (0.2065, 1.0)),
    ],
)
def test_wilson_interval(fraction, count, expected):
    np.testing.assert_allclose(statistics.wilson_interval(fraction, count), expected, atol=1e-4)


def one(groups, rate=False):
    (found,) = statistics.measure([np.asarray(g, float)[:, None] for g in groups], [rate])
    return found


def test_of_one_person_the_interval_is_that_of_students_t_over_images():
    sample = np.random.default_rng(1).normal(3, 2, 40)
    expected = scipy.stats.t.interval(0.95, 39, sample.mean(), scipy.stats.sem(sample))
    found = one([sample])
    assert found.value == pytest.approx(sample.mean())
    assert found.interval == pytest.approx(expected)


@pytest.mark.parametrize("rate", [True, False])
def test_people_count_equally_however_many_images_there_are_of_each(rate):
    many = one([np.tile([0.0, 0.1], 50), np.tile([0.9, 1.0], 500), [0.5], [0.2]], rate)
    once = one([[0.05], [0.95], [0.5], [0.2]], rate)
    assert many.value == pytest.approx(once.value)
    assert many.interval == pytest.approx(once.interval)


@pytest.mark.parametrize(("people", "least"), [(5, 0.88), (14, 0.9), (30, 0.91)])
def test_the_interval_over_people_covers_the_mean_of_all_people(people, least):
    """Restarts of people who differ far more than restarts do; a bootstrap covered 0.86 of 5."""
    rng, covered = np.random.default_rng(0), 0
    for _ in range(300):
        rates = rng.beta(0.5, 0.5, people)
        low, high = one([rng.binomial(1, rate, 50) for rate in rates], rate=True).interval
        covered += low <= 0.5 <= high
    assert least <= covered / 300 <= 0.99


@pytest.mark.parametrize(
    ("groups", "count"),
    [([[1] * 15], 15), ([[1] * 3] * 5, 5), ([[0] * 100] * 2, 2), ([[1]], 1), ([[0]] * 4, 4)],
)
def test_a_rate_without_variation_gets_the_wilson_interval_of_the_people(groups, count):
    found = one(groups, rate=True)
    assert found.interval == statistics.wilson_interval(groups[0][0], count)
    assert found.interval[0] < found.interval[1]


@pytest.mark.parametrize("sizes", [(1, 1), (1, 1, 1), (5, 500), (2, 2, 2), (100, 1)])
def test_a_rate_that_varies_between_groups_alone_has_an_interval_around_it(sizes):
    groups = [[place == 0] * size for place, size in enumerate(sizes)]
    found = one(groups, rate=True)
    assert found.value == pytest.approx(1 / len(sizes))
    assert found.interval[0] < found.value < found.interval[1]


@pytest.mark.parametrize("groups", [[[3.5]], [[0.2], [0.2]], [[1.0] * 15], [[1.0, 2.0], [1.5] * 4]])
def test_another_measure_without_variation_has_no_interval(groups):
    found = one(groups)
    assert found.interval is None
    assert found.value == pytest.approx(np.mean([np.mean(group) for group in groups]))


def test_figures_do_not_disturb_each_other():
    rng = np.random.default_rng(0)
    columns = [rng.random(30), np.ones(30), rng.random(30) > 0.5, np.full(30, 2.0)]
    rate = [False, True, True, False]
    together = statistics.measure([np.stack(columns, 1).astype(float)], rate)
    for found, column, is_rate in zip(together, columns, rate, strict=True):
        alone = one([column], is_rate)
        assert found.value == pytest.approx(alone.value)
        assert found.interval == (alone.interval and pytest.approx(alone.interval))


@pytest.mark.parametrize("value", [NAN, np.inf])
def test_what_is_not_finite_has_no_measure(value):
    columns = np.stack([[1.0, value, 3.0], [0.0, 1.0, 1.0]], 1)
    missing, found = statistics.measure([columns], [False, True])
    assert missing is None
    assert found.value == pytest.approx(2 / 3)


def test_holm_by_hand():
    np.testing.assert_allclose(statistics.holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(statistics.holm([0.6, 0.7]), [1, 1])
    np.testing.assert_allclose(statistics.holm([0.2]), [0.2])


@pytest.mark.parametrize("seed", range(3))
def test_a_crossed_median_is_that_of_the_values_repeated(seed):
    """One training: people are resampled, each as often as a multinomial draw says."""
    rng = np.random.default_rng(seed)
    values, count = rng.integers(1, 20, 9).astype(float), 9
    found = statistics.crossed_median(values, [0] * count, [*"abcdefghi"], seed)
    assert found.value == np.median(values)
    drawn = np.random.default_rng(seed).multinomial(count, [1 / count] * count, 2000)
    medians = [np.median(np.repeat(values, times)) for times in drawn]
    np.testing.assert_allclose(found.interval, np.percentile(medians, [2.5, 97.5]))


def test_a_crossed_median_without_variation_has_no_interval():
    assert statistics.crossed_median([4, 4], [0, 1], ["a", "b"], 0) == Measure(4.0, None)
