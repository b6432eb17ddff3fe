"""Tests of what a run could have shown: planted leaks of that size are shown, smaller ones not."""

import types

import numpy as np
import pytest
import scipy.spatial.distance

from mia_jax.evidence import power, significance

PEOPLE, RESTARTS, DIRECTIONS = 40, 10, 24
LOOKS = np.random.default_rng(0).normal(size=(PEOPLE, DIRECTIONS))
NAMES = tuple(f"p{i}" for i in range(PEOPLE))
JUDGE = types.SimpleNamespace(
    people=NAMES,
    match=lambda vectors: -scipy.spatial.distance.cdist(vectors, LOOKS),
    templates=LOOKS,
)


def opinion(vectors):
    together = JUDGE.match(vectors.mean(axis=0, keepdims=True))[0]
    return types.SimpleNamespace(
        opinion=types.SimpleNamespace(vectors=vectors, together=together),
    )


def draw(count, seed=0, leaks=None, looks=LOOKS):
    """What a judge sees of clones that share a pattern with those of the same person."""
    rng = np.random.default_rng(seed)
    leaks = np.zeros(count) if leaks is None else leaks
    view = {}
    for name, look, leak in zip(NAMES[:count], looks, leaks, strict=False):
        pattern = 0.5 * rng.normal(size=DIRECTIONS)
        clones = pattern + 0.5 * rng.normal(size=(RESTARTS, DIRECTIONS))
        view[name] = types.SimpleNamespace(
            clones=opinion((1 - leak) * clones + leak * look),
            seeds=opinion(0.1 * rng.normal(size=(RESTARTS, DIRECTIONS))),
            training=look + 0.1 * rng.normal(size=(5, DIRECTIONS)),
        )
    return view


def shown(view):
    """What the tests say, with fewer pairings than usual."""
    sets = significance.of_strangers([JUDGE], [view])
    stands_out = significance.excess(sets)
    own = stands_out[range(len(sets.aims)), sets.aims]
    found = significance.p_values(own, significance.null(stands_out, sets.aims))
    draws = significance.pairings(len(sets.aims), len(sets.people), 0, 299)
    of_all = significance.p_value_of_all(stands_out, sets.aims, draws)
    return significance.corrected(dict(zip(view, found, strict=True)), of_all)


def smallest(count):
    """The medians over ten runs: of a person, and of everybody."""
    found = [power.smallest_leaks([JUDGE], [draw(count, seed)], 0) for seed in range(100, 106)]
    of_people = [leak.fraction for each in found for leak in each.people.values()]
    return np.median(of_people), np.median([each.overall.fraction for each in found])


@pytest.mark.parametrize(("count", "least"), [(2, 0.5), (8, 0.6)])
def test_a_leak_of_that_size_is_shown_in_other_runs_four_times_of_five(count, least):
    of_one, of_all = smallest(count)
    assert of_all < of_one < 0.6

    def power_at(leaks):
        return [shown(draw(count, seed, leaks)) for seed in range(40)]

    one = np.eye(1, count)[0]
    for factor, low, high in ((0.5, 0, 0.45), (1, least, 0.97), (1.3, 0.85, 1)):
        people = [found.people["p0"] for found in power_at(factor * of_one * one)]
        assert low <= np.mean(np.array(people) <= 0.05) <= high
        of_everybody = [found.overall for found in power_at(np.full(count, factor * of_all))]
        assert low <= np.mean(np.array(of_everybody) <= 0.05) <= high + 0.1


def test_one_person_alone():
    leaks = power.smallest_leaks([JUDGE], [draw(1)], 0)
    assert leaks.overall is None
    leak = leaks.people["p0"]
    assert 0.1 < leak.fraction < 0.6 and 0 <= leak.set_rank1 <= 1 <= leak.set_rank < 5


def test_a_smaller_leak_shows_where_somebody_else_is_found():
    """The step of Holm's method is that of the run."""
    nothing, others = draw(5), draw(5, leaks=[0, 0.9, 0.9, 0.9, 0.9])
    alone, together = (
        power.smallest_leaks([JUDGE], [view], 0).people["p0"].fraction for view in (nothing, others)
    )
    assert together < alone


def test_of_many_people_a_sample_is_looked_at(monkeypatch):
    view = draw(8)
    every = power.smallest_leaks([JUDGE], [view], 0)
    monkeypatch.setattr(power, "_PEOPLE", 3)
    some = power.smallest_leaks([JUDGE], [view], 0)
    assert list(some.people) == list(every.people) == list(view)
    assert len({*some.people.values()}) <= 3
    assert len({*every.people.values()}) > 3


def test_too_few_people_to_show_any_leak():
    leaks = power.smallest_leaks([JUDGE], [draw(1)], 0, auxiliary=NAMES[10:])
    assert leaks.people == {"p0": None}
    assert power.smallest_leaks([], [], 0) == power.SmallestLeaks({}, None)


def test_features_that_are_no_numbers_show_no_leak():
    broken = types.SimpleNamespace(
        people=NAMES,
        match=lambda vectors: np.full((len(vectors), PEOPLE), np.nan),
        templates=None,
    )
    assert power.smallest_leaks([broken], [draw(3)], 0).people["p0"] is None


def test_two_judges_are_asked_together():
    views = [draw(5), draw(5)]
    found = power.smallest_leaks([JUDGE, JUDGE], views, 0)
    assert found == power.smallest_leaks([JUDGE], views[:1], 0)


def test_what_is_expected_before_a_run():
    few, some, more = (power.expected(5, people, 100) for people in (18, 23, 80))
    assert few < some < more
    assert power.expected(1, 19, 100) == 0
    assert power.expected(5, 40, 1) < power.expected(5, 40, 100)
    assert power.expected(20, 75, 7, rank1=0.5) < power.expected(20, 75, 7, rank1=0.99)


@pytest.mark.parametrize("rank1", [0.1, 0.5, 0.9])
def test_the_leak_of_reference_is_the_first_as_often_as_said(rank1):
    scores = np.random.default_rng(0).normal(size=(4000, 30))
    scores[:, 0] += power._shift(rank1, 30)
    assert np.mean(scores.argmax(axis=1) == 0) == pytest.approx(rank1, abs=0.03)
