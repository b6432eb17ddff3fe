"""Tests of the report's section on the leakage game: shown, escaped, and gone where none was."""

# ruff: noqa: RUF001 (the report prints minus signs)

import dataclasses

import judged
import plays as made_up
import pytest
from page_test import HOSTILE, PNG, SECONDS, Page

from experiments import page
from mia_jax import report
from mia_jax.evidence.game import READINGS, JudgeFacts
from mia_jax.report import formats, game
from mia_jax.runtime import records, storage
from mia_jax.runtime.errors import MissingError
from mia_jax.runtime.workdir import WorkDirectory


def render(games):
    evaluation = judged.evaluation()
    pictures = dict.fromkeys(report.picture_names(evaluation), PNG)
    return report.render(evaluation, {**SECONDS, "game": 1234.0}, pictures, games)


def test_without_a_game_there_is_no_word_of_it():
    text = render(None)
    assert "leakage game" not in text and "1234" not in text and "20 min" not in text


def test_every_game_judge_and_reading_has_a_row():
    found = Page(render(made_up.games()))
    assert found.open == []
    assert {"#game"} <= {link["href"] for link in found.all("a")}
    names = [f"{judge} {n} photographs" for judge in made_up.JUDGES for n in ("2", "all")]
    rows = [row for row in found.rows if row[0] in names]
    assert len(rows) == len(READINGS) * 2 * 2
    # Of dlib: 3 of 3 with the person, 1 of 3 of the nearest, 1 of 3 of the stand-in.
    first = rows[0]
    assert first[0] == "dlib 2 photographs"
    for cell, text in zip(first[1:], ("100.0%", "33.3%", "33.3%", "25.0%", "+66.7 "), strict=False):
        assert cell.startswith(text), (cell, text)
    assert "2 : 0" in first[6]
    assert "20 min 34 s" in "".join(found.text)


def test_the_page_says_what_was_played_and_what_came_out():
    said = " ".join(game.sentences(made_up.games()))
    assert "3 plays, of 2 people and 2 seeds of training, on orl faces of 64x64 pixels" in said
    assert "The attacker's unrelated faces are 140 photographs of people of the data set" in said
    assert "the first 4 of 40 by dlib (a stranger)" in said
    assert "the first 2 of 18 by evaluator (shares architecture and people)" in said
    assert "With at most 2 photographs of each person, dlib finds the person in 100%" in said
    assert "With all photographs of each person" in said
    assert "an advantage of +66.7 points" in said
    assert "which chance among so few plays may explain" in said


@pytest.mark.parametrize(
    ("ranks", "words"),
    [((1, 30, 30), "shows whether the person was"), ((30, 1, 1), "never met the person")],
)
def test_what_chance_does_not_explain_is_said(ranks, words):
    plays = [made_up.play(f"{i}", i % 3, ranks) for i in range(30)]
    assert words in " ".join(game.sentences(made_up.games(plays)))


def test_names_of_judges_are_escaped():
    judges = {HOSTILE: JudgeFacts(40, (HOSTILE,))}
    plays = [
        dataclasses.replace(each, ranks={HOSTILE: each.ranks["dlib"]})
        for each in (made_up.play("ann", 0, (1, 9, 2)), made_up.play("bob", 0, (9, 1, 9)))
    ]
    found = Page(render(made_up.games(plays, judges)))
    assert found.open == [] and not found.all("script")
    assert HOSTILE in "".join(found.text)


@pytest.mark.parametrize(("value", "text"), [(0.125, "+12.5"), (-0.03, "−3.0"), (0.0, "+0.0")])
def test_differences_have_a_sign(value, text):
    assert formats.points(value) == text
    assert formats.points_interval((value, 1.0)) == f"{text} to +100.0"


def test_a_stored_evaluation_is_shown_again_with_the_game(tmp_path):
    workdir, evaluation = WorkDirectory(tmp_path), judged.evaluation()
    assert page.stored(workdir) is None
    records.write(workdir.evaluation, evaluation)
    with pytest.raises(MissingError, match=r"is missing: run python -m experiments\.evaluate"):
        page.stored(workdir)
    for name in report.picture_names(evaluation):
        storage.write_bytes(workdir.figures / f"{name}.png", PNG)
    page.write(workdir, *page.stored(workdir))
    plain = workdir.report.read_text()
    assert "leakage game" not in plain
    records.write(workdir.game, made_up.games())
    page.write(workdir, *page.stored(workdir))
    assert "leakage game" in workdir.report.read_text()
    written = workdir.report.stat().st_mtime_ns
    page.write(workdir, *page.stored(workdir))
    assert workdir.report.stat().st_mtime_ns == written
    workdir.game.unlink()
    page.write(workdir, *page.stored(workdir))
    assert workdir.report.read_text() == plain
