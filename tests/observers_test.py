"""Tests of what observers' answers come to: by hand, and on studies whose outcome is built in."""

import dataclasses
import math
import statistics

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from mia_jax.evidence import observers, study
from mia_jax.evidence.study import Answers, Compared, Recognized, Rule
from mia_jax.runtime import records
from mia_jax.runtime.errors import UserError

Z = statistics.NormalDist().inv_cdf
# Two people. An item's kind, its person, and what observers 1, 2 and 3 name.
RECOGNITION = (
    ("r1", study.CLONE, "ann", "ann", "ann", "ann"),
    ("r2", study.CLONE, "bob", "ann", "bob", "bob"),
    ("r3", study.PHOTOGRAPH, "ann", "ann", "ann", "ann"),
    ("r4", study.PHOTOGRAPH, "bob", "bob", "ann", "bob"),
    ("r5", study.SEED, None, "bob", None, "ann"),
    ("r6", study.MEAN_FACE, None, None, "ann", "ann"),
    ("r7", study.CHECK, "ann", "ann", "ann", "bob"),  # Observer 3 does not look.
)
SIMILARITY = (
    ("s1", study.CLONE, "ann", 80, 60, 0),
    ("s2", study.CLONE, "bob", 40, 20, 0),
    ("s3", study.SEED, "ann", 10, 10, 0),
    ("s4", study.SEED, "bob", 10, 10, 0),
    ("s5", study.MEAN_FACE, "ann", 20, 20, 0),
    ("s6", study.MEAN_FACE, "bob", 20, 20, 0),
    ("s7", study.OTHERS, "ann", 30, 30, 0),
    ("s8", study.OTHERS, "bob", 30, 30, 0),
    ("s9", study.PHOTOGRAPH, "ann", 100, 90, 0),
    ("s10", study.PHOTOGRAPH, "bob", 90, 80, 0),
    ("s11", study.CHECK, "bob", 100, 80, 79),
)


def by_hand(most_failed=1):
    return Answers(
        plan="by hand",
        simulated=False,
        people=("ann", "bob"),
        items={"recognition": len(RECOGNITION), "similarity": len(SIMILARITY)},
        rule=Rule(least_similarity=80, most_failed=most_failed),
        recognition=tuple(
            Recognized(observer, item, kind, person, said[observer - 1])
            for item, kind, person, *said in RECOGNITION
            for observer in (1, 2, 3)
        ),
        similarity=tuple(
            Compared(observer, item, kind, person, said[observer - 1])
            for item, kind, person, *said in SIMILARITY
            for observer in (1, 2, 3)
        ),
    )


def test_recognition_by_hand():
    found = observers.score(by_hand(), seed=0)
    quiz = found.recognition
    assert (found.began, found.excluded, quiz.observers, quiz.incomplete) == (3, 1, 2, 0)
    assert quiz.chance == 0.5 and quiz.undecided == 0
    overall = quiz.overall
    assert overall.clones.value == 3 / 4
    assert overall.photographs.value == 3 / 4
    # Each answer for both people: observer 1 took the seed for bob, observer 2 the mean for ann.
    assert overall.seeds.value == overall.mean_face.value == 1 / 4
    # Clones of ann for bob, and of bob for ann: one of four is named so.
    assert overall.others.value == 1 / 4
    # 3 hits of 4 and 3 false alarms of 12, with half an answer more on each side.
    assert overall.d_prime == pytest.approx(Z(3.5 / 5) - Z(3.5 / 13))
    # Coincidences: 4 of 12 values agree; by chance 1 - (7 * 6 + 3 * 2 + 2 * 1) / (12 * 11) differ.
    assert quiz.alpha == pytest.approx(1 - (8 / 12) / (82 / 132))
    ann, bob = quiz.people["ann"], quiz.people["bob"]
    assert (ann.clones.value, bob.clones.value) == (1, 0.5)
    assert (ann.seeds.value, bob.seeds.value) == (0, 0.5)
    assert (ann.others.value, bob.others.value) == (0.5, 0)


