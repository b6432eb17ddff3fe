"""What observers answered and what it comes to, as files for other tools and for the report."""

import dataclasses
from typing import Any

from experiments import page
from mia_jax.evidence import study
from mia_jax.evidence.study import Answers, Figures, Study
from mia_jax.runtime import records, storage
from mia_jax.runtime.workdir import WorkDirectory

_KINDS = ("clones", "seeds", "mean_face", "others", "photographs")
_ANSWERS = ["simulated", "quiz", "observer", "item", "kind", "person", "named", "similarity"]
_RESULTS = ["simulated", "quiz", "person", *_KINDS, "low", "high", "d_prime", "p_value"]


def write_answers(workdir: WorkDirectory, answers: Answers) -> None:
    """Writes all answers, as JSON and as a table.

    Args:
      workdir: The work directory.
      answers: The answers.
    """
    records.write(workdir.quiz / "answers.json", answers)
    rows: list[dict[str, Any]] = []
    for row in answers.rows:
        quiz = study.RECOGNITION if isinstance(row, study.Recognized) else study.SIMILARITY
        fields = {"named": "", "similarity": "", **dataclasses.asdict(row)}
        rows.append({"simulated": answers.simulated, "quiz": quiz, **fields})
    storage.write_table(workdir.quiz / "answers.csv", rows, _ANSWERS)


def write_results(workdir: WorkDirectory, found: Study) -> None:
    """Writes what came out, and shows it in the report, if there is one.

    Args:
      workdir: The work directory.
      found: The figures.
    """
    records.write(workdir.quiz_results, found)
    rows: list[dict[str, Any]] = []
    for name, quiz in zip(study.QUIZZES, (found.recognition, found.similarity), strict=True):
        if quiz:
            rows.append(_row(found, name, "all", quiz.overall))
            rows += [_row(found, name, who, figures) for who, figures in quiz.people.items()]
    storage.write_table(workdir.quiz / "results.csv", rows, _RESULTS)
    evaluated = page.stored(workdir)
    if evaluated:
        page.write(workdir, *evaluated)


def _row(found: Study, quiz: str, person: str, figures: Figures) -> dict[str, Any]:
    """Arranges the figures of one quiz and person."""
    low, high = figures.clones.interval or ("", "")
    means = {kind: getattr(figures, kind).value for kind in _KINDS}
    about = {"simulated": found.simulated, "quiz": quiz, "person": person}
    tested = {"d_prime": figures.d_prime, "p_value": figures.p_value}
    return {**about, **means, "low": low, "high": high, **tested}
