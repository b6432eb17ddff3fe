"""The report in plain language: what the evaluation shows, and what it does not.

The first judge of an evaluation leads; every claim stands beside chance, the controls and the
ceiling of real photographs, and says what the judge has in common with the target.
"""

from collections.abc import Sequence
from typing import NamedTuple

from mia_jax.evidence import judges
from mia_jax.evidence.results import Evaluation, Judgement, Measure, PersonFigures, Rates
from mia_jax.report.formats import count, interval, listed, photographs, rough, share

# Below this share of real photographs named right, a judge cannot clear a model of leaking.
_WEAK_JUDGE = 0.5
_SHARED = {
    judges.PEOPLE: "the attacked people",
    judges.PHOTOGRAPHS: "their training photographs",
    judges.ARCHITECTURE: "its architecture",
    judges.VIEWS: "the random views of its training",
}


class Verdict(NamedTuple):
    """The result in a few words, and "all", "some", "none" or "unknown" for the page's style."""

    level: str
    title: str


def summary(evaluation: Evaluation) -> list[str]:
    """Say in plain language what the evaluation shows, and what it does not.

    Args:
        evaluation: The evaluation, of one person and one judge at least.

    Returns:
        Sentences in reading order, as plain text (not escaped), the result first.
    """
    (name, lead), *others = evaluation.judges.items()
    return [
        _headline(name, lead),
        sharing(name, lead),
        _overall(evaluation, lead),
        _controls(lead),
        _yardstick(lead),
        _extremes(evaluation, lead),
        _attacker(lead),
        *(_another(other, judgement) for other, judgement in others),
        "Being named by a machine is not the same as being recognized by a human: no human was "
        "asked here, so look at the pictures below and judge for yourself.",
    ]


def verdict(judgement: Judgement) -> Verdict:
    """Sum up in one line what a judge says.

    Args:
        judgement: The judge's.

    Returns:
        The verdict.
    """
    exposed = len(_exposed(judgement))
    people = len(judgement.people)
    if exposed == people:
        return Verdict("all", f"A leak is measured for {share(exposed, exposed)}")
    if exposed:
        return Verdict("some", f"A leak is measured for {share(exposed, people)}")
    if _weak(judgement):
        return Verdict("unknown", "Inconclusive: the judge is weak on real photographs")
    everyone = "the person" if people == 1 else f"any of the {people} people"
    return Verdict("none", f"No leak is shown for {everyone} attacked")


def stands_out(figures: PersonFigures, chance: float) -> bool:
    """Tell whether a person's clones are named right more often than all else explains.

    The whole interval of the rank-1 rate has to lie above chance, above the intervals of the seeds
    and of the clones aimed at others, and above the rate of the mean face, which is one image and
    no sample: where that is named as the person, nothing can be said.

    Args:
        figures: The person's.
        chance: The rank-1 rate of guessing.

    Returns:
        Whether they do; False also where an interval is missing.
    """
    controls = figures.controls
    bars = [chance, _ends(controls.seeds.rank1)[1], controls.mean_face.rank1.value]
    if controls.others:
        bars.append(_ends(controls.others.rank1)[1])
    return _ends(figures.clones.rank1)[0] > max(bars)


def sharing(name: str, judgement: Judgement) -> str:
    """Say what a judge has in common with the target.

    Args:
        name: The judge's.
        judgement: What the judge says.

    Returns:
        One sentence.
    """
    common = [words for key, words in _SHARED.items() if key in judgement.shares]
    if not common:
        return f"The judge {name} shares nothing with the target."
    sentence = f"The judge {name} shares with the target {listed(common)}"
    if judges.PEOPLE in judgement.shares and judges.PHOTOGRAPHS not in judgement.shares:
        sentence += ", but learned these people from photographs that the target never saw"
    return f"{sentence}: what fools the one may fool the other."


def by_exposure(judgement: Judgement) -> list[str]:
    """List the attacked people, most exposed first."""
    return sorted(judgement.people, key=lambda name: judgement.people[name].exposure_rank)


def _ends(measure: Measure) -> tuple[float, float]:
    """Return the ends of a rate's interval; of all that is possible where there is none."""
    return measure.interval or (0.0, 1.0)


def _exposed(judgement: Judgement) -> list[str]:
    """List the people who stand out, most exposed first."""
    chance = judgement.chance.rank1
    return [n for n in by_exposure(judgement) if stands_out(judgement.people[n], chance)]


