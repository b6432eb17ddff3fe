"""An embedder with templates is a classifier of cosines."""

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.spatial.distance

from mia_jax.recognizer import templates

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


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        (FEATURES[1], [1]),  # One photograph, which may be among those that test.
        (np.round(100 * FEATURES[1]), [1]),  # In whole numbers, of any length.
        (templates.enroll(FEATURES[:3], np.zeros(3, int))[0], [0, 1, 2]),
        (templates.enroll(FEATURES[:5], np.zeros(5, int))[0], [0, 1, 2, 3, 4]),
        (FEATURES[11], None),
    ],
)
def test_photographs_of_which_a_template_was_made_are_found(template, expected):
    found = templates.made_of(template, FEATURES[:5], (np.arange(3), np.arange(5)))
    assert (found if found is None else found.tolist()) == expected
