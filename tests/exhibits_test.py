"""Tests of what is put before the judges: stale clones, mixed recipes, what judges share."""

import dataclasses
import json

import jax
import judged
import numpy as np
import pytest

from experiments import exhibits, provenance
from mia_jax import recognizer
from mia_jax.evidence import judges
from mia_jax.evidence.results import AttackFacts
from mia_jax.faces.protocol import Protocol
from mia_jax.recognizer import training
from mia_jax.runtime import checkpoints, records, storage
from mia_jax.runtime.errors import MissingError, UserError
from mia_jax.runtime.workdir import WorkDirectory

RECIPE = AttackFacts("paper", {"rate": 10.0}, 2, 0, 1, 5)


def protocol(disjoint=False):
    """Two evaluators; the second does not know bob."""
    own = (0, 1), (2, 3) if disjoint else (0, 1)
    classes = {"target": ("ann", "bob", "eve"), "r": ("ann", "bob", "zoë"), "s": ("ann", "zoë")}
    training_ = {role: dict.fromkeys(names, own[1]) for role, names in classes.items()}
    training_["target"] = dict.fromkeys(classes["target"], own[0])
    everybody = ("ann", "bob", "eve", "zoë")
    return Protocol(
        seed=0,
        targeted=("ann",),
        classes=classes,
        auxiliary=("kim",),
        training=training_,
        validation=dict.fromkeys(everybody, (4,)),
        test=dict.fromkeys(everybody, (5,)),
    )


@pytest.fixture
def workdir(tmp_path):
    return WorkDirectory(tmp_path)


def write_clones(workdir, name, recipe=RECIPE, weights="a"):
    text = json.dumps(records.to_json(recipe))
    arrays = {"clones": np.zeros((2, 4, 4, 1)), "recipe": text, "weights": weights}
    storage.write_arrays(workdir.clones_of(name), {k: np.array(v) for k, v in arrays.items()})


def write_facts(workdir, role, **settings):
    facts = dataclasses.replace(
        judged.recognizer(role, 3, 0.9), settings=training.Settings(**settings)
    )
    records.write(workdir.recognizer(role) / "recognizer.json", facts)


def test_who_is_attacked_is_known_to_every_judge(workdir):
    with pytest.raises(MissingError, match=r"no clones of an identity that every judge knows"):
        exhibits.attacked(workdir, protocol())
    for name in ("eve", "bob", "ann"):
        write_clones(workdir, name)
    assert exhibits.attacked(workdir, protocol()) == ("ann",)


def test_the_recipe_of_the_clones_is_read(workdir):
    for name in ("ann", "bob"):
        write_clones(workdir, name)
    assert exhibits.origin(workdir, ("ann", "bob"), "a").attack == RECIPE


def test_clones_of_other_weights_than_the_targets_are_refused(workdir):
    write_clones(workdir, "ann")
    write_clones(workdir, "bob", weights="b")
    with pytest.raises(UserError, match=r"bob.npz was made from other weights than the target has"):
        exhibits.origin(workdir, ("ann", "bob"), "a")


def test_clones_of_several_recipes_are_refused(workdir):
    write_clones(workdir, "ann")
    write_clones(workdir, "bob", dataclasses.replace(RECIPE, iterations=6))
    with pytest.raises(UserError, match="mixes recipes"):
        exhibits.origin(workdir, ("ann", "bob"), "a")


@pytest.mark.parametrize(
    ("disjoint", "settings", "shares"),
    [
        (False, {}, judges.SHARES),
        (True, {}, (judges.PEOPLE, judges.ARCHITECTURE, judges.VIEWS)),
        (False, {"learning_rate": 0.5}, judges.SHARES),
        (
            True,
            {"augmentation": dataclasses.replace(training.AUGMENTATION, noise=0.3)},
            (judges.PEOPLE, judges.ARCHITECTURE),
        ),
    ],
)
def test_what_an_evaluator_shares_with_the_target(workdir, disjoint, settings, shares):
    write_facts(workdir, "target")
    write_facts(workdir, "r", **settings)
    assert exhibits.shares_of(workdir, protocol(disjoint), "r") == {*shares}


def test_each_evaluator_is_a_judge_unless_it_is_the_target(workdir):
    roles, params = protocol(), {}
    for i, role in enumerate(roles.classes):
        facts = dataclasses.replace(
            judged.recognizer(role, len(roles.classes[role]), 0.9), image_shape=(16, 16, 1)
        )
        params[role] = recognizer.init(jax.random.key(i), facts.classes, facts.image_shape)
        checkpoints.save_checkpoint(workdir.recognizer(role) / "checkpoint", params[role])
        records.write(workdir.recognizer(role) / "recognizer.json", facts)
    made = exhibits.make_judges(workdir, roles, params["target"])
    assert [(judge.name, judge.people) for judge in made] == [
        ("r", roles.classes["r"]),
        ("s", roles.classes["s"]),
    ]
    with pytest.raises(UserError, match="the r has the same weights as the target"):
        exhibits.make_judges(workdir, roles, params["r"])


def test_provenance_says_whether_the_checkout_is_clean(monkeypatch):
    answers = {"rev-parse": "abc", "status": ""}
    monkeypatch.setattr(provenance, "git", lambda command, *_: answers[command])
    monkeypatch.setattr(provenance, "recorded_flags", dict)
    assert (provenance.provenance().commit, provenance.provenance().clean) == ("abc", True)
    answers["status"] = " M README.md"
    assert provenance.provenance().clean is False
    answers = dict.fromkeys(answers)
    assert provenance.provenance().commit is provenance.provenance().clean is None


def test_outside_of_a_checkout_there_is_no_commit(monkeypatch, tmp_path):
    monkeypatch.setattr(provenance, "__file__", str(tmp_path / "provenance.py"))
    assert provenance.git("rev-parse", "HEAD") is None
