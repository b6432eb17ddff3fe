"""A target that may only be asked: one way to it for all stages, with a budget for each.

<workdir>/asked.sqlite   every answer, so that none is paid for twice; how many pictures were shown
<workdir>/asked.json     how many, for the report

Admission, attack and evaluation may each show so many pictures, those of calls that fail and are
repeated apart. All of it is said before anything is asked.
"""

import functools
import hashlib
import inspect
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from absl import flags, logging

from experiments.scenarios import Method
from experiments.trained import Trained
from mia_jax.attack import selection
from mia_jax.faces.protocol import TARGET, Protocol
from mia_jax.recognizer.importers import functions
from mia_jax.runtime import records
from mia_jax.runtime.asking import Budget, Caller
from mia_jax.runtime.errors import UserError
from mia_jax.runtime.ledger import REPEATED, Asked, Ledger, Line
from mia_jax.runtime.workdir import WorkDirectory

ADMISSION, ATTACK, EVALUATION = "admission", "attack", "evaluation"
_USUAL = Budget(queries=0, retries=3)
_BATCH = flags.DEFINE_integer(
    "query_batch",
    _USUAL.batch,
    "Images in a call of a model that may only be asked, at most; half as many where it answers "
    "that they are too many.",
    1,
)
_RATE = flags.DEFINE_float("query_rate", None, "Images a second that it is shown, at most.", 0.001)
_TIMEOUT = flags.DEFINE_float("query_timeout", None, "Seconds that a call may take.", 0.001)
_RETRIES = flags.DEFINE_integer(
    "query_retries",
    _USUAL.retries,
    "How often a call without a usable answer is repeated, after waiting; it counts again.",
    0,
)
MANNERS = (_BATCH, _RATE, _TIMEOUT, _RETRIES)
_ADMISSION = flags.DEFINE_integer(
    "admission_queries",
    None,
    "How many images a model that may only be asked is shown before it is attacked: by default the "
    "gallery's, and samples of them prepared in other ways if it does not know its people.",
    1,
)
_EVALUATION = flags.DEFINE_integer(
    "evaluation_queries",
    None,
    "How many it is shown when its clones are judged: by default each clone and 16 views of it, "
    "its seed and the test photographs. With fewer, there are fewer views.",
    1,
)
_REPEATED = flags.DEFINE_integer(
    "repeated_queries",
    None,
    "How many more it is shown in calls that fail and are repeated; by default a tenth of the "
    "rest, or two calls.",
    0,
)
_REMEDIES = {
    ADMISSION: "give more with --admission_queries",
    ATTACK: "give more with --queries",
    EVALUATION: "give more with --evaluation_queries",
}
SAMPLE = 128  # Photographs that are shown in each other preparation, those enrolled included.
_OTHER_WAYS = 10  # The most other preparations: `preprocessing.alternatives` and `aligned`.
_LOOKS = 32  # Auxiliary faces by which `check_model` looks at a model, and more.


def manners(target: Trained | None = None) -> Budget:
    """Returns how a model may be asked, of no query yet.

    Args:
      target: The target; one that may only be asked keeps the pace and repeats itself, so that the
        rest is told nothing but the batch.
    """
    if target is not None and target.remote is not None:
        return Budget(queries=0, batch=_BATCH.value)
    return _USUAL._replace(
        batch=_BATCH.value,
        rate=_RATE.value,
        retries=_RETRIES.value,
        timeout=_TIMEOUT.value,
    )


def check_unused() -> None:
    """Refuses budgets for a target with weights, of which there is none to keep.

    Raises:
      UserError: If one was given.
    """
    for flag in (_ADMISSION, _EVALUATION, _REPEATED):
        if flag.value is not None:
            raise UserError(
                f"--{flag.name} has no effect on weights: it is for --model=module:function that "
                "may only be asked"
            )


