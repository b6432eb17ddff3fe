"""What leaked: the clones as the judges see them, beside what is reached without the person.

The evidence in full: each person's clones, the controls (un-attacked seeds, the plain mean face,
clones aimed at others) and real photographs are shown to the target and to every judge (`examine`),
and each judge's opinions are summed up with intervals (`judge_all`). Next in the story comes the
report.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from mia_jax.evidence import scores, statistics
from mia_jax.evidence.judges import ImageFn, Judge
from mia_jax.evidence.results import Chance, Controls, Judgement, PersonFigures, Pick, Rates
from mia_jax.evidence.scores import Appearance, Opinion

RANKS = (1, 5, 10)
OTHERS = 10  # People whose clones are compared with another one.


class Evidence(NamedTuple):
    """The images of one person, or aimed at one, `[n, height, width, channels]` in [0, 1] each.

    Attributes:
      clones: The clones.
      seeds: The images from which the attack started.
      mean_face: The plain mean of the auxiliary faces, one image.
      others: Clones aimed at other people, see `share_of_others`; none where nobody else was
        attacked.
      training: Photographs that trained the target.
      test: Photographs that trained and chose nothing.
    """

    clones: np.ndarray
    seeds: np.ndarray
    mean_face: np.ndarray
    others: np.ndarray
    training: np.ndarray
    test: np.ndarray


class Seen(NamedTuple):
    """What a judge, the target and a ruler say of one group of images."""

    appearance: Appearance
    opinion: Opinion


class Examined(NamedTuple):
    """How one person's images are seen by one judge.

    Attributes:
      clones: The clones.
      seeds: The images before the attack.
      mean_face: The mean of the auxiliary faces.
      others: Clones aimed at other people; None where there are none.
      test: The test photographs.
      robust_score: `[restarts]`: by this the attacker picks a clone.
    """

    clones: Seen
    seeds: Seen
    mean_face: Seen
    others: Seen | None
    test: Seen
    robust_score: np.ndarray


def share_of_others(name: str, names: Sequence[str], restarts: int) -> dict[str, int]:
    """Divides one person's number of clones among others, whose clones stand beside them.

    They are a sample, or the comparison of thousands with thousands would outgrow the rest: at most
    `OTHERS` people, those that follow in the circle of all, with the same number each, but for one
    more of the first where it does not divide.

    Args:
      name: The person.
      names: All attacked people, the person among them.
      restarts: Clones of each.

    Returns:
      How many clones to take of whom; empty where nobody else was attacked.
    """
    place = names.index(name) + 1
    circle = [*names[place:], *names[: place - 1]][: min(OTHERS, restarts)]
    return {
        other: restarts // len(circle) + (i < restarts % len(circle))
        for i, other in enumerate(circle)
    }


def examine(
    name: str,
    evidence: Evidence,
    target: ImageFn,
    target_class: int,
    judges: Iterable[Judge],
    robust_score: np.ndarray,
) -> dict[str, Examined]:
    """Shows one person's images to the target and to every judge.

    Args:
      name: The person, known to every judge.
      evidence: The images.
      target: The attacked model's logits `[n, classes]` of images.
      target_class: The person's class in it.
      judges: Who is asked.
      robust_score: `[restarts]`: by this the attacker picks a clone; see `attack.selection`.

    Returns:
      For each judge's name, what was seen.
    """
    groups = {
        group: images
        for group, images in evidence._asdict().items()
        if group != "training" and len(images)
    }
    looks = {
        group: scores.appearance(images, target, target_class, evidence.training)
        for group, images in groups.items()
    }

    def see(judge: Judge) -> Examined:
        real = scores.features(judge, evidence.training)
        seen: dict[str, Any] = {
            group: Seen(looks[group], scores.opinion(judge, images, name, real))
            for group, images in groups.items()
        }
        return Examined(**{"others": None, **seen}, robust_score=robust_score)

    return {judge.name: see(judge) for judge in judges}


def rates(groups: Sequence[Seen], people: int, seed: int) -> Rates:
    """Summarizes how often and how surely images are recognized as their persons.

    Args:
      groups: One group of images for each person.
      people: Among how many the judge chooses.
      seed: Of the bootstrap.

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
        rows.append(row)
    names = list(rows[0])
    stacked = [np.stack([row[name] for name in names], 1).astype(np.float64) for row in rows]
    measures: list[Any] = statistics.measure(stacked, [n.startswith("rank") for n in names], seed)
    curves = [statistics.cumulative_match(group.opinion.rank, people) for group in groups]
    return Rates(
        **dict(zip(names, measures, strict=True)),
        cmc=tuple(float(value) for value in np.mean(curves, axis=0)),
    )


def judge_all(judge: Judge, people: Mapping[str, Examined], seed: int) -> Judgement:
    """Sums up what one judge says of everybody.

    Args:
      judge: The judge.
      people: What the judge saw, by attacked person.
      seed: Of the bootstrap.

    Returns:
      The judgement.
    """
    classes = len(judge.people)
    everybody = list(people.values())
    clones = {name: rates([person.clones], classes, seed) for name, person in people.items()}
    by_exposure = sorted(
        clones, key=lambda name: (-clones[name].rank1.value, -clones[name].mean_score.value)
    )
    exposure = {name: place for place, name in enumerate(by_exposure, 1)}
    real = [person.test for person in everybody]
    return Judgement(
        shares=tuple(sorted(judge.shares)),
        classes=classes,
        chance=Chance(**{f"rank{k}": min(k / classes, 1.0) for k in RANKS}),
        people={
            name: PersonFigures(
                clones=clones[name],
                controls=controls([person], classes, seed),
                best=_pick(person.clones, _best(person.clones.opinion)),
                attacker_pick=_pick(person.clones, int(person.robust_score.argmax())),
                exposure_rank=exposure[name],
            )
            for name, person in people.items()
        },
        mean=rates([person.clones for person in everybody], classes, seed),
        controls=controls(everybody, classes, seed),
        ceiling=rates(real, classes, seed),
        ceiling_photographs=sum(len(group.opinion.rank) for group in real),
    )


def controls(people: Sequence[Examined], classes: int, seed: int) -> Controls:
    """Summarizes what is reached without knowing anything of these persons.

    Args:
      people: What a judge saw of each.
      classes: Among how many people the judge chooses.
      seed: Of the bootstrap.

    Returns:
      The controls, means over the persons.
    """
    others = [person.others for person in people if person.others is not None]
    return Controls(
        seeds=rates([person.seeds for person in people], classes, seed),
        mean_face=rates([person.mean_face for person in people], classes, seed),
        others=rates(others, classes, seed) if others else None,
    )


def _best(opinion: Opinion) -> int:
    """Returns the number of the clone of best rank, and of those the highest score."""
    return int(np.lexsort((-opinion.score, opinion.rank))[0])


def _pick(clones: Seen, restart: int) -> Pick:
    """Describes one of a person's clones."""
    return Pick(
        restart=restart,
        score=float(clones.opinion.score[restart]),
        rank=int(clones.opinion.rank[restart]),
        target_score=float(clones.appearance.target_score[restart]),
    )
