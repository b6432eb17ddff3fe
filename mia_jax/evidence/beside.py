"""Two models of the same people beside each other: does one give away less of them?

Such as a model before and after a protection. Whatever differs between the two counts: their
training, and how they were attacked.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import scipy.stats

from mia_jax.evidence.results import Evaluation, Measure
from mia_jax.evidence.statistics import measure
from mia_jax.runtime.errors import UserError


@dataclasses.dataclass(frozen=True)
class Difference:
    """How a judge ranks the same people, by clones from one model and from another.

    Attributes:
      people: How many were attacked through both.
      classes: Among how many the judge chooses.
      here: A person's mean rank over the clones of one model, mean over people.
      there: The same of the other model.
      difference: Of here from there, above 0 where here gives away less.
      p_value: How often people who differ by chance alone would differ as much, in whichever
        direction: Wilcoxon's signed-rank test over people. 1 if nobody differs.
    """

    people: int
    classes: int
    here: float
    there: float
    difference: Measure
    p_value: float


@dataclasses.dataclass(frozen=True)
class Beside:
    """Everything in `beside.json`.

    Attributes:
      other: What the other model is called.
      judges: By judge who shares nothing with either model, and chooses among as many for both.
    """

    other: str
    judges: Mapping[str, Difference]


NOBODY = (
    "no independent judge saw the same people of both models, among as many others: audit both "
    "with the same photographs and the same judge"
)


def comparable(
    there: Evaluation, names: Sequence[str], strangers: Sequence[str], classes: int
) -> tuple[str, ...]:
    """Tells who of the judges of one model can judge another beside it.

    Args:
      there: The evaluation of the other model.
      names: Who is attacked through the one.
      strangers: Its judges who share nothing with it.
      classes: Among how many people they choose.

    Returns:
      Those who judged somebody of them there, as strangers and among as many.
    """
    return tuple(
        name
        for name in strangers
        if (each := there.judges.get(name)) is not None
        and not each.shares
        and each.classes == classes
        and {*names} & {*each.people}
    )


def compare(here: Evaluation, there: Evaluation, other: str) -> Beside:
    """Compares two evaluations person by person.

    Args:
      here: Of one model.
      there: Of the other.
      other: What to call that.

    Returns:
      What independent judges say.

    Raises:
      UserError: If there is no such judge, or nobody whom it judged in both.
    """
    found = {}
    for name, one in here.judges.items():
        if not comparable(there, [*one.people], [] if one.shares else [name], one.classes):
            continue
        two = there.judges[name]
        names = sorted({*one.people} & {*two.people})
        ranks = [
            np.array([_mean_rank(each.people[person].clones.cmc) for person in names])
            for each in (one, two)
        ]
        differences = ranks[0] - ranks[1]
        (difference,) = measure(list(differences[:, None, None]), [False])
        assert difference is not None
        test = scipy.stats.wilcoxon(differences).pvalue if differences.any() else 1.0
        mean_here, mean_there = (float(each.mean()) for each in ranks)
        found[name] = Difference(
            *(len(names), one.classes, mean_here, mean_there, difference, float(test))
        )
    if not found:
        raise UserError(NOBODY)
    return Beside(other, found)


def _mean_rank(cmc: Sequence[float]) -> float:
    """Returns the mean of the ranks of which this is the cumulative matching curve."""
    return float(len(cmc) + 1 - np.sum(cmc))
