"""What leaked: the clones as the judges see them, beside what is reached without the person.

Each judge's opinions of clones, controls (un-attacked seeds, the plain mean face, clones aimed at
others) and real photographs are summed up with intervals (`judge_all`). Next in the story comes the
verdict, then the report.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mia_jax.evidence import sets, statistics, verification
from mia_jax.evidence.examination import Examined, Seen
from mia_jax.evidence.judges import Judge
from mia_jax.evidence.results import (
    Acceptance,
    Chance,
    Controls,
    Disturbed,
    Judgement,
    Measure,
    PersonFigures,
    Pick,
    Rates,
    SetRates,
    Sets,
)
from mia_jax.evidence.scores import Opinion
from mia_jax.evidence.verification import Impostors

RANKS = (1, 5, 10)


def rates(groups: Sequence[Seen], people: int) -> Rates:
    """Summarizes how often and how surely images are recognized as their persons.

    Args:
      groups: One group of images for each person.
      people: Among how many the judge chooses.

    Returns:
      Means over persons, with 95% intervals.
    """
    rows = []
    for look, opinion in groups:
        row: dict[str, np.ndarray] = {f"rank{k}": opinion.rank <= k for k in RANKS}
        row["cmc_area"] = (people + 1 - opinion.rank) / people
        row["mean_score"], row["mean_target_score"] = opinion.score, look.target_score
        row["psnr"], row["ssim"] = look.psnr, look.ssim
        row["feature_distance"] = opinion.feature_distance
        if opinion.found is not None:
            row["found"] = opinion.found
        rows.append(row)
    names = list(rows[0])
    stacked = [np.stack([row[name] for name in names], 1).astype(np.float64) for row in rows]
    measures: list[Any] = statistics.measure(
        stacked, [n.startswith("rank") or n == "found" for n in names]
    )
    curves = [statistics.cumulative_match(group.opinion.rank, people) for group in groups]
    return Rates(
        **{"found": None, **dict(zip(names, measures, strict=True))},
        median_rank=float(np.median(np.concatenate([group.opinion.rank for group in groups]))),
        set_rank=float(np.median([group.opinion.set_rank for group in groups])),
        cmc=tuple(float(value) for value in np.mean(curves, axis=0)),
    )


def judge_all(
    judge: Judge,
    people: Mapping[str, Examined],
    impostors: Impostors,
    adversariality: float | None,
) -> Judgement:
    """Sums up what one judge says of everybody.

    Args:
      judge: The judge.
      people: What the judge saw, by attacked person whom the judge knows.
      impostors: What the judge says of real photographs put forward as somebody else.
      adversariality: From `agreement.adversariality`.

    Returns:
      The judgement.
    """
    classes = len(judge.people)
    everybody = list(people.values())
    clones = {name: rates([person.clones], classes) for name, person in people.items()}
    by_exposure = sorted(
        clones, key=lambda name: (-clones[name].rank1.value, -clones[name].mean_score.value)
    )
    exposure = {name: place for place, name in enumerate(by_exposure, 1)}
    real = [person.test for person in everybody]
    places = {name: judge.people.index(name) for name in people}
    return Judgement(
        shares=tuple(sorted(judge.shares)),
        classes=classes,
        chance=Chance(**{f"rank{k}": min(k / classes, 1.0) for k in RANKS}),
        people={
            name: PersonFigures(
                clones=clones[name],
                controls=controls([person], classes),
                photographs=rates([person.test], classes),
                best=_pick(person.clones, best(person.clones.opinion)),
                attacker_pick=_pick(person.clones, int(person.robust_score.argmax())),
                exposure_rank=exposure[name],
                set_score=float(_set_scores(judge, person.clones.opinion)[places[name]]),
                set_measures=person.set_measures,
            )
            for name, person in people.items()
        },
        mean=rates([person.clones for person in everybody], classes),
        controls=controls(everybody, classes),
        ceiling=rates(real, classes),
        ceiling_photographs=sum(len(group.opinion.rank) for group in real),
        sets=_sets(judge, people),
        stranger_pairs=len(impostors.single),
        verification=tuple(
            _acceptance(judge, people, impostors, rate) for rate in verification.FALSE_ACCEPTS
        ),
        robustness={
            kind: Disturbed(
                clones=_rate([person.disturbed[kind].clones == 1 for person in everybody]),
                photographs=_rate([person.disturbed[kind].test == 1 for person in everybody]),
            )
            for kind in everybody[0].disturbed
        },
        adversariality=adversariality,
        mean_set_measures=sets.mean([person.set_measures for person in everybody]),
        frechet=sets.frechet(
            {
                group: [getattr(person, group).opinion.vectors for person in everybody]
                for group in ("clones", "seeds", "test")
            },
            [person.training for person in everybody],
        ),
    )


def controls(people: Sequence[Examined], classes: int) -> Controls:
    """Summarizes what is reached without knowing anything of these persons.

    Args:
      people: What a judge saw of each.
      classes: Among how many people the judge chooses.

    Returns:
      The controls, means over the persons.
    """
    others = [person.others for person in people if person.others is not None]
    return Controls(
        seeds=rates([person.seeds for person in people], classes),
        mean_face=rates([person.mean_face for person in people], classes),
        others=rates(others, classes) if others else None,
    )


def _set_scores(judge: Judge, opinion: Opinion) -> np.ndarray:
    """Returns what is reported of the scores of a group taken together, `[people]`."""
    return judge.confidence(opinion.together[None])[0]


def _sets(judge: Judge, people: Mapping[str, Examined]) -> Sets:
    """Summarizes the ranks of whole sets, over the people."""

    def of(group: str) -> SetRates:
        rank = np.array([getattr(person, group).opinion.set_rank for person in people.values()])
        fraction = float(np.mean(rank == 1))
        return SetRates(
            rank1=Measure(fraction, statistics.wilson_interval(fraction, len(rank))),
            median_rank=float(np.median(rank)),
            cmc=tuple(statistics.cumulative_match(rank, len(judge.people)).tolist()),
        )

    alone = any(person.others is None for person in people.values())
    return Sets(of("clones"), of("seeds"), None if alone else of("others"), of("test"))


def _acceptance(
    judge: Judge, people: Mapping[str, Examined], impostors: Impostors, rate: float
) -> Acceptance:
    """Counts what is accepted at one rate of false accepts."""
    threshold = verification.threshold(impostors.single, rate)
    set_threshold = verification.threshold(impostors.together, rate)

    def accepted(group: str) -> Measure:
        seen = [getattr(person, group) for person in people.values()]
        return _rate([each.opinion.score > threshold for each in seen])

    alone = any(person.others is None for person in people.values())
    sets = [
        _set_scores(judge, person.clones.opinion)[judge.people.index(name)] > set_threshold
        for name, person in people.items()
    ]
    return Acceptance(
        false_accepts=rate,
        threshold=threshold,
        set_threshold=set_threshold,
        clones=accepted("clones"),
        sets=_rate([np.array(sets)]),
        seeds=accepted("seeds"),
        mean_face=accepted("mean_face"),
        others=None if alone else accepted("others"),
        photographs=accepted("test"),
    )


def _rate(groups: Sequence[np.ndarray]) -> Measure:
    """Averages yes and no within persons, then over persons, with an interval."""
    measure: Any
    (measure,) = statistics.measure(
        [np.asarray(group, np.float64)[:, None] for group in groups], [True]
    )
    return measure


def best(opinion: Opinion) -> int:
    """Returns the number of the image of best rank, and of those the highest score."""
    return int(np.lexsort((-opinion.score, opinion.rank))[0])


def _pick(clones: Seen, restart: int) -> Pick:
    """Describes one of a person's clones."""
    return Pick(
        restart=restart,
        score=float(clones.opinion.score[restart]),
        rank=int(clones.opinion.rank[restart]),
        target_score=float(clones.appearance.target_score[restart]),
    )
