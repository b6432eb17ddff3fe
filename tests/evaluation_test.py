"""Tests of the evaluation: groups of images, controls, picks, and what is made of them."""

import dataclasses

import numpy as np
import pytest
import scipy.special

from mia_jax.evidence import evaluation, sets, statistics
from mia_jax.evidence.examination import DisturbedRanks, Examined, Seen
from mia_jax.evidence.judges import Judge
from mia_jax.evidence.scores import Appearance, Opinion
from mia_jax.evidence.verification import Impostors

PEOPLE = ("a", "b", "c")
IMPOSTORS = Impostors(np.linspace(0, 0.9, 1000), np.linspace(0, 0.9, 100), np.full(3, 0.1))
JUDGE = Judge("judge", PEOPLE, None, None, frozenset({"people", "architecture"}))


def seen(logits, place=0, found=None):
    """What a recognizer with these logits would see, that is the target as well."""
    logits = np.asarray(logits, np.float32)
    score = scipy.special.softmax(logits, axis=1)[:, place]
    ramp = np.linspace(0.1, 0.2, len(logits))
    together = logits.mean(axis=0)
    set_rank = int(statistics.ranks(together[None], place)[0])
    return Seen(
        Appearance(score, statistics.ranks(logits, place) == 1, 10 + ramp, ramp),
        Opinion(
            *(statistics.ranks(logits, place), score, 5 + ramp, found, together, set_rank, logits)
        ),
    )


def examined(clones, place, others=None):
    groups = {"clones": seen(clones, place), "seeds": seen(np.roll(clones, 1, 1), place)}
    groups["test"] = seen(clones, place)
    if others is not None:
        groups["others"] = seen(others, place)
    vectors = {group: each.opinion.vectors for group, each in groups.items()}
    training = np.eye(3, dtype=np.float32)[[place]] + np.float32([[0], [0.5]])
    return Examined(
        **{"others": None, **groups},
        mean_face=seen([[1, 0, 0]], place),
        robust_score=np.arange(len(clones)),
        disturbed={"none": DisturbedRanks(np.array([1, 2]), np.array([1]))},
        training=training,
        set_measures=sets.compare(vectors, training, np.zeros((1, 3), np.float32)),
    )


def test_rates_by_hand():
    row = evaluation.rates([seen([[2, 1, 0], [0, 1, 2], [1, 2, 0]])], 3)
    assert row.rank1.value == pytest.approx(1 / 3)
    assert row.rank5.value == row.rank10.value == 1
    np.testing.assert_allclose(row.cmc, [1 / 3, 2 / 3, 1])
    assert row.cmc_area.value == pytest.approx(2 / 3)
    for name in ("rank1", "cmc_area", "mean_score", "mean_target_score", "psnr", "ssim"):
        measure = getattr(row, name)
        assert measure.interval[0] < measure.value < measure.interval[1]
    assert row.rank5.interval == statistics.wilson_interval(1, 3)


def test_no_interval_has_no_width():
    """It was 1.000 (1.000-1.000) for 15 photographs of 5 people."""
    people = [seen([[9, 0, 0]] * 3)] * 5
    row = evaluation.rates(people, 3)
    assert row.rank1.value == 1
    np.testing.assert_allclose(row.rank1.interval, [0.566, 1], atol=1e-3)
    for field in dataclasses.fields(row):
        interval = getattr(getattr(row, field.name), "interval", None)
        assert interval is None or interval[0] < interval[1], field.name


def test_judge_all_finds_the_best_the_pick_and_the_controls():
    sure, unsure = [[9, 0, 0], [2, 0, 0], [0.5, 1, 0]], [[0, 5, 0], [0, 5, 0], [5, 0, 0]]
    people = {"a": examined(sure, 0, others=unsure), "b": examined(unsure, 1, others=sure)}
    found = evaluation.judge_all(JUDGE, people, IMPOSTORS, None)
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
    found = evaluation.judge_all(JUDGE, people, IMPOSTORS, None).people["a"].controls
    for control in (found.seeds, found.mean_face, found.others):
        for measure in (control.psnr, control.ssim, control.feature_distance):
            assert measure is not None


def test_the_more_exposed_person_comes_first():
    weak, strong = examined([[0, 1, 0]] * 3, 0), examined([[0, 5, 0]] * 3, 1)
    found = evaluation.judge_all(JUDGE, {"a": weak, "b": strong}, IMPOSTORS, None)
    assert found.people["b"].exposure_rank == 1
    assert list(found.people) == ["a", "b"]


def test_one_person_alone_has_no_clones_of_others():
    found = evaluation.judge_all(JUDGE, {"a": examined([[1, 0, 0]], 0)}, IMPOSTORS, None)
    assert found.controls.others is found.people["a"].controls.others is None


def test_the_median_rank_and_the_faces_found():
    row = evaluation.rates([seen([[2, 1, 0], [0, 1, 2], [0, 2, 1]], found=np.array([1, 0, 0]))], 3)
    assert row.median_rank == 3
    assert row.found.value == pytest.approx(1 / 3)
    assert evaluation.rates([seen([[2, 1, 0]])], 3).found is None


def test_sets_are_ranked_by_their_scores_together():
    # Two clones say b, narrowly, and one says a by far: together they say a.
    people = {"a": examined([[0, 1, 0], [0, 1, 0], [9, 0, 0]], 0), "c": examined([[0, 5, 1]], 2)}
    found = evaluation.judge_all(JUDGE, people, IMPOSTORS, None)
    assert found.people["a"].clones.median_rank > 1
    assert (found.people["a"].clones.set_rank, found.people["c"].clones.set_rank) == (1, 2)
    score = scipy.special.softmax([3, 2 / 3, 0])[0]
    assert found.people["a"].set_score == pytest.approx(score)
    assert found.sets.clones.rank1.value == 0.5
    assert found.sets.clones.median_rank == 1.5
    np.testing.assert_allclose(found.sets.clones.cmc, [0.5, 1, 1])
    assert found.sets.others is None


def test_acceptance_is_counted_above_the_thresholds_of_strangers():
    clones = [[9, 0, 0], [0, 0, 0]]  # The person's score is 0.9998 and 1/3.
    people = {"a": examined(clones, 0, others=[[0, 9, 0]] * 2)}
    found = evaluation.judge_all(JUDGE, people, IMPOSTORS, None)
    loose, strict = found.verification
    assert (loose.false_accepts, strict.false_accepts) == (0.01, 0.001)
    assert loose.threshold < strict.threshold < 0.9
    assert (loose.clones.value, loose.others.value, loose.sets.value) == (0.5, 0, 1)
    assert found.stranger_pairs == 1000


def test_the_robustness_is_that_of_all_people():
    people = {"a": examined([[9, 0, 0]], 0), "b": examined([[9, 0, 0]], 1)}
    none = evaluation.judge_all(JUDGE, people, IMPOSTORS, None).robustness["none"]
    assert (none.clones.value, none.photographs.value) == (0.5, 1)
