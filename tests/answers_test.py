"""What a model answers is compared with what is said of it, by numbers alone."""

import re

import numpy as np
import pytest
import scipy.special

from mia_jax.recognizer import answers
from mia_jax.runtime.errors import UserError

RAW = 3 * np.random.default_rng(0).normal(size=(12, 7))
SOFTMAX = scipy.special.softmax(RAW, axis=1)
ANSWERS = {
    "logits": RAW,
    "small logits": 0.01 * RAW,
    "cosines": np.tanh(RAW),
    "probabilities": SOFTMAX,
    "half precision": SOFTMAX.astype(np.float16),
    "labels": np.eye(7)[np.arange(12) % 7],
    "two digits": np.round(np.random.default_rng(1).dirichlet(np.ones(40), 12), 2),
    "sigmoid": scipy.special.expit(RAW),
    "percentages": 100 * SOFTMAX,
    "logarithms": np.log(SOFTMAX),
    "unit vectors": RAW / np.linalg.norm(RAW, axis=1, keepdims=True),
    "unit vectors after relu": np.maximum(RAW, 0)
    / np.linalg.norm(np.maximum(RAW, 0), axis=1, keepdims=True),
    "one answer for all": np.full((12, 7), 0.5),
}
# What is accepted: as what is said, with a word on what looks odd ("?"), or not at all.
SAID = ("", "logits", "probabilities", "features")
ACCEPTED = {
    "logits": ("logits", "logits", None, "features"),
    "small logits": ("logits", "logits", None, "features"),
    "cosines": ("logits", "logits", None, "features"),
    "probabilities": ("probabilities", None, "probabilities", None),
    "half precision": ("probabilities", None, "probabilities", None),
    "labels": ("probabilities", None, "probabilities", None),
    "two digits": ("probabilities", "logits?", "probabilities", None),
    "sigmoid": (None, "logits?", None, "features"),
    "percentages": (None, "logits?", None, "features"),
    "logarithms": ("logits", "logits", None, None),
    "unit vectors": (None, "logits?", None, "features"),
    "unit vectors after relu": (None, "logits?", None, "features"),
    "one answer for all": ("logits", "logits", None, "features"),
}
WORDS = {
    "logits": r"lie between -\d.* and \d",
    "probabilities": "none is below 0, and those of a picture sum to 1",
    "two digits": r"none is below 0, and those of a picture sum to 0.9\d to 1.0",
    "sigmoid": r"sum to [\d.]+ to [\d.]+, not to 1: a sigmoid's.*before its sigmoid, or log\(p\)",
    "percentages": "percentages: .* sum to 100.*divide them by 100",
    "logarithms": "logarithms of probabilities.*give --returns=logits",
    "unit vectors": "a vector of length 1.*give --returns=features",
}


@pytest.mark.parametrize("said", SAID)
@pytest.mark.parametrize("name", ANSWERS)
def test_what_cannot_be_is_refused_and_what_is_odd_is_said(name, said):
    expected = ACCEPTED[name][SAID.index(said)]
    words = f"model.onnx answers numbers which .*{WORDS.get(name, '')}"
    if expected is None:
        with pytest.raises(UserError, match=words) as error:
            answers.check("model.onnx", ANSWERS[name], said)
        assert f"--returns{'=' if said else ''}{said}" in str(error.value)
        return
    returns, warnings = answers.check("model.onnx", ANSWERS[name], said)
    assert returns == expected.rstrip("?")
    assert len(warnings) == expected.endswith("?")
    assert all(re.search(words, warning) for warning in warnings)


def test_logits_that_look_like_probabilities_can_be_attacked_all_the_same():
    """Of rows that sum to 1 the logarithm has the same order: nothing is lost by the other word."""
    order = SOFTMAX.argsort(axis=1)
    assert answers.check("m", SOFTMAX, answers.PROBABILITIES) == (answers.PROBABILITIES, ())
    np.testing.assert_array_equal(np.log(SOFTMAX).argsort(axis=1), order)
