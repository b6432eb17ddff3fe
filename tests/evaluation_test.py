"""Tests of the evaluation: ranks, curves, intervals, controls."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import skimage.metrics
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mia_jax.evidence import evaluation

logit_matrices = hnp.arrays(
    np.float32,
    st.tuples(st.integers(1, 6), st.integers(2, 8)),
    elements=st.integers(-3, 3).map(float),
)


@given(logit_matrices, st.data())
@settings(deadline=None, max_examples=60)
def test_rank_is_the_place_in_a_sorted_list_with_ties_last(logits, data):
    target = data.draw(st.integers(0, logits.shape[1] - 1))
    for row, rank in zip(logits, evaluation.ranks(logits, target), strict=True):
        better_first = sorted(row, reverse=True)
        assert better_first[rank - 1] == row[target]
        assert rank == len(row) or better_first[rank] < row[target]


@given(st.lists(st.integers(1, 9), min_size=1, max_size=20))
def test_cumulative_match_rises_to_one_and_its_area_is_the_mean_of_its_values(ranks):
    ranks = np.array(ranks)
    curve = evaluation.cumulative_match(ranks, 9)
    assert (np.diff(curve) >= 0).all()
    assert curve[-1] == 1
    assert curve[0] == pytest.approx(np.mean(ranks == 1))
    assert curve.mean() == pytest.approx(np.mean((9 + 1 - ranks) / 9))


def test_scores_are_the_softmax():
    logits = np.log(np.array([[0.7, 0.2, 0.1], [0.1, 0.1, 0.8]], np.float32)) + 5
    np.testing.assert_allclose(evaluation.scores(logits, 2), [0.1, 0.8], rtol=1e-5)


@pytest.mark.parametrize(
    ("accuracy", "count", "expected"),
    # Golden numbers from the closed form with z = 1.959964.
    [(1.0, 42, (0.9162, 1.0)), (0.5, 10, (0.2366, 0.7634)), (0.0, 10, (0.0, 0.2775))],
)
def test_wilson_interval(accuracy, count, expected):
    np.testing.assert_allclose(evaluation.wilson_interval(accuracy, count), expected, atol=1e-4)


def test_bootstrap_covers_the_normal_interval_and_is_seeded():
    sample = np.random.default_rng(1).normal(3, 2, (400, 1))
    mean, interval = evaluation.bootstrap_mean([sample], 0)
    half = 1.96 * sample.std() / 20
    np.testing.assert_allclose(mean, sample.mean(0))
    np.testing.assert_allclose(interval[:, 0], [mean[0] - half, mean[0] + half], atol=0.05)
    np.testing.assert_array_equal(interval, evaluation.bootstrap_mean([sample], 0)[1])
    assert (interval != evaluation.bootstrap_mean([sample], 1)[1]).any()


def test_bootstrap_averages_groups_equally_and_keeps_them_apart():
    constant, other = np.zeros((5, 1)), np.ones((500, 1))
    mean, interval = evaluation.bootstrap_mean([constant, other], 0)
    assert mean[0] == 0.5
    np.testing.assert_array_equal(interval[:, 0], [0.5, 0.5])


def seen(logits, target=0, likeness=()):
    logits = np.asarray(logits, np.float32)
    return evaluation.Seen(target, logits, target, logits, dict(likeness))


def test_rates_by_hand():
    row = evaluation.rates([seen([[2, 1, 0], [0, 1, 2], [1, 2, 0]])], 0)
    assert row["rank1"] == pytest.approx(1 / 3)
    assert row["rank5"] == row["rank10"] == 1
    np.testing.assert_allclose(row["cmc"], [1 / 3, 2 / 3, 1])
    assert row["cmc_area"] == pytest.approx(2 / 3)
    for name in ("rank1", "cmc_area", "mean_score", "mean_target_score"):
        low, high = row[f"{name}_interval"]
        assert 0 <= low <= row[name] <= high <= 1
    assert row["rank1_interval"][0] < row["rank1_interval"][1]


def examined(clones, target):
    group = seen(clones, target)
    seeds = seen(np.roll(np.asarray(clones), 1, 1), target)
    return evaluation.Examined(group, seeds, seen(clones, target), np.arange(len(clones)), 7)


def test_evaluate_finds_the_best_the_pick_and_the_controls():
    sure, unsure = [[9, 0, 0], [2, 0, 0], [0.5, 1, 0]], [[0, 5, 0], [0, 5, 0], [5, 0, 0]]
    result = evaluation.evaluate({"a": examined(sure, 0), "b": examined(unsure, 1)}, 0)
    a, b = result["identities"]["a"], result["identities"]["b"]
    assert a["best_restart"] == 0
    assert a["best_rank"] == 1
    assert a["attacker_pick"] == 2  # The largest robust score, which the evaluator ranks second.
    assert a["attacker_pick_rank"] == 2
    assert a["null"]["seed"]["rank1"] == 0
    # Of the clones aimed at b, one is taken for a.
    assert a["null"]["others"]["rank1"] == pytest.approx(1 / 3)
    assert result["mean"]["rank1"] == pytest.approx((a["rank1"] + b["rank1"]) / 2)
    assert result["chance"] == {"rank1": pytest.approx(1 / 3), "rank5": 1.0, "rank10": 1.0}
    assert sorted([a["exposure_rank"], b["exposure_rank"]]) == [1, 2]
    assert result["ceiling"]["photographs"] == 6


def test_the_more_exposed_person_comes_first():
    weak, strong = [[0, 1, 0]] * 3, [[0, 5, 0]] * 3
    result = evaluation.evaluate({"weak": examined(weak, 0), "strong": examined(strong, 1)}, 0)
    assert result["identities"]["strong"]["exposure_rank"] == 1


def test_one_person_alone_has_no_clones_of_others():
    result = evaluation.evaluate({"a": examined([[1, 0]], 0)}, 0)
    assert set(result["identities"]["a"]["null"]) == set(result["mean"]["null"]) == {"seed"}


def test_likeness_is_to_the_nearest_photograph():
    rng = np.random.default_rng(0)
    photographs = rng.random((3, 16, 16, 1), np.float32)
    image = np.clip(photographs[1] + rng.normal(0, 0.05, (16, 16, 1)), 0, 1).astype(np.float32)
    row = evaluation.likeness(image[None], photographs)
    expected = skimage.metrics.peak_signal_noise_ratio(photographs[1], image, data_range=1)
    np.testing.assert_allclose(row["psnr"], [expected], rtol=1e-4)
    assert 0 < row["ssim"][0] < 1
    assert evaluation.likeness(photographs[:1], photographs)["ssim"][0] == pytest.approx(1)


def test_examine_measures_each_group_with_each_recognizer():
    rng = np.random.default_rng(0)
    images = {
        name: rng.random((count, 8, 8, 1), np.float32)
        for name, count in {"clones": 5, "seeds": 5, "training": 3, "held_out": 2}.items()
    }
    weights = jnp.asarray(rng.normal(size=(64, 4)), jnp.float32)
    project = lambda images: images.reshape(len(images), -1) @ weights  # noqa: E731
    target = evaluation.Model(lambda images: 2 * project(images), project)
    evaluator = evaluation.Model(project, lambda images: 3 * project(images))
    evidence = evaluation.Evidence(target_class=1, evaluator_class=2, **images)
    result = evaluation.examine(evidence, target, evaluator, jax.random.key(0))
    flat = images["clones"].reshape(5, -1) @ np.asarray(weights)
    np.testing.assert_allclose(result.clones.logits, flat, rtol=1e-4)
    np.testing.assert_allclose(
        result.clones.target_score, jax.nn.softmax(2 * flat)[:, 1], rtol=1e-4
    )
    real = images["training"].reshape(3, -1) @ np.asarray(weights)
    distances = [np.mean([np.linalg.norm(3 * (c - r)) for r in real]) for c in flat]
    np.testing.assert_allclose(result.clones.likeness["feature_distance"], distances, rtol=1e-4)
    assert len(result.held_out.logits) == 2
    assert result.training_photographs == 3
    assert result.robust_score.shape == (5,)


def test_robust_score_of_a_model_that_views_cannot_change_is_its_score():
    flat = np.full((2, 8, 8, 1), 0.5, np.float32)
    model = evaluation.Model(lambda images: jnp.array([[0.0, 1.0]] * len(images)), lambda x: x)
    score = evaluation.robust_scores(model, flat, 1, jax.random.key(0))
    np.testing.assert_allclose(score, 1 / (1 + np.exp(-1)), rtol=1e-5)


def test_the_target_is_refused_as_evaluator():
    params = {"a": np.ones(3), "b": np.zeros((2, 2))}
    with pytest.raises(ValueError, match="same weights as the target"):
        evaluation.check_independent(params, jax.tree.map(np.copy, params))
    evaluation.check_independent(params, params | {"a": np.zeros(3)})
    evaluation.check_independent(params, {"a": np.ones(3)})
