"""The report in plain language: what the evaluation shows, and what it does not.

The result counts the people who are recognizable to strangers, judges that share nothing with the
target, and nobody else. The first judge of an evaluation leads the figures; every claim stands
beside chance, the controls and the ceiling of real photographs, and says what the judge has in
common with the target.
"""

from typing import NamedTuple

from mia_jax.evidence import judges, results, significance, verdict
from mia_jax.evidence.results import AttackFacts, DatasetFacts, Evaluation, Judgement, Rates
from mia_jax.evidence.study import Study
from mia_jax.evidence.verdict import stands_out
from mia_jax.report import study as observed
from mia_jax.report.formats import count, interval, listed, number, photographs, rough, share
from mia_jax.runtime import packages

# Below this share of real photographs named right, a judge cannot clear a model of leaking.
_WEAK_JUDGE = 0.5
_SHARED = {
    judges.PEOPLE: "the attacked people",
    judges.PHOTOGRAPHS: "their training photographs",
    judges.ARCHITECTURE: "its architecture",
    judges.VIEWS: "the random views of its training",
}


# A person's verdict: in a table, and on a badge.
LEVELS = {
    results.RECOGNIZABLE: "recognizable to strangers",
    results.NAMED: "names the right class, shows nothing to strangers",
    results.NO_EVIDENCE: "no evidence at this budget",
}
NOBODY_ASKED = "names the right class; no stranger was asked"


class Headline(NamedTuple):
    """The result in a few words, and "all", "some", "none" or "unknown" for the page's style."""

    level: str
    title: str


def summary(evaluation: Evaluation, study: Study | None = None) -> list[str]:
    """Say in plain language what the evaluation shows, and what it does not.

    Args:
        evaluation: The evaluation, of one person and one judge at least.
        study: What observers answered; None if nobody was asked.

    Returns:
        Sentences in reading order, as plain text (not escaped), the result first.
    """
    (name, lead), *others = evaluation.judges.items()
    return [
        _result(evaluation),
        *_named(evaluation),
        *_together(evaluation),
        sharing(name, lead),
        _overall(evaluation, lead),
        _controls(lead),
        attackers_faces(evaluation.dataset, evaluation.attack),
        _yardstick(lead),
        _extremes(evaluation, lead),
        _attacker(lead),
        *(_another(other, judgement) for other, judgement in others),
        *_humans(study),
    ]


def headline(evaluation: Evaluation) -> Headline:
    """Sum up in one line what leaked: who is recognizable to strangers, and nobody else.

    Args:
        evaluation: The evaluation.

    Returns:
        The headline.
    """
    people, shown = len(evaluation.verdict), len(people_at(evaluation, results.RECOGNIZABLE))
    if not _strangers(evaluation):
        return Headline("unknown", "No stranger was asked: nothing is shown to have leaked or not")
    if shown:
        verb = "is" if people == 1 or shown == 1 < people else "are"
        who = share(shown, people)
        title = f"{who[0].upper()}{who[1:]} {verb} recognizable to strangers"
        return Headline("all" if shown == people else "some", title)
    if _belong_together(evaluation):
        title = f"None of the {people} people is recognizable alone, but together they leak"
        return Headline("some", title)
    if not _attainable(evaluation):
        return Headline("unknown", "Inconclusive: too few people or restarts to tell")
    if all(_weak(judgement) for judgement in _strangers(evaluation).values()):
        return Headline("unknown", "Inconclusive: the strangers are weak on real photographs")
    if people == 1:
        return Headline("none", "The person attacked is not shown to be recognizable to strangers")
    return Headline(
        "none", f"None of the {people} people attacked is shown to be recognizable to strangers"
    )


def people_at(evaluation: Evaluation, level: str) -> list[str]:
    """List the people of one verdict, most exposed first."""
    lead = next(iter(evaluation.judges.values()))
    return [name for name in by_exposure(lead) if evaluation.verdict[name].level == level]


def level_in_words(found: results.Verdict) -> str:
    """Write a person's verdict in words."""
    if found.level == results.NAMED and found.p_value is None:
        return NOBODY_ASKED
    return LEVELS[found.level]


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


def attackers_faces(dataset: DatasetFacts, attack: AttackFacts) -> str:
    """Say where the attacker's unrelated faces come from.

    Args:
        dataset: The faces.
        attack: How the clones were made.

    Returns:
        One sentence.
    """
    found = f"The attacker's unrelated faces are {count(dataset.auxiliary_photographs)} photographs"
    if dataset.auxiliary_people is None:
        folder = attack.arguments["auxiliary"]
        return f"{found} in the folder {folder}, which is no part of the data set."
    people = count(dataset.auxiliary_people)
    return f"{found} of people of the data set who trained no recognizer ({people} in all)."


def by_exposure(judgement: Judgement) -> list[str]:
    """List the attacked people, most exposed first."""
    return sorted(judgement.people, key=lambda name: judgement.people[name].exposure_rank)


def _strangers(evaluation: Evaluation) -> dict[str, Judgement]:
    """Return the judges that share nothing with the target."""
    return {name: each for name, each in evaluation.judges.items() if not each.shares}


