"""An evaluation beside that of another work directory: did a protection help?"""

from collections.abc import Sequence

from absl import logging

from experiments import path_flags
from mia_jax.evidence import beside, verdict
from mia_jax.evidence.results import Evaluation
from mia_jax.runtime import records
from mia_jax.runtime.errors import UserError
from mia_jax.runtime.workdir import WorkDirectory

_BESIDE = path_flags.define(
    "beside",
    None,
    "The work directory of another model that was audited with the same photographs and judges, "
    "such as the one without protection: says which of the two gives away less.",
)


def check(names: Sequence[str], strangers: Sequence[str], classes: int) -> None:
    """Refuses a work directory of which nothing could be said, before compute is spent.

    Args:
      names: Who is attacked here.
      strangers: The judges here who share nothing with the target.
      classes: Among how many people they choose.

    Raises:
      UserError: If it is not evaluated, or nobody judged the same people there.
    """
    if not _BESIDE.value:
        return
    if not WorkDirectory(_BESIDE.value).evaluation.exists():
        raise UserError(f"--beside={_BESIDE.value} holds no evaluation yet: audit that model first")
    there = records.read(WorkDirectory(_BESIDE.value).evaluation, Evaluation)
    found = beside.comparable(there, names, strangers, classes)
    if not found:
        raise UserError(f"--beside={_BESIDE.value}: {beside.NOBODY}")


def say(workdir: WorkDirectory) -> None:
    """Says which of two models gives away less, and writes it down, where the flag asks for it.

    Args:
      workdir: The work directory, evaluated.

    Raises:
      UserError: If nobody judged the same people of both.
    """
    if not _BESIDE.value:
        return
    other = WorkDirectory(_BESIDE.value)
    here, there = (records.read(each.evaluation, Evaluation) for each in (workdir, other))
    found = beside.compare(here, there, other.root.name)
    records.write(workdir.beside, found)
    for judge, each in found.judges.items():
        word = "less" if each.difference.value > 0 else "more"
        if each.p_value > verdict.LEVEL:
            word = "neither more nor less, as far as so few people can tell"
        logging.info(
            "Beside %s this model gives away %s: the judge %s ranks %d people %.1f of %d on "
            "average here and %.1f there (p = %.2g)",
            *(_BESIDE.value, word, judge, each.people),
            *(each.here, each.classes, each.there, each.p_value),
        )
