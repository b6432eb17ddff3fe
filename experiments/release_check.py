"""The evaluation as a release check: an exit code that says what the verdict is."""

from absl import flags, logging

from experiments import console, panel
from mia_jax.evidence import results, significance, verdict
from mia_jax.evidence.results import Evaluation
from mia_jax.runtime import packages, records
from mia_jax.runtime.errors import UserError, list_some
from mia_jax.runtime.workdir import WorkDirectory

_FAIL_ON = flags.DEFINE_enum(
    "fail_on",
    results.NO_EVIDENCE,
    [results.RECOGNIZABLE, results.NAMED, results.NO_EVIDENCE],
    f"End with exit code 3 if a person's verdict is that: {results.RECOGNIZABLE} to strangers, or "
    f"{results.NAMED} right at least; {results.NO_EVIDENCE} for never.",
)
_FOUND = 3  # The exit code.


def check_judges(wanted: panel.Wanted) -> None:
    """Refuses a release check that could not fail.

    Args:
      wanted: Who is to judge.

    Raises:
      UserError: If --fail_on asks for the word of strangers, and there are none.
    """
    if _FAIL_ON.value == results.RECOGNIZABLE and not wanted.embedders:
        raise UserError(
            "--fail_on=recognizable needs a judge that is a stranger to the target: "
            f"{packages.hint('judge')}, or name your own as --judge=module:function"
        )


def check_power(people: int, attacked: int, restarts: int) -> None:
    """Says where nobody can be found recognizable, and refuses a release check on that.

    Args:
      people: How many there are in the data set.
      attacked: How many are attacked.
      restarts: Clones of each.

    Raises:
      UserError: If --fail_on=recognizable could not fail.
    """
    if significance.least_p_value(attacked, people, restarts) <= verdict.LEVEL:
        return
    sentence = (
        f"{people} people in the data set and {restarts} restarts of {attacked} are too few for "
        "anybody to be found recognizable: 21 people and 7 restarts are enough"
    )
    if _FAIL_ON.value == results.RECOGNIZABLE:
        raise UserError(f"--fail_on=recognizable cannot fail: {sentence}")
    logging.warning("%s", sentence)


def end(workdir: WorkDirectory) -> None:
    """Ends with exit code 3 if somebody's verdict is what --fail_on names, or worse.

    Args:
      workdir: The work directory, evaluated.
    """
    grave = {
        results.RECOGNIZABLE: [results.RECOGNIZABLE],
        results.NAMED: [results.RECOGNIZABLE, results.NAMED],
        results.NO_EVIDENCE: [],
    }[_FAIL_ON.value]
    found = records.read(workdir.evaluation, Evaluation).verdict
    names = [name for name, each in found.items() if each.level in grave]
    if names:
        console.end(f"--fail_on={_FAIL_ON.value}: {list_some(names)}", _FOUND)
