"""From a step to a page: what observers see, with a server or without.

A page names nobody, and nothing in it depends on which answer is right: photographs are letters in
the order that the observer has, pictures go by words that follow from a secret.
"""

import functools
from collections.abc import Sequence

import jinja2
from markupsafe import Markup

from mia_jax.study import design
from mia_jax.study.design import Plan, Step

_SECONDS = 9  # Of an answer, so that observers know how long it takes.


@functools.cache
def environment() -> jinja2.Environment:
    """Compiles the templates."""
    return jinja2.Environment(
        loader=jinja2.PackageLoader("mia_jax.study"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def style() -> str:
    """Returns the style sheet."""
    return environment().get_template("quiz.css").render()


def minutes(plan: Plan) -> int:
    """Estimates how long the study takes."""
    return max(1, round(len(plan.items) * _SECONDS / 60))


def number_of(steps: Sequence[Step], place: int) -> int:
    """Returns which question a step is, from 1, practice included; 0 for the consent."""
    return sum(step.name != design.CONSENT for step in steps[: place + 1])


def source(address: str) -> Markup:
    """Returns the attribute that says where a picture is."""
    return Markup('src="{}"').format(address)


def step(
    plan: Plan,
    steps: Sequence[Step],
    place: int,
    link: str,
    form: str,
    names: Sequence[str],
    root: str = "",
) -> str:
    """Shows one question, or the consent.

    Args:
      plan: The plan.
      steps: The observer's.
      place: Which step, from 0.
      link: What the observer's link ends in.
      form: Proof that the form is ours.
      names: Of the pictures, as many as the step has.
      root: The path below which the server is reached, such as "/quiz"; empty for none.

    Returns:
      The page.
    """
    return (
        environment()
        .get_template("step.html")
        .render(
            plan=plan,
            step=steps[place],
            place=place,
            number=number_of(steps, place),
            total=len(steps) - 1,
            root=root,
            link=link,
            form=form,
            sources=[source(f"{root}/o/{link}/{name}.png") for name in names],
            minutes=minutes(plan),
            title="Whom does the picture show?",
        )
    )


def message(
    plan: Plan,
    title: str,
    text: str = "",
    link: str = "",
    form: str = "",
    thanks: bool = False,
    root: str = "",
) -> str:
    """Says something, and leads back to the questions where there is a link.

    Args:
      plan: The plan.
      title: In a few words.
      text: In a sentence.
      link: What the observer's link ends in; empty for somebody who has none.
      form: Proof for the form that deletes all answers; empty for no such form.
      thanks: Whether all questions are answered; title and text are then those of the thanks.
      root: As of `step`.

    Returns:
      The page.
    """
    return (
        environment()
        .get_template("message.html")
        .render(plan=plan, title=title, text=text, link=link, form=form, thanks=thanks, root=root)
    )
