"""What observers saw, in plain language: the paper's Table 3 with what it lacks, the controls."""

from mia_jax.evidence.study import Asked, Figures, Quiz, Study
from mia_jax.evidence.verdict import LEVEL
from mia_jax.report.formats import count, interval, listed, number, rough, share


def sentences(study: Study) -> list[str]:
    """Say who answered and what came out.

    Args:
        study: What observers and judges answered.

    Returns:
        Sentences in reading order, as plain text (not escaped).
    """
    found = [_took_part(study)]
    if study.recognition:
        found += [_recognition(study, study.recognition), _people(study, study.recognition)]
    if study.similarity:
        found.append(_similarity(study, study.similarity))
    return found + [_judge(name, asked) for name, asked in study.judges.items()]


def observers(study: Study) -> str:
    """Name those who answered as what they are."""
    return "simulated observers" if study.simulated else "observers"


def recognized(study: Study) -> list[str]:
    """List the people whose clones observers recognize better than all controls explain."""
    people = study.recognition.people if study.recognition else {}
    return [name for name, figures in people.items() if figures.p_value <= LEVEL]


def _took_part(study: Study) -> str:
    """Say how many answered, and how many of them count."""
    numbers = [
        f"{count(quiz.observers)} in the {name} quiz"
        for name, quiz in (("recognition", study.recognition), ("similarity", study.similarity))
        if quiz
    ]
    one = "simulated observer" if study.simulated else "observer"
    began = f"{count(study.began)} {one if study.began == 1 else observers(study)} began"
    return (
        f"{began}; {count(study.excluded)} of them missed more than {study.rule.most_failed} "
        f"attention checks and are left out, as set down before. Of the rest all who finished a "
        f"quiz count: {listed(numbers) if numbers else 'nobody'}."
    )


def _recognition(study: Study, quiz: Quiz) -> str:
    """Give the accuracy beside chance, controls and ceiling."""
    return (
        f"{observers(study).capitalize()} name the right person for {_value(quiz.overall)} of the "
        f"clones (the paper reports 33%); guessing gives {rough(quiz.chance or 0)}. "
        f"{_beside(quiz.overall)}"
    )


def _similarity(study: Study, quiz: Quiz) -> str:
    """Give the mean similarity beside controls and ceiling."""
    return (
        f"{observers(study).capitalize()} find clones {_value(quiz.overall)} like their person on "
        f"a scale from 0 to 100 (the paper reports 45%). {_beside(quiz.overall)}"
    )


def _value(figures: Figures) -> str:
    """Write the mean of clones with its interval."""
    ends = interval(figures.clones.interval, as_percent=True)
    return rough(figures.clones.value) + (f" (95% interval {ends})" if ends else "")


def _beside(figures: Figures) -> str:
    """Write what is reached without a leak, and whether clones reach more."""
    more = "reach more" if figures.p_value <= LEVEL else "are not shown to reach more"
    return (
        f"Without a leak it is {rough(figures.seeds.value)} for seeds, "
        f"{rough(figures.mean_face.value)} for the mean face and {rough(figures.others.value)} for "
        f"clones of somebody else; for real photographs it is {rough(figures.photographs.value)}. "
        f"Clones {more} than all three (p = {number(figures.p_value)}, the largest over "
        "observers and over people)."
    )


def _people(study: Study, quiz: Quiz) -> str:
    """Name the people who are recognized."""
    names = recognized(study)
    who = f": {listed(names)}" if names else ""
    return (
        f"Taken one by one, {share(len(names), len(quiz.people))} can be recognized from these "
        f"clones by {observers(study)}, by more than all controls explain{who} (5% level, "
        "corrected for the number of people)."
    )


def _judge(name: str, asked: Asked) -> str:
    """Say what a judge said to panels, and what that is worth."""
    sentence = (
        f"Shown beside photographs, {rough(asked.said.value)} of {count(asked.panels)} clones are "
        f"the person to the judge {name}, who says so of {rough(asked.sensitivity.value)} of real "
        f"photographs of the person, and of {rough(1 - asked.specificity.value)} of somebody else's"
    )
    if asked.corrected is None:
        return f"{sentence}: that judge cannot tell people apart, and its word means nothing."
    ends = interval(asked.corrected.interval, as_percent=True)
    given = f" (95% interval {ends})" if ends else ""
    return f"{sentence}: corrected for these errors, {rough(asked.corrected.value)}{given}."
