"""How often the tests of significance find a leak where there is none, and where there is one.

A judge's features are simulated. What people look like is normal in 32 directions; where they
belong to groups, three quarters of a person's looks are the group's. Clones are mixtures: of the
attacker's people, where these are in the gallery, else of nobody's. Half of what they vary by,
restarts share, and where there are groups, a set also looks like one of these, at random. A leak
moves clones a fraction of the way to the person, as far as the attacker's mixtures reach.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import scipy.spatial.distance
from absl import flags, logging

from mia_jax.evidence import significance

_TRIALS = flags.DEFINE_integer(
    "trials", 2000, "Runs without a leak that verdicts simulates; a quarter as many with one.", 4
)

_DIRECTIONS, _GROUPS, _PAIRINGS = 32, 4, 499


@dataclasses.dataclass(frozen=True)
class World:
    """What is simulated.

    Attributes:
      sets: How many people are attacked.
      gallery: Among how many people the judge chooses.
      restarts: Clones of each.
      auxiliary: How many of the gallery are the attacker's.
      groups: Whether people belong to groups, and clones look like one of them.
      leak: The fraction of the way to the person.
      leaking: How many of the attacked leak.
    """

    sets: int
    gallery: int
    restarts: int
    auxiliary: int
    groups: bool
    leak: float = 0.0
    leaking: int = 0


class Drawn(NamedTuple):
    """One simulated run, those attacked first in the gallery and the attacker's people last.

    Attributes:
      looks: `[gallery, directions]`.
      clones: `[sets, restarts, directions]`.
      seeds: `[sets, restarts, directions]`.
    """

    looks: np.ndarray
    clones: np.ndarray
    seeds: np.ndarray


class Said(NamedTuple):
    """P-values that are compared with the level: of the people, `[sets]`, and over all of them."""

    people: np.ndarray
    overall: float


# Sets, gallery, restarts, and the attacker's people in the gallery: the first two are of ORL. Then
# the leak where one person leaks, and where everybody does: large enough to be found at times.
SIZES = (
    ((5, 40, 100, 17), 0.4, 0.15),
    ((14, 40, 20, 17), 0.35, 0.1),
    ((20, 75, 7, 0), 0.25, 0.08),
    ((76, 76, 4, 0), 0.25, 0.05),
)
_OF_GROUPS = 2  # Times as much, of people in groups: much of their looks is not their own.


def draw(world: World, rng: np.random.Generator) -> Drawn:
    """Simulates a run.

    Args:
      world: What is simulated.
      rng: Draws.

    Returns:
      The run.
    """
    looks = rng.normal(size=(world.gallery, _DIRECTIONS))
    groups = rng.normal(size=(_GROUPS, _DIRECTIONS))
    if world.groups:
        of_group = groups[rng.integers(_GROUPS, size=world.gallery)]
        looks = np.sqrt(0.25) * looks + np.sqrt(0.75) * of_group
    basis = np.eye(_DIRECTIONS)
    if world.auxiliary:
        basis = looks[-world.auxiliary :] / np.sqrt(world.auxiliary)
    shape = (world.sets, world.restarts, len(basis))
    weights = 0.5 * rng.normal(size=(world.sets, 1, len(basis))) + 0.5 * rng.normal(size=shape)
    clones = weights @ basis
    if world.groups:
        clones += 0.5 * groups[rng.integers(_GROUPS, size=world.sets)][:, None]
    reached = looks[: world.sets] @ np.linalg.pinv(basis) @ basis
    leak = np.where(np.arange(world.sets) < world.leaking, world.leak, 0)[:, None, None]
    seeds = 0.1 * rng.normal(size=shape) @ basis
    return Drawn(looks, (1 - leak) * clones + leak * reached[:, None], seeds)


def tested(world: World, drawn: Drawn, pairings: np.ndarray) -> Said:
    """Tests a run as an evaluation does.

    Args:
      world: What was simulated.
      drawn: The run.
      pairings: Of `significance.pairings`.

    Returns:
      Corrected p-values.
    """
    people = world.gallery - world.auxiliary
    looks, aims = drawn.looks[:people], np.arange(world.sets)

    def together(images: np.ndarray) -> np.ndarray:
        return -scipy.spatial.distance.cdist(images.mean(axis=1), looks)[None]

    sets = significance.Sets(
        people=tuple(map(str, range(people))),
        aims=aims,
        clones=together(drawn.clones),
        seeds=together(drawn.seeds),
        in_common=(significance.looks_in_common(looks),),
    )
    stands_out = significance.excess(sets)
    null = significance.null(stands_out, aims)
    p_values = significance.p_values(stands_out[aims, aims], null)
    of_people = dict(zip(sets.people, p_values, strict=False))
    found = significance.corrected(
        of_people, significance.p_value_of_all(stands_out, aims, pairings)
    )
    return Said(np.array([*found.people.values()]), float(found.overall or 0))


def measure_verdicts(
    decide: Callable[[World, Drawn, np.ndarray], Said] = tested,
) -> Mapping[str, Mapping[str, Any]]:
    """Counts what is found in runs without a leak, with a leak of one person, and of all.

    Args:
      decide: The tests.

    Returns:
      For each size, without and with groups: of the runs without a leak the fraction in which
      somebody is found, and in which anything is, a person or the leak of all; of those with a leak
      of one person, in which this person is found, and anything; of those with a leak of everybody,
      the fraction of the people who are found, and of the runs in which anything is.
    """
    found = {}
    for place, (size, of_one, of_all) in enumerate(SIZES):
        sets, gallery, restarts, auxiliary = size
        pairings = significance.pairings(sets, gallery - auxiliary, 0, _PAIRINGS)
        for groups in (False, True):
            world = World(sets, gallery, restarts, auxiliary, groups)
            row: dict[str, Any] = dataclasses.asdict(world)
            del row["leak"], row["leaking"]
            for kind, leak, leaking in (("none", 0, 0), ("one", of_one, 1), ("all", of_all, sets)):
                leak *= _OF_GROUPS if groups else 1
                now = dataclasses.replace(world, leak=leak, leaking=leaking)
                trials = _TRIALS.value if kind == "none" else _TRIALS.value // 4
                rng = np.random.default_rng([place, groups, leaking])
                said = [decide(now, draw(now, rng), pairings) for _ in range(trials)]
                hits = np.array([each.people <= significance.LEVEL for each in said])
                overall = np.array([each.overall <= significance.LEVEL for each in said])
                if kind != "none":
                    row[f"{kind}_leak"] = leak
                people = {"none": hits.any(axis=1), "one": hits[:, 0], "all": hits}[kind]
                row[f"{kind}_people"] = float(people.mean())
                row[f"{kind}_any"] = float(np.mean(hits.any(axis=1) | overall))
            name = f"{sets}x{gallery}x{restarts}{' groups' if groups else ''}"
            logging.info("%s: %s", name, row)
            found[name] = row
    return found
