"""Tests of the thresholds of acceptance: strangers' pairs, and at most so many of them."""

import numpy as np
import pytest

from mia_jax.evidence import verification
from mia_jax.evidence.embedders import Embedder
from mia_jax.evidence.judges import embedder_judge


def flat(images):
    return np.asarray(images).reshape(len(images), -1)


def test_every_photograph_is_put_forward_as_everybody_else():
    rng = np.random.default_rng(0)
    counts = {"a": 2, "b": 3, "c": 1, "x": 2}
    shown = {name: rng.random((count, 4, 4, 1), np.float32) for name, count in counts.items()}
    judge = embedder_judge(Embedder("e", flat), [(name, shown[name]) for name in "abc"])
    found = verification.impostors(judge, shown.items())
    single, together, named = [], [], np.zeros(3)
    means = {name: flat(shown[name]).mean(axis=0) for name in "abcx"}
    for name, images in shown.items():
        for image in flat(images):
            distances = [np.linalg.norm(image - means[other]) for other in "abc"]
            single += [-d for other, d in zip("abc", distances, strict=True) if other != name]
            nearest = int(np.argmin(distances))
            named[nearest] += "abc"[nearest] != name
        together += [-np.linalg.norm(means[name] - means[o]) for o in "abc" if o != name]
    np.testing.assert_allclose(np.sort(found.single), np.sort(single), rtol=1e-4)
    np.testing.assert_allclose(np.sort(found.together), np.sort(together), rtol=1e-4)
    np.testing.assert_allclose(found.named, named / [6, 5, 7])


@pytest.mark.parametrize(
    ("rate", "accepted"), [(0.0, 0), (0.01, 10), (0.001, 1), (0.0005, 0), (0.29, 290)]
)
def test_a_threshold_lets_at_most_the_given_fraction_pass(rate, accepted):
    scores = np.random.default_rng(0).permutation(np.arange(1000.0))
    assert np.sum(scores > verification.threshold(scores, rate)) == accepted


def test_equal_scores_are_not_accepted_for_being_many():
    scores = np.array([1.0] * 50 + [0.0] * 50)
    assert np.sum(scores > verification.threshold(scores, 0.01)) == 0


def test_no_rate_is_rounded_down_by_arithmetic():
    scores = np.arange(100.0)
    accepted = [np.sum(scores > verification.threshold(scores, n / 100)) for n in range(100)]
    assert accepted == list(range(100))
