"""Tests of two models beside each other: ranks, the test over people, and what is refused."""

import dataclasses

import judged
import numpy as np
import pytest
import scipy.stats
from absl import flags
from absl.testing import flagsaver

from experiments import beside as said
from mia_jax.evidence import beside
from mia_jax.runtime import records
from mia_jax.runtime.errors import UserError
from mia_jax.runtime.workdir import WorkDirectory

CLASSES = 14


def evaluation(rank1, **changes):
    """A stranger's word on people of whom so many clones are named right; others are anywhere."""
    people = {f"p{i}": judged.person(each, i + 1) for i, each in enumerate(rank1)}
    return judged.evaluation(judged.judgement(shares=(), people=people, **changes))


def mean_rank(rank1):
    """Follows from the curve of `judged`: straight from `rank1` at rank 1 to 1 at the last."""
    return 1 + (1 - np.array(rank1)) * CLASSES / 2


def test_ranks_and_their_difference_are_those_of_the_people():
    protected, plain = (
        (0.1, 0.2, 0.3, 0.25, 0.5, 0.0, 0.4, 0.1),
        (0.5, 0.4, 0.2, 0.8, 0.9, 0.4, 1, 0.7),
    )
    found = beside.compare(evaluation(protected), evaluation(plain), "plain")
    each = found.judges["evaluator"]
    assert (found.other, each.people, each.classes) == ("plain", 8, CLASSES)
    here, there = mean_rank(protected), mean_rank(plain)
    assert each.here == pytest.approx(here.mean())
    assert each.there == pytest.approx(there.mean())
    assert each.difference.value == pytest.approx((here - there).mean())
    low, high = each.difference.interval
    assert 0 < low < each.difference.value < high
    # By hand: one of eight differences is against the others, and the least of all: two of 2 ** 8
    # choices of signs are as extreme at one end.
    assert each.p_value == pytest.approx(2 * 2 / 2**8)
    assert each.p_value == pytest.approx(scipy.stats.wilcoxon(here, there).pvalue)


def test_a_model_beside_itself_does_not_differ():
    each = beside.compare(evaluation((0.2, 0.7)), evaluation((0.2, 0.7)), "same").judges[
        "evaluator"
    ]
    assert (each.difference.value, each.p_value) == (0, 1)


def test_only_people_of_both_count():
    here, there = evaluation((0.2, 0.7, 0.9)), evaluation((0.3, 0.1))
    each = beside.compare(here, there, "there").judges["evaluator"]
    assert each.people == 2
    assert each.here == pytest.approx(mean_rank((0.2, 0.7)).mean())


@pytest.mark.parametrize(
    "other",
    [
        judged.evaluation(judged.judgement()),  # A relative of the target.
        evaluation((0.3,), classes=15),
        dataclasses.replace(evaluation((0.3,)), judges={}),
        judged.evaluation(judged.judgement(shares=())),  # Of other people.
    ],
)
def test_without_a_common_stranger_or_people_it_is_refused(other):
    with pytest.raises(UserError, match="no independent judge saw the same people of both"):
        beside.compare(evaluation((0.2,)), other, "other")


@pytest.mark.parametrize(
    ("rank1", "words"),
    [
        ([0.1] * 4 + [0.2] * 4, "gives away less: the judge evaluator ranks 8 people 7.0 of 14"),
        ([1.0] * 8, "gives away more"),
        ([0.55, 0.65] * 4, "gives away neither more nor less"),
    ],
)
def test_it_is_said_and_written(tmp_path, caplog, rank1, words):
    there, here = WorkDirectory(tmp_path / "there"), WorkDirectory(tmp_path / "here")
    flags.FLAGS.mark_as_parsed()
    asked = ([f"p{i}" for i in range(8)], ["evaluator"], CLASSES)
    with flagsaver.flagsaver(beside=str(there.root)):
        with pytest.raises(UserError, match="holds no evaluation yet"):
            said.check(*asked)
        records.write(there.evaluation, evaluation([0.55, 0.62] * 4))
        records.write(here.evaluation, evaluation(rank1))
        said.check(*asked)
        for wrong in ((["nobody"], *asked[1:]), (asked[0], ["dlib"], 14), (*asked[:2], 15)):
            with pytest.raises(
                UserError, match=r"--beside=.*there: no independent judge saw the same"
            ):
                said.check(*wrong)
        with caplog.at_level("INFO", logger="absl"):
            said.say(here)
    assert words in caplog.text
    assert records.read(here.beside, beside.Beside).other == "there"
