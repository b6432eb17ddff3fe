"""Would the clone unlock it: whom an embedder takes images for, at its own threshold.

Here the attacked model itself is asked, with its templates, as a door with a face lock would. That
it takes clones for their people is what the attack aimed at and no evidence of a likeness; it is
the other harm, that one can be let in as somebody else.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from mia_jax.evidence.results import Measure
from mia_jax.evidence.statistics import measure


class Similarities(NamedTuple):
    """How similar images are to the template of one person, in [-1, 1].

    Attributes:
      clones: `[restarts]`.
      seeds: `[restarts]`, of the images before the attack.
      others: `[n]`, of clones aimed at other people.
      photographs: `[n]`, of the person's own, which were not enrolled.
      strangers: `[n]`, of other people's photographs.
    """

    clones: np.ndarray
    seeds: np.ndarray
    others: np.ndarray
    photographs: np.ndarray
    strangers: np.ndarray


@dataclasses.dataclass(frozen=True)
class Unlocking:
    """Everything in `unlocking.json`: the fraction of images that the model takes for the person.

    Attributes:
      threshold: The similarity from which an image is accepted.
      clones: Of the clones, mean over people.
      seeds: Of the images before the attack.
      others: Of clones aimed at other people; None where nobody else was attacked.
      photographs: Of the people's own photographs that were not enrolled: the true accepts.
      strangers: Of other people's photographs: the false accepts.
      people: Of each person's clones, by name.
    """

    threshold: float
    clones: Measure
    seeds: Measure
    others: Measure | None
    photographs: Measure
    strangers: Measure
    people: Mapping[str, float]


def unlocking(seen: Mapping[str, Similarities], threshold: float) -> Unlocking:
    """Counts whom the model lets in.

    Args:
      seen: By attacked person.
      threshold: The similarity from which an image is accepted, in [-1, 1].

    Returns:
      The fractions.
    """
    accepted = {
        kind: [np.asarray(getattr(each, kind)) >= threshold for each in seen.values()]
        for kind in Similarities._fields
    }
    present = {kind: groups for kind, groups in accepted.items() if all(map(len, groups))}
    rates: dict[str, Any] = {
        kind: measure([group[:, None].astype(float) for group in groups], [True])[0]
        for kind, groups in present.items()
    }
    clones = accepted["clones"]
    return Unlocking(
        threshold=threshold,
        clones=rates["clones"],
        seeds=rates["seeds"],
        others=rates.get("others"),
        photographs=rates["photographs"],
        strangers=rates["strangers"],
        people={name: float(each.mean()) for name, each in zip(seen, clones, strict=True)},
    )
