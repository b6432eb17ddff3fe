"""The leakage game: does a clone look like a person because the person was in the training data?

In each play a target is trained with a person, and another one without, all else equal
(`faces.worlds`); both are attacked, and judges say whether the clones show the person. What is
reached in the world without is no leak of this person. In the story this stands beside `verdict`,
which knows one world only; `Games` is all that `game.json` holds.

Source: S. Yeom et al., "Privacy risk in machine learning: analyzing the connection to overfitting",
  2018, for the advantage; X. Wu et al., "A methodology for formalizing model-inversion attacks",
  2016, for the ideal world.
"""

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from mia_jax.evidence import advantage, scores, statistics
from mia_jax.evidence.advantage import Advantage
from mia_jax.evidence.judges import Judge
from mia_jax.evidence.results import AttackFacts, DatasetFacts, Measure, Provenance
from mia_jax.recognizer.training import Settings


@dataclasses.dataclass(frozen=True)
class Ranks:
    """The place of the person of a play by one judge, for the clones of one class; 1 is the best.

    Attributes:
      together: For all clones of the class together, by the mean of their features.
      pick: For the one clone that an attacker without a judge would pick.
    """

    together: int
    pick: int


@dataclasses.dataclass(frozen=True)
class Worlds:
    """What one judge says of one play: always of the person, whatever class was attacked.

    Attributes:
      with_person: The person's class, where the person trained.
      nearest: Where not, the class that took the person's photographs most for its own.
      stand_in: Where not, the class of the stand-in.
    """

    with_person: Ranks
    nearest: Ranks
    stand_in: Ranks


@dataclasses.dataclass(frozen=True)
class Play:
    """One person and one seed.

    Attributes:
      person: Whom the play is about.
      seed: Of the trainings, and of who plays which part.
      photographs: How many of the person's train.
      stand_in: Who takes the person's class in the world without.
      stand_in_photographs: How many of the stand-in's train.
      nearest: Whose class is nearest to the person in the world without.
      ranks: What each judge says, by name.
    """

    person: str
    seed: int
    photographs: int
    stand_in: str
    stand_in_photographs: int
    nearest: str
    ranks: Mapping[str, Worlds]


@dataclasses.dataclass(frozen=True)
class GameFigures:
    """What the plays of one game come to, by one judge and one reading.

    Attributes:
      with_person: Rate of success in the world with the person; rates have exact 95% intervals
        over people.
      nearest: In the world without, of the class nearest to the person.
      stand_in: In the world without, of the stand-in's class.
      advantage: With the person against the nearest class without.
      over_stand_in: With the person against the stand-in's class without.
      ideal: The most that a fixed image from auxiliary data reaches, chosen in hindsight.
      gain: The rate with the person, less that.
    """

    with_person: Measure
    nearest: Measure
    stand_in: Measure
    advantage: Advantage
    over_stand_in: Advantage
    ideal: float
    gain: Measure


@dataclasses.dataclass(frozen=True)
class Game:
    """All plays with as many photographs of each person.

    Attributes:
      accuracy_with: Mean test accuracy of the targets with everybody who is targeted.
      accuracy_without: Mean test accuracy of the targets with a stand-in.
      plays: The plays.
      figures: For each judge's name and each of `READINGS`, what they come to.
    """

    accuracy_with: float
    accuracy_without: float
    plays: tuple[Play, ...]
    figures: Mapping[str, Mapping[str, GameFigures]]


@dataclasses.dataclass(frozen=True)
class JudgeFacts:
    """Who judges.

    Attributes:
      people: Among how many the judge chooses.
      shares: What the judge has in common with the targets, of `judges.SHARES`; nothing makes it
        a stranger.
    """

    people: int
    shares: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Ideal:
    """How far an attacker comes without any model, with one fixed image for everybody.

    Attributes:
      guesses: How many images were tried.
      rates: By judge and reading, the highest rate of success over the people of the seed: chosen
        in hindsight, so that no attacker without the model does better on average.
    """

    guesses: int
    rates: Mapping[str, Mapping[str, float]]


@dataclasses.dataclass(frozen=True)
class Games:
    """Everything in `game.json`.

    Attributes:
      games: The games by the number of photographs, "all" for as many as there are.
      judges: Who judged, by name.
      ideals: The ideal world of each seed.
      training: How the target and each evaluator train on all photographs; targets that have fewer
        take about as many steps.
      attack: How the clones were made; its `random_seed` is the first of the seeds.
      dataset: The faces, with the first seed's division.
      provenance: Versions, commit and flags.
    """

    games: Mapping[str, Game]
    judges: Mapping[str, JudgeFacts]
    ideals: Mapping[str, Ideal]
    training: Mapping[str, Settings]
    attack: AttackFacts
    dataset: DatasetFacts
    provenance: Provenance


