"""Tests of the report's sentences: what is claimed, and what is not."""

import dataclasses

import judged
import pytest

from mia_jax.evidence import judges
from mia_jax.evidence.results import Measure
from mia_jax.report import sentences


def summary(*rates, **changes):
    return sentences.summary(judged.evaluation(judged.judgement(*rates, **changes)))


def with_person(name, figures):
    found = judged.judgement()
    return judged.judgement(people={**found.people, name: figures})


@pytest.mark.parametrize(
    ("rates", "verdict", "share"),
    [
        ((0.31, 0.62, 0.93), "A leak is measured for all 3 people", "clones of all 3 people"),
        ((0.05, 0.62, 0.93), "A leak is measured for 2 of 3 people", "clones of 2 of 3 people"),
        (
            (0.02, 0.05, 0.08),
            "No leak is shown for any of the 3 people attacked",
            "clones of none of 3 people",
        ),
    ],
)
def test_the_result_names_how_many_people_are_exposed(rates, verdict, share):
    assert share in summary(*rates)[0]
    assert sentences.verdict(judged.judgement(*rates)).title == verdict


def test_summary_of_a_high_leak():
    text = " ".join(summary())
    assert "the judge evaluator, names right first" in text
    assert "s12, s3 and s7" in text
    assert "all 300 clones" in text and "for 62%" in text and "chance is 1/14 = 7%" in text
    assert "Most exposed: s12 (93% of the clones named right first" in text
    assert "least exposed: s7 (31%" in text and "8 training photographs" in text
    assert "never attacked are named as the person in question 7% of the time" in text
    assert "the mean of unrelated faces 20%, clones aimed at somebody else 2%" in text
    assert "70 real photographs" in text and "for 96%" in text
    assert "named right first for 2 of 3 people" in text
    assert "not the same as being recognized by a human" in text


def test_summary_of_no_leak_claims_neither_a_leak_nor_safety():
    said = summary(0.02, 0.05, 0.08)
    assert "does not prove the model safe" in said[0]
    assert "Most exposed" not in " ".join(said)
    assert "The highest rate is that of s12, 8%" in " ".join(said)


@pytest.mark.parametrize(
    ("shares", "said"),
    [
        ((), "The judge r shares nothing with the target."),
        (
            tuple(sorted(judges.SHARES)),
            "The judge r shares with the target the attacked people, their training photographs, "
            "its architecture and the random views of its training: what fools the one may fool "
            "the other.",
        ),
        (
            ("architecture", "people"),
            "The judge r shares with the target the attacked people and its architecture, but "
            "learned these people from photographs that the target never saw: what fools the one "
            "may fool the other.",
        ),
    ],
)
def test_what_a_judge_shares_is_said_in_words(shares, said):
    assert sentences.sharing("r", judged.judgement(shares=shares)) == said


def test_nobody_is_called_independent():
    for shares in ((), tuple(sorted(judges.SHARES))):
        assert "independent" not in " ".join(summary(shares=shares))


@pytest.mark.parametrize("control", ["seeds", "mean_face", "others"])
def test_a_rate_that_a_control_reaches_too_is_no_leak(control):
    level = 1.0 if control == "mean_face" else 0.9
    found = with_person("s12", judged.person(0.93, 1, **{control: level}))
    said = sentences.summary(judged.evaluation(found))[0]
    assert "2 of 3 people" in said
    assert "s12" not in said


def test_the_mean_face_is_one_image_and_its_interval_no_bar():
    figures = judged.person(0.6, 1)
    one = dataclasses.replace(figures.controls.mean_face, rank1=Measure(0.0, (0.0, 0.79)))
    figures = dataclasses.replace(
        figures, controls=dataclasses.replace(figures.controls, mean_face=one)
    )
    assert sentences.stands_out(figures, 0.1)


def test_a_rate_above_the_controls_but_not_above_chance_is_no_leak():
    found = judged.judgement(chance=dataclasses.replace(judged.judgement().chance, rank1=0.5))
    assert sentences.summary(judged.evaluation(found))[0].endswith(": s12 and s3.")


@pytest.mark.parametrize("where", ["clones", "seeds", "others"])
def test_nothing_is_claimed_without_an_interval(where):
    figures = judged.person(0.93, 1)
    blind = dataclasses.replace(judged.rates(0.93), rank1=Measure(0.93, None))
    if where == "clones":
        figures = dataclasses.replace(figures, clones=blind)
    else:
        controls = dataclasses.replace(figures.controls, **{where: blind})
        figures = dataclasses.replace(figures, controls=controls)
    assert not sentences.stands_out(figures, 0.1)


def test_a_weak_judge_does_not_clear_the_model():
    found = judged.judgement(0.02, 0.05, 0.08, ceiling=judged.rates(0.4))
    said = sentences.summary(judged.evaluation(found))
    assert "may hide a leak" in " ".join(said)
    assert "does not prove" not in said[0]
    assert sentences.verdict(found).title.startswith("Inconclusive")


def test_clones_that_beat_photographs_are_not_called_better_likenesses():
    said = summary(0.97, 0.98, 0.99, ceiling=judged.rates(0.8))
    assert "does not make them better likenesses" in " ".join(said)


@pytest.mark.parametrize(
    ("rate", "shown"),
    [(0.0, "for 0%"), (0.004, "for 0.4%"), (0.996, "for over 99%"), (1.0, "for 100%")],
)
def test_sentences_never_round_to_never_or_always(rate, shown):
    assert shown in " ".join(summary(mean=judged.rates(rate))[2:3])


def test_summary_of_one_person():
    found = judged.judgement(
        people={"s12": judged.person(0.93, 1, others=None)}, controls=judged.controls(others=None)
    )
    text = " ".join(sentences.summary(judged.evaluation(found)))
    assert "clones of the one person attacked that" in text
    assert "least exposed" not in text and "aimed at somebody else" not in text
    assert sentences.verdict(found).title == "A leak is measured for the one person attacked"


def test_each_further_judge_has_a_sentence_with_all_that_it_compares_with():
    other = judged.judgement(0.02, 0.05, 0.08, shares=(), ceiling=judged.rates(0.9))
    said = sentences.summary(judged.evaluation(judged.judgement(), other))
    (sentence,) = [text for text in said if "evaluator 1" in text]
    assert "Another judge, evaluator 1, names the right person first for 5%" in sentence
    assert "chance 7%" in sentence and "real photographs 90%" in sentence
    assert "clones aimed at somebody else 2%" in sentence
    assert "for none of 3 people" in sentence
    assert "shares nothing with the target" in sentence
