"""An embedder with templates is a classifier of cosines."""

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.spatial.distance

from mia_jax.evidence import unlocking
from mia_jax.recognizer import templates
from mia_jax.report import unlocking as page
from mia_jax.runtime.errors import UserError

DRAW = np.random.default_rng(0)
FEATURES = DRAW.normal(size=(12, 7)).astype(np.float32)
PEOPLE = np.repeat(np.arange(4), 3)


def test_logits_are_scaled_cosines_to_the_mean_of_a_persons_vectors():
    enrolled = templates.enroll(FEATURES, PEOPLE)
    units = FEATURES / np.linalg.norm(FEATURES, axis=1, keepdims=True)
    means = [units[person == PEOPLE].mean(axis=0) for person in range(4)]
    expected = 10 * (1 - scipy.spatial.distance.cdist(FEATURES, means, "cosine"))
    logits = templates.recognizer(lambda scale, images: scale * images, 10.0)
    params = {templates.EMBEDDER: jnp.float32(3), templates.TEMPLATES: enrolled}
    np.testing.assert_allclose(logits(params, FEATURES), expected, rtol=1e-4, atol=1e-4)


def test_a_threshold_accepts_as_many_strangers_as_asked_for():
    similarities = DRAW.uniform(-1, 1, (500, 4))
    own = DRAW.integers(0, 4, 500)
    threshold = templates.threshold_of(similarities, own, 0.05)
    others = similarities[np.arange(4) != own[:, None]]
    assert np.mean(others > threshold) <= 0.05 < np.mean(others > threshold - 0.02)
    with pytest.raises(UserError, match="needs photographs of two people"):
        templates.threshold_of(similarities[:, :1], np.zeros(500, int))


@pytest.mark.parametrize("pairs", [1, 2, 50, 99, 100, 101, 199, 200, 201, 1000])
@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("rate", [0.01, 0.29])
@pytest.mark.parametrize("ties", [False, True])
def test_a_threshold_accepts_no_more_than_promised(pairs, kind, rate, ties):
    """It accepted 2 of 101 pairs, 1.98%, where 1% was promised."""
    values = np.random.default_rng(pairs).uniform(-1, 1, pairs)
    values = np.round(values, 1 if ties else 9).astype(kind)
    similarities = np.stack([np.ones(pairs, kind), values], axis=1)
    threshold = templates.threshold_of(similarities, np.zeros(pairs, int), rate)
    accepted, allowed = np.sum(values >= threshold), round(rate * 1e6) * pairs // 10**6
    assert accepted <= allowed
    if not ties:
        assert accepted == allowed  # No stricter than it has to be.


def test_whom_the_model_lets_in_is_counted():
    def seen(*values):
        arrays = [np.array(each) for each in values]
        return unlocking.Similarities(*arrays)

    found = unlocking.unlocking(
        {
            "ann": seen([0.9, 0.6], [0.1], [0.2], [0.9], [0.3, 0.6]),
            "bob": seen([0.4, 0.3], [0.1], [0.6], [0.8], [0.2, 0.1]),
        },
        0.5,
    )
    assert found.people == {"ann": 1, "bob": 0}
    rates = [found.clones, found.seeds, found.others, found.photographs, found.strangers]
    assert [each.value for each in rates] == [0.5, 0, 0.5, 1, 0.25]
    first, second = page.sentences(found)
    assert "takes 50.0% of the clones for their person; 100.0% of the person's own" in first
    assert "unlocks it as 1 of 2 people" in second
