"""Tests of what judges say to panels, and of the correction by their own errors."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some

from mia_jax.evidence import panels
from mia_jax.evidence.panels import Panel
from mia_jax.runtime.errors import UserError

rates = some.floats(0, 1)


def key(people=4, of_each=10):
    return {
        f"{kind} {person} {number}": Panel(kind, f"s{person}")
        for kind in panels.KINDS
        for person in range(people)
        for number in range(of_each)
    }


def answers(made, **yes):
    """Of each kind and person the first few panels get a yes."""
    return {
        name: "yes" if int(name.split()[-1]) < yes[panel.kind.split()[0]] else "no"
        for name, panel in made.items()
    }


def test_a_judge_by_hand():
    made = key()
    found = panels.score(made, answers(made, clone=5, same=9, different=2), seed=0)
    assert (found.panels, found.unclear) == (40, 0)
    assert found.said.value == 0.5
    assert found.sensitivity.value == 0.9
    assert found.specificity.value == 0.8
    # Of a true share t the judge says 0.9 t + 0.2 (1 - t).
    assert found.corrected.value == pytest.approx((0.5 - 0.2) / 0.7)
    assert found.people == {f"s{person}": 0.5 for person in range(4)}
    low, high = found.said.interval  # All people alike: Wilson's.
    assert low < 0.5 < high


def test_intervals_are_over_people():
    made = key(people=6)
    said = {
        name: "yes" if panel.kind == panels.SAME or int(panel.person[1:]) < 3 else "no"
        for name, panel in made.items()
        if panel.kind != panels.DIFFERENT
    }
    said |= {name: "no" for name, panel in made.items() if panel.kind == panels.DIFFERENT}
    found = panels.score(made, said, seed=0)
    low, high = found.corrected.interval
    assert found.corrected.value == 0.5
    assert low < 0.2 and high > 0.8  # Of 60 panels that were independent it would be 0.38 to 0.62.


def test_a_judge_who_cannot_tell_people_apart_says_nothing():
    made = key()
    assert panels.score(made, dict.fromkeys(made, "yes"), 0).corrected is None


def test_what_is_neither_yes_nor_no_counts_as_no():
    made = key(people=2)
    said = dict.fromkeys(made, "I cannot help with that")
    said |= {name: " Yes." for name, panel in made.items() if panel.kind == panels.SAME}
    found = panels.score(made, said, 0)
    assert (found.unclear, found.sensitivity.value, found.said.value) == (40, 1, 0)


@given(truth=rates, sensitivity=some.floats(0.55, 1), specificity=some.floats(0.55, 1))
def test_the_correction_inverts_what_errors_do(truth, sensitivity, specificity):
    said = truth * sensitivity + (1 - truth) * (1 - specificity)
    share, able = panels.correct(*map(np.array, (said, sensitivity, specificity)))
    assert able and share == pytest.approx(truth, abs=1e-9)


@given(said=rates, sensitivity=rates, specificity=rates)
def test_the_corrected_share_is_a_share(said, sensitivity, specificity):
    share, able = panels.correct(*map(np.array, (said, sensitivity, specificity)))
    assert 0 <= share <= 1
    assert able == (sensitivity + specificity - 1 > 1e-9)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda said: said.pop("clone 0 0"), "panel 'clone 0 0' is not answered"),
        (lambda said: said.update(other="yes"), "panel 'other' does not exist"),
    ],
)
def test_other_panels_are_refused(change, words):
    made = key()
    said = dict.fromkeys(made, "no")
    change(said)
    with pytest.raises(UserError, match=words):
        panels.score(made, said, 0)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([{"panel": "a", "answer": "yes"}] * 2, "line 2: panel 'a' is answered already"),
        ([{"panel": "a"}], 'line 1 needs "panel" and "answer" as texts'),
        ([["panel", "a"]], 'line 1 needs "panel" and "answer" as texts'),
        ([{"panel": "a", "answer": True}], 'line 1 needs "panel" and "answer" as texts'),
    ],
)
def test_a_sheet_that_does_not_read_is_refused(rows, words):
    with pytest.raises(UserError, match=words):
        panels.read(rows)
