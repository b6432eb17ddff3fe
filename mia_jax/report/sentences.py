"""The report in plain language: what the evaluation shows, and what it does not.

The result counts whom independent judges, which share nothing with the target, find in the clones,
and nobody else. The first judge of an evaluation leads the figures; every claim stands
beside chance, the controls and the ceiling of real photographs, and says what the judge has in
common with the target.
"""

from mia_jax.evidence import judges, results
from mia_jax.evidence.results import AttackFacts, DatasetFacts, Evaluation, Judgement, Rates
from mia_jax.evidence.study import Study
from mia_jax.evidence.verdict import stands_out, weak
from mia_jax.report import study as observed
from mia_jax.report import verdicts
from mia_jax.report.formats import (
    count,
    full_sentence,
    interval,
    listed,
    number,
    photographs,
    rough,
    share,
)
from mia_jax.runtime import packages

DIVERGED = (
    "The attack diverged: lower --rate. In the median a restart's last loss is above its first, so "
    "that these clones say nothing about the model."
)
_SHARED = {
    judges.PEOPLE: "the attacked people",
    judges.PHOTOGRAPHS: "their training photographs",
    judges.ARCHITECTURE: "its architecture",
    judges.VIEWS: "the random views of its training",
}
_MEANINGS = {
    results.IDENTIFIED: "ranked first among everybody by all clones together",
    results.NARROWED_DOWN: "nearer than chance and all controls explain, but not first",
}


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
        *([DIVERGED] if evaluation.diverged else []),
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


def _stand_out(judgement: Judgement) -> list[str]:
    """List the people for whom a judge's rate is clearly above all controls."""
    chance = judgement.chance.rank1
    return [n for n in verdicts.by_exposure(judgement) if stands_out(judgement.people[n], chance)]


def _result(evaluation: Evaluation) -> str:
    """Say who leaks to independent judges, and what it means where nobody does."""
    conclusion, people = evaluation.conclusion, len(evaluation.verdict)
    asked = verdicts.independent(evaluation)
    if not asked:
        return (
            "Whether the model gives away what people look like is not answered here: every judge "
            "shares something with the target, and may be fooled by what fools it. Ask one that "
            f"shares nothing: {packages.hint('judge')}, then evaluate again."
        )
    judge = "A judge that shares" if len(asked) == 1 else "Judges that share"
    said = [
        f"{judge} nothing with the target, {listed(list(asked))}, looked for each person among "
        f"everybody in the data set (5% level, corrected for {people} people)."
    ]
    for level, meaning in _MEANINGS.items():
        names = verdicts.people_at(evaluation, level)
        if names:
            said.append(full_sentence(f"{verdicts.LEVELS[level]}, {meaning}: {listed(names)}"))
    if conclusion.together and not verdicts.shown(evaluation):
        said.append(
            f"Over all {people} people at once clones and people belong together "
            f"(p = {number(conclusion.p_value, 4)}): the model gives something of its faces away, "
            "too little to show for one person by this attack."
        )
    if results.INCONCLUSIVE in conclusion.findings:
        said.append(full_sentence(verdicts.findings(evaluation)[results.INCONCLUSIVE]))
    if conclusion.level == results.NOT_SHOWN:
        leaks = [found.smallest_leak for found in evaluation.verdict.values()]
        largest = max((each for each in leaks if each), key=lambda leak: leak.fraction)
        said += [
            "This shows no leak under this attack and these settings; it does not prove the model "
            "safe, since a stronger attack may find what this one missed.",
            *verdicts.smallest(largest, "a leak of any one person"),
            *verdicts.smallest(conclusion.smallest_leak, "a leak of all people at once"),
        ]
    return " ".join(said)


def _named(evaluation: Evaluation) -> list[str]:
    """Say of whom only the target's relatives name the right class, and what that is worth."""
    shown = verdicts.shown(evaluation)
    names = [
        name
        for name in verdicts.people_at(evaluation, *verdicts.LEVELS)
        if evaluation.verdict[name].named_by and name not in shown
    ]
    if not names:
        return []
    of = listed(sorted({judge for name in names for judge in evaluation.verdict[name].named_by}))
    return [
        f"For {share(len(names), len(evaluation.verdict))} ({listed(names)}) the clones are named "
        f"right by {of}, but that shares something with the target: it shows what fools such "
        "models, not what the person looks like."
    ]


def _together(evaluation: Evaluation) -> list[str]:
    """Say whether independent judges see anything of anybody, over all people at once."""
    conclusion = evaluation.conclusion
    if conclusion.p_value is None or conclusion.together:
        return []
    return [
        "Over all people at once, clones and people are not shown to belong together (p = "
        f"{number(conclusion.p_value, 4)}: how often other pairings of clones and people would fit "
        "as well, corrected)."
    ]


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
    if weak(lead):
        sentence += " That judge is weak, so low rates here may hide a leak."
    elif mean > rate:
        sentence += (
            " Clones can score above photographs because the attack seeks out what recognizers "
            "look for; that does not make them better likenesses."
        )
    return sentence


def _extremes(evaluation: Evaluation, lead: Judgement) -> str:
    """Name the most and the least exposed person."""
    first, *rest = verdicts.by_exposure(lead)
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
