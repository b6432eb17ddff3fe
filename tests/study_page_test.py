"""Tests of the report's section on observers: shown, called what they are, gone where none was."""

import dataclasses

import judged
import observers_test
import pytest
from page_test import PNG, SECONDS, Page

from mia_jax import report
from mia_jax.evidence import observers, panels
from mia_jax.report import sentences
from mia_jax.report import study as observed

FOUND = observers.score(observers_test.synthetic(0.33, 0.45, count=12), 0)
PEOPLE = dataclasses.replace(FOUND, simulated=False)


def asked(corrected=True):
    key = {
        f"{kind} {person}": panels.Panel(kind, person)
        for kind in panels.KINDS
        for person in ("ann", "bob")
    }
    said = {name: "yes" if name.startswith("same") or not corrected else "no" for name in key}
    return panels.score(key, said, 0)


def render(study):
    evaluation = judged.evaluation()
    pictures = dict.fromkeys(report.picture_names(evaluation), PNG)
    return report.render(evaluation, SECONDS, pictures, None, study)


def test_without_observers_there_is_no_word_of_them():
    text = render(None)
    assert "observers" not in text and "no human was asked here" in text


@pytest.mark.parametrize(("study", "who"), [(FOUND, "simulated observers"), (PEOPLE, "observers")])
def test_every_person_and_quiz_has_a_row_and_observers_are_called_what_they_are(study, who):
    study = dataclasses.replace(study, judges={"<a model>": asked()})
    text = render(study)
    page = Page(text)
    assert page.open == []
    assert f"<h2>What {who} see</h2>" in text
    for quiz in (study.recognition, study.similarity):
        for person, figures in quiz.people.items():
            start = f"{100 * figures.clones.value:.1f}%"
            assert any(row[0] == person and row[1].startswith(start) for row in page.rows if row)
    overall = [row for row in page.rows if row and row[0] == "all"]
    assert overall[0][1].startswith(f"{100 * study.recognition.overall.clones.value:.1f}%")
    assert any(row and row[0] == "similarity mean face" for row in page.rows)
    assert "&lt;a model&gt;" in text and "<a model>" not in text
    assert ("These observers are simulated" in text) == study.simulated


def test_only_people_answer_whether_people_see_the_person():
    evaluation = judged.evaluation()
    assert "no human was asked" in sentences.summary(evaluation, FOUND)[-1]
    said = " ".join(sentences.summary(evaluation, PEOPLE))
    assert "no human was asked" not in said
    value = PEOPLE.recognition.overall.clones.value
    assert f"Observers name the right person for {100 * value:.0f}% (95% interval" in said
    assert "guessing gives 20%" in said and "for real photographs it is 9" in said


def test_sentences_say_what_is_shown_and_what_is_not():
    said = observed.sentences(PEOPLE)
    assert said[0].startswith("12 observers began; 0 of them missed more than 0 attention checks")
    weak = dataclasses.replace(PEOPLE.recognition.overall, p_value=0.3)
    shown = dataclasses.replace(PEOPLE.recognition, overall=weak)
    other = observed.sentences(dataclasses.replace(PEOPLE, recognition=shown))
    assert "Clones reach not shown to be more" not in other[1]
    assert "are not shown to reach more than all three (p = 0.300" in other[1]
    nobody = dataclasses.replace(PEOPLE, recognition=None, similarity=None)
    assert observed.sentences(nobody)[0].endswith("all who finished a quiz count: nobody.")


def test_a_judge_is_quoted_with_its_errors():
    said = observed.sentences(dataclasses.replace(FOUND, judges={"model": asked()}))[-1]
    assert "0% of 2 clones are the person to the judge model" in said
    assert "of 100% of real photographs of the person, and of 0% of somebody else's" in said
    blind = observed.sentences(dataclasses.replace(FOUND, judges={"model": asked(False)}))[-1]
    assert "cannot tell people apart" in blind
