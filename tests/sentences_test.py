"""Tests of the report's sentences: what is claimed, and what is not."""

import dataclasses

import judged
import pytest

from mia_jax.evidence import judges
from mia_jax.report import sentences


def test_a_diverged_attack_says_so_and_what_to_do():
    said = " ".join(sentences.summary(judged.evaluation(diverged=True)))
    assert "The attack diverged: lower --rate." in said
    assert "diverged" not in " ".join(sentences.summary(judged.evaluation()))


def summary(*rates, **changes):
    return sentences.summary(judged.evaluation(judged.judgement(*rates, **changes)))


def by_a_stranger(*levels, overall=None, ceiling=0.9, **verdicts):
    """An evaluation with an independent judge, and the verdicts of these levels."""
    stranger = judged.judgement(0.02, 0.05, 0.08, shares=(), ceiling=judged.rates(ceiling))
    found = {
        name: judged.verdict(level, 0.01 if level == "identified" else 0.6, **verdicts)
        for name, level in zip(("s7", "s3", "s12"), levels, strict=True)
    }
    return judged.evaluation(judged.judgement(), stranger, verdict=found, overall=overall)


def test_the_result_names_who_leaks_to_whom():
    said = sentences.summary(by_a_stranger("identified", "narrowed_down", "not_shown"))[0]
    assert (
        "A judge that shares nothing with the target, evaluator 1, looked for each person" in said
    )
    assert "Identified, ranked first among everybody by all clones together: s7." in said
    assert "Narrowed down, nearer than chance and all controls explain, but not first: s3." in said
    assert "s12" not in said and "safe" not in said


def test_nothing_shown_is_no_proof_of_safety():
    said = sentences.summary(by_a_stranger(*["not_shown"] * 3))[0]
    assert "shows no leak" in said and "does not prove the model safe" in said
    assert (
        "finds a leak of any one person that brings the set to the median rank 1 (first in 71%"
        in said
    )
    assert "of all people at once" not in said
    said = sentences.summary(by_a_stranger(*["not_shown"] * 3, overall=0.3))[0]
    assert (
        "finds a leak of all people at once that brings the set to the median rank 1 (first" in said
    )
    for other in ("identified", "narrowed_down", "inconclusive"):
        said = sentences.summary(by_a_stranger("not_shown", "not_shown", other))[0]
        assert "safe" not in said and "no leak" not in said


def test_what_only_all_people_together_show_is_not_called_no_leak():
    said = sentences.summary(by_a_stranger(*["not_shown"] * 3, overall=0.002))
    assert "Over all 3 people at once clones and people belong together (p = 0.0020)" in said[0]
    assert "too little to show for one person" in said[0] and "no leak" not in said[0]
    said = sentences.summary(by_a_stranger("identified", *["not_shown"] * 2, overall=0.002))[0]
    assert "belong together" not in said
    said = sentences.summary(by_a_stranger(*["not_shown"] * 3, overall=0.4))
    assert any("are not shown to belong together (p = 0.4000" in each for each in said)


def test_of_whom_nothing_can_be_said_is_said_with_the_reason():
    said = sentences.summary(by_a_stranger(*["inconclusive"] * 3, reasons=("too dark: a lamp",)))[0]
    assert said.endswith("Inconclusive: too dark.")


def test_what_only_relatives_name_is_said_to_be_no_likeness():
    evaluation = by_a_stranger(*["not_shown"] * 3, named_by=("evaluator",))
    said = sentences.summary(evaluation)[1]
    assert said.startswith("For all 3 people (s12, s3 and s7) the clones are named right by eval")
    assert "it shows what fools such models, not what the person looks like" in said
    evaluation = by_a_stranger(*["identified"] * 3, named_by=("evaluator",))
    assert "fools such models" not in " ".join(sentences.summary(evaluation))


def test_without_an_independent_judge_nothing_is_claimed():
    said = sentences.summary(judged.evaluation())
    assert "is not answered here" in said[0] and 'pip install -e ".[judge]"' in said[0]
    assert "belong together" not in " ".join(said)


def test_summary_of_a_high_rate():
    text = " ".join(summary())
    assert "all 300 clones" in text and "for 62%" in text and "chance is 1/14 = 7%" in text
    assert "median rank is 1 of 14 for single clones, and 1 for all" in text
    assert "guessing gives 7.5" in text
    assert "Most exposed: s12 (93% of the clones named right first" in text
    assert "least exposed: s7 (31%" in text and "8 training photographs" in text
    assert "never attacked are named as the person in question 7% of the time" in text
    assert "the mean of unrelated faces 20%, clones aimed at somebody else 2%" in text
    assert "70 real photographs" in text and "for 96%" in text
    assert "named right first for 2 of 3 people" in text
    assert "not the same as being recognized by a human" in text


def test_a_low_rate_is_called_no_exposure():
    said = " ".join(summary(0.02, 0.05, 0.08))
    assert "Most exposed" not in said
    assert "The highest rate is that of s12, 8%" in said


@pytest.mark.parametrize(
    ("people", "arguments", "said"),
    [
        (
            9,
            {},
            "are 90 photographs of people of the data set who trained no recognizer (9 in all).",
        ),
        (
            None,
            {"auxiliary": "public"},
            "are 90 photographs in the folder public, which is no part of the data set.",
        ),
    ],
)
def test_it_says_whose_faces_the_attacker_has(people, arguments, said):
    plain = judged.evaluation()
    evaluation = dataclasses.replace(
        plain,
        dataset=dataclasses.replace(plain.dataset, auxiliary_people=people),
        attack=dataclasses.replace(plain.attack, arguments=arguments),
    )
    assert f"The attacker's unrelated faces {said}" in sentences.summary(evaluation)


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


def test_a_weak_judge_may_hide_a_leak():
    found = judged.judgement(0.02, 0.05, 0.08, ceiling=judged.rates(0.4))
    assert "may hide a leak" in " ".join(sentences.summary(judged.evaluation(found)))


def test_clones_that_beat_photographs_are_not_called_better_likenesses():
    said = summary(0.97, 0.98, 0.99, ceiling=judged.rates(0.8))
    assert "does not make them better likenesses" in " ".join(said)


@pytest.mark.parametrize(
    ("rate", "shown"),
    [(0.0, "for 0%"), (0.004, "for 0.4%"), (0.996, "for over 99%"), (1.0, "for 100%")],
)
def test_sentences_never_round_to_never_or_always(rate, shown):
    assert shown in " ".join(summary(mean=judged.rates(rate))[3:4])


def test_summary_of_one_person():
    found = judged.judgement(
        people={"s12": judged.person(0.93, 1, others=None)},
        controls=judged.controls(others=None),
        shares=(),
        classes=40,
    )
    for level in ("identified", "not_shown"):
        evaluation = judged.evaluation(found, verdict={"s12": judged.verdict(level, 0.01)})
        text = " ".join(sentences.summary(evaluation))
        assert "least exposed" not in text and "aimed at somebody else" not in text


def test_each_further_judge_has_a_sentence_with_all_that_it_compares_with():
    other = judged.judgement(0.02, 0.05, 0.08, shares=(), ceiling=judged.rates(0.9))
    said = sentences.summary(judged.evaluation(judged.judgement(), other))
    (sentence,) = [text for text in said if text.startswith("Another judge")]
    assert "Another judge, evaluator 1, names the right person first for 5%" in sentence
    assert "chance 7%" in sentence and "real photographs 90%" in sentence
    assert "clones aimed at somebody else 2%" in sentence
    assert "for none of 3 people" in sentence
    assert "shares nothing with the target" in sentence
