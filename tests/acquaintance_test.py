"""Whether a model knows its people is told from chance, and the likely reason is named."""

import numpy as np
import pytest

from mia_jax.recognizer import acquaintance
from mia_jax.runtime.errors import UserError

PEOPLE = np.repeat(np.arange(5), 8)


def scores(right, seed=0, order=None):
    """Scores by a model that names a fraction of the photographs right, others at random."""
    draw = np.random.default_rng(seed)
    classes = PEOPLE if order is None else np.asarray(order)[PEOPLE]
    answers = np.where(draw.random(40) < right, classes, draw.integers(0, 5, 40))
    return np.eye(5)[answers] * 4 + 0.1 * draw.random((40, 5))


@pytest.mark.parametrize(("right", "known"), [(1, True), (0.7, True), (0, False)])
def test_better_than_chance_is_told_from_chance(right, known):
    found = acquaintance.measure(scores(right), PEOPLE)
    assert found.known == known
    assert found.right == np.sum(np.argmax(scores(right), axis=1) == PEOPLE)


def test_a_model_that_always_names_the_same_knows_nobody():
    found = acquaintance.measure(np.tile(np.eye(5)[2], (40, 1)), PEOPLE)
    assert (found.right, found.known) == (8, False)
    assert found.chance == pytest.approx(0.2)


def test_values_that_are_no_numbers_are_wrong():
    given = scores(1)
    given[:20] = np.nan
    assert acquaintance.measure(given, PEOPLE).right == 20


def test_a_model_is_asked_on_some_photographs_and_counted_on_others():
    order = [3, 0, 4, 1, 2]
    assert acquaintance.ask(scores(0.8, order=order), PEOPLE).tolist() == order
    found = acquaintance.named(scores(1, order=order), PEOPLE, None)
    assert (found.right, found.total) == (20, 20)
    assert not acquaintance.named(scores(0), PEOPLE, None).known


@pytest.mark.parametrize(
    ("others", "classes", "words"),
    [
        ({"RGB": 1}, None, "most likely its pictures are meant RGB"),
        ({"RGB": 0, "in [0, 1]": 0.9}, PEOPLE[::8], r"are meant in \[0, 1\] \(tried RGB: "),
        ({"RGB": 0}, None, "none of these explains it"),
    ],
)
def test_the_likely_reason_is_named_and_all_that_was_tried(others, classes, words):
    shows = {name: scores(right, 1).__getitem__ for name, right in others.items()}
    with pytest.raises(UserError, match=words):
        acquaintance.check(scores(0).__getitem__, PEOPLE, classes, shows)


def test_labels_in_another_order_are_found_out():
    order = np.array([1, 2, 3, 4, 0])
    with pytest.raises(UserError, match="most likely --labels names its classes in another order"):
        acquaintance.check(
            *(scores(1, order=order).__getitem__, PEOPLE, np.arange(5)),
            {"RGB": scores(0).__getitem__},
        )


def test_what_does_much_better_is_worth_a_warning():
    found, (warning,) = acquaintance.check(
        *(scores(0.6).__getitem__, PEOPLE, np.arange(5)), {"BGR": scores(1).__getitem__}
    )
    assert found.known
    assert "40 of 40 photographs BGR: check which is meant" in warning
    same = {"BGR": scores(0.8).__getitem__}
    assert acquaintance.check(scores(0.8).__getitem__, PEOPLE, None, same)[1] == ()


def test_nothing_else_is_looked_at_where_nothing_could_be_much_better():
    def unseen(positions):
        raise AssertionError

    wrong = scores(1)
    wrong[:4] = np.roll(wrong[:4], 1, axis=1)
    for given in (scores(1), wrong):  # 40 and 36 of 40.
        found, warnings = acquaintance.check(
            given.__getitem__, PEOPLE, np.arange(5), {"BGR": unseen}
        )
        assert (found.known, warnings) == (True, ())
    wrong[4] = np.roll(wrong[4], 1)
    with pytest.raises(AssertionError):
        acquaintance.check(wrong.__getitem__, PEOPLE, np.arange(5), {"BGR": unseen})


def test_who_is_hardly_known_and_well_the_other_way_was_told_wrong():
    """A network that takes 0 to 255 names a fifth right of pictures in [0, 1], above chance."""
    people = np.repeat(np.arange(20), 4)
    fifth = np.where(np.arange(80) % 5 == 0, people, (people + 1) % 20)
    show, other = np.eye(20)[fifth], np.eye(20)[people]
    assert acquaintance.measure(show, people).known
    with pytest.raises(UserError, match=r"photographs in \[0, 255\]: an attack"):
        acquaintance.check(
            show.__getitem__, people, np.arange(20), {"in [0, 255]": other.__getitem__}
        )


@pytest.mark.parametrize(("people", "photographs"), [(5, 8), (200, 3), (3, 500), (16, 4), (90, 1)])
def test_a_sample_is_small_and_of_several_people_alike(people, photographs):
    numbers = np.repeat(np.arange(people), photographs)
    found = acquaintance.sample(numbers)
    assert len(set(found)) == len(found) <= 64
    assert sorted(found) == list(found)
    counts = np.bincount(numbers[found])
    counts = counts[counts > 0]
    assert counts.max() - counts.min() <= 1
    assert len(counts) == (people if people * photographs <= 64 else min(people, 16))
    assert counts.sum() == min(people * photographs, 64, len(counts) * photographs)


@pytest.mark.parametrize("asked", [False, True])
def test_alternatives_see_a_sample_beside_the_same_sample_as_said(asked):
    people = np.repeat(np.arange(30), 20)
    shown = []

    def model(right):
        lucky = np.random.default_rng(0).random(600) < right
        answers = np.where(lucky, people, (people + 1) % 30)

        def show(positions):
            shown.append(len(positions))
            return np.eye(30)[answers[positions]]

        return show

    classes = None if asked else np.arange(30)
    _, (warning,) = acquaintance.check(model(0.5), people, classes, {"BGR": model(1)})
    assert shown == [600, 64, 64]
    assert f"{32 if asked else 64} of {32 if asked else 64} photographs BGR" in warning
