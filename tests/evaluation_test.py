"""Tests of the evaluation: groups of images, controls, picks, and what is made of them."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from mia_jax.evidence import evaluation, statistics
from mia_jax.evidence.evaluation import Examined, Seen
from mia_jax.evidence.judges import Judge
from mia_jax.evidence.scores import Appearance, Opinion

PEOPLE = ("a", "b", "c")
JUDGE = Judge("judge", PEOPLE, None, None, frozenset({"people", "architecture"}))


def seen(logits, place=0):
    """What a recognizer with these logits would see, that is the target as well."""
    logits = np.asarray(logits, np.float32)
    score = scipy.special.softmax(logits, axis=1)[:, place]
    ramp = np.linspace(0.1, 0.2, len(logits))
    return Seen(
        Appearance(score, 10 + ramp, ramp),
        Opinion(statistics.ranks(logits, place), score, 5 + ramp),
    )


def examined(clones, place, others=None):
    return Examined(
        clones=seen(clones, place),
        seeds=seen(np.roll(clones, 1, 1), place),
        mean_face=seen([[1, 0, 0]], place),
        others=None if others is None else seen(others, place),
        test=seen(clones, place),
        robust_score=np.arange(len(clones)),
    )


def test_rates_by_hand():
    row = evaluation.rates([seen([[2, 1, 0], [0, 1, 2], [1, 2, 0]])], 3, 0)
    assert row.rank1.value == pytest.approx(1 / 3)
    assert row.rank5.value == row.rank10.value == 1
    np.testing.assert_allclose(row.cmc, [1 / 3, 2 / 3, 1])
    assert row.cmc_area.value == pytest.approx(2 / 3)
    for name in ("rank1", "cmc_area", "mean_score", "mean_target_score", "psnr", "ssim"):
        measure = getattr(row, name)
        assert measure.interval[0] < measure.value < measure.interval[1]
    assert row.rank5.interval == statistics.wilson_interval(1, 3)


def test_no_interval_has_no_width():
    """It was 1.000 (1.000-1.000) for 15 photographs."""
    people = [seen([[9, 0, 0]] * 3)] * 5
    row = evaluation.rates(people, 3, 0)
    assert row.rank1.value == 1
    np.testing.assert_allclose(row.rank1.interval, [0.796, 1], atol=1e-3)
    for field in dataclasses.fields(row):
        interval = getattr(getattr(row, field.name), "interval", None)
        assert interval is None or interval[0] < interval[1], field.name


def test_judge_all_finds_the_best_the_pick_and_the_controls():
    sure, unsure = [[9, 0, 0], [2, 0, 0], [0.5, 1, 0]], [[0, 5, 0], [0, 5, 0], [5, 0, 0]]
    people = {"a": examined(sure, 0, others=unsure), "b": examined(unsure, 1, others=sure)}
    found = evaluation.judge_all(JUDGE, people, 0)
    a, b = found.people["a"], found.people["b"]
    assert (a.best.restart, a.best.rank) == (0, 1)
    assert a.best.score == pytest.approx(scipy.special.softmax([9, 0, 0])[0])
    # The largest robust score, which the judge ranks second.
    assert (a.attacker_pick.restart, a.attacker_pick.rank) == (2, 2)
    assert a.controls.seeds.rank1.value == 0
    assert a.controls.others.rank1.value == pytest.approx(1 / 3)  # One aimed at b looks like a.
    assert (a.controls.mean_face.rank1.value, b.controls.mean_face.rank1.value) == (1, 0)
    assert a.controls.mean_face.psnr.interval is None
    assert found.mean.rank1.value == pytest.approx(
        (a.clones.rank1.value + b.clones.rank1.value) / 2
    )
    assert found.controls.mean_face.rank1.value == 0.5
    assert (found.chance.rank1, found.chance.rank5) == (pytest.approx(1 / 3), 1.0)
    assert sorted([a.exposure_rank, b.exposure_rank]) == [1, 2]
    assert (found.ceiling_photographs, found.classes) == (6, 3)
    assert found.shares == ("architecture", "people")


def test_every_control_has_its_likeness():
    people = {"a": examined([[9, 0, 0]] * 3, 0, others=[[0, 1, 0]] * 2)}
    found = evaluation.judge_all(JUDGE, people, 0).people["a"].controls
    for control in (found.seeds, found.mean_face, found.others):
        for measure in (control.psnr, control.ssim, control.feature_distance):
            assert measure is not None


def test_the_more_exposed_person_comes_first():
    weak, strong = examined([[0, 1, 0]] * 3, 0), examined([[0, 5, 0]] * 3, 1)
    found = evaluation.judge_all(JUDGE, {"weak": weak, "strong": strong}, 0)
    assert found.people["strong"].exposure_rank == 1
    assert list(found.people) == ["weak", "strong"]


def test_one_person_alone_has_no_clones_of_others():
    found = evaluation.judge_all(JUDGE, {"a": examined([[1, 0, 0]], 0)}, 0)
    assert found.controls.others is found.people["a"].controls.others is None


@pytest.mark.parametrize("people", [2, 5, 12, 40])
@pytest.mark.parametrize("restarts", [1, 3, 10, 100, 20_001])
def test_the_share_of_others_is_as_large_as_the_persons_own_and_even(people, restarts):
    names = [f"s{i}" for i in range(people)]
    shares = evaluation.share_of_others("s1", names, restarts)
    assert sum(shares.values()) == restarts
    assert "s1" not in shares
    assert len(shares) == min(people - 1, evaluation.OTHERS, restarts)
    assert max(shares.values()) - min(shares.values()) <= 1
    assert min(shares.values()) >= 1
    assert next(iter(shares)) == names[2 % people]  # Another sample for each person.


def test_nobody_else_has_no_share():
    assert evaluation.share_of_others("a", ["a"], 5) == {}


def images(**counts):
    rng = np.random.default_rng(0)
    return {name: rng.random((count, 8, 8, 1), np.float32) for name, count in counts.items()}


def test_examine_shows_each_group_to_the_target_and_to_every_judge():
    weights = jnp.asarray(np.random.default_rng(0).normal(size=(64, 3)), jnp.float32)
    project = lambda batch: batch.reshape(len(batch), -1) @ weights  # noqa: E731
    first = Judge("first", PEOPLE, project, project, frozenset())
    second = Judge("second", ("c", "a", "d"), lambda b: -project(b), project, frozenset())
    shown = images(clones=5, seeds=4, mean_face=1, others=3, training=3, test=2)
    found = evaluation.examine(
        "a", evaluation.Evidence(**shown), lambda b: 2 * project(b), 2, [first, second], np.ones(5)
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


def test_examine_without_others():
    judge = Judge("j", PEOPLE, lambda b: b[:, 0, :3, 0], lambda b: b[:, 0, :, 0], frozenset())
    shown = images(clones=2, seeds=2, mean_face=1, others=0, training=2, test=1)
    found = evaluation.examine(
        "b", evaluation.Evidence(**shown), judge.scores, 0, [judge], np.ones(2)
    )
    assert found["j"].others is None
    assert evaluation.judge_all(judge, {"b": found["j"]}, 0).controls.others is None


def test_the_plain_mean_face_is_its_own_control():
    """The noise of a seed costs likeness that the mean face has: 3.9 dB were credited for it."""
    rng = np.random.default_rng(0)
    face = np.full((1, 8, 8, 1), 0.5, np.float32)
    noisy = lambda n: np.clip(face + rng.normal(0, 0.1, (n, 8, 8, 1)), 0, 1)  # noqa: E731
    shown = images(others=2, training=3, test=1)
    shown |= {"clones": noisy(3), "seeds": noisy(3), "mean_face": face}
    judge = Judge("j", PEOPLE, lambda b: b[:, 0, :3, 0], lambda b: b[:, 0, :, 0], frozenset())
    found = evaluation.examine(
        "b", evaluation.Evidence(**shown), judge.scores, 0, [judge], np.ones(3)
    )
    controls = evaluation.judge_all(judge, {"b": found["j"]}, 0).controls
    assert controls.mean_face.psnr.value > controls.seeds.psnr.value
