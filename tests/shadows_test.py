"""Tests of who is who where shadow recognizers are trained: auxiliary people, and nobody else."""

import pytest

from mia_jax.faces import make_protocol
from mia_jax.faces.protocol import TARGET
from mia_jax.faces.shadows import make_shadow
from mia_jax.runtime.errors import UserError

COUNTS = {f"p{i}": 7 + i % 5 for i in range(80)}


def protocol(people=80, seed=3):
    return make_protocol(dict(list(COUNTS.items())[:people]), seed=seed)


@pytest.mark.parametrize("people", [20, 40, 80])
@pytest.mark.parametrize("number", [0, 1, 5])
def test_shadows_know_three_fifths_of_the_auxiliary_people_and_nobody_else(people, number):
    roles = protocol(people)
    shadow = make_shadow(roles, COUNTS, number)
    assert shadow.evaluators == ()
    known, rest = {*shadow.classes[TARGET]}, {*shadow.auxiliary}
    assert known.isdisjoint(rest)
    assert known | rest == {*roles.auxiliary}
    assert len(known) / len(roles.auxiliary) == pytest.approx(0.6, abs=0.12)
    assert {*shadow.targeted} <= known
    assert {*shadow.training[TARGET]} == {*shadow.test} == {*shadow.validation} == known
    for name in known:
        parts = [shadow.training[TARGET][name], shadow.validation[name], shadow.test[name]]
        assert sorted(sum(parts, ())) == list(range(COUNTS[name]))


def test_each_shadow_has_its_own_seed_and_people():
    roles = protocol()
    found = [make_shadow(roles, COUNTS, number) for number in range(3)]
    assert len({each.seed for each in [roles, *found]}) == 4
    assert len({each.classes[TARGET] for each in found}) == 3
    assert found[1] == make_shadow(roles, COUNTS, 1)


def test_photographs_are_split_as_the_experiments_are():
    ten = dict.fromkeys(COUNTS, 10)
    shadow = make_shadow(make_protocol(ten, seed=3), ten, 0, held_out=0.5, validation=0.2)
    for name in shadow.classes[TARGET]:
        assert len(shadow.test[name]) == 5
        assert len(shadow.validation[name]) == 2


def test_too_few_auxiliary_people_are_one_sentence():
    roles = make_protocol(dict(list(COUNTS.items())[:12]), seed=0, targeted=3)
    assert len(roles.auxiliary) == 5
    with pytest.raises(UserError, match=r"5 people of the data set .* needs 6"):
        make_shadow(roles, COUNTS, 0)
    more = make_protocol(dict(list(COUNTS.items())[:13]), seed=0, targeted=3)
    assert len(more.auxiliary) == 6
    assert len(make_shadow(more, COUNTS, 0).auxiliary) == 2