class Reading(NamedTuple):
    """What counts as success.

    Attributes:
      rank: Which rank of a judge counts.
      most: The worst that is a success, from the number of people whom the judge knows.
    """

    rank: Callable[[Ranks], int]
    most: Callable[[int], int]


def first_tenth(people: int) -> int:
    """Returns the last place in the first tenth, rounded up."""
    return math.ceil(people / 10)


# Set down before any game was played. The first leads: rank 1 alone is rare with few plays.
READINGS: Mapping[str, Reading] = {
    "tenth": Reading(lambda ranks: ranks.together, first_tenth),
    "first": Reading(lambda ranks: ranks.together, lambda people: 1),
    "pick": Reading(lambda ranks: ranks.pick, first_tenth),
}


def place(judge: Judge, clones: np.ndarray, pick: int, person: str) -> Ranks:
    """Asks a judge how much the clones of one class look like a person.

    Args:
      judge: Who looks.
      clones: `[n, height, width, channels]` in [0, 1].
      pick: Which of them an attacker without a judge would pick.
      person: The person, whom the judge knows; not necessarily whose class it is.

    Returns:
      The person's ranks.
    """
    vectors = scores.features(judge, clones)
    scored = scores.match(judge, np.stack([vectors.mean(axis=0), vectors[pick]]))
    together, single = statistics.ranks(scored, judge.people.index(person))
    return Ranks(int(together), int(single))


def ideal(judges: Sequence[Judge], guesses: Iterable[np.ndarray], people: Sequence[str]) -> Ideal:
    """Finds the best guesses of an attacker who has auxiliary data and no model.

    Args:
      judges: Who looks.
      guesses: Groups of images `[n, height, width, channels]` in [0, 1], each group one guess, by
        the mean of its features.
      people: The targeted people, whom all judges know.

    Returns:
      What the best guess reaches.
    """
    guesses = list(guesses)
    rates = {}
    for judge in judges:
        # All at once: a judge looks at a hundred images as fast as at one.
        vectors = scores.features(judge, np.concatenate(guesses))
        ends = np.cumsum([len(group) for group in guesses])
        means = [part.mean(axis=0) for part in np.split(vectors, ends[:-1])]
        scored = scores.match(judge, np.stack(means))
        places = [judge.people.index(person) for person in people]
        ranks = np.stack([statistics.ranks(scored, each) for each in places], axis=1)
        rates[judge.name] = {
            name: best_rate(ranks, reading.most(len(judge.people)))
            for name, reading in READINGS.items()
        }
    return Ideal(len(guesses), rates)


def best_rate(ranks: np.ndarray, most: int) -> float:
    """Returns the success of the guess that succeeds most often.

    Args:
      ranks: `[guesses, people]`: the rank of each person for each guess.
      most: The worst rank that is a success.

    Returns:
      The highest rate over the people, in [0, 1].
    """
    return float(np.max(np.mean(ranks <= most, axis=1)))


def figures(
    plays: Sequence[Play], judges: Mapping[str, JudgeFacts], ideals: Mapping[str, Ideal]
) -> dict[str, dict[str, GameFigures]]:
    """Sums up the plays of one game.

    Args:
      plays: The plays.
      judges: Who judged, by name.
      ideals: The ideal world of each of their seeds.

    Returns:
      The figures, by judge and reading.
    """
    people, seeds = [play.person for play in plays], [play.seed for play in plays]

    def of(judge: str, name: str) -> GameFigures:
        reading, most = READINGS[name], READINGS[name].most(judges[judge].people)
        hits = {
            world.name: [
                reading.rank(getattr(play.ranks[judge], world.name)) <= most for play in plays
            ]
            for world in dataclasses.fields(Worlds)
        }
        inside = hits["with_person"]
        ideal_rate = float(np.mean([ideals[str(seed)].rates[judge][name] for seed in seeds]))
        rates = {world: _rate(hit, len({*people})) for world, hit in hits.items()}
        return GameFigures(
            **rates,
            advantage=advantage.advantage(inside, hits["nearest"], people),
            over_stand_in=advantage.advantage(inside, hits["stand_in"], people),
            ideal=ideal_rate,
            gain=_less(rates["with_person"], ideal_rate),
        )

    return {judge: {name: of(judge, name) for name in READINGS} for judge in judges}


def _rate(hits: Sequence[bool], people: int) -> Measure:
    """Returns a rate with its exact interval, of as many people as play."""
    rate = sum(hits) / len(hits)
    return Measure(rate, advantage.clopper_pearson(rate * people, people))


def _less(rate: Measure, fixed: float) -> Measure:
    """Takes a number off a rate, and off its interval."""
    low, high = rate.interval or (0.0, 1.0)
    return Measure(rate.value - fixed, (low - fixed, high - fixed))
