"""Whether judges see the same: their agreement, and clones that convince relatives only.

A recognizer that is trained as the target is shares its blind spots. How often it accepts what
strangers reject, measured against how often it errs on real photographs, says how much of its word
is owed to that. In the story this stands beside `verdict`, which does not rest on it.
"""

import itertools
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from mia_jax.evidence import verification
from mia_jax.evidence.examination import Examined
from mia_jax.evidence.judges import Judge
from mia_jax.evidence.results import Agreement
from mia_jax.evidence.verification import Impostors

Views = Mapping[str, Mapping[str, Examined]]


def agreements(seen: Views) -> tuple[Agreement, ...]:
    """Compares every two judges, clone by clone.

    Args:
      seen: For each judge's name and attacked person whom the judge knows, what the judge saw.

    Returns:
      The agreement of each pair on those whom both know, in the order of the judges; none for a
      pair without such people.
    """
    found = []
    for first, second in itertools.combinations(seen, 2):
        common = [name for name in seen[first] if name in seen[second]]
        if not common:
            continue
        yes, also = (_clone_ranks(seen[judge], common) == 1 for judge in (first, second))
        parts = (yes & also, yes & ~also, ~yes & also, ~yes & ~also)
        found.append(Agreement(first, second, *(float(part.mean()) for part in parts)))
    return tuple(found)


def adversariality(
    judges: Sequence[Judge], seen: Views, impostors: Mapping[str, Impostors]
) -> dict[str, float | None]:
    """Measures how much more than real photographs of others the strangers' rejects convince.

    Args:
      judges: All judges; a stranger knows everybody who is attacked.
      seen: For each judge's name and attacked person whom the judge knows, what the judge saw.
      impostors: What each judge says of real photographs put forward as somebody else, by name.

    Returns:
      For each judge the fraction of the clones rejected by every stranger, at 1% false accepts,
      for which this judge puts the person first, over the fraction of other people's real
      photographs for which it does; None for strangers, and where one of the two has no case.

    Source: the contrast of natural and of attacked negatives of S.-T. Ho et al., "Revisiting model
      inversion evaluation", arXiv:2505.03519.
    """
    bars = {
        judge.name: verification.threshold(
            impostors[judge.name].single, verification.FALSE_ACCEPTS[0]
        )
        for judge in judges
        if judge.stranger
    }

    def index(judge: Judge) -> float | None:
        known, named = seen[judge.name], impostors[judge.name].named
        base = np.mean([named[judge.people.index(person)] for person in known])
        if judge.stranger or not bars or not base:
            return None
        rejected = np.all(
            [_clone_scores(seen[name], known) <= bar for name, bar in bars.items()], axis=0
        )
        if not rejected.any():
            return None
        return float(np.mean(_clone_ranks(known, known)[rejected] == 1) / base)

    return {judge.name: index(judge) for judge in judges}


def _clone_ranks(people: Mapping[str, Examined], names: Iterable[str]) -> np.ndarray:
    """Returns the ranks of all clones of these people, `[people x restarts]`."""
    return np.concatenate([people[name].clones.opinion.rank for name in names])


def _clone_scores(people: Mapping[str, Examined], names: Iterable[str]) -> np.ndarray:
    """Returns the scores of all clones of these people, in the same order."""
    return np.concatenate([people[name].clones.opinion.score for name in names])
