"""Tests of what observers are asked, in which order, and of what their answers mean."""

import collections
import itertools
import json

import numpy as np
import pytest
import simulated
from hypothesis import given
from hypothesis import strategies as some

from mia_jax.evidence import study
from mia_jax.runtime import records
from mia_jax.runtime.errors import UserError
from mia_jax.study import design

PLAN, IMAGES = simulated.plan(clones=2)


@given(count=some.integers(1, 24))
def test_places_and_neighbors_are_balanced(count):
    rows = [design.balanced(count, row) for row in range(count * (1 + count % 2))]
    places = collections.Counter(pair for row in rows for pair in enumerate(row))
    pairs = collections.Counter(pair for row in rows for pair in itertools.pairwise(row))
    assert all(sorted(row) == list(range(count)) for row in rows)
    assert len(places) == count**2 and len({*places.values()}) == 1
    assert len(pairs) == count * (count - 1) and len({*pairs.values()}) <= 1
    assert design.balanced(count, len(rows)) == rows[0]


def test_every_person_has_clones_controls_and_photographs():
    kinds = collections.Counter((item.quiz, item.kind, item.person) for item in PLAN.items)
    for person in simulated.PEOPLE:
        assert kinds[study.RECOGNITION, study.CLONE, person] == 2
        assert kinds[study.RECOGNITION, study.PHOTOGRAPH, person] == 1
        assert kinds[study.SIMILARITY, study.CLONE, person] == 2
        for kind in (study.SEED, study.MEAN_FACE, study.OTHERS, study.PHOTOGRAPH):
            assert kinds[study.SIMILARITY, kind, person] == 1
    assert kinds[study.RECOGNITION, study.SEED, None] == 3
    assert kinds[study.RECOGNITION, study.MEAN_FACE, None] == 1
    checks = [item.quiz for item in PLAN.items if item.kind == study.CHECK]
    assert sorted(checks) == ["recognition"] * 2 + ["similarity"] * 2
    own = {item.picture: item.person for item in PLAN.items if item.kind == study.CLONE}
    others = [item for item in PLAN.items if item.kind == study.OTHERS]
    assert all(own[item.picture] not in (item.person, None) for item in others)


def test_all_observers_get_all_items_once_recognition_first_and_each_another_order():
    orders = set()
    for number in range(1, 9):
        steps = design.steps(PLAN, number)
        assert steps == design.steps(PLAN, number)
        names = [step.name for step in steps]
        assert names[0] == design.CONSENT and names[1] == design.PRACTICE
        assert sorted(names[2:]) == sorted([item.name for item in PLAN.items] + [design.PRACTICE])
        quizzes = [step.quiz for step in steps]
        assert quizzes == sorted(quizzes)  # "recognition" comes before "similarity".
        orders.add(tuple(names))
        for step in steps:
            if step.item and step.quiz == study.RECOGNITION:
                assert sorted(step.named) == sorted(PLAN.people)
                shown = [PLAN.references[PLAN.people.index(name)] for name in step.named]
                assert list(step.pictures[1:]) == shown
    assert len(orders) == 8


def test_the_right_person_is_at_every_place_equally_often():
    places = collections.Counter(
        step.named.index(step.item.person)
        for number in range(1, 101)
        for step in design.steps(PLAN, number)
        if step.item and step.quiz == study.RECOGNITION and step.item.person
    )
    total = sum(places.values())  # 1100: an excess of 5% is four deviations.
    assert max(places.values()) / total < 1 / 3 + 0.05


def test_answers_mean_the_person_at_the_place():
    steps = design.steps(PLAN, 4)
    found = design.resolve(PLAN, {4: [simulated.right(step) for step in steps]})
    assert found.items == {"recognition": 15, "similarity": 20}
    assert len(found.recognition) == 15 and len(found.similarity) == 20
    assert all(row.named == row.person for row in found.recognition)
    assert {row.similarity for row in found.similarity if row.kind == study.OTHERS} == {0}
    assert found.simulated
    assert found.plan == design.digest(PLAN)


@pytest.mark.parametrize("answer", ["3", "-1", "", "ann", "50"])
def test_an_answer_that_was_not_offered_is_refused(answer):
    with pytest.raises(UserError, match=r"observer 1: .* was no choice of recognition-"):
        design.resolve(PLAN, {1: [design.AGREED, "0", answer]})


def test_more_answers_than_questions_are_refused():
    answers = [simulated.right(step) for step in design.steps(PLAN, 1)]
    with pytest.raises(UserError, match="gave 39 answers to 38 steps"):
        design.resolve(PLAN, {1: [*answers, "0"]})


def test_one_person_is_too_few():
    with pytest.raises(UserError, match="two people at least, not 1"):
        design.make_plan(simulated.stimuli(people=("ann",)), 1)


def test_a_plan_goes_through_a_file_and_its_digest_knows_every_change(tmp_path):
    path = tmp_path / "plan.json"
    records.write(path, PLAN)
    assert records.read(path, design.Plan) == PLAN
    assert json.loads(path.read_text())["rule"] == {"least_similarity": 80, "most_failed": 1}
    other, _ = design.make_plan(
        simulated.stimuli(clones=2), 2, "the owner", "Drawn by chance", True
    )
    assert design.digest(other) != design.digest(PLAN)
    assert IMAGES.dtype == np.uint8 and IMAGES.shape[1:] == (192, 192, 1)