def _attainable(evaluation: Evaluation) -> bool:
    """Tell whether there are enough people and restarts for anybody to be found recognizable."""
    people = min(judgement.classes for judgement in _strangers(evaluation).values())
    least = significance.least_p_value(len(evaluation.verdict), people, evaluation.attack.restarts)
    return least <= verdict.LEVEL


def _stand_out(judgement: Judgement) -> list[str]:
    """List the people for whom a judge's rate is clearly above all controls."""
    chance = judgement.chance.rank1
    return [n for n in by_exposure(judgement) if stands_out(judgement.people[n], chance)]


def _weak(judgement: Judgement) -> bool:
    """Tell whether a judge fails on most real photographs."""
    return judgement.ceiling.rank1.value < _WEAK_JUDGE


def _result(evaluation: Evaluation) -> str:
    """Say how many people strangers recognize."""
    strangers, people = _strangers(evaluation), len(evaluation.verdict)
    if not strangers:
        return (
            "Whether the model gives away what people look like is not answered here: every judge "
            "shares something with the target, and may be fooled by what fools it. Ask one that "
            f"shares nothing: {packages.hint('judge')}, then evaluate again."
        )
    shown = people_at(evaluation, results.RECOGNIZABLE)
    who = listed(list(strangers))
    asked = f"a judge that shares nothing with the target, {who}"
    if len(strangers) > 1:
        asked = f"judges that share nothing with the target, {who}"
    made = f"clones of {share(len(shown), people)}" if shown else "no clones"
    sentence = (
        f"From the model alone, the attack made {made} by which {asked}, "
        f"find{'' if len(strangers) > 1 else 's'} the right person among everybody in the data set "
        "better than chance and all controls explain (5% level, corrected for the number of people)"
    )
    sentence += f": {listed(shown)}." if shown else "."
    if not shown and _belong_together(evaluation):
        sentence += (
            " Yet over all people at once clones and people belong together to strangers: the "
            "model gives something of its faces away, too little to show for one person by this "
            "attack."
        )
    elif not _attainable(evaluation):
        sentence += (
            " With so few people in the data set, or so few restarts, no clones could have been: "
            "21 people and 7 restarts are enough."
        )
    elif not shown and not all(_weak(judgement) for judgement in strangers.values()):
        sentence += (
            " This shows no leak under this attack and these settings; it does not prove the model "
            "safe, since a stronger attack may find what this one missed."
        )
    return sentence


def _named(evaluation: Evaluation) -> list[str]:
    """Say of whom only the target's relatives name the right class, and what that is worth."""
    names = people_at(evaluation, results.NAMED)
    if not names:
        return []
    of = listed(sorted({judge for name in names for judge in evaluation.verdict[name].named_by}))
    sentence = (
        f"For {share(len(names), len(evaluation.verdict))} ({listed(names)}) the clones are named "
        f"right by {of}, but that shares something with the target"
    )
    if _strangers(evaluation):
        sentence += ", and to strangers they are not shown to be more than the controls"
    return [f"{sentence}: that shows what fools such models, not what the person looks like."]


def _together(evaluation: Evaluation) -> list[str]:
    """Say whether strangers see anything of anybody, over all people at once."""
    p_value = evaluation.overall_p_value
    if p_value is None:
        return []
    alike = _belong_together(evaluation)
    found = "belong together" if alike else "are not shown to belong together"
    return [
        f"Over all people at once, clones and people {found} to strangers (p = "
        f"{number(p_value, 4)}: how often other pairings of clones and people would fit as well)."
    ]


def _belong_together(evaluation: Evaluation) -> bool:
    """Tell whether strangers see that clones and people belong together, over all at once."""
    p_value = evaluation.overall_p_value
    return p_value is not None and p_value <= verdict.LEVEL


def _overall(evaluation: Evaluation, lead: Judgement) -> str:
    """Give the mean rate and chance."""
    clones = evaluation.attack.restarts * len(lead.people)
    return (
        f"Over all {count(clones)} clones, that judge names the right person first for "
        f"{rough(lead.mean.rank1.value)}; chance is 1/{lead.classes} = {rough(lead.chance.rank1)}. "
        f"The right person's median rank is {lead.mean.median_rank:g} of {lead.classes} for single "
        f"clones, and {lead.sets.clones.median_rank:g} for all clones of a person taken together; "
        f"guessing gives {(lead.classes + 1) / 2:g}."
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


def _humans(study: Study | None) -> list[str]:
    """Say whether people recognize anybody; simulated observers are none."""
    sentence = "Being named by a machine is not the same as being recognized by a human: "
    if study and study.recognition and not study.simulated:
        _, *found = observed.sentences(study)
        return [f"{sentence}what people see was asked.", *found]
    return [
        f"{sentence}no human was asked here, so look at the pictures below and judge for yourself."
    ]


def _another(name: str, judgement: Judgement) -> str:
    """Say what a further judge makes of the clones, with all that it compares with."""
    exposed = _stand_out(judgement)
    return (
        f"Another judge, {name}, names the right person first for "
        f"{rough(judgement.mean.rank1.value)} of the clones (chance "
        f"{rough(judgement.chance.rank1)}; {_without_leak(judgement)}; real photographs "
        f"{rough(judgement.ceiling.rank1.value)}), clearly above chance and the controls for "
        f"{share(len(exposed), len(judgement.people))}. {sharing(name, judgement)}"
    )
