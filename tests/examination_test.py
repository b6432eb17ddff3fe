"""Tests of the examination: each group of images before the target and every judge."""

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from mia_jax.evidence import evaluation, examination, robustness, sets, statistics
from mia_jax.evidence.judges import Judge
from mia_jax.evidence.verification import Impostors

PEOPLE = ("a", "b", "c")
IMPOSTORS = Impostors(np.linspace(0, 0.9, 50), np.linspace(0, 0.9, 20), np.full(3, 0.1))


def linear(name, people, weights, sign=1):
    """A judge of linear scores, which are its features as well."""
    features = lambda batch: batch.reshape(len(batch), -1) @ weights  # noqa: E731
    return Judge(name, people, features, lambda vectors: sign * vectors, frozenset())


def first_pixels(batch):
    return batch[:, 0, :, 0]


SIMPLE = Judge("j", PEOPLE, first_pixels, lambda vectors: vectors[:, :3], frozenset())


@pytest.mark.parametrize("people", [2, 5, 12, 40])
@pytest.mark.parametrize("restarts", [1, 3, 10, 100, 20_001])
def test_the_share_of_others_is_as_large_as_the_persons_own_and_even(people, restarts):
    names = [f"s{i}" for i in range(people)]
    shares = examination.share_of_others("s1", names, restarts)
    assert sum(shares.values()) == restarts
    assert "s1" not in shares
    assert len(shares) == min(people - 1, examination.OTHERS, restarts)
    assert max(shares.values()) - min(shares.values()) <= 1
    assert min(shares.values()) >= 1
    assert next(iter(shares)) == names[2 % people]  # Another sample for each person.


def test_nobody_else_has_no_share():
    assert examination.share_of_others("a", ["a"], 5) == {}


def galleries(*found):
    """Everybody's photographs before these judges."""
    shown = images(a=4, b=3)
    return {judge.name: sets.gallery(judge, shown.items()) for judge in found}


def images(**counts):
    rng = np.random.default_rng(0)
    return {name: rng.random((count, 8, 8, 1), np.float32) for name, count in counts.items()}


def test_examine_shows_each_group_to_the_target_and_to_every_judge():
    weights = jnp.asarray(np.random.default_rng(0).normal(size=(64, 3)), jnp.float32)
    project = lambda batch: batch.reshape(len(batch), -1) @ weights  # noqa: E731
    first = linear("first", PEOPLE, weights)
    second = linear("second", ("c", "a", "d"), weights, sign=-1)
    shown = images(clones=5, seeds=4, mean_face=1, others=3, training=3, test=2)
    found = examination.examine(
        "a",
        examination.Evidence(**shown),
        lambda b: 2 * project(b),
        2,
        [first, second],
        np.ones(5),
        galleries(first, second),
    )
    assert list(found) == ["first", "second"]
    flat = np.asarray(project(shown["clones"]))
    np.testing.assert_array_equal(found["first"].clones.opinion.rank, statistics.ranks(flat, 0))
    np.testing.assert_array_equal(found["second"].clones.opinion.rank, statistics.ranks(-flat, 1))
    for judge in found.values():
        np.testing.assert_allclose(
            judge.clones.appearance.target_score,
            scipy.special.softmax(2 * flat, axis=1)[:, 2],
            rtol=1e-4,
        )
        sizes = {name: len(shown[name]) for name in ("seeds", "mean_face", "others", "test")}
        assert sizes == {name: len(getattr(judge, name).opinion.rank) for name in sizes}


def test_a_set_is_scored_by_the_mean_of_its_features():
    weights = np.random.default_rng(0).normal(size=(64, 3)).astype(np.float32)
    shown = images(clones=130, seeds=2, mean_face=1, others=0, training=2, test=1)
    judge = linear("j", PEOPLE, weights)
    target = lambda b: judge.features(b)  # noqa: E731
    found = examination.examine(
        "a", examination.Evidence(**shown), target, 0, [judge], np.ones(130), galleries(judge)
    )
    together = judge.features(shown["clones"]).mean(axis=0)
    np.testing.assert_allclose(found["j"].clones.opinion.together, together, rtol=1e-4)


def test_a_sample_of_the_clones_and_the_photographs_are_disturbed():
    weights = np.random.default_rng(0).normal(size=(64, 3)).astype(np.float32)
    shown = images(clones=robustness.SAMPLE + 5, seeds=2, mean_face=1, others=0, training=2, test=3)
    judge = linear("j", PEOPLE, weights)
    found = examination.examine(
        "a",
        examination.Evidence(**shown),
        judge.features,
        0,
        [judge],
        np.ones(15),
        galleries(judge),
    )["j"]
    assert list(found.disturbed) == list(robustness.DISTURBANCES)
    for kind, ranks in found.disturbed.items():
        for images_, rank in (
            (shown["clones"][: robustness.SAMPLE], ranks.clones),
            (shown["test"], ranks.test),
        ):
            scores = judge.features(robustness.disturb(images_, kind))
            np.testing.assert_array_equal(rank, statistics.ranks(scores, 0))
    np.testing.assert_array_equal(found.disturbed["none"].test, found.test.opinion.rank)


def test_examine_without_others():
    shown = images(clones=2, seeds=2, mean_face=1, others=0, training=2, test=1)
    found = examination.examine(
        "b",
        examination.Evidence(**shown),
        lambda b: b[:, 0, :3, 0],
        0,
        [SIMPLE],
        np.ones(2),
        galleries(SIMPLE),
    )
    assert found["j"].others is None
    assert evaluation.judge_all(SIMPLE, {"b": found["j"]}, IMPOSTORS, None).controls.others is None


def test_the_plain_mean_face_is_its_own_control():
    """The noise of a seed costs likeness that the mean face has: 3.9 dB were credited for it."""
    rng = np.random.default_rng(0)
    face = np.full((1, 8, 8, 1), 0.5, np.float32)
    noisy = lambda n: np.clip(face + rng.normal(0, 0.1, (n, 8, 8, 1)), 0, 1)  # noqa: E731
    shown = images(others=2, training=3, test=1)
    shown |= {"clones": noisy(3), "seeds": noisy(3), "mean_face": face}
    found = examination.examine(
        "b",
        examination.Evidence(**shown),
        lambda b: b[:, 0, :3, 0],
        0,
        [SIMPLE],
        np.ones(3),
        galleries(SIMPLE),
    )
    controls = evaluation.judge_all(SIMPLE, {"b": found["j"]}, IMPOSTORS, None).controls
    assert controls.mean_face.psnr.value > controls.seeds.psnr.value
