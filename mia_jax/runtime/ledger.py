"""What a model was asked, and what it answered, in a file: so that nothing is asked twice.

Each purpose has a budget of its own. Images are counted before they are shown, and an answer is
kept in the same transaction that counts it as given, so that a process may be killed at any moment:
what it was about to show then counts as a call that failed.
"""

import dataclasses
import hashlib
import pathlib
import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mia_jax.runtime import databases, storage
from mia_jax.runtime.asking import Caller
from mia_jax.runtime.databases import transaction
from mia_jax.runtime.errors import UserError

REPEATED = "repeated"  # The purpose that calls without a usable answer are charged to.
_TABLES = (
    "CREATE TABLE IF NOT EXISTS purposes (name TEXT PRIMARY KEY, allowed INTEGER NOT NULL, "
    "shown INTEGER NOT NULL) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS pending (purpose TEXT NOT NULL, images INTEGER NOT NULL)",
    "CREATE TABLE IF NOT EXISTS answers (image BLOB PRIMARY KEY, answer BLOB NOT NULL) "
    "WITHOUT ROWID",
)
_WRONG = (
    "SELECT 1 FROM purposes WHERE (typeof(name), typeof(allowed), typeof(shown)) "
    "IS NOT ('text', 'integer', 'integer') OR allowed < 0 OR shown < 0",
    "SELECT 1 FROM pending WHERE (typeof(purpose), typeof(images)) IS NOT ('text', 'integer') "
    "OR images < 0",
)


@dataclasses.dataclass(frozen=True)
class Count:
    """The images of one purpose.

    Attributes:
      allowed: How many may be shown to the model.
      shown: How many were.
    """

    allowed: int
    shown: int


@dataclasses.dataclass(frozen=True)
class Asked:
    """How often a model was asked in all.

    Attributes:
      purposes: By purpose; those of calls that failed under `REPEATED`, as far as it allows them,
        and else under what they were for.
    """

    purposes: Mapping[str, Count]

    @property
    def allowed(self) -> int:
        """How many images may be shown to the model in all."""
        return sum(each.allowed for each in self.purposes.values())

    @property
    def shown(self) -> int:
        """How many images were shown to it in all, those of calls that failed included."""
        return sum(each.shown for each in self.purposes.values())


class Ledger:
    """The file."""

    def __init__(self, path: pathlib.Path) -> None:
        """Opens the file, or makes it.

        Args:
          path: The file.

        Raises:
          UserError: If it is none of ours, or damaged.
        """
        self.path = path
        storage.make_directory(path.parent)
        try:
            self._connection = databases.connect(path, _TABLES, _WRONG)
            with transaction(self._connection):
                # Whoever was about to show these was killed, and nobody knows whether they arrived.
                for purpose, images in self._rows("SELECT purpose, images FROM pending"):
                    self._charge(purpose, images)
            self.asked()
        except sqlite3.DatabaseError as error:
            raise UserError(
                f"{path} cannot be read ({error}): delete it to count, and to ask, anew"
            ) from None

    def allow(self, purpose: str, images: int) -> None:
        """Says how many images may be shown for a purpose, those already shown included.

        Args:
          purpose: What for.
          images: How many.
        """
        self._connection.execute(
            "INSERT INTO purposes VALUES (?, ?, 0) ON CONFLICT (name) DO UPDATE "
            "SET allowed = excluded.allowed",
            [purpose, images],
        )

    def asked(self) -> Asked:
        """Returns how often the model was asked so far."""
        rows = self._rows("SELECT name, allowed, shown FROM purposes ORDER BY name")
        return Asked({name: Count(allowed, shown) for name, allowed, shown in rows})

    def count(self, purpose: str) -> Count:
        """Returns the images of one purpose.

        Args:
          purpose: What for.
        """
        return self.asked().purposes.get(purpose, Count(0, 0))

    def take(self, purpose: str, images: int) -> None:
        """Counts images that are about to be shown.

        Args:
          purpose: What for.
          images: How many.
        """
        self._connection.execute("INSERT INTO pending VALUES (?, ?)", [purpose, images])

    def settle(
        self, purpose: str, images: int, keys: Sequence[bytes], answers: np.ndarray | None
    ) -> None:
        """Keeps the answers to the images that were taken last.

        Args:
          purpose: What they were for.
          images: How many.
          keys: Of the images, from `key_of`.
          answers: `[images, outputs]` float32; None for no usable answer.
        """
        with transaction(self._connection):
            if answers is None:
                self._charge(purpose, images)
                return
            self._show(purpose, images)
            self._connection.executemany(
                "INSERT OR REPLACE INTO answers VALUES (?, ?)",
                [
                    (key, np.ascontiguousarray(answer, "<f4").tobytes())
                    for key, answer in zip(keys, answers, strict=True)
                ],
            )

    def find(self, keys: Sequence[bytes]) -> dict[bytes, np.ndarray]:
        """Finds what the model answered before.

        Args:
          keys: Of images.

        Returns:
          The answers `[outputs]` to those that it was shown.

        Raises:
          UserError: If what is there is no answer: somebody else wrote it.
        """
        found = {}
        for key in dict.fromkeys(keys):
            for (answer,) in self._rows("SELECT answer FROM answers WHERE image = ?", key):
                whole = isinstance(answer, bytes) and len(answer) % 4 == 0
                found[key] = np.frombuffer(answer if whole else b"", "<f4").astype(np.float32)
                if not whole or not np.isfinite(found[key]).all():
                    raise UserError(f"{self.path} holds what is no answer: delete it to ask anew")
        return found

    def _rows(self, question: str, *values: Any) -> list[tuple[Any, ...]]:
        """Returns all rows."""
        return self._connection.execute(question, values).fetchall()

    def _charge(self, purpose: str, images: int) -> None:
        """Counts images of a failed call: as repeated while that lasts, else for their purpose."""
        repeated = self.count(REPEATED)
        covered = max(0, min(images, repeated.allowed - repeated.shown))
        self._show(REPEATED, covered)
        self._show(purpose, images - covered)

    def _show(self, purpose: str, images: int) -> None:
        """Counts images as shown, and nothing as about to be."""
        self._connection.execute("DELETE FROM pending")
        self._connection.execute(
            "INSERT INTO purposes VALUES (?, 0, ?) ON CONFLICT (name) DO UPDATE "
            "SET shown = shown + excluded.shown",
            [purpose, images],
        )


