"""Tests of the answers on disk: each kept once, none lost, none left when it is deleted."""

import sqlite3

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from mia_jax.runtime.errors import UserError
from mia_jax.study import store
from mia_jax.study.store import Store


@pytest.fixture
def answers(tmp_path):
    opened = Store(tmp_path / "answers.sqlite", "plan")
    opened.invite(3)
    yield opened
    opened.close()


def test_one_answer_for_each_step_and_none_out_of_turn(answers):
    assert answers.add(2, 0, "agreed") == store.KEPT
    assert answers.add(2, 0, "agreed") == store.REPEATED
    assert answers.add(2, 0, "no") == store.CONTRADICTED
    assert answers.add(2, 2, "1") == store.EARLY
    assert answers.answers() == {2: ["agreed"]}
    assert (answers.answered(2), answers.answered(1)) == (1, 0)


@settings(max_examples=20, deadline=None)
@given(some.lists(some.tuples(some.integers(1, 2), some.integers(0, 4), some.sampled_from("ab"))))
def test_whatever_arrives_answers_are_the_first_in_their_order(tmp_path_factory, arriving):
    opened = Store(tmp_path_factory.mktemp("s") / "answers.sqlite", "plan")
    opened.invite(2)
    expected = {}
    for number, step, answer in arriving:
        opened.add(number, step, answer)
        kept = expected.setdefault(number, [])
        if step == len(kept):
            kept.append(answer)
    assert opened.answers() == {number: kept for number, kept in expected.items() if kept}
    opened.close()


def test_answers_are_there_for_whoever_opens_the_file_next(answers, tmp_path):
    answers.add(1, 0, "agreed")
    again = Store(tmp_path / "answers.sqlite", "plan")
    again.invite(5)
    assert again.answers() == {1: ["agreed"]}
    assert again.observers() == [1, 2, 3, 4, 5]
    again.close()


def test_answers_to_another_plan_are_not_mixed(answers, tmp_path):
    with pytest.raises(UserError, match="holds answers to another plan"):
        Store(tmp_path / "answers.sqlite", "another")


def test_what_is_no_database_is_one_sentence(tmp_path):
    (tmp_path / "answers.sqlite").write_text("no database" * 100)
    with pytest.raises(UserError, match="cannot be read as answers"):
        Store(tmp_path / "answers.sqlite", "plan")


def test_deleted_answers_are_gone_from_the_bytes_and_the_link_ends(answers, tmp_path):
    answers.add(1, 0, "agreed")
    answers.add(2, 0, "a secret answer")
    answers.delete(2)
    for path in tmp_path.iterdir():
        assert b"a secret answer" not in path.read_bytes(), path
    assert answers.answers() == {1: ["agreed"]}
    assert answers.deleted() == {2}
    assert answers.add(2, 0, "again") == store.EARLY
    answers.invite(3)
    assert answers.deleted() == {2}
    with pytest.raises(UserError, match="no observer 9"):
        answers.delete(9)


def test_the_file_knows_nothing_of_observers_but_answers(answers, tmp_path):
    with sqlite3.connect(tmp_path / "answers.sqlite") as file:
        columns = {
            (table, column[1])
            for (table,) in file.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            for column in file.execute(f"PRAGMA table_info({table})")
        }
        assert file.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert columns == {
        ("plans", "digest"),
        ("observers", "number"),
        ("observers", "deleted"),
        ("answers", "observer"),
        ("answers", "step"),
        ("answers", "answer"),
    }
