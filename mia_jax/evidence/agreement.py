"""Whether judges see the same: their agreement, and clones that convince relatives only.

A recognizer that is trained as the target is shares its blind spots. How often it accepts what
strangers reject, measured against how often it errs on real photographs, says how much of its word
is owed to that. In the story this stands beside `verdict`, which does not rest on it.
"""

import itertools
from collections.abc import Mapping, Sequence

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
      seen: For each judge's name and attacked person, what the judge saw.

    Returns:
      The agreement of each pair, in the order of the judges.
    """
    named = {judge: _clone_ranks(people) == 1 for judge, people in seen.items()}
    found = []
    for (first, yes), (second, also) in itertools.combinations(named.items(), 2):
        parts = (yes & also, yes & ~also, ~yes & also, ~yes & ~also)
        found.append(Agreement(first, second, *(float(part.mean()) for part in parts)))
    return tuple(found)


def adversariality(
    judges: Sequence[Judge], seen: Views, impostors: Mapping[str, Impostors]
) -> dict[str, float | None]:
    """Measures how much more than real photographs of others the strangers' rejects convince.

    Args:
      judges: All judges.
      seen: For each judge's name and attacked person, what the judge saw.
      impostors: What each judge says of real photographs put forward as somebody else, by name.

    Returns:
      For each judge the fraction of the clones rejected by every stranger, at 1% false accepts,
      for which this judge puts the person first, over the fraction of other people's real
      photographs for which it does; None for strangers, and where one of the two has no case.

    Source: the contrast of natural and of attacked negatives of S.-T. Ho et al., "Revisiting model
      inversion evaluation", arXiv:2505.03519.
    """
    strangers = [judge.name for judge in judges if judge.stranger]
    rejected = [
        _clone_scores(seen[name])
        <= verification.threshold(impostors[name].single, verification.FALSE_ACCEPTS[0])
        for name in strangers
    ]
    index: dict[str, float | None] = {}
    for judge in judges:
        named = impostors[judge.name].named
        base = np.mean([named[judge.people.index(person)] for person in seen[judge.name]])
        counted = np.all(rejected, axis=0) if rejected else np.zeros(1, bool)
        if judge.stranger or not counted.any() or not base:
            index[judge.name] = None
        else:
            accepted = _clone_ranks(seen[judge.name])[counted] == 1
            index[judge.name] = float(accepted.mean() / base)
    return index


def _clone_ranks(people: Mapping[str, Examined]) -> np.ndarray:
    """Returns the ranks of all clones, `[people x restarts]`."""
    return np.concatenate([person.clones.opinion.rank for person in people.values()])


def _clone_scores(people: Mapping[str, Examined]) -> np.ndarray:
    """Returns the scores of all clones, in the same order."""
    return np.concatenate([person.clones.opinion.score for person in people.values()])
