"""Answers in a file of SQLite: each is on disk before the next question is asked.

A server that is killed loses nothing that it said it had: an answer is committed, and synced,
first. The file knows observers by number only. Deleted answers are overwritten.
"""

import pathlib
import sqlite3

from mia_jax.runtime import databases
from mia_jax.runtime.databases import transaction
from mia_jax.runtime.errors import UserError

KEPT, REPEATED, CONTRADICTED, EARLY = "kept", "repeated", "contradicted", "early"
_TABLES = (
    "CREATE TABLE IF NOT EXISTS plans (digest TEXT PRIMARY KEY) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS observers (number INTEGER PRIMARY KEY, deleted INTEGER NOT NULL)",
    "CREATE TABLE IF NOT EXISTS answers (observer INTEGER NOT NULL REFERENCES observers, "
    "step INTEGER NOT NULL, answer TEXT NOT NULL, PRIMARY KEY (observer, step)) WITHOUT ROWID",
)
_WRONG = (
    "SELECT 1 FROM observers WHERE (typeof(number), typeof(deleted)) IS NOT ('integer', 'integer')",
    "SELECT 1 FROM answers WHERE (typeof(observer), typeof(step), typeof(answer)) "
    "IS NOT ('integer', 'integer', 'text')",
    # Everybody answered the first steps, and none twice.
    "SELECT 1 FROM answers GROUP BY observer "
    "HAVING (MIN(step), MAX(step)) IS NOT (0, COUNT(*) - 1)",
)
_SETTINGS = ("journal_mode=WAL", "synchronous=FULL", "secure_delete=ON")


class Store:
    """The answers of a study."""

    def __init__(self, path: pathlib.Path, plan: str) -> None:
        """Opens the file, or makes it.

        Args:
          path: The file.
          plan: Digest of the plan by which observers are asked.

        Raises:
          UserError: If it holds answers to another plan, or is none of ours.
        """
        try:
            self._connection = databases.connect(path, _TABLES, _WRONG, _SETTINGS, shared=True)
            self._connection.execute(
                "INSERT INTO plans SELECT ? WHERE NOT EXISTS (SELECT 1 FROM plans)", [plan]
            )
            found = [row[0] for row in self._connection.execute("SELECT digest FROM plans")]
        except sqlite3.DatabaseError as error:
            raise UserError(f"{path} cannot be read as answers ({error})") from None
        if found != [plan]:
            raise UserError(
                f"{path} holds answers to another plan: what observers are asked, and who of them "
                "counts, may not change once there are answers"
            )

    def invite(self, count: int) -> None:
        """Makes room for observers up to a number; there may be more already."""
        with transaction(self._connection):
            self._connection.executemany(
                "INSERT OR IGNORE INTO observers VALUES (?, 0)",
                [(number,) for number in range(1, count + 1)],
            )

    def observers(self) -> list[int]:
        """Lists everybody who was invited."""
        return [row[0] for row in self._connection.execute("SELECT number FROM observers")]

    def deleted(self) -> set[int]:
        """Lists those whose answers were deleted, and who may not answer again."""
        rows = self._connection.execute("SELECT number FROM observers WHERE deleted")
        return {row[0] for row in rows}

    def answered(self, number: int) -> int:
        """Counts the steps that an observer has answered: the number of the next one."""
        return self._connection.execute(
            "SELECT COUNT(*) FROM answers WHERE observer = ?", [number]
        ).fetchone()[0]

    def add(self, number: int, step: int, answer: str) -> str:
        """Keeps an answer, if it is one to the observer's next step.

        Args:
          number: The observer's, who was invited.
          step: Which step.
          answer: What was chosen.

        Returns:
          "kept"; "repeated" if it was kept before; "contradicted" if another answer was; "early" if
          an earlier step is not answered, or the observer's answers were deleted.
        """
        with transaction(self._connection):
            following = self.answered(number)
            if step > following or number in self.deleted():
                return EARLY
            if step < following:
                (before,) = self._connection.execute(
                    "SELECT answer FROM answers WHERE observer = ? AND step = ?", [number, step]
                ).fetchone()
                return REPEATED if before == answer else CONTRADICTED
            self._connection.execute("INSERT INTO answers VALUES (?, ?, ?)", [number, step, answer])
        return KEPT

    def answers(self) -> dict[int, list[str]]:
        """Returns the answers of all observers who gave one, in the order of their steps."""
        found: dict[int, list[str]] = {}
        rows = self._connection.execute(
            "SELECT observer, answer FROM answers ORDER BY observer, step"
        )
        for number, answer in rows:
            found.setdefault(number, []).append(answer)
        return found

    def delete(self, number: int) -> None:
        """Deletes an observer's answers for good, and ends the observer's link.

        Raises:
          UserError: If there is no such observer.
        """
        with transaction(self._connection):
            changed = self._connection.execute(
                "UPDATE observers SET deleted = 1 WHERE number = ?", [number]
            ).rowcount
            self._connection.execute("DELETE FROM answers WHERE observer = ?", [number])
        if not changed:
            raise UserError(f"there is no observer {number}")
        self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        """Closes the file."""
        self._connection.close()
