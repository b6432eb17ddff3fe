"""Tests of the judges: a recognizer as one of them, and who cannot be one."""

import jax
import numpy as np
import pytest

from mia_jax import recognizer
from mia_jax.evidence import judges
from mia_jax.runtime.errors import UserError


def test_a_recognizer_judges_by_its_logits_and_features():
    params = recognizer.init(jax.random.key(0), 3, (16, 16, 1))
    judge = judges.recognizer_judge("r", ("a", "b", "c"), params, ["people"])
    images = np.random.default_rng(0).random((4, 16, 16, 1), np.float32)
    np.testing.assert_allclose(
        judge.scores(images), recognizer.logits(params, images), rtol=1e-4, atol=1e-5
    )
    np.testing.assert_allclose(
        judge.features(images), recognizer.features(params, images), rtol=1e-4, atol=1e-5
    )
    np.testing.assert_allclose(
        judge.confidence(np.asarray(judge.scores(images))).sum(axis=1), 1, rtol=1e-5
    )
    assert judge.shares == {"people"}


def test_judges_share_the_compiled_program_and_not_the_weights():
    params = [recognizer.init(jax.random.key(i), 3, (16, 16, 1)) for i in range(2)]
    first, second = (judges.recognizer_judge("r", ("a", "b", "c"), p, []) for p in params)
    assert first.scores.func is second.scores.func
    images = np.random.default_rng(0).random((4, 16, 16, 1), np.float32)
    assert (np.asarray(first.scores(images)) != np.asarray(second.scores(images))).any()


def test_what_is_shared_is_one_of_few_words():
    with pytest.raises(UserError, match="cannot share 'face': choose from people, photographs"):
        judges.recognizer_judge("r", ("a",), {}, ["people", "face"])


def test_the_target_cannot_be_a_judge():
    params = {"a": np.ones(3), "b": np.zeros((2, 2))}
    with pytest.raises(UserError, match=r"^the second has the same weights as the target"):
        judges.check_independent("second", params, jax.tree.map(np.copy, params))
    judges.check_independent("second", params, params | {"a": np.zeros(3)})
    judges.check_independent("second", params, {"a": np.ones(3)})
