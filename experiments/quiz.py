"""Asks people whom the clones show, and scores what they say: the paper's Table 3.

For example: python -m experiments.quiz serve --workdir=runs/orl

serve asks observers in their browsers, score says what their answers come to, export writes the
answers, or with --static the quiz as files, panels draws pictures for a judge that answers yes or
no, and delete deletes one observer's answers. See docs/quiz.md.
"""

import dataclasses
import pathlib

from absl import flags, logging

from experiments import (
    console,
    experiment,
    panel_files,
    path_flags,
    quiz_files,
    quiz_tables,
    stimuli,
)
from experiments.quiz_files import Opened, Wanted
from mia_jax import report
from mia_jax.evidence.study import Answers
from mia_jax.runtime import packages, records, storage
from mia_jax.runtime.errors import UserError
from mia_jax.runtime.workdir import WorkDirectory

flags.adopt_module_key_flags(experiment)
_PEOPLE = flags.DEFINE_integer(
    "people", 10, "How many attacked people to ask about, at most.", lower_bound=2, upper_bound=26
)
_CLONES = flags.DEFINE_integer("clones", 2, "How many clones of each to show.", lower_bound=1)
_CONTACT = flags.DEFINE_string("contact", "", "Whom observers may ask, for the first page.")
_SIMULATED = flags.DEFINE_bool(
    "simulated", False, "The observers are simulated, and are called so wherever they appear."
)
_OBSERVERS = flags.DEFINE_integer(
    "observers", 60, "How many observers to have links or files for.", lower_bound=1
)
_HOST = flags.DEFINE_string(
    "host", "127.0.0.1", "Address to listen at; by default nobody but this machine can connect."
)
_PORT = flags.DEFINE_integer(
    "port", 8000, "Port to listen at; 0 for any that is free.", lower_bound=0, upper_bound=65535
)
_URL = flags.DEFINE_string(
    "url",
    None,
    "What links start with, where a proxy stands before the server: https://..., and the path "
    "below which it puts the server, if it does.",
)
_STATIC = flags.DEFINE_bool("static", False, "Export the quiz as files, one for each observer.")
_ANSWERS = path_flags.define("answers", None, "Score this file of export, and nothing else.")
_OBSERVER = flags.DEFINE_integer("observer", None, "Whose answers to delete, by number.")
_RESAMPLING = 0  # Seed of intervals and tests.


def _opened(workdir: WorkDirectory) -> Opened:
    """Opens the study; makes its plan, and room for its observers, where they are not there."""
    wanted = Wanted(_PEOPLE.value, _CLONES.value, _CONTACT.value, _SIMULATED.value)

    def collect() -> tuple[stimuli.Stimuli, str]:
        experiment.need_protocol(workdir)
        loaded, roles = experiment.open_experiment(workdir)
        people = stimuli.people_of(workdir, roles, wanted.people)
        shown = stimuli.for_observers(workdir, loaded, roles, people, wanted.clones)
        return shown, stimuli.credit_of(workdir, loaded)

    given = [name for name in dataclasses.asdict(wanted) if flags.FLAGS[name].present]
    quiz_files.begin(workdir, wanted, given, collect)
    opened = quiz_files.open_study(workdir)
    opened.answers.invite(_OBSERVERS.value)
    return opened


def serve() -> None:
    """Asks observers until it is interrupted."""
    try:
        from experiments import quiz_server
    except ModuleNotFoundError as error:
        raise UserError(f"{error.name} is missing: {packages.hint('quiz')}") from None
    workdir = experiment.work_directory()
    listening = quiz_server.listen(_HOST.value, _PORT.value, _URL.value)
    quiz_server.serve(workdir, _opened(workdir), listening, _URL.value)


def export() -> None:
    """Writes all answers, or the quiz as files."""
    workdir = experiment.work_directory()
    if not _STATIC.value:
        answers = quiz_files.all_answers(workdir, quiz_files.open_study(workdir))
        quiz_tables.write_answers(workdir, answers)
        logging.info("The answers: %s", workdir.quiz / "answers.json")
        return
    from mia_jax.study import static

    opened = _opened(workdir)
    home = workdir.quiz / "static"
    for number in range(1, _OBSERVERS.value + 1):
        page = static.render(opened.plan, number, opened.images, opened.words)
        storage.write_bytes(home / f"observer-{number:03}.html", page.encode())
    logging.info("%d files in %s; what comes back goes to returned/", _OBSERVERS.value, home)


def score() -> None:
    """Says what the answers come to."""
    try:
        from mia_jax.evidence import observers
    except ModuleNotFoundError as error:
        raise UserError(f"{error.name} is missing: {packages.hint('quiz')}") from None
    workdir = experiment.work_directory()
    quiz_files.private(workdir.quiz)
    if _ANSWERS.value:
        answers = records.read(pathlib.Path(_ANSWERS.value), Answers)
    else:
        answers = quiz_files.all_answers(workdir, quiz_files.open_study(workdir))
        quiz_tables.write_answers(workdir, answers)
    found = observers.score(answers, _RESAMPLING, panel_files.judged(workdir, _RESAMPLING))
    quiz_tables.write_results(workdir, found)
    for sentence in report.study_sentences(found):
        logging.info("%s", sentence)
    logging.info("The results: %s", workdir.quiz_results)


def panels() -> None:
    """Draws panels for judges."""
    from mia_jax.study import panels as drawing

    workdir = experiment.work_directory()
    experiment.need_protocol(workdir)
    loaded, roles = experiment.open_experiment(workdir)
    people = stimuli.people_of(workdir, roles, _PEOPLE.value)
    shown = stimuli.for_panels(workdir, loaded, roles, people, _CLONES.value)
    panel_files.write(workdir, drawing.draw_all(shown, roles.seed))
    logging.info("The panels: %s; filled in, sheet.jsonl goes to judges/", workdir.quiz / "panels")


def delete() -> None:
    """Deletes one observer's answers."""
    if _OBSERVER.value is None:
        raise UserError("--observer is needed: the number in links.csv")
    workdir = experiment.work_directory()
    quiz_files.forget(workdir, quiz_files.open_study(workdir), _OBSERVER.value)
    logging.info("The answers of observer %d are deleted", _OBSERVER.value)


if __name__ == "__main__":
    console.run(
        {"serve": serve, "score": score, "export": export, "panels": panels, "delete": delete}
    )
