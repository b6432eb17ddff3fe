"""Tests of the verdict on planted leaks, on clones that only fool, and on clones of others."""

import dataclasses

import judged as made_up
import numpy as np
import planted
import pytest

from mia_jax.evidence import power, results, significance, verdict
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


def judged(clones, *judges, **options):
    return planted.judged(clones, judges or (planted.stranger(), planted.relative()), **options)


def levels(clones, *judges, **options):
    found, *_ = judged(clones, *judges, **options)
    return [each.level for each in found.values()]


def test_real_photographs_of_the_person_identify_the_person():
    found, conclusion, judgements, *_ = judged(LEAK)
    for each in found.values():
        assert each.level == results.IDENTIFIED
        assert each.set_p_value < 0.02 and each.p_value <= 0.05
        assert each.named_by == ("relative",) and each.reasons == ()
    assert judgements["stranger"].sets.clones.rank1.value == 1
    assert conclusion.findings == (results.IDENTIFIED, results.LEAK)


def blended(share):
    """Clones on the way from somebody else, the same for all, to the person."""
    other = planted.LOOKS[-1]
    return {
        name: planted.picture(
            share * planted.LOOKS[i] + (1 - share) * other, [80, i], planted.RESTARTS, spread=0.1
        )
        for i, name in enumerate(ATTACKED)
    }


def test_who_is_nearer_than_chance_but_not_first_is_narrowed_down():
    """All clones look more like somebody else than like their person, and like their person too."""
    found, conclusion, judgements, *_ = judged(blended(0.45), target=planted.convinced)
    first = {n: each.clones.set_rank for n, each in judgements["stranger"].people.items()}
    assert min(first.values()) > 1
    assert {each.level for each in found.values()} == {results.NARROWED_DOWN}
    assert conclusion.findings == (results.LEAK,) and conclusion.level == results.LEAK


def test_noise_that_fools_only_the_relative_is_not_shown_to_leak():
    found, conclusion, judgements, *_ = judged(FOOLING)
    assert judgements["relative"].mean.rank1.value == 1
    assert judgements["relative"].mean.mean_score.value > 0.99
    assert {each.level for each in found.values()} == {results.NOT_SHOWN}
    assert {each.named_by for each in found.values()} == {("relative",)}
    assert conclusion.level == results.NOT_SHOWN and conclusion.findings == ()


@pytest.mark.parametrize("clones", [WRONG, NOTHING], ids=["of somebody else", "mean face"])
def test_what_does_not_fool_the_target_is_inconclusive(clones):
    """The relative, as the target, takes neither for the person; that is the attack's failure."""
    found, conclusion, *_ = judged(clones)
    assert {each.level for each in found.values()} == {results.INCONCLUSIVE}
    for each in found.values():
        assert "missed its goal: the target takes 0% of the clones" in each.reasons[-1]
    assert conclusion.findings == (results.INCONCLUSIVE,)


def test_the_mean_face_is_not_shown_to_leak_though_it_fools_the_target():
    assert levels(NOTHING, target=planted.convinced) == [results.NOT_SHOWN] * len(ATTACKED)


def test_clones_of_somebody_else_hide_what_their_person_leaks():
    """They stand out for people at whom they were not aimed: such nulls nothing exceeds."""
    found, *_ = judged(WRONG, target=planted.convinced)
    assert {each.level for each in found.values()} == {results.INCONCLUSIVE}
    assert {each.reasons[0].partition(":")[0] for each in found.values()} == {"too little power"}


def test_a_leak_is_shown_whatever_the_target_makes_of_it():
    def blind(batch, place):
        return np.zeros((len(batch), len(ATTACKED)))

    assert levels(LEAK, target=blind) == [results.IDENTIFIED] * len(ATTACKED)


def test_further_doubts_make_a_person_inconclusive():
    person = ATTACKED[1]
    found, conclusion, *_ = judged(FOOLING, doubts={person: ("diverged: lower --rate",)})
    assert {n for n, e in found.items() if e.level == results.INCONCLUSIVE} == {person}
    assert found[person].reasons == ("diverged: lower --rate",)
    assert conclusion.level == results.INCONCLUSIVE


def test_the_best_that_can_be_reached_is_reached_by_a_leak():
    found, *_ = judged(LEAK, planted.stranger())
    found = significance.corrected({name: each.set_p_value for name, each in found.items()}, 0.01)
    least = significance.least_p_value(len(LEAK), planted.PEOPLE)
    assert min(found.people.values()) == pytest.approx(least)


def test_the_smallest_leak_that_the_run_would_have_shown_stands_beside_each_verdict():
    found, conclusion, *_ = judged(FOOLING)
    for each in (*found.values(), conclusion):
        assert 0 < each.smallest_leak.fraction < 1
    assert conclusion.smallest_leak.fraction <= min(
        e.smallest_leak.fraction for e in found.values()
    )


def test_where_no_leak_would_have_been_shown_nothing_can_be_said(monkeypatch):
    none = power.SmallestLeaks(dict.fromkeys(ATTACKED), None)
    monkeypatch.setattr(power, "smallest_leaks", lambda *args: none)
    found, *_ = judged(FOOLING)
    assert {each.level for each in found.values()} == {results.INCONCLUSIVE}
    assert "too little power" in found[ATTACKED[0]].reasons[0]
    assert levels(LEAK) == [results.IDENTIFIED] * len(ATTACKED)


@pytest.mark.parametrize(
    ("sets", "people", "few"), [(2, 30, False), (5, 14, True), (20, 21, False)]
)
def test_with_too_few_people_nothing_can_be_said(sets, people, few):
    assert len(verdict.doubts_of_numbers(sets, people)) == few


