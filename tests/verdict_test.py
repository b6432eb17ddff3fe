"""Tests of the verdict on planted leaks, on clones that only fool, and on clones of others."""

import dataclasses

import judged as made_up
import numpy as np
import planted
import pytest

from mia_jax.evidence import significance, verdict
from mia_jax.evidence.results import Measure

ATTACKED = planted.ATTACKED
LEAK = {name: planted.photographs(name, seed=7, count=planted.RESTARTS) for name in ATTACKED}
FOOLING = {
    name: planted.mean_face(planted.RESTARTS, seed=40 + i, fooling=i)
    for i, name in enumerate(ATTACKED)
}
# Each aimed at one, and a likeness of another; who looks like whom is no circle of two.
WRONG = {name: LEAK[ATTACKED[(i + 1) % len(ATTACKED)]] for i, name in enumerate(ATTACKED)}
NOTHING = {
    name: planted.mean_face(planted.RESTARTS, seed=60 + i) for i, name in enumerate(ATTACKED)
}


def levels(clones, *judges):
    found, *_ = planted.judged(clones, judges or (planted.stranger(), planted.relative()))
    return [each.level for each in found.values()]


def test_real_photographs_of_the_person_are_recognizable():
    found, judgements, *_ = planted.judged(LEAK, (planted.stranger(), planted.relative()))
    for each in found.values():
        assert each.level == "recognizable"
        assert each.set_p_value < 0.02 and each.clones_p_value < 1e-4
        assert each.p_value <= 0.05
        assert each.named_by == ("relative",)
    assert judgements["stranger"].sets.clones.rank1.value == 1


def test_noise_that_fools_only_the_relative_shows_nothing_to_strangers():
    found, judgements, *_ = planted.judged(FOOLING, (planted.stranger(), planted.relative()))
    assert judgements["relative"].mean.rank1.value == 1
    assert judgements["relative"].mean.mean_score.value > 0.99
    assert {each.level for each in found.values()} == {"named"}
    assert {each.named_by for each in found.values()} == {("relative",)}


def test_clones_of_somebody_else_are_no_evidence():
    assert levels(WRONG) == ["none"] * len(ATTACKED)


def test_the_mean_face_is_no_evidence():
    assert levels(NOTHING) == ["none"] * len(ATTACKED)


def test_the_best_that_can_be_reached_is_reached_by_a_leak():
    found, *_ = planted.judged(LEAK, (planted.stranger(),))
    found = significance.corrected({name: each.set_p_value for name, each in found.items()}, 0.01)
    least = significance.least_p_value(len(LEAK), planted.PEOPLE)
    assert min(found.people.values()) == pytest.approx(least)


def test_one_leak_among_fooled_people_is_found_alone():
    mixed = {**FOOLING, ATTACKED[2]: LEAK[ATTACKED[2]]}
    assert levels(mixed) == ["named", "named", "recognizable", "named"]


def test_a_pattern_that_all_clones_of_a_class_share_is_rarely_taken_for_a_likeness():
    """By single clones every second class would stand out from the others."""
    rng = np.random.default_rng(0)
    mistaken = by_clones = 0
    for trial in range(40):
        clones = {
            name: planted.picture(
                planted.LOOKS.mean(axis=0) + rng.normal(size=planted.DIRECTIONS),
                [trial, i],
                planted.RESTARTS,
            )
            for i, name in enumerate(ATTACKED)
        }
        found, *_ = planted.judged(clones, (planted.stranger(),))
        mistaken += any(each.level == "recognizable" for each in found.values())
        by_clones += sum(each.clones_p_value < 0.05 / len(ATTACKED) for each in found.values())
    assert mistaken <= 5
    assert by_clones > 20


@pytest.mark.parametrize("count", [1, 2])
def test_one_or_two_people_alone(count):
    names = ATTACKED[:count]
    for clones, level in ((LEAK, "recognizable"), (FOOLING, "named")):
        assert levels({name: clones[name] for name in names}) == [level] * count


def test_two_strangers_speak_together():
    judges = (planted.stranger(), planted.stranger("second"), planted.relative())
    assert levels(LEAK, *judges) == ["recognizable"] * len(ATTACKED)
    assert levels(FOOLING, *judges) == ["named"] * len(ATTACKED)


def test_without_a_stranger_nobody_is_recognizable():
    found, *_ = planted.judged(LEAK, (planted.relative(),))
    for each in found.values():
        assert each.level == "named"
        assert each.p_value is each.set_p_value is each.clones_p_value is None


def test_features_that_are_no_numbers_are_no_evidence():
    broken = planted.stranger()._replace(match=lambda v: np.full((len(v), planted.PEOPLE), np.nan))
    assert levels(LEAK, broken) == ["none"] * len(ATTACKED)


@pytest.mark.parametrize("control", ["seeds", "mean_face", "others"])
def test_a_rate_that_a_control_reaches_too_does_not_stand_out(control):
    level = 1.0 if control == "mean_face" else 0.9
    assert verdict.stands_out(made_up.person(0.93, 1), 0.1)
    assert not verdict.stands_out(made_up.person(0.93, 1, **{control: level}), 0.1)


def test_the_mean_face_is_one_image_and_its_interval_no_bar():
    figures = made_up.person(0.6, 1)
    one = dataclasses.replace(figures.controls.mean_face, rank1=Measure(0.0, (0.0, 0.79)))
    figures = dataclasses.replace(
        figures, controls=dataclasses.replace(figures.controls, mean_face=one)
    )
    assert verdict.stands_out(figures, 0.1)


@pytest.mark.parametrize("where", ["clones", "seeds", "others"])
def test_nothing_is_claimed_without_an_interval(where):
    figures = made_up.person(0.93, 1)
    blind = dataclasses.replace(made_up.rates(0.93), rank1=Measure(0.93, None))
    if where == "clones":
        figures = dataclasses.replace(figures, clones=blind)
    else:
        controls = dataclasses.replace(figures.controls, **{where: blind})
        figures = dataclasses.replace(figures, controls=controls)
    assert not verdict.stands_out(figures, 0.1)
