"""Tests of the worlds of the leakage game: what differs between them, and nothing else."""

import dataclasses

import pytest

from mia_jax.faces import make_protocol
from mia_jax.faces.protocol import TARGET
from mia_jax.faces.worlds import stand_ins, with_photographs, without
from mia_jax.runtime.errors import UserError

COUNTS = {f"p{i}": 7 + i % 5 for i in range(30)}


def protocol(**options):
    return make_protocol(COUNTS, seed=11, targeted=6, **options)


@pytest.mark.parametrize("options", [{}, {"disjoint": True}, {"evaluators": ("r", "s")}])
def test_stand_ins_are_known_to_evaluators_only(options):
    roles = protocol(**options)
    found = stand_ins(roles)
    assert tuple(found) == roles.targeted
    for name in found.values():
        assert name not in roles.classes[TARGET] and name not in roles.auxiliary
        assert all(name in roles.classes[role] for role in roles.evaluators)


def test_stand_ins_take_turns():
    roles = protocol(evaluator_classes=8)  # Two beside the six.
    turns = list(stand_ins(roles).values())
    assert len(set(turns)) == 2
    assert turns == turns[:2] * 3


def test_without_evaluators_nobody_can_stand_in():
    with pytest.raises(UserError, match="nobody can stand in"):
        stand_ins(protocol(evaluators=()))


@pytest.mark.parametrize("most", [1, 2, None])
def test_few_photographs_are_some_of_more_and_the_evaluators_keep_theirs(most):
    roles = protocol()
    few = with_photographs(roles, most)
    for name, numbers in few.training[TARGET].items():
        whole = roles.training[TARGET][name]
        assert len(numbers) == min(most or len(whole), len(whole))
        assert set(numbers) <= set(
            with_photographs(roles, 2 if most == 1 else None).training[TARGET][name]
        )
        assert list(numbers) == sorted(numbers)
    assert few.training["evaluator"] == roles.training["evaluator"]
    assert dataclasses.replace(few, training=roles.training) == roles


@pytest.mark.parametrize("most", [2, None])
@pytest.mark.parametrize("disjoint", [False, True])
def test_all_else_is_equal(most, disjoint):
    inside = with_photographs(protocol(disjoint=disjoint), most)
    for person, stand_in in stand_ins(inside).items():
        outside = without(inside, person)
        trained, before = outside.training[TARGET], inside.training[TARGET]
        place = inside.classes[TARGET].index(person)
        assert outside.classes[TARGET][place] == stand_in
        assert person not in trained and person not in outside.targeted
        for i, (name, other) in enumerate(
            zip(inside.classes[TARGET], outside.classes[TARGET], strict=True)
        ):
            assert i == place or (name == other and trained[name] == before[name])
        theirs = inside.training["evaluator"][stand_in]
        assert len(trained[stand_in]) == min(len(before[person]), len(theirs))
        assert set(trained[stand_in]) <= set(theirs)
        assert (outside.auxiliary, outside.seed) == (inside.auxiliary, inside.seed)
        assert (outside.test, outside.validation) == (inside.test, inside.validation)
