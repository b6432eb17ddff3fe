"""D_sys against closed forms of its definition."""

import numpy as np
import pytest
import scipy.integrate
import scipy.stats

from mia_jax.evidence import successful_attacks
from mia_jax.evidence.successful_attacks import Enrollment
from mia_jax.evidence.unlinkability import unlinkability

EVEN = np.linspace(0, 1, 4001)


@pytest.mark.parametrize(
    ("mated", "non_mated", "expected"),
    [
        (EVEN, EVEN, 0),  # The same.
        (EVEN + 2, EVEN, 1),  # Apart.
        (EVEN - 2, EVEN, 1),  # Whatever the order.
        (np.ones(40), np.ones(400), 0),  # One score, which tells nothing.
        (EVEN + 0.5, EVEN, 0.5),  # Half of the mated scores is where no other is.
        (EVEN / 2, EVEN, 1 / 3),  # LR is 2 there: 2 LR / (1 + LR) - 1 is a third.
    ],
)
def test_of_uniform_scores(mated, non_mated, expected):
    assert unlinkability(mated, non_mated).d_sys == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize("apart", [0.5, 1.0, 3.0])
def test_of_normal_scores(apart):
    draw = np.random.default_rng(0)
    mated, non_mated = draw.normal(apart, size=200_000), draw.normal(size=200_000)

    def local(score):
        # 2 LR / (1 + LR) - 1 is the hyperbolic tangent of half the logarithm of LR.
        ratio = apart * score - apart**2 / 2
        return max(np.tanh(ratio / 2), 0) * scipy.stats.norm.pdf(score, apart)

    expected, _ = scipy.integrate.quad(local, -8, 8 + apart, points=[apart / 2])
    assert unlinkability(mated, non_mated).d_sys == pytest.approx(expected, abs=0.01)


def test_so_few_templates_say_nothing():
    assert unlinkability(EVEN[:19], EVEN) is None
    assert unlinkability(EVEN, EVEN[:0]) is None


@pytest.mark.parametrize(("noise", "least", "most"), [(0.01, 0.99, 1), (100.0, 0, 0.2)])
def test_plain_templates_are_linked_and_those_of_noise_are_not(noise, least, most):
    draw = np.random.default_rng(0)
    people = draw.normal(size=(30, 16))
    gallery = [Enrollment(each, *(each + noise * draw.normal(size=(2, 3, 16)))) for each in people]
    found = successful_attacks.linked(gallery, successful_attacks.cosines)
    assert (found.mated, found.non_mated) == (30 * 9, 30 * 29 * 9)
    assert least <= found.d_sys <= most
