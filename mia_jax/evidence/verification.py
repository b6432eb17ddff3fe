"""Verification: whether an image is accepted as a person, at a known rate of false accepts.

Ranks say who is nearest; verification says whether that is near enough. The thresholds come from
real pairs of strangers: photographs of one person of the data set put forward as another. In the
story this stands between `scores` and `evaluation`.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from mia_jax.evidence import scores
from mia_jax.evidence.judges import Judge

FALSE_ACCEPTS = (0.01, 0.001)


class Impostors(NamedTuple):
    """What a judge says of real photographs that are put forward as somebody else.

    Attributes:
      single: `[pairs]`: scores of single photographs.
      together: `[pairs]`: scores of all photographs of a person taken together.
      named: `[people]`: for each whom the judge knows, the fraction of other people's photographs
        for which the judge puts this one first.
    """

    single: np.ndarray
    together: np.ndarray
    named: np.ndarray


def impostors(judge: Judge, photographs: Iterable[tuple[str, np.ndarray]]) -> Impostors:
    """Puts everybody's photographs forward as everybody else.

    Args:
      judge: Who looks.
      photographs: Each person's name and photographs `[n, height, width, channels]` in [0, 1];
        the judge need not know the person.

    Returns:
      What the judge says.
    """
    single, together = [], []
    named, shown = np.zeros(len(judge.people)), np.zeros(len(judge.people))
    for name, images in photographs:
        others = np.array([each != name for each in judge.people])
        vectors = scores.features(judge, images)
        scored = scores.match(judge, vectors)
        of_all = scores.match(judge, vectors.mean(axis=0, keepdims=True))
        single.append(judge.confidence(scored)[:, others].ravel())
        together.append(judge.confidence(of_all)[:, others].ravel())
        first = np.bincount(scored.argmax(axis=1), minlength=len(judge.people))
        named += np.where(others, first, 0)
        shown += np.where(others, len(images), 0)
    return Impostors(np.concatenate(single), np.concatenate(together), named / np.maximum(shown, 1))


def threshold(impostor_scores: np.ndarray, false_accepts: float) -> float:
    """Finds the score above which at most a given fraction of impostors lies.

    Args:
      impostor_scores: `[pairs]`.
      false_accepts: The fraction, in [0, 1).

    Returns:
      The least such score of an impostor; an image is accepted if it scores higher.
    """
    allowed = int(false_accepts * len(impostor_scores) + 1e-9)  # 0.29 x 100 is 28.999…
    return float(np.sort(impostor_scores)[len(impostor_scores) - 1 - allowed])
