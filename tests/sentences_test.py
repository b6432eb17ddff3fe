"""Tests of the report's sentences: what is claimed, and what is not."""

import dataclasses

import judged
import pytest

from mia_jax.evidence import judges
from mia_jax.report import sentences


def summary(*rates, **changes):
    return sentences.summary(judged.evaluation(judged.judgement(*rates, **changes)))


def by_a_stranger(*levels, ceiling=0.9, classes=40):
    """An evaluation with a stranger, and the verdicts of these levels."""
    stranger = judged.judgement(
        0.02, 0.05, 0.08, shares=(), ceiling=judged.rates(ceiling), classes=classes
    )
    verdicts = {
        name: judged.verdict(level, 0.01 if level == "recognizable" else 0.6)
        for name, level in zip(("s7", "s3", "s12"), levels, strict=True)
    }
    return judged.evaluation(judged.judgement(), stranger, verdict=verdicts)


@pytest.mark.parametrize(
    ("levels", "headline", "result"),
    [
        (
            ("recognizable",) * 3,
            "All 3 people are recognizable to strangers",
            "clones of all 3 people by which a judge that shares nothing with the target, "
            "evaluator 1, finds the right person",
        ),
        (
            ("recognizable", "named", "recognizable"),
            "2 of 3 people are recognizable to strangers",
            "clones of 2 of 3 people",
        ),
        (
            ("named", "named", "recognizable"),
            "1 of 3 people is recognizable to strangers",
            "number of people): s12.",
        ),
        (
            ("named", "none", "named"),
            "None of the 3 people attacked is shown to be recognizable to strangers",
            "made no clones by which a judge that shares nothing with the target, evaluator 1,",
        ),
    ],
)
def test_the_result_counts_who_is_recognizable_to_strangers(levels, headline, result):
    evaluation = by_a_stranger(*levels)
    assert sentences.headline(evaluation).title == headline
    assert result in sentences.summary(evaluation)[0]


def test_no_recognizable_person_is_no_proof_of_safety():
    said = sentences.summary(by_a_stranger("named", "none", "named"))[0]
    assert "does not prove the model safe" in said
    assert "safe" not in sentences.summary(by_a_stranger("named", "none", "recognizable"))[0]


def test_what_only_all_people_together_show_is_not_called_no_leak():
    evaluation = dataclasses.replace(by_a_stranger("named", "none", "named"), overall_p_value=0.002)
    level, title = sentences.headline(evaluation)
    assert level == "some"
    assert title == "None of the 3 people is recognizable alone, but together they leak"
    said = sentences.summary(evaluation)
    assert "no leak" not in said[0] and "over all people at once" in said[0]
    assert any("belong together to strangers (p = 0.0020" in sentence for sentence in said)
    chance = dataclasses.replace(evaluation, overall_p_value=0.4)
    assert "shows no leak" in sentences.summary(chance)[0]
    assert any("are not shown to belong together" in each for each in sentences.summary(chance))


def test_too_few_people_to_tell_is_not_called_no_leak():
    evaluation = by_a_stranger("named", "none", "named", classes=14)
    assert (
        sentences.headline(evaluation).title == "Inconclusive: too few people or restarts to tell"
    )
    said = sentences.summary(evaluation)[0]
    assert "21 people and 7 restarts are enough" in said
    assert "safe" not in said


def test_what_only_relatives_name_is_said_to_be_no_likeness():
    said = sentences.summary(by_a_stranger("named", "none", "named"))[1]
    assert said.startswith("For 2 of 3 people (s12 and s7) the clones are named right by evaluator")
    assert "to strangers they are not shown to be more than the controls: that shows what" in said
    said = sentences.summary(by_a_stranger("recognizable", "none", "recognizable"))
    assert "fools such models" not in " ".join(said)


def test_without_a_stranger_nothing_is_claimed():
    evaluation = judged.evaluation()
    assert sentences.headline(evaluation).level == "unknown"
    assert "No stranger was asked" in sentences.headline(evaluation).title
    assert 'pip install -e ".[judge]"' in sentences.summary(evaluation)[0]
    assert "strangers see" not in " ".join(sentences.summary(evaluation))
    assert sentences.level_in_words(judged.verdict()).endswith("no stranger was asked")
    assert "shows nothing to strangers" in sentences.level_in_words(judged.verdict("named", 0.4))


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


def test_nobody_is_called_independent():
    for shares in ((), tuple(sorted(judges.SHARES))):
        assert "independent" not in " ".join(summary(shares=shares))


def test_a_weak_stranger_does_not_clear_the_model():
    evaluation = by_a_stranger("named", "none", "named", ceiling=0.4)
    assert sentences.headline(evaluation).title.startswith("Inconclusive")
    assert "does not prove" not in sentences.summary(evaluation)[0]
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
    for level, title in (
        ("recognizable", "The one person attacked is recognizable to strangers"),
        ("none", "The person attacked is not shown to be recognizable to strangers"),
    ):
        evaluation = judged.evaluation(found, verdict={"s12": judged.verdict(level, 0.01, ())})
        text = " ".join(sentences.summary(evaluation))
        assert "least exposed" not in text and "aimed at somebody else" not in text
        assert sentences.headline(evaluation).title == title


def test_each_further_judge_has_a_sentence_with_all_that_it_compares_with():
    other = judged.judgement(0.02, 0.05, 0.08, shares=(), ceiling=judged.rates(0.9))
    said = sentences.summary(judged.evaluation(judged.judgement(), other))
    (sentence,) = [text for text in said if text.startswith("Another judge")]
    assert "Another judge, evaluator 1, names the right person first for 5%" in sentence
    assert "chance 7%" in sentence and "real photographs 90%" in sentence
    assert "clones aimed at somebody else 2%" in sentence
    assert "for none of 3 people" in sentence
    assert "shares nothing with the target" in sentence
