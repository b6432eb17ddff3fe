"""Tests that the worlds of the game differ by the person alone: weights, classes, lengths."""

import dataclasses

import jax
import numpy as np
import pytest

from experiments import experiment, options, train, worlds
from experiments.trained import Trained
from mia_jax import faces, recognizer
from mia_jax.faces.protocol import TARGET
from mia_jax.faces.worlds import stand_ins
from mia_jax.recognizer.training import Settings
from mia_jax.runtime import checkpoints, records
from mia_jax.runtime.errors import UserError
from mia_jax.runtime.workdir import WorkDirectory

COUNTS = {f"p{i}": 5 for i in range(12)}
BRIEF = Settings(batch_size=6, max_epochs=2, evaluate_every=1)
FACES = options.FacesOptions("orl", 16, None, None, None, None, None)
DIVISION = options.DivisionOptions(10, 2, 0.3, 0.1, None, None, ("evaluator",), "shared")


@pytest.fixture
def plan():
    roles = faces.make_protocol(COUNTS, **DIVISION.arguments())
    whole = experiment.Plan(FACES, DIVISION, COUNTS, None, roles)
    return worlds.with_photographs(whole, "1")


def twin(plan, person, stand_in):
    """Faces where the stand-in's photographs are the person's."""
    images = np.random.default_rng(0).random((60, 16, 16, 1), np.float32)
    loaded = faces.Faces(images, np.repeat(np.arange(12), 5).astype(np.int32), tuple(COUNTS), "")
    outside = worlds.without(plan, person).protocol
    of = loaded.indices_of
    for theirs, own in (
        (outside.training[TARGET][stand_in], plan.protocol.training[TARGET][person]),
        (outside.validation[stand_in], plan.protocol.validation[person]),
    ):
        images[of(stand_in)[list(theirs)]] = images[of(person)[list(own)]]
    return loaded


def weights(home, loaded, plan):
    train.learn(home, loaded, plan.protocol, TARGET, BRIEF)
    return checkpoints.digest(experiment.load_recognizer(home, TARGET).params)


def test_with_a_twin_as_stand_in_both_worlds_have_the_same_weights(plan, tmp_path):
    (person, stand_in), (other, _) = stand_ins(plan.protocol).items()
    loaded = twin(plan, person, stand_in)
    inside = weights(WorkDirectory(tmp_path / "with"), loaded, plan)
    without = [
        weights(WorkDirectory(tmp_path / name), loaded, worlds.without(plan, name))
        for name in (person, other)
    ]
    assert inside == without[0]
    assert inside != without[1]


def test_few_photographs_take_as_many_steps(plan):
    whole = faces.make_protocol(COUNTS, **DIVISION.arguments())
    assert worlds.as_long(BRIEF, whole, whole) == BRIEF
    how = Settings(batch_size=4, max_epochs=30, evaluate_every=3, patience=9)
    # Four people with two photographs or with one: two steps an epoch or one.
    assert len(plan.protocol.training[TARGET]) == 4
    assert worlds.as_long(how, whole, plan.protocol) == dataclasses.replace(
        how, max_epochs=60, evaluate_every=6, patience=18
    )


@pytest.mark.parametrize("place", [0, 3])
def test_the_nearest_class_has_the_highest_mean_logit(plan, place):
    params = recognizer.init(jax.random.key(0), 4, (16, 16, 1))
    params["L7"]["bias"] = params["L7"]["bias"].at[place].set(1e3)
    photographs = np.random.default_rng(1).random((2, 16, 16, 1), np.float32)
    attacked = Trained(params, recognizer.logits, recognizer.CNN)
    found = worlds.nearest_class(attacked, plan.protocol, photographs)
    assert found == plan.protocol.classes[TARGET][place]


def test_another_division_in_the_same_place_is_refused(plan, tmp_path):
    home = WorkDirectory(tmp_path)
    worlds.settle(home, plan)
    worlds.settle(home, plan)
    assert records.read(home.protocol, experiment.Plan) == plan
    with pytest.raises(UserError, match="was made for other people or photographs"):
        worlds.settle(home, worlds.without(plan, plan.protocol.targeted[0]))


def test_every_world_has_a_place_of_its_own(tmp_path):
    games = WorkDirectory(tmp_path)
    homes = [worlds.world_of(games, 3, "2", name) for name in (None, "ann", "../eve", "with")]
    assert [home.root.name for home in homes[:2]] == ["with", "without ann"]
    assert all(home.root.parent == tmp_path / "seed-3" / "2" for home in homes)
    assert len({home.root for home in homes}) == 4