def line(
    workdir: WorkDirectory, name: str, answer: Callable[[np.ndarray], Any], purpose: str
) -> Line:
    """Opens the one way to a model that may only be asked.

    Args:
      workdir: The work directory, which remembers.
      name: The model's, module:function.
      answer: The model.
      purpose: What it is asked for.

    Returns:
      The line.

    Raises:
      UserError: If several processes would ask.
    """
    if jax.process_count() > 1:
        raise UserError("a model that may only be asked is asked from one process")
    caller = _caller(str(workdir.root), answer, manners())
    return Line(
        caller, _ledger(str(workdir.root)), _identity(name, answer), purpose, _REMEDIES[purpose]
    )


def through(workdir: WorkDirectory, target: Trained, purpose: str) -> Trained:
    """Lets a target be asked for a purpose, if it may only be asked.

    Args:
      workdir: The work directory.
      target: The target.
      purpose: What it is asked for.

    Returns:
      The target, whose functions ask.
    """
    if target.remote is None:
        return target
    way = line(workdir, target.remote.name, target.remote.answer, purpose)
    return target.remote.through(way.ask)


def budget_of_admission(photographs: int) -> int:
    """Says how many pictures a model may be shown before it is attacked.

    Args:
      photographs: Of the people whom it may know.

    Returns:
      How many.

    Raises:
      UserError: If --admission_queries does not hold what is looked at in any case.
    """
    least = photographs + _LOOKS
    allowed = _ADMISSION.value or least + _OTHER_WAYS * min(photographs, SAMPLE)
    if allowed < least:
        raise UserError(
            f"--admission_queries={allowed} is too few: {photographs} photographs of --gallery_dir "
            f"and {_LOOKS} other faces take {least}"
        )
    return allowed


def affordable(line: Line, photographs: int) -> int:
    """Says in how many other preparations a sample may be shown, beside the photographs.

    Args:
      line: The way to the model.
      photographs: Of the people whom it may know.

    Returns:
      How many.
    """
    return max(0, line.left - photographs) // min(photographs, SAMPLE)


