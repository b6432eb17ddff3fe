"""Databases of SQLite that may be somebody else's: nothing runs that only such a file asks for.

A file of SQLite may hold views and triggers, which compute without end, and a journal beside it may
name another file, which SQLite deletes once it has undone what the journal is of. So a file is
looked at before it is used: it holds the tables that are asked for and nothing else.
"""

import contextlib
import os
import pathlib
import sqlite3
from collections.abc import Iterator, Sequence

from mia_jax.runtime import storage

# Ends a journal that names another file. One of a single database, as all are here, has no name.
_NAMES_ANOTHER = bytes.fromhex("d9d505f920a163d7")
_BESIDE = ("", "-journal", "-wal", "-shm")


def connect(
    path: pathlib.Path,
    tables: Sequence[str],
    wrong: Sequence[str],
    settings: Sequence[str] = (),
    shared: bool = False,
) -> sqlite3.Connection:
    """Opens a database, or makes it, for nobody but its owner to read.

    Args:
      path: The file.
      tables: All that it may hold, as "CREATE TABLE IF NOT EXISTS ...".
      wrong: Questions whose answer is no row, unless somebody else wrote into it.
      settings: Pragmas, such as "journal_mode=WAL".
      shared: Whether several threads may use the connection.

    Returns:
      The connection, to be used with `transaction`.

    Raises:
      sqlite3.DatabaseError: If it is damaged, or holds anything else.
    """
    path = path.resolve()  # SQLite looks for the journal beside what a link leads to.
    _check_files(path)
    # SQLite gives its own files beside this one the same mode.
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    connection = sqlite3.connect(
        path, timeout=30, isolation_level=None, check_same_thread=not shared
    )
    connection.execute("PRAGMA trusted_schema=OFF")
    _check_schema(connection, tables)
    for setting in settings:
        connection.execute(f"PRAGMA {setting}")
    with transaction(connection):
        for table in tables:
            connection.execute(table)
    for question in wrong:
        if connection.execute(question).fetchone() is not None:
            raise sqlite3.DatabaseError("it holds rows that were not written here")
    return connection


def _check_files(path: pathlib.Path) -> None:
    """Refuses pipes, which never end, and a journal by which another file would be deleted."""
    for ending in _BESIDE:
        try:
            beside = storage.ordinary(path.with_name(path.name + ending))
        except ValueError:
            raise sqlite3.DatabaseError(f"{path.name}{ending} is no ordinary file") from None
        if ending == "-journal" and beside.exists():
            with beside.open("rb") as file:
                file.seek(max(beside.stat().st_size - len(_NAMES_ANOTHER), 0))
                if file.read() == _NAMES_ANOTHER:
                    raise sqlite3.DatabaseError(f"{beside.name} names another file")


def _check_schema(connection: sqlite3.Connection, tables: Sequence[str]) -> None:
    """Refuses views, triggers, and tables of others."""
    ours = {table.replace("IF NOT EXISTS ", "") for table in tables}
    rows = connection.execute("SELECT type, name, sql FROM sqlite_master").fetchall()
    for kind, name, text in rows:
        if text not in ours and (kind, text) != ("index", None):  # An index that a key brings.
            raise sqlite3.DatabaseError(f"it holds the {kind} {name!a}, which is none of ours")


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Does several things or none, while nobody else writes.

    Args:
      connection: Opened with `isolation_level=None`.

    Yields:
      Nothing.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")
