"""Panels in `<workdir>/quiz`: pictures to answer yes or no to, and the sheets that came back."""

import dataclasses
import json
import pathlib
from collections.abc import Mapping

from experiments import quiz_files
from mia_jax.evidence import panels, study
from mia_jax.runtime import records, storage
from mia_jax.runtime.errors import UserError
from mia_jax.runtime.workdir import WorkDirectory
from mia_jax.study.panels import QUESTION, Drawn


@dataclasses.dataclass(frozen=True)
class Key:
    """Everything in `quiz/panels.json`: what the panels are, by name."""

    panels: Mapping[str, panels.Panel]


def write(workdir: WorkDirectory, drawn: Mapping[str, Drawn]) -> None:
    """Writes panels, the sheet to fill in, and the key.

    Args:
      workdir: The work directory.
      drawn: The panels by name.

    Raises:
      UserError: If a judge answered other panels.
    """
    home, key = workdir.quiz, Key({name: each.panel for name, each in drawn.items()})
    quiz_files.private(home)
    path = home / "panels.json"
    if path.exists() and records.read(path, Key) != key and any(_sheets(workdir)):
        raise UserError(f"{home / 'judges'} answers other panels, those of {path}")
    for name, each in drawn.items():
        storage.write_bytes(home / "panels" / f"{name}.png", each.image)
    lines = [
        {"panel": name, "picture": f"{name}.png", "question": QUESTION, "answer": ""}
        for name in drawn
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    storage.write_bytes(home / "panels" / "sheet.jsonl", text.encode())
    records.write(path, key)


def _sheets(workdir: WorkDirectory) -> list[pathlib.Path]:
    """Lists the sheets that judges filled in."""
    return sorted((workdir.quiz / "judges").glob("*.jsonl"))


def judged(workdir: WorkDirectory, seed: int) -> dict[str, study.Asked]:
    """Scores all sheets that judges filled in.

    Args:
      workdir: The work directory.
      seed: Of the resampling.

    Returns:
      The figures by judge, which is the name of the file.

    Raises:
      UserError: If a sheet does not fit the panels.
    """
    found: dict[str, study.Asked] = {}
    for path in _sheets(workdir):
        key = records.read(workdir.quiz / "panels.json", Key)
        try:
            lines = storage.ordinary(path).read_text(encoding="utf-8").splitlines()
            rows = [storage.parse_json(line) for line in lines if line.strip()]
            found[path.stem] = panels.score(key.panels, panels.read(rows), seed)
        except ValueError as error:
            raise UserError(f"{path}: {error}") from None
    return found
