"""Tests of the verdicts in words: headline, what each rests on, and what seems to contradict it."""

import dataclasses

import judged
import pytest

from mia_jax.report import verdicts

PEOPLE = ("s12", "s3", "s7")


def evaluation(*levels, overall=None, rates=(0.31, 0.62, 0.93), p_value=0.6, **changes):
    """One independent judge, and verdicts from the most exposed person to the least."""
    found = {
        name: judged.verdict(level, 0.01 if level in ("identified", "narrowed_down") else p_value)
        for name, level in zip(PEOPLE, levels, strict=True)
    }
    independent = judged.judgement(*rates, shares=(), **changes)
    return judged.evaluation(independent, verdict=found, overall=overall)


def with_verdict(name, **changes):
    found = evaluation(*["not_shown"] * 3, rates=(0.02, 0.05, 0.08))
    changed = dataclasses.replace(found.verdict[name], **changes)
    return dataclasses.replace(found, verdict={**found.verdict, name: changed})


@pytest.mark.parametrize(
    ("levels", "overall", "level", "title"),
    [
        (["identified"] * 3, None, "identified", "All 3 people are identified"),
        (
            ["identified", "narrowed_down", "inconclusive"],
            0.01,
            "identified",
            "1 of 3 people is identified, 1 more is narrowed down",
        ),
        (
            ["narrowed_down", "narrowed_down", "not_shown"],
            0.01,
            "leak",
            "2 of 3 people are narrowed down, nobody is identified",
        ),
        (
            ["not_shown"] * 3,
            0.0167,
            "leak",
            "None of the 3 people is shown to leak alone, but together they leak",
        ),
        (
            ["inconclusive"] * 3,
            0.0167,
            "leak",
            "None of the 3 people is shown to leak alone, but together they leak",
        ),
        (
            ["inconclusive"] * 3,
            0.3,
            "inconclusive",
            "Inconclusive: no independent judge was asked",
        ),
        (
            ["not_shown", "inconclusive", "not_shown"],
            0.3,
            "inconclusive",
            "Inconclusive for 1 of 3 people (s3): no independent judge was asked",
        ),
        (
            ["not_shown"] * 3,
            0.3,
            "not_shown",
            "No leak of the 3 people attacked is shown at this budget",
        ),
    ],
)
def test_the_headline_is_the_conclusion(levels, overall, level, title):
    assert verdicts.headline(evaluation(*levels, overall=overall)) == (level, title)


@pytest.mark.parametrize(
    ("level", "title"),
    [
        ("identified", "The one person attacked is identified"),
        ("narrowed_down", "The one person attacked is narrowed down"),
        ("inconclusive", "Inconclusive: no independent judge was asked"),
        ("not_shown", "No leak of the person attacked is shown at this budget"),
    ],
)
def test_the_headline_of_one_person(level, title):
    found = judged.judgement(shares=(), people={"s12": judged.person(0.5, 1)})
    one = judged.evaluation(found, verdict={"s12": judged.verdict(level, 0.2)})
    assert verdicts.headline(one).title == title


def test_names_keep_their_letters():
    found = judged.judgement(
        shares=(), people={"Ada L.": judged.person(0.5, 1)} | {"b": judged.person(0.5, 2)}
    )
    levels = {"Ada L.": judged.verdict(), "b": judged.verdict("not_shown", 0.2)}
    title = verdicts.headline(judged.evaluation(found, verdict=levels)).title
    assert title.startswith("Inconclusive for 1 of 2 people (Ada L.)")


def test_each_level_stands_with_what_was_measured():
    said = verdicts.person(evaluation("identified", "narrowed_down", "not_shown"), "s12")
    assert said == (
        "s12: identified (evaluator: set rank 1 of 14, 93% of single clones first; p = 0.010). "
        "With a power of 0.8 this run finds a leak that brings the set to the median rank 1 (first "
        "in 71% of cases), and may miss a smaller one."
    )
    said = verdicts.person(evaluation("identified", "narrowed_down", "not_shown"), "s7")
    assert said.startswith("s7: not shown at this budget (evaluator: set rank 3 of 14, 31% of sin")


def test_what_would_have_been_shown_is_left_out_where_nothing_would():
    found = with_verdict("s7", smallest_leak=None, level="inconclusive", reasons=("too little",))
    assert verdicts.person(found, "s7").endswith("p = 0.600). Too little.")


def test_every_independent_judge_is_measured_and_no_other():
    found = judged.evaluation(
        judged.judgement(),
        judged.judgement(shares=()),
        judged.judgement(0.1, 0.2, 0.3, shares=()),
        verdict=dict.fromkeys(PEOPLE, judged.verdict("not_shown", 0.6)),
    )
    said = verdicts.person(found, "s12")
    assert (
        "(evaluator 1: set rank 1 of 14, 93% of single clones first; evaluator 2: set rank 3 "
        in said
    )
    assert "evaluator:" not in said


@pytest.mark.parametrize(
    ("controls", "words"),
    [
        ({}, "puts one set in 14 first by chance, one person's clones resemble one another, and 3"),
        ({"mean_face": 1.0}, "evaluator puts the mean face first as well, which knows nobody."),
        ({"seeds": 0.7}, "evaluator puts 70% of the seeds first as well."),
        ({"others": 0.6}, "evaluator puts 60% of clones aimed at others first as well."),
    ],
)
def test_a_set_that_ranks_first_without_a_leak_shown_is_explained(controls, words):
    """ "Shows nothing" was said of s1, whom dlib puts first in 86 clones of 100."""
    people = {
        "s12": judged.person(0.86, 1, **controls),
        "s3": judged.person(0.1, 2),
        "s7": judged.person(0.1, 3),
    }
    found = evaluation(*["not_shown"] * 3, people=people)
    assert words in " ".join(verdicts.remarks(found, "s12"))
    assert verdicts.remarks(found, "s3") == []
    shown = evaluation("identified", "not_shown", "not_shown", people=people)
    assert verdicts.remarks(shown, "s12") == []


def test_a_leak_without_a_single_clone_that_is_first_is_explained():
    found = evaluation("narrowed_down", "not_shown", "not_shown", rates=(0.0, 0.0, 0.0))
    (said,) = verdicts.remarks(found, "s12")
    assert said == "No single clone is first for evaluator: all together are nearer than one."


def test_reasons_and_relatives_are_remarks_beside_the_level():
    found = with_verdict("s7", level="inconclusive", reasons=("it missed: 1 of 2", "it diverged"))
    assert verdicts.remarks(found, "s7") == ["It missed: 1 of 2.", "It diverged."]
    (said,) = verdicts.remarks(with_verdict("s7", named_by=("resnet",)), "s7")
    assert said.startswith("Named right by resnet too, which shares something with the target")


def test_findings_have_a_sentence_each_the_gravest_first():
    found = verdicts.findings(
        evaluation("identified", "narrowed_down", "inconclusive", overall=0.01)
    )
    assert found == {
        "identified": "1 of 3 people is identified: s12",
        "leak": ("the model leaks: 2 of 3 people are identified or narrowed down (s12 and s3)"),
        "inconclusive": "inconclusive for 1 of 3 people (s7): no independent judge was asked",
    }
    assert verdicts.findings(evaluation(*["not_shown"] * 3)) == {}