def test_p_values_by_hand():
    found = observers.score(by_hand(), seed=0).recognition.overall.differences
    # Observer by observer, clones minus seeds are 0 and 1: two of four signs reach the mean; and
    # so are they for ann and bob.
    seeds = found[study.SEED]
    assert (seeds.value.value, seeds.p_observers, seeds.p_people) == (0.5, 0.5, 0.5)
    # Minus the mean face 0.5 and 0.5, either way: one of four.
    mean_face = found[study.MEAN_FACE]
    assert (mean_face.value.value, mean_face.p_observers, mean_face.p_people) == (0.5, 0.25, 0.25)
    others = found[study.OTHERS]
    assert (others.value.value, others.p_observers, others.p_people) == (0.5, 0.5, 0.25)
    assert observers.score(by_hand(), seed=0).recognition.overall.p_value == 0.5


def test_similarity_by_hand():
    quiz = observers.score(by_hand(), seed=0).similarity
    overall = quiz.overall
    assert overall.clones.value == pytest.approx((80 + 60 + 40 + 20) / 400)
    means = [getattr(overall, name).value for name in ("seeds", "mean_face", "others")]
    assert means == pytest.approx([0.1, 0.2, 0.3])
    assert overall.photographs.value == pytest.approx(0.9)
    # Variances: 0.05 of the clones, (0.01 + 0 + 0.01) / 3 of the twelve ratings of controls.
    assert overall.d_prime == pytest.approx((0.5 - 0.2) / math.sqrt((0.05 + 0.02 / 3) / 2))
    assert overall.differences[study.OTHERS].value.value == pytest.approx(0.2)
    assert quiz.people["ann"].clones.value == pytest.approx(0.7)
    assert quiz.chance is None and quiz.undecided is None
    assert quiz.alpha == pytest.approx(alpha_of_ratings())


def alpha_of_ratings():
    """Krippendorff's alpha of two observers who rate everything, from its definition."""
    pairs = [row[3:5] for row in SIMILARITY if row[1] != study.CHECK]
    values = [value for pair in pairs for value in pair]
    observed = sum(2 * (a - b) ** 2 for a, b in pairs) / len(values)
    expected = sum((a - b) ** 2 for a in values for b in values)
    return 1 - observed / (expected / (len(values) * (len(values) - 1)))


def test_who_fails_more_checks_than_allowed_does_not_count():
    assert observers.failed_checks(by_hand()) == {3: 2}
    assert observers.score(by_hand(most_failed=1), 0).excluded == 1
    everybody = observers.score(by_hand(most_failed=2), 0)
    assert (everybody.excluded, everybody.recognition.observers) == (0, 3)


def test_who_does_not_finish_a_quiz_does_not_count_in_it():
    whole = by_hand()
    rest = tuple(row for row in whole.similarity if (row.observer, row.item) != (2, "s10"))
    found = observers.score(dataclasses.replace(whole, similarity=rest), 0)
    assert (found.recognition.observers, found.recognition.incomplete) == (2, 0)
    assert (found.similarity.observers, found.similarity.incomplete) == (1, 1)
    assert found.similarity.alpha is None


def test_nobody_is_no_figure():
    found = observers.score(dataclasses.replace(by_hand(), recognition=(), similarity=()), 0)
    assert (found.began, found.recognition, found.similarity) == (0, None, None)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"recognition": by_hand().recognition + by_hand().recognition[:1]}, "answered r1 twice"),
        ({"similarity": (Compared(1, "s1", study.CLONE, "ann", 101),)}, "no possible answer"),
        ({"similarity": (Compared(1, "s1", study.CLONE, "kim", 10),)}, "no possible answer"),
        ({"recognition": (Recognized(1, "r1", study.CLONE, "ann", "kim"),)}, "no possible answer"),
        ({"recognition": (Recognized(1, "r1", study.SEED, "ann", "ann"),)}, "no possible answer"),
        ({"recognition": (Recognized(1, "r1", "drawing", "ann", "ann"),)}, "no possible answer"),
        ({"people": ("ann", "ann")}, "two are needed at least"),
        (
            {"recognition": by_hand().recognition[:3], "items": {"recognition": 1}},
            "no answer to a picture of the kind 'seed'",
        ),
    ],
)
def test_answers_that_cannot_be_are_refused(changes, words):
    answers = dataclasses.replace(by_hand(), **{"similarity": (), **changes})
    answers = dataclasses.replace(answers, items={"similarity": 1, **answers.items})
    with pytest.raises(UserError, match=words):
        observers.score(answers, 0)


