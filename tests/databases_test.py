"""A database that somebody else made asks for nothing: each payload is made here, and harmless."""

import os
import sqlite3
import struct

import numpy as np
import pytest

from mia_jax.runtime.errors import UserError
from mia_jax.runtime.ledger import Ledger, Line
from mia_jax.study.store import Store

PAGE, SECTOR, SEED = 4096, 512, 7
MAGIC = bytes.fromhex("d9d505f920a163d7")
ENDLESS = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT"


def ledger(path):
    return Ledger(path)


def store(path):
    return Store(path, "plan")


def write(path, *statements):
    with sqlite3.connect(path) as connection:
        for statement in statements:
            connection.execute(*((statement,) if isinstance(statement, str) else statement))
    connection.close()


def journal_that_names(other, path):
    """The journal of a killed transaction of several databases, as SQLite writes it."""
    page = path.read_bytes()[:PAGE]
    check = (SEED + sum(page[PAGE - 200 : 0 : -200])) % 2**32
    header = struct.pack(">8sIIIII", MAGIC, 1, SEED, path.stat().st_size // PAGE, SECTOR, PAGE)
    name = os.fsencode(other)
    record = struct.pack(">I", 1) + page + struct.pack(">I", check)
    ending = struct.pack(">I", 2**30 // PAGE + 1) + name + struct.pack(">II", len(name), sum(name))
    return header.ljust(SECTOR, b"\0") + record + ending + MAGIC


@pytest.mark.parametrize("linked", [False, True])
@pytest.mark.parametrize("opened", [ledger, store])
def test_a_journal_deletes_no_other_file(opened, linked, tmp_path):
    """By itself SQLite deletes the file that such a journal names, wherever it lies."""
    path, other = tmp_path / "answers.sqlite", tmp_path / "somebody's thesis"
    other.write_text("precious\n")
    if linked:  # The journal lies beside what a link leads to.
        (tmp_path / "link").symlink_to(path)
    write(path, *(f"CREATE TABLE {name} (a)" for name in "ab"))
    beside = tmp_path / "answers.sqlite-journal"
    beside.write_bytes(journal_that_names(other, path))
    with pytest.raises(UserError, match=r"answers.sqlite-journal names another file"):
        opened(tmp_path / "link" if linked else path)
    assert other.read_text() == "precious\n"
    sqlite3.connect(path).execute("SELECT * FROM sqlite_master")  # What SQLite itself does.
    assert not other.exists()


def test_the_journal_of_a_killed_run_is_undone(tmp_path):
    """As before: only one that names another file is refused."""
    path = tmp_path / "asked.sqlite"
    Ledger(path).allow("attack", 5)
    before = journal_that_names("", path)[: SECTOR + PAGE + 8]
    Ledger(path).allow("attack", 9)
    (tmp_path / "asked.sqlite-journal").write_bytes(before)
    assert Ledger(path).count("attack").allowed in (5, 9)


@pytest.mark.parametrize("opened", [ledger, store])
@pytest.mark.parametrize("ending", ["", "-journal", "-wal"])
def test_a_pipe_does_not_hang(opened, ending, tmp_path):
    os.mkfifo(tmp_path / f"a.sqlite{ending}")
    with pytest.raises(UserError, match=rf"a.sqlite{ending} is no ordinary file"):
        opened(tmp_path / "a.sqlite")


OTHERS = {
    "view of counts": (ledger, f"CREATE VIEW purposes AS {ENDLESS} x AS name, 1 AS allowed FROM c"),
    "view of answers": (store, f"CREATE VIEW answers AS {ENDLESS} x AS observer, 'a' FROM c"),
    "trigger": (
        store,
        "CREATE TABLE observers (number INTEGER PRIMARY KEY, deleted INTEGER NOT NULL)",
        f"CREATE TRIGGER t AFTER INSERT ON observers BEGIN INSERT INTO observers {ENDLESS} x, 0 "
        "FROM c; END",
    ),
    "other columns": (ledger, "CREATE TABLE purposes (name)"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_what_is_none_of_ours_is_refused_before_it_is_asked(name, tmp_path):
    opened, *statements = OTHERS[name]
    write(tmp_path / "a.sqlite", *statements)
    with pytest.raises(UserError, match="which is none of ours"):
        opened(tmp_path / "a.sqlite")


ROWS = {
    "a budget of minus a million": (ledger, "INSERT INTO purposes VALUES ('a', 5, -1000000)"),
    "no number": (ledger, "INSERT INTO purposes VALUES ('a', 'many', 1)"),
    "less than nothing under way": (ledger, "INSERT INTO pending VALUES ('a', -5)"),
    "no purpose": (ledger, "INSERT INTO pending VALUES (x'00', 5)"),
    "an observer by name": (store, "INSERT INTO answers VALUES ('ada', 0, 'a')"),
    "no text": (store, "INSERT INTO answers VALUES (1, 0, x'ff')"),
    "a step left out": (store, "INSERT INTO answers VALUES (1, 1, 'a')"),
    "neither deleted nor not": (store, "INSERT INTO observers VALUES (5, 'perhaps')"),
}


@pytest.mark.parametrize("name", ROWS)
def test_rows_that_were_not_written_here_are_refused(name, tmp_path):
    opened, statement = ROWS[name]
    opened(tmp_path / "a.sqlite")
    write(tmp_path / "a.sqlite", statement)
    with pytest.raises(UserError, match="it holds rows that were not written here"):
        opened(tmp_path / "a.sqlite")


@pytest.mark.parametrize("answer", [b"odd", "text", np.float32(np.nan).tobytes()])
def test_what_is_no_answer_is_not_taken_for_one(answer, tmp_path):
    found = Ledger(tmp_path / "a.sqlite")
    write(tmp_path / "a.sqlite", ("INSERT INTO answers VALUES (?, ?)", [b"key", answer]))
    with pytest.raises(UserError, match=r"a.sqlite holds what is no answer"):
        found.find([b"key"])


def test_answers_of_several_lengths_are_refused(tmp_path):
    found = Ledger(tmp_path / "a.sqlite")
    line = Line(None, found, "model", "attack", "give more")
    images = np.stack([np.zeros((2, 2, 1)), np.ones((2, 2, 1))]).astype(np.float32)
    for key, length in zip(line._keys(images), (1, 2), strict=True):
        write(
            tmp_path / "a.sqlite", ("INSERT INTO answers VALUES (?, ?)", [key, bytes(4 * length)])
        )
    with pytest.raises(UserError, match="holds answers of several lengths"):
        line.ask(images)
