"""Whether a model knows the people whom it is said to know, by photographs of them.

A model that names its own people no better than chance is not what it is said to be: its pictures
are prepared in another way, or its classes are other people. Both are tried, so as to say which.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import scipy.optimize
import scipy.special
import scipy.stats

from mia_jax.runtime.errors import UserError

Show = Callable[[np.ndarray], np.ndarray]

LEVEL = 1e-3  # Of the test that a model does better than chance.
_RELABELED = "with its classes given to other people"
AS_FEATURES = "as features (--returns=features)"
_REASONS = {
    _RELABELED: "most likely --labels names its classes in another order",
    AS_FEATURES: "it tells them apart as features, so it is an embedder (give --returns=features), "
    "or a classifier of other people",
}
_POOR, _WELL = 1 / 3, 0.9  # Who names so few right, and another way so many, was told wrong.
_ENOUGH = 0.1  # By how much an alternative has to name more photographs right to be worth a word.
_PEOPLE, _PHOTOGRAPHS = 16, 64  # Of a sample, at most.


class Acquaintance(NamedTuple):
    """How many photographs a model names right.

    Attributes:
      right: How many.
      total: Of how many.
      chance: The rate of a model whose answers have nothing to do with who is on a photograph, and
        are given as often.
      p_value: How often such a model names as many right.
    """

    right: int
    total: int
    chance: float
    p_value: float

    @property
    def rate(self) -> float:
        """The fraction named right."""
        return self.right / self.total

    @property
    def known(self) -> bool:
        """Whether the model does better than chance."""
        return self.p_value < LEVEL


def measure(scores: np.ndarray, labels: np.ndarray) -> Acquaintance:
    """Counts the photographs that a model names right.

    Args:
      scores: `[n, classes]`: logits, probabilities or similarities.
      labels: `[n]`, the class of the person on each.

    Returns:
      What was counted. Values that are not finite count as wrong.
    """
    finite = np.isfinite(scores).all(axis=1)
    answers = np.where(finite, np.argmax(scores, axis=1), -1)
    right = int(np.sum(answers == labels))
    classes = scores.shape[1]
    given = np.bincount(answers[finite], minlength=classes) / len(labels)
    chance = float(np.sum(given * np.bincount(labels, minlength=classes) / len(labels)))
    p_value = float(scipy.stats.binom.sf(right - 1, len(labels), chance)) if right else 1.0
    return Acquaintance(right, len(labels), chance, p_value)


def ask(scores: np.ndarray, people: np.ndarray) -> np.ndarray:
    """Asks a model which class each person is: the assignment of most confidence.

    Args:
      scores: `[n, classes]`, of photographs; logits.
      people: `[n]`, who is on each, from 0, every number in use.

    Returns:
      `[people]`, the class of each, no class twice.

    Raises:
      UserError: If there are more people than classes.

    Source: H. Kuhn, "The Hungarian method for the assignment problem", 1955.
    """
    count, classes = int(people.max()) + 1, scores.shape[1]
    if count > classes:
        raise UserError(
            f"the gallery has {count} people and the model {classes} classes: leave those out whom "
            "it does not know, or say with --labels who its classes are"
        )
    confidences = scipy.special.log_softmax(scores, axis=1)
    means = np.stack([confidences[people == person].mean(axis=0) for person in range(count)])
    _, found = scipy.optimize.linear_sum_assignment(
        np.nan_to_num(means, neginf=-1e9), maximize=True
    )
    return found


def named(scores: np.ndarray, people: np.ndarray, classes: np.ndarray | None) -> Acquaintance:
    """Counts the photographs of its own people that a model names right.

    Args:
      scores: `[n, classes]`, of photographs.
      people: `[n]`, who is on each, from 0, every number in use.
      classes: `[people]`, the class of each person; None to ask the model about every other
        photograph of each, and count the rest.

    Returns:
      What was counted.

    Raises:
      UserError: If the model is asked, and there are more people than classes.
    """
    if classes is not None:
        return measure(scores, classes[people])
    asked = alternate(people)
    return measure(scores[~asked], ask(scores[asked], people[asked])[people[~asked]])


def check(
    show: Show,
    people: np.ndarray,
    classes: np.ndarray | None,
    alternatives: Mapping[str, Show],
) -> tuple[Acquaintance, tuple[str, ...]]:
    """Refuses a model that knows its own people no better than chance, with the likely reason.

    The alternatives are looked at only where one could name more photographs right by a tenth of
    them, and on a sample, beside which the model is measured again.

    Args:
      show: From positions `[m]` of photographs of its people, prepared as was said, to scores
        `[m, classes]`.
      people: `[n]`, who is on each photograph, from 0, every number in use.
      classes: `[people]`, which class is whose, as somebody said; None to ask the model.
      alternatives: By what to call it, the same of photographs prepared in another way; or of
        answers that are taken `AS_FEATURES`.

    Returns:
      How well the model knows them, and warnings: where a usual alternative does much better.

    Raises:
      UserError: If it does not know them, naming everything that was tried and what came of it; if
        it knows them better by features; or if it knows few of them, and nearly all the other way.
    """
    scores = show(np.arange(len(people)))
    found = named(scores, people, classes)
    if found.known and found.rate + _ENOUGH >= 1:
        return found, ()
    few = sample(people)
    asked, own = np.unique(people[few], return_inverse=True)
    places = None if classes is None else classes[asked]
    before, *rest = (named(each(few), own, places) for each in (show, *alternatives.values()))
    others = dict(zip(alternatives, rest, strict=True))
    if classes is not None and not found.known and len(people) >= 2 * len(classes):
        others[_RELABELED] = named(scores, people, None)
    best = max(others, key=lambda name: others[name].rate, default="")
    if found.known:
        better = bool(best) and others[best].rate > before.rate + _ENOUGH
        if better and best == AS_FEATURES:
            raise UserError(
                f"the model names {_spell(before)} right by its largest output, and "
                f"{_spell(others[best])} {best}: say with --returns what they are, features or "
                "logits"
            )
        if better and before.rate < _POOR and others[best].rate >= _WELL:
            raise UserError(
                f"the model names {_spell(before)} right as its pictures are said to be, and "
                f"{_spell(others[best])} {best}: an attack on the former would say nothing of "
                "it, so say what is meant"
            )
        warning = (
            f"the model names {_spell(before)} right as its pictures are said to be, and "
            f"{_spell(others[best])} {best}: check which is meant"
            if better
            else ""
        )
        return found, (warning,) * better
    reason = "none of these explains it: check the labels, the crop, and whose model it is"
    if best and others[best].known:
        reason = _REASONS.get(best, f"most likely its pictures are meant {best}")
    tried = "; ".join(f"{name}: {each.right} of {each.total}" for name, each in others.items())
    raise UserError(
        f"the model names {_spell(found)} of its own people right, no better than chance "
        f"({found.chance:.0%}): {reason} (tried {tried})"
    )


def sample(people: np.ndarray) -> np.ndarray:
    """Takes a few photographs of a few people.

    Args:
      people: `[n]`, who is on each.

    Returns:
      The positions of at most 64, in order: all of them; or of 16 people at most, as even in number
      as can be.
    """
    if len(people) <= _PHOTOGRAPHS:
        return np.arange(len(people))
    everybody = np.unique(people)
    evenly = np.linspace(0, len(everybody) - 1, min(_PEOPLE, len(everybody))).astype(int)
    own = [np.flatnonzero(people == person) for person in everybody[evenly]]
    turns = [(turn, place) for each in own for turn, place in enumerate(each)]
    return np.sort([place for _, place in sorted(turns)[:_PHOTOGRAPHS]])


def alternate(people: Sequence[int] | np.ndarray) -> np.ndarray:
    """Takes every other photograph of each person, the first among them.

    Args:
      people: `[n]`, who is on each.

    Returns:
      bool `[n]`.
    """
    numbers = np.asarray(people)
    taken = np.zeros(len(numbers), bool)
    for person in np.unique(numbers):
        taken[np.flatnonzero(numbers == person)[::2]] = True
    return taken


def _spell(found: Acquaintance) -> str:
    """Writes how many photographs were named right."""
    return f"{found.right} of {found.total} photographs"
