"""What observers answered in the quizzes of section 5, and what it comes to, as dataclasses.

Two quizzes, as in the paper. *Recognition*: one picture, a photograph of each person, "which
person is this?". *Similarity*: a picture beside a photograph, from 0 to 100. An observer does not
know that some pictures are no clones: those show what is reached without a leak, and with a perfect
likeness.

Answers are rows that need nothing else to be scored (`observers.score`), so that they can be handed
to a reviewer. No row holds a name, an address or a time of an observer, only a number.

Source: section 5 and Table 3.
"""

import dataclasses
from collections.abc import Mapping

from mia_jax.evidence.results import Measure

RECOGNITION, SIMILARITY = QUIZZES = ("recognition", "similarity")
CLONE, SEED, MEAN_FACE, OTHERS = "clone", "seed", "mean face", "clone of somebody else"
PHOTOGRAPH, CHECK = "photograph", "attention check"
NULLS = (SEED, MEAN_FACE, OTHERS)  # They know nothing of the person.


@dataclasses.dataclass(frozen=True)
class Recognized:
    """One observer's answer to one item of the recognition quiz.

    Attributes:
      observer: The observer's number.
      item: The item's name.
      kind: What the picture is: `CLONE`, `SEED`, `MEAN_FACE`, `PHOTOGRAPH` or `CHECK`.
      person: Whom it shows, or at whom it was aimed; None where it is nobody.
      named: Whom the observer named; None for "can't tell".
    """

    observer: int
    item: str
    kind: str
    person: str | None
    named: str | None


@dataclasses.dataclass(frozen=True)
class Compared:
    """One observer's answer to one item of the similarity quiz.

    Attributes:
      observer: The observer's number.
      item: The item's name.
      kind: What the picture is: one of all kinds.
      person: Whom the photograph beside it shows.
      similarity: From 0 to 100.
    """

    observer: int
    item: str
    kind: str
    person: str
    similarity: int


Row = Recognized | Compared


@dataclasses.dataclass(frozen=True)
class Rule:
    """Which observers count, set down before the first answer.

    An observer counts in a quiz who answered all of its items, and failed no more checks, of both
    quizzes, than are allowed. A check shows a photograph beside itself: it is failed by naming
    anybody else, or by a similarity below the least.

    Attributes:
      least_similarity: Of a photograph with itself.
      most_failed: The most checks that an observer who counts may fail.
    """

    least_similarity: int
    most_failed: int


@dataclasses.dataclass(frozen=True)
class Answers:
    """Everything in `quiz/answers.json`.

    Attributes:
      plan: Digest of the plan by which the observers were asked.
      simulated: Whether the observers are simulated, and no people.
      people: The people to choose among, in a fixed order.
      items: How many items each quiz has, by its name.
      rule: Which observers count.
      recognition: The answers of the recognition quiz.
      similarity: Those of the similarity quiz.
    """

    plan: str
    simulated: bool
    people: tuple[str, ...]
    items: Mapping[str, int]
    rule: Rule
    recognition: tuple[Recognized, ...]
    similarity: tuple[Compared, ...]

    @property
    def rows(self) -> tuple[Row, ...]:
        """The answers of both quizzes."""
        return (*self.recognition, *self.similarity)


@dataclasses.dataclass(frozen=True)
class Difference:
    """How much more clones reach than a control, and whether chance explains it.

    Attributes:
      value: The mean difference, in [-1, 1], with its interval over observers and people, or
        over observers for one person.
      p_observers: How often as large a mean comes out when each observer's difference changes its
        sign by chance, for these clones.
      p_people: The same of each person's difference: it speaks for other people, and cannot be
        below 1 / 2^people. None for one person.
    """

    value: Measure
    p_observers: float
    p_people: float | None


@dataclasses.dataclass(frozen=True)
class Figures:
    """What observers make of the pictures of one person, or of all; all values in [0, 1].

    In the recognition quiz a value is the share of the answers that name the person, and "can't
    tell" names nobody; in the similarity quiz it is the mean similarity, 1 for 100.

    Attributes:
      clones: Of the clones.
      seeds: Of the images from which attacks start.
      mean_face: Of the mean face.
      others: Of clones that are aimed at somebody else.
      photographs: Of photographs of the person that trained nothing: the ceiling.
      d_prime: How far clones are from the three controls in standard deviations of what the
        observer perceives; None where the answers do not vary.
      differences: Clones minus each control, by its kind.
      p_value: The largest of all p-values of the differences; of one person it is corrected for
        the number of people by Holm's method.
    """

    clones: Measure
    seeds: Measure
    mean_face: Measure
    others: Measure
    photographs: Measure
    d_prime: float | None
    differences: Mapping[str, Difference]
    p_value: float


@dataclasses.dataclass(frozen=True)
class Quiz:
    """What came out of one quiz.

    Attributes:
      observers: How many observers count in it.
      incomplete: How many began it, passed the checks that they saw, and did not answer all.
      chance: What guessing reaches on average; None for the similarity quiz, where nobody knows.
      overall: Of all people, the mean over answers.
      people: Of each person.
      alpha: Krippendorff's alpha of the observers over all items but checks: 1 where all agree, 0
        where they do as by chance; None for one observer, or where all answers are the same.
      undecided: Share of the clones answered with "can't tell"; None for the similarity quiz.
    """

    observers: int
    incomplete: int
    chance: float | None
    overall: Figures
    people: Mapping[str, Figures]
    alpha: float | None
    undecided: float | None


@dataclasses.dataclass(frozen=True)
class Asked:
    """What a judge, a person or a model, said to panels: a picture beside photographs, yes or no.

    Attributes:
      panels: How many panels of clones there are.
      unclear: How many panels of any kind got neither yes nor no; they count as no.
      sensitivity: Share of yes for real photographs of the person.
      specificity: Share of no for real photographs of others.
      said: Share of yes for clones.
      corrected: What share of the clones shows the person, by the judge's errors on photographs:
        (said + specificity - 1) / (sensitivity + specificity - 1), within [0, 1]; None for a
        judge who does no better than chance on photographs.
      people: Share of yes for the clones of each person.
    """

    panels: int
    unclear: int
    sensitivity: Measure
    specificity: Measure
    said: Measure
    corrected: Measure | None
    people: Mapping[str, float]


@dataclasses.dataclass(frozen=True)
class Study:
    """Everything in `quiz/results.json`.

    Attributes:
      plan: Digest of the plan by which the observers were asked.
      simulated: Whether the observers are simulated, and no people.
      began: How many observers answered anything.
      excluded: How many of these failed too many attention checks.
      rule: Which observers count.
      recognition: None where nobody counts.
      similarity: None where nobody counts.
      judges: What judges said to panels, by the judge's name.
    """

    plan: str
    simulated: bool
    began: int
    excluded: int
    rule: Rule
    recognition: Quiz | None
    similarity: Quiz | None
    judges: Mapping[str, Asked]
