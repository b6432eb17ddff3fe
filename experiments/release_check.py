"""The evaluation as a release check: an exit code that says what was found."""

from absl import flags, logging

from experiments import console, panel
from mia_jax.evidence import power, results, verdict
from mia_jax.evidence.results import Evaluation
from mia_jax.report import verdicts
from mia_jax.report.formats import full_sentence
from mia_jax.runtime import packages, records
from mia_jax.runtime.errors import UserError
from mia_jax.runtime.workdir import WorkDirectory

CODES = {results.IDENTIFIED: 3, results.LEAK: 4, results.INCONCLUSIVE: 5}  # The gravest first.
_FAIL_ON = flags.DEFINE_list(
    "fail_on",
    [*CODES],
    "End with an exit code of its own if this is found: identified (3), independent judges "
    "identify somebody; leak (4), somebody is at least narrowed down, or clones and people belong "
    "together over all people at once; inconclusive (5), of somebody nothing can be said. Of "
    "several the first of these counts, and each has its sentence. --fail_on= for never.",
)


def check_judges(wanted: panel.Wanted) -> None:
    """Refuses a release check that could not fail, and levels that there are not.

    Args:
      wanted: Who is to judge.

    Raises:
      UserError: If --fail_on names no finding, or asks for the word of independent judges alone,
        and there are none.
    """
    for name in _FAIL_ON.value:
        if name not in CODES:
            raise UserError(
                f"--fail_on={name} is nothing that is found: choose from {', '.join(CODES)}, or "
                "--fail_on= for never"
            )
    if _could_pass_unseen() and not wanted.embedders:
        raise UserError(
            f"--fail_on={','.join(_FAIL_ON.value)} needs a judge that shares nothing with the "
            f"target: {packages.hint('judge')}, or {panel.OWN}"
        )


def check_power(people: int, attacked: int, restarts: int) -> None:
    """Says how likely a leak is to be found, and refuses a release check that could not fail.

    Args:
      people: How many there are in the data set, without those whose faces the attacker has.
      attacked: How many are attacked.
      restarts: Clones of each.

    Raises:
      UserError: If --fail_on could not fail.
    """
    for doubt in verdict.doubts_of_numbers(attacked, people):
        if _could_pass_unseen():
            raise UserError(f"--fail_on={','.join(_FAIL_ON.value)} cannot fail: {doubt}")
        logging.warning("%s", full_sentence(doubt))
        return
    logging.info(
        "With %d restarts of %d people, and %d to choose among, a leak of one of them that puts "
        "the set first %.0f%% of the time is found with a power of %.2f",
        *(restarts, attacked, people, 100 * power.REFERENCE),
        power.expected(attacked, people, restarts),
    )


def end(workdir: WorkDirectory) -> None:
    """Ends with the exit code of the gravest finding that --fail_on names, and says all of them.

    Args:
      workdir: The work directory, evaluated.
    """
    found = verdicts.findings(records.read(workdir.evaluation, Evaluation))
    asked = [finding for finding in found if finding in _FAIL_ON.value]
    for finding in found:
        if finding not in asked:
            logging.warning(
                "%s (--fail_on=%s would end with exit code %d)",
                *(found[finding], finding, CODES[finding]),
            )
    if asked:
        said = " ".join(full_sentence(found[finding]) for finding in asked)
        console.end(f"{said} (exit code {CODES[asked[0]]}, by --fail_on)", CODES[asked[0]])


def _could_pass_unseen() -> bool:
    """Tells whether the check could pass although nothing could have been found."""
    return bool(_FAIL_ON.value) and results.INCONCLUSIVE not in _FAIL_ON.value
