"""Tests of the judges: a recognizer as one of them, and who cannot be one."""

import jax
import numpy as np
import pytest
from drawn import weights

from mia_jax import recognizer
from mia_jax.evidence import judges
from mia_jax.evidence.embedders import Embedder
from mia_jax.recognizer.architectures import ARCHITECTURES, CNN
from mia_jax.runtime.errors import UserError


@pytest.mark.parametrize("model", ARCHITECTURES.values(), ids=ARCHITECTURES)
def test_a_recognizer_judges_by_its_logits_and_features(model):
    params = weights(model, 3, 16, 16, 1)
    judge = judges.recognizer_judge("r", ("a", "b", "c"), params, ["people"], model)
    images = np.random.default_rng(0).random((4, 16, 16, 1), np.float32)
    np.testing.assert_allclose(
        judge.match(judge.features(images)), model.logits(params, images), rtol=1e-4, atol=1e-5
    )
    np.testing.assert_allclose(
        judge.features(images), model.features(params, images), rtol=1e-4, atol=1e-5
    )
    np.testing.assert_allclose(
        judge.confidence(np.asarray(judge.match(judge.features(images)))).sum(axis=1), 1, rtol=1e-5
    )
    assert judge.shares == {"people"}


def test_judges_share_the_compiled_program_and_not_the_weights():
    params = [weights(CNN, 3, 16, 16, 1, seed=i) for i in range(2)]
    first, second = (judges.recognizer_judge("r", ("a", "b", "c"), p, []) for p in params)
    assert first.features.func is second.features.func
    images = np.random.default_rng(0).random((4, 16, 16, 1), np.float32)
    seen = [np.asarray(each.match(each.features(images))) for each in (first, second)]
    assert (seen[0] != seen[1]).any()


def photographs(count, seed):
    return np.random.default_rng(seed).random((count, 8, 8, 1), np.float32)


def flat(images):
    return np.asarray(images).reshape(len(images), -1)


def test_an_embedder_knows_people_by_the_mean_of_their_photographs():
    enrolled = {"a": photographs(3, 0), "b": photographs(1, 1), "c": photographs(5, 2)}
    judge = judges.embedder_judge(Embedder("e", flat), enrolled.items())
    assert (judge.name, judge.people, judge.stranger) == ("e", ("a", "b", "c"), True)
    images = photographs(4, 3)
    scores = judge.confidence(judge.match(judge.features(images)))
    for row, image in zip(scores, flat(images), strict=True):
        means = [flat(each).mean(axis=0) for each in enrolled.values()]
        np.testing.assert_allclose(row, [-np.linalg.norm(image - m) for m in means], rtol=1e-5)


def test_the_logits_of_mean_features_are_the_mean_logits():
    params = weights(CNN, 3, 16, 16, 1)
    judge = judges.recognizer_judge("r", ("a", "b", "c"), params, [])
    images = np.random.default_rng(0).random((4, 16, 16, 1), np.float32)
    together = judge.match(np.asarray(judge.features(images)).mean(axis=0)[None])[0]
    np.testing.assert_allclose(
        together, recognizer.logits(params, images).mean(axis=0), rtol=1e-3, atol=1e-5
    )


def test_who_shares_something_is_no_stranger():
    enrolled = {"a": photographs(1, 0)}
    assert not judges.embedder_judge(Embedder("e", flat), enrolled.items(), ["people"]).stranger


def test_what_is_shared_is_one_of_few_words():
    with pytest.raises(UserError, match="cannot share 'face': choose from people, photographs"):
        judges.recognizer_judge("r", ("a",), {}, ["people", "face"])


def test_the_target_cannot_be_a_judge():
    params = {"a": np.ones(3), "b": np.zeros((2, 2))}
    with pytest.raises(UserError, match=r"^the second has the same weights as the target"):
        judges.check_independent("second", params, jax.tree.map(np.copy, params))
    judges.check_independent("second", params, params | {"a": np.zeros(3)})
    judges.check_independent("second", params, {"a": np.ones(3)})
