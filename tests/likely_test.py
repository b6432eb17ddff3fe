"""Tests that other photographs of the victims among the attacker's faces are named."""

import dataclasses
import logging

import numpy as np
import pytest
import stage

from experiments import likely
from mia_jax import faces
from mia_jax.evidence import verification
from mia_jax.evidence.judges import Judge
from mia_jax.runtime import storage
from mia_jax.runtime.workdir import WorkDirectory

SIDE, PEOPLE, OTHERS = 8, 6, 40


def pictures(people, count, seed):
    """Photographs of people who differ, each a little unlike the last."""
    means = np.random.default_rng(seed).random((people, 1, SIDE, SIDE, 1))
    noise = np.random.default_rng(seed + 1).normal(0, 0.05, (people, count, SIDE, SIDE, 1))
    return (means + noise).clip(0, 1).astype(np.float32)


OWN, OTHER = pictures(PEOPLE, 4, 0), pictures(OTHERS, 1, 10)[:, 0]
NAMES = tuple(f"p{number}" for number in range(PEOPLE))


def flat(images):
    return np.asarray(images).reshape(len(images), -1)


TEMPLATES = flat(OWN[:, :2].mean(axis=1))


def similarity(images):
    return -np.linalg.norm(flat(images)[:, None] - TEMPLATES, axis=-1)


def judge(name, shares=()):
    return Judge(
        name,
        NAMES,
        flat,
        lambda vectors: similarity(np.asarray(vectors)),
        frozenset(shares),
        confidence=lambda scores: scores,
    )


def said(tmp_path, auxiliary, caplog, look=similarity, judges=()):
    judges = judges or (judge("own"),)
    names = tuple(f"{number}.png" for number in range(len(auxiliary)))
    identities = np.repeat(np.arange(PEOPLE), 3).astype(np.int32)
    loaded = faces.Faces(
        OWN[:, :3].reshape(-1, SIDE, SIDE, 1), identities, NAMES, "", auxiliary, names
    )
    roles = stage.protocol()
    roles = dataclasses.replace(roles, classes={"target": NAMES}, test=dict.fromkeys(NAMES, (2,)))
    shown = [(name, OWN[number, :3]) for number, name in enumerate(NAMES)]
    impostors = {each.name: verification.impostors(each, shown) for each in judges}
    workdir = WorkDirectory(tmp_path)
    with caplog.at_level(logging.WARNING):
        likely.say(workdir, loaded, roles, NAMES, look, judges, impostors)
    return storage.read_json(workdir.likely)


@pytest.mark.parametrize("look", [similarity, None])
def test_another_photograph_of_a_victim_is_named(tmp_path, caplog, look):
    auxiliary = np.concatenate([OTHER[:20], OWN[2:3, 3], OTHER[20:]])
    assert said(tmp_path, auxiliary, caplog, look) == {"p2": {"20.png": ["own"]}}
    assert "1 of the attacker's faces look to judges like people under attack" in caplog.text
    assert "20.png like p2" in caplog.text


def test_of_other_people_nothing_is_said(tmp_path, caplog):
    assert said(tmp_path, OTHER, caplog) == {}
    assert not caplog.text


def test_a_relative_of_the_target_is_not_heard(tmp_path, caplog):
    auxiliary = np.concatenate([OTHER, OWN[2:3, 3]])
    assert said(tmp_path, auxiliary, caplog, judges=(judge("relative", ["people"]),)) == {}


def test_judges_are_shown_few_faces_whom_the_target_takes_for_somebody(
    tmp_path, caplog, monkeypatch
):
    seen = []

    def features(images):
        seen.append(int(np.any(images, axis=(1, 2, 3)).sum()))  # But for what fills a batch.
        return flat(images)

    watching = judge("own")._replace(features=features)
    monkeypatch.setattr(likely, "_MOST", 9)
    for look in (similarity, None):
        seen.clear()
        said(tmp_path, OTHER, caplog, look, (watching,))
        assert max(seen[PEOPLE:]) <= 9  # Before that they see everybody, for the threshold.
