"""The quiz without a server: a file for each observer, which hands the answers over as a file.

The page is the server's, all steps in one; a script shows one at a time. It holds no right answer:
those follow from the plan, which stays at home.
"""

import base64
import dataclasses
import hashlib
import json
import pathlib
from collections.abc import Iterable

import numpy as np
from markupsafe import Markup

from mia_jax.runtime import records
from mia_jax.runtime.errors import UserError
from mia_jax.study import design, pages, pictures
from mia_jax.study.design import Plan
from mia_jax.study.links import Links


@dataclasses.dataclass(frozen=True)
class Sheet:
    """Everything in the file that an observer sends back.

    Attributes:
      plan: Digest of the plan.
      observer: What the observer's link would end in.
      answers: To the first steps, in order.
    """

    plan: str
    observer: str
    answers: tuple[str, ...]


def render(plan: Plan, number: int, images: np.ndarray, words: Links) -> str:
    """Writes the quiz of one observer.

    Args:
      plan: The plan.
      number: The observer's number.
      images: `[n, side, side, channels]` of 8 bits: all pictures.
      words: Links and names.

    Returns:
      One page, with all pictures within.
    """
    steps = design.steps(plan, number)
    # Photographs to compare with are in the page once each, in an order that says nothing.
    beside = sorted(
        {picture for step in steps for picture in step.pictures[1:]},
        key=lambda picture: words.picture(number, -1, picture),
    )

    def uri(picture: int, *name: int) -> str:
        key = words.noise(words.picture(number, *name))
        data = pictures.encode(images[picture], key)
        return f"data:image/png;base64,{base64.b64encode(data).decode()}"

    def shown(place: int) -> dict[str, object]:
        step = steps[place]
        first = [pages.source(uri(picture, place, 0)) for picture in step.pictures[:1]]
        others = [
            Markup('data-photograph="{}"').format(beside.index(picture))
            for picture in step.pictures[1:]
        ]
        return {
            "name": step.name if step.item is None else "",
            "quiz": step.quiz,
            "choices": step.choices,
            "number": pages.number_of(steps, place),
            "sources": [*first, *others],
        }

    quiz = {
        "plan": design.digest(plan),
        "observer": words.observer(number),
        "photographs": [uri(picture, -1, picture) for picture in beside],
    }
    style = pages.style()
    script = pages.environment().get_template("static.js").render()
    return (
        pages.environment()
        .get_template("static.html")
        .render(
            plan=plan,
            steps=[shown(place) for place in range(len(steps))],
            minutes=pages.minutes(plan),
            quiz=Markup(json.dumps(quiz)),
            style=Markup(style),
            script=Markup(script),
            style_hash=_hash(style),
            script_hash=_hash(script),
        )
    )


def _hash(text: str) -> str:
    """Returns by what a browser knows that a style or script is ours."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def returned(
    plan: Plan, words: Links, observers: Iterable[int], paths: Iterable[pathlib.Path]
) -> dict[int, list[str]]:
    """Takes the answers from files that came back.

    Args:
      plan: The plan.
      words: Links and names.
      observers: The numbers of those who were invited.
      paths: The files.

    Returns:
      The answers by observer.

    Raises:
      UserError: If a file is none of ours, of another study, or the second of an observer.
    """
    numbers = {words.observer(number): number for number in observers}
    whose: dict[int, pathlib.Path] = {}
    found: dict[int, list[str]] = {}
    for path in paths:
        sheet = records.read(path, Sheet)
        if sheet.plan != design.digest(plan):
            raise UserError(f"{path} holds answers to another plan: take it away")
        number = numbers.get(sheet.observer)
        if number is None:
            raise UserError(f"{path} is of nobody who was invited: take it away")
        if number in whose:
            raise UserError(f"{path} and {whose[number]} are of one observer: take one away")
        whose[number], found[number] = path, list(sheet.answers)
    return found