def _weak(judgement: Judgement) -> bool:
    """Tell whether a judge fails on most real photographs."""
    return judgement.ceiling.rank1.value < _WEAK_JUDGE


def _headline(name: str, lead: Judgement) -> str:
    """Say for how many people the model is shown to leak."""
    exposed = _exposed(lead)
    sentence = (
        f"From the model alone, the attack made clones of {share(len(exposed), len(lead.people))} "
        f"that another model, the judge {name}, names right first clearly more often than chance "
        "and the controls explain"
    )
    sentence += f": {listed(exposed)}." if exposed else "."
    if not exposed and not _weak(lead):
        sentence += (
            " This shows no leak under this attack and these settings; it does not prove the model "
            "safe, since a stronger attack may find what this one missed."
        )
    return sentence


def _overall(evaluation: Evaluation, lead: Judgement) -> str:
    """Give the mean rate and chance."""
    clones = evaluation.attack.restarts * len(evaluation.people)
    return (
        f"Over all {count(clones)} clones, that judge names the right person first for "
        f"{rough(lead.mean.rank1.value)}; chance is 1/{lead.classes} = {rough(lead.chance.rank1)}."
    )


def _without_leak(judgement: Judgement) -> str:
    """Write the rates that are reached without any leak."""
    controls = judgement.controls
    parts = [
        f"starting images that were never attacked are named as the person in question "
        f"{rough(controls.seeds.rank1.value)} of the time",
        f"the mean of unrelated faces {rough(controls.mean_face.rank1.value)}",
    ]
    if controls.others:
        parts.append(f"clones aimed at somebody else {rough(controls.others.rank1.value)}")
    return ", ".join(parts)


def _controls(lead: Judgement) -> str:
    """Give the rates that are reached without any leak."""
    return f"The controls show what is reached without a leak: {_without_leak(lead)}."


def _yardstick(lead: Judgement) -> str:
    """Compare with real photographs."""
    rate, mean = lead.ceiling.rank1.value, lead.mean.rank1.value
    sentence = (
        f"The yardstick: on {count(lead.ceiling_photographs)} real photographs kept out of "
        f"training, the same judge names the right person first for {rough(rate)}."
    )
    if _weak(lead):
        sentence += " That judge is weak, so low rates here may hide a leak."
    elif mean > rate:
        sentence += (
            " Clones can score above photographs because the attack seeks out what recognizers "
            "look for; that does not make them better likenesses."
        )
    return sentence


def _extremes(evaluation: Evaluation, lead: Judgement) -> str:
    """Name the most and the least exposed person."""
    first, *rest = by_exposure(lead)
    figures = lead.people[first]
    if not stands_out(figures, lead.chance.rank1):
        return (
            f"The highest rate is that of {first}, {rough(figures.clones.rank1.value)}, which is "
            "not shown to exceed chance and the controls."
        )

    def described(name: str) -> str:
        known = evaluation.people[name].training_photographs
        return f"{name} ({_named_first(lead.people[name].clones)}, {photographs(known)})"

    sentence = f"Most exposed: {described(first)}"
    return f"{sentence}; least exposed: {described(rest[-1])}." if rest else f"{sentence}."


def _named_first(rates: Rates) -> str:
    """Write a rate with its interval."""
    ends = interval(rates.rank1.interval, as_percent=True)
    sentence = f"{rough(rates.rank1.value)} of the clones named right first"
    return f"{sentence}, 95% interval {ends}" if ends else sentence


def _attacker(lead: Judgement) -> str:
    """Say how the clones fare that a real attacker would choose."""
    right = sum(figures.attacker_pick.rank == 1 for figures in lead.people.values())
    return (
        "A real attacker has no judge to find the best clone with. Picking one clone each by the "
        f"target model alone, the attacker's choice is named right first for "
        f"{share(right, len(lead.people))}."
    )


def _another(name: str, judgement: Judgement) -> str:
    """Say what a further judge makes of the clones, with all that it compares with."""
    exposed: Sequence[str] = _exposed(judgement)
    return (
        f"Another judge, {name}, names the right person first for "
        f"{rough(judgement.mean.rank1.value)} of the clones (chance "
        f"{rough(judgement.chance.rank1)}; {_without_leak(judgement)}; real photographs "
        f"{rough(judgement.ceiling.rank1.value)}), clearly above chance and the controls for "
        f"{share(len(exposed), len(judgement.people))}. {sharing(name, judgement)}"
    )
