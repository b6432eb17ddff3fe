"""Tests of what is put before the judges: stale clones, mixed recipes, what judges share."""

import dataclasses
import json

import numpy as np
import pytest
import stage

from experiments import exhibits, panel, provenance
from mia_jax.evidence.results import AttackFacts
from mia_jax.runtime import records, storage
from mia_jax.runtime.errors import MissingError, UserError
from mia_jax.runtime.workdir import WorkDirectory

RECIPE = AttackFacts("paper", {"rate": 10.0}, 2, 0, 1, 5)


@pytest.fixture
def workdir(tmp_path):
    return WorkDirectory(tmp_path)


def write_clones(workdir, name, recipe=RECIPE, weights="a"):
    text = json.dumps(records.to_json(recipe))
    arrays = {"clones": np.zeros((2, 4, 4, 1)), "recipe": text, "weights": weights}
    storage.write_arrays(workdir.clones_of(name), {k: np.array(v) for k, v in arrays.items()})


def test_who_is_attacked_is_known_to_the_first_judge(workdir):
    roles = stage.protocol()
    with pytest.raises(MissingError, match=r"no clones of an identity that the judge knows"):
        exhibits.attacked(workdir, roles, panel.known(roles, "dlib"))
    for name in ("eve", "bob", "ann"):
        write_clones(workdir, name)
    assert exhibits.attacked(workdir, roles, panel.known(roles, "s")) == ("ann",)
    assert exhibits.attacked(workdir, roles, panel.known(roles, "r")) == ("ann", "bob")
    assert exhibits.attacked(workdir, roles, panel.known(roles, "dlib")) == ("ann", "bob", "eve")


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