@dataclasses.dataclass(frozen=True)
class Line:
    """A model that is asked for one purpose, and never twice about the same image.

    Attributes:
      caller: How it is called; shared by all purposes, so that they share its pace.
      ledger: What it was asked and answered.
      model: Tells its answers from those of another model.
      purpose: What for.
      remedy: What to do where the budget is at its end.
    """

    caller: Caller
    ledger: Ledger
    model: str
    purpose: str
    remedy: str

    @property
    def left(self) -> int:
        """How many more images may be shown."""
        count = self.ledger.count(self.purpose)
        return count.allowed - count.shown

    @property
    def spent(self) -> int:
        """How many images were shown, for all purposes."""
        return self.ledger.asked().shown

    def refusal(self, images: int) -> str:
        """Says that so many images may not be shown."""
        count = self.ledger.count(self.purpose)
        return (
            f"the budget of {count.allowed} pictures for the {self.purpose} leaves {self.left}, "
            f"but {images} are to be shown: {self.remedy}"
        )

    def take(self, images: int) -> None:
        """Counts images that are about to be shown."""
        self.ledger.take(self.purpose, images)

    def settle(self, images: np.ndarray, answers: np.ndarray | None) -> None:
        """Keeps the answers to the images that were taken last."""
        self.ledger.settle(self.purpose, len(images), self._keys(images), answers)

    def ask(self, images: np.ndarray) -> np.ndarray:
        """Shows images to the model, or remembers what it answered.

        Args:
          images: `[n, height, width, channels]`, one or more, as the model takes them.

        Returns:
          What it answers, `[n, outputs]` float32.

        Raises:
          Unanswered: If it gives no usable answer, or the budget is at its end; what it answered
            until then is kept.
          UserError: If the file holds answers of another model.
        """
        images = np.ascontiguousarray(images, np.float32)
        keys = self._keys(images)
        known = self.ledger.find(keys)
        new = {key: place for place, key in reversed([*enumerate(keys)]) if key not in known}
        if new:
            places = sorted(new.values())
            answers = self.caller.ask(images[places], self)
            known |= {keys[place]: answer for place, answer in zip(places, answers, strict=True)}
        if len({answer.shape for answer in known.values()}) > 1:
            raise UserError(
                f"{self.ledger.path} holds answers of several lengths: delete it to ask anew"
            )
        return np.stack([known[key] for key in keys])

    def _keys(self, images: np.ndarray) -> list[bytes]:
        """Names images by what they hold, and by the model."""
        start = hashlib.sha256(f"{self.model}\0{images.shape[1:]}\0".encode())
        keys = []
        for image in images:
            each = start.copy()
            each.update(image.tobytes())
            keys.append(each.digest())
        return keys
