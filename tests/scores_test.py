"""Tests of what the target and the judges see in images."""

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import skimage.metrics

from mia_jax.evidence import scores, statistics
from mia_jax.evidence.judges import Judge

PEOPLE = ("a", "b", "c", "d")
WEIGHTS = np.random.default_rng(1).normal(size=(64, 4)).astype(np.float32)


def flat(images):
    return images.reshape(len(images), -1) @ WEIGHTS


def third(vectors):
    return np.asarray(vectors) / 3


def judge(**changes):
    made = Judge("linear", PEOPLE, lambda images: 3 * flat(images), third, frozenset())
    return made._replace(**changes)


def pictures(count, seed=0):
    return np.random.default_rng(seed).random((count, 8, 8, 1), np.float32)


@pytest.mark.parametrize("count", [1, 100, 101, 230])
def test_any_number_of_images_is_seen_as_one_by_one(count):
    images, photographs = pictures(count), pictures(3, 1)
    real = scores.features(judge(), photographs)
    opinion = scores.opinion(judge(), images, "c", real)
    logits = images.reshape(count, -1) @ WEIGHTS
    np.testing.assert_allclose(opinion.score, scipy.special.softmax(logits, 1)[:, 2], rtol=1e-4)
    order = np.argsort(-logits, axis=1)
    np.testing.assert_array_equal(opinion.rank, np.argmax(order == 2, axis=1) + 1)
    vectors = photographs.reshape(3, -1) @ WEIGHTS
    distances = [np.mean([3 * np.linalg.norm(c - r) for r in vectors]) for c in logits]
    np.testing.assert_allclose(opinion.feature_distance, distances, rtol=1e-3)


def test_a_judge_whose_scores_are_no_logits_reports_them_as_they_are():
    likeness = judge(confidence=lambda values: values)
    opinion = scores.opinion(likeness, pictures(3), "b", scores.features(likeness, pictures(2)))
    np.testing.assert_allclose(opinion.score, flat(pictures(3))[:, 1], rtol=1e-5)


def test_memory_is_bounded_by_the_batch():
    shapes = []

    def features(images):
        shapes.append(images.shape)
        return jnp.zeros((len(images), 1024))

    wide = judge(features=features, match=lambda vectors: vectors[:, :4])
    images = np.broadcast_to(np.float32(0.5), (1000, 8, 8, 1))
    opinion = scores.opinion(wide, images, "a", np.zeros((7, 1024)))
    assert set(shapes) == {(100, 8, 8, 1)}
    assert len(shapes) == 10
    assert {field.shape for field in opinion[:3]} == {(1000,)}


def test_appearance_is_the_targets_confidence_and_the_likeness():
    images, photographs = pictures(5), pictures(3, 1)
    seen = scores.appearance(images, lambda batch: 2 * flat(batch), 1, photographs)
    expected = scipy.special.softmax(2 * flat(images), 1)[:, 1]
    np.testing.assert_allclose(seen.target_score, expected, rtol=1e-4)
    np.testing.assert_array_equal(seen.target_first, statistics.ranks(flat(images), 1) == 1)
    tied = scores.appearance(images, lambda batch: 0 * flat(batch), 1, photographs)
    assert not tied.target_first.any()  # A model that says the same of all takes nobody for anyone.
    np.testing.assert_array_equal((seen.psnr, seen.ssim), scores.likeness(images, photographs))


def test_likeness_is_to_the_nearest_photograph():
    rng = np.random.default_rng(0)
    photographs = rng.random((3, 16, 16, 1), np.float32)
    image = np.clip(photographs[1] + rng.normal(0, 0.05, (16, 16, 1)), 0, 1).astype(np.float32)
    psnr, ssim = scores.likeness(image[None], photographs)
    expected = skimage.metrics.peak_signal_noise_ratio(photographs[1], image, data_range=1)
    np.testing.assert_allclose(psnr, [expected], rtol=1e-4)
    assert 0 < ssim[0] < 1
    psnr, ssim = scores.likeness(photographs[:1], photographs)
    assert ssim[0] == pytest.approx(1)
    assert psnr[0] == pytest.approx(100)


def test_a_model_that_fails_is_no_success():
    broken = judge(match=lambda vectors: jnp.full((len(vectors), 4), jnp.nan))
    opinion = scores.opinion(broken, pictures(2), "a", scores.features(broken, pictures(2)))
    np.testing.assert_array_equal(opinion.rank, 4)
    np.testing.assert_array_equal(opinion.score, 0)
