"""A study with observers in `<workdir>/quiz`: its plan, and the answers to it."""

import dataclasses
import pathlib
import secrets
from collections.abc import Callable, Collection
from typing import NamedTuple

import numpy as np
from absl import logging

from mia_jax.evidence.study import Answers
from mia_jax.runtime import records, storage
from mia_jax.runtime.errors import MissingError, UserError
from mia_jax.runtime.workdir import WorkDirectory
from mia_jax.study import design, links, static
from mia_jax.study.design import Plan, Stimuli
from mia_jax.study.links import Links
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
    """Makes a directory of which nobody else on the machine may read anything."""
    storage.make_directory(home)
    storage.tighten(home, below=True)


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
    private(home)  # It may have been copied here, or widened.
    plan = records.read(home / "plan.json", Begun).plan
    secret = (home / "secret").read_bytes() if (home / "secret").is_file() else b""
    if len(secret) != links.SECRET_BYTES:
        raise UserError(f"{home / 'secret'} is no secret of {links.SECRET_BYTES} bytes: restore it")
    return Opened(
        plan,
        storage.read_arrays(home / "pictures.npz")["pictures"],
        Links(secret),
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


def forget(workdir: WorkDirectory, opened: Opened, number: int) -> None:
    """Deletes an observer's answers wherever they are; only counts and means stay.

    Args:
      workdir: The work directory.
      opened: The study.
      number: The observer's.

    Raises:
      UserError: If there is no such observer.
    """
    opened.answers.delete(number)
    for path in sorted((workdir.quiz / "returned").glob("*.json")):
        try:
            whose = records.read(path, static.Sheet).observer
        except UserError as error:  # It is none of anybody's, and must not keep the others.
            logging.warning("%s", error)
            continue
        if whose == opened.words.observer(number):
            path.unlink()
    for name in ("answers.json", "answers.csv"):  # The next score or export writes them anew.
        (workdir.quiz / name).unlink(missing_ok=True)
