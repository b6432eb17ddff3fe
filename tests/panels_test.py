"""Tests of panels as pictures: alike whatever they show, the same for the same seed."""

import collections
import io

import numpy as np
import pytest
from PIL import Image

from mia_jax.evidence import panels as answered
from mia_jax.runtime.errors import UserError
from mia_jax.study import panels


def faces(training=6, **counts):
    rng = np.random.default_rng(0)
    counts = {"clones": 2, "test": 3, **counts}
    return {
        name: panels.Faces(
            clones=rng.random((counts["clones"], 8, 8, 1)),
            training=rng.random((training, 8, 8, 1)),
            test=rng.random((counts["test"], 8, 8, 1)),
        )
        for name in ("ann", "bob", "eve")
    }


def test_each_person_has_clones_and_both_controls():
    drawn = panels.draw_all(faces(), seed=0)
    found = collections.Counter((each.panel.kind, each.panel.person) for each in drawn.values())
    for person in ("ann", "bob", "eve"):
        assert found[answered.CLONE, person] == 2
        assert found[answered.SAME, person] == 3
        assert found[answered.DIFFERENT, person] == 4
    assert list(drawn) == [f"panel-{number:04}" for number in range(1, 28)]
    kinds = [each.panel.kind for each in drawn.values()]
    assert kinds != sorted(kinds)


def test_the_same_seed_draws_the_same_and_another_one_others():
    one, again, other = (panels.draw_all(faces(), seed) for seed in (0, 0, 1))
    assert one == again
    assert [each.panel for each in one.values()] != [each.panel for each in other.values()]


@pytest.mark.parametrize("training", [1, 4, 9])
def test_files_tell_nothing_by_their_length(training):
    drawn = panels.draw_all(faces(training), seed=0)
    assert len({len(each.image) for each in drawn.values()}) == 1
    with Image.open(io.BytesIO(drawn["panel-0001"].image)) as image:
        assert (image.format, image.mode, image.info) == ("PNG", "RGB", {})


def test_one_person_is_too_few():
    with pytest.raises(UserError, match="two people at least, not 1"):
        panels.draw_all({"ann": faces()["ann"]}, 0)
