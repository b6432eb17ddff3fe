"""Tests of what judges have in common: who is fooled, and where two of them part."""

import planted
import pytest

JUDGES = (planted.stranger(), planted.relative())
FOOLING = {
    name: planted.mean_face(planted.RESTARTS, seed=40 + i, fooling=i)
    for i, name in enumerate(planted.ATTACKED)
}
LEAK = {
    name: planted.photographs(name, seed=7, count=planted.RESTARTS) for name in planted.ATTACKED
}


def test_a_relative_accepts_noise_more_often_than_it_errs_on_photographs():
    *_, index, _ = planted.judged(FOOLING, JUDGES)
    assert index["stranger"] is None
    assert index["relative"] > 4  # The relative knows five.


def test_without_a_stranger_nothing_is_rejected():
    *_, index, pairs = planted.judged(FOOLING, JUDGES[1:])
    assert index == {"relative": None}
    assert pairs == ()


def test_judges_part_on_noise_and_agree_on_a_likeness():
    *_, (pair,) = planted.judged(FOOLING, JUDGES)
    assert (pair.first, pair.second) == ("stranger", "relative")
    assert pair.only_second > 0.8
    assert pair.both + pair.only_first + pair.only_second + pair.neither == pytest.approx(1)
    *_, (pair,) = planted.judged(LEAK, JUDGES)
    assert pair.both > 0.9
