"""What a study with observers keeps in `<workdir>/quiz`: its plan, its answers, what they come to."""

import csv
import dataclasses
import io
import json
import pathlib
import secrets
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from absl import logging

from experiments import page
from mia_jax.evidence import panels, study
from mia_jax.evidence.study import Answers, Figures, Study
from mia_jax.runtime import records, storage
from mia_jax.runtime.errors import MissingError, UserError
from mia_jax.runtime.workdir import WorkDirectory
from mia_jax.study import design, links, static
from mia_jax.study.design import Plan, Stimuli
from mia_jax.study.links import Links
from mia_jax.study.panels import QUESTION, Drawn
from mia_jax.study.store import Store


@dataclasses.dataclass(frozen=True)
class Wanted:
    """What to ask; each field is the flag of that name."""

    people: int
    clones: int
    contact: str
    simulated: bool


@dataclasses.dataclass(frozen=True)
class Begun:
    """Everything in `quiz/plan.json`.

    Attributes:
      wanted: What was asked for.
      plan: What observers are asked.
    """

    wanted: Wanted
    plan: Plan


@dataclasses.dataclass(frozen=True)
class Key:
    """Everything in `quiz/panels.json`: what the panels are, by name."""

    panels: Mapping[str, panels.Panel]


class Opened(NamedTuple):
    """A study that can be answered.

    Attributes:
      plan: What observers are asked.
      images: `[n, side, side, channels]` of 8 bits.
      words: Links and names.
      answers: Where answers are kept.
    """

    plan: Plan
    images: np.ndarray
    words: Links
    answers: Store


def begin(
    workdir: WorkDirectory,
    wanted: Wanted,
    given: Collection[str],
    collect: Callable[[], tuple[Stimuli, str]],
) -> None:
    """Makes the plan of a study, unless there is one.

    Args:
      workdir: The work directory.
      wanted: What to ask.
      given: Which of it was asked for, and is not by default.
      collect: Reads the pictures, and who is to be credited for them.

    Raises:
      UserError: If something else was asked for when the plan was made.
    """
    home = workdir.quiz
    if (home / "plan.json").exists():
        before = records.read(home / "plan.json", Begun).wanted
        for name, value in dataclasses.asdict(wanted).items():
            if name in given and value != getattr(before, name):
                raise UserError(
                    f"--{name}={value} contradicts {home / 'plan.json'}, which was made with "
                    f"{getattr(before, name)!r}: a plan stays as it is"
                )
        return
    stimuli, credit = collect()
    plan, images = design.make_plan(
        *(stimuli, secrets.randbits(48), wanted.contact, credit, wanted.simulated)
    )
    private(home)
    storage.write_arrays(home / "pictures.npz", {"pictures": images})
    storage.write_bytes(home / "secret", links.new_secret())
    records.write(home / "plan.json", Begun(wanted, plan))  # Last: then all of it is there.
    logging.info("The plan: %d questions about %d people", len(plan.items), len(plan.people))


def private(home: pathlib.Path) -> None:
    """Makes a directory that nobody else on the machine may read."""
    home.mkdir(parents=True, exist_ok=True)
    home.chmod(0o700)


def open_study(workdir: WorkDirectory) -> Opened:
    """Opens a study.

    Args:
      workdir: The work directory.

    Returns:
      The study.

    Raises:
      MissingError: If there is none.
      UserError: If a file does not fit the others.
    """
    home = workdir.quiz
    if not (home / "plan.json").exists():
        raise MissingError(f"{home} holds no study yet: run python -m experiments.quiz serve first")
    plan = records.read(home / "plan.json", Begun).plan
    return Opened(
        plan,
        storage.read_arrays(home / "pictures.npz")["pictures"],
        Links((home / "secret").read_bytes()),
        Store(home / "answers.sqlite", design.digest(plan)),
    )


