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
    shows = {name: lambda right=right: scores(right, 1) for name, right in others.items()}
    with pytest.raises(UserError, match=words):
        acquaintance.check(scores(0), PEOPLE, classes, shows)


def test_labels_in_another_order_are_found_out():
    order = np.array([1, 2, 3, 4, 0])
    with pytest.raises(UserError, match="most likely --labels names its classes in another order"):
        acquaintance.check(scores(1, order=order), PEOPLE, np.arange(5), {"RGB": lambda: scores(0)})


def test_what_does_much_better_is_worth_a_warning():
    found, (warning,) = acquaintance.check(
        scores(0.6), PEOPLE, np.arange(5), {"BGR": lambda: scores(1)}
    )
    assert found.known
    assert "40 of 40 photographs BGR: check which is meant" in warning
    assert acquaintance.check(scores(1), PEOPLE, None, {"BGR": lambda: scores(1)})[1] == ()
