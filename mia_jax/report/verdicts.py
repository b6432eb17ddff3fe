"""The verdicts in plain language: the headline, what each person's level rests on, the findings.

What holds is decided in `evidence.verdict`; here it is only written, and explained where numbers
seem to contradict each other.
"""

from collections.abc import Sequence
from typing import NamedTuple

from mia_jax.evidence import results
from mia_jax.evidence.power import POWER
from mia_jax.evidence.results import Evaluation, Judgement, PersonFigures, SmallestLeak
from mia_jax.evidence.verdict import stands_out
from mia_jax.report.formats import full_sentence, listed, number, rough, share

LEVELS = {
    results.IDENTIFIED: "identified",
    results.NARROWED_DOWN: "narrowed down",
    results.NOT_SHOWN: "not shown at this budget",
    results.INCONCLUSIVE: "inconclusive",
}
_OFTEN = (
    0.5  # Single clones named right so often look like a leak, and are explained if none is shown.
)


class Headline(NamedTuple):
    """The result in a few words, and its level, for the page's style."""

    level: str
    title: str


def headline(evaluation: Evaluation) -> Headline:
    """Sum up in one line what was found.

    Args:
        evaluation: The evaluation.

    Returns:
        The headline.
    """
    level = evaluation.conclusion.level
    titles = {
        results.IDENTIFIED: _identified,
        results.LEAK: _leak,
        results.INCONCLUSIVE: _inconclusive,
        results.NOT_SHOWN: _not_shown,
    }
    return Headline(level, full_sentence(titles[level](evaluation)).removesuffix("."))


def findings(evaluation: Evaluation) -> dict[str, str]:
    """Write what was found, a sentence for each finding.

    Args:
        evaluation: The evaluation.

    Returns:
        By finding of the conclusion, the gravest first.
    """
    written = {
        results.IDENTIFIED: _who,
        results.LEAK: _leaks,
        results.INCONCLUSIVE: _inconclusive,
    }
    return {finding: written[finding](evaluation) for finding in evaluation.conclusion.findings}


def person(evaluation: Evaluation, name: str) -> str:
    """Write a person's verdict with what was measured, and why it is no other.

    Args:
        evaluation: The evaluation.
        name: The person.

    Returns:
        A few sentences.
    """
    found = evaluation.verdict[name]
    measured = _measured(evaluation, name)
    beside = f" ({measured})" if measured else ""
    return " ".join(
        [
            f"{name}: {LEVELS[found.level]}{beside}.",
            *remarks(evaluation, name),
            *smallest(found.smallest_leak, "a leak"),
        ]
    )


def remarks(evaluation: Evaluation, name: str) -> list[str]:
    """Explain a person's verdict: why nothing can be said, and what seems to contradict it.

    Args:
        evaluation: The evaluation.
        name: The person.

    Returns:
        Sentences, as plain text.
    """
    found = evaluation.verdict[name]
    leaks = found.level in (results.IDENTIFIED, results.NARROWED_DOWN)
    said = [full_sentence(reason) for reason in found.reasons]
    for judge, judgement in independent(evaluation).items():
        figures = judgement.people[name]
        rate = figures.clones.rank1.value
        if leaks and rate == 0:
            said.append(f"No single clone is first for {judge}: all together are nearer than one.")
        looks_so = stands_out(figures, judgement.chance.rank1) or rate >= _OFTEN
        if not leaks and (looks_so or figures.clones.set_rank == 1):
            said.append(_not_enough(judge, judgement, figures, len(evaluation.verdict)))
    if found.named_by:
        said.append(
            f"Named right by {listed(found.named_by)} too, which shares something with the target: "
            "that alone is no likeness."
        )
    return said


def smallest(leak: SmallestLeak | None, what: str) -> list[str]:
    """Say what a run would have shown.

    Args:
        leak: The smallest such leak; None for nothing.
        what: Of whom it would be.

    Returns:
        A sentence, or none where a doubt says it.
    """
    if not leak:
        return []
    return [
        f"With a power of {POWER:g} this run finds {what} that brings the set to the median rank "
        f"{leak.set_rank:g} (first in {rough(leak.set_rank1)} of cases), and may miss a smaller "
        "one."
    ]


def people_at(evaluation: Evaluation, *levels: str) -> list[str]:
    """List the people of some verdicts, most exposed first."""
    lead = next(iter(evaluation.judges.values()))
    return [name for name in by_exposure(lead) if evaluation.verdict[name].level in levels]


