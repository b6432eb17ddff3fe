"""What observers are asked, and in which order: the plan of a study, made before the first answer.

All observers see the same items, each in an order of their own, in which every item comes once at
every place, and once after every other item, over as many observers as there are items (over twice
as many where their number is odd). Recognition comes first: in the similarity quiz an observer
would see which clone stands beside whom.
"""

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from mia_jax.evidence import study
from mia_jax.evidence.study import Answers, Compared, Recognized, Rule
from mia_jax.faces.protocol import shuffled
from mia_jax.runtime import records
from mia_jax.runtime.errors import UserError
from mia_jax.study import pictures

RULE = Rule(least_similarity=80, most_failed=1)
CONSENT, PRACTICE = "consent", "practice"
AGREED, CANNOT_TELL = "agreed", "none"
SCALE = tuple(str(value) for value in range(0, 101, 10))
_SEEDS = 3  # In the recognition quiz: they all look alike, and belong to nobody.
_CHECKS = 2  # In each quiz.


class Stimuli(NamedTuple):
    """The pictures of a study, all `[..., height, width, channels]` in [0, 1].

    Attributes:
      people: Names.
      references: `[people, ...]`: the photograph of each to compare with.
      photographs: `[people, ...]`: another one, that trained nothing.
      clones: `[people, clones, ...]`.
      seeds: `[people, ...]`: where an attack on each started.
      mean_face: One picture.
    """

    people: tuple[str, ...]
    references: np.ndarray
    photographs: np.ndarray
    clones: np.ndarray
    seeds: np.ndarray
    mean_face: np.ndarray


@dataclasses.dataclass(frozen=True)
class Item:
    """A question.

    Attributes:
      name: Its name, which no observer sees.
      quiz: "recognition" or "similarity".
      kind: What the picture is, of `evidence.study`.
      person: In the recognition quiz, whom the picture shows or was aimed at, None for nobody; in
        the other one, whose photograph is beside it.
      picture: The picture's number.
    """

    name: str
    quiz: str
    kind: str
    person: str | None
    picture: int


@dataclasses.dataclass(frozen=True)
class Plan:
    """Everything in `quiz/plan.json`, which stays as it is from the first answer on.

    Attributes:
      people: The people to choose among.
      references: The number of each one's photograph.
      practice: Numbers of drawn faces: one to recognize, then those to choose among.
      items: All questions.
      rule: Which observers count.
      order: Seed of the orders.
      contact: Whom observers may ask, for the first page.
      credit: Where the photographs come from; may be empty.
      simulated: Whether the observers are simulated, and no people.
    """

    people: tuple[str, ...]
    references: tuple[int, ...]
    practice: tuple[int, ...]
    items: tuple[Item, ...]
    rule: Rule
    order: int
    contact: str
    credit: str
    simulated: bool


class Step(NamedTuple):
    """What one observer is asked at one moment.

    Attributes:
      name: "consent", "practice", or the item's name.
      quiz: "recognition" or "similarity"; of the consent too, which comes before it.
      pictures: Numbers: the one in question, then the photographs beside it in this one's order.
      named: Whom each photograph beside it shows, by place; None for drawn faces.
      choices: The answers that are accepted.
      item: The item; None if this is not scored.
    """

    name: str
    quiz: str
    pictures: tuple[int, ...]
    named: tuple[str | None, ...]
    choices: tuple[str, ...]
    item: Item | None


def make_plan(
    stimuli: Stimuli, order: int, contact: str = "", credit: str = "", simulated: bool = False
) -> tuple[Plan, np.ndarray]:
    """Decides what observers are asked.

    Args:
      stimuli: The pictures.
      order: Seed of the orders; nobody should be able to guess it.
      contact: Whom observers may ask.
      credit: Where the photographs come from.
      simulated: Whether the observers are simulated.

    Returns:
      The plan, and the pictures, `[n, side, side, channels]` of 8 bits, made alike.

    Raises:
      UserError: If there are fewer than two people.
    """
    people = stimuli.people
    if len(people) < 2:
        raise UserError(f"a quiz needs clones of two people at least, not {len(people)}")
    shown: list[np.ndarray] = []

    def add(images: np.ndarray) -> tuple[int, ...]:
        shown.extend(pictures.uniform(image) for image in images)
        return tuple(range(len(shown) - len(images), len(shown)))

    references, photographs = add(stimuli.references), add(stimuli.photographs)
    clones = [add(images) for images in stimuli.clones]
    seeds, (mean_face,) = add(stimuli.seeds), add(stimuli.mean_face[None])
    shown += pictures.practice(stimuli.mean_face.shape[-1])
    practice = tuple(range(len(shown) - pictures.PRACTICE, len(shown)))
    items: list[Item] = []

    def ask(quiz: str, kind: str, person: str | None, picture: int) -> None:
        items.append(Item(f"{quiz}-{len(items):03}", quiz, kind, person, picture))

    for place, person in enumerate(people):
        for quiz in study.QUIZZES:
            for clone in clones[place]:
                ask(quiz, study.CLONE, person, clone)
            ask(quiz, study.PHOTOGRAPH, person, photographs[place])
        ask(study.SIMILARITY, study.SEED, person, seeds[place])
        ask(study.SIMILARITY, study.MEAN_FACE, person, mean_face)
        ask(study.SIMILARITY, study.OTHERS, person, clones[place - 1][-1])
    ask(study.RECOGNITION, study.MEAN_FACE, None, mean_face)
    for seed in seeds[:_SEEDS]:
        ask(study.RECOGNITION, study.SEED, None, seed)
    checked = list(zip(people, references, strict=True))
    for person, reference in checked[:_CHECKS]:
        ask(study.RECOGNITION, study.CHECK, person, reference)
    for person, reference in checked[-_CHECKS:]:
        ask(study.SIMILARITY, study.CHECK, person, reference)
    return Plan(
        *(people, references, practice, tuple(items), RULE, order, contact, credit, simulated)
    ), np.stack(shown)


