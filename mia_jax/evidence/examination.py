"""Examination: all images of one person are shown to the target and to every judge.

In the story this stands between the attack's clones, with what to compare them with, and
`evaluation`, which sums up what each judge saw.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from mia_jax.evidence import robustness, scores, sets
from mia_jax.evidence.judges import ImageFn, Judge
from mia_jax.evidence.results import SetComparison
from mia_jax.evidence.scores import Appearance, Opinion
from mia_jax.evidence.sets import Gallery

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


class DisturbedRanks(NamedTuple):
    """The person's ranks by a judge, for images that were changed in one way."""

    clones: np.ndarray
    test: np.ndarray


class Examined(NamedTuple):
    """How one person's images are seen by one judge.

    Attributes:
      clones: The clones.
      seeds: The images before the attack.
      mean_face: The mean of the auxiliary faces.
      others: Clones aimed at other people; None where there are none.
      test: The test photographs.
      robust_score: `[restarts]`: by this the attacker picks a clone.
      disturbed: By kind of disturbance, the ranks for a sample of the clones and for the test
        photographs.
      training: `[n, features]`: the judge's features of the training photographs.
      set_measures: How the groups lie among the person's photographs.
    """

    clones: Seen
    seeds: Seen
    mean_face: Seen
    others: Seen | None
    test: Seen
    robust_score: np.ndarray
    disturbed: Mapping[str, DisturbedRanks]
    training: np.ndarray
    set_measures: SetComparison


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
    galleries: Mapping[str, Gallery],
) -> dict[str, Examined]:
    """Shows one person's images to the target and to every judge.

    Args:
      name: The person, known to every judge.
      evidence: The images.
      target: The attacked model's logits `[n, classes]` of images.
      target_class: The person's class in it.
      judges: Who is asked.
      robust_score: `[restarts]`: by this the attacker picks a clone; see `attack.selection`.
      galleries: For each judge's name, real photographs of other people; those of the person among
        them are left out.

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

    sample = evidence.clones[: robustness.SAMPLE]
    plain = np.concatenate([sample, evidence.test])
    changed = [robustness.disturb(plain, kind) for kind in robustness.DISTURBANCES]

    def see(judge: Judge) -> Examined:
        real = scores.features(judge, evidence.training)
        seen: dict[str, Any] = {
            group: Seen(looks[group], scores.opinion(judge, images, name, real))
            for group, images in groups.items()
        }
        ranks = scores.opinion(judge, np.concatenate(changed), name, real).rank
        disturbed = {
            kind: DisturbedRanks(*np.split(part, [len(sample)]))
            for kind, part in zip(
                robustness.DISTURBANCES, np.split(ranks, len(changed)), strict=True
            )
        }
        vectors = {group: each.opinion.vectors for group, each in seen.items()}
        strangers = galleries[judge.name].strangers_to(name)
        return Examined(
            **{"others": None, **seen},
            robust_score=robust_score,
            disturbed=disturbed,
            training=real,
            set_measures=sets.compare(vectors, real, strangers),
        )

    return {judge.name: see(judge) for judge in judges}
