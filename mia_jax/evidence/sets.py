"""Sets of clones against sets of photographs, as a judge sees both.

Ranks ask for whom a single image is taken; here a person's clones are compared, as a whole, with
the person's photographs, and with everybody else's. The same stands beside for the seeds, for
clones of others, and for photographs that trained nothing. In the story this stands between the
features that `examination` collects and the figures of `evaluation`.
"""

import dataclasses
import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from mia_jax.evidence import distributions, scores
from mia_jax.evidence.judges import Judge
from mia_jax.evidence.results import FrechetDistances, SetComparison, SetMeasures

_AT_ONCE = 5  # People whose photographs are shown together, for full batches.


class Gallery(NamedTuple):
    """Real photographs in a judge's features.

    Attributes:
      people: `[n]`: whom each shows.
      vectors: `[n, features]`.
    """

    people: np.ndarray
    vectors: np.ndarray

    def strangers_to(self, name: str) -> np.ndarray:
        """Returns the features of the photographs of everybody else, `[m, features]`."""
        return self.vectors[self.people != name]


def gallery(judge: Judge, photographs: Iterable[tuple[str, np.ndarray]]) -> Gallery:
    """Shows real photographs to a judge.

    Args:
      judge: Who looks.
      photographs: Each person's name and photographs `[n, height, width, channels]` in [0, 1];
        the judge need not know the person.

    Returns:
      What it makes of them.
    """
    people: list[str] = []
    vectors = []
    stream = iter(photographs)
    while some := list(itertools.islice(stream, _AT_ONCE)):
        people += [name for name, images in some for _ in images]
        vectors.append(scores.features(judge, np.concatenate([images for _, images in some])))
    return Gallery(np.array(people), np.concatenate(vectors))


def compare(
    groups: Mapping[str, np.ndarray], training: np.ndarray, strangers: np.ndarray
) -> SetComparison:
    """Compares each group of images with the photographs of one person, and with others'.

    Args:
      groups: "clones", "seeds", "test" and, where there are some, "others": `[n, features]` each.
      training: `[m, features]`: the person's photographs that trained the target.
      strangers: `[s, features]`: photographs of other people.

    Returns:
      The measures of clones, seeds and others against all photographs of the person, and of the
      test photographs against those that trained.
    """
    real = np.concatenate([training, groups["test"]])
    others = groups.get("others")
    return SetComparison(
        clones=measure(groups["clones"], real, training, strangers),
        seeds=measure(groups["seeds"], real, training, strangers),
        others=None if others is None else measure(others, real, training, strangers),
        photographs=measure(groups["test"], training, training, strangers),
    )


def measure(
    images: np.ndarray, real: np.ndarray, training: np.ndarray, strangers: np.ndarray
) -> SetMeasures:
    """Takes all measures of one set.

    Args:
      images: `[n, features]`.
      real: `[r, features]`: the photographs whose place and spread the images are to match.
      training: `[m, features]`: those among which the nearest is looked for.
      strangers: `[s, features]`: photographs of other people.

    Returns:
      The measures; None where images or photographs are too few, or features are not finite.
    """
    found: dict[str, float | None] = dict.fromkeys(_FIELDS)
    if not all(np.isfinite(each).all() for each in (images, real, training, strangers)):
        return SetMeasures(**found)
    if len(real) > 1:
        found["precision"] = distributions.precision(real, images)
        found["density"] = distributions.density(real, images)
        found["coverage"] = distributions.coverage(real, images)
    if len(images) > 1:
        found["recall"] = distributions.recall(real, images)
        found["diversity"] = distributions.diversity(images)
    own = distributions.nearest(images, training)
    found["nearest_own"] = float(own.mean())
    if len(strangers):
        other = distributions.nearest(images, strangers)
        found["nearest_stranger"] = float(other.mean())
        found["own_is_nearer"] = float(np.mean(own < other))
    return SetMeasures(**found)


def mean(comparisons: Sequence[SetComparison]) -> SetComparison:
    """Averages comparisons over the people.

    Args:
      comparisons: Of one person each, one or more.

    Returns:
      The mean of each measure over those for whom there is one.
    """

    def over(group: str) -> SetMeasures:
        found = [getattr(each, group) for each in comparisons]
        return SetMeasures(
            **{name: _mean(getattr(each, name) for each in found) for name in _FIELDS}
        )

    alone = any(each.others is None for each in comparisons)
    return SetComparison(
        over("clones"), over("seeds"), None if alone else over("others"), over("photographs")
    )


def frechet(
    groups: Mapping[str, Sequence[np.ndarray]], training: Sequence[np.ndarray]
) -> FrechetDistances:
    """Compares the images of all people together with all of their training photographs.

    Args:
      groups: "clones", "seeds" and "test": of each person `[n, features]`.
      training: Of each person `[m, features]`.

    Returns:
      The distances; None where there are fewer than two images, or features are not finite.
    """
    real = np.concatenate(training)

    def distance(group: str) -> float | None:
        images = np.concatenate(groups[group])
        finite = np.isfinite(images).all() and np.isfinite(real).all()
        if not finite or min(len(images), len(real)) < 2:
            return None
        return distributions.frechet_distance(images, real)

    return FrechetDistances(distance("clones"), distance("seeds"), distance("test"))


_FIELDS = tuple(field.name for field in dataclasses.fields(SetMeasures))


def _mean(values: Iterable[float | None]) -> float | None:
    """Averages what is there; None if nothing is."""
    found = [value for value in values if value is not None]
    return float(np.mean(found)) if found else None