def synthetic(accuracy, similarity, count=55, people=5, clones=2, seed=0):
    """A study of simulated observers, who differ, of people, who do too, around built-in means."""
    rng = np.random.default_rng(seed)
    names = tuple(f"s{place}" for place in range(people))
    able, exposed = rng.normal(0, 0.1, count), rng.permutation(np.linspace(-0.15, 0.15, people))
    able -= able.mean()
    recognition, compared = [], []

    def guess(observer, item, kind, person, chance):
        named = person if rng.random() < chance else rng.choice([n for n in names if n != person])
        recognition.append(Recognized(observer, item, kind, person, str(named)))

    def rate(observer, item, kind, person, mean):
        value = int(np.clip(rng.normal(100 * mean, 12), 0, 100))
        compared.append(Compared(observer, item, kind, person, value))

    for observer in range(count):
        for place, person in enumerate(names):
            level = able[observer] + exposed[place]
            for clone in range(clones):
                guess(observer, f"c{place}-{clone}", study.CLONE, person, accuracy + level)
                rate(observer, f"c{place}-{clone}", study.CLONE, person, similarity + level)
            guess(observer, f"p{place}", study.PHOTOGRAPH, person, 0.95)
            rate(observer, f"p{place}", study.PHOTOGRAPH, person, 0.85)
            for kind in study.NULLS:
                rate(observer, f"{kind}{place}", kind, person, 0.25 + able[observer])
        for kind in (study.SEED, study.MEAN_FACE):
            named = str(rng.choice(names))
            recognition.append(Recognized(observer, kind, kind, None, named))
    return Answers(
        plan="synthetic",
        simulated=True,
        people=names,
        items={"recognition": people * (clones + 1) + 2, "similarity": people * (clones + 4)},
        rule=Rule(80, 0),
        recognition=tuple(recognition),
        similarity=tuple(compared),
    )


def test_the_papers_two_figures_come_out_of_a_study_in_which_they_are():
    found = observers.score(synthetic(0.33, 0.45), seed=0)
    assert found.simulated
    for quiz, truth in ((found.recognition, 0.33), (found.similarity, 0.45)):
        low, high = quiz.overall.clones.interval
        assert low < truth < high
        assert high - low < 0.35
        assert abs(quiz.overall.clones.value - truth) < 0.04
    assert found.similarity.overall.p_value <= 0.05  # 1 of 32 signs of five people.
    assert found.similarity.overall.d_prime > 0.5


def test_observers_who_guess_recognize_nobody():
    found = observers.score(synthetic(0.2, 0.25, count=30, seed=5), seed=0)
    assert found.recognition.overall.p_value > 0.05
    assert abs(found.recognition.overall.d_prime) < 0.2
    low, high = found.recognition.overall.clones.interval
    assert low < found.recognition.chance < high


def test_results_go_through_a_file(tmp_path):
    found = observers.score(by_hand(), 0)
    records.write(tmp_path / "results.json", found)
    assert records.read(tmp_path / "results.json", study.Study) == found
    records.write(tmp_path / "answers.json", by_hand())
    assert records.read(tmp_path / "answers.json", Answers) == by_hand()


@settings(max_examples=15, deadline=None)
@given(order=some.randoms(use_true_random=False))
def test_the_order_of_the_answers_says_nothing(order):
    answers = by_hand()
    rows = list(answers.recognition)
    order.shuffle(rows)
    mixed = dataclasses.replace(answers, recognition=tuple(rows), similarity=())
    straight = dataclasses.replace(answers, similarity=())
    one, other = (observers.score(each, 0).recognition for each in (straight, mixed))
    assert one.overall.clones.value == other.overall.clones.value
    assert one.alpha == pytest.approx(other.alpha)
    assert one.overall.p_value == other.overall.p_value