def all_answers(workdir: WorkDirectory, opened: Opened) -> Answers:
    """Collects the answers to the server and those that came back as files.

    Args:
      workdir: The work directory.
      opened: The study.

    Returns:
      The answers.

    Raises:
      UserError: If a file is none of this study's, or an observer's answers come twice.
    """
    asked = set(opened.answers.observers()) - opened.answers.deleted()
    served = opened.answers.answers()
    files = sorted((workdir.quiz / "returned").glob("*.json"))
    returned = static.returned(opened.plan, opened.words, asked, files)
    for number in served:
        if number in returned:
            raise UserError(
                f"observer {number} answered to the server, and in a file in "
                f"{workdir.quiz / 'returned'}: take the file away, or delete the former with "
                f"python -m experiments.quiz delete --observer={number}"
            )
    return design.resolve(opened.plan, {**served, **returned})


def write_answers(workdir: WorkDirectory, answers: Answers) -> None:
    """Writes all answers, as JSON and as a table.

    Args:
      workdir: The work directory.
      answers: The answers.
    """
    records.write(workdir.quiz / "answers.json", answers)
    rows: list[dict[str, Any]] = []
    for quiz, given in (
        (study.RECOGNITION, answers.recognition),
        (study.SIMILARITY, answers.similarity),
    ):
        for row in given:
            fields = {"named": "", "similarity": "", **dataclasses.asdict(row)}
            rows.append({"simulated": answers.simulated, "quiz": quiz, **fields})
    columns = ["simulated", "quiz", "observer", "item", "kind", "person", "named", "similarity"]
    _write_table(workdir.quiz / "answers.csv", columns, rows)


def write_results(workdir: WorkDirectory, found: Study) -> None:
    """Writes what came out, and shows it in the report, if there is one.

    Args:
      workdir: The work directory.
      found: The figures.
    """
    records.write(workdir.quiz_results, found)
    rows: list[dict[str, Any]] = []
    for name, quiz in (
        (study.RECOGNITION, found.recognition),
        (study.SIMILARITY, found.similarity),
    ):
        if quiz:
            rows.append(_row(found, name, "all", quiz.overall))
            rows += [_row(found, name, who, figures) for who, figures in quiz.people.items()]
    columns = [
        "simulated",
        "quiz",
        "person",
        "clones",
        "low",
        "high",
        "seeds",
        "mean_face",
        "others",
        "photographs",
        "d_prime",
        "p_value",
    ]
    _write_table(workdir.quiz / "results.csv", columns, rows)
    evaluated = page.stored(workdir)
    if evaluated:
        page.write(workdir, *evaluated)


def _row(found: Study, quiz: str, person: str, figures: Figures) -> dict[str, Any]:
    """Arranges the figures of one quiz and person."""
    low, high = figures.clones.interval or ("", "")
    kinds = ("clones", "seeds", "mean_face", "others", "photographs")
    means = {kind: getattr(figures, kind).value for kind in kinds}
    about = {"simulated": found.simulated, "quiz": quiz, "person": person}
    tested = {"d_prime": figures.d_prime, "p_value": figures.p_value}
    return {**about, **means, "low": low, "high": high, **tested}


def _write_table(
    path: pathlib.Path, columns: Sequence[str], rows: Sequence[Mapping[str, Any]]
) -> None:
    """Writes a table whole, as CSV; names may hold commas."""
    text = io.StringIO(newline="")
    table = csv.DictWriter(text, columns, lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    storage.write_bytes(path, text.getvalue().encode())


def write_panels(workdir: WorkDirectory, drawn: Mapping[str, Drawn]) -> None:
    """Writes panels, the sheet to fill in, and the key.

    Args:
      workdir: The work directory.
      drawn: The panels by name.

    Raises:
      UserError: If a judge answered other panels.
    """
    home, key = workdir.quiz, Key({name: each.panel for name, each in drawn.items()})
    private(home)
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
            lines = path.read_text(encoding="utf-8").splitlines()
            rows = [json.loads(line) for line in lines if line.strip()]
            found[path.stem] = panels.score(key.panels, panels.read(rows), seed)
        except ValueError as error:
            raise UserError(f"{path}: {error}") from None
    return found
