"""Tests of the release check: it is refused where it could not fail."""

import pytest
from absl import flags
from absl.testing import flagsaver

from experiments import panel, release_check
from mia_jax.evidence import significance, verdict
from mia_jax.evidence.embedders import Embedder
from mia_jax.runtime.errors import UserError


@pytest.fixture
def fail_on(request):
    flags.FLAGS.mark_as_parsed()
    with flagsaver.flagsaver(fail_on=request.param):
        yield


@pytest.mark.parametrize("fail_on", ["recognizable"], indirect=True)
def test_strangers_are_needed_for_their_word(fail_on):
    release_check.check_judges(panel.Wanted((Embedder("e", None),), ()))
    with pytest.raises(UserError, match="needs a judge that is a stranger"):
        release_check.check_judges(panel.Wanted((), ("evaluator",)))


@pytest.mark.parametrize("fail_on", ["named", "none"], indirect=True)
def test_others_need_none(fail_on):
    release_check.check_judges(panel.Wanted((), ("evaluator",)))
    release_check.check_power(10, 2, 100)


@pytest.mark.parametrize("fail_on", ["recognizable"], indirect=True)
def test_a_check_that_could_not_fail_is_refused(fail_on):
    release_check.check_power(40, 5, 100)
    for few in ((10, 2, 100), (15, 5, 4)):
        with pytest.raises(UserError, match=r"cannot fail: .* 21 people and 7 restarts are enough"):
            release_check.check_power(*few)


def test_what_is_called_enough_is_enough():
    for attacked in (1, 2, 5, 20):
        assert significance.least_p_value(attacked, 21) <= verdict.LEVEL