def budget_of_evaluation(tests: Sequence[int], restarts: int) -> tuple[int, int]:
    """Says how many pictures a model may be shown when its clones are judged.

    Args:
      tests: Test photographs of each attacked person.
      restarts: Clones of each.

    Returns:
      How many, and how many views of each clone are among them.

    Raises:
      UserError: If --evaluation_queries does not hold what is looked at once.
    """
    clones = len(tests) * restarts
    once = sum(tests) + 2 * clones + 1  # Clones, their seeds, and the mean face.
    allowed = _EVALUATION.value or once + selection.VIEW_COUNT * clones
    if allowed < once:
        raise UserError(
            f"--evaluation_queries={allowed} is too few: {clones} clones, as many seeds, "
            f"{sum(tests)} test photographs and the mean face take {once}"
        )
    return allowed, min(selection.VIEW_COUNT, (allowed - once) // clones)


def plan(
    workdir: WorkDirectory, wanted: Method, roles: Protocol, names: Sequence[str], restarts: int
) -> None:
    """Sets the budgets of a whole audit.

    Args:
      workdir: The work directory.
      wanted: How the target is attacked.
      roles: Who is who.
      names: Whom to attack.
      restarts: Clones of each.

    Raises:
      UserError: If --evaluation_queries is too few.
    """
    divisions = (roles.training[TARGET], roles.validation, roles.test)
    photographs = sum(len(some[name]) for some in divisions for name in roles.targeted)
    tests = [len(roles.test[name]) for name in names if name in roles.test]
    budgets = {
        ADMISSION: budget_of_admission(photographs),
        ATTACK: budget_of_attack(workdir, wanted, names),
        EVALUATION: budget_of_evaluation(tests, restarts)[0],
    }
    allow(workdir, budgets)


def budget_of_attack(workdir: WorkDirectory, wanted: Method, names: Sequence[str]) -> int:
    """Says how many pictures a model may be shown when it is attacked.

    Args:
      workdir: The work directory, where others may be attacked already.
      wanted: How.
      names: Whom to attack.

    Returns:
      How many, those shown for the others included.
    """
    attacked = {workdir.clones_of(name) for name in names} | {*workdir.clones.glob("*.npz")}
    return wanted.asks(len(attacked))


def views_of(
    workdir: WorkDirectory, target: Trained, roles: Protocol, names: Sequence[str], restarts: int
) -> int:
    """Sets the budget of an evaluation of a target that may only be asked.

    Args:
      workdir: The work directory.
      target: The target.
      roles: Who is who.
      names: The attacked people.
      restarts: Clones of each.

    Returns:
      Of how many views of each clone it is asked.

    Raises:
      UserError: If --evaluation_queries is too few.
    """
    if target.remote is None:
        return selection.VIEW_COUNT
    allowed, views = budget_of_evaluation([len(roles.test[name]) for name in names], restarts)
    allow(workdir, {EVALUATION: allowed}, said=True)
    if views < selection.VIEW_COUNT:
        logging.info("Of each clone %d views are shown, not %d", views, selection.VIEW_COUNT)
    return views


def allow(workdir: WorkDirectory, budgets: Mapping[str, int], said: bool = False) -> None:
    """Sets budgets, and says what they come to.

    Args:
      workdir: The work directory.
      budgets: Pictures by purpose; what is not among them stays.
      said: Whether it was said before, so that only what changes it is worth a word.
    """
    ledger = _ledger(str(workdir.root))
    before = ledger.asked().allowed
    for purpose, pictures in budgets.items():
        ledger.allow(purpose, pictures)
    purposes = ledger.asked().purposes
    rest = {name: count.allowed for name, count in purposes.items() if name != REPEATED}
    usual = max(2 * _BATCH.value, sum(rest.values()) // 10)
    ledger.allow(REPEATED, usual if _REPEATED.value is None else _REPEATED.value)
    found = ledger.asked()
    if said and found.allowed == before:
        return
    logging.info(
        "The model will be asked about %d pictures at most: %s, and %d more in calls that fail; so "
        "far it was asked about %d",
        found.allowed,
        ", ".join(f"{pictures} for the {name}" for name, pictures in rest.items()),
        found.purposes[REPEATED].allowed,
        found.shown,
    )


def extend(workdir: WorkDirectory, pictures: int) -> None:
    """Lets another attack ask, beside those before.

    Args:
      workdir: The work directory.
      pictures: How many.
    """
    shown = _ledger(str(workdir.root)).count(ATTACK).shown
    allow(workdir, {ATTACK: shown + pictures})


def write(workdir: WorkDirectory) -> Asked | None:
    """Writes down how often the model was asked, and says it.

    Args:
      workdir: The work directory.

    Returns:
      How often; None of a model that is not only asked.
    """
    if not workdir.answers.exists():
        return None
    found = _ledger(str(workdir.root)).asked()
    records.write(workdir.asked, found)
    logging.info("The model was asked about %d pictures in all, of %d", found.shown, found.allowed)
    return found


@functools.cache
def _ledger(root: str) -> Ledger:
    """Opens a work directory's memory, once in a process."""
    return Ledger(WorkDirectory(root).answers)


@functools.cache  # All stages share its pace.
def _caller(root: str, answer: Callable[[np.ndarray], Any], limits: Budget) -> Caller:
    """Makes the one who calls a model."""
    del root
    return Caller(answer, limits, functions.outputs)


def _identity(name: str, answer: Callable[[np.ndarray], Any]) -> str:
    """Tells one model from another: by its name, and by what the function's file holds."""
    function: Any = inspect.unwrap(answer)
    while isinstance(function, functools.partial):
        function = function.func
    if not inspect.isroutine(function):
        function = type(function)
    try:
        source = pathlib.Path(inspect.getfile(function)).read_bytes()
    except (TypeError, OSError):
        source = b""
    return f"{name} {hashlib.sha256(source).hexdigest()}"