def test_the_attackers_own_people_are_no_null():
    """With them away too few are left to choose among, and the verdict says so."""
    auxiliary = planted.NAMES[8:]
    _, before, *_ = judged(FOOLING)
    found, after, *_ = judged(FOOLING, auxiliary=auxiliary)
    assert before.level == results.NOT_SHOWN and after.level == results.INCONCLUSIVE
    assert all("too few people: with 8 to choose among" in e.reasons[0] for e in found.values())


def test_one_leak_among_fooled_people_is_found_alone():
    mixed = {**FOOLING, ATTACKED[2]: LEAK[ATTACKED[2]]}
    none = results.NOT_SHOWN
    assert levels(mixed) == [none, none, results.IDENTIFIED, none]


def test_a_pattern_that_all_clones_of_a_class_share_is_rarely_taken_for_a_likeness():
    rng = np.random.default_rng(0)
    mistaken = 0
    for trial in range(40):
        clones = {
            name: planted.picture(
                planted.LOOKS.mean(axis=0) + rng.normal(size=planted.DIRECTIONS),
                [trial, i],
                planted.RESTARTS,
            )
            for i, name in enumerate(ATTACKED)
        }
        _, conclusion, *_ = judged(clones, planted.stranger())
        mistaken += results.LEAK in conclusion.findings
    assert mistaken <= 5


@pytest.mark.parametrize("count", [1, 2])
def test_one_or_two_people_alone(count):
    names = ATTACKED[:count]
    for clones, level in ((LEAK, results.IDENTIFIED), (FOOLING, results.NOT_SHOWN)):
        assert levels({name: clones[name] for name in names}) == [level] * count


def test_two_independent_judges_speak_together():
    judges = (planted.stranger(), planted.stranger("second"), planted.relative())
    assert levels(LEAK, *judges) == [results.IDENTIFIED] * len(ATTACKED)
    assert levels(FOOLING, *judges) == [results.NOT_SHOWN] * len(ATTACKED)


def test_without_an_independent_judge_nothing_can_be_said():
    found, conclusion, *_ = judged(LEAK, planted.relative())
    for each in found.values():
        assert each.level == results.INCONCLUSIVE
        assert each.reasons[0] == "no independent judge was asked"
        assert each.p_value is each.set_p_value is None
    assert conclusion == results.Conclusion(
        results.INCONCLUSIVE, (results.INCONCLUSIVE,), False, None, None, None
    )


def test_features_that_are_no_numbers_are_inconclusive():
    broken = planted.stranger()._replace(match=lambda v: np.full((len(v), planted.PEOPLE), np.nan))
    found, *_ = judged(LEAK, broken)
    for each in found.values():
        assert each.level == results.INCONCLUSIVE
        assert "judges are weak: they name at most 0% of the real" in each.reasons[0]


@pytest.mark.parametrize(
    ("on_target", "words"),
    [
        ((1.0, 1.0, 1.0, 1.0), ""),
        ((1.0, 0.8, 0.99, 0.7), ""),  # More than of the photographs.
        ((1.0, 1.0, 1 - 3e-7, 1.0), ""),  # A softmax saturates.
        ((1.0, 1.0, 0.992, 1.0), ""),
        ((0.99, 1.0, 1.0, 1.0), ""),  # One restart of a hundred.
        (
            (0.95, 1.0, 0.96, 0.9),
            "takes 95% of the clones for the person, and 100% of the person's",
        ),
        ((1.0, 1.0, 0.6, 0.9), "mean confidence is 60% in the clones, and 90% in the person's"),
        (
            (1.0, 1.0, 0.012, 0.02),
            "mean confidence is 1.2% in the clones, and 2% in",
        ),  # A flat one.
        ((0.4, 1 / 3, 0.5, 0.4), "takes 40% of the clones for the person"),  # It knows few itself.
        ((0.0, 0.0, 0.1, 0.1), "takes 0% of the clones for the person"),
        ((1.0, 0.0, 0.8, 0.1), ""),
    ],
)
def test_whether_an_attack_reached_its_own_goal(on_target, words):
    found = verdict.doubts_of_goal(results.OnTarget(*on_target))
    assert bool(found) == bool(words) and words in " ".join(found)


@pytest.mark.parametrize(
    ("p_value", "ranks", "reasons", "level"),
    [
        (0.04, [1], [], results.IDENTIFIED),
        (0.04, [1, 1], ["weak"], results.IDENTIFIED),
        (0.04, [2], [], results.NARROWED_DOWN),
        (0.04, [1, 2], [], results.NARROWED_DOWN),
        (0.06, [1], [], results.NOT_SHOWN),
        (0.06, [1], ["weak"], results.INCONCLUSIVE),
        (None, [], ["nobody"], results.INCONCLUSIVE),
    ],
)
def test_the_level_of_a_person(p_value, ranks, reasons, level):
    assert verdict.level_of(p_value, ranks, reasons) == level


@pytest.mark.parametrize(
    ("levels_", "p_value", "findings"),
    [
        (["identified", "narrowed_down", "not_shown"], 0.01, ("identified", "leak")),
        (["identified", "inconclusive"], None, ("identified", "leak", "inconclusive")),
        (["narrowed_down", "not_shown"], 0.2, ("leak",)),
        (["not_shown", "not_shown"], 0.0167, ("leak",)),
        (["not_shown", "inconclusive"], 0.0167, ("leak", "inconclusive")),
        (["not_shown", "inconclusive"], 0.3, ("inconclusive",)),
        (["not_shown", "not_shown"], 0.3, ()),
        (["not_shown"], None, ()),
    ],
)
def test_what_a_run_comes_to(levels_, p_value, findings):
    found = verdict.conclude([made_up.verdict(each) for each in levels_], p_value, p_value, None)
    assert found.findings == findings
    assert found.level == (findings[0] if findings else "not_shown")


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