def digest(plan: Plan) -> str:
    """Returns a short digest of a plan: answers belong to one plan only."""
    text = json.dumps(records.to_json(plan), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def balanced(count: int, row: int) -> list[int]:
    """Returns one row of a square that balances places and neighbors.

    Args:
      count: How many things to order, 1 or more.
      row: Which row, from 0; they repeat after `count` rows, after twice as many for an odd count.

    Returns:
      The numbers from 0 to `count` - 1, each once. Over all rows each comes equally often at each
      place, and equally often right after each other one.

    Source: E. J. Williams, "Experimental designs balanced for the estimation of residual effects of
    treatments", Australian Journal of Scientific Research 2(2), 1949.
    """
    zigzag = [(-place // 2 if place % 2 == 0 else (place + 1) // 2) for place in range(count)]
    order = [(step + row) % count for step in zigzag]
    return order[::-1] if count % 2 and row // count % 2 else order


def steps(plan: Plan, number: int) -> tuple[Step, ...]:
    """Lists what one observer is asked, first to last.

    Args:
      plan: The plan.
      number: The observer's, from 1.

    Returns:
      Consent, then for each quiz the practice and its items.
    """
    photographs = dict(zip(plan.people, plan.references, strict=True))
    listed = [Step(CONSENT, study.RECOGNITION, (), (), (AGREED,), None)]
    for quiz in study.QUIZZES:
        shown, *drawn = plan.practice
        beside = tuple(drawn) if quiz == study.RECOGNITION else (drawn[0],)
        nobody = (None,) * len(beside)
        listed.append(
            Step(PRACTICE, quiz, (shown, *beside), nobody, _choices(quiz, len(beside)), None)
        )
        asked = shuffled(plan.order, range(len(plan.items)), quiz)
        items = [plan.items[place] for place in asked if plan.items[place].quiz == quiz]
        for place in balanced(len(items), number - 1):
            item = items[place]
            named = (item.person,)
            if quiz == study.RECOGNITION:
                named = tuple(shuffled(plan.order, plan.people, str(number), item.name))
            numbers = (item.picture, *(photographs[name] for name in named if name))
            choices = _choices(quiz, len(named))
            listed.append(Step(item.name, quiz, numbers, named, choices, item))
    return tuple(listed)


def _choices(quiz: str, photographs: int) -> tuple[str, ...]:
    """Returns the answers that a quiz accepts."""
    if quiz == study.SIMILARITY:
        return SCALE
    return (*(str(place) for place in range(photographs)), CANNOT_TELL)


def resolve(plan: Plan, given: Mapping[int, Sequence[str]]) -> Answers:
    """Turns what observers chose into answers that mean something without the plan.

    Args:
      plan: The plan.
      given: For each observer's number the answers to the first steps, in order.

    Returns:
      The answers, without consent and practice.

    Raises:
      UserError: If an answer is none that was offered, or there are too many.
    """
    recognized: list[Recognized] = []
    compared: list[Compared] = []
    for number, answers in sorted(given.items()):
        asked = steps(plan, number)
        if len(answers) > len(asked):
            raise UserError(f"observer {number} gave {len(answers)} answers to {len(asked)} steps")
        for step, answer in zip(asked, answers, strict=False):
            if answer not in step.choices:
                raise UserError(f"observer {number}: {answer!r} was no choice of {step.name}")
            if step.item is None:
                continue
            of = number, step.name, step.item.kind
            if step.quiz == study.RECOGNITION:
                named = None if answer == CANNOT_TELL else step.named[int(answer)]
                recognized.append(Recognized(*of, step.item.person, named))
            elif step.item.person is not None:
                compared.append(Compared(*of, step.item.person, int(answer)))
    return Answers(
        plan=digest(plan),
        simulated=plan.simulated,
        people=plan.people,
        items={quiz: sum(item.quiz == quiz for item in plan.items) for quiz in study.QUIZZES},
        rule=plan.rule,
        recognition=tuple(recognized),
        similarity=tuple(compared),
    )