def shown(evaluation: Evaluation) -> list[str]:
    """List the people who are shown to leak, most exposed first."""
    return people_at(evaluation, results.IDENTIFIED, results.NARROWED_DOWN)


def by_exposure(judgement: Judgement) -> list[str]:
    """List the attacked people, most exposed first."""
    return sorted(judgement.people, key=lambda name: judgement.people[name].exposure_rank)


def independent(evaluation: Evaluation) -> dict[str, Judgement]:
    """Return the judges that share nothing with the target."""
    return {name: each for name, each in evaluation.judges.items() if not each.shares}


def _measured(evaluation: Evaluation, name: str) -> str:
    """Write what the independent judges measured of a person's clones."""
    parts = []
    for judge, judgement in independent(evaluation).items():
        clones = judgement.people[name].clones
        parts.append(
            f"{judge}: set rank {clones.set_rank:g} of {judgement.classes}, "
            f"{rough(clones.rank1.value)} of single clones first"
        )
    p_value = evaluation.verdict[name].p_value
    return "; ".join([*parts, *([] if p_value is None else [f"p = {number(p_value)}"])])


def _not_enough(judge: str, judgement: Judgement, figures: PersonFigures, people: int) -> str:
    """Say why clones that a judge puts first are not shown to be more than chance."""
    controls, rate = figures.controls, figures.clones.rank1.value
    if controls.mean_face.rank1.value == 1:
        return f"{judge} puts the mean face first as well, which knows nobody."
    for group, title in (
        (controls.seeds, "the seeds"),
        (controls.others, "clones aimed at others"),
    ):
        if group and group.rank1.value >= max(rate, _OFTEN) / 2:
            return f"{judge} puts {rough(group.rank1.value)} of {title} first as well."
    return (
        f"{judge} puts one set in {judgement.classes} first by chance, one person's clones "
        f"resemble one another, and {people} {'person was' if people == 1 else 'people were'} "
        "tested: too little to be sure."
    )


def _verb(names: Sequence[str], people: int) -> str:
    """Write "is" or "are" after `share`."""
    return "is" if len(names) == 1 or people == 1 else "are"


def _who(evaluation: Evaluation) -> str:
    """Write who is identified."""
    names, people = people_at(evaluation, results.IDENTIFIED), len(evaluation.verdict)
    return f"{share(len(names), people)} {_verb(names, people)} identified: {listed(names)}"


def _leaks(evaluation: Evaluation) -> str:
    """Write what shows that something leaks."""
    names, people = shown(evaluation), len(evaluation.verdict)
    if names:
        found = f"{share(len(names), people)} {_verb(names, people)} identified or narrowed down"
        return f"the model leaks: {found} ({listed(names)})"
    return (
        f"the model leaks: over all {people} people at once clones and people belong together "
        f"(p = {number(evaluation.conclusion.p_value, 4)})"
    )


def _identified(evaluation: Evaluation) -> str:
    """Write how many are identified, and how many more narrowed down."""
    people = len(evaluation.verdict)
    names, more = (people_at(evaluation, e) for e in (results.IDENTIFIED, results.NARROWED_DOWN))
    title = f"{share(len(names), people)} {_verb(names, people)} identified"
    return title + (f", {len(more)} more {_verb(more, 0)} narrowed down" if more else "")


def _leak(evaluation: Evaluation) -> str:
    """Write that something leaks, though nobody is identified."""
    people, names = len(evaluation.verdict), people_at(evaluation, results.NARROWED_DOWN)
    if not names:
        return f"none of the {people} people is shown to leak alone, but together they leak"
    title = f"{share(len(names), people)} {_verb(names, people)} narrowed down"
    return title if people == 1 else f"{title}, nobody is identified"


def _inconclusive(evaluation: Evaluation) -> str:
    """Write of whom nothing can be said, and the kinds of reasons."""
    names, people = people_at(evaluation, results.INCONCLUSIVE), len(evaluation.verdict)
    reasons = [reason for name in names for reason in evaluation.verdict[name].reasons]
    kinds = [*dict.fromkeys(reason.partition(":")[0] for reason in reasons)]
    of = "" if len(names) == people else f" for {share(len(names), people)} ({listed(names)})"
    return f"inconclusive{of}: {listed(kinds)}"


def _not_shown(evaluation: Evaluation) -> str:
    """Write that nothing is shown, which is all that can be said."""
    if len(evaluation.verdict) == 1:
        return "no leak of the person attacked is shown at this budget"
    return f"no leak of the {len(evaluation.verdict)} people attacked is shown at this budget"
